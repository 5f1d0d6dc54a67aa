#!/usr/bin/env python3
"""Fine-tuning against a PyTorch loop, step for step and in turns.

    cargo build --release -p bertology-train --example finetune_steps
    benches/peers/finetune.py compare MODEL GLUE --task mrpc --steps 40 --repeats 5

PyTorch's loop is a tuned one: batches of examples of like length, padded to their longest, SDPA attention, fused AdamW if
that is there, dropout as the config has it. Ours takes examples in random order, as it always does, and has no padding.
Both time the steps after the first two, on the same number of threads; each repeat runs one of each, in changing order.
`torch ...` runs the peer alone and prints JSON; `compare` starts both as processes of their own.
"""

import argparse
import json
import pathlib
import random
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
WARM = 2
COLUMNS = {"mrpc": ("MRPC", 3, 4, 0), "sst-2": ("SST-2", 0, None, 1)}


def texts(glue, task):
    folder, first, second, label = COLUMNS[task]
    path = pathlib.Path(glue)
    path = path / folder if (path / folder).is_dir() else path
    with open(path / "train.tsv", encoding="utf-8-sig") as file:
        rows = [line.rstrip("\n").split("\t") for line in file][1:]
    return [(row[first], row[second] if second is not None else None, int(row[label])) for row in rows]


def peak_kb():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1])
    return 0


def run_torch(options):
    import torch
    import transformers

    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    transformers.logging.set_verbosity_error()
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        options.model, attn_implementation=options.attention, dtype=torch.float32
    ).train()
    rows = texts(options.glue, options.task)
    firsts, seconds = [row[0] for row in rows], [row[1] for row in rows]
    pairs = seconds if seconds[0] is not None else None
    encoded = tokenizer(firsts, pairs, truncation=True, max_length=128)
    order = sorted(range(len(rows)), key=lambda at: len(encoded["input_ids"][at]))
    batches = [order[start : start + options.batch] for start in range(0, len(order), options.batch)]
    random.Random(7).shuffle(batches)
    named = list(model.named_parameters())
    groups = [
        {"params": [p for _, p in named if p.dim() > 1], "weight_decay": 0.01},
        {"params": [p for _, p in named if p.dim() <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=3e-5, fused=options.fused)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, 1, options.steps + WARM)
    start, tokens = None, 0
    for step in range(options.steps + WARM):
        if step == WARM:
            start = time.perf_counter()
        some = batches[step % len(batches)]
        batch = tokenizer.pad({name: [encoded[name][at] for at in some] for name in encoded}, return_tensors="pt")
        tokens += int(batch["attention_mask"].sum()) if step >= WARM else 0
        loss = model(**batch, labels=torch.tensor([rows[at][2] for at in some])).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
    spent = time.perf_counter() - start
    print(json.dumps({"seconds": spent, "steps": options.steps, "tokens": tokens, "peak_kb": peak_kb()}))


def one(command):
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(ended.stdout.strip().splitlines()[-1])


def compare(options):
    binary = ROOT / "target/release/examples/finetune_steps"
    ours = [binary, options.model, options.glue, options.task, options.steps, options.threads, options.batch]
    ours = [str(word) for word in ours]
    peer = [sys.executable, __file__, "torch", options.model, options.glue, "--task", options.task]
    peer += ["--steps", str(options.steps), "--threads", str(options.threads), "--batch", str(options.batch)]
    peer += ["--attention", options.attention] + (["--fused"] if options.fused else [])
    rows = []
    for repeat in range(options.repeats):
        pair = [("ours", ours), ("torch", peer)]
        found = {name: one(command) for name, command in (pair if repeat % 2 == 0 else reversed(pair))}
        rows.append(found)
        ratio = found["torch"]["seconds"] / found["ours"]["seconds"]
        print(
            f"ours {found['ours']['seconds']:8.2f} s {found['ours']['peak_kb'] / 1e6:6.2f} GB   "
            f"torch {found['torch']['seconds']:8.2f} s {found['torch']['peak_kb'] / 1e6:6.2f} GB   ratio {ratio:.2f}",
            flush=True,
        )
    ratios = [row["torch"]["seconds"] / row["ours"]["seconds"] for row in rows]
    memory = [row["ours"]["peak_kb"] / row["torch"]["peak_kb"] for row in rows]
    print(f"median ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"memory: {statistics.median(memory):.2f} of the peer's")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["compare", "torch"])
    parser.add_argument("model")
    parser.add_argument("glue")
    parser.add_argument("--task", default="mrpc", choices=sorted(COLUMNS))
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--attention", default="sdpa", choices=["sdpa", "eager"])
    parser.add_argument("--fused", action="store_true")
    options = parser.parse_args()
    run_torch(options) if options.what == "torch" else compare(options)


if __name__ == "__main__":
    main()
