"""Head importance: bertology against PyTorch, taking turns on one machine; prints one table."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SIZES = {
    "base": {},
    "minilm": {
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "intermediate_size": 1536,
    },
}


def random_model(size, tokenizer, folder):
    """A checkpoint of the given size with seeded random weights and a real BERT tokenizer."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    words = AutoTokenizer.from_pretrained(tokenizer)
    model = BertForSequenceClassification(
        BertConfig(num_labels=2, vocab_size=len(words), **SIZES[size])
    )
    model.save_pretrained(folder)
    words.save_pretrained(folder)


def timed(command):
    """Runs a command; its output, wall seconds, and peak memory in MiB."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    if status != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}")
    return output, wall, usage.ru_maxrss / 1024


def torch_peer(kind, batch_size, model, arguments):
    command = [sys.executable, HERE / "torch_peer.py", "--kind", kind]
    command += ["--batch-size", str(batch_size), "--model", model]
    command += ["--data", arguments.data, "--task", arguments.task]
    if arguments.limit:
        command += ["--limit", str(arguments.limit)]
    output, wall, peak = timed(command)
    result = json.loads(output.splitlines()[-1])
    return {
        "pass_s": result["pass_s"],
        "wall_s": wall,
        "peak_mib": peak,
        "entropy_mean": result["entropy_mean"],
    }


def bertology(model, arguments):
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [arguments.bertology, "importance", model, "--task", arguments.task]
        command += ["--data", arguments.data, "--output", out, "--quiet"]
        if arguments.limit:
            command += ["--limit", str(arguments.limit)]
        _, wall, peak = timed(command)
        run = json.loads((out / "run.json").read_text())
        import numpy

        entropy = float(numpy.load(out / "attn_entropy.npy").mean())
        return {
            "pass_s": run["seconds"]["importance"],
            "wall_s": wall,
            "peak_mib": peak,
            "entropy_mean": entropy,
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="GLUE folder or the task's own folder")
    parser.add_argument("--task", choices=["mrpc", "sst-2"], default="mrpc")
    parser.add_argument("--size", choices=sorted(SIZES), default="base")
    parser.add_argument("--model", help="a real checkpoint instead of random weights")
    parser.add_argument("--tokenizer", help="folder with a BERT tokenizer, for --size")
    parser.add_argument("--bertology", default=ROOT / "target/release/bertology")
    parser.add_argument("--script-batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--json", help="also write every measurement to this file")
    arguments = parser.parse_args()
    if not arguments.model and not arguments.tokenizer:
        parser.error("--size needs --tokenizer FOLDER, or give a real checkpoint with --model")

    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or folder
        if not arguments.model:
            random_model(arguments.size, arguments.tokenizer, folder)
        peers = {
            f"script, batch {arguments.script_batch}": lambda: torch_peer(
                "script", arguments.script_batch, model, arguments
            ),
            "tuned, batch 32": lambda: torch_peer("tuned", 32, model, arguments),
            "bertology": lambda: bertology(model, arguments),
        }
        runs = {name: [] for name in peers}
        for repeat in range(arguments.repeats):
            for name, run in peers.items():
                runs[name].append(run())
                print(f"{repeat + 1}/{arguments.repeats} {name}: {runs[name][-1]}", file=sys.stderr)

    entropies = [run["entropy_mean"] for each in runs.values() for run in each]
    if max(entropies) - min(entropies) > 1e-3 * max(entropies):
        sys.exit(f"the peers disagree on the mean entropy: {entropies}")
    median = lambda name, key: statistics.median(run[key] for run in runs[name])
    what = arguments.model or f"{arguments.size}-sized, random weights"
    print(f"{what}, {arguments.task} dev, {platform.processor() or platform.machine()}, ", end="")
    print(f"{os.cpu_count()} cores, {date.today()}, medians of {arguments.repeats}\n")
    print("| peer | pass | ratio to bertology | process | peak memory |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in peers:
        ratios = [a["pass_s"] / b["pass_s"] for a, b in zip(runs[name], runs["bertology"])]
        print(
            f"| {name} | {median(name, 'pass_s'):.2f} s | {statistics.median(ratios):.2f} "
            f"| {median(name, 'wall_s'):.2f} s | {median(name, 'peak_mib'):.0f} MiB |"
        )
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(runs, indent=1) + "\n")


if __name__ == "__main__":
    main()
