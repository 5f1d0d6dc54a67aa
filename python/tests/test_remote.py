"""Parquet, and files behind addresses."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from bertology import embedded

ROWS = [{"sentence": text, "label": label} for text, label in embedded.sentences()[:30]]


def importance(data: object, **options: object) -> np.ndarray:
    return embedded.model().head_importance(data, progress=False, **options).raw


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    return importance([(row["sentence"], row["label"]) for row in ROWS])


def test_parquet_is_read_by_row_groups(tmp_path: Path, expected: np.ndarray) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "all.parquet", row_group_size=7)
    np.testing.assert_array_equal(importance(tmp_path / "all.parquet"), expected)
    parts = tmp_path / "parts"
    parts.mkdir()
    parquet.write_table(pyarrow.Table.from_pylist(ROWS[:12]), parts / "part-0.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(ROWS[12:]), parts / "part-1.parquet")
    np.testing.assert_array_equal(importance(parts), expected)
    parquet.write_table(pyarrow.table({"other": [1]}), parts / "part-2.parquet")
    with pytest.raises(ValueError, match=r"part-2.parquet has the columns other"):
        importance(parts)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="broken"):
        importance(tmp_path / "broken.parquet")


def test_addresses_are_opened_by_fsspec(tmp_path: Path, expected: np.ndarray) -> None:
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
    lines = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    memory = fsspec.filesystem("memory")
    memory.pipe("/bertology/rows.jsonl", lines)
    memory.pipe("/bertology/rows.jsonl.gz", gzip.compress(lines))
    for name in ("rows.jsonl", "rows.jsonl.gz"):
        np.testing.assert_array_equal(importance(f"memory://bertology/{name}"), expected)
    with pytest.raises(ValueError, match=r"memory://bertology/nothing"):
        importance("memory://bertology/nothing.jsonl")
