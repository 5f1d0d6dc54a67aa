"""Every command as a function, on the embedded models."""

from __future__ import annotations

import inspect
import io
import json
import logging
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bertology import Model, WorkError, _native, _progress, studies
from bertology._options import commands
from bertology.run import Document, Run

ASSETS = Path(__file__).parents[2] / "assets"
TREES = ASSETS / "grammar" / "dev.conllu"


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_progress, "somebody_looks_on", lambda: False)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("trees")
    sentences = TREES.read_text(encoding="utf-8").strip().split("\n\n")
    for name, some in (("a.conllu", sentences[:40]), ("b.conllu", sentences[40:60])):
        (folder / name).write_text("\n\n".join(some) + "\n\n", encoding="utf-8")
    return str(folder / "a.conllu"), str(folder / "b.conllu")


def test_every_command_is_a_function() -> None:
    names = {name.partition(" ")[0].replace("-", "_") for name in commands()}
    functions = {
        name for name, value in vars(studies).items() if inspect.isfunction(value) and not name.startswith("_")
    }
    # What the command writes for a shell is of no use here.
    assert names - functions <= {"completions", "man"}


def test_the_package_is_the_command(tiny: str) -> None:
    done = subprocess.run([sys.executable, "-m", "bertology", "inspect", tiny], capture_output=True, text=True)
    assert done.returncode == 0 and "73 used" in done.stdout
    done = subprocess.run([sys.executable, "-m", "bertology", "nonsense"], capture_output=True, text=True)
    assert done.returncode == 2 and "nonsense" in done.stderr


def test_data_in_memory_give_what_a_file_gives(tiny: str, grammar: str, labelled: Any, tmp_path: Path) -> None:
    ours = studies.importance(tiny, labelled, threads=1)
    theirs = studies.importance(tiny, grammar, task="cola", limit=40, threads=1)
    assert ours.array("head_importance_raw").tobytes() == theirs.array("head_importance_raw").tobytes()
    texts = [text for text, _ in labelled]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    from_memory = studies.patterns(tiny, texts)
    from_file = studies.patterns(tiny, tmp_path / "texts.txt")
    assert from_memory.entropy.tobytes() == from_file.entropy.tobytes()
    assert from_memory.attention_to("next").shape == (4, 4)


def test_language_models_read_texts_of_labelled_data(labelled: Any) -> None:
    run = studies.importance(ASSETS / "tiny-gpt2", labelled, max_length=32)
    assert run.record["options"]["label_column"] is None
    assert "perplexity" in run.metrics


def test_ablation_in_both_ways(tiny: str, grammar: str) -> None:
    run = studies.ablate(tiny, grammar, task="cola", limit=40, heads=[(0, 1), (2, 3)])
    assert np.isfinite(run.changes).sum() == 2
    assert run.loss_changes[0, 1] == pytest.approx(run.heads["loss_change"][0])
    alone = studies.ablate(tiny, grammar, task="cola", limit=40, keep_one=True, select_split="train", select_limit=20)
    assert np.isfinite(alone.changes).all() and np.isfinite(alone.loss_changes).all()
    assert "alone" in repr(alone)


def test_masks_are_arrays_and_paths(tiny: str, grammar: str) -> None:
    found = studies.mask(tiny, grammar, task="cola", limit=40, heads_left=10)
    assert found.mask.sum() == 10 and len(found.heads_removed) == 6
    assert all(found.mask[head] == 0 for head in found.heads_removed)
    assert found.curve["heads_left"][-1] == 10 and "10 of 16 heads left" in repr(found)
    ours = studies.evaluate(tiny, grammar, task="cola", limit=40, mask=found.mask)
    assert (
        ours.metrics
        == studies.evaluate(tiny, grammar, task="cola", limit=40, mask=found.path / "head_mask.npy").metrics
    )
    assert ours.metrics == studies.evaluate(tiny, grammar, task="cola", limit=40, heads=found.heads_removed).metrics
    curves = studies.mask(tiny, grammar, task="cola", limit=40, schedule="50%", seeds=1)
    assert set(curves.curve["order"]) >= {"importance"} and "points" in repr(curves)


