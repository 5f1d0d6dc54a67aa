"""What users have as data, as files of the command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bertology._data import Columns, more, prepare
from bertology._options import commands

TWO = [("A text.", 1), ("Another.", 0)]


def written(data: Any, folder: Path, command: str = "importance", labels: Any = ("no", "yes"), **said: Any) -> Any:
    columns = Columns(said.pop("text", None), said.pop("pair", None), said.pop("label", None))
    return prepare(data, commands()[command], folder, columns, said, lambda: None if labels is None else list(labels))


def lines(path: str) -> list[Any]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def frames() -> Iterator[Any]:
    columns = {"sentence": ["A text.", "Another."], "label": [1, 0], "idx": [7, 8]}
    yield pytest.param(lambda: columns, id="columns")
    rows = [{"sentence": "A text.", "label": 1, "idx": 7}, {"label": 0, "sentence": "Another.", "idx": 8}]
    yield pytest.param(lambda: rows, id="rows")
    yield pytest.param(lambda: iter(rows), id="iterator")
    yield pytest.param(lambda: pytest.importorskip("pandas").DataFrame(columns), id="pandas")
    yield pytest.param(lambda: pytest.importorskip("polars").DataFrame(columns), id="polars")
    yield pytest.param(lambda: pytest.importorskip("polars").DataFrame(columns).lazy(), id="lazy")
    yield pytest.param(lambda: pytest.importorskip("pyarrow").table(columns), id="pyarrow")
    yield pytest.param(lambda: pytest.importorskip("datasets").Dataset.from_dict(columns), id="datasets")


@pytest.mark.parametrize("make", list(frames()))
def test_frames_become_a_file(make: Any, tmp_path: Path) -> None:
    found = written(make(), tmp_path)
    path = found.options.pop("data")
    assert found.options == {"text_column": "sentence", "label_column": "label"}
    assert lines(path) == [{"sentence": "A text.", "label": 1}, {"sentence": "Another.", "label": 0}]


def test_tuples_and_texts(tmp_path: Path) -> None:
    found = written(TWO, tmp_path)
    assert lines(found.options["data"]) == [{"text": "A text.", "label": 1}, {"text": "Another.", "label": 0}]
    found = written([("a", "b", "yes")], tmp_path)
    assert lines(found.options["data"]) == [{"text": "a", "pair": "b", "label": "yes"}]
    # A text with a line break stays one text, and an empty one stays.
    found = written(["a\nb", "", "ü"], tmp_path)
    assert lines(found.options["data"]) == [{"text": "a\nb"}, {"text": ""}, {"text": "ü"}]
    assert "label_column" not in found.options
    found = written(np.array(["a", "b"]), tmp_path)
    assert lines(found.options["data"]) == [{"text": "a"}, {"text": "b"}]


def test_numbers_of_numpy_and_pandas_are_labels(tmp_path: Path) -> None:
    rows = [("a", np.int64(1)), ("b", np.float32(0.5)), ("c", True), ("d", np.bool_(False)), ("e", np.str_("x"))]
    found = lines(written(rows, tmp_path).options["data"])
    assert [json.dumps(row["label"]) for row in found] == ["1", "0.5", "true", "false", '"x"']


@pytest.mark.parametrize(
    ("data", "said", "message"),
    [
        ([("a", 1), ("b", None)], {}, "row 1 has no label"),
        ([("a", 1), ("b", float("nan"))], {}, "row 1 has no label"),
        ([("a", 1), ("b", float("inf"))], {}, "row 1 has the label inf"),
        ([("a", 1), (None, 1)], {}, "row 1 has nothing under 'text'"),
        ([("a", 1), (3, 1)], {}, "row 1 has a int under 'text'"),
        ([("a", 1), ("b", [1])], {}, "row 1 has the label"),
        ([("a", 1), ("b",)], {}, "row 1 is 1 values where row 0 has 2"),
        (["a", ("b", 1)], {}, "row 1 has a tuple"),
        ([{"text": "a"}, {"other": "b"}], {}, "row 1 has no 'text'"),
        ([("a", "b", "c", "d")], {}, "row 0 has 4 values"),
        ([], {}, "no rows"),
        ({"text": ["a"], "label": []}, {}, "different lengths: text 1, label 0"),
        ({"a": ["x"], "b": ["y"]}, {}, r"no column has a name that texts usually have; say which with text=.*a, b"),
        ({"text": ["x"], "review": ["y"]}, {}, "several columns may be the text"),
        ({"text": ["x"], "label": [1], "labels": [1]}, {}, "several columns may be the label"),
        ({"text": ["x"]}, {"text": "other"}, "no column 'other', the text; there are text"),
        ({"text": ["x"], "label": [1]}, {"label": "text"}, "columns of their own"),
        (["\ud800"], {}, "row 0 cannot be written"),
        (TWO, {"task": "cola"}, "leave task= out"),
        (TWO, {"text_column": "text"}, "text_column= is about a file"),
        (3, {}, "a int cannot be read as data"),
        ("The cat sat.", {}, "a text is given in a list"),
    ],
)
def test_what_cannot_be_read_names_the_row(data: Any, said: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        written(data, tmp_path, **said)


def test_columns_are_chosen_by_name(tmp_path: Path) -> None:
    rows = {"text": ["x"], "review": ["y"], "stars": [3], "other": ["z"]}
    found = written(rows, tmp_path, text="review", pair="other", label="stars")
    assert lines(found.options["data"]) == [{"review": "y", "other": "z", "stars": 3}]
    glue = {"question": ["q"], "sentence": ["s"], "label": [1], "idx": [0]}
    assert lines(written(glue, tmp_path).options["data"]) == [{"question": "q", "sentence": "s", "label": 1}]
    assert lines(written(glue, tmp_path, text="sentence", label=False).options["data"]) == [{"sentence": "s"}]


def test_labels_that_nobody_asked_for_are_left_out_where_none_are_read(tmp_path: Path) -> None:
    for command, labels, said in [
        ("predict", ("no", "yes"), {}),
        ("importance", None, {}),
        ("importance", ("no", "yes"), {"objective": "mlm"}),
    ]:
        assert "label_column" not in written(TWO, tmp_path, command, labels, **said).options
    # What was asked for is given to the command, which says what is wrong.
    assert written(TWO, tmp_path, "predict", label="label").options["label_column"] == "label"


def test_numbers_with_names_become_what_the_model_has(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    data = datasets.Dataset.from_dict({"sentence": ["a", "b"], "label": [1, 0]}, features=features)
    for labels, expected in [(("yes", "no"), ["yes", "no"]), (("LABEL_0", "LABEL_1"), [1, 0])]:
        found = lines(written(data, tmp_path, labels=labels).options["data"])
        assert [row["label"] for row in found] == expected
    hidden = datasets.Dataset.from_dict({"sentence": ["a"], "label": [-1]}, features=features)
    with pytest.raises(ValueError, match="row 0 has the label -1"):
        written(hidden, tmp_path)
    with pytest.raises(ValueError, match="choose one of them"):
        written(datasets.DatasetDict({"train": data}), tmp_path)


def test_missing_values_of_pandas_are_missing(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match="row 1 has no label"):
        written(pd.DataFrame({"text": ["a", "b"], "label": pd.array([1, None], dtype="Int64")}), tmp_path)
    with pytest.raises(ValueError, match="row 1 has nothing under 'text'"):
        written(pd.DataFrame({"text": ["a", None], "label": [1, 0]}), tmp_path)
    twice = pd.DataFrame([["a", "b"]], columns=["text", "text"])
    with pytest.raises(ValueError, match="2 columns are called 'text'"):
        written(twice, tmp_path)


def test_words_and_questions_are_told_by_their_columns(tmp_path: Path) -> None:
    found = written([{"tokens": ["A", "cat"], "ner_tags": ["O", -100]}], tmp_path)
    assert set(found.options) == {"ner", "text_column", "label_column"}
    assert lines(found.options["ner"]) == [{"tokens": ["A", "cat"], "ner_tags": ["O", -100]}]
    asked = {"question": "q", "context": "c", "answers": {"text": ["c"], "answer_start": [0]}, "id": "1"}
    found = written([asked], tmp_path)
    assert lines(found.options["squad"]) == [asked]


def test_paths_are_passed_on(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text('sentence,label\n"a, b",1\n', encoding="utf-8")
    found = written(table, tmp_path)
    assert found.options == {"data": str(table), "text_column": "sentence", "label_column": "label"}
    assert written(table, tmp_path, text="label").options["text_column"] == "label"
    assert written(table, tmp_path, text_column="0").options == {"data": str(table)}
    (tmp_path / "t.jsonl").write_text('{"premise": "a", "hypothesis": "b", "gold_label": "x"}\n', encoding="utf-8")
    found = written(str(tmp_path / "t.jsonl"), tmp_path)
    assert (found.options["text_column"], found.options["pair_column"]) == ("premise", "hypothesis")
    (tmp_path / "t.txt").touch()
    assert written(tmp_path / "t.txt", tmp_path).options == {"text": str(tmp_path / "t.txt")}
    assert written("GLUE", tmp_path, task="mrpc").options == {"data": "GLUE"}
    assert written("trees.conllu", tmp_path, "syntax").options == {"conllu": "trees.conllu"}
    assert written("trees.conllu", tmp_path, "patterns").options == {"conllu": "trees.conllu"}
    assert written("code.jsonl", tmp_path, "cat").options == {"code": "code.jsonl"}
    assert written("a.jsonl", tmp_path, "edge-probe").options == {"train": "a.jsonl"}
    with pytest.raises(TypeError, match="leave them out"):
        written("GLUE", tmp_path, task="mrpc", text="sentence")


def test_records_and_treebanks(tmp_path: Path) -> None:
    record = {"text": "a b", "targets": [{"span1": [0, 1], "label": "x"}]}
    assert lines(written([record], tmp_path, "edge-probe").options["train"]) == [record]
    for command in ("syntax", "attention-probe", "cat"):
        with pytest.raises(TypeError, match="from a file: give its path"):
            written([record], tmp_path, command)


def test_further_data_are_written_alike(tmp_path: Path) -> None:
    command = commands()["finetune"]
    like = written({"text": ["a"], "label": ["x"]}, tmp_path, "finetune")
    path = more([{"label": "y", "text": "b"}], like, tmp_path / "dev.jsonl", command, {}, lambda: None)
    assert lines(path) == [{"text": "b", "label": "y"}]
    with pytest.raises(ValueError, match="dev: no column 'label'"):
        more(["a"], like, tmp_path / "dev.jsonl", command, {}, lambda: None)
    assert more("dev.csv", like, tmp_path / "x", command, {}, lambda: None) == "dev.csv"
