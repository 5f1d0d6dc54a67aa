#!/usr/bin/env python3
"""Products of the shapes of a block: ours, the `gemm` crate's and PyTorch's (MKL or oneDNN) in turns, in GFLOP/s.

    benches/peers/products.py [--sizes base minilm] [--rows 1024 64 16] [--rounds 5] [--seconds 0.3]

The forward product `x · wᵀ` of queries, keys and values in one, output, up and down. Every core has activations of its own and
one thread, as the engine works; all read the same weights. Medians over rounds (range), and the share of what multiply-adds on
registers reach. PyTorch's environment is that of compare.py.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import machine

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"base": (768, 3072), "minilm": (384, 1536)}
OURS = ["forward", "library_forward", "split_forward", "bf16_forward", "backward", "split_backward", "bf16_backward"]


def maps(hidden, inner):
    return [(3 * hidden, hidden), (hidden, hidden), (inner, hidden), (hidden, inner)]


def torch_worker(hidden, inner, rows, seconds, kind, barrier, results):
    import torch

    torch.set_num_threads(1)
    dtype = torch.bfloat16 if kind == "bf16" else torch.float32
    rates = []
    with torch.inference_mode():
        for outputs, inputs in maps(hidden, inner):
            x = torch.randn(rows, inputs, dtype=dtype)
            weight, bias = torch.randn(outputs, inputs, dtype=dtype), torch.randn(outputs, dtype=dtype)
            torch.nn.functional.linear(x, weight, bias)
            barrier.wait()
            start, products = time.perf_counter(), 0
            while products == 0 or time.perf_counter() - start < seconds:
                torch.nn.functional.linear(x, weight, bias)
                products += 1
            rates.append(2.0 * rows * outputs * inputs * products / (time.perf_counter() - start))
    results.put(rates)


def torch_rate(hidden, inner, rows, seconds, kind, cores):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(cores), context.Queue()
    arguments = (hidden, inner, rows, seconds, kind, barrier, results)
    workers = [context.Process(target=torch_worker, args=arguments) for _ in range(cores)]
    for worker in workers:
        worker.start()
    rates = [sum(each) for each in zip(*(results.get() for _ in workers), strict=True)]
    for worker in workers:
        worker.join()
    flops = [2.0 * rows * outputs * inputs for outputs, inputs in maps(hidden, inner)]
    return sum(flops) / sum(f / rate for f, rate in zip(flops, rates, strict=True)) / 1e9


def cell(values):
    return f"{statistics.median(values):.0f} ({min(values):.0f}..{max(values):.0f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--rows", nargs="+", type=int, default=[1024, 64, 16])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3)
    options = parser.parse_args()
    try:
        import torch
    except ImportError:
        sys.exit("no torch here; benches/peers/prepare.py makes the environment of compare.py, whose Python has it")
    subprocess.run(
        ["cargo", "build", "--quiet", "--release", "-p", "bertology-kernels", "--example", "peak"], cwd=ROOT, check=True
    )
    peak = ROOT / "target/release/examples/peak"
    cores = len(os.sched_getaffinity(0))
    about = machine.describe()
    print(f"{about['processor']}, {cores} cores, torch {torch.__version__}, load before {about['load_before']:.1f}\n")
    print("| size | rows | " + " | ".join(["registers", *OURS, "torch f32", "torch bf16"]) + " |")
    print("| --- | ---: |" + " ---: |" * (len(OURS) + 3))
    for size in options.sizes:
        hidden, inner = SIZES[size]
        for rows in options.rows:
            found = {}
            for _ in range(options.rounds):
                words = [peak, "--hidden", hidden, "--inner", inner, "--rows", rows, "--threads", cores]
                words += ["--seconds", options.seconds, "--others", "true"]
                ours = json.loads(subprocess.check_output([str(word) for word in words]))
                for name in ["multiply_adds", *OURS]:
                    found.setdefault(name, []).append(ours[name])
                for kind in ("f32", "bf16"):
                    rate = torch_rate(hidden, inner, rows, options.seconds, kind, cores)
                    found.setdefault(kind, []).append(rate)
            cells = [cell(found[name]) for name in ["multiply_adds", *OURS, "f32", "bf16"]]
            print(f"| {size} | {rows:,} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
