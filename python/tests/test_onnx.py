"""Exported files in onnxruntime against the engine that they were exported from, and against golden values."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bertology
import numpy as np
import pytest
from bertology import embedded, studies
from conftest import ASSETS

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
safetensors = pytest.importorskip("safetensors.numpy")

ENGINE = ASSETS.parent / "golden" / "engine"
FOLDERS = sorted(folder.name for folder in ENGINE.iterdir() if folder.is_dir())
#: Of the largest number of an output, or of 1: sums in f32 in another order.
TOLERANCE = 1e-5
#: With segments, which are words there and no input of the file.
SEGMENTS_ARE_WORDS = {"gpt2-token-types"}


def golden(name: str, into: Path) -> Path:
    """A folder of golden values with the files that it shares with its neighbours, from links."""
    kept, into = ENGINE / name, into / name
    into.mkdir(exist_ok=True)
    shared = kept / "same_as.json"
    others = json.loads(shared.read_text()) if shared.exists() else {}
    files = {file.name: file for file in kept.iterdir()} | {file: ENGINE / of / file for file, of in others.items()}
    for file, path in files.items():
        if not (into / file).exists():
            (into / file).symlink_to(path)
    return into


class Exported:
    """A file in onnxruntime."""

    def __init__(self, model: bertology.Model, folder: Path) -> None:
        (path,) = model.export_onnx(folder / "model.onnx", hidden_states=True, attentions=True, overwrite=True)
        onnx.checker.check_model(str(path), full_check=True)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.path = path
        self.session = ort.InferenceSession(str(path), options)
        self.inputs = [one.name for one in self.session.get_inputs()]
        self.outputs = [one.name for one in self.session.get_outputs()]

    def run(self, **given: Any) -> dict[str, Any]:
        """Every output by its name."""
        feed = {name: given.get(name, np.zeros_like(given["input_ids"])) for name in self.inputs}
        return dict(zip(self.outputs, self.session.run(None, feed), strict=True))

    def texts(self, rows: list[list[int]], left: bool = False) -> Iterator[dict[str, Any]]:
        """Outputs of each text without its padding, of all of them in one batch."""
        longest = max(map(len, rows))
        # Whatever stands in the padding is not seen.
        ids, mask = np.full((len(rows), longest), 3, np.int64), np.zeros((len(rows), longest), np.int64)
        places = [slice(longest - len(row), longest) if left else slice(0, len(row)) for row in rows]
        for at, (row, place) in enumerate(zip(rows, places, strict=True)):
            ids[at, place], mask[at, place] = row, 1
        found = self.run(input_ids=ids, attention_mask=mask)
        for at, place in enumerate(places):
            yield {name: trimmed(name, value[at], place, longest) for name, value in found.items()}


def trimmed(name: str, value: Any, place: slice, longest: int) -> Any:
    """What an output says of real tokens."""
    if name.startswith("attentions"):
        return value[:, place, place]
    of_tokens = name.startswith(("hidden", "last", "start", "end", "prediction")) or value.shape[:1] == (longest,)
    return value[place] if of_tokens and name not in ("pooler_output",) else value


def ours(model: bertology.Model, rows: list[list[int]], names: list[str]) -> Iterator[dict[str, Any]]:
    """The same outputs from the engine."""
    pooled = ["pooled"] if "pooler_output" in names else []
    out = model(rows, output_hidden_states=True, output_attentions=True, output_logits=True, values=pooled)
    for text in out:
        found: dict[str, Any] = {}
        for name in names:
            stem, _, number = name.partition(".")
            of_tokens = text._found.get("token_logits")
            found[name] = {
                "hidden_states": lambda at=number, text=text: text.hidden_states[int(at)],
                "attentions": lambda at=number, text=text: maps(text, int(at)),
                "last_hidden_state": lambda text=text: text.hidden_states[-1],
                "pooler_output": lambda text=text: np.asarray(text.values["pooled"]).reshape(-1),
                "logits": lambda text=text: text.logits[:, 0] if text.logits.shape[1:] == (1,) else text.logits,
                "prediction_logits": lambda of=of_tokens: of,
                "seq_relationship_logits": lambda text=text: text._found["logits"],
                "sop_logits": lambda text=text: text._found["logits"],
                "start_logits": lambda of=of_tokens: of[:, 0],
                "end_logits": lambda of=of_tokens: of[:, 1],
            }[stem]()
        yield found


def maps(text: bertology.Text, layer: int) -> Any:
    """Of a layer without heads, of nobody."""
    found = text.attentions[layer]
    return np.zeros((0, len(text), len(text)), np.float32) if found is None else found


def compare(model: bertology.Model, file: Exported, rows: list[list[int]], left: bool = False) -> None:
    """Every output of every text."""
    for row, found, expected in zip(rows, file.texts(rows, left), ours(model, rows, file.outputs), strict=True):
        for name, value in expected.items():
            assert found[name].shape == value.shape, (name, found[name].shape, value.shape)
            assert np.isfinite(found[name]).all(), (name, len(row))
            if value.size:
                off = np.abs(found[name] - value).max() / max(1.0, np.abs(value).max())
                assert off < TOLERANCE, (name, len(row), off)


def rows_of(model: bertology.Model, lengths: list[int], seed: int = 0) -> list[list[int]]:
    """Texts of any tokens, those with a meaning of their own among them."""
    draw = np.random.default_rng(seed)
    return [draw.integers(0, model.config["vocab_size"], length).tolist() for length in lengths]


def lengths_to(most: int) -> list[int]:
    """Seven lengths of one batch."""
    return [most, 1, 2, 3, most // 2, most - 1, 7]


def check(model: bertology.Model, folder: Path) -> Exported:
    """One text, then seven of different lengths, padded on either side."""
    file = Exported(model, folder)
    most = min(model.max_length, 512)
    for length in {1, most}:
        compare(model, file, rows_of(model, [length], seed=length))
    rows = rows_of(model, lengths_to(most))
    compare(model, file, rows)
    compare(model, file, rows, left=True)
    return file


@pytest.mark.parametrize("name", FOLDERS)
def test_whole_and_pruned(name: str, tmp_path: Path) -> None:
    model = bertology.Model.from_pretrained(golden(name, tmp_path))
    file = check(model, tmp_path)
    reference = safetensors.load_file(tmp_path / name / "golden.safetensors")
    if name not in SEGMENTS_ARE_WORDS:
        same_as_transformers(file, reference)

    # Some heads of each layer, and of one all.
    heads = {layer: model.heads[layer][layer % 2 :: 2] for layer in range(model.num_layers)}
    heads[model.num_layers - 1] = model.heads[-1]
    if model.config["model_type"] == "albert":
        heads = dict.fromkeys(heads, model.heads[0][1:])
    pruned = model.prune_heads(heads)
    check(pruned, tmp_path)


def same_as_transformers(file: Exported, reference: dict[str, Any]) -> None:
    """Segments, and whatever else transformers was given."""
    given = {name: reference[name].astype(np.int64) for name in file.inputs if name in reference}
    given.setdefault("attention_mask", np.ones_like(given["input_ids"]))
    real = given["attention_mask"].astype(bool)
    found = file.run(**given)
    seen = 0
    for name, value in found.items():
        expected = in_reference(name, reference)
        if expected is None:
            continue
        assert value.shape == expected.shape, name
        if name.startswith("attentions"):
            keep = (real[:, None, :, None] & real[:, None, None, :]).repeat(value.shape[1], axis=1)
        elif value.shape[: real.ndim] == real.shape:
            keep = np.broadcast_to(real.reshape(*real.shape, *[1] * (value.ndim - 2)), value.shape)
        else:
            keep = np.ones(value.shape, bool)
        off = np.abs((value - expected)[keep]).max() / max(1.0, np.abs(expected[keep]).max())
        assert off < TOLERANCE, (name, off)
        seen += 1
    assert seen, sorted(reference)


def in_reference(name: str, reference: dict[str, Any]) -> Any:
    """The golden value of an output, if it was kept."""
    stem, _, number = name.partition(".")
    known = {
        "attentions": f"attention_probs.{number}",
        "pooler_output": "pooled",
        "prediction_logits": "logits",
        "sop_logits": "seq_relationship_logits",
        "start_logits": "logits",
        "end_logits": "logits",
    }
    value = reference.get(f"ones.{known.get(stem, name)}")
    if value is not None and stem in ("start_logits", "end_logits"):
        return value[..., 0 if stem == "start_logits" else 1]
    return value


#: One folder for each way in which positions, distances and masks enter.
LONG = [
    "albert",
    "bert-absolute",
    "bert-relative-key-query",
    "deberta",
    "electra-generator",
    "esm-mlm",
    "esmc",
    "eurobert",
    "gpt2-lm",
    "gte-mlm",
    "jinabert-mlm",
    "modernbert-mlm",
    "mpnet",
    "nomic",
    "roberta-mlm",
]


def stretched(name: str, into: Path, positions: int = 514) -> Path:
    """The same model with a longer table of positions."""
    source, folder = golden(name, into), into / "long"
    folder.mkdir()
    config = json.loads((source / "config.json").read_text())
    if name == "deberta":
        config["max_relative_positions"] = config["max_position_embeddings"]
    for key in ("max_position_embeddings", "n_positions"):
        if key in config:
            config[key] = positions
    draw = np.random.default_rng(5)
    tensors = safetensors.load_file(source / "model.safetensors")
    for tensor, values in tensors.items():
        rows = {"position_embeddings.weight": positions, "wpe.weight": positions}
        rows["distance_embedding.weight"] = 2 * positions - 1
        for ending, count in rows.items():
            if tensor.endswith(ending):
                more = draw.normal(scale=values.std(), size=(count - len(values), values.shape[1]))
                tensors[tensor] = np.concatenate([values, more.astype(values.dtype)])
    (folder / "config.json").write_text(json.dumps(config))
    safetensors.save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("name", LONG)
def test_long_texts(name: str, tmp_path: Path) -> None:
    model = bertology.Model.from_pretrained(stretched(name, tmp_path))
    assert model.max_length >= 512
    file = Exported(model, tmp_path)
    compare(model, file, rows_of(model, [512]))
    compare(model, file, rows_of(model, [1, 300, 511, 128]))


@pytest.mark.parametrize("name", list(embedded.MODELS))
def test_built_in_models_written_smaller(name: str, tmp_path: Path) -> None:
    """Folders that prune and compress have written, of one width for all layers, of one each, and with zeros."""
    model = embedded.model(name)
    check(model, tmp_path)
    pruned = model.prune_heads({0: [0, 2], 1: range(4)})
    pruned.save_pretrained(tmp_path / "pruned")
    check(bertology.Model.from_pretrained(tmp_path / "pruned"), tmp_path)
    pruned.save_pretrained(tmp_path / "zeros", keep_shape=True)
    zeros = bertology.Model.from_pretrained(tmp_path / "zeros")
    file = check(zeros, tmp_path)
    assert file.session.get_outputs()[file.outputs.index("attentions.0")].shape[1] == 2

    ids = tmp_path / "ids.txt"
    rows = rows_of(model, [12] * 40)
    ids.write_text("".join(" ".join(map(str, row)) + "\n" for row in rows))
    data: dict[str, Any] = {"token_ids": ids}
    if name == "tiny-bert":
        data = {"data": embedded.sentences()[:60]}
    for uniform in (False, True):
        output = tmp_path / f"smaller-{uniform}"
        small = studies.compress(model, **data, flops="50%", uniform=uniform or None, output=output)
        config = json.loads((output / "model" / "config.json").read_text())
        assert uniform or "intermediate_sizes" in config or small.mask.min() == 0
        check(bertology.Model.from_pretrained(output / "model"), tmp_path)


def test_gated_blocks_may_be_narrow(tmp_path: Path) -> None:
    """Widths that differ from layer to layer, of a block whose first map has two halves in one tensor."""
    source, folder = golden("modernbert", tmp_path), tmp_path / "narrow"
    folder.mkdir()
    config = json.loads((source / "config.json").read_text())
    tensors = safetensors.load_file(source / "model.safetensors")
    wide, widths = config["intermediate_size"], []
    for layer in range(config["num_hidden_layers"]):
        width = wide - 3 * layer
        widths.append(width)
        stem = f"model.layers.{layer}.mlp."
        for tensor in [tensor for tensor in tensors if tensor.startswith(stem)]:
            values = tensors[tensor]
            if tensor.startswith(stem + "Wi"):
                tensors[tensor] = np.concatenate([values[:width], values[wide:][:width]])
            elif tensor == stem + "Wo.weight":
                tensors[tensor] = np.ascontiguousarray(values[:, :width])
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_sizes": widths}))
    safetensors.save_file(tensors, folder / "model.safetensors")
    check(bertology.Model.from_pretrained(folder), tmp_path)


def test_what_the_file_says(tiny: str, tmp_path: Path) -> None:
    model = bertology.Model.from_pretrained(tiny)
    (path,) = model.export_onnx(tmp_path / "model.onnx")
    read = onnx.load(str(path))
    assert (read.producer_name, read.producer_version) == ("bertology", bertology.__version__)
    assert [(one.domain, one.version) for one in read.opset_import] == [("", 17)]
    said = {entry.key: entry.value for entry in read.metadata_props}
    assert said["source"] == "tiny-bert" and said["max_length"] == "64"
    assert json.loads(said["id2label"]) == {str(at): label for at, label in enumerate(model.labels)}
    assert [one.name for one in read.graph.output] == ["logits"]
    with pytest.raises(bertology.InputError, match="is there already"):
        model.export_onnx(path)
    with pytest.raises(bertology.InputError, match="is a folder"):
        model.export_onnx(tmp_path)
    # The command writes the same bytes.
    other = tmp_path / "other.onnx"
    document = studies.export(tiny, output=other)
    assert other.read_bytes() == path.read_bytes()
    assert document["bytes"] == os.path.getsize(other)
