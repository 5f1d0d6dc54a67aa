#!/usr/bin/env python3
"""Write the engine's golden files: small random checkpoints and what transformers computes on them.

Every folder holds a genuine checkpoint (`save_pretrained`) and `golden.safetensors` with the inputs,
the activations and the gradients at the engine's sites, in float32 with eager attention and dropout off.
README.md beside this file lists the tensor names.

    make_golden.py            write all folders
    make_golden.py --check    make them again in a temporary directory and compare with the committed ones
"""

import argparse
import hashlib
import json
import math
import shutil
import sys
import tempfile
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertForSequenceClassification,
    BertModel,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
    RobertaModel,
)
from transformers.models.roberta.modeling_roberta import create_position_ids_from_input_ids

import shared

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "golden/engine"
SEED = 20240607
TOLERANCE = 1e-6
IGNORED = -100  # the label transformers' cross-entropy skips

# The heads that the two pruned checkpoints have lost.
PRUNED = {0: [0, 2], 2: [1, 2, 3]}


# ---------------------------------------------------------------- models and inputs


def rng(*key):
    """One independent stream per name, so that adding a tensor never changes another."""
    words = [zlib.crc32(str(k).encode()) for k in key]
    return np.random.default_rng([SEED, *words])


def randomise(model):
    """Weights large enough that attention is far from uniform and every bias and norm matters."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = rng("weight", name).standard_normal(tuple(parameter.shape))
            if "LayerNorm.weight" in name or "layer_norm.weight" in name:
                value = 1.0 + 0.3 * noise
            elif name.endswith("embeddings.weight"):
                value = 0.8 * noise
            elif "distance_embedding" in name:
                value = 0.4 * noise
            else:
                value = 0.3 * noise
            parameter.copy_(torch.from_numpy(value.astype(np.float32)))
    return model.eval()


MAIN = dict(vocab_size=60, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48)
SMALL = dict(vocab_size=60, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40)


def bert_config(shape, **more):
    return BertConfig(**{**shape, "max_position_embeddings": 24, "type_vocab_size": 2, **more})


def roberta_config(shape, **more):
    fixed = dict(
        max_position_embeddings=26,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    return RobertaConfig(**{**shape, **fixed, **more})


def bert_inputs():
    """Four texts of 8, 5, 7 and 4 tokens: pair, single, pair, single. [CLS] 2, [SEP] 3, [PAD] 0."""
    draw = rng("bert inputs")
    ids = np.zeros((4, 8), np.int64)
    types = np.zeros((4, 8), np.int64)
    for row, (first, second) in enumerate([(3, 2), (3, 0), (1, 3), (2, 0)]):
        text = [2, *draw.integers(5, 60, first), 3]
        pair = [*draw.integers(5, 60, second), 3] if second else []
        ids[row, : len(text) + len(pair)] = [*text, *pair]
        types[row, len(text) : len(text) + len(pair)] = 1
    return as_inputs(ids, ids != 0, types)


def roberta_inputs():
    """The same lengths; a pair is <s> a </s></s> b </s>. <s> 0, </s> 2, <pad> 1, no segments."""
    draw = rng("roberta inputs")
    ids = np.full((4, 8), 1, np.int64)
    for row, (first, second) in enumerate([(2, 2), (3, 0), (1, 2), (2, 0)]):
        text = [0, *draw.integers(5, 60, first), 2]
        pair = [2, *draw.integers(5, 60, second), 2] if second else []
        ids[row, : len(text) + len(pair)] = [*text, *pair]
    return as_inputs(ids, ids != 1, np.zeros_like(ids))


def as_inputs(ids, attended, types):
    arrays = dict(input_ids=ids, attention_mask=attended.astype(np.int64), token_type_ids=types)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def masked_lm_labels(inputs):
    """Labels at two or three positions of each text, never at padding; the rest is ignored."""
    draw = rng("masked lm labels")
    labels = np.full(tuple(inputs["input_ids"].shape), IGNORED, np.int64)
    for row, length in enumerate(inputs["attention_mask"].sum(1).tolist()):
        places = draw.choice(np.arange(length), size=2 + row % 2, replace=False)
        labels[row, places] = draw.integers(5, 60, len(places))
    return torch.from_numpy(labels)


def head_masks(layers, heads):
    some = torch.ones(layers, heads)
    some[0, 1] = 0.0
    some[1, 0] = 0.0
    some[1, 2] = 0.5
    some[layers - 1, heads - 1] = 0.0
    layer_off = torch.ones(layers, heads)
    layer_off[1, :] = 0.0
    layer_off[0, 2] = 0.0
    return {"ones": torch.ones(layers, heads), "some": some, "layer_off": layer_off}


# ---------------------------------------------------------------- losses per example


def class_loss(logits, labels):
    return torch.nn.functional.cross_entropy(logits, labels, reduction="none")


def regression_loss(logits, labels):
    return (logits[:, 0] - labels) ** 2


def masked_lm_loss(logits, labels):
    """Mean over each example's own labelled positions."""
    each = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), reduction="none", ignore_index=IGNORED
    ).view(labels.shape)
    return each.sum(1) / (labels != IGNORED).sum(1)


