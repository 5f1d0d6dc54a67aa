"""Tables of other libraries, and plain Python data, as rows with named columns.

Libraries are told by what their objects can do and never imported.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]


@dataclass
class Rows:
    """Rows, to be read once."""

    columns: list[str]
    rows: Iterator[Row]
    # Names of the classes, where a column holds their numbers: a `ClassLabel` of `datasets`.
    classes: dict[str, list[str]] = field(default_factory=dict)


def rows_of(data: Any) -> Rows:
    """The rows of a frame, table, data set, dictionary of columns, or of an iterable of texts, tuples or dictionaries.

    Tuples are `(text, label)` or `(text, pair, label)`, texts alone have the column `text`.

    Raises `TypeError` for what is none of these, `ValueError` for no rows, and for rows that are not all of one kind.

    >>> rows_of([("fine", 1), ("bad", 0)]).columns
    ['text', 'label']
    """
    found = _frame(data) or _columns(data)
    if found is None:
        if isinstance(data, (str, bytes)) or not isinstance(data, Iterable):
            raise TypeError(
                f"data: a {type(data).__name__} cannot be read as data; give a path, a list of texts, of tuples or of "
                "dictionaries, or a frame"
            )
        found = _items(data)
    first = next(found.rows, None)
    if first is None:
        raise ValueError("data: there are no rows")
    return Rows(found.columns, itertools.chain([first], found.rows), found.classes)


def _library(data: Any) -> str:
    return type(data).__module__.partition(".")[0]


def _frame(data: Any) -> Rows | None:
    """pandas, polars, pyarrow, datasets."""
    library = _library(data)
    if library == "pandas" and hasattr(data, "columns"):
        names = _unique([str(name) for name in data.columns])
        lists = [data.iloc[:, at].tolist() for at in range(len(names))]
        return Rows(names, _zipped(names, lists))
    if library == "polars" and hasattr(data, "get_columns"):
        names = list(data.columns)
        return Rows(names, _zipped(names, [column.to_list() for column in data.get_columns()]))
    if library == "polars" and hasattr(data, "collect"):
        return _frame(data.collect())
    if library == "pyarrow" and hasattr(data, "column_names"):
        names = _unique(list(data.column_names))
        return Rows(names, _zipped(names, [data.column(at).to_pylist() for at in range(len(names))]))
    if hasattr(data, "column_names") and hasattr(data, "features"):
        names = data.column_names
        if isinstance(names, Mapping):
            raise ValueError(f"data: a set with the splits {', '.join(names)}; choose one of them, as in data[...]")
        if names is None:
            # One that is read on the way knows its columns when the first row is there.
            return _items(data)
        return Rows(list(names), iter(data), _classes(data.features))
    return None


def _classes(features: Any) -> dict[str, list[str]]:
    """The names of classes of those columns that have them."""
    found: dict[str, list[str]] = {}
    for name, feature in (features or {}).items():
        # A list of labels has them one below.
        inner = getattr(feature, "feature", feature)
        names = getattr(inner, "names", None)
        if names and hasattr(inner, "int2str"):
            found[str(name)] = [str(text) for text in names]
    return found


def _columns(data: Any) -> Rows | None:
    """A dictionary of columns of one length."""
    if not isinstance(data, Mapping):
        return None
    names = [str(name) for name in data]
    if any(_library(column) == "datasets" and hasattr(column, "column_names") for column in data.values()):
        raise ValueError(f"data: a set with the splits {', '.join(names)}; choose one of them, as in data[...]")
    lists: list[list[Any]] = []
    for name, column in data.items():
        if isinstance(column, (str, bytes)) or not isinstance(column, Iterable):
            raise TypeError(f"data: in a dictionary of columns {name!r} must be a list, not a {type(column).__name__}")
        lists.append(_list(column))
    if len({len(column) for column in lists}) > 1:
        lengths = ", ".join(f"{name} {len(column)}" for name, column in zip(names, lists, strict=True))
        raise ValueError(f"data: the columns have different lengths: {lengths}")
    return Rows(names, _zipped(names, lists))


def _items(data: Any) -> Rows:
    """Texts, tuples or dictionaries, all of one kind."""
    items = iter(_list(data) if hasattr(data, "tolist") else data)
    first = next(items, None)
    if first is None:
        return Rows([], iter(()))
    whole = itertools.chain([first], items)
    if isinstance(first, Mapping):
        return Rows([str(name) for name in first], _dictionaries(whole, list(first)))
    if isinstance(first, (tuple, list)):
        names = {1: ["text"], 2: ["text", "label"], 3: ["text", "pair", "label"]}.get(len(first))
        if names is None:
            raise ValueError(
                f"data: row 0 has {len(first)} values; "
                "(text, label) or (text, pair, label) is expected, or a dictionary"
            )
        return Rows(names, _tuples(whole, names))
    return Rows(["text"], ({"text": text} for text in whole))


def _dictionaries(rows: Iterable[Any], names: list[str]) -> Iterator[Row]:
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise ValueError(f"data: row {number} is a {type(row).__name__} where row 0 is a dictionary")
        if missing := [name for name in names if name not in row]:
            raise ValueError(f"data: row {number} has no {missing[0]!r}, which row 0 has")
        yield row


def _tuples(rows: Iterable[Any], names: list[str]) -> Iterator[Row]:
    for number, row in enumerate(rows):
        if not isinstance(row, (tuple, list)) or len(row) != len(names):
            has = f"{len(row)} values" if isinstance(row, Sequence) and not isinstance(row, str) else repr(row)[:40]
            raise ValueError(f"data: row {number} is {has} where row 0 has {len(names)} values")
        yield dict(zip(names, row, strict=True))


def _list(column: Iterable[Any]) -> list[Any]:
    """A list with Python's own numbers in the place of NumPy's, where the column knows how."""
    given = column.tolist() if hasattr(column, "tolist") else list(column)
    return given if isinstance(given, list) else list(given)


def _unique(names: list[str]) -> list[str]:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"data: {names.count(name)} columns are called {name!r}; give each a name of its own")
    return names


def _zipped(names: list[str], lists: list[list[Any]]) -> Iterator[Row]:
    return (dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True))
