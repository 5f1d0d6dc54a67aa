"""Run folders, read back."""

from __future__ import annotations

import copy
import gc
import html
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bertology import studies
from bertology.results import Ablation, HeadImportance
from bertology.run import Run, frame


@pytest.fixture(scope="module")
def run(tiny: str, grammar: str, tmp_path_factory: pytest.TempPathFactory) -> HeadImportance:
    folder = tmp_path_factory.mktemp("runs") / "importance"
    return studies.importance(tiny, grammar, task="cola", limit=60, output=folder, progress=False)


def test_a_folder_is_a_run_of_its_command(run: HeadImportance) -> None:
    again = Run(run.path)
    assert type(again) is HeadImportance
    assert again.record["command"] == "importance"
    assert again.data["file"]["examples"] == 60
    assert again.model["num_layers"] == 4
    assert set(again.files) >= {"run.json", "heads.csv", "head_importance.npy", "report.html"}
    with pytest.raises(ValueError, match="a run of importance, which Ablation does not read"):
        Ablation(run.path)


def test_arrays_and_tables_have_the_same_numbers(run: HeadImportance) -> None:
    heads = run.table("heads")
    assert np.allclose(heads["importance"].reshape(4, 4), run.scores, rtol=1e-6)
    assert np.array_equal(heads["rank"].reshape(4, 4), run.ranks)
    assert run.stderr is not None and run.rank_low is not None and run.rank_high is not None
    assert np.allclose(heads["standard_error"].reshape(4, 4), run.stderr)
    assert (run.rank_low <= run.ranks).all() and (run.ranks <= run.rank_high).all()
    mapped = run.array("head_importance_raw.npy")
    assert isinstance(mapped, np.memmap) and not mapped.flags.writeable
    with pytest.raises(KeyError, match=r"no nothing\.npy; there are attn_entropy"):
        run.array("nothing")
    with pytest.raises(KeyError, match=r"there are heads, predictions"):
        run.table("head_importance")


def test_metrics_and_words(run: HeadImportance) -> None:
    assert set(run.metrics) == {"mcc", "loss"}
    low, high = run.intervals["loss"]
    assert low < run.metrics["loss"] < high
    layer, head = np.argwhere(run.ranks == 0)[0]
    assert f"most important L{layer}H{head}" in repr(run)
    assert "tiny-bert" in repr(run) and str(run.model["folder"]) not in repr(run)


@pytest.mark.parametrize(("share", "kept"), [(1, 16), (0.5, 8), (0.09, 1), (0.28, 4), (0.35, 6)])
def test_keep_takes_the_most_important(run: HeadImportance, share: float, kept: int) -> None:
    mask = run.keep(share)
    assert mask.sum() == kept
    assert run.scores[mask == 1].min() >= run.scores[mask == 0].max(initial=0)


@pytest.mark.parametrize("share", [0, 0.01, -1, 1.5, float("nan")])
def test_keep_refuses_what_is_no_share(run: HeadImportance, share: float) -> None:
    with pytest.raises(ValueError, match=r"share between 0 and 1|would be left"):
        run.keep(share)


def test_the_page_is_shut_in(run: HeadImportance) -> None:
    shown = run._repr_html_()
    assert shown.startswith("<iframe ") and shown.endswith("</iframe>")
    assert re.search(r' sandbox="([^"]*)"', shown)[1] == "allow-scripts allow-downloads"  # type: ignore[index]
    inside = re.search(r'srcdoc="([^"]*)"', shown)
    assert inside is not None and html.unescape(inside[1]) == run.html
    assert 'onload="x"' not in frame('" onload="x"')


def test_a_saved_run_is_the_run(run: HeadImportance, tmp_path: Path) -> None:
    saved = run.save(tmp_path / "copy")
    assert type(saved) is HeadImportance
    assert np.array_equal(saved.scores, run.scores)
    assert set(saved.files) == set(run.files)
    with pytest.raises(FileExistsError, match="not an empty folder"):
        run.save(tmp_path / "copy")


def test_temporary_folders_go_with_the_run(tiny: str, labelled: Any) -> None:
    run = studies.evaluate(tiny, labelled, progress=False)
    folder = run.path
    assert folder.exists()
    # What was written for the command is gone already.
    assert [path.name for path in folder.parent.iterdir()] == ["run"]
    with pytest.raises(TypeError, match=r"save\(folder\)"):
        pickle.dumps(run)
    predictions = run.predictions
    del run
    gc.collect()
    assert not folder.parent.exists()
    assert len(predictions) == 40


def test_runs_are_pickled_by_their_place(run: HeadImportance) -> None:
    again = pickle.loads(pickle.dumps(run))
    assert type(again) is HeadImportance and np.array_equal(again.scores, run.scores)
    assert copy.copy(run).path == run.path.absolute()


def test_folders_that_are_no_run_say_why(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no run\.json"):
        Run(tmp_path)
    (tmp_path / "state.json").touch()
    with pytest.raises(FileNotFoundError, match="resume=True"):
        Run(tmp_path)
    (tmp_path / "run.json").write_text('{"format": 2, "command": "importance"}')
    with pytest.raises(ValueError, match="format 2"):
        Run(tmp_path)
    (tmp_path / "run.json").write_text('{"format": 1, "command": "of-tomorrow", "results": {}}')
    assert type(Run(tmp_path)) is Run
    with pytest.raises(FileNotFoundError, match=r"bertology\.report"):
        _ = Run(tmp_path).html
    assert Run(tmp_path)._repr_html_() == "<pre>&lt;Run&gt;</pre>"
