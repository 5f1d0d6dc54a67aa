#!/usr/bin/env python3
"""Write the golden files of EuroBERT: classifiers of texts and of tokens, masked words, and the bare encoder.

The class is one of transformers 5, so this script asks for the versions of requirements-5.txt. The format is that of
make_golden.py; README.md beside this file lists the folders and the tensor names.

    make_eurobert_golden.py            write all folders
    make_eurobert_golden.py --check    make them again in a temporary directory and compare with the committed ones
"""

import math
import sys

import numpy as np
import torch

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

FOLDERS = ("eurobert", "eurobert-bare", "eurobert-bos", "eurobert-mean", "eurobert-mlm", "eurobert-tokens")

MAIN = dict(vocab_size=60, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=28)
SMALL = dict(vocab_size=60, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20)


def build(kind, shape, base=300.0, **more):
    from transformers import EuroBertConfig

    def spread(name):
        return 0.8 if "embed_tokens" in name else 0.2

    config = EuroBertConfig(
        **shape, max_position_embeddings=24, pad_token_id=1, bos_token_id=2, eos_token_id=3, mask_token_id=4,
        rope_parameters={"rope_type": "default", "rope_theta": base}, **more,
    )  # fmt: skip
    model = kind._from_config(config, attn_implementation="eager")
    model = randomise(model, spread)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm." in name:
                noise = torch.from_numpy(rng("weight", name).standard_normal(tuple(parameter.shape))).float()
                parameter.copy_(1.0 + 0.3 * noise)
    return model


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
    """Texts of 12, 5 and 8 tokens. Begin 2, end 3, padding 1; no segments."""
    draw = rng("eurobert inputs")
    ids = np.full((3, 12), 1, np.int64)
    for row, count in enumerate([10, 3, 6]):
        text = [2, *draw.integers(5, 60, count), 3]
        ids[row, : len(text)] = text
    return dict(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy((ids != 1).astype(np.int64)))


def studied(model, inputs, labels, loss_of, full):
    """As in make_golden.py. The last of transformers' hidden states is behind the final norm."""
    layers = layers_of(model)
    watched = dict(last_residual=(model.base_model.norm, "input"))
    pools = hasattr(model, "dense")
    if pools:
        watched["pooled"] = (model.classifier, "input")
    tensors = {**inputs, **labels}
    masks = head_masks(len(layers), layers[0].heads)
    for variant, mask in masks.items() if full else [("ones", masks["ones"])]:
        result = run(model, inputs, mask, loss_of, layers, watched)
        if pools and result["pooled"].dim() == 3:
            # Logits are means over tokens, which is what the mean of the classifier's inputs gives.
            real = inputs["attention_mask"][..., None].float()
            result["pooled"] = (result["pooled"] * real).sum(1) / real.sum(1)
            torch.testing.assert_close(model.classifier(result["pooled"]), result["logits"], rtol=1e-5, atol=1e-5)
            if "grad.pooled" in result:
                result["grad.pooled"] = result["grad.pooled"].sum(1)
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


def write(out, name, model, labels=None, loss_of=None, full=False):
    model.save_pretrained(out / name)
    given = {} if labels is None else dict(labels=labels)
    write_golden(out / name, studied(model, inputs_of(), given, loss_of, full), __file__)


def generate(out):
    from transformers import (
        EuroBertForMaskedLM,
        EuroBertForSequenceClassification,
        EuroBertForTokenClassification,
        EuroBertModel,
    )

    classes = torch.tensor([2, 0, 1])
    words = masked_lm_labels(inputs_of())

    def of_classes(seen):
        return class_loss(seen["logits"], classes)

    def of_words(seen):
        return token_losses(seen["logits"], words)

    write(out, "eurobert", build(EuroBertForSequenceClassification, MAIN, num_labels=3), classes, of_classes, True)
    # The other poolings, and every bias that a config can ask for.
    mean = build(
        EuroBertForSequenceClassification, SMALL, num_labels=3, classifier_pooling="mean", attention_bias=True,
        mlp_bias=True, hidden_act="gelu",
    )  # fmt: skip
    write(out, "eurobert-mean", mean, classes, of_classes)
    first = build(EuroBertForSequenceClassification, SMALL, num_labels=3, classifier_pooling="bos")
    write(out, "eurobert-bos", first, classes, of_classes)
    write(out, "eurobert-mlm", build(EuroBertForMaskedLM, SMALL, base=250_000.0), words, of_words, True)
    tokens = words.where(words < 0, words % 5)
    write(
        out, "eurobert-tokens", build(EuroBertForTokenClassification, SMALL, num_labels=5, mlp_bias=True), tokens,
        lambda seen: token_losses(seen["logits"], tokens),
    )  # fmt: skip
    write(out, "eurobert-bare", build(EuroBertModel, SMALL))


if __name__ == "__main__":
    of_version_5()
    sys.exit(command(__doc__, generate))
