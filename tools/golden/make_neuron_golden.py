#!/usr/bin/env python3
"""Write what the neurons of feed-forward blocks do: values and gradients behind the activation, `golden/neurons`.

The models and the texts are those of the engine's folders of the same names, from which they are read.

    make_neuron_golden.py            write all folders
    make_neuron_golden.py --check    make them again in a temporary directory and compare with the committed ones
"""

import dataclasses
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

import make_causal_golden as causal
import make_distilbert_golden as distilbert
import make_golden as bert
import shared
from capture import OUT, command, head_masks, run, write_golden

NAMES = ["bert-absolute", "roberta", "distilbert", "electra", "gpt", "gpt2"]
KEPT = ("head_mask", "mlp_inner.", "grad.mlp_inner.", "loss", "mask_grad")
INPUTS = ["input_ids", "attention_mask", "token_type_ids"]


def layers_of(name, model):
    where = causal if name.startswith("gpt") else distilbert if name == "distilbert" else bert
    return [dataclasses.replace(layer, inner=True) for layer in where.layers_of(model)]


def generate(out):
    for name in NAMES:
        folder = OUT / name
        model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
        golden = load_file(shared.resolved(OUT, f"{name}/golden.safetensors"))
        inputs = {site: golden[site] for site in INPUTS if site in golden}
        layers = layers_of(name, model)
        tensors = {**inputs, "labels": golden["labels"]}
        masks = head_masks(len(layers), layers[0].heads)
        for variant in ["ones", "some"] if name == "bert-absolute" else ["some"]:
            result = run(
                model, inputs, masks[variant], lambda seen: bert.class_loss(seen["logits"], golden["labels"]), layers
            )  # fmt: skip
            torch.testing.assert_close(result["logits"], golden[f"{variant}.logits"], rtol=0, atol=2e-5)
            tensors.update({f"{variant}.{site}": value for site, value in result.items() if site.startswith(KEPT)})
        (out / name).mkdir()
        write_golden(out / name, tensors, __file__)


if __name__ == "__main__":
    sys.exit(command(__doc__, generate, OUT.parent / "neurons"))
