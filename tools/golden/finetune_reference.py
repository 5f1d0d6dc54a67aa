"""Fine-tuning as `bertology finetune` does it, in PyTorch: the same order of examples, AdamW, clipping, schedules."""

import math

import torch
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

MASK = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15


def mixed(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def order(count, seed, epoch):
    """The order of an epoch's examples: SplitMix64 and Fisher and Yates."""
    state = 0
    for value in (seed, 0x6F726465, epoch):
        state = mixed(((state + GAMMA) & MASK) ^ value)
    places = list(range(count))
    for last in range(count - 1, 0, -1):
        state = (state + GAMMA) & MASK
        other = (mixed(state) * (last + 1)) >> 64
        places[last], places[other] = places[other], places[last]
    return places


def groups(model, decay):
    """Matrices decay, vectors do not."""
    named = [parameter for _, parameter in model.named_parameters()]
    return [
        {"params": [p for p in named if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in named if p.dim() <= 1], "weight_decay": 0.0},
    ]


def batches(count, size, seed, epochs):
    for epoch in range(epochs):
        places = order(count, seed, epoch)
        for start in range(0, count, size):
            yield places[start : start + size]


def train(model, encode, count, *, steps, size, rate, decay, warmup, clip, seed, epochs=1000, cosine=False, each=None):
    """Takes `steps` steps; `encode(places)` gives a batch with labels. Losses, gradient norms and rates of all steps."""
    optimizer = torch.optim.AdamW(groups(model, decay), lr=rate, betas=(0.9, 0.999), eps=1e-8)
    make = get_cosine_schedule_with_warmup if cosine else get_linear_schedule_with_warmup
    schedule = make(optimizer, math.ceil(warmup * steps), steps)
    losses, norms, rates = [], [], []
    for step, places in enumerate(batches(count, size, seed, epochs)):
        if step == steps:
            break
        loss = model(**encode(places)).loss
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), clip).item())
        losses.append(loss.item())
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if each:
            each(step + 1)
    return losses, norms, rates
