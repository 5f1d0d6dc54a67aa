"""An edge probe as torch trains it: parameters and losses after 50 steps of Adam with AMSGrad.

Writes edge.safetensors in golden/probes. Two spans, three layers mixed, attention over each span, a classifier of one hidden
layer, a sigmoid for each label; gradients clipped by norm, a learning rate of its own for the mixing logits. Two seeds, each without
dropout and with masks that are in the file. The formulas are written here as the papers have them (Tenney et al. 2019, ICLR and
ACL), span by span and piece by piece; gradients are autograd's, steps are torch.optim.Adam's. Float32. Nothing here is
shared with the code under test.

Beside them the optimiser by itself, in float64: gradients that shrink, so that the largest mean square is not the present one.

    make_edge_golden.py            make it
    make_edge_golden.py --check    make it again and compare with the committed one: to 1e-5 of an array's largest entry
"""

import argparse
import json
import sys
from pathlib import Path

import numpy
import torch
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "golden" / "probes"
SEED = 20_190_728
PIECES, LAYERS, HIDDEN, PROJECTION, UNITS, CLASSES = 22, 3, 9, 6, 7, 5
STEPS = 50
RATE, MIXING_RATE, CLIP = 0.01, 0.03, 2.0
INPUT_DROPOUT, UNIT_DROPOUT = 0.2, 0.3
# Sentences: targets of two spans of pieces. Spans of one piece, of several, overlapping ones and the same one twice.
SENTENCES = [
    [((0, 1), (1, 2)), ((1, 2), (1, 2)), ((2, 5), (1, 2)), ((3, 4), (2, 6))],
    [((6, 8), (8, 9)), ((8, 9), (8, 9)), ((9, 10), (6, 10))],
    [((10, 11), (12, 15)), ((12, 15), (10, 11)), ((11, 13), (12, 15)), ((14, 15), (14, 15)), ((10, 15), (12, 13))],
    [((16, 17), (17, 18)), ((18, 22), (17, 18)), ((19, 20), (17, 18))],
]
# Sentences of a step, by turns.
BATCHES = [[0, 1], [2], [3, 0], [1, 2, 3]]


def parameters(random):
    def uniform(*shape, fan_in):
        return torch.tensor(random.uniform(-1, 1, size=shape) / fan_in**0.5, dtype=torch.float32)

    values = {"mix.logits": torch.zeros(LAYERS), "mix.gamma": torch.ones(())}
    for span in ("span1", "span2"):
        values[f"{span}.weight"] = uniform(PROJECTION, HIDDEN, fan_in=HIDDEN)
        values[f"{span}.bias"] = uniform(PROJECTION, fan_in=HIDDEN)
        values[f"{span}.attention.weight"] = uniform(PROJECTION, fan_in=PROJECTION)
        values[f"{span}.attention.bias"] = uniform(fan_in=PROJECTION)
    values["outer.weight"] = uniform(UNITS, 2 * PROJECTION, fan_in=2 * PROJECTION)
    values["outer.bias"] = uniform(UNITS, fan_in=2 * PROJECTION)
    values["norm.weight"] = torch.ones(UNITS)
    values["norm.bias"] = torch.zeros(UNITS)
    values["inner.weight"] = uniform(CLASSES, UNITS, fan_in=UNITS)
    values["inner.bias"] = uniform(CLASSES, fan_in=UNITS)
    return values


def logits(p, states, targets, input_mask, unit_masks):
    """One row a target; masks are factors."""
    shares = torch.softmax(p["mix.logits"], 0)
    mixed = p["mix.gamma"] * torch.einsum("l,plh->ph", shares, states) * input_mask
    rows = []
    for spans, unit_mask in zip(targets, unit_masks, strict=True):
        joined = []
        for name, (start, end) in zip(("span1", "span2"), spans, strict=True):
            v = mixed[start:end] @ p[f"{name}.weight"].T + p[f"{name}.bias"]
            e = v @ p[f"{name}.attention.weight"] + p[f"{name}.attention.bias"]
            joined.append(torch.softmax(e, 0) @ v)
        units = torch.tanh(p["outer.weight"] @ torch.cat(joined) + p["outer.bias"])
        units = torch.nn.functional.layer_norm(units, (UNITS,), p["norm.weight"], p["norm.bias"])
        rows.append(p["inner.weight"] @ (units * unit_mask) + p["inner.bias"])
    return torch.stack(rows)


