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
    return norms_around_one(randomise(kind._from_config(config, attn_implementation="eager"), spread))


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
    return under_names_of_files(tensors, renames, [(("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), "attn.Wqkv")])


def layers_of(model):
    return [
        Layer(
            block.self_attn.o_proj, block.mlp.down_proj, model.config.num_attention_heads,
            1 / math.sqrt(block.self_attn.head_dim), query=block.self_attn.q_proj, key=block.self_attn.k_proj,
            value=block.self_attn.v_proj, inner=True, masked=True, rotated=True, causal=False,
        )
        for block in model.base_model.layers
    ]  # fmt: skip


def studied(model, inputs, labels, loss_of, full):
    watched = dict(pooled=(model.dropout, "input")) if getattr(model.base_model, "pooler", None) is not None else {}
    return studied_alike(model, layers_of(model), inputs, labels, loss_of, full, watched)


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
    rewrite(folder, older, rename)


def inputs_of():
    return encoder_inputs("nomicbert inputs")


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
