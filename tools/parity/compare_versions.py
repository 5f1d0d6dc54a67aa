#!/usr/bin/env python3
"""Run every command of two versions on the same inputs and compare what they write.

    compare_versions.py --before OLD --after NEW                       # embedded models and corpora only
    compare_versions.py --before OLD --after NEW --model minilm-mrpc --model minilm-sst2 --glue glue \\
                        --conllu dev.conllu test.conllu
    compare_versions.py --before OLD --after NEW --quick --only syntax --work folder --reuse-before

One line a case:

    same             equal bytes; of run.json and --json equal values, apart from times, threads and versions
    close 3.1e-16    all numbers within the tolerance, the largest relative difference
    unread           equal but for Parquet files of other bytes, without pyarrow to read them
    DIFFERENT        something changed or is missing: the first place; --verbose shows them all

Keys, columns and files that only the new version has are notes. Exit code 1 if a case is different.
"""

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cases
import run_folders

# Arguments that a version needs where the other has none: pairs of a pattern of case names and arguments.
EXTRA = {"before": [], "after": []}

# Options that the new version calls otherwise: old name to new name.
RENAMED = {}

# What may differ by more than the tolerance, and why: patterns of the case and of the place, and the absolute
# difference that passes, or "any", which takes lost keys and files, too, and makes notes of them.
LOOSER = [
    # The probes are trained: other arithmetic of gradients ends elsewhere, but the scores agree to 0.3 points.
    (r"attention-probe", r"probes\.csv:(uas|low|high)|\.uas$|\.interval\.\d$", 0.003),
    (r"attention-probe", r"probes\.csv:correct|probes\.\d\.(all|without_punct)\.correct$", 12),
    (r"attention-probe", r"loss_per_word", 0.02),
    (r"attention-probe", r"root_weights|probe_weights\.npy", 0.05),
    # Kept for --resume of the same version.
    (r"attention-probe", r"maps/", "any"),
    (r"^heads/", r"probe_", 0.05),
    # A mask is named by its content, as in the other commands.
    (r"evaluate", r"identity\.options\.mask$", "any"),
    # report-old and compare-old read the same folders in both versions.
    (r"^(report|compare)/attention-probe", r"", "any"),
    # The bars of a pruned model's time; report-old compares the same figure with the same times.
    (r"report/prune", r"left\.svg", "any"),
    # The size of a page follows its script.
    (r"/view", r"stdout: bytes$", "any"),
]

TIMEOUT = 900


class Version:
    """One binary and the folder that it works in."""

    def __init__(self, side, binary, work, foundation):
        self.side, self.binary = side, binary.resolve()
        self.folder, self.records = work / side, work / f"{side}-records"
        self.before = work / "before"
        self.stamp = hashlib.sha256(foundation.encode() + self.binary.read_bytes()).hexdigest()

    def start(self, keep):
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
            shutil.rmtree(self.records, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.records.mkdir(parents=True, exist_ok=True)

    def arguments(self, case):
        fill = {"{out}": case.name, "{old}": f"old/{case.name}"}
        arguments = []
        for argument in case.arguments:
            for name, value in fill.items():
                argument = argument.replace(name, value)
            arguments.append(re.sub(r"\{run:([^}]+)\}", r"\1", argument))
        arguments += [a for pattern, more in EXTRA[self.side] if re.search(pattern, case.name) for a in more]
        if self.side == "after":
            arguments = [RENAMED.get(argument, argument) for argument in arguments]
        return arguments + ([] if case.fails else ["--json"])

    def record(self, name):
        return self.records / f"{name.replace('/', '+')}.json"

    def run(self, case, reuse=False):
        """The record of the case: exit code, both streams, seconds."""
        path = self.record(case.name)
        # A record is as good as those of the folders that its case read.
        reads = case.needs + (case.old if self.side == "before" else [])
        read = {name: json.loads(self.record(name).read_text())["made"] for name in reads}
        key = {"stamp": self.stamp, "arguments": self.arguments(case), "read": read}
        if reuse and path.is_file():
            record = json.loads(path.read_text())
            if all(record.get(name) == value for name, value in key.items()):
                return record
        shutil.rmtree(self.folder / case.name, ignore_errors=True)
        shutil.rmtree(self.folder / "old" / case.name, ignore_errors=True)
        for name in (name for name in case.old if (self.before / name).is_dir()):
            shutil.copytree(self.before / name, self.folder / "old" / case.name / name)
        inside = any(a.startswith("{out}/") for a in case.arguments)
        (self.folder / case.name if inside else (self.folder / case.name).parent).mkdir(parents=True, exist_ok=True)
        streams = {"capture_output": True, "stdin": subprocess.DEVNULL}
        started = time.monotonic()
        try:
            done = subprocess.run([self.binary, *key["arguments"]], **streams, cwd=self.folder, timeout=TIMEOUT)
            code, out, err = done.returncode, done.stdout, done.stderr
        except subprocess.TimeoutExpired:
            code, out, err = "timeout", b"", b""
        record = key | {"made": time.time_ns(), "exit": code, "seconds": time.monotonic() - started}
        record |= {"stdout": out.decode(errors="replace"), "stderr": err.decode(errors="replace")}
        path.write_text(json.dumps(record))
        return record


def last_line(text):
    lines = text.strip().splitlines()
    return next((line for line in lines if line.startswith("error")), lines[-1] if lines else "")


def compare(case, versions, records, tolerance):
    before, after = records
    looser = [(place, limit) for pattern, place, limit in LOOSER if re.search(pattern, case.name)]
    found = run_folders.Comparison(tolerance, looser, [str(v.folder) for v in versions])
    if before["exit"] != after["exit"]:
        found.differ("exit code", f"{before['exit']} became {after['exit']}: {last_line(after['stderr'])}")
    elif case.fails:
        if before["exit"] == 0:
            found.differ("exit code", "0 where an error was expected")
        if found.path(before["stderr"]) != found.path(after["stderr"]):
            found.note(f"error: {last_line(before['stderr'])!r} is now {last_line(after['stderr'])!r}")
    elif before["exit"] != 0:
        found.differ("exit code", f"{before['exit']} in both: {last_line(after['stderr'])}")
    else:
        run_folders.compare_folders(found, *(v.folder / case.name for v in versions))
        if "{out}" in case.arguments and not found.files and not found.different:
            found.differ("folder", "neither version wrote a file")
        try:
            documents = [json.loads(record["stdout"]) for record in records]
            run_folders.compare_values(found, "stdout", *documents, volatile=run_folders.VOLATILE)
        except ValueError as error:
            found.differ("stdout", f"no JSON document: {error}")
    return found


def verdict(found):
    if found.different:
        more = f" (and {len(found.different) - 1} more)" if len(found.different) > 1 else ""
        return "DIFFERENT", found.different[0] + more
    if found.worst:
        return f"close {found.worst:.1e}", found.worst_place
    if found.unread:
        return "unread", f"{found.unread} Parquet files of other bytes"
    return "same", ""


def with_needs(chosen, everything):
    """The chosen cases and those whose folders they read, in order."""
    by_name, wanted, queue = {case.name: case for case in everything}, set(), list(chosen)
    while queue:
        case = queue.pop()
        if case.name not in wanted:
            wanted.add(case.name)
            queue += [by_name[name] for name in case.needs + case.old]
    return [case for case in everything if case.name in wanted]


def task_of(folder):
    tasks = ("cola", "mnli", "mrpc", "sst-2", "sts-b", "qqp", "qnli", "rte", "wnli")
    name = folder.name.lower().replace("-", "")
    return next((task for task in tasks if task.replace("-", "") in name), None)


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, metavar="BINARY")
    parser.add_argument("--after", type=Path, required=True, metavar="BINARY")
    parser.add_argument("--model", action="append", default=[], metavar="DIR[=TASK]", help="task: else as in the name")
    parser.add_argument("--glue", type=Path, metavar="DIR", help="the folder above MRPC, SST-2, ...")
    parser.add_argument("--conllu", type=Path, nargs="+", default=[], metavar="FILE", help="the first is scored")
    parser.add_argument("--work", type=Path, default=Path("compare-versions"), metavar="DIR")
    parser.add_argument("--reuse-before", action="store_true", help="run only the new version again")
    parser.add_argument("--quick", action="store_true", help="a subset")
    parser.add_argument("--only", metavar="REGEX", help="cases whose name matches, and what they read")
    parser.add_argument("--tolerance", type=float, default=1e-12, help="relative [default: %(default)s]")
    parser.add_argument("--verbose", action="store_true", help="all places and notes")
    parser.add_argument("--list", action="store_true", help="print the cases and stop")
    return parser.parse_args()


