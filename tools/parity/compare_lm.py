#!/usr/bin/env python3
"""Compare a bertology run on a language model with what reference_gpt2.py found.

    compare_lm.py RUN REFERENCE.npz --part rows --importance script:4     # a run on REFERENCE.ids.txt
    compare_lm.py RUN REFERENCE.npz --part lines                          # a run on the lines of the text

Looks at what RUN holds of: head_importance_raw.npy and head_importance.npy (with --importance, where a missing file is a
failure), attn_entropy.npy, predictions.csv (columns `index` and `loss`: each row's mean over its predicted tokens), and
the numbers named `loss` and `perplexity` in run.json. Exit status 1 on any FAIL.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np

from compare import Report, matrix


def importance(report, run, reference, part, name, options):
    key = f"{part}/importance/{name}"
    if f"{key}/raw" not in reference:
        known = sorted(k.split("/")[2] for k in reference if k.startswith(f"{part}/importance/") and k.endswith("/raw"))
        raise SystemExit(f"the reference has no importance {name!r} of {part}; it has: {', '.join(known)}")
    # The reference divides by ids, except for example (a mean over rows).
    factor = 1.0
    if options.raw_scale is not None:
        offsets = reference[f"{part}/offsets"]
        divisor = dict(example=len(offsets) - 1, token=int(offsets[-1]), sum=1)
        factor = divisor["example" if name == "example" else "token"] / divisor[options.raw_scale]
    raw, normalised = reference[f"{key}/raw"] * factor, reference[f"{key}/normalised"]
    matrix(report, f"raw importance {name}", run / "head_importance_raw.npy", raw, options.tolerance)
    # Lies in [0, 1] and has an exact zero, so the range is the measure.
    matrix(report, f"importance {name}", run / "head_importance.npy", normalised, options.tolerance, scale="absolute")


def losses(report, path, expected, tolerance):
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"index", "loss"} <= rows[0].keys():
        report.line("losses", False, f"{path.name} has no rows with the columns index and loss")
        return
    index = np.array([int(row["index"]) for row in rows])
    if not np.array_equal(np.sort(index), np.arange(len(expected))):
        report.line("losses", False, f"{len(rows)} rows, expected 0 to {len(expected) - 1}, each once")
        return
    found = np.zeros(len(rows))
    found[index] = [float(row["loss"]) for row in rows]
    difference = np.abs(found - expected)
    worst = int(np.argmax(difference))
    report.line(
        "losses", bool(difference.max() <= tolerance),
        f"{len(rows)} rows; largest difference: absolute {difference.max():.2e} <= {tolerance:g}; worst in row {worst}: "
        f"{found[worst]:.8g}, expected {expected[worst]:.8g}",
    )  # fmt: skip


def numbers(value, path=""):
    """(path, number) of everything in a JSON value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, float(value)


def totals(report, path, reference, part, tolerance):
    """The loss over all predicted tokens and its perplexity."""
    counted = reference[f"{part}/offsets"][-1] - len(reference[f"{part}/loss"])
    loss = reference[f"{part}/token_loss"].sum(dtype=np.float64) / counted
    expected = dict(loss=loss, perplexity=np.exp(loss))
    for place, found in numbers(json.loads(path.read_text(encoding="utf-8"))):
        name = place.rpartition(".")[2]
        if name not in expected:
            continue
        # An error of the loss is a relative one of the perplexity.
        scale = expected[name] if name == "perplexity" else 1.0
        difference = abs(found - expected[name]) / scale
        report.line(
            place, bool(difference <= tolerance),
            f"{found:.8g}, expected {expected[name]:.8g}: {'relative' if name == 'perplexity' else 'absolute'} "
            f"{difference:.2e} <= {tolerance:g}",
        )  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder written by bertology")
    parser.add_argument("reference", type=Path, help=".npz written by reference_gpt2.py")
    parser.add_argument("--part", choices=["rows", "lines"], default="rows")
    parser.add_argument("--importance", metavar="NAME", help="example, batch:B or script:B")
    parser.add_argument(
        "--last-logits", type=Path, metavar="FILE.npy", help="[rows, vocabulary], those at each row's last position"
    )
    parser.add_argument("--logits-tolerance", type=float, default=1e-4, help="absolute")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="for importance and entropy, relative")
    parser.add_argument("--loss-tolerance", type=float, default=1e-5, help="absolute, in nats")
    parser.add_argument(
        "--raw-scale", choices=["example", "token", "sum"],
        help="what the run's raw scores are divided by: rows, ids, or nothing (default: as reference_gpt2.py)",
    )  # fmt: skip
    options = parser.parse_args()

    reference = dict(np.load(options.reference))
    report = Report()
    if options.importance:
        importance(report, options.run, reference, options.part, options.importance, options)
    if options.last_logits:
        expected = reference[f"{options.part}/last_logits"]
        matrix(report, "last logits", options.last_logits, expected, options.logits_tolerance, scale="absolute")
    if (options.run / "attn_entropy.npy").is_file():
        entropy = reference[f"{options.part}/entropy"]
        matrix(report, "entropy", options.run / "attn_entropy.npy", entropy, options.tolerance)
    if (options.run / "predictions.csv").is_file():
        losses(report, options.run / "predictions.csv", reference[f"{options.part}/loss"], options.loss_tolerance)
    if (options.run / "run.json").is_file():
        totals(report, options.run / "run.json", reference, options.part, options.loss_tolerance)
    if not report.lines:
        raise SystemExit(f"nothing to compare in {options.run}")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
