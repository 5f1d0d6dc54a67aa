"""Tables, as arrays and as frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bertology.table import Table


@pytest.fixture
def table(tmp_path: Path) -> Table:
    path = tmp_path / "heads.csv"
    text = 'layer,score,empty,name,code\n0,0.5,,"a, ""b""",007\n1,,,"two\nlines",1\n'
    path.write_text(text, encoding="utf-8", newline="")
    return Table.read(path)


def test_columns_have_the_type_of_their_fields(table: Table) -> None:
    assert table["layer"].dtype == np.int64
    assert table["score"][0] == 0.5
    assert np.isnan(table["score"][1])
    assert table["name"].tolist() == ['a, "b"', "two\nlines"]
    # A number with zeros before it may be a name.
    assert table["code"].tolist() == ["007", "1"]
    assert table["empty"].tolist() == ["", ""]
    assert len(table) == 2
    assert "layer" in table
    with pytest.raises(KeyError, match="no column 'head'; there are layer, score"):
        table["head"]


def test_rows_and_frames_have_the_same_values(table: Table) -> None:
    rows = list(table.rows())
    assert rows[0]["layer"] == 0 and isinstance(rows[0]["layer"], int)
    pandas = pytest.importorskip("pandas")
    frame = table.to_pandas()
    assert frame["layer"].tolist() == [0, 1]
    assert pandas.isna(frame["score"][1])
    pytest.importorskip("polars")
    assert table.to_polars()["name"].to_list() == table["name"].tolist()
    pytest.importorskip("pyarrow")
    assert table.to_arrow().column("layer").to_pylist() == [0, 1]


def test_a_frame_is_no_view_of_the_table(table: Table) -> None:
    pytest.importorskip("pandas")
    frame = table.to_pandas()
    frame.loc[0, "layer"] = 9
    assert table["layer"][0] == 0


def test_texts_are_escaped(tmp_path: Path) -> None:
    shown = Table.of_rows([{"text": "<script>", "number": 0.123456}])._repr_html_()
    assert "&lt;script&gt;" in shown and "<script>" not in shown
    assert "0.1235" in shown


def test_a_row_of_another_length_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n3\n")
    with pytest.raises(ValueError, match="line 3 has 1 fields"):
        Table.read(tmp_path / "bad.csv")


def test_missing_numbers_of_a_document_are_nan() -> None:
    table = Table.of_rows([{"a": 1, "b": None}, {"a": 2, "b": 0.5}, {"a": 3}])
    assert table["a"].dtype == np.int64
    assert np.isnan(table["b"][[0, 2]]).all()
