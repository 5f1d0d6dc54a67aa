"""What leaving out every head costs, in full evaluations: `bertology ablate` against `evaluate`.

The two take turns on the same data, with the same threads and batches. Printed are the medians of the
passes (loading excluded on both sides) and

    ratio = ablation / (heads × evaluation),

1 if every head costs an evaluation; the aim is at most 0.5.

    cargo build --release -p bertology-cli
    .venv/bin/python benches/ablation.py MODEL --task mrpc --data GLUE --limit 64

MODEL is any classifier; speed does not depend on what its weights are.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a classifier's folder")
    parser.add_argument("--task", default="mrpc")
    parser.add_argument("--data", required=True)
    parser.add_argument("--limit", type=int, help="the first N examples")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--tokens-per-batch", type=int, help="for both; default: each its own")
    parser.add_argument("--binary", default=str(ROOT / "target" / "release" / "bertology"))
    return parser.parse_args()


def run(args, command):
    """The run's record."""
    line = [args.binary, command, args.model, "--task", args.task, "--data", args.data]
    for name in ("limit", "threads", "tokens_per_batch"):
        value = getattr(args, name)
        if value is not None:
            line += ["--" + name.replace("_", "-"), str(value)]
    done = subprocess.run(line + ["--json", "--quiet"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(line)}\n{done.stderr}")
    return json.loads(done.stdout)


def main():
    args = arguments()
    times = {"evaluate": [], "ablate": []}
    laps = {"evaluate": "evaluation", "ablate": "ablation"}
    for repeat in range(args.repeats):
        for command in times:
            record = run(args, command)
            seconds = record["seconds"][laps[command]]
            times[command].append(seconds)
            print(f"round {repeat + 1}: {command} {seconds:.2f} s", file=sys.stderr, flush=True)
    heads = len(record["results"]["heads"])
    evaluation = record["results"]["evaluation"]
    one, all_heads = (statistics.median(times[name]) for name in ("evaluate", "ablate"))
    print(f"{evaluation['examples']} examples, {evaluation['tokens']} tokens, {heads} heads")
    print(f"| evaluate | {one:.2f} s |")
    print(f"| ablate, {heads} heads | {all_heads:.2f} s |")
    print(f"| {heads} × evaluate | {heads * one:.2f} s |")
    print(f"| ratio | {all_heads / (heads * one):.3f} |")


if __name__ == "__main__":
    main()