# ---------------------------------------------------------------- capturing the sites


@contextmanager
def softmax_recorded(record):
    """Eager attention calls `nn.functional.softmax` once a layer; keep what goes in and what comes out."""
    original = torch.nn.functional.softmax

    def recorded(scores, dim=None, **rest):
        probs = original(scores, dim=dim, **rest)
        record.append((scores, probs))
        return probs

    torch.nn.functional.softmax = recorded
    try:
        yield
    finally:
        torch.nn.functional.softmax = original


def scores_before_padding(layer, query, key):
    """Scaled scores without the additive key mask, which would swallow the scores of padded keys."""
    attention = layer.attention.self
    scores = query @ key.transpose(-1, -2)
    kind = attention.position_embedding_type
    if kind != "absolute":
        place = torch.arange(query.shape[2])
        distance = place[:, None] - place[None, :] + attention.max_position_embeddings - 1
        embedded = attention.distance_embedding(distance)
        scores = scores + torch.einsum("bhld,lrd->bhlr", query, embedded)
        if kind == "relative_key_query":
            scores = scores + torch.einsum("bhrd,lrd->bhlr", key, embedded)
    return scores / math.sqrt(attention.attention_head_size)


def run(model, inputs, head_mask, loss_of, logits_of):
    """One forward and one backward pass; every site's value and, where a loss exists, its gradient."""
    base = model.base_model
    heads = base.config.num_attention_heads
    layers = base.encoder.layer
    batch, length = inputs["input_ids"].shape
    leaf = head_mask[:, None, :, None, None].repeat(1, batch, 1, 1, 1).requires_grad_()

    seen = {}  # site -> the tensor of the graph, in whatever layout the model uses
    hooks = []

    def watch(module, site):
        hooks.append(module.register_forward_hook(lambda _m, _i, output: seen.__setitem__(site, output)))

    def watch_input(module, site):
        hooks.append(module.register_forward_pre_hook(lambda _m, args: seen.__setitem__(site, args[0])))

    for i, layer in enumerate(layers):
        watch(layer.attention.self.query, f"query.{i}")
        watch(layer.attention.self.key, f"key.{i}")
        watch(layer.attention.self.value, f"value.{i}")
        watch_input(layer.attention.output.dense, f"masked_context.{i}")
        watch(layer.attention.output.dense, f"attention_output.{i}")
        watch(layer.output.dense, f"mlp_output.{i}")
    if base.pooler is not None:
        watch(base.pooler, "pooled")
    elif isinstance(model, RobertaForSequenceClassification):
        watch_input(model.classifier.out_proj, "pooled")
    softmaxes = []
    try:
        with softmax_recorded(softmaxes):
            output = model(**inputs, head_mask=leaf, output_hidden_states=True)
    finally:
        for hook in hooks:
            hook.remove()
    assert len(softmaxes) == len(layers)
    for i, (scores, probs) in enumerate(softmaxes):
        seen[f"attention_scores.{i}"] = scores
        seen[f"attention_probs.{i}"] = probs
    for i, state in enumerate(output.hidden_states):
        seen[f"hidden_states.{i}"] = state
    loss = None
    if logits_of is not None:
        seen.update(logits_of(output))
        loss = loss_of(seen)

    def by_head(tensor):
        return tensor.view(batch, length, heads, -1).transpose(1, 2)

    gradient = {}
    if loss is not None:
        wanted = list(seen)
        found = torch.autograd.grad(
            loss.sum(), [seen[site] for site in wanted] + [leaf], allow_unused=True, retain_graph=True
        )
        for site, g in zip(wanted, found):
            gradient[site] = torch.zeros_like(seen[site]) if g is None else g
        mask_grad = found[-1][..., 0, 0].permute(1, 0, 2)  # [L,B,N,1,1] -> [B,L,N]

    result = {"head_mask": head_mask}
    for site, tensor in seen.items():
        kind, _, index = site.partition(".")
        g = gradient.get(site)
        if kind in ("query", "key", "value"):
            tensor, g = by_head(tensor), None if g is None else by_head(g)
        elif kind == "masked_context":
            # Handed on as `head_output`: the context before the head mask, m times its gradient.
            i = int(index)
            site = f"head_output.{i}"
            masked, tensor = by_head(tensor), seen[f"attention_probs.{i}"] @ by_head(seen[f"value.{i}"])
            m = head_mask[i][None, :, None, None]
            torch.testing.assert_close(masked, tensor * m, rtol=1e-5, atol=1e-5)
            g = None if g is None else by_head(g) * m
        elif kind == "attention_scores":
            i = int(index)
            plain = scores_before_padding(layers[i], by_head(seen[f"query.{i}"]), by_head(seen[f"key.{i}"]))
            keep = inputs["attention_mask"][:, None, None, :].bool().expand_as(plain)
            torch.testing.assert_close(plain[keep], tensor[keep], rtol=1e-5, atol=1e-5)
            tensor = plain
        result[site] = tensor
        if g is not None:
            result[f"grad.{site}"] = g
    if loss is not None:
        result["loss"] = loss
        result["mask_grad"] = mask_grad
    return {name: tensor.detach().contiguous().clone() for name, tensor in result.items()}


