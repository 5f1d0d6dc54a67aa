"""Models, passes, experiments and pruning on the embedded models; no torch, no network."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import threading
from pathlib import Path

import bertology
import numpy as np
import pytest
from bertology import embedded, studies

ASSETS = Path(__file__).parents[2] / "assets"
TEXTS = ["The woman faints.", "The horses near the house were admired."]


@pytest.fixture(scope="module")
def bert() -> bertology.Model:
    return bertology.Model.from_pretrained(ASSETS / "tiny-bert")


@pytest.fixture(scope="module")
def gpt2() -> bertology.Model:
    return bertology.Model.from_pretrained(ASSETS / "tiny-gpt2")


def test_shapes_are_those_of_each_text(bert: bertology.Model) -> None:
    out = bert(TEXTS, output_hidden_states=True, output_attentions=True, output_head_outputs=True)
    assert len(out) == 2 and len(out.hidden_states) == 2
    for text, of in zip(TEXTS, out, strict=True):
        tokens = len(bert.tokenize(text))
        assert of.tokens == bert.tokenize(text) and len(of) == tokens
        assert [state.shape for state in of.hidden_states] == [(tokens, 128)] * 5
        assert [map_.shape for map_ in of.attentions] == [(4, tokens, tokens)] * 4
        assert [output.shape for output in of.head_outputs] == [(4, tokens, 32)] * 4
        for map_ in of.attentions:
            np.testing.assert_allclose(map_.sum(axis=-1), 1.0, atol=1e-6)
        assert of.logits.shape == (2,)


def test_a_batch_is_a_matter_of_speed_only(bert: bertology.Model) -> None:
    many = bert(TEXTS * 40, output_hidden_states=True)
    for at, text in enumerate(TEXTS):
        one = bert(text, output_hidden_states=True)[0]
        for layer, state in enumerate(one.hidden_states):
            np.testing.assert_allclose(many.hidden_states[40 + at][layer], state, atol=2e-5)


def test_arrays_own_what_the_engine_wrote(bert: bertology.Model) -> None:
    out = bert(TEXTS[0], output_attentions=True)
    first = out.attentions[0][0]
    # Two looks at one layer are the same memory: nothing is copied on the way.
    assert first.ctypes.data == out.attentions[0][0].ctypes.data
    assert first.flags.c_contiguous and first.flags.writeable and first.base is not None
    kept = first[1, 2].copy()
    del out
    np.testing.assert_array_equal(first[1, 2], kept)


def test_padded_is_what_transformers_gives(bert: bertology.Model) -> None:
    out = bert(TEXTS, output_hidden_states=True, output_attentions=True)
    padded = out.padded("np")
    width = max(map(len, out))
    assert padded.input_ids.shape == padded.attention_mask.shape == (2, width)
    assert padded.attention_mask.sum(axis=1).tolist() == [len(text) for text in out]
    assert len(padded.hidden_states) == 5 and padded.hidden_states[0].shape == (2, width, 128)
    assert len(padded.attentions) == 4 and padded.attentions[0].shape == (2, 4, width, width)
    short = len(out[0])
    np.testing.assert_array_equal(padded.attentions[1][0, :, :short, :short], out.attentions[0][1])
    assert not padded.attentions[1][0, :, short:].any()
    assert padded.logits.shape == (2, 2)
    with pytest.raises(bertology.InputError, match="return_tensors"):
        out.padded("tf")


def test_what_was_not_asked_for_says_how_to_ask(bert: bertology.Model) -> None:
    out = bert(TEXTS)
    with pytest.raises(AttributeError, match="output_attentions=True"):
        _ = out.attentions
    with pytest.raises(AttributeError, match="labels="):
        _ = out[0].loss


def test_slopes_are_differences_of_the_loss(bert: bertology.Model) -> None:
    out = bert(TEXTS, labels=[1, 1])
    assert out.mask_gradients.shape == (2, 4, 4)
    step = 1e-2
    for layer, head in [(0, 1), (3, 2)]:
        mask = np.ones((4, 4))
        mask[layer, head] = 1 + step
        above = bert(TEXTS, labels=[1, 1], head_mask=mask).losses
        mask[layer, head] = 1 - step
        below = bert(TEXTS, labels=[1, 1], head_mask=mask).losses
        for text in range(2):
            slope = (above[text] - below[text]) / (2 * step)
            assert slope == pytest.approx(out.mask_gradients[text, layer, head], rel=2e-2, abs=2e-4)


def test_a_head_put_out_is_a_head_pruned(bert: bertology.Model) -> None:
    mask = np.ones((4, 4))
    mask[2, 0] = mask[0, 3] = 0
    masked = bert(TEXTS, head_mask=mask)
    pruned = bert.prune_heads({2: [0], 0: [3]})
    assert pruned.heads[2] == [1, 2, 3] and bert.heads[2] == [0, 1, 2, 3]
    for one, other in zip(masked.logits, pruned(TEXTS).logits, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    with bert.experiment(TEXTS[0]) as e:
        e.zero(2, 0)
        e.zero(0, 3)
    np.testing.assert_allclose(e.logits, masked.logits[0], atol=1e-5)


def test_a_patch_brings_what_another_text_had(bert: bertology.Model) -> None:
    whole = bert.experiment(TEXTS[0]).values("hidden_state")
    other = bert.experiment("The woman faint.").values("hidden_state")
    assert not np.allclose(whole.logits, other.logits)
    patched = bert.experiment(TEXTS[0]).patch("hidden_state", other.value("hidden_state", layer=3), layer=3)
    np.testing.assert_allclose(patched.logits, other.logits, atol=1e-6)
    outputs = bert.experiment(TEXTS[0]).values("head_output")
    same = bert.experiment(TEXTS[0]).patch("head_output", outputs.value("head_output", layer=1), layer=1)
    np.testing.assert_allclose(same.logits, whole.logits, atol=1e-6)
    with pytest.raises(bertology.InputError, match="head_output"):
        bert.experiment(TEXTS[0]).patch("head_output", np.zeros((3, 3)), layer=1)


def test_a_mean_is_over_all_tokens(bert: bertology.Model) -> None:
    outputs = bert(TEXTS, output_head_outputs=True)
    rows = np.concatenate([outputs.head_outputs[text][1][2] for text in range(2)])
    np.testing.assert_allclose(bert.mean_head_output(1, 2, TEXTS), rows.mean(axis=0), atol=1e-6)


def test_language_models(gpt2: bertology.Model) -> None:
    out = gpt2(TEXTS[1], labels=["next"], output_logits=True)
    logits, ids = out.logits[0], out[0].input_ids
    assert logits.shape == (len(ids), gpt2.config["vocab_size"])
    shifted = logits[:-1].astype(np.float64)
    loss = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(ids) - 1), ids[1:]]
    assert out.losses[0] == pytest.approx(loss.mean(), rel=1e-5)
    ready = gpt2([[int(one) for one in ids]], labels=["next"])
    assert ready.losses[0] == pytest.approx(out.losses[0], rel=1e-5)


def test_saved_models_open_again(bert: bertology.Model, tmp_path: Path) -> None:
    pruned = bert.prune_heads({1: [0, 2]})
    names = pruned.save_pretrained(tmp_path / "smaller")
    assert {"config.json", "model.safetensors"} <= set(names)
    again = bertology.Model.from_pretrained(tmp_path / "smaller")
    assert again.heads == pruned.heads and again.parameters == pruned.parameters
    np.testing.assert_allclose(again(TEXTS).logits[0], pruned(TEXTS).logits[0], atol=1e-6)
    with pytest.raises(bertology.Error, match="smaller"):
        pruned.save_pretrained(tmp_path / "smaller")
    copy = pickle.loads(pickle.dumps(pruned))
    np.testing.assert_array_equal(copy(TEXTS).logits[0], pruned(TEXTS).logits[0])


def test_models_of_the_hub_keep_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    place = tmp_path / "models--someone--tiny"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    shutil.copytree(ASSETS / "tiny-bert", place / "snapshots" / commit)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = bertology.Model.from_pretrained("someone/tiny", cache_dir=tmp_path)
    assert model.name == "someone/tiny"
    run = model.head_importance(embedded.sentences()[:20], progress=False)
    assert run.model["name"] == "someone/tiny" and run.model["commit"] == commit
    assert "someone/tiny" in repr(model)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again(TEXTS[0]).logits[0], model(TEXTS[0]).logits[0])


def test_pages_name_a_model_in_memory_by_its_name() -> None:
    page = bertology.view(embedded.model(), [TEXTS[0], TEXTS[1]], progress=False)
    html = page._repr_html_()
    assert "tiny-bert" in html and "in-memory" not in html


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda model: model([3.5]), "no text"),
        (lambda model: model("a", values=["nothing"]), "there is no site"),
        (lambda model: model("a", gradients=["attention"]), "targets"),
        (lambda model: model(["a", "b"], labels=[1]), "1 targets for 2 inputs"),
        (lambda model: model("a", labels=[7]), "7"),
        (lambda model: model("a", labels=["what"]), "no target"),
        (lambda model: model("a", head_mask=np.ones((2, 4))), "shape"),
        (lambda model: model("a", head_mask=np.full(4, np.nan)), "NaN"),
        (lambda model: model("word " * 2000), "positions for 64"),
        (lambda model: model([[0, 10**6]]), "1000000"),
        (lambda model: model("a", max_length=10**6), "1000000"),
        (lambda model: model.prune_heads({9: [0]}), "layer 9"),
        (lambda model: model.experiment("a").zero(0, 9).run(), "head 9"),
        (lambda _: bertology.Model.from_pretrained("./nowhere"), "nowhere"),
        (lambda _: bertology.Model.from_pretrained(ASSETS / "tiny-bert", head="tail"), "tail"),
        (lambda _: bertology.Model.from_pretrained(ASSETS / "tiny-bert", head="causal-lm"), "."),
    ],
)
def test_wrong_input_is_one_sentence(bert: bertology.Model, call, said: str) -> None:
    with pytest.raises(bertology.Error, match=said) as caught:
        call(bert)
    assert isinstance(caught.value, ValueError | RuntimeError) and "\n" not in str(caught.value)


def test_other_threads_run_while_the_model_works(gpt2: bertology.Model) -> None:
    texts = [TEXTS[1]] * 3000
    turns, begun, over = 0, threading.Event(), threading.Event()

    def count() -> None:
        nonlocal turns
        begun.set()
        while not over.is_set():
            turns += 1

    thread = threading.Thread(target=count)
    thread.start()
    begun.wait()
    before = turns
    gpt2(texts, threads=1)
    during = turns - before
    over.set()
    thread.join()
    # With the lock held all the while it would have had no turn at all.
    assert during > 10_000


def test_ctrl_c_stops_a_pass(gpt2: bertology.Model) -> None:
    texts = [TEXTS[1]] * 20_000
    # The signal comes while the texts are on their way: nothing of ours decides when.
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        while True:
            gpt2(texts, threads=1)


def test_a_device_is_the_processor_or_an_error_that_says_why(tiny: str) -> None:
    assert bertology.devices()["devices"][0]["device"] == "cpu"
    assert bertology.Model.from_pretrained(tiny).device == "cpu"
    assert bertology.Model.from_pretrained(tiny, device="cpu").device == "cpu"
    with pytest.raises(bertology.InputError, match="cuda:0 is no device"):
        bertology.Model.from_pretrained(tiny, device="cuda:0")
    with pytest.raises(bertology.WorkError, match="everything runs on the processor"):
        bertology.Model.from_pretrained(tiny, device="gpu:no such card")


def test_precision_is_obeyed_and_told(tmp_path: Path) -> None:
    folder = ASSETS / "tiny-bert"
    names = ("f32", "split", "bf16")
    models = {name: bertology.Model.from_pretrained(folder, precision=name) for name in names}
    states = {name: model(TEXTS, output_hidden_states=True).hidden_states[0][-1] for name, model in models.items()}
    largest = np.abs(states["f32"]).max()
    errors = {name: np.abs(state - states["f32"]).max() / largest for name, state in states.items()}
    assert errors["f32"] == 0
    assert 0 < errors["split"] < 1e-4 < errors["bf16"] < 0.1
    assert models["bf16"].precision == "bf16"
    assert models["bf16"].prune_heads({0: [1]}).precision == "bf16"
    assert pickle.loads(pickle.dumps(models["bf16"])).precision == "bf16"
    # The commands that run it compute as it does, and those that do not are not told.
    run = studies.importance(models["split"], embedded.sentences()[:20], output=tmp_path / "out", progress=False)
    assert run.record["options"]["precision"] == "split"
    assert studies.inspect(models["split"])["num_layers"] == 4
    with pytest.raises(bertology.InputError, match="there are f32, split and bf16"):
        bertology.Model.from_pretrained(folder, precision="fp16")


def test_contacts_are_those_of_transformers(tmp_path: Path, bert: bertology.Model) -> None:
    golden = ASSETS.parent / "golden"
    for folder, names in (
        ("engine/esm-mlm", ["config.json", "model.safetensors"]),
        ("tokenizer/esm", ["vocab.txt", "tokenizer_config.json"]),
    ):
        for name in names:
            shutil.copy(golden / folder / name, tmp_path)
    model = bertology.Model.from_pretrained(tmp_path)
    raw = (golden / "engine/esm-mlm/contacts.safetensors").read_bytes()
    header = 8 + int.from_bytes(raw[:8], "little")
    places = json.loads(raw[8:header])

    def stored(name: str, dtype: str) -> np.ndarray:
        first, last = places[name]["data_offsets"]
        return np.frombuffer(raw[header + first : header + last], dtype).reshape(places[name]["shape"])

    lengths = stored("attention_mask", "<i8").sum(axis=1)
    rows = [row[:length].tolist() for row, length in zip(stored("input_ids", "<i8"), lengths, strict=True)]
    found = model.contacts(rows)
    for ours, theirs, length in zip(found, stored("contacts", "<f4"), lengths - 2, strict=True):
        assert ours.shape == (length, length) and (ours == ours.T).all()
        assert np.abs(ours - theirs[:length, :length]).max() < 1e-5
    # Heads that are off or gone have nothing to say.
    without = model.prune_heads({layer: range(model.num_heads) for layer in range(1)})
    mask = np.ones((model.num_layers, model.num_heads))
    mask[0] = 0
    (off,), (gone,) = model.contacts(["MKTAY"], head_mask=mask), without.contacts(["MKTAY"])
    assert off.shape == (5, 5)
    assert np.abs(off - gone).max() < 1e-6
    with pytest.raises(bertology.InputError, match="contact"):
        bert.contacts(TEXTS)
