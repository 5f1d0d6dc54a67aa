#!/usr/bin/env python3
"""Write the golden files of NomicBERT: classifiers of texts and of tokens, masked words, and the bare encoder.

The class is one of transformers 5, so this script asks for the versions of requirements-5.txt. Two folders are written as the
code that came with the first files writes them: its config, its prefix, its masked-LM head without biases, and the turning of a
part of each head, all of which are said to transformers' class here. The format is that of make_golden.py; README.md beside
this file lists the folders and the tensor names.

    make_nomicbert_golden.py            write all folders
    make_nomicbert_golden.py --check    make them again in a temporary directory and compare with the committed ones
"""

import json
import math
import sys
from contextlib import contextmanager

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from capture import (
    KEPT_IN_SHORT_VARIANTS,
    Layer,
    class_loss,
    command,
    head_masks,
    masked_lm_labels,
    of_version_5,
    randomise,
    rng,
    run,
    token_losses,
    write_golden,
)

FOLDERS = ("nomic", "nomic-bare", "nomic-mlm", "nomic-tokens")

MAIN = dict(vocab_size=60, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=28)
SMALL = dict(vocab_size=60, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20)


# Numbers of each head of 8 that are turned in `nomic-mlm`, and what its head does not have.
TURNED = 4
BIASES = ("cls.predictions.transform.dense.bias", "cls.predictions.decoder.bias")


def build(kind, shape, base=300.0, **more):
    from transformers import NomicBertConfig

    def spread(name):
        return 0.8 if "embeddings" in name else 0.2

    config = NomicBertConfig(
        **shape, max_position_embeddings=24, pad_token_id=0, rope_parameters={"rope_type": "default", "rope_theta": base}, **more
    )
    model = kind._from_config(config, attn_implementation="eager")
    model = randomise(model, spread)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "layernorm." in name and name.endswith("weight"):
                noise = torch.from_numpy(rng("weight", name).standard_normal(tuple(parameter.shape))).float()
                parameter.copy_(1.0 + 0.3 * noise)
    return model


def without_biases():
    """The masked language model of `nomic-mlm`: its head adds no biases."""
    from transformers import NomicBertForMaskedLM

    model = build(NomicBertForMaskedLM, SMALL, base=1000.0)
    with torch.no_grad():
        for name in BIASES:
            model.get_parameter(name).zero_()
    return model


