#!/usr/bin/env python3
"""Write the golden files of ESM: classifiers of proteins and of residues, masked residues, the bare encoder, and contacts.

The format is that of make_golden.py; README.md beside this file lists the folders and the tensor names. The longest text has
masks in it, and it alone: transformers counts the padding of shorter ones among their tokens when it makes up for masks.

    make_esm_golden.py            write all folders
    make_esm_golden.py --check    make them again in a temporary directory and compare with the committed ones
"""

import math
import sys

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    EsmConfig,
    EsmForMaskedLM,
    EsmForSequenceClassification,
    EsmForTokenClassification,
    EsmModel,
)

from capture import Layer, command, randomise, rng, token_losses, write_golden
from make_family_golden import token_labels
from make_golden import MAIN, SMALL, class_loss, labelled, masked_lm_labels, studied, write_pruned

CLS, PAD, EOS, MASK = 0, 1, 2, 32
ROTARY = dict(position_embedding_type="rotary", token_dropout=True)
# As ESM-1b has it.
ABSOLUTE = dict(position_embedding_type="absolute", token_dropout=True, emb_layer_norm_before=True)


def build(kind, shape, **more):
    def spread(name):
        owner = name.split(".")[-2]
        # The contact head, whose input is small; all else as in the other families.
        return 4.0 if owner == "regression" else 0.8 if owner.endswith("embeddings") else 0.3

    config = EsmConfig(**shape, max_position_embeddings=26, pad_token_id=PAD, mask_token_id=MASK, **more)
    return randomise(kind._from_config(config, attn_implementation="eager"), spread)


def layers_of(model):
    rotary = model.config.position_embedding_type == "rotary"

    def layer(block):
        attention = block.attention.self
        scale = 1 / math.sqrt(attention.attention_head_size)
        linear = dict(query=attention.query, key=attention.key, value=attention.value)
        return Layer(
            block.attention.output.dense, block.output.dense, attention.num_attention_heads, scale, inner=True,
            rotated=rotary, scaled=True, **linear,
        )  # fmt: skip

    return [layer(block) for block in model.base_model.encoder.layer]


def inputs_of():
    """Proteins of 12, 4 and 7 residues, the first with two masks."""
    draw = rng("esm inputs")
    ids = np.full((3, 14), PAD, np.int64)
    for row, count in enumerate([12, 4, 7]):
        ids[row, : count + 2] = [CLS, *draw.integers(4, 24, count), EOS]
    ids[0, [3, 9]] = MASK
    return dict(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy((ids != PAD).astype(np.int64)))


def write(out, name, model, labels=None, loss_of=None, weights=None, watched=None, full=False):
    """A checkpoint and its values, as `studied` has them."""
    model.save_pretrained(out / name)
    given = None if labels is None else dict(labels=labels)
    watched = dict(last_residual=(model.base_model.encoder.emb_layer_norm_after, "input"), **(watched or {}))
    tensors = studied(model, inputs_of(), given, loss_of, weights, full, layers_of(model), watched)
    write_golden(out / name, tensors, __file__)


def write_contacts(folder, model):
    """What `predict_contacts` says of these proteins, of one more with an end within it, and of one of a single residue."""
    given = inputs_of()
    more = np.full((2, 14), PAD, np.int64)
    more[0, :9] = [CLS, 5, 9, 7, EOS, 8, 20, 11, EOS]
    more[1, :3] = [CLS, 6, EOS]
    ids = torch.cat([given["input_ids"], torch.from_numpy(more)])
    mask = (ids != PAD).long()
    with torch.no_grad():
        contacts = model.predict_contacts(ids, mask)
    for row, length in enumerate(mask.sum(1).tolist()):
        alone = model.predict_contacts(ids[row : row + 1, :length], mask[row : row + 1, :length])[0].detach()
        torch.testing.assert_close(alone, contacts[row, : length - 2, : length - 2], rtol=0, atol=1e-6)
    assert contacts.std() > 0.1, "probabilities that tell something"
    save_file(dict(input_ids=ids, attention_mask=mask, contacts=contacts), folder / "contacts.safetensors")


def generate(out):
    inputs, classes = inputs_of(), torch.tensor([2, 0, 1])

    def classifier():
        return build(EsmForSequenceClassification, MAIN, num_labels=3, **ROTARY)

    model = classifier()
    write(
        out, "esm", model, classes, lambda seen: class_loss(seen["logits"], classes), torch.ones(3),
        watched=dict(pooled=(model.classifier.out_proj, "input")), full=True,
    )  # fmt: skip
    write_pruned(out, "esm-pruned", classifier(), inputs)
    words = masked_lm_labels(inputs)
    model = build(EsmForMaskedLM, MAIN, **ROTARY)
    write(out, "esm-mlm", model, words, lambda seen: token_losses(seen["logits"], words), labelled(words))
    write_contacts(out / "esm-mlm", model)
    # As the hub has them: with a table of positions that nobody reads.
    file = out / "esm-mlm/model.safetensors"
    unread = {
        "esm.embeddings.position_embeddings.weight": torch.ones(26, 32),
        "esm.embeddings.position_ids": torch.arange(26)[None],
    }
    save_file({**load_file(file), **unread}, file, metadata={"format": "pt"})
    tags = token_labels(inputs, 5)
    write(
        out, "esm-tokens", build(EsmForTokenClassification, SMALL, num_labels=5, **ABSOLUTE), tags,
        lambda seen: token_losses(seen["logits"], tags), labelled(tags), full=True,
    )  # fmt: skip
    # Without making up for masks, as where the config is silent.
    model = build(EsmModel, SMALL, position_embedding_type="rotary", emb_layer_norm_before=True)
    write(out, "esm-bare", model)


if __name__ == "__main__":
    sys.exit(command(__doc__, generate))
