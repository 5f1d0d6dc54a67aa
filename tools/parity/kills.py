#!/usr/bin/env python3
"""A run that is killed, whenever that is, comes with --resume to the bytes of an undisturbed one.

    kills.py --binary BINARY                                   # every command with an output, on the embedded models
    kills.py --binary BINARY --only 'mask|prune' --random 50 --seed 2
    kills.py --binary BINARY --random 0 --full                            # the disk is full from each call on
    kills.py --binary BINARY -- syntax MODEL --conllu dev.conllu          # a command line of one's own

For each command line one undisturbed run. Then it is killed (SIGKILL) `--random` times after a random share of its time,
and once at every system call that creates, writes, renames or removes a file: `strace` counts the calls of each kind on
each thread, and kills the run before each of them. After each kill the command goes on with --resume
(or, where there is nothing to resume, is given again with --overwrite), and the folders are compared. Exit code 1 if
any run is refused or anything is different.
"""

import argparse
import json
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

# Beside what differs from any run to another: what is told otherwise when a run goes on, and the place of its results.
VOLATILE = re.compile(
    run_folders.VOLATILE.pattern
    + r"|^options\.(output|resume|overwrite)$|^results\.(folder|timing)|^arguments|^directory$|^files\.report\.html$"
)

INPUTS = cases.INPUTS
MODEL = f"{INPUTS}/tiny-bert"
COLA = f"--task cola --data {INPUTS}/grammar --limit 120"
TREES = f"--conllu {INPUTS}/grammar/dev.conllu --limit 100"
TEXT = f"--text {INPUTS}/texts.txt --limit 120"
# Small batches: many moments at which a state may be saved.
OFTEN = "--tokens-per-batch 64"

LINES = {
    "importance": f"importance {MODEL} {COLA} {OFTEN}",
    "importance-part": f"importance {MODEL} {COLA} {OFTEN} --chunk 64 --part 2/3",
    "ablate": f"ablate {MODEL} {COLA} {OFTEN}",
    "evaluate": f"evaluate {MODEL} {COLA} {OFTEN} --heads 0.1",
    "mask": f"mask {MODEL} {COLA} {OFTEN}",
    "mask-schedule": f"mask {MODEL} {COLA} {OFTEN} --schedule 25% --order importance,ablation --seeds 2",
    "prune": f"prune {MODEL} {COLA} {OFTEN}",
    "prune-heads": f"prune {MODEL} --heads 0:1,2",
    "extract": f"extract {MODEL} {TEXT} {OFTEN} --hidden-states --attentions 1 --shard-size 40",
    "extract-parquet": f"extract {MODEL} {TEXT} {OFTEN} --queries 1 --format parquet --shard-size 40",
    "patterns": f"patterns {MODEL} {COLA} {OFTEN} --gradients",
    "cluster": f"cluster {MODEL} {TEXT} {OFTEN}",
    "syntax": f"syntax {MODEL} {TREES} {OFTEN}",
    "coref": f"coref {MODEL} --conllu {INPUTS}/documents.conllu --limit 60 {OFTEN}",
    "distance": f"distance {MODEL} {TREES} {OFTEN}",
    "cat": f"cat {MODEL} --code {INPUTS}/code/functions.jsonl --limit 80 --permutations 20 --resamples 50 {OFTEN}",
    "attention-probe": f"attention-probe {MODEL} --train {INPUTS}/grammar/dev.conllu --limit 80"
    f" --dev {INPUTS}/documents.conllu --dev-limit 20 --epochs 1 {OFTEN}",
    "edge-data": f"edge-data ud-deps {INPUTS}/few.conllu",
    "edge-probe": f"edge-probe {MODEL} --train edge-data-whole.jsonl --dev edge-data-whole.jsonl --seeds 2"
    " --epochs 3 --hidden 16 --random-encoder 1 --resamples 50",
    "finetune": f"finetune {MODEL} --task cola --data {INPUTS}/grammar --limit 160 --epochs 2 --batch-size 8 --checkpoints",
    "survey": f"survey {MODEL} {TREES} {OFTEN} --studies patterns,syntax,cluster",
    "merge": "merge part-1 part-2",
    "demo": "demo",
    "view": f"view {MODEL} A\u00a0cat\u00a0sleeps.",
    "heads": "heads importance-whole ablate-whole",
    "compare": "compare importance-whole importance-whole",
}
# These have nothing to resume.
AGAIN = {"merge", "demo", "view", "heads", "compare", "edge-data"}
ENDINGS = {"view": ".html", "heads": ".html", "compare": ".html", "edge-data": ".jsonl"}

CALLS = (
    "rename renameat renameat2 unlink unlinkat rmdir mkdir mkdirat link linkat write writev pwrite64 ftruncate fsync "
    "fdatasync copy_file_range sendfile"
).split()


class Failed(Exception):
    pass