def in_files(tensors, prefix):
    """Tensors of the class's parameters under the names of files; queries, keys and values are one there."""
    renames = [
        (".layers.", ".encoder.layers."), ("embeddings.LayerNorm", "emb_ln"), ("self_attn.o_proj", "attn.out_proj"),
        ("up_proj", "fc11"), ("gate_proj", "fc12"), ("down_proj", "fc2"), ("post_attention_layernorm", "norm1"),
        ("post_mlp_layernorm", "norm2"), ("nomic_bert.", prefix),
    ]  # fmt: skip
    found = {}
    for name, tensor in tensors.items():
        if "self_attn.q_proj" in name:
            parts = [tensors[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            name, tensor = name.replace("self_attn.q_proj", "attn.Wqkv"), torch.cat(parts)
        elif "self_attn.k_proj" in name or "self_attn.v_proj" in name:
            continue
        for ours, theirs in renames:
            name = name.replace(ours, theirs)
        found[name] = tensor
    return found


def layers_of(model):
    return [
        Layer(
            block.self_attn.o_proj, block.mlp.down_proj, model.config.num_attention_heads,
            1 / math.sqrt(block.self_attn.head_dim), query=block.self_attn.q_proj, key=block.self_attn.k_proj,
            value=block.self_attn.v_proj, inner=True, masked=True, rotated=True, causal=False,
        )
        for block in model.base_model.layers
    ]  # fmt: skip


def inputs_of():
    """Texts of 12, 5 and 8 tokens: single, single, pair. [CLS] 2, [SEP] 3, [PAD] 0."""
    draw = rng("nomicbert inputs")
    ids, types = np.zeros((3, 12), np.int64), np.zeros((3, 12), np.int64)
    for row, (first, second) in enumerate([(10, 0), (3, 0), (2, 3)]):
        text = [2, *draw.integers(5, 60, first), 3]
        pair = [*draw.integers(5, 60, second), 3] if second else []
        ids[row, : len(text) + len(pair)] = [*text, *pair]
        types[row, len(text) : len(text) + len(pair)] = 1
    arrays = dict(input_ids=ids, attention_mask=(ids != 0).astype(np.int64), token_type_ids=types)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def studied(model, inputs, labels, loss_of, full):
    layers = layers_of(model)
    watched = dict(pooled=(model.dropout, "input")) if getattr(model.base_model, "pooler", None) is not None else {}
    tensors = {**inputs, **labels}
    masks = head_masks(len(layers), layers[0].heads)
    for variant, mask in masks.items() if full else [("ones", masks["ones"])]:
        result = run(model, inputs, mask, loss_of, layers, watched)
        if labels and variant == "ones":
            with torch.no_grad():
                own = model(**inputs, **labels).loss
            counts = (labels["labels"] != -100).reshape(len(result["loss"]), -1).sum(1).float()
            torch.testing.assert_close(own, (result["loss"] * counts).sum() / counts.sum(), rtol=1e-5, atol=1e-5)
        for site, tensor in result.items():
            if variant != "ones" and not site.startswith(KEPT_IN_SHORT_VARIANTS):
                continue
            if not full and site.startswith("grad."):
                continue
            tensors[f"{variant}.{site}"] = tensor
    return tensors


@contextmanager
def partly_turned(model, width):
    """Turns the first `width` numbers of each head alone, as `rotary_emb_fraction` of the first files' code does."""
    module = sys.modules[type(model).__module__]
    rotary, whole = model.base_model.rotary_emb, module.apply_rotary_pos_emb
    kept, base = rotary.inv_freq, model.config.rope_parameters["rope_theta"]

    def some(query, key, cos, sin, **rest):
        turned = whole(query[..., :width], key[..., :width], cos, sin, **rest)
        return tuple(torch.cat((t, x[..., width:]), -1) for t, x in zip(turned, (query, key), strict=True))

    rotary.inv_freq = 1.0 / (base ** (torch.arange(0, width, 2, dtype=torch.float) / width))
    module.apply_rotary_pos_emb = some
    try:
        yield
    finally:
        rotary.inv_freq, module.apply_rotary_pos_emb = kept, whole


def as_first_files(folder, config, fraction, rename):
    """The config and the names that the code of the first files has for what lies in a folder."""
    activation = {"silu": "swiglu", "gelu": "geglu"}[config.hidden_act]
    named = json.loads((folder / "config.json").read_text())["architectures"][0]
    older = dict(
        activation_function=activation, architectures=[named.replace("ForMaskedLM", "ForPreTraining")], attn_pdrop=0.0, causal=False,
        embd_pdrop=0.0, layer_norm_epsilon=config.layer_norm_eps, mlp_fc1_bias=False, mlp_fc2_bias=False, model_type="nomic_bert",
        n_embd=config.hidden_size, n_head=config.num_attention_heads, n_inner=config.intermediate_size,
        n_layer=config.num_hidden_layers, n_positions=config.max_position_embeddings, pad_token_id=0, parallel_block=False, prenorm=False,
        qkv_proj_bias=False, resid_pdrop=0.0, rotary_emb_base=config.rope_parameters["rope_theta"], rotary_emb_fraction=fraction,
        rotary_emb_interleaved=False, rotary_emb_scale_base=None, rotary_scaling_factor=None, type_vocab_size=config.type_vocab_size,
        use_rms_norm=False, vocab_size=config.vocab_size,
    )  # fmt: skip
    (folder / "config.json").write_text(json.dumps(older, indent=2, sort_keys=True) + "\n")
    tensors = {rename(name): tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file({name: t for name, t in tensors.items() if name}, folder / "model.safetensors", metadata={"format": "pt"})


def write(out, name, model, labels=None, loss_of=None, full=False):
    model.save_pretrained(out / name)
    given = {} if labels is None else dict(labels=labels)
    write_golden(out / name, studied(model, inputs_of(), given, loss_of, full), __file__)


def generate(out):
    from transformers import (
        NomicBertForSequenceClassification,
        NomicBertForTokenClassification,
        NomicBertModel,
    )

    classes = torch.tensor([2, 0, 1])
    words = masked_lm_labels(inputs_of())
    write(
        out, "nomic", build(NomicBertForSequenceClassification, MAIN, num_labels=3), classes,
        lambda seen: class_loss(seen["logits"], classes), True,
    )  # fmt: skip
    tokens = words.where(words < 0, words % 5)
    write(
        out, "nomic-tokens", build(NomicBertForTokenClassification, SMALL, num_labels=5), tokens,
        lambda seen: token_losses(seen["logits"], tokens),
    )  # fmt: skip

    model = without_biases()
    with partly_turned(model, TURNED):
        write(out, "nomic-mlm", model, words, lambda seen: token_losses(seen["logits"], words), True)
    as_first_files(
        out / "nomic-mlm", model.config, 0.5, lambda name: None if "cls.predictions" in name and name.endswith("bias") and "layer_norm" not in name else name.replace("nomic_bert.", "bert.", 1)
    )

    model = build(NomicBertModel, SMALL, hidden_act="gelu")
    write(out, "nomic-bare", model)
    as_first_files(out / "nomic-bare", model.config, 1.0, lambda name: name)


if __name__ == "__main__":
    of_version_5()
    sys.exit(command(__doc__, generate))
