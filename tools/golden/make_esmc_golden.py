#!/usr/bin/env python3
"""Write the golden files of ESM-C: classifiers of proteins and of residues, masked residues, and the bare encoder.

The class is one of transformers 5, so this script asks for the versions of requirements-5.txt. Queries and keys are those behind
their norms, and what both halves of a block add is that behind its factor. The format is that of make_golden.py; README.md
beside this file lists the folders and the tensor names.

    make_esmc_golden.py            write all folders
    make_esmc_golden.py --check    make them again in a temporary directory and compare with the committed ones
"""

import math
import sys

import numpy as np
import torch

from capture import (
    Layer,
    class_loss,
    command,
    masked_lm_labels,
    norms_around_one,
    of_version_5,
    randomise,
    rng,
    studied_alike,
    token_losses,
    write_golden,
)

FOLDERS = ("esmc", "esmc-bare", "esmc-mlm", "esmc-tokens")

MAIN = dict(vocab_size=64, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=28)
SMALL = dict(vocab_size=64, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20)
CLS, PAD, EOS, MASK = 0, 1, 2, 32


def build(kind, shape, **more):
    from transformers import EsmcConfig

    def spread(name):
        # What blocks add is multiplied by 3 and more in so few layers.
        return 0.8 if "embed_tokens" in name else 0.15

    config = EsmcConfig(**shape, max_position_embeddings=26, **more)
    return norms_around_one(randomise(kind._from_config(config, attn_implementation="eager"), spread))


def layers_of(model):
    return [
        Layer(
            block.self_attn.o_proj, block.mlp.down_proj, model.config.num_attention_heads,
            1 / math.sqrt(block.self_attn.head_dim), query=block.self_attn.q_norm, key=block.self_attn.k_norm,
            value=block.self_attn.v_proj, inner=True, masked=True, rotated=True, causal=False,
            branch=1 / block.scaling_factor,
        )
        for block in model.base_model.layers
    ]  # fmt: skip


def inputs_of():
    """Proteins of 12, 4 and 7 residues, the first with two masks."""
    draw = rng("esmc inputs")
    ids = np.full((3, 14), PAD, np.int64)
    for row, count in enumerate([12, 4, 7]):
        ids[row, : count + 2] = [CLS, *draw.integers(4, 24, count), EOS]
    ids[0, [3, 9]] = MASK
    return dict(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy((ids != PAD).astype(np.int64)))


def write(out, name, model, labels=None, loss_of=None, full=False):
    model.save_pretrained(out / name)
    given = {} if labels is None else dict(labels=labels)
    watched = dict(last_residual=(model.base_model.norm, "input"))
    if hasattr(model, "classifier"):
        watched["pooled"] = (model.classifier.out_proj, "input")
    tensors = studied_alike(model, layers_of(model), inputs_of(), given, loss_of, full, watched)
    write_golden(out / name, tensors, __file__)


def generate(out):
    from transformers import EsmcForMaskedLM, EsmcForSequenceClassification, EsmcForTokenClassification, EsmcModel

    classes = torch.tensor([2, 0, 1])
    words = masked_lm_labels(inputs_of())
    write(
        out, "esmc", build(EsmcForSequenceClassification, MAIN, num_labels=3), classes,
        lambda seen: class_loss(seen["logits"], classes), True,
    )  # fmt: skip
    write(
        out, "esmc-mlm", build(EsmcForMaskedLM, SMALL), words, lambda seen: token_losses(seen["logits"], words), True
    )  # fmt: skip
    # Every bias that a config can ask for.
    tags = words.where(words < 0, words % 5)
    write(
        out, "esmc-tokens", build(EsmcForTokenClassification, SMALL, num_labels=5, attention_bias=True, mlp_bias=True), tags,
        lambda seen: token_losses(seen["logits"], tags),
    )  # fmt: skip
    write(out, "esmc-bare", build(EsmcModel, SMALL, hidden_act="gelu"))


if __name__ == "__main__":
    of_version_5()
    sys.exit(command(__doc__, generate))
