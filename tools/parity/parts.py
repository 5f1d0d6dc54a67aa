#!/usr/bin/env python3
"""A run in parts, merged, is the whole run, byte for byte.

    parts.py --binary BINARY                                   # eight studies on the embedded models
    parts.py --binary BINARY --only syntax --counts 1 2 5 7
    parts.py --binary BINARY -- syntax MODEL --conllu dev.conllu --chunk 256     # a command line of one's own

For each command line the whole run, then for each number of parts N: the parts K of N in shuffled order, one of them
killed (SIGTERM) and finished with --resume, `status`, `merge`, and the comparison of the two folders. `merge` must
also refuse the parts without one of them. Exit code 1 if anything is different.
"""

import argparse
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cases
import run_folders

INTERRUPTED = 130

# Beside what differs from any run to another: what a run in parts is told otherwise, and the place of its results.
VOLATILE = re.compile(run_folders.VOLATILE.pattern + r"|^options\.(output|part|resume|overwrite)$|^results\.folder$")

INPUTS = cases.INPUTS
MODEL, GPT2 = f"{INPUTS}/tiny-bert", f"{INPUTS}/tiny-gpt2"
COLA = f"--task cola --data {INPUTS}/grammar --split train"
PACKED = f"--text {INPUTS}/packed.txt --packing pairs"
TEXT, TREES = f"--text {INPUTS}/texts.txt", f"--conllu {INPUTS}/documents.conllu"

# Chunks are small, so that five parts have several each; none divides its corpus evenly.
LINES = {
    "importance": f"importance {MODEL} {COLA} --limit 2000 --chunk 96",
    "importance-batch": f"importance {MODEL} {COLA} --limit 1000 --granularity batch --batch-size 16 --chunk 96",
    "importance-lm": f"importance {GPT2} {TEXT} --limit 700 --chunk 64 --granularity token",
    "ablate": f"ablate {MODEL} {COLA} --limit 700 --chunk 64",
    "patterns": f"patterns {MODEL} {COLA} --limit 1200 --gradients --gradient-times-attention --chunk 100",
    "patterns-pairs": f"patterns {MODEL} {PACKED} --max-length 14 --too-long cut --chunk 32",
    "syntax": f"syntax {MODEL} {TREES} --sd-view --chunk 128",
    "syntax-select": f"syntax {MODEL} {TREES} --select {INPUTS}/grammar/dev.conllu --chunk 128",
    "coref": f"coref {MODEL} {TREES} --chunk 128",
    "cluster": f"cluster {MODEL} {TEXT} --chunk 100",
    "cluster-rows": f"cluster {MODEL} {TEXT} --rows 3 --chunk 100",
    "evaluate": f"evaluate {MODEL} {COLA} --limit 5000 --chunk 300",
    "evaluate-lm": f"evaluate {GPT2} {TEXT} --documents file --max-length 32 --stride 20 --chunk 64",
    "extract": f"extract {MODEL} {TEXT} --hidden-states --attentions 1 --shard-size 64",
    "extract-parquet": f"extract {MODEL} {TEXT} --queries 1 --pool mean --format parquet --shard-size 64",
}


class Failed(Exception):
    pass


