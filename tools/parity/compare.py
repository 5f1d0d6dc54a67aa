#!/usr/bin/env python3
"""Compare a bertology run folder with what reference.py found.

    compare.py RUN REFERENCE.npz --importance script:8        # importance and entropy
    compare.py RUN REFERENCE.npz --loop script:1              # the final head mask
    compare.py RUN REFERENCE.npz                              # predictions (and entropy, where present)

Looks at the files of RUN that the request names, and at attn_entropy.npy and predictions.csv where they
exist; a file that was asked for and is missing is a failure. Exit status 1 on any FAIL.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np


class Report:
    def __init__(self):
        self.failures = 0
        self.lines = 0

    def line(self, name, passed, text):
        self.lines += 1
        self.failures += not passed
        print(f"{'PASS' if passed else 'FAIL'}  {name:24} {text}")


def relative(found, expected):
    """Element by element; 0 where both are 0."""
    difference = np.abs(found - expected)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(difference == 0, 0.0, difference / np.abs(expected))


def matrix(report, name, path, expected, tolerance, scale="relative"):
    if not path.is_file():
        report.line(name, False, f"{path} is missing")
        return
    found = np.load(path).astype(np.float64)
    if found.shape != expected.shape:
        report.line(name, False, f"shape {found.shape}, expected {expected.shape}")
        return
    if not np.isfinite(found).all():
        report.line(name, False, f"{int((~np.isfinite(found)).sum())} values are not finite")
        return
    absolute = np.abs(found - expected)
    rel = relative(found, expected)
    place = tuple(int(i) for i in np.unravel_index(np.argmax(rel if scale == "relative" else absolute), rel.shape))
    worst = rel.max() if scale == "relative" else absolute.max()
    report.line(
        name, worst <= tolerance,
        f"largest difference: absolute {absolute.max():.2e}, relative {rel.max():.2e}; {scale} <= {tolerance:g}; "
        f"worst at {place}: {found[place]:.8g}, expected {expected[place]:.8g}",
    )  # fmt: skip


def predictions(report, path, reference, tolerance):
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = reference["prediction"]
    if len(rows) != len(expected):
        report.line("predictions", False, f"{len(rows)} rows, expected {len(expected)}")
        return
    index = np.array([int(row["index"]) for row in rows])
    if not np.array_equal(np.sort(index), reference["index"]):
        report.line("predictions", False, "the index column does not number the examples 0, 1, 2, ...")
        return
    names = sorted((n for n in rows[0] if n.startswith("logit_")), key=lambda n: int(n.removeprefix("logit_")))
    found = np.zeros(reference["logits"].shape)
    if len(names) != found.shape[1]:
        report.line("predictions", False, f"{len(names)} logit columns, expected {found.shape[1]}")
        return
    found[index] = [[float(row[n]) for n in names] for row in rows]

    def column(name):
        # Labels may be written as ids or as names whose last part is the id (LABEL_1).
        values = np.zeros(len(rows), int)
        values[index] = [int(row[name].rpartition("_")[2]) for row in rows]
        return values

    wrong = np.flatnonzero(column("prediction") != expected)
    report.line("predictions", not wrong.size, f"{wrong.size} of {len(expected)} differ {wrong[:10].tolist() or ''}")
    wrong = np.flatnonzero(column("label") != reference["label"])
    report.line("labels", not wrong.size, f"{wrong.size} of {len(expected)} differ {wrong[:10].tolist() or ''}")
    largest = np.abs(found - reference["logits"]).max()
    report.line("logits", largest <= tolerance, f"largest difference: absolute {largest:.2e} <= {tolerance:g}")


def importance(report, run, reference, name, tolerance, options):
    key = f"importance/{name}/raw"
    if key not in reference:
        known = sorted(k.split("/")[1] for k in reference if k.startswith("importance/") and k.endswith("/raw"))
        raise SystemExit(f"the reference has no importance {name!r}; it has: {', '.join(known)}")
    raw = reference[key]
    # The reference divides by real tokens, except for example and token (a mean over examples).
    factor = 1.0
    if options.raw_scale is not None:
        counts = json.loads(options.reference.with_suffix(".json").read_text(encoding="utf-8"))
        divisor = dict(example=counts["examples"], token=counts["tokens"], sum=1)
        factor = divisor["example" if name in ("example", "token") else "token"] / divisor[options.raw_scale]
    matrix(report, f"raw importance {name}", run / "head_importance_raw.npy", raw * factor, tolerance)
    normalised = reference[f"importance/{name}/normalised"]
    path = run / "head_importance.npy"
    # Lies in [0, 1] and has an exact zero, so the range is the measure.
    matrix(report, f"importance {name}", path, normalised, tolerance, scale="absolute")


def final_mask(report, run, reference, name):
    key = f"loop/{name}/final_mask"
    if key not in reference:
        known = sorted(k.split("/")[1] for k in reference if k.startswith("loop/") and k.endswith("/final_mask"))
        raise SystemExit(f"the reference has no loop {name!r}; it has: {', '.join(known)}")
    expected = reference[key].astype(bool)
    path = run / "head_mask.npy"
    if not path.is_file():
        report.line("head mask", False, f"{path} is missing")
        return
    found = np.load(path)
    if found.shape != expected.shape or not np.isin(found, (0, 1)).all():
        report.line("head mask", False, f"shape {found.shape} with values other than 0 and 1, or wrong shape")
        return
    wrong = [f"{layer}.{head}" for layer, head in np.argwhere(found.astype(bool) != expected)]
    report.line(
        f"head mask {name}", not wrong,
        f"{int(found.sum())} of {found.size} heads kept, expected {int(expected.sum())}; "
        f"{len(wrong)} heads differ {' '.join(wrong)}",
    )  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder written by bertology")
    parser.add_argument("reference", type=Path, help=".npz written by reference.py")
    parser.add_argument("--importance", metavar="NAME", help="example, token, batch:B or script:B")
    parser.add_argument("--loop", metavar="NAME", help="a loop of the reference, such as script:1")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="for entropy and importance")
    parser.add_argument("--logits-tolerance", type=float, default=1e-4, help="absolute")
    parser.add_argument(
        "--raw-scale", choices=["example", "token", "sum"],
        help="what the run's raw scores are divided by: examples, real tokens, or nothing (default: as reference.py)",
    )  # fmt: skip
    options = parser.parse_args()

    reference = dict(np.load(options.reference))
    report = Report()
    if options.importance:
        importance(report, options.run, reference, options.importance, options.tolerance, options)
    if options.importance or (options.run / "attn_entropy.npy").is_file():
        matrix(report, "entropy", options.run / "attn_entropy.npy", reference["entropy"], options.tolerance)
    if options.loop:
        final_mask(report, options.run, reference, options.loop)
    if (options.run / "predictions.csv").is_file():
        predictions(report, options.run / "predictions.csv", reference, options.logits_tolerance)
    if not report.lines:
        raise SystemExit(f"nothing to compare in {options.run}")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
