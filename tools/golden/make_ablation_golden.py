"""What the loss of one head costs, as transformers computes it: one zero in the head mask at a time. And what the loss of
all heads of a layer but one costs ("alone").

Writes golden/studies/ablation.json, for the embedded models: the classifier tiny-bert on
the first sentences of assets/grammar, the language model tiny-gpt2 on the first lines of dev.txt. In
float32 with eager attention, one text at a time. Nothing here is shared with the code under test.

    python tools/golden/make_ablation_golden.py
"""

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "assets"
OUT = ROOT / "golden" / "studies" / "ablation.json"
SENTENCES = 250
LINES = 60


def frozen(loader, name):
    model = loader.from_pretrained(
        ASSETS / name, attn_implementation="eager", dtype=torch.float32
    )
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


def masks(config, alone=False):
    """No head gone, then each in turn, or all others of its layer."""
    shape = (config.num_hidden_layers, config.num_attention_heads)
    yield None, torch.ones(shape)
    for layer in range(shape[0]):
        for head in range(shape[1]):
            mask = torch.ones(shape)
            mask[layer] = 0 if alone else 1
            mask[layer, head] = 1 if alone else 0
            yield f"{layer}.{head}", mask


def matthews(predictions, labels):
    pairs = list(zip(predictions, labels))
    count = lambda p, l: pairs.count((p, l))
    tp, tn, fp, fn = count(1, 1), count(0, 0), count(1, 0), count(0, 1)
    below = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return (tp * tn - fp * fn) / below if below else 0.0


def sign_test(lost, won):
    """Two-sided, exact: twice the smaller tail of the binomial with one half, at most 1."""
    count = lost + won
    tail = sum(math.comb(count, k) for k in range(min(lost, won) + 1))
    return float(min(Fraction(1), Fraction(2 * tail, 2**count)))


def standard_error(differences, weights):
    """Of the weighted mean of the differences, each text drawn with its weight (linearised ratio)."""
    d, w = numpy.array(differences), numpy.array(weights, dtype=float)
    mean = (d * w).sum() / w.sum()
    residuals = w * (d - mean)
    return math.sqrt(len(d) / (len(d) - 1) * (residuals**2).sum()) / w.sum()


def classifier(alone=False):
    model = frozen(AutoModelForSequenceClassification, "tiny-bert")
    tokenizer = AutoTokenizer.from_pretrained(ASSETS / "tiny-bert")
    rows = (ASSETS / "grammar" / "CoLA" / "dev.tsv").read_text().splitlines()[:SENTENCES]
    rows = [row.split("\t") for row in rows]
    labels = [int(row[1]) for row in rows]
    inputs = [tokenizer(row[3], return_tensors="pt") for row in rows]
    record, before = {"sentences": SENTENCES, "heads": {}}, None
    for name, mask in masks(model.config, alone):
        losses, predictions = [], []
        for text, label in zip(inputs, labels):
            out = model(**text, labels=torch.tensor([label]), head_mask=mask)
            losses.append(out.loss.item())
            predictions.append(out.logits.argmax().item())
        found = {"mcc": matthews(predictions, labels), "loss": float(numpy.mean(losses))}
        if name is None:
            record["whole"], before = found, (losses, predictions)
            continue
        triples = list(zip(before[1], predictions, labels))
        lost = sum(b == l != p for b, p, l in triples)
        won = sum(p == l != b for b, p, l in triples)
        differences = [a - b for a, b in zip(losses, before[0])]
        found |= {"right_to_wrong": lost, "wrong_to_right": won, "p_value": sign_test(lost, won)}
        found["loss_standard_error"] = standard_error(differences, [1] * len(differences))
        record["heads"][name] = found
    return record


def language_model():
    model = frozen(AutoModelForCausalLM, "tiny-gpt2")
    tokenizer = AutoTokenizer.from_pretrained(ASSETS / "tiny-gpt2")
    lines = (ASSETS / "grammar" / "dev.txt").read_text().splitlines()[:LINES]
    inputs = [tokenizer(line, return_tensors="pt")["input_ids"] for line in lines]
    weights = [ids.shape[1] - 1 for ids in inputs]
    record, before = {"lines": LINES, "targets": sum(weights), "heads": {}}, None
    for name, mask in masks(model.config):
        losses = [model(ids, labels=ids, head_mask=mask).loss.item() for ids in inputs]
        found = {"loss": float(numpy.average(losses, weights=weights))}
        if name is None:
            record["whole"], before = found, losses
            continue
        differences = [a - b for a, b in zip(losses, before)]
        found["loss_standard_error"] = standard_error(differences, weights)
        record["heads"][name] = found
    return record


def main():
    torch.set_num_threads(1)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    record = {"versions": versions, "tiny-bert": classifier(), "tiny-gpt2": language_model()}
    record["alone"] = {"tiny-bert": classifier(alone=True)}
    OUT.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
