#!/usr/bin/env python3
"""Steps of `bertology finetune` beside the same steps in PyTorch: same examples, same order, dropout off.

    tools/parity/finetune.py MODEL GLUE --task mrpc --steps 50 [--binary target/release/bertology]

Prints the largest difference of the losses, and of each weight relative to the largest of its tensor. A key's bias moves no
softmax, so that its gradient is rounding, which Adam divides by the size of that rounding: it is left out.
"""

import argparse
import csv
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools/golden"), str(ROOT / "benches/peers")]

from finetune import texts  # noqa: E402
from finetune_reference import train  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("glue")
    parser.add_argument("--task", default="mrpc")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=3e-5)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--binary", default=ROOT / "target/release/bertology")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    rows = texts(options.glue, options.task)
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        options.model, attn_implementation="eager", dtype=torch.float32
    ).eval()

    def encode(places):
        first = [rows[at][0] for at in places]
        second = [rows[at][1] for at in places] if rows[0][1] is not None else None
        batch = tokenizer(first, second, truncation="longest_first", max_length=128, padding=True, return_tensors="pt")
        return {**batch, "labels": torch.tensor([rows[at][2] for at in places])}

    with tempfile.TemporaryDirectory() as scratch:
        words = [options.binary, "finetune", options.model, "--task", options.task, "--data", options.glue]
        words += ["--max-steps", options.steps, "--batch-size", options.batch, "--learning-rate", options.rate]
        words += ["--seed", options.seed, "--no-dropout", "--output", f"{scratch}/out", "--quiet"]
        subprocess.run([str(word) for word in words], check=True)
        with open(f"{scratch}/out/training.csv", encoding="utf-8") as file:
            ours = [float(row["loss"]) for row in csv.DictReader(file)]
        weights = load_file(f"{scratch}/out/model.safetensors")
    losses, _, _ = train(
        model,
        encode,
        len(rows),
        steps=options.steps,
        size=options.batch,
        rate=options.rate,
        decay=0.01,
        warmup=0.1,
        clip=1.0,
        seed=options.seed,
    )
    pairs = list(zip(ours, losses, strict=True))
    print(f"loss: {pairs[0][0]:.6f} {pairs[0][1]:.6f} at the first step, {pairs[-1][0]:.6f} {pairs[-1][1]:.6f} at the last")
    print(f"largest relative difference of a loss: {max(abs(a - b) / max(b, 0.1) for a, b in pairs):.1e}")
    worst = []
    for name, parameter in model.named_parameters():
        if not name.endswith("key.bias"):
            theirs, own = parameter.detach(), weights[name]
            worst.append(((own - theirs).abs().max() / theirs.abs().max()).item())
    print(f"largest relative difference of a weight: {max(worst):.1e}, in {len(worst)} tensors")


if __name__ == "__main__":
    main()
