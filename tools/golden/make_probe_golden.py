"""Attention probes as torch trains them: logits, gradients, losses and parameters after some steps of Adam; and the
optimiser by itself, with weight decay and a schedule.

Writes probes.safetensors and optim.safetensors in golden/probes. In the first the sentences are random: maps whose rows
are distributions, word vectors, heads. The features are formed here as the paper's formula says, with an
explicit array over word, candidate and channel; gradients are autograd's, steps are torch.optim.Adam's.
Float32. Nothing here is shared with the code under test.

In the second the gradients are given, and parameters follow them by torch.optim.AdamW under transformers'
get_linear_schedule_with_warmup. Float64.

    python tools/golden/make_probe_golden.py
"""

import json
from pathlib import Path

import numpy
import torch
from safetensors.torch import save_file
from transformers import get_linear_schedule_with_warmup

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "golden" / "probes"
SEED = 20_190_611
HEADS, DIM, HIDDEN = 4, 3, 256
LENGTHS = [5, 1, 3]
ROUNDS = 4
ADAM = dict(lr=0.002, betas=(0.9, 0.999), eps=1e-8)
ADAMW = dict(lr=0.05, betas=(0.8, 0.98), eps=1e-6, weight_decay=0.1)
# Warm-up and all steps; one step more is taken.
SCHEDULES = [(0, 10), (3, 10), (10, 10), (4, 4), (5, 3)]


def sentences(random):
    for words in LENGTHS:
        units = words + 2
        scores = torch.tensor(random.normal(size=(HEADS, units, units)) * 2, dtype=torch.float32)
        causal = torch.tensor(random.normal(size=(HEADS, words, words)) * 2, dtype=torch.float32)
        hidden = torch.triu(torch.ones(words, words, dtype=torch.bool), diagonal=1)
        yield {
            "maps": torch.softmax(scores, -1),
            "causal_maps": torch.softmax(causal.masked_fill(hidden, -torch.inf), -1),
            "vectors": torch.tensor(random.normal(size=(words, DIM)), dtype=torch.float32),
            "heads": torch.tensor(
                [random.choice([i for i in range(words + 1) if i != j]) for j in range(1, words + 1)]
            ),
        }


def first_values(random, shapes):
    return {
        name: torch.tensor(random.normal(size=shape) * 0.5, dtype=torch.float32)
        for name, shape in shapes.items()
    }


def candidate_vectors(vectors, legacy):
    """[candidate, dim]: ROOT's zero vector first, or, as in the released code, last."""
    zero = torch.zeros(1, DIM)
    return torch.cat([vectors, zero] if legacy else [zero, vectors])


def features(sentence, root, causal):
    """[channel, word, candidate], ROOT first."""
    maps = sentence["causal_maps"] if causal else sentence["maps"]
    both = torch.cat([maps, maps.transpose(1, 2)])
    words = len(sentence["heads"])
    if causal:
        rows = both
        evidence = root[0] * rows[:, :, 0]
        candidates = rows
    else:
        rows = both[:, 1 : words + 1]
        evidence = root[0] * rows[:, :, 0] + root[1] * rows[:, :, words + 1]
        candidates = rows[:, :, 1 : words + 1]
    return torch.cat([evidence[:, :, None], candidates], dim=2)


def attention(p, sentence, legacy, causal):
    return torch.einsum("c,cji->ji", p["theta"], features(sentence, p["root"], causal))


def pairs(sentence, legacy):
    """[word, candidate, 2 dim]: the word's vector, then the candidate's."""
    own = sentence["vectors"]
    candidates = candidate_vectors(own, legacy)
    words = len(own)
    return torch.cat(
        [own[:, None].expand(-1, words + 1, -1), candidates[None].expand(words, -1, -1)], dim=2
    )


def words(p, sentence, legacy, causal):
    theta = pairs(sentence, legacy) @ p["theta"] + p["bias"]
    return torch.einsum("jic,cji->ji", theta, features(sentence, p["root"], causal))