class Runner:
    def __init__(self, binary, work):
        self.binary, self.work = binary.resolve(), work

    def command(self, line, output, more=()):
        # Not broken words stand for the blanks of a text.
        words = [word.replace("\u00a0", " ") for word in line.split(" ")]
        return [str(self.binary), *words, "--quiet", "--output", output, *more]

    def call(self, *arguments, **options):
        return subprocess.run(arguments, cwd=self.work, capture_output=True, text=True, **options)

    def finish(self, line, output, more=()):
        done = self.call(*self.command(line, output, more))
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise Failed(f"ended with {done.returncode}: {said[-1] if said else 'no word'}")

    def remove(self, name):
        path = self.work / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def counts(self, line, output, name):
        """How often each call is made, at most on one thread."""
        self.remove(output)
        trace = self.work / f"{name}.strace"
        what = f"trace={','.join(CALLS)}"
        self.call("strace", "-f", "-o", str(trace), "-e", what, *self.command(line, output))
        threads = {}
        for entry in trace.read_text(errors="replace").splitlines():
            number, _, rest = entry.partition(" ")
            call = rest.strip().split("(")[0]
            if call in CALLS:
                counts = threads.setdefault(number, {})
                counts[call] = counts.get(call, 0) + 1
        trace.unlink()
        # Each thread for itself, as strace counts when it kills.
        most = {call: max((counts.get(call, 0) for counts in threads.values()), default=0) for call in CALLS}
        return {call: count for call, count in most.items() if count}

    def kill_at(self, line, output, call, number, full):
        """Ends a run before its call of this number, or lets the disk be full from then on; whether it was there."""
        self.remove(output)
        what = f"error=ENOSPC:when={number}+" if full else f"signal=KILL:when={number}"
        inject = f"inject={call}:{what}"
        done = self.call("strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject, *self.command(line, output))
        return done.returncode != 0

    def kill_after(self, line, output, seconds):
        self.remove(output)
        process = subprocess.Popen(
            self.command(line, output), cwd=self.work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(seconds)
            return False
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True

    def compare(self, whole, output):
        a, b = self.work / whole, self.work / output
        if a.is_file():
            return "" if a.read_bytes() == b.read_bytes() else "the file is another"
        left = [path.name for path in b.rglob(".bertology-*")]
        if left:
            return f"left: {' '.join(left)}"
        for folder in (a, b):
            # What was typed is part of a part.
            part = folder / "part.json"
            if part.exists():
                record = json.loads(part.read_text())
                record.pop("arguments", None)
                part.write_text(json.dumps(record))
        found = run_folders.same_bytes(a, b, VOLATILE)
        return found.different[0] if found.different else ""


def study(runner, name, line, asked, rng):
    """Kills and compares; gives a word about it and the failures."""
    again = name in AGAIN
    ending = ENDINGS.get(name, "")
    whole, output = f"{name}-whole{ending}", f"{name}-killed{ending}"
    runner.remove(whole)
    runner.remove(output)
    started = time.monotonic()
    # In the place of those that are killed: what a run writes may name where it is.
    runner.finish(line, output)
    seconds = time.monotonic() - started
    (runner.work / output).rename(runner.work / whole)
    failures = []

    def afterwards(moment):
        try:
            runner.finish(line, output, ["--overwrite" if again else "--resume"])
            wrong = runner.compare(whole, output)
        except Failed as error:
            wrong = str(error)
        if wrong:
            failures.append(f"{moment}: {wrong}")

    caught = 0
    # Some are at their end before.
    for _ in range(4 * asked.random):
        if caught == asked.random:
            break
        after = rng.uniform(0, seconds)
        if runner.kill_after(line, output, after):
            caught += 1
            afterwards(f"after {after:.3f} s")
    calls = 0
    if asked.calls:
        for call, count in runner.counts(line, output, name).items():
            if asked.full and call.startswith(("unlink", "rmdir")):
                continue  # removing needs no room
            # Long streams of one call are tried at their ends and at places between.
            numbers = range(1, count + 1)
            if count > asked.most:
                ends = {*numbers[:5], *numbers[-5:]}
                numbers = sorted(ends | set(rng.sample(list(numbers), max(0, asked.most - len(ends)))))
            for number in numbers:
                if runner.kill_at(line, output, call, number, asked.full):
                    calls += 1
                    afterwards(f"at {call} {number} of {count}")
    runner.remove(output)
    return f"{seconds:.1f} s; {caught} random kills, {calls} at system calls", failures


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("compare-kills"), metavar="DIR")
    parser.add_argument("--only", metavar="REGEX", help="command lines whose name matches")
    parser.add_argument("--random", type=int, default=50, metavar="N", help="kills after a random time")
    parser.add_argument("--no-calls", dest="calls", action="store_false", help="no kills at system calls")
    parser.add_argument("--full", action="store_true", help="calls fail, as on a full disk, in the place of kills")
    parser.add_argument("--most", type=int, default=60, metavar="N", help="kills at calls of one kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("line", nargs="*", metavar="ARGUMENT", help="a command line without --output, behind --")
    return parser.parse_args()


def main():
    asked = options()
    work = asked.work.resolve()
    (work / "runs").mkdir(parents=True, exist_ok=True)
    cases.write_inputs(work / "inputs")
    trees = (work / "inputs/grammar/dev.conllu").read_text().split("\n\n")
    (work / "inputs/few.conllu").write_text("\n\n".join(trees[:40]) + "\n\n")
    lines = cases.chosen(LINES, asked.only, asked.line)
    runner, rng, failed = Runner(asked.binary, work / "runs"), random.Random(asked.seed), 0
    for number in (1, 2) if "merge" in lines else ():
        runner.remove(f"part-{number}")
        runner.finish(f"{LINES['importance']} --chunk 64 --part {number}/2", f"part-{number}")
    if "edge-probe" in lines:
        runner.remove("edge-data-whole.jsonl")
        runner.finish(LINES["edge-data"], "edge-data-whole.jsonl")
    for name in ("importance", "ablate") if lines.keys() & {"heads", "compare"} else ():
        if not (work / "runs" / f"{name}-whole").exists():
            runner.finish(LINES[name], f"{name}-whole")
    for name, line in lines.items():
        try:
            text, failures = study(runner, name, line, asked, rng)
        except Failed as error:
            text, failures = "", [f"undisturbed: {error}"]
        failed += len(failures)
        print(f"{'DIFFERENT' if failures else 'same':10} {name:18} {text}", flush=True)
        for failure in failures:
            print(f"           {failure}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
