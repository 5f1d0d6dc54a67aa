"""What both trainers share: the split corpus, token batches, the learning-rate schedule, digests."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Iterator

import lexicon as lex


def set_seeds(seed: int, threads: int) -> None:
    """Seed every generator in use and fix the thread count."""
    import numpy
    import torch

    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.use_deterministic_algorithms(True)


def batches(rng: random.Random, lengths: list[int], size: int) -> Iterator[list[int]]:
    """Indices of one epoch in batches of similar length, in random order."""
    order = list(range(len(lengths)))
    rng.shuffle(order)
    groups = []
    for start in range(0, len(order), size * 16):
        chunk = sorted(order[start : start + size * 16], key=lambda i: lengths[i])
        groups += [chunk[i : i + size] for i in range(0, len(chunk), size)]
    rng.shuffle(groups)
    yield from groups


def pad(rows: list[list[int]], value: int):
    """(ids, attention mask) as int64 tensors `[batch, longest]`, padded at the end."""
    import torch

    width = max(map(len, rows))
    ids = torch.tensor([r + [value] * (width - len(r)) for r in rows])
    mask = torch.tensor([[1] * len(r) + [0] * (width - len(r)) for r in rows])
    return ids, mask


def schedule(step: int, steps: int, warmup: float = 0.06) -> float:
    """Linear warm-up, then linear decay to zero."""
    rise = max(1, int(steps * warmup))
    return (step + 1) / rise if step < rise else max(0.0, (steps - step) / (steps - rise))


def optimizer(model, rate: float, decay: float):
    """AdamW without decay on biases and norms."""
    import torch

    plain = [p for p in model.parameters() if p.dim() < 2]
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)


def digests(folder: Path) -> str:
    """`sha256  path` of every file under `folder`, sorted."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return "".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder).as_posix()}\n" for p in files)


# --- WordPiece vocabulary -----------------------------------------------------------------------

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TAILS = "selves daughters daughter graph er ist ian ing ed es s".split()


def split_long(word: str, known: set[str]) -> list[str]:
    """A long word as stem and endings (`photographers` → photo graph er s), a short one whole."""
    pieces: list[str] = []
    while len(word) > lex.LONG_WORD:
        tails = [t for t in TAILS if word.endswith(t) and len(word) - len(t) >= 4]
        if not tails:
            break
        tail = next((t for t in tails if word[: -len(t)] in known), tails[0])
        pieces.insert(0, tail)
        word = word[: -len(tail)]
    return [word] + pieces


def wordpieces() -> list[str]:
    """The vocabulary: special tokens, marks, letters, word beginnings, continuations."""
    forms = lex.all_forms()
    known = set(forms)
    begin, rest = set(), set()
    for form in forms:
        first, *others = split_long(form, known)
        begin.add(first)
        rest.update("##" + o for o in others)
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    marks = list(".,!?'-:;\"()0123456789")
    out = SPECIAL + marks + letters + ["##" + c for c in letters + list("0123456789")]
    out += sorted(begin - set(out))
    return out + sorted(rest - set(out))
