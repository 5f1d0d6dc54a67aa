#!/usr/bin/env python3
"""Write the golden files of ModernBERT: classifiers of texts and of tokens, masked words, answers, and the bare encoder.

The format is that of make_golden.py; README.md beside this file lists the folders and the tensor names. Texts are longer
than the windows.

    make_modernbert_golden.py            write all folders
    make_modernbert_golden.py --check    make them again in a temporary directory and compare with the committed ones
"""

import math
import sys

import numpy as np
import torch
from transformers import (
    ModernBertConfig,
    ModernBertForMaskedLM,
    ModernBertForQuestionAnswering,
    ModernBertForSequenceClassification,
    ModernBertForTokenClassification,
    ModernBertModel,
)

from capture import Layer, answer_losses, command, head_masks, randomise, rng, run, token_losses, write_golden
from make_family_golden import token_labels
from make_golden import KEPT_IN_SHORT_VARIANTS, class_loss, masked_lm_labels

# Layers 0 and 3 see everything, layers 1 and 2 three tokens to either side.
MAIN = dict(
    vocab_size=60, hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=24, local_attention=6,
    global_attn_every_n_layers=3, global_rope_theta=300.0, local_rope_theta=20.0,
)  # fmt: skip
SMALL = dict(
    vocab_size=60, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20, local_attention=4,
    global_attn_every_n_layers=2,
)  # fmt: skip


def build(kind, shape, **more):
    def spread(name):
        return 0.8 if name.split(".")[-2] == "tok_embeddings" else 0.2

    config = ModernBertConfig(
        **shape, max_position_embeddings=24, pad_token_id=1, cls_token_id=2, sep_token_id=3, bos_token_id=2,
        eos_token_id=3, reference_compile=False, **more,
    )  # fmt: skip
    model = kind._from_config(config, attn_implementation="eager")
    model = randomise(model, spread)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.split(".")[-2] in ("norm", "attn_norm", "mlp_norm", "final_norm") and name.endswith("weight"):
                noise = torch.from_numpy(rng("weight", name).standard_normal(tuple(parameter.shape))).float()
                parameter.copy_(1.0 + 0.3 * noise)
    return model


def layers_of(model):
    found = []
    for block in model.base_model.layers:
        attention = block.attn
        reach = attention.local_attention[0]
        found.append(
            Layer(
                attention.Wo, block.mlp.Wo, attention.num_heads, 1 / math.sqrt(attention.head_dim), fused=attention.Wqkv,
                inner=True, masked=True, rotated=True, causal=False, reach=None if reach < 0 else reach,
            )
        )  # fmt: skip
    return found


def inputs_of():
    """Texts of 12, 5 and 8 tokens: single, single, pair. [CLS] 2, [SEP] 3, [PAD] 1; no segments."""
    draw = rng("modernbert inputs")
    ids = np.full((3, 12), 1, np.int64)
    for row, (first, second) in enumerate([(10, 0), (3, 0), (2, 3)]):
        text = [2, *draw.integers(5, 60, first), 3]
        pair = [*draw.integers(5, 60, second), 3] if second else []
        ids[row, : len(text) + len(pair)] = [*text, *pair]
    return dict(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy((ids != 1).astype(np.int64)))


def studied(model, inputs, labels, loss_of, full):
    """As in make_golden.py, but that the last of transformers' hidden states is before the final norm here."""
    layers = layers_of(model)
    watched = dict(final=(model.base_model.final_norm, "output"))
    spans = "start_positions" in labels
    if spans:
        watched["logits"] = (model.classifier, "output")
    elif hasattr(model, "classifier") and loss_of is not None and labels["labels"].dim() == 1:
        watched["pooled"] = (model.classifier, "input")
    tensors = {**inputs, **labels}
    masks = head_masks(len(layers), layers[0].heads)
    for variant, mask in masks.items() if full else [("ones", masks["ones"])]:
        result = run(model, inputs, mask, loss_of, layers, watched)
        for prefix in ("", "grad."):
            last = f"{prefix}hidden_states.{len(layers)}"
            if last in result:
                result[f"{prefix}last_residual"] = result[last]
                result[last] = result.pop(f"{prefix}final")
        if labels and variant == "ones":
            with torch.no_grad():
                own = model(**inputs, **labels).loss
            if spans:
                torch.testing.assert_close(own, result["loss"].mean(), rtol=1e-5, atol=1e-5)
        if labels and variant == "ones" and not spans:
            counts = (labels["labels"] != -100).reshape(len(result["loss"]), -1).sum(1).float()
            torch.testing.assert_close(own, (result["loss"] * counts).sum() / counts.sum(), rtol=1e-5, atol=1e-5)
        for site, tensor in result.items():
            if variant != "ones" and not site.startswith(KEPT_IN_SHORT_VARIANTS):
                continue
            if not full and site.startswith("grad."):
                continue
            tensors[f"{variant}.{site}"] = tensor
    return tensors


def write(out, name, model, labels=None, loss_of=None, full=False):
    model.save_pretrained(out / name)
    given = {} if labels is None else dict(labels=labels)
    write_golden(out / name, studied(model, inputs_of(), given, loss_of, full), __file__)


def write_spans(out, name, model):
    """Texts without padding, which would take part in the softmax over positions."""
    inputs = {site: tensor[:1].repeat(3, 1) for site, tensor in inputs_of().items()}
    inputs["input_ids"] = (inputs["input_ids"] + torch.tensor([[0], [7], [19]])) % 55 + 5
    starts, ends = torch.tensor([1, 2, 0]), torch.tensor([4, 2, 11])
    model.save_pretrained(out / name)
    labels = dict(start_positions=starts, end_positions=ends)
    tensors = studied(model, inputs, labels, lambda seen: answer_losses(seen["logits"], starts, ends), False)
    write_golden(out / name, tensors, __file__)


def generate(out):
    classes = torch.tensor([2, 0, 1])

    def of_classes(seen):
        return class_loss(seen["logits"], classes)

    write(out, "modernbert", build(ModernBertForSequenceClassification, MAIN, num_labels=3), classes, of_classes, True)
    # Every bias that a config can ask for, and the mean over tokens.
    biased = build(
        ModernBertForSequenceClassification, SMALL, num_labels=3, classifier_pooling="mean", classifier_bias=True,
        norm_bias=True, attention_bias=True, mlp_bias=True, hidden_activation="silu", classifier_activation="relu",
    )  # fmt: skip
    write(out, "modernbert-biases", biased, classes, of_classes)
    words = masked_lm_labels(inputs_of())
    write(
        out, "modernbert-mlm", build(ModernBertForMaskedLM, SMALL), words,
        lambda seen: token_losses(seen["logits"], words),
    )  # fmt: skip
    tags = token_labels(inputs_of(), 5)
    write(
        out, "modernbert-tokens", build(ModernBertForTokenClassification, SMALL, num_labels=5, classifier_dropout=0.1), tags,
        lambda seen: token_losses(seen["logits"], tags), True,
    )  # fmt: skip
    biased = dict(classifier_bias=True, norm_bias=True, classifier_activation="relu")
    write_spans(out, "modernbert-answers", build(ModernBertForQuestionAnswering, SMALL, **biased))
    write(out, "modernbert-bare", build(ModernBertModel, SMALL, hidden_activation="relu"))


if __name__ == "__main__":
    sys.exit(command(__doc__, generate))
