#!/usr/bin/env python3
"""Write the golden files of compression and its measures: what PyTorch's gradients and SciPy's least squares give.

The model is the embedded tiny-bert, the examples the first of assets/grammar. Every example is a pass of its own; factors of heads are
transformers' `head_mask`, factors of neurons are multiplied to what the activation gives.

    make_compress_golden.py            write golden/studies/compress.json
    make_compress_golden.py --check    make it again and compare with the committed one
"""

import argparse
import csv
import json
import math
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

    def gradients(self, text, label, heads=1.0, neurons=1.0):
        """Of the loss, with respect to all factors where each is so strong."""
        heads = (heads * self.heads).requires_grad_(True)
        self.factors = (neurons * self.neurons).requires_grad_(True)
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


POINTS = 8


def integrated(model, texts):
    """Means over examples of the integrals by midpoints, and of the losses that they make up."""
    steps = [(point + 0.5) / POINTS for point in range(POINTS)]
    heads = [np.mean([model.gradients(*text, heads=a)[1][0] for a in steps], 0) for text in texts]
    both = [[model.gradients(*text, heads=a, neurons=a)[1] for a in steps] for text in texts]
    lost = [model.gradients(*text)[0] - model.gradients(*text, heads=0.0)[0] for text in texts]
    return {
        "points": POINTS,
        "heads": np.mean(heads, 0).tolist(),
        "both": [np.mean([[g[kind] for g in of] for of in both], (0, 1))[:, :12].tolist() for kind in (0, 1)],
        "without_heads": float(np.mean(lost)),
    }


def norms(model, texts):
    """Means over examples of the norms of the gradients of each head's queries, keys and values."""
    config, kept = model.model.config, {}
    size = config.hidden_size // config.num_attention_heads

    def keep(out, key):
        out.requires_grad_(True)
        kept[key] = out
        return out

    hooks = [
        getattr(layer.attention.self, name).register_forward_hook(lambda _, __, out, key=(name, at): keep(out, key))
        for at, layer in enumerate(model.model.bert.encoder.layer)
        for name in ("query", "key", "value")
    ]
    found = {name: [] for name in ("query", "key", "value")}
    for text, label in texts:
        model.factors = model.neurons
        inputs = model.tokenizer(text, return_tensors="pt")
        loss = model.model(**inputs, labels=torch.tensor([label])).loss
        keys = list(kept)
        gradients = dict(zip(keys, torch.autograd.grad(loss, [kept[key] for key in keys]), strict=True))
        for name in found:
            layers = [gradients[name, at][0] for at in range(config.num_hidden_layers)]
            found[name].append([[g[:, h : h + size].norm().item() for h in range(0, g.shape[1], size)] for g in layers])
    for hook in hooks:
        hook.remove()
    return {name: np.mean(of, 0).tolist() for name, of in found.items()}


SHAPLEY = 3


def losses_of_all_masks(model, text, label):
    """By mask: bit `4 layer + head` is whether the head is there."""
    model.factors = model.neurons
    inputs = model.tokenizer(text, return_tensors="pt")
    layers, heads = model.heads.shape
    units, batch = layers * heads, 4096
    losses = []
    with torch.no_grad():
        for first in range(0, 2**units, batch):
            masks = torch.arange(first, first + batch)
            bits = (masks[:, None] >> torch.arange(units)) & 1
            mask = bits.double().reshape(batch, layers, heads).permute(1, 0, 2)[..., None, None]
            many = {key: value.expand(batch, -1) for key, value in inputs.items()}
            logits = model.model(**many, head_mask=mask).logits
            losses.append(torch.nn.functional.cross_entropy(logits, torch.full((batch,), label), reduction="none"))
    return torch.cat(losses).numpy()


def shapley(model, texts):
    """Exact, by all subsets: what the loss falls by when a head comes to those before it."""
    units = model.heads.numel()
    sizes = np.array([bin(mask).count("1") for mask in range(2**units)])
    weight = np.array([math.factorial(size) * math.factorial(units - size - 1) for size in range(units)])
    weight = weight / math.factorial(units)
    values = np.zeros(units)
    for text in texts[:SHAPLEY]:
        losses = losses_of_all_masks(model, *text)
        masks = np.arange(2**units)
        for unit in range(units):
            without = masks[(masks >> unit) & 1 == 0]
            values[unit] += ((losses[without] - losses[without | 1 << unit]) * weight[sizes[without]]).sum() / SHAPLEY
    return {"examples": SHAPLEY, "values": values.tolist()}


class Draws:
    """SplitMix64, as the product draws."""

    GAMMA, MASK = 0x9E3779B97F4A7C15, 2**64 - 1

    def __init__(self, *numbers):
        self.state = 0
        for number in numbers:
            self.state = self.mixed((self.state + self.GAMMA & self.MASK) ^ number)

    @classmethod
    def mixed(cls, z):
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & cls.MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & cls.MASK
        return z ^ z >> 31

    def unit(self):
        self.state = self.state + self.GAMMA & self.MASK
        return (self.mixed(self.state) >> 11) / 2**53


GATES = dict(steps=60, weight=0.5, seed=3)


def gates(model, texts, kind, rate):
    """Factors of heads by torch's Adam on the loss of all examples and the penalty."""
    beta, low, high = 2 / 3, -0.1, 1.1
    model.factors = model.neurons
    inputs = [(model.tokenizer(text, return_tensors="pt"), torch.tensor([label])) for text, label in texts]
    values = torch.full_like(model.heads, 1.0 if kind == "l1" else 2.0).requires_grad_(True)
    optimizer = torch.optim.Adam([values], lr=rate)
    stays = (lambda v: v) if kind == "l1" else (lambda v: torch.sigmoid(v - beta * math.log(-low / high)))

    def loss_of(mask):
        return sum(model.model(**x, labels=y, head_mask=mask).loss for x, y in inputs) / len(inputs)

    for step in range(GATES["steps"]):
        mask = values
        if kind == "l0":
            draws = Draws(GATES["seed"], 1, step)
            u = torch.tensor([1e-6 + draws.unit() * (1 - 2e-6) for _ in range(values.numel())], dtype=torch.float64)
            u = u.reshape(values.shape)
            opened = torch.sigmoid((u.log() - (1 - u).log() + values) / beta)
            mask = (opened * (high - low) + low).clamp(0, 1)
        optimizer.zero_grad()
        (loss_of(mask) + GATES["weight"] * stays(values).abs().mean()).backward()
        optimizer.step()
        if kind == "l1":
            values.data.clamp_(min=0)
    with torch.no_grad():
        mask = values if kind == "l1" else (torch.sigmoid(values) * (high - low) + low).clamp(0, 1)
        return {
            "rate": rate,
            "loss": loss_of(mask).item(),
            "penalty": GATES["weight"] * stays(values).mean().item(),
            "scores": stays(values).tolist(),
            "factors": mask.tolist(),
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
        "integrated": integrated(model, texts),
        "norms": norms(model, texts),
        "shapley": shapley(model, texts),
        "gates": GATES | {kind: gates(model, texts, kind, rate) for kind, rate in (("l1", 0.02), ("l0", 0.1))},
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
