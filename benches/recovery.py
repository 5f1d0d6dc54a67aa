#!/usr/bin/env python3
"""What a pruned model gets back in one epoch: by itself, with its unpruned self as teacher, and what the unpruned one gains.

    benches/recovery.py MODEL GLUE --task mrpc --keep 50% --seeds 3 [--choose-on train:1000] [--keep-runs FOLDER]

Heads are chosen on some of the training data and removed for good; then `bertology finetune` trains one epoch at the usual
settings, looking at the dev split after each quarter. The control is the unpruned model, trained as long: what it gains is
not the pruning's to lose. Printed are means and standard deviations over seeds, and which share of what was lost came back.
"""

import argparse
import csv
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benches/peers")]

from finetune import texts  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("glue")
    parser.add_argument("--task", default="mrpc")
    parser.add_argument("--metric", default="acc")
    parser.add_argument("--keep", default="50%")
    parser.add_argument("--choose-on", default="train:1000")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=3e-5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--binary", default=ROOT / "target/release/bertology")
    parser.add_argument("--keep-runs", type=pathlib.Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = options.keep_runs or pathlib.Path(scratch)
        place.mkdir(parents=True, exist_ok=True)
        data = ["--task", options.task, "--data", options.glue]
        rest = ["--threads", options.threads, "--quiet"]

        def run(*words):
            subprocess.run([str(word) for word in (options.binary, *words, *rest)], check=True, stdout=subprocess.DEVNULL)

        def score(of, name):
            run("evaluate", of, *data, "--output", place / name, "--overwrite")
            found = json.loads((place / name / "run.json").read_text(encoding="utf-8"))
            return found["results"]["evaluation"]["metrics"][options.metric]

        choose = ["--keep", options.keep, "--choose-on", options.choose_on]
        run("prune", options.model, *data, *choose, "--output", place / "pruned", "--overwrite")
        pruned = place / "pruned" / "model"
        before, after = score(options.model, "before"), score(pruned, "after")
        print(f"{options.metric} before pruning {before:.4f}, after {after:.4f}", flush=True)
        quarter = math.ceil(len(texts(options.glue, options.task)) / options.batch / 4)
        ways = {
            "pruned": (pruned, []),
            "pruned, teacher": (pruned, ["--distill", options.model]),
            "unpruned": (options.model, []),
        }
        curves = {name: [] for name in ways}
        for seed in range(1, options.seeds + 1):
            for name, (model, more) in ways.items():
                out = place / f"{name.replace(', ', '-')}-{seed}"
                words = ["finetune", model, *data, "--epochs", 1, "--batch-size", options.batch, "--learning-rate", options.rate]
                run(*words, "--seed", seed, "--evaluate-every", quarter, *more, "--output", out, "--overwrite")
                with open(out / "training_scores.csv", encoding="utf-8") as file:
                    rows = list(csv.DictReader(file))
                curves[name].append([float(row[options.metric]) for row in rows])
                print(f"seed {seed}  {name:16}", "  ".join(f"{value:.4f}" for value in curves[name][-1]), flush=True)
        for name, (model, _) in ways.items():
            first = after if model == pruned else before
            columns = list(zip(*curves[name], strict=True))
            spread = [statistics.stdev(column) if len(column) > 1 else float("nan") for column in columns]
            means = [statistics.mean(column) for column in columns]
            points = "  ".join(f"{mean:.4f} ± {deviation:.4f}" for mean, deviation in zip(means, spread, strict=True))
            share = f"  {(means[-1] - first) / (before - first):.0%} of the loss" if first != before else ""
            print(f"{name:16} {first:.4f}  {points}{share}")


if __name__ == "__main__":
    main()