class Runner:
    def __init__(self, binary, work, verbose):
        self.binary, self.work, self.verbose = binary.resolve(), work, verbose

    def call(self, *arguments, expect=(0,)):
        done = subprocess.run([self.binary, *arguments], cwd=self.work, capture_output=True, text=True)
        if self.verbose:
            print(f"  {done.returncode}  {' '.join(arguments)}\n{done.stdout}{done.stderr}", end="", flush=True)
        if expect is not None and done.returncode not in expect:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise Failed(f"`{' '.join(arguments)}` ended with {done.returncode}: {said[0] if said else 'no word'}")
        return done

    def kill(self, arguments, folder, seconds):
        """Start and end it after less and less time, until it is caught at work; whether it was.

        One thread makes it slow enough to be caught; the results do not depend on it.
        """
        for attempt in range(8):
            shutil.rmtree(self.work / folder, ignore_errors=True)
            process = subprocess.Popen(
                [self.binary, *arguments, "--threads", "1"], cwd=self.work,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            time.sleep(max(0.02, 1.2 * seconds * 0.65**attempt))
            process.send_signal(signal.SIGTERM)
            code = process.wait()
            if code not in (0, INTERRUPTED):
                if code == -signal.SIGTERM:
                    continue  # before it listened: nothing was begun
                raise Failed(f"SIGTERM ended `{' '.join(arguments)}` with {code}, expected {INTERRUPTED}")
            if code == INTERRUPTED:
                return True
        return False

    def parts(self, name, line, count, seconds, rng):
        """The line in `count` parts, merged into a folder; a word about what was done."""
        folders = [f"{name}-{count}/{k}" for k in range(1, count + 1)]
        merged = f"{name}-{count}/merged"
        shutil.rmtree(self.work / f"{name}-{count}", ignore_errors=True)
        (self.work / f"{name}-{count}").mkdir()
        order, killed, caught = list(range(count)), rng.randrange(count), False
        rng.shuffle(order)
        for k in order:
            arguments = [*line, "--part", f"{k + 1}/{count}", "--output", folders[k]]
            if k == killed:
                caught = self.kill(arguments, folders[k], seconds / count)
                self.call("status", *folders, expect=None)
                if not caught:
                    shutil.rmtree(self.work / folders[k], ignore_errors=True)
                self.call(*arguments, *(["--resume"] if caught else []))
            else:
                self.call(*arguments)
        self.call("status", *folders)
        if count > 1:
            left = [folder for k, folder in enumerate(folders) if k != killed]
            refused = self.call("merge", *left, "--output", f"{name}-{count}/gap", expect=None)
            if refused.returncode == 0:
                raise Failed(f"merge took the parts without number {killed + 1}")
        rng.shuffle(folders)
        self.call("merge", *folders, "--output", merged)
        fate = "killed and resumed" if caught else "was never caught at work"
        return merged, f"order {' '.join(str(k + 1) for k in order)}, {killed + 1} {fate}"


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("compare-parts"), metavar="DIR")
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 5], metavar="N")
    parser.add_argument("--only", metavar="REGEX", help="studies whose name matches")
    parser.add_argument("--seed", type=int, default=1, help="of the order and of who is killed [default: %(default)s]")
    parser.add_argument("--verbose", action="store_true", help="every command and what it printed")
    parser.add_argument("line", nargs="*", metavar="ARGUMENT", help="a command line without --output, behind --")
    return parser.parse_args()


def main():
    asked = options()
    work = asked.work.resolve()
    (work / "runs").mkdir(parents=True, exist_ok=True)
    cases.write_inputs(work / "inputs")
    lines = {name: line.split() for name, line in cases.chosen(LINES, asked.only, asked.line).items()}
    runner, rng, failures = Runner(asked.binary, work / "runs", asked.verbose), random.Random(asked.seed), 0
    for name, line in lines.items():
        whole = f"{name}-whole"
        shutil.rmtree(runner.work / whole, ignore_errors=True)
        started = time.monotonic()
        try:
            runner.call(*line, "--output", whole)
        except Failed as error:
            failures += 1
            print(f"FAILED     {name:18} whole: {error}", flush=True)
            continue
        seconds = time.monotonic() - started
        for count in asked.counts:
            try:
                merged, text = runner.parts(name, line, count, seconds, rng)
                found = run_folders.same_bytes(runner.work / whole, runner.work / merged, VOLATILE)
                word = "DIFFERENT" if found.different else "same"
                text = found.different[0] if found.different else f"{found.files} files; {text}"
            except Failed as error:
                word, text = "FAILED", str(error)
            failures += word != "same"
            print(f"{word:10} {name:18} {count} parts  {text}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
