"""The recipe for Spark, without Spark: what `mapInPandas` calls makes the parts."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY


def test_frames_of_parts_are_made(tmp_path: Path, tiny: str, grammar: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed, which Spark's frames are made of")
    study = ["evaluate", tiny, "--task", "cola", "--data", grammar, "--limit", "40", "--chunk", "8"]
    for name, value in {"PARTS": "3", "OUT": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["spark.py", *study])
    spec = importlib.util.spec_from_file_location("recipe", REPOSITORY / "examples/cluster/spark.py")
    assert spec and spec.loader
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    frames = [pandas.DataFrame({"part": [1, 3]}), pandas.DataFrame({"part": [2]})]
    assert [len(frame) for frame in recipe.make(iter(frames))] == [2, 1]
    places = [str(tmp_path / f"part-{part}") for part in (1, 2, 3)]
    for words in (
        ["merge", *places, "--output", str(tmp_path / "merged")],
        [*study, "--output", str(tmp_path / "whole")],
    ):
        subprocess.run([sys.executable, "-m", "bertology", *words, "--quiet"], check=True)
    for name in ("predictions.csv",):
        assert (tmp_path / "merged" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