def test_a_pruned_model_is_a_model(tiny: str, labelled: Any, tmp_path: Path) -> None:
    pruned = studies.prune(tiny, labelled, heads=[(0, 1), (1, 2)], output=tmp_path / "pruned")
    assert pruned.heads_removed == [(0, 1), (1, 2)] and pruned.mask.sum() == 14
    assert studies.inspect(pruned)["heads_present"] == 14
    scored = studies.evaluate(pruned, labelled)
    assert scored.metrics["loss"] == pytest.approx(pruned.after["loss"], abs=1e-6)
    assert pruned.before["mcc"] >= -1 and "14 of 16 heads left" in repr(pruned)


def test_a_compressed_model_is_a_model(tiny: str, labelled: Any, tmp_path: Path) -> None:
    small = studies.compress(tiny, labelled, flops="60%", output=tmp_path / "small")
    assert small.mask.shape == (4, 4) and small.neuron_mask.shape[0] == 4
    assert small.layers["heads_after"].tolist() == small.mask.sum(axis=1).tolist()
    assert "of the operations left" in repr(small)
    scored = studies.evaluate(small, labelled)
    assert scored.metrics["loss"] == pytest.approx(small.after["loss"], abs=1e-5)
    with pytest.raises(KeyError):
        _ = small.points
    dropped = studies.compress(tiny, labelled, max_drop="50%", examples=20, metric="mcc")
    assert dropped.points["operations"][0] == 1


