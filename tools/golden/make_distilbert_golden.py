#!/usr/bin/env python3
"""Write the golden files of DistilBERT: a classifier, masked words, the bare encoder, and a pruned one.

The format is that of make_golden.py; README.md beside this file lists the folders and the tensor names.

    make_distilbert_golden.py            write all folders
    make_distilbert_golden.py --check    make them again in a temporary directory and compare with the committed ones
"""

import math
import sys

import torch
from transformers import DistilBertConfig, DistilBertForMaskedLM, DistilBertForSequenceClassification, DistilBertModel

from capture import PRUNED, Layer, command, randomise, token_losses, write_golden
from make_golden import bert_inputs, class_loss, labelled, masked_lm_labels, plain_run, studied

MAIN = dict(vocab_size=60, max_position_embeddings=16, dim=32, n_layers=3, n_heads=4, hidden_dim=48)
SMALL = dict(vocab_size=60, max_position_embeddings=16, dim=18, n_layers=2, n_heads=3, hidden_dim=40)


def build(kind, shape, **more):
    def spread(name):
        return 0.8 if name.split(".")[-2] in ("word_embeddings", "position_embeddings") else 0.3

    return randomise(kind._from_config(DistilBertConfig(**shape, **more), attn_implementation="eager"), spread)


def layers_of(model):
    found = []
    for block in model.base_model.transformer.layer:
        attention = block.attention
        scale = 1 / math.sqrt(attention.attention_head_size)
        linear = dict(query=attention.q_lin, key=attention.k_lin, value=attention.v_lin)
        found.append(Layer(attention.out_lin, block.ffn.lin2, attention.n_heads, scale, **linear))
    return found


def inputs_of():
    """BERT's texts; DistilBERT has no segments."""
    return {name: tensor for name, tensor in bert_inputs().items() if name != "token_type_ids"}


def write_studied(out, name, model, labels=None, loss_of=None, weights=None, watched=None, full=False):
    """A checkpoint with values, and with gradients and three head masks when `full`."""
    model.save_pretrained(out / name)
    inputs = inputs_of()
    given = None if labels is None else dict(labels=labels)
    tensors = studied(model, inputs, given, loss_of, weights, full, layers_of(model), watched)
    for site, tensor in tensors.items():
        variant = site.removesuffix(".logits")
        if variant != site and variant != "ones":
            assert (tensor - tensors["ones.logits"]).abs().max() > 0.1, f"the mask {variant} does not act"
    write_golden(out / name, tensors, __file__)


def write_pruned(out, name, model):
    """`prune_heads` as transformers does it; the result must equal the masked full model."""
    mask = torch.ones(model.config.n_layers, model.config.n_heads)
    for layer, heads in PRUNED.items():
        mask[layer, heads] = 0.0
    inputs = inputs_of()
    with torch.no_grad():
        masked = model(**inputs, head_mask=mask).logits
    model.prune_heads(PRUNED)
    tensors = plain_run(model, inputs, with_states=True)
    torch.testing.assert_close(tensors["ones.logits"], masked, rtol=0, atol=2e-5)
    model.save_pretrained(out / name)
    write_golden(out / name, tensors, __file__)


def generate(out):
    def classifier():
        return build(DistilBertForSequenceClassification, MAIN, num_labels=3)

    classes = torch.tensor([2, 0, 1, 1])
    model = classifier()
    write_studied(
        out, "distilbert", model, classes, lambda seen: class_loss(seen["logits"], classes), torch.ones(4),
        watched=dict(pooled=(model.classifier, "input")), full=True,
    )  # fmt: skip

    words = masked_lm_labels(inputs_of())
    write_studied(
        out, "distilbert-mlm", build(DistilBertForMaskedLM, SMALL), words,
        lambda seen: token_losses(seen["logits"], words), labelled(words),
    )  # fmt: skip
    write_studied(out, "distilbert-bare", build(DistilBertModel, SMALL, activation="relu"))
    write_pruned(out, "distilbert-pruned", classifier())


if __name__ == "__main__":
    sys.exit(command(__doc__, generate))