def own_loss_agrees(model, inputs, golden, model_labels, per_example_mean):
    """The model's own loss, and its gradient to an ordinary [L,N] mask, against ours."""
    shared = golden["head_mask"].clone().requires_grad_()
    loss = model(**inputs, head_mask=shared, **model_labels).loss
    (gradient,) = torch.autograd.grad(loss, shared)
    if per_example_mean:
        torch.testing.assert_close(loss, golden["loss"].mean(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(gradient, golden["mask_grad"].mean(0), rtol=1e-4, atol=1e-5)
    else:  # masked LM: the model averages over all labelled positions of the batch
        counts = (model_labels["labels"] != IGNORED).sum(1)
        assert len(set(counts.tolist())) > 1, "the example should tell the two averages apart"


# ---------------------------------------------------------------- files


def script_hash():
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def write_golden(folder, tensors):
    provenance = dict(
        seed=SEED, script_sha256=script_hash(), torch=torch.__version__, transformers=transformers.__version__
    )
    # One key, so that the header has one possible order.
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        folder / "golden.safetensors",
        metadata={"provenance": json.dumps(provenance, sort_keys=True)},
    )


KEPT_IN_SHORT_VARIANTS = (
    "head_mask",
    "hidden_states.",
    "attention_probs.",
    "head_output.",
    "logits",
    "loss",
    "mask_grad",
    "grad.hidden_states.",
)


def write_studied(out, name, model, inputs, labels, loss_of, logits_of, model_labels, full, per_example_mean=True):
    """A checkpoint with values and gradients: three head masks when `full`, else the mask of ones."""
    folder = out / name
    model.save_pretrained(folder)
    tensors = {**inputs, **labels}
    layers, heads = model.config.num_hidden_layers, model.config.num_attention_heads
    for variant, mask in head_masks(layers, heads).items() if full else [("ones", torch.ones(layers, heads))]:
        result = run(model, inputs, mask, loss_of, logits_of)
        if loss_of is not None:
            own_loss_agrees(model, inputs, result, model_labels, per_example_mean)
        for site, tensor in result.items():
            if variant != "ones" and not site.startswith(KEPT_IN_SHORT_VARIANTS):
                continue
            if not full and site.startswith("grad."):
                continue
            tensors[f"{variant}.{site}"] = tensor
    if isinstance(model.config, RobertaConfig):
        ids = torch.tensor([[0, 5, 6, 1, 7, 2, 1, 1]])
        tensors["position_ids_example.input_ids"] = ids
        tensors["position_ids_example.position_ids"] = create_position_ids_from_input_ids(ids, 1)
    write_golden(folder, tensors)


def plain_run(model, inputs, with_states=False):
    with torch.no_grad():
        output = model(**inputs, output_hidden_states=True)
    tensors = {**inputs, "ones.logits": output.logits}
    if with_states:
        tensors.update({f"ones.hidden_states.{i}": state for i, state in enumerate(output.hidden_states)})
    return tensors


def write_pruned(out, name, model, inputs):
    """`prune_heads` as transformers does it; the result must equal the masked full model."""
    mask = torch.ones(model.config.num_hidden_layers, model.config.num_attention_heads)
    for layer, heads in PRUNED.items():
        mask[layer, heads] = 0.0
    with torch.no_grad():
        masked = model(**inputs, head_mask=mask).logits
    model.prune_heads(PRUNED)
    tensors = plain_run(model, inputs, with_states=True)
    torch.testing.assert_close(tensors["ones.logits"], masked, rtol=0, atol=2e-5)
    model.save_pretrained(out / name)
    write_golden(out / name, tensors)


def write_storage_variants(out, make, inputs):
    """One set of weights in every storage form that checkpoints are found in."""
    reference = plain_run(make(), inputs)

    def finish(folder, tensors=reference, loadable=True):
        write_golden(folder, tensors)
        if loadable:
            again = type(make()).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
            torch.testing.assert_close(
                plain_run(again, inputs)["ones.logits"], tensors["ones.logits"], rtol=0, atol=1e-6
            )

    def config_only(name):
        folder = out / name
        folder.mkdir()
        make().config.save_pretrained(folder)
        config = json.loads((folder / "config.json").read_text())
        config["architectures"] = ["BertForSequenceClassification"]
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        return folder

    make().save_pretrained(out / "bert-sharded", max_shard_size=40_000)
    finish(out / "bert-sharded")

    make().save_pretrained(out / "bert-bin-sharded", max_shard_size=40_000, safe_serialization=False)
    finish(out / "bert-bin-sharded")

    folder = config_only("bert-bin")
    torch.save(make().state_dict(), folder / "pytorch_model.bin")
    finish(folder)

    folder = config_only("bert-legacy-names")
    old = {}
    for name, tensor in make().state_dict().items():
        old[name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")] = tensor
    old["bert.embeddings.position_ids"] = torch.arange(24)[None, :]
    torch.save(old, folder / "pytorch_model.bin")
    finish(folder)

    folder = config_only("bert-noprefix")
    bare = {name.removeprefix("bert."): tensor for name, tensor in make().state_dict().items()}
    save_file(bare, folder / "model.safetensors", metadata={"format": "pt"})
    finish(folder, loadable=False)  # transformers refuses a classifier beside names without the prefix

    for name, dtype in [("bert-f16", torch.float16), ("bert-bf16", torch.bfloat16)]:
        model = make().to(dtype)
        model.save_pretrained(out / name)
        # The golden logits are what float32 arithmetic makes of the rounded weights.
        finish(out / name, plain_run(model.float(), inputs))


def generate(out):
    eager = dict(attn_implementation="eager")
    bert, roberta = bert_inputs(), roberta_inputs()
    classes = torch.tensor([2, 0, 1, 1])
    binary = torch.tensor([1, 0, 0, 1])

    def logits_only(output):
        return {"logits": output.logits}

    def classification(out_name, model, inputs, labels, full):
        write_studied(
            out, out_name, model, inputs, dict(labels=labels),
            lambda seen: class_loss(seen["logits"], labels), logits_only, dict(labels=labels), full,
        )  # fmt: skip

    def classifier(position_type):
        config = bert_config(MAIN, num_labels=3, position_embedding_type=position_type)
        return randomise(BertForSequenceClassification._from_config(config, **eager))

    def roberta_classifier():
        return randomise(RobertaForSequenceClassification._from_config(roberta_config(MAIN, num_labels=2), **eager))

    classification("bert-absolute", classifier("absolute"), bert, classes, True)
    classification("bert-relative-key", classifier("relative_key"), bert, classes, True)
    classification("bert-relative-key-query", classifier("relative_key_query"), bert, classes, True)
    classification("roberta", roberta_classifier(), roberta, binary, True)

    # The other heads, each with one mask; three activations besides gelu among them.
    config = bert_config(SMALL, num_labels=1, problem_type="regression", hidden_act="relu")
    scores = torch.tensor([2.5, -0.5, 4.0, 1.25])
    write_studied(
        out, "bert-regression", randomise(BertForSequenceClassification._from_config(config, **eager)), bert,
        dict(labels=scores), lambda seen: regression_loss(seen["logits"], scores), logits_only,
        dict(labels=scores), False,
    )  # fmt: skip

    for name, model, inputs in [
        ("bert-mlm", BertForMaskedLM._from_config(bert_config(SMALL, hidden_act="gelu_new"), **eager), bert),
        ("roberta-mlm", RobertaForMaskedLM._from_config(roberta_config(SMALL), **eager), roberta),
    ]:
        words = masked_lm_labels(inputs)
        write_studied(
            out, name, randomise(model), inputs, dict(labels=words),
            lambda seen, words=words: masked_lm_loss(seen["logits"], words), logits_only,
            dict(labels=words), False, per_example_mean=False,
        )  # fmt: skip

    model = randomise(BertForNextSentencePrediction._from_config(bert_config(SMALL, hidden_act="silu"), **eager))
    classification("bert-nsp", model, bert, binary, False)

    words = masked_lm_labels(bert)
    write_studied(
        out, "bert-pretraining", randomise(BertForPreTraining._from_config(bert_config(SMALL), **eager)), bert,
        dict(labels=words, next_sentence_label=binary),
        lambda seen: masked_lm_loss(seen["logits"], words) + class_loss(seen["seq_relationship_logits"], binary),
        lambda output: {"logits": output.prediction_logits, "seq_relationship_logits": output.seq_relationship_logits},
        dict(labels=words, next_sentence_label=binary), False, per_example_mean=False,
    )  # fmt: skip

    for name, model, inputs in [
        ("bert-bare", BertModel._from_config(bert_config(SMALL), **eager), bert),
        ("roberta-bare", RobertaModel._from_config(roberta_config(SMALL, hidden_act="relu"), **eager), roberta),
    ]:
        write_studied(out, name, randomise(model), inputs, {}, None, None, {}, False)

    write_pruned(out, "bert-absolute-pruned", classifier("absolute"), bert)
    write_pruned(out, "roberta-pruned", roberta_classifier(), roberta)
    write_storage_variants(out, lambda: classifier("absolute"), bert)


# ---------------------------------------------------------------- checking


def tensors_of(path):
    if path.suffix == ".bin":
        return torch.load(path, weights_only=True)
    return load_file(path)


def difference(made, kept):
    """What differs between two files, or None."""
    if made.read_bytes() == kept.read_bytes():
        return None
    if made.suffix not in (".bin", ".safetensors"):
        return "bytes differ"
    a, b = tensors_of(made), tensors_of(kept)
    if a.keys() != b.keys():
        return f"tensor names differ: {sorted(a.keys() ^ b.keys())}"
    for name in a:
        if a[name].shape != b[name].shape or a[name].dtype != b[name].dtype:
            return f"{name}: {a[name].dtype} {tuple(a[name].shape)} against {b[name].dtype} {tuple(b[name].shape)}"
        largest = (a[name].double() - b[name].double()).abs().max().item() if a[name].numel() else 0.0
        if not largest <= TOLERANCE:
            return f"{name}: largest difference {largest:.3e}"
    return None


def check(kept):
    """Makes everything again; returns the number of files that do not agree."""
    failures = 0
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch)
        generate(made)
        names = {p.relative_to(made) for p in made.rglob("*") if p.is_file()}
        present = shared.names(kept) if kept.is_dir() else set()
        for name in sorted(names | present):
            if name not in present:
                problem = "not committed"
            elif name not in names:
                problem = "no longer made"
            else:
                problem = difference(made / name, shared.resolved(kept, name))
            if problem:
                failures += 1
                print(f"FAIL {name}: {problem}")
        print(f"{len(names)} files, {failures} differ")
    for path in sorted(kept.glob("*/golden.safetensors")):
        with safe_open(path, "pt") as file:
            if json.loads(file.metadata()["provenance"])["script_sha256"] != script_hash():
                print(f"note: {path.parent.name} was written by an earlier version of this script")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    parser.add_argument("--output", type=Path, default=OUT, help="folder that holds the fixture folders")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    if options.check:
        return 1 if check(options.output) else 0
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        for folder in sorted(Path(scratch).iterdir()):
            target = options.output / folder.name
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(folder, target)
            size = sum(p.stat().st_size for p in target.iterdir())
            print(f"{folder.name:26} {size / 1000:7.1f} kB")
    shared.share(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
