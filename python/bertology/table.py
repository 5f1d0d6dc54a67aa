"""A table of a run folder: its columns as NumPy arrays, and as a frame of the library of your choice."""

from __future__ import annotations

import csv
import html
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WHOLE = re.compile(r"-?(?:0|[1-9]\d{0,17})")
# No number begins with a zero before another digit; a name may.
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d*)?(?:[eE][-+]?\d+)?|-?inf|NaN")
_SHOWN = 10


class Table:
    """Columns of one length, by name.

    Whole numbers are int64; numbers, with NaN for empty fields among them, float64; all else is text (`object`).

    >>> table = Table({"layer": np.array([0, 1]), "importance": np.array([0.5, 1.0])})
    >>> float(table["importance"].max()), len(table)
    (1.0, 2)
    """

    def __init__(self, columns: Mapping[str, NDArray[Any]], name: str = "table") -> None:
        self._columns = dict(columns)
        self.name = name
        if len({len(column) for column in self._columns.values()}) > 1:
            raise ValueError("the columns of a table have one length")

    @classmethod
    def read(cls, path: Path) -> Table:
        """A CSV file with a line of names.

        >>> Table.read(Path("out/heads.csv"))                                  # doctest: +SKIP
        """
        # Texts of the data may be longer than the module's own limit for a field.
        csv.field_size_limit(2**31 - 1)
        with open(path, encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            names = next(rows, [])
            fields: list[list[str]] = [[] for _ in names]
            for row in rows:
                if len(row) != len(names):
                    raise ValueError(
                        f"{path}: line {rows.line_num} has {len(row)} fields where the header has {len(names)}"
                    )
                for column, value in zip(fields, row, strict=True):
                    column.append(value)
        return cls({name: _column(column) for name, column in zip(names, fields, strict=True)}, path.stem)

    @classmethod
    def of_rows(cls, rows: Iterable[Mapping[str, Any]], name: str = "table") -> Table:
        """Objects with the same keys, as JSON documents have them; what is missing is NaN or an empty text.

        >>> Table.of_rows([{"layer": 0, "rank": 1}, {"layer": 1, "rank": None}])["rank"]
        array([ 1., nan])
        """
        rows = list(rows)
        names = list(dict.fromkeys(key for row in rows for key in row))
        lists = {name: [row.get(name) for row in rows] for name in names}
        return cls({name: _values(column) for name, column in lists.items()}, name)

    @property
    def columns(self) -> list[str]:
        """The names of the columns, in their order.

        >>> Table({"layer": np.array([0])}).columns
        ['layer']
        """
        return list(self._columns)

    def __getitem__(self, name: str) -> NDArray[Any]:
        try:
            return self._columns[name]
        except KeyError:
            raise KeyError(f"no column {name!r}; there are {', '.join(self._columns)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows as dictionaries of Python's own values.

        >>> list(Table({"layer": np.array([0]), "head": np.array([3])}).rows())
        [{'layer': 0, 'head': 3}]
        """
        lists = [column.tolist() for column in self._columns.values()]
        for values in zip(*lists, strict=True):
            yield dict(zip(self._columns, values, strict=True))

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`; needs pandas.

        >>> run.table("heads").to_pandas().nlargest(5, "importance")           # doctest: +SKIP
        """
        import pandas as pd

        return pd.DataFrame({name: column.copy() for name, column in self._columns.items()})

    def to_polars(self) -> Any:
        """A `polars.DataFrame`; needs polars.

        >>> run.table("heads").to_polars()                                     # doctest: +SKIP
        """
        import polars as pl

        return pl.DataFrame({name: _plain(column) for name, column in self._columns.items()})

    def to_arrow(self) -> Any:
        """A `pyarrow.Table`; needs pyarrow.

        >>> run.table("heads").to_arrow()                                      # doctest: +SKIP
        """
        import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

        return pa.table({name: pa.array(_plain(column)) for name, column in self._columns.items()})

    def __repr__(self) -> str:
        return f"<Table {self.name}: {len(self)} rows of {', '.join(self._columns)}>"

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self._columns)
        lists = [column[:_SHOWN].tolist() for column in self._columns.values()]
        cells = ("".join(f"<td>{html.escape(_shown(value))}</td>" for value in row) for row in zip(*lists, strict=True))
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        rest = f"<caption>{min(len(self), _SHOWN)} of {len(self)} rows</caption>"
        return f"<table>{rest}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _column(fields: list[str]) -> NDArray[Any]:
    if fields and all(_WHOLE.fullmatch(field) for field in fields):
        return np.array([int(field) for field in fields], dtype=np.int64)
    if any(fields) and all(not field or _NUMBER.fullmatch(field) for field in fields):
        return np.array([float(field) if field else np.nan for field in fields])
    return np.array(fields, dtype=object)


def _values(values: list[Any]) -> NDArray[Any]:
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in present):
        whole = len(present) == len(values) and all(isinstance(value, int) for value in present)
        return np.array(values, dtype=np.int64 if whole else np.float64)
    return np.array(["" if value is None else value for value in values], dtype=object)


def _plain(column: NDArray[Any]) -> Any:
    """Texts as a list, which other libraries take for texts; numbers as they are."""
    return column.tolist() if column.dtype == object else column


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
