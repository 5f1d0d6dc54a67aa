"""Long texts through ModernBERT-base: layers that see a window, beside transformers in all its ways.

    python3 benches/peers/windows.py [--tokens 2048] [--texts 2] [--rounds 5] [--threads 2] [--binary target/release/bertology]

Needs the peers' environment (requirements.txt). The checkpoint has the published config and random weights, of which
neither speed nor memory depends. A text is classified alone. Ours is `bertology predict`, from the shell: the time of
one text more is what several texts take beyond one, divided by their number. A peer loads, classifies one text to
warm up, and times the others. Programs take turns, each in a process of its own. Memory is the peak of the process with a
single text, and how much of it is beyond what ten tokens need: program and weights are in both.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
from pathlib import Path

import machine
from timed import timed

ROOT = Path(__file__).resolve().parents[2]
PEERS = ("sdpa", "eager")
CONFIG = dict(
    architectures=["ModernBertForSequenceClassification"],
    model_type="modernbert",
    id2label={"0": "a", "1": "b"},
    label2id={"a": 0, "b": 1},
    reference_compile=False,
)


def checkpoint(folder):
    import torch
    import transformers

    torch.manual_seed(7)
    model = transformers.ModernBertForSequenceClassification(transformers.ModernBertConfig(**CONFIG)).eval()
    model.save_pretrained(folder)


def peer(attention, folder, ids, threads):
    import time

    import torch
    import transformers

    torch.set_num_threads(threads)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, attn_implementation=attention, dtype=torch.float32
    ).eval()
    texts = [torch.tensor([[int(word) for word in line.split()]]) for line in Path(ids).read_text().splitlines()]
    with torch.inference_mode():
        logits = [model(input_ids=texts[0]).logits[0].tolist()]
        started = time.perf_counter()
        logits += [model(input_ids=text).logits[0].tolist() for text in texts[1:]]
        seconds = (time.perf_counter() - started) / max(len(texts) - 1, 1)
    print(json.dumps({"seconds": seconds, "logits": logits}))


def ours(binary, folder, ids, options):
    """Wall seconds, and peak memory in MiB."""
    words = [binary, "predict", folder, "--token-ids", ids, "--threads", options.threads, "--quiet"]
    _, wall, peak = timed(words + ["--max-length", 8192], os.environ)
    return wall, peak


def theirs(name, folder, ids, options):
    """Seconds a text, and peak memory in MiB."""
    words = [sys.executable, __file__, "--threads", options.threads, "--peer", name, folder, ids]
    output, _, peak = timed(words, os.environ)
    return json.loads(output.splitlines()[-1])["seconds"], peak


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--texts", type=int, default=2, help="beyond the first")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--binary", default=ROOT / "target/release/bertology")
    parser.add_argument("--peer", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--make", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        return checkpoint(options.make)
    if options.peer:
        return peer(*options.peer, options.threads)
    draw = random.Random(7)
    found = {name: [] for name in ("ours", *PEERS)}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "model")
        # In a process of its own: what this one holds would count as memory of those that it starts.
        timed([sys.executable, __file__, "--make", folder], os.environ)
        texts = [
            " ".join(str(draw.randrange(5, 50_000)) for _ in range(options.tokens)) for _ in range(options.texts + 1)
        ]
        files = {}
        for name, rows in {"short": [texts[0][:40].rsplit(" ", 1)[0]], "one": texts[:1], "all": texts}.items():
            files[name] = Path(scratch, f"{name}.txt")
            files[name].write_text("\n".join(rows) + "\n")
        runs = {"ours": lambda ids: ours(options.binary, folder, ids, options)}
        runs |= {name: lambda ids, name=name: theirs(name, folder, ids, options) for name in PEERS}
        memory = {name: [run(files[of])[1] for of in ("short", "one")] for name, run in runs.items()}
        for _ in range(options.rounds):
            for name in draw.sample(list(runs), len(runs)):
                seconds = runs[name](files["all"])[0]
                if name == "ours":
                    seconds = (seconds - runs[name](files["one"])[0]) / options.texts
                found[name].append(seconds)
    print(json.dumps(machine.describe()))
    for name, rounds in found.items():
        short, one = memory[name]
        ratios = [there / here for there, here in zip(rounds, found["ours"], strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(
            f"{name:6} {options.tokens} tokens: {statistics.median(rounds):.2f} s a text, times ours {spread}; "
            f"{one:,.0f} MiB, {one - short:,.0f} beyond a short text"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