def main():
    asked = options()
    models = []
    for text in asked.model:
        folder, _, task = text.partition("=")
        folder = Path(folder).resolve()
        models.append((folder, task or task_of(folder)))
    glue, conllu = asked.glue and asked.glue.resolve(), [path.resolve() for path in asked.conllu]
    missing = [path for path in [*(m for m, _ in models), *conllu, *([glue] if glue else [])] if not path.exists()]
    if missing:
        raise SystemExit(f"there is no {missing[0]}")

    everything = cases.table(models, glue, conllu)
    chosen = [
        c for c in everything if (c.quick or not asked.quick) and (not asked.only or re.search(asked.only, c.name))
    ]
    if not chosen:
        raise SystemExit("no case has such a name")
    chosen = with_needs(chosen, everything)
    if asked.list:
        for case in chosen:
            print(f"{case.name:44} {' '.join(case.arguments)}")
        return 0

    work = asked.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    cases.write_inputs(work / "inputs")
    given = [p for m, _ in models for p in sorted(m.iterdir())] + conllu
    foundation = "".join(f"{p} {p.stat().st_size} {p.stat().st_mtime_ns}\n" for p in given)
    foundation += "".join(
        f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n"
        for name, path in run_folders.files(work / "inputs").items()
    )
    versions = [
        Version(side, binary, work, foundation) for side, binary in (("before", asked.before), ("after", asked.after))
    ]
    versions[0].start(keep=asked.reuse_before)
    versions[1].start(keep=False)

    totals, seconds = {}, [0.0, 0.0]
    for case in chosen:
        records = [versions[0].run(case, reuse=asked.reuse_before), versions[1].run(case)]
        found = compare(case, versions, records, asked.tolerance)
        word, text = verdict(found)
        totals[word.split()[0]] = totals.get(word.split()[0], 0) + 1
        seconds = [total + record["seconds"] for total, record in zip(seconds, records)]
        notes = f"  [{len(found.notes)} notes]" if found.notes else ""
        print(
            f"{word:16} {case.name:40} {records[0]['seconds']:5.1f} {records[1]['seconds']:5.1f} s  {text}{notes}",
            flush=True,
        )
        if asked.verbose:
            for line in [*(found.different if len(found.different) > 1 else []), *found.notes]:
                print(f"{'':17}{line}")

    counts = ", ".join(f"{totals[word]} {word}" for word in ("same", "close", "unread", "DIFFERENT") if word in totals)
    print(f"\n{len(chosen)} cases: {counts}; {seconds[0]:.0f} s before, {seconds[1]:.0f} s after")
    return 1 if "DIFFERENT" in totals else 0


if __name__ == "__main__":
    sys.exit(main())
