"""What a user has as data, as the files and options that the command reads."""

from __future__ import annotations

import csv
import json
import math
import numbers
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ._options import Command
from ._remote import fetched, is_parquet, is_remote, parquet
from ._rows import Rows, rows_of

# Names that columns usually have: pairs of texts, single texts, labels.
PAIRS = (
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("text", "text_pair"),
    ("text", "pair"),
    ("text1", "text2"),
    ("text_a", "text_b"),
)
SINGLES = ("sentence", "text", "review", "content", "document", "sentence1", "question", "texts")
LABELS = ("label", "labels", "gold_label")
# Of token classification and question answering.
WORDS, TAGS = ("tokens", "words"), ("ner_tags", "pos_tags", "tags", "chunk_tags", "labels")
ASKED = ("question", "context", "answers")
TABLES = (".tsv", ".tab", ".csv", ".jsonl", ".ndjson")

Choice = str | bool | None


@dataclass(frozen=True)
class Columns:
    """What the user said of the columns: a name, `None` to have it guessed, `False` for none."""

    text: str | None = None
    pair: Choice = None
    label: Choice = None

    @property
    def said(self) -> bool:
        """Whether anything was said."""
        return self != Columns()


@dataclass
class Prepared:
    """Options for the command, and the columns that were chosen: further data are written alike."""

    options: dict[str, Any] = field(default_factory=dict)
    text: str | None = None
    pair: str | None = None
    label: str | None = None
    kind: str = "data"


def prepare(
    data: Any,
    command: Command,
    folder: Path,
    columns: Columns,
    options: Mapping[str, Any],
    model_labels: Callable[[], list[str] | None],
) -> Prepared:
    """Data as the options of a command; what lies in memory is written into `folder` first.

    `model_labels` tells the names of the model's classes, `None` for a model without classes; it is asked only where
    labels were guessed or come as numbers with names.

    Raises `TypeError` and `ValueError` for data that cannot be read so, with the number of the row, counted from 0.
    """
    if isinstance(data, (str, os.PathLike)):
        path = os.fspath(data)
        path = fetched(path, folder) if is_remote(path) else path
        if not is_parquet(path):
            return of_path(path, command, columns, options)
        data = parquet(path)
    for name in ("text_column", "pair_column", "label_column", "header"):
        if options.get(name) is not None:
            raise TypeError(f"{name}= is about a file; of data in memory text=, pair= and label= name the columns")
    place = place_of(command)
    if place in ("conllu", "code", "fasta"):
        what = {"conllu": "treebanks in CoNLL-U", "code": "functions", "fasta": "sequences"}[place]
        raise TypeError(f"{command.name} reads {what} from a file: give its path")
    rows = data if isinstance(data, Rows) else rows_of(data)
    if place == "train" or not command.has("text_column"):
        if columns.said:
            raise TypeError("records have no columns to be named: leave text=, pair= and label= out")
        if place == "train" and not command.has("test"):
            raise TypeError(f"{command.name} reads treebanks in CoNLL-U from a file: give its path")
        return Prepared({place: _write_whole(rows, folder / f"{place}.jsonl")}, kind="records")
    if command.has("squad") and set(ASKED) <= set(rows.columns) and not columns.said:
        return Prepared({"squad": _write_whole(rows, folder / "questions.jsonl")}, kind="squad")
    if options.get("task") is not None:
        raise TypeError(
            f"task={options['task']!r} is for GLUE's own files: leave task= out for data in memory, "
            "or give the folder as data"
        )
    chosen = _choose(rows, columns, command, options, model_labels)
    path = _write(rows, chosen, folder / "data.jsonl", _namer(rows, chosen, command, options, model_labels))
    if chosen.kind == "ner":
        chosen.options = {"ner": path, "text_column": chosen.text, "label_column": chosen.label}
    else:
        given = {"text_column": chosen.text, "pair_column": chosen.pair, "label_column": chosen.label}
        chosen.options = {"data": path, **{name: value for name, value in given.items() if value is not None}}
    return chosen


def more(
    data: Any,
    like: Prepared,
    path: Path,
    command: Command,
    options: Mapping[str, Any],
    model_labels: Callable[[], list[str] | None],
) -> Any:
    """Further data, such as those for development, written as the first were; paths as they are."""
    if data is None:
        return None
    if isinstance(data, (str, os.PathLike)):
        name = os.fspath(data)
        name = fetched(name, path.parent) if is_remote(name) else name
        if not is_parquet(name):
            return name
        data = parquet(name)
    rows = data if isinstance(data, Rows) else rows_of(data)
    if like.kind in ("squad", "records"):
        return _write_whole(rows, path)
    if like.text is None:
        raise TypeError("data in memory beside data in a file: give both in one way")
    for name in (like.text, like.pair, like.label):
        if name is not None and name not in rows.columns:
            raise ValueError(f"{path.stem}: no column {name!r} as in the data; there are {', '.join(rows.columns)}")
    return _write(rows, like, path, _namer(rows, like, command, options, model_labels))


