#!/usr/bin/env python3
"""Dev scores of `bertology finetune` beside those of the same training in PyTorch, over several seeds, dropout on.

    tools/parity/finetune_scores.py MODEL GLUE --task mrpc --epochs 3 --seeds 3 [--new-head] [--only ours|torch]

The two draw other dropout masks, orders and first values of a new head, so that no two runs are alike: what is compared are
the scores over seeds. PyTorch's loop is that of `run_glue.py`: random batches padded to their longest, AdamW, linear decline
after the warm-up, clipping at 1. Each score is printed as soon as it is there; then mean, spread and the difference.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "benches/peers")]

from finetune import COLUMNS  # noqa: E402


def rows_of(glue, task, split):
    folder, first, second, label = COLUMNS[task]
    with open(pathlib.Path(glue) / folder / f"{split}.tsv", encoding="utf-8-sig") as file:
        rows = [line.rstrip("\n").split("\t") for line in file][1:]
    return [(row[first], row[second] if second is not None else None, int(row[label])) for row in rows]


def ours(options, seed):
    with tempfile.TemporaryDirectory() as folder:
        words = [options.binary, "finetune", options.model, "--task", options.task, "--data", options.glue]
        words += ["--epochs", options.epochs, "--batch-size", options.batch, "--learning-rate", options.rate]
        words += ["--keep", "last", "--seed", seed, "--threads", options.threads, "--output", f"{folder}/out", "--quiet"]
        words += ["--new-head"] if options.new_head else []
        subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)
        with open(f"{folder}/out/run.json", encoding="utf-8") as file:
            return json.load(file)["results"]["metrics"]["acc"]


def theirs(options, seed):
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(options.threads)
    torch.manual_seed(seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(options.model, dtype=torch.float32)
    if options.new_head:
        model._init_weights(model.classifier)
    train, dev = (rows_of(options.glue, options.task, split) for split in ("train", "dev"))

    def batch(rows):
        second = [row[1] for row in rows] if rows[0][1] is not None else None
        ids = tokenizer(
            [row[0] for row in rows], second, truncation="longest_first", max_length=128, padding=True, return_tensors="pt"
        )
        return ids, torch.tensor([row[2] for row in rows])

    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.01},
        {"params": [p for p in model.parameters() if p.dim() <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=options.rate, fused=True)
    steps = -(-len(train) // options.batch) * options.epochs
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, -(-steps // 10), steps)
    model.train()
    for _ in range(options.epochs):
        order = torch.randperm(len(train)).tolist()
        for start in range(0, len(order), options.batch):
            ids, labels = batch([train[at] for at in order[start : start + options.batch]])
            model(**ids, labels=labels).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
    model.eval()
    right = 0
    with torch.inference_mode():
        for start in range(0, len(dev), 64):
            ids, labels = batch(dev[start : start + 64])
            right += int((model(**ids).logits.argmax(-1) == labels).sum())
    return right / len(dev)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("glue")
    parser.add_argument("--task", default="mrpc")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=3e-5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--new-head", action="store_true", help="begin with a new classifier")
    parser.add_argument("--only", choices=["ours", "torch"])
    parser.add_argument("--binary", default=ROOT / "target/release/bertology")
    options = parser.parse_args()
    programs = {"ours": ours, "torch": theirs}
    found = {name: [] for name in programs if options.only in (None, name)}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for name, scores in found.items():
            scores.append(programs[name](options, seed))
            print(f"seed {seed}  {name:5}  {scores[-1]:.4f}", flush=True)
    for name, scores in found.items():
        spread = statistics.stdev(scores) if len(scores) > 1 else float("nan")
        print(f"{name:5}  mean {statistics.mean(scores):.4f}  standard deviation {spread:.4f}  {min(scores):.4f} to {max(scores):.4f}")
    if len(found) == 2:
        print(f"difference {statistics.mean(found['ours']) - statistics.mean(found['torch']):+.4f}")


if __name__ == "__main__":
    main()
