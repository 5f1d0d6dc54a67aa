#!/usr/bin/env python3
"""Write the golden files of GTE: classifiers of texts and of tokens, masked words, and the bare encoder.

The class is one of transformers 5, so this script asks for the versions of requirements-5.txt. Two folders are written as the
code that came with the first files writes them (`model_type: "new"`), one of them with angles that a factor slows down
(`rope_scaling`), which transformers' class does not know: its frequencies are set to that formula here. The format is that of
make_golden.py; README.md beside this file lists the folders and the tensor names.

    make_gte_golden.py            write all folders
    make_gte_golden.py --check    make them again in a temporary directory and compare with the committed ones
"""

import math
import sys

import torch

from capture import (
    Layer,
    class_loss,
    command,
    encoder_inputs,
    masked_lm_labels,
    norms_around_one,
    of_version_5,
    randomise,
    rewrite,
    studied_alike,
    token_losses,
    under_names_of_files,
    write_golden,
)

FOLDERS = ("gte", "gte-bare", "gte-mlm", "gte-tokens")

MAIN = dict(vocab_size=60, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=28)
SMALL = dict(vocab_size=60, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20)

# Of `gte-mlm`: the base of its angles, and what slows them down.
BASE, FACTOR = 300.0, 2.0


def build(kind, shape, base=300.0, **more):
    from transformers import GteConfig

    def spread(name):
        return 0.8 if "embeddings" in name else 0.2

    config = GteConfig(
        **shape, max_position_embeddings=24, pad_token_id=0, rope_parameters={"rope_type": "default", "rope_theta": base}, **more
    )
    return norms_around_one(randomise(kind._from_config(config, attn_implementation="eager"), spread))


def slowed():
    """The masked language model of `gte-mlm`: its base is `FACTOR` times as large, and all its angles grow more slowly besides
    (https://kexue.fm/archives/9706, as the code of the first files has it)."""
    from transformers import GteForMaskedLM

    model = build(GteForMaskedLM, SMALL, base=BASE, type_vocab_size=0)
    width = SMALL["hidden_size"] // SMALL["num_attention_heads"]
    frequencies = 1.0 / ((BASE * FACTOR) ** (torch.arange(0, width, 2).float() / width)) / FACTOR ** (2 / width)
    model.base_model.rotary_emb.inv_freq = frequencies
    return model


def in_files(tensors, prefix="gte."):
    """Gradients of the class's parameters under the names of files, what is activated first as the engine has it."""
    renames = [
        (".layers.", ".encoder.layer."), ("self_attn.o_proj", "attention.o_proj"), ("post_attention_layernorm", "attn_ln"),
        ("post_mlp_layernorm", "mlp_ln"), ("lm_head.layer_norm", "lm_head.norm"), ("gte.", prefix),
    ]  # fmt: skip
    fused = [
        (("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), "attention.qkv_proj"),
        (("mlp.gate_proj", "mlp.up_proj"), "mlp.up_gate_proj"),
    ]
    return under_names_of_files(tensors, renames, fused)


def layers_of(model):
    return [
        Layer(
            block.self_attn.o_proj, block.mlp.down_proj, model.config.num_attention_heads,
            1 / math.sqrt(block.self_attn.head_dim), query=block.self_attn.q_proj, key=block.self_attn.k_proj,
            value=block.self_attn.v_proj, inner=True, masked=True, rotated=True, causal=False,
        )
        for block in model.base_model.layers
    ]  # fmt: skip


def as_first_files(folder, config, kind, scaling, rename):
    """The config and the names that the code of the first files has for what lies in a folder."""
    older = dict(
        architectures=[kind], attention_probs_dropout_prob=config.attention_probs_dropout_prob, classifier_dropout=None,
        hidden_act=config.hidden_act, hidden_dropout_prob=config.hidden_dropout_prob, hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size, layer_norm_eps=config.layer_norm_eps, layer_norm_type="layer_norm",
        logn_attention_clip1=False, logn_attention_scale=False, max_position_embeddings=config.max_position_embeddings,
        model_type="new", num_attention_heads=config.num_attention_heads, num_hidden_layers=config.num_hidden_layers, pack_qkv=True,
        pad_token_id=config.pad_token_id, position_embedding_type="rope", rope_scaling=scaling,
        rope_theta=config.rope_parameters["rope_theta"], type_vocab_size=config.type_vocab_size, unpad_inputs=False,
        use_memory_efficient_attention=False, vocab_size=config.vocab_size,
    )  # fmt: skip
    rewrite(folder, older, rename)


def write(out, name, model, labels=None, loss_of=None, full=False):
    model.save_pretrained(out / name)
    given = {} if labels is None else dict(labels=labels)
    inputs = encoder_inputs("gte inputs", segments=model.config.type_vocab_size > 0)
    watched = dict(pooled=(model.dropout, "input")) if getattr(model.base_model, "pooler", None) is not None else {}
    tensors = studied_alike(model, layers_of(model), inputs, given, loss_of, full, watched)
    write_golden(out / name, tensors, __file__)


def generate(out):
    from transformers import GteForSequenceClassification, GteForTokenClassification, GteModel

    classes = torch.tensor([2, 0, 1])
    words = masked_lm_labels(encoder_inputs("gte inputs"))
    write(
        out, "gte", build(GteForSequenceClassification, MAIN, num_labels=3, type_vocab_size=2), classes,
        lambda seen: class_loss(seen["logits"], classes), True,
    )  # fmt: skip
    tokens = words.where(words < 0, words % 5)
    write(
        out, "gte-tokens", build(GteForTokenClassification, SMALL, num_labels=5, type_vocab_size=2, hidden_act="silu"), tokens,
        lambda seen: token_losses(seen["logits"], tokens),
    )  # fmt: skip
    model = slowed()
    write(out, "gte-mlm", model, words, lambda seen: token_losses(seen["logits"], words), True)
    scaling = dict(factor=FACTOR, type="ntk")
    as_first_files(out / "gte-mlm", model.config, "NewForMaskedLM", scaling, lambda name: name.replace("gte.", "new.", 1))
    model = build(GteModel, SMALL, hidden_act="relu", type_vocab_size=0)
    write(out, "gte-bare", model)
    as_first_files(out / "gte-bare", model.config, "NewModel", None, lambda name: name)


if __name__ == "__main__":
    of_version_5()
    sys.exit(command(__doc__, generate))