def place_of(command: Command) -> str:
    """The option that takes a command's data."""
    for name in ("data", "conllu", "train", "code", "fasta"):
        if command.has(name):
            return name
    raise TypeError(f"{command.name} reads no data")


def of_path(path: str, command: Command, columns: Columns, options: Mapping[str, Any]) -> Prepared:
    """A path, passed on; the columns of a table are guessed by its first line where none is named."""
    if not os.path.exists(path) and any(c.isspace() for c in path) and os.sep not in path:
        raise ValueError(f"data={path!r}: there is no such file; a text is given in a list: [{path[:30]!r}]")
    place, suffix = place_of(command), Path(path).suffix.lower()
    if place == "data" and suffix == ".txt" and not options.get("text_column"):
        if columns.said:
            raise TypeError(f"{path} is plain text and has no columns: leave text=, pair= and label= out")
        return Prepared({"text": path})
    if place == "data" and suffix == ".conllu" and command.has("conllu"):
        place = "conllu"
    prepared = Prepared({place: path})
    is_table = place == "data" and command.has("text_column") and suffix in TABLES
    if not is_table or options.get("text_column") is not None:
        if columns.said:
            raise TypeError(
                "text=, pair= and label= name the columns of a table, and these data are none: leave them out"
            )
        return prepared
    # The header alone decides here; what a label is, only the command reads.
    if columns.text is None:
        columns = _guess(_header(path), columns, path)
    named = {"text_column": columns.text, "pair_column": columns.pair, "label_column": columns.label}
    prepared.options.update({name: value for name, value in named.items() if isinstance(value, str)})
    return prepared