def test_a_model_of_fewer_tokens_is_a_model(tiny: str, labelled: Any, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("".join(f"{row[0]}\n" for row in labelled), encoding="utf-8")
    small = studies.compress(tiny, labelled, trim_vocabulary=[texts], output=tmp_path / "small")
    before, after = small.results["vocabulary"]["rows"]
    assert after < before and len(small.vocabulary) == after and f"{after} of {before} tokens" in repr(small)
    assert small.results["vocabulary"]["scored"]["gone"] == 0 and small.before == small.after
    text = labelled[0][0]
    whole, smaller = (Model.from_pretrained(folder) for folder in (tiny, small.path / "model"))
    assert smaller.tokenize(text) == whole.tokenize(text)
    np.testing.assert_array_equal(smaller([text]).logits, whole([text]).logits)
    with pytest.raises(KeyError):
        _ = small.layers
    both = studies.compress(tiny, labelled, trim_vocabulary=[texts], flops="60%")
    alone = studies.compress(tiny, labelled, flops="60%")
    assert both.after == alone.after and both.mask.tolist() == alone.mask.tolist()
    with pytest.raises(KeyError):
        _ = alone.vocabulary


def test_measures_are_judged(tiny: str, labelled: Any) -> None:
    run = studies.judge(tiny, labelled, measures=["fisher", "leave-one-out"], seeds=2, left=["50%"], examples=10)
    assert set(run.measures["measure"].tolist()) == {"fisher", "leave-one-out", "random"}
    assert len(run.curves) == 2 * 3 * 2 and len(run.differences) == 3 and len(run.units) == 2 * 3 * 16
    assert "of 3 differences are real" in repr(run)


def test_a_dry_run_prunes_nothing(tiny: str, tmp_path: Path) -> None:
    found = studies.prune(tiny, heads=[(0, 1)], dry_run=True)
    assert isinstance(found, Document) and found["results"]["removed_heads"] == ["L0H1"]
    with pytest.raises(TypeError, match="leave output= out"):
        studies.prune(tiny, heads=[(0, 1)], dry_run=True, output=tmp_path / "out")


def test_smaller_models_are_made_where_the_model_is(tiny: str, labelled: Any) -> None:
    # Without cards this is the processor; what was said of the model is said to the command.
    there = Model.from_pretrained(tiny, device="auto")
    assert studies.prune(there, heads=[(0, 1)], dry_run=True)["options"]["device"] == "auto"
    assert studies.prune(there, heads=[(0, 1)], dry_run=True, device="cpu")["options"]["device"] == "cpu"
    with pytest.raises(WorkError, match="gpu:no such card cannot be used"):
        studies.compress(tiny, labelled, flops="60%", device="gpu:no such card")
    with pytest.raises(WorkError, match="gpu:no such card cannot be used"):
        studies.judge(tiny, labelled, device="gpu:no such card")


def test_predictions(tiny: str) -> None:
    run = studies.predict(tiny, ["The woman faints.", "The woman faint."])
    assert run.labels == ["LABEL_1", "LABEL_0"]
    assert "2 rows" in repr(run)


def test_studies_of_treebanks(tiny: str, trees: tuple[str, str]) -> None:
    run = studies.syntax(tiny, trees[0])
    assert run.correct.shape[1:3] == (4, 4) and "% right" in repr(run)
    assert len(run.relations) > 10
    assert len(studies.coref(tiny, trees[0]).baselines) > 3
    distance = studies.distance(tiny, trees[0])
    assert distance.words.shape == (4, 4) and "words" in repr(distance)
    clusters = studies.cluster(tiny, trees[0], limit=10)
    assert sum(len(cluster) for cluster in clusters.clusters) == 16 == len(clusters.heads)
    assert np.allclose(clusters.distances, clusters.distances.T)
    found = studies.survey(tiny, trees[0], studies=["patterns", "syntax"])
    assert {name: type(one).__name__ for name, one in found.items()} == {"patterns": "Patterns", "syntax": "Syntax"}
    assert found["syntax"].results["relations"] == run.results["relations"]


def test_relations(tiny: str, tmp_path: Path) -> None:
    rows = [{"words": ["The", "woman", "faints"], "pairs": [[0, 1, "det"], [1, 2, "nsubj"]]} for _ in range(3)]
    run = studies.relations(tiny, rows, train=rows)
    assert len(run.heads) == 2 * 16 and len(run.regressions) == 2 and "of its attention" in repr(run)
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert studies.relations(tiny, path).results["relations"][0]["share"] == run.results["relations"][0]["share"]
    assert studies.relations(tiny, rows, distances=["near=1-1", "far=2-"]).results["relations"][1]["pairs"] == 0
    (tmp_path / "p.fasta").write_text(">p\nMKTAYIAKQRQISFVK\n")
    (tmp_path / "p.jsonl").write_text('{"id": "p", "contacts": [[0, 9], [2, 14]]}')
    found = studies.contacts(tiny, tmp_path / "p.fasta", contacts=tmp_path / "p.jsonl")
    assert [row["pairs"] for row in found.results["relations"]] == [1, 1, 0]
    with pytest.raises(TypeError, match="reads sequences from a file"):
        studies.contacts(tiny, ["MKT"], contacts=tmp_path / "p.jsonl")


def test_probes(tiny: str, trees: tuple[str, str], tmp_path: Path) -> None:
    run = studies.attention_probe(tiny, trees[0], dev=trees[1], probe=["attention"])
    assert run.weights.shape == (2, 4, 4) and "attention" in repr(run)
    for name, file in zip(("train", "dev"), trees, strict=True):
        made = studies.edge_data("ud_upos", file, output=tmp_path / f"{name}.jsonl")
        assert made["targets"] > 100
    options: dict[str, Any] = {"controls": "none", "seeds": 1, "epochs": 1}
    edge = studies.edge_probe(tiny, tmp_path / "train.jsonl", dev=tmp_path / "dev.jsonl", **options)
    assert edge.tasks == ["train"] and len(edge.layers) == 5
    assert studies.edge_data("check", tmp_path / "dev.jsonl", tiny, train=tmp_path / "train.jsonl")["labels"]
    with pytest.raises(ValueError, match="no such corpus"):
        studies.edge_data("of_tomorrow", trees[0])


def test_a_trained_model_is_a_model(tiny: str, labelled: Any) -> None:
    run = studies.finetune(
        tiny, labelled, dev=labelled[:20], max_steps=2, batch_size=4, checkpoints=True, evaluate_every=1
    )
    assert len(run.training) == 2 and "mcc" in run.metrics
    assert studies.inspect(run)["num_layers"] == 4
    found = studies.dynamics(run.checkpoints, labelled, schedule="50%", seeds=1)
    assert found.importance.shape == (3, 4, 4) and len(found.steps) == 3
    by_step = {10: run.checkpoints[0], 20: run.checkpoints[2]}
    assert studies.dynamics(by_step, labelled, schedule="50%", seeds=1).steps["step"].tolist() == [10, 20]


def test_code(tmp_path: Path) -> None:
    options: dict[str, Any] = {"limit": 15, "permutations": 5, "resamples": 20, "downstream": {"bleu": 19.5}}
    run = studies.cat(ASSETS / "tiny-code", ASSETS / "code" / "functions.jsonl", **options)
    assert run.scores.shape == (4, 4) and run.results["downstream"] == {"bleu": 19.5}
    assert studies.cat_tree(ASSETS / "code" / "functions.jsonl", line=1)["language"] == "python"


def test_bench_and_verify(tiny: str) -> None:
    run = studies.bench(tiny, rounds=2, batch_sizes=[1, 2], lengths=8)
    assert run.timings["batch_size"].tolist() == [1, 2]
    golden = ASSETS.parent / "golden" / "engine" / "bert-absolute"
    found = studies.verify(golden, reference=golden / "golden.safetensors", prefix="ones.")
    assert found.agrees and len(found.comparisons) > 10 and "agrees" in repr(found)
    closer = studies.verify(golden, reference=golden / "golden.safetensors", prefix="ones.", tolerance=1e-12)
    assert not closer.agrees and "differs" in repr(closer)


def test_pages(tiny: str, tmp_path: Path) -> None:
    page = studies.view(tiny, "The woman faints.", output=tmp_path / "page.html")
    assert page.html == (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.save(tmp_path / "other.html").read_text(encoding="utf-8") == page.html
    assert "<iframe" in page._repr_html_()
    assert studies.view(tiny, "-v is no option", no_masking=True).html
    with pytest.raises(TypeError, match="one by one"):
        studies.view(tiny, "The woman faints.", ["The woman faint."])
    several = studies.view(tiny, ["The woman faints.", "The woman faint."])
    assert "faints" in several.html and several["texts"] == 2


def test_what_is_made_of_runs(tiny: str, labelled: Any, tmp_path: Path) -> None:
    first = studies.importance(tiny, labelled, output=tmp_path / "first")
    second = studies.ablate(tiny, labelled)
    table = studies.heads([first, second])
    assert np.allclose(table["importance"].reshape(4, 4), first.scores)
    assert np.allclose(table["ablation_change"].reshape(4, 4), second.changes)
    assert studies.compare(first, tmp_path / "first")["heads"][0]["spearman"] == 1.0
    (tmp_path / "first" / "report.html").unlink()
    studies.report(first)
    assert "<html" in first.html


def test_demonstrations() -> None:
    runs = studies.demo(threads=1)
    assert {"importance", "mask", "prune"} <= set(runs)
    assert runs["mask"].path.exists()


def test_options_are_listed() -> None:
    table = studies.options("importance")
    assert "max_length" in table["name"] and "part" not in table["name"]
    assert any("documents=" in text for text in table["help"])
    assert "mlm" in table["values"][table["name"].tolist().index("objective")]
    with pytest.raises(ValueError, match="no such function"):
        studies.options("nonsense")


def test_what_is_refused(tiny: str, labelled: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="did you mean max_length"):
        studies.importance(tiny, labelled, max_lenght=3)  # type: ignore[call-arg]
    with pytest.raises(_native.InputError, match=r"give the text without labels.*label_column= out"):
        studies.importance(ASSETS / "tiny-gpt2", labelled, label="label")
    with pytest.raises(ValueError):
        studies.importance(tiny, labelled, batch_size=0)
    with pytest.raises(TypeError, match="give it as output="):
        studies.importance(tiny, labelled, resume=True)
    with pytest.raises(TypeError, match="a dict cannot be given"):
        studies.importance({}, labelled)
    with pytest.raises(TypeError, match="given twice"):
        studies.importance(tiny, labelled, text_column="text", data="x") if False else studies.syntax(
            tiny, TREES, conllu=TREES
        )
    with pytest.raises(TypeError, match=r"bertology\.distributed"):
        studies.importance(tiny, labelled, part="1/2", output=tmp_path / "x")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="there are none"):
        studies.importance(tiny, pair="x")
    with pytest.raises(_native.InputError, match="no folder"):
        studies.importance(tmp_path / "no model", labelled)
    with pytest.raises(_native.WorkError, match="no such file"):
        studies.importance(tiny, tmp_path / "no file.txt")
    assert list(tmp_path.iterdir()) == []


def test_a_run_goes_on_and_is_written_over(tiny: str, labelled: Any, tmp_path: Path) -> None:
    first = studies.evaluate(tiny, labelled, output=tmp_path)
    assert studies.evaluate(tiny, labelled, output=tmp_path, resume=True).record == first.record
    with pytest.raises(_native.InputError, match="overwrite=True"):
        studies.evaluate(tiny, labelled, output=tmp_path)
    again = studies.evaluate(tiny, labelled[:20], output=tmp_path, overwrite=True)
    assert again.data["file"]["examples"] == 20


def test_parts_become_a_run(tiny: str, grammar: str, tmp_path: Path) -> None:
    from bertology._call import call

    common = ["evaluate", tiny, "--task=cola", f"--data={grammar}", "--limit=40", "--chunk=8"]
    parts = [tmp_path / f"part-{k}" for k in (1, 2)]
    call([*common, "--part=1/2", f"--output={parts[0]}"], False)
    assert studies.status(parts[0])["missing"] == ["2/2"]
    call([*common, "--part=2/2", f"--output={parts[1]}"], False)
    merged = studies.merge(parts)
    assert type(merged).__name__ == "Evaluation" and len(merged.table("predictions")) == 40
    assert isinstance(studies.merge(parts, output=tmp_path / "merged"), Run)


def test_progress_is_told(tiny: str, labelled: Any, caplog: pytest.LogCaptureFixture) -> None:
    told: list[tuple[str, int, int]] = []
    with caplog.at_level(logging.WARNING, "bertology"):
        studies.evaluate(tiny, labelled, progress=lambda *how: told.append(how))
    assert told[0][1] == 0 and told[-1][1] == told[-1][2]


@pytest.mark.parametrize("kept", [True, False])
def test_ctrl_c_is_an_exception_of_its_own(kept: bool, tiny: str, grammar: str, tmp_path: Path) -> None:
    def interrupting(_: str, done: int, __: int) -> None:
        if done:
            signal.raise_signal(signal.SIGINT)

    options: dict[str, Any] = {"task": "cola", "split": "train", "threads": 1, "limit": 3000, "chunk": 16}
    output = tmp_path / "run" if kept else None
    with pytest.raises(_native.Interrupted, match="is kept in" if kept else "nothing is kept without output="):
        studies.ablate(tiny, grammar, output=output, progress=interrupting, **options)
    assert (tmp_path / "run" / "state.json").exists() == kept
    assert not (tmp_path / "run" / "run.json").exists()


def test_notes_are_log_records(caplog: pytest.LogCaptureFixture) -> None:
    with _progress.Listener(False) as listener, caplog.at_level(logging.WARNING, "bertology"):
        listener.note("cut to 128 tokens; --max-length N says otherwise")
    assert caplog.messages == ["cut to 128 tokens; max_length=N says otherwise"]


@pytest.mark.parametrize("installed", [True, False])
def test_bars_are_drawn_and_go_away(installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if installed:
        pytest.importorskip("tqdm")
    else:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(sys, "stderr", screen := io.StringIO())
    with _progress.Listener(True) as listener:
        listener.begin("importance", "examples", 4)
        listener.advance(2)
        listener.begin("evaluation", "examples", 4)
        listener.advance(4)
    shown = screen.getvalue()
    assert "importance" in shown and "evaluation" in shown and "0" in shown
    assert shown.rsplit("\r", 1)[-1].strip() == ""
    silent = io.StringIO()
    monkeypatch.setattr(sys, "stderr", silent)
    with _progress.Listener(None) as listener:
        listener.begin("importance", "examples", 4)
    assert silent.getvalue() == ""
