#!/usr/bin/env python3
"""Do other processors give the same numbers? One binary, its kernels picked at run time, under an emulator.

    processors.py --bertology target/release/bertology --model assets/tiny-bert --data assets/grammar --task cola

Runs head importance here and under qemu-x86_64 (Debian: qemu-user) as a Haswell (AVX2, FMA), and as a Nehalem (SSE 4.2),
and compares scores and entropies. Emulation is slow: a few dozen examples of a small model.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

PROCESSORS = ["Haswell", "Nehalem"]
# Kernels of other widths add up in another order: f32 rounding, relative to the largest score.
TOLERANCE = 1e-5


def run(options, folder, emulator=()):
    command = [*emulator, options.bertology, "importance", options.model, "--task", options.task]
    command += ["--data", options.data, "--limit", str(options.limit), "--threads", "1", "--quiet"]
    subprocess.run([*command, "--output", folder], check=True, stderr=subprocess.DEVNULL)
    return [np.load(folder / name) for name in ("head_importance_raw.npy", "attn_entropy.npy")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("bertology", "model", "data", "task"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--limit", type=int, default=40, help="examples (40)")
    options = parser.parse_args()
    emulator = shutil.which("qemu-x86_64") or sys.exit("qemu-x86_64 is not installed (Debian: apt-get install qemu-user)")
    worst = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        here = run(options, Path(scratch) / "here")
        for processor in PROCESSORS:
            there = run(options, Path(scratch) / processor, [emulator, "-cpu", processor])
            errors = [np.abs(a - b).max() / np.abs(a).max() for a, b in zip(here, there)]
            worst = max(worst, *errors)
            verdict = "PASS" if max(errors) <= TOLERANCE else "FAIL"
            print(f"{verdict}  {processor}: importance {errors[0]:.1e}, entropy {errors[1]:.1e}, relative; at most {TOLERANCE:.0e}")
    return int(not worst <= TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