def _header(path: str) -> list[str]:
    """The names of the columns of a table."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        if path.lower().endswith((".jsonl", ".ndjson")):
            first = next((line for line in file if line.strip()), "{}")
            row = json.loads(first)
            return list(row) if isinstance(row, dict) else []
        if path.lower().endswith(".csv"):
            return next(csv.reader(file), [])
        return file.readline().rstrip("\r\n").split("\t")


def _guess(names: list[str], said: Columns, where: str = "data") -> Columns:
    """Text, pair and label by the names that they usually have."""
    text, pair = said.text, said.pair
    if text is None:
        pairs = [(a, b) for a, b in PAIRS if a in names and b in names and pair in (None, b)]
        singles = [name for name in SINGLES if name in names]
        if pair is not None and pair is not False:
            singles = [] if pairs else [name for name in singles if name != pair]
        inside = {name for both in pairs for name in both}
        candidates: list[tuple[str, Choice]] = [*pairs] if pair is not False else []
        candidates += [(name, pair) for name in singles if pair is False or name not in inside]
        if len(candidates) != 1:
            found = ", ".join(names) or "none"
            what = "several columns may be the text" if candidates else "no column has a name that texts usually have"
            raise ValueError(f"{where}: {what}; say which with text= (and pair=). The columns: {found}")
        text, pair = candidates[0]
    label = said.label
    if label is None:
        labels = [name for name in LABELS if name in names and name not in (text, pair)]
        if len(labels) > 1:
            raise ValueError(f"{where}: several columns may be the label, {', '.join(labels)}; say which with label=")
        label = labels[0] if labels else False
    return Columns(text, pair or False, label)


def _choose(
    rows: Rows,
    said: Columns,
    command: Command,
    options: Mapping[str, Any],
    model_labels: Callable[[], list[str] | None],
) -> Prepared:
    """The columns that are read, all there."""
    if command.has("ner") and said.pair in (None, False) and (found := _tagged(rows, said)):
        return found
    columns = _guess(rows.columns, said)
    for role, name in (("text", columns.text), ("pair", columns.pair), ("label", columns.label)):
        if isinstance(name, str) and name not in rows.columns:
            raise ValueError(f"data: no column {name!r}, the {role}; there are {', '.join(rows.columns)}")
    label = columns.label or None
    if label is not None and said.label is None and not _reads_labels(command, options, model_labels):
        label = None
    texts = [name for name in (columns.text, columns.pair, label) if isinstance(name, str)]
    if len(set(texts)) < len(texts):
        raise ValueError(f"data: {', '.join(texts)}: text, pair and label are columns of their own")
    return Prepared(text=columns.text, pair=columns.pair or None, label=label if isinstance(label, str) else None)  # type: ignore[arg-type]


def _tagged(rows: Rows, said: Columns) -> Prepared | None:
    """Words with labels, if the data are such."""
    text = said.text or next((name for name in WORDS if name in rows.columns), None)
    label = said.label or next((name for name in TAGS if name in rows.columns), None)
    if text is None or not isinstance(label, str) or text not in rows.columns or label not in rows.columns:
        return None
    first = next(rows.rows)
    rows.rows = _again(first, rows.rows)
    if isinstance(first[text], str) or not hasattr(first[text], "__iter__"):
        return None
    return Prepared(text=text, label=label, kind="ner")


def _again(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _reads_labels(command: Command, options: Mapping[str, Any], model_labels: Callable[[], list[str] | None]) -> bool:
    """Whether labels that nobody asked for are of use: not to language models, nor where none are read."""
    if command.name == "predict" or options.get("objective") in ("lm", "mlm"):
        return False
    return command.name == "finetune" or model_labels() is not None


def _namer(
    rows: Rows,
    chosen: Prepared,
    command: Command,
    options: Mapping[str, Any],
    model_labels: Callable[[], list[str] | None],
) -> Callable[[Any, int], Any]:
    """What is written of a label.

    Numbers that have names in the data are written by name, so that a model whose classes are in another order is read
    right; a model that has no names for its classes, LABEL_0 and so on, takes the numbers.
    """
    names = rows.classes.get(chosen.label or "")
    if names is not None:
        known = None if command.name == "finetune" and options.get("new_head") else model_labels()
        generic = known is not None and known == [f"LABEL_{n}" for n in range(len(known))]

    def named(label: Any, row: int) -> Any:
        value = _label(label, row)
        if names is None or not isinstance(value, int) or isinstance(value, bool):
            return value
        if value == -100 and chosen.kind == "ner":
            return value
        if not 0 <= value < len(names):
            raise ValueError(
                f"data: row {row} has the label {value}, which none of the {len(names)} classes is; "
                "unlabelled rows cannot be scored"
            )
        return value if generic else names[value]

    return named


def _missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, numbers.Real) and math.isnan(value)


def _label(value: Any, row: int) -> Any:
    """A label as JSON has it."""
    if _missing(value):
        raise ValueError(f"data: row {row} has no label; leave such rows out, or fill them")
    if hasattr(value, "item") and not isinstance(value, (str, int, float)):
        value = value.item()
    if isinstance(value, (str, bool)):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real) and math.isfinite(value):
        return float(value)
    raise TypeError(
        f"data: row {row} has the label {value!r}; a text, a whole number, a finite number or a boolean is expected"
    )


def _text(value: Any, row: int, name: str) -> str:
    if _missing(value):
        raise ValueError(f"data: row {row} has nothing under {name!r}; leave such rows out, or fill them")
    if not isinstance(value, str):
        raise TypeError(f"data: row {row} has a {type(value).__name__} under {name!r} where a text is expected")
    return str(value)


def _write(rows: Rows, chosen: Prepared, path: Path, named: Callable[[Any, int], Any]) -> str:
    """Text, pair and label of every row, an object a line."""
    assert chosen.text is not None
    with _lines(path) as write:
        for number, row in enumerate(rows.rows):
            if chosen.kind == "ner":
                words = [_text(word, number, chosen.text) for word in row[chosen.text]]
                tags = [named(tag, number) for tag in row[str(chosen.label)]]
                write(number, {chosen.text: words, str(chosen.label): tags})
                continue
            line = {chosen.text: _text(row[chosen.text], number, chosen.text)}
            if chosen.pair is not None:
                line[chosen.pair] = _text(row[chosen.pair], number, chosen.pair)
            if chosen.label is not None:
                line[chosen.label] = named(row[chosen.label], number)
            write(number, line)
    return str(path)


def _write_whole(rows: Rows, path: Path) -> str:
    """Every row as it is: questions, and records for edge probing."""
    with _lines(path) as write:
        for number, row in enumerate(rows.rows):
            if empty := [name for name in rows.columns if row[name] is None]:
                raise ValueError(
                    f"data: row {number} has nothing under {empty[0]!r}; leave such rows out, or fill them"
                )
            write(number, dict(row))
    return str(path)


class _lines:
    """A file of JSON lines that is being written."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("w", encoding="utf-8", newline="\n")

    def __enter__(self) -> Callable[[int, Mapping[str, Any]], None]:
        return self.write

    def write(self, number: int, row: Mapping[str, Any]) -> None:
        try:
            self.file.write(json.dumps(row, ensure_ascii=False, allow_nan=False, default=_plain) + "\n")
        except (TypeError, ValueError) as error:
            # A lone half of a surrogate pair is a text to Python and to nobody else.
            raise ValueError(f"data: row {number} cannot be written: {error}") from error

    def __exit__(self, *_: object) -> None:
        self.file.close()


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} has no place in JSON")
