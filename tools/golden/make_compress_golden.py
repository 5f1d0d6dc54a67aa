#!/usr/bin/env python3
"""Write the golden files of compression: what PyTorch's gradients and SciPy's least squares give.

The model is the embedded tiny-bert, the examples the first of assets/grammar. Every example is a pass of its own; factors of heads are
transformers' `head_mask`, factors of neurons are multiplied to what the activation gives.

    make_compress_golden.py            write golden/studies/compress.json
    make_compress_golden.py --check    make it again and compare with the committed one
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np
import scipy
import torch
import transformers
from scipy.sparse.linalg import lsmr
from transformers import AutoModelForSequenceClassification, AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "golden/studies/compress.json"
EXAMPLES = 24


def examples():
    rows = list(csv.reader(open(ROOT / "assets/grammar/CoLA/dev.tsv"), delimiter="\t", quoting=csv.QUOTE_NONE))
    return [(row[3], int(row[1])) for row in rows[:EXAMPLES]]


class Model:
    def __init__(self):
        folder = ROOT / "assets/tiny-bert"
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.float64, attn_implementation="eager"
        ).eval()  # fmt: skip
        self.model.requires_grad_(False)
        config = self.model.config
        self.heads = torch.ones(config.num_hidden_layers, config.num_attention_heads, dtype=torch.float64)
        self.neurons = torch.ones(config.num_hidden_layers, config.intermediate_size, dtype=torch.float64)
        for at, layer in enumerate(self.model.bert.encoder.layer):
            layer.intermediate.register_forward_hook(lambda _, __, out, at=at: out * self.factors[at])

    def gradients(self, text, label, strength=1.0):
        """Of the loss, with respect to all factors where each is `strength`."""
        heads = (strength * self.heads).requires_grad_(True)
        self.factors = (strength * self.neurons).requires_grad_(True)
        inputs = self.tokenizer(text, return_tensors="pt")
        loss = self.model(**inputs, labels=torch.tensor([label]), head_mask=heads).loss
        found = torch.autograd.grad(loss, [heads, self.factors])
        return loss.item(), [g.numpy() for g in found]


def measures(all_gradients):
    g = np.stack(all_gradients)
    mean, square = g.mean(0), (g**2).mean(0)
    return {
        "michel": np.abs(g).mean(0).tolist(),
        "fisher": square.tolist(),
        "taylor": (mean**2).tolist(),
        "taylor2": (-mean + square / 2).tolist(),
    }


def squares():
    """Systems of all kinds: well and badly determined, and with units that do the same."""
    draws = np.random.default_rng(5)
    found = []
    for rows, units, ridge, twins in ((200, 7, 1e-3, False), (40, 12, 1e-2, True), (30, 30, 1e-1, False)):
        a = draws.normal(size=(rows, units))
        if twins:
            a[:, 1] = a[:, 0]
        b = a @ draws.uniform(0.2, 2.0, units) + 0.3 * draws.normal(size=rows)
        damp = np.sqrt(ridge * np.diag(a.T @ a).mean())
        # The ridge pulls towards 1.
        shift = lsmr(a, b - a @ np.ones(units), damp=damp, atol=1e-14, btol=1e-14, maxiter=10_000)[0]
        m = 1 + shift
        found.append(
            dict(a=a.tolist(), b=b.tolist(), ridge=ridge, m=m.tolist(), residual=float(((a @ m - b) ** 2).sum()))
        )
    return found


def generate():
    model = Model()
    texts = examples()
    found = [model.gradients(*example)[1] for example in texts]
    return {
        "made_by": Path(__file__).name,
        "versions": dict(torch=torch.__version__, transformers=transformers.__version__, scipy=scipy.__version__),
        "examples": EXAMPLES,
        "heads": measures([heads for heads, _ in found]),
        # Of the first neurons of each layer: they are many.
        "neurons": measures([neurons[:, :12] for _, neurons in found]),
        "least_squares": squares(),
    }


def close(a, b, at=""):
    if isinstance(a, dict):
        return all(close(a[key], b[key], f"{at}.{key}") for key in a if key != "versions")
    if isinstance(a, list):
        return len(a) == len(b) and all(close(x, y, f"{at}[{i}]") for i, (x, y) in enumerate(zip(a, b, strict=True)))
    same = a == b if not isinstance(a, float) else abs(a - b) <= 1e-8 * max(1.0, abs(a))
    if not same:
        print(f"{at}: {a} {b}", file=sys.stderr)
    return same


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    found = generate()
    if parser.parse_args().check:
        return 0 if close(found, json.loads(OUT.read_text())) else 1
    OUT.write_text(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