def distance(p, sentence, legacy, causal):
    m = len(sentence["heads"])
    rows = []
    for j in range(1, m + 1):
        for i in range(m + 1):
            ahead, behind = max(i - j, 0) / m, max(j - i, 0) / m
            rows.append([ahead, behind] + [float(i - j == o) for o in range(-2, 3)] + [float(i == 0)])
    distances = torch.tensor(rows).reshape(m, m + 1, 8)
    inputs = torch.cat([distances, pairs(sentence, legacy)], dim=2)
    return (torch.tanh(inputs @ p["hidden"] + p["hidden_bias"]) @ p["out"]).squeeze(2)


CHANNELS = 2 * HEADS
PROBES = {
    "attention": (attention, {"theta": (CHANNELS,), "root": (2,)}, False, False),
    "attention_causal": (attention, {"theta": (CHANNELS,), "root": (1,)}, False, True),
    "words": (words, {"theta": (2 * DIM, CHANNELS), "bias": (CHANNELS,), "root": (2,)}, False, False),
    "words_legacy": (words, {"theta": (2 * DIM, CHANNELS), "bias": (CHANNELS,), "root": (2,)}, True, False),
    "words_causal": (words, {"theta": (2 * DIM, CHANNELS), "bias": (CHANNELS,), "root": (1,)}, False, True),
    "distance": (distance, {"hidden": (8 + 2 * DIM, HIDDEN), "hidden_bias": (HIDDEN,), "out": (HIDDEN, 1)}, False, False),
    "distance_legacy": (distance, {"hidden": (8 + 2 * DIM, HIDDEN), "hidden_bias": (HIDDEN,), "out": (HIDDEN, 1)}, True, False),
}


def probes():
    random = numpy.random.default_rng(SEED)
    corpus = list(sentences(random))
    arrays = {f"sentence.{i}.{key}": value for i, s in enumerate(corpus) for key, value in s.items()}
    for name, (logits, shapes, legacy, causal) in PROBES.items():
        values = first_values(random, shapes)
        arrays |= {f"{name}.before.{key}": value.clone() for key, value in values.items()}
        parameters = {key: torch.nn.Parameter(value) for key, value in values.items()}
        optimizer = torch.optim.Adam(parameters.values(), **ADAM)
        losses = []
        for step in range(ROUNDS * len(corpus)):
            sentence = corpus[step % len(corpus)]
            found = logits(parameters, sentence, legacy, causal)
            loss = torch.nn.functional.cross_entropy(found, sentence["heads"], reduction="sum")
            optimizer.zero_grad()
            loss.backward()
            if step == 0:
                arrays[f"{name}.logits"] = found.detach().clone()
                arrays |= {
                    f"{name}.gradient.{key}": value.grad.clone() for key, value in parameters.items()
                }
            optimizer.step()
            losses.append(loss.item())
        arrays[f"{name}.losses"] = torch.tensor(losses)
        arrays |= {f"{name}.after.{key}": value.detach() for key, value in parameters.items()}
    return arrays


def steps(random, name, warmup=None, total=11):
    """Parameters after each step; without a warm-up the learning rate stays as it is."""
    start = torch.tensor(random.normal(size=7))
    gradients = torch.tensor(random.normal(size=(total, 7)) * [10, 1, 1, 1e-3, 1e-6, 0, 1])
    parameter = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.AdamW([parameter], **ADAMW)
    schedule = None if warmup is None else get_linear_schedule_with_warmup(optimizer, warmup, total)
    after = []
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
        if schedule:
            schedule.step()
        after.append(parameter.detach().clone())
    return {f"{name}.before": start, f"{name}.gradients": gradients, f"{name}.after": torch.stack(after)}


def optimiser():
    random = numpy.random.default_rng(SEED)
    arrays = steps(random, "constant") | steps(random, "linear", warmup=3)
    for warmup, total in SCHEDULES:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule = get_linear_schedule_with_warmup(optimizer, warmup, total)
        factors = []
        for _ in range(total + 1):
            factors += schedule.get_last_lr()
            optimizer.step()
            schedule.step()
        arrays[f"factors.{warmup}.{total}"] = torch.tensor(factors, dtype=torch.float64)
    return arrays


def main():
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    provenance = {"torch": torch.__version__, "seed": SEED, "rounds": ROUNDS}
    for name, arrays in [("probes", probes()), ("optim", optimiser())]:
        arrays = {key: value.contiguous() for key, value in arrays.items()}
        save_file(arrays, OUT / f"{name}.safetensors", metadata={"provenance": json.dumps(provenance)})


if __name__ == "__main__":
    main()
