#!/usr/bin/env python3
"""Write the golden files of MPNet: a classifier, masked words, and the bare encoder.

The format is that of make_golden.py; README.md beside this file lists the folders and the tensor names. Texts are long
enough that distances fall into buckets of more than one.

    make_mpnet_golden.py            write all folders
    make_mpnet_golden.py --check    make them again in a temporary directory and compare with the committed ones
"""

import math
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import (
    MPNetConfig,
    MPNetForMaskedLM,
    MPNetForSequenceClassification,
    MPNetModel,
)
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

from capture import Layer, command, randomise, rng, token_losses, write_golden
from make_golden import MAIN, SMALL, class_loss, labelled, masked_lm_labels, studied

# Beyond what any text here has, so that the rule is seen as a whole.
FARTHEST = 300


def build(kind, shape, **more):
    def spread(name):
        owner = name.split(".")[-2]
        return 1.0 if owner == "relative_attention_bias" else 0.8 if owner.endswith("embeddings") else 0.3

    config = MPNetConfig(**shape, max_position_embeddings=26, **more)
    return randomise(kind._from_config(config, attn_implementation="eager"), spread)


def layers_of(model):
    encoder = model.base_model.encoder

    def layer(block):
        attention = block.attention.attn
        scale = 1 / math.sqrt(attention.attention_head_size)

        def positions(query, key):
            # Added to the scaled scores, not to the product.
            return encoder.compute_position_bias(query.transpose(1, 2)) / scale

        linear = dict(query=attention.q, key=attention.k, value=attention.v)
        return Layer(
            attention.o, block.output.dense, attention.num_attention_heads, scale, positions=positions, inner=True,
            **linear,
        )  # fmt: skip

    return [layer(block) for block in encoder.layer]


def inputs_of():
    """Texts of 14, 6 and 9 tokens: single, single, pair. <s> 0, </s> 2, <pad> 1."""
    draw = rng("mpnet inputs")
    ids = np.full((3, 14), 1, np.int64)
    for row, (first, second) in enumerate([(12, 0), (4, 0), (3, 2)]):
        text = [0, *draw.integers(5, 60, first), 2]
        pair = [2, *draw.integers(5, 60, second), 2] if second else []
        ids[row, : len(text) + len(pair)] = [*text, *pair]
    return dict(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy((ids != 1).astype(np.int64)))


def write(out, name, model, labels=None, loss_of=None, weights=None, watched=None, full=False):
    """A checkpoint and its values, as `studied` has them."""
    model.save_pretrained(out / name)
    given = None if labels is None else dict(labels=labels)
    tensors = studied(model, inputs_of(), given, loss_of, weights, full, layers_of(model), watched)
    write_golden(out / name, tensors, __file__)


def generate(out):
    inputs, classes = inputs_of(), torch.tensor([2, 0, 1])
    model = build(MPNetForSequenceClassification, MAIN, num_labels=3)
    write(
        out, "mpnet", model, classes, lambda seen: class_loss(seen["logits"], classes), torch.ones(3),
        watched=dict(pooled=(model.classifier.out_proj, "input")), full=True,
    )  # fmt: skip
    offsets = torch.arange(-FARTHEST, FARTHEST + 1)
    buckets = MPNetEncoder.relative_position_bucket(offsets).to(torch.int32)
    save_file({"buckets": buckets}, out / "mpnet/buckets.safetensors")
    words = masked_lm_labels(inputs)
    write(
        out, "mpnet-mlm", build(MPNetForMaskedLM, SMALL, hidden_act="silu"), words,
        lambda seen: token_losses(seen["logits"], words), labelled(words),
    )  # fmt: skip
    write(out, "mpnet-bare", build(MPNetModel, SMALL, hidden_act="relu"))


if __name__ == "__main__":
    sys.exit(command(__doc__, generate))