def train(values, states, labels, masks):
    p = {name: torch.nn.Parameter(value.clone()) for name, value in values.items()}
    rest = [value for name, value in p.items() if name != "mix.logits"]
    groups = [{"params": [p["mix.logits"]], "lr": MIXING_RATE}, {"params": rest, "lr": RATE}]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.999), eps=1e-8, amsgrad=True)
    firsts = numpy.cumsum([0] + [len(targets) for targets in SENTENCES])
    losses, norms = [], []
    for step in range(STEPS):
        batch = BATCHES[step % len(BATCHES)]
        targets = [target for sentence in batch for target in SENTENCES[sentence]]
        numbers = [n for sentence in batch for n in range(firsts[sentence], firsts[sentence + 1])]
        found = logits(p, states, targets, masks["input"][step], masks["units"][step][numbers])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(found, labels[numbers], reduction="sum")
        loss = loss / len(targets)
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(p.values(), CLIP))
        optimizer.step()
        losses.append(loss.detach())
    clipped = sum(bool(norm > CLIP) for norm in norms)
    assert 0 < clipped < STEPS, f"{clipped} of {STEPS} steps are clipped"
    return {name: value.detach() for name, value in p.items()}, torch.stack(losses)


def amsgrad(random):
    value = torch.nn.Parameter(torch.tensor(random.normal(size=7)))
    gradients = torch.tensor(random.normal(size=(12, 7)) * 0.5 ** numpy.arange(12)[:, None])
    optimizer = torch.optim.Adam([value], lr=0.05, betas=(0.8, 0.9), eps=1e-6, amsgrad=True)
    before, after = value.detach().clone(), []
    for gradient in gradients:
        value.grad = gradient.clone()
        optimizer.step()
        after.append(value.detach().clone())
    return {"amsgrad.before": before, "amsgrad.gradients": gradients, "amsgrad.after": torch.stack(after)}


def make():
    """Every array by its name, and which versions made them."""
    random = numpy.random.default_rng(SEED)
    states = torch.tensor(random.normal(size=(PIECES, LAYERS, HIDDEN)) * [[[1.0], [2.0], [0.5]]], dtype=torch.float32)
    targets = sum(len(sentence) for sentence in SENTENCES)
    labels = torch.tensor(random.random((targets, CLASSES)) < 0.3, dtype=torch.float32)
    kept = {
        "input": torch.tensor(random.random((STEPS, PIECES, HIDDEN)) >= INPUT_DROPOUT),
        "units": torch.tensor(random.random((STEPS, targets, UNITS)) >= UNIT_DROPOUT),
    }
    rates = {"input": INPUT_DROPOUT, "units": UNIT_DROPOUT}
    masks = {
        "off": {name: torch.ones(mask.shape) for name, mask in kept.items()},
        "on": {name: mask.float() / (1 - rates[name]) for name, mask in kept.items()},
    }
    arrays = {"states": states, "labels": labels.to(torch.int64)}
    arrays |= {f"kept.{name}": mask.to(torch.int32) for name, mask in kept.items()}
    for seed in range(2):
        values = parameters(random)
        arrays |= {f"{seed}.before.{name}": value for name, value in values.items()}
        for dropout, factors in masks.items():
            after, losses = train(values, states, labels, factors)
            arrays |= {f"{seed}.{dropout}.after.{name}": value for name, value in after.items()}
            arrays[f"{seed}.{dropout}.losses"] = losses
    arrays |= amsgrad(random)
    provenance = json.dumps({"seed": SEED, "torch": torch.__version__.split("+")[0], "numpy": numpy.__version__})
    return {name: value.contiguous() for name, value in arrays.items()}, {"provenance": provenance}


def differences(made, kept):
    """What is not the same, in words."""
    found = [f"{name} is not committed" for name in sorted(made.keys() - kept.keys())]
    found += [f"{name} is no longer made" for name in sorted(kept.keys() - made.keys())]
    for name in sorted(made.keys() & kept.keys()):
        a, b = made[name], kept[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            found.append(f"{name}: {a.dtype} {list(a.shape)}, committed {b.dtype} {list(b.shape)}")
            continue
        apart = (a.double() - b.double()).abs().max().item()
        if not apart <= 1e-5 * max(b.double().abs().max().item(), 1e-30):
            found.append(f"{name}: {apart:.2e} apart")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed file, write nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    arrays, metadata = make()
    path = OUT / "edge.safetensors"
    if not options.check:
        save_file(arrays, path, metadata)
        return 0
    found = differences(arrays, load_file(path))
    print(f"{'FAIL' if found else 'same'} {path.name}: {len(arrays)} arrays {'; '.join(found)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
