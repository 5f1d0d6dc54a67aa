#!/usr/bin/env python3
"""Load a checkpoint folder, pruned or not, in transformers and print its logits as JSON.

    check_pruned.py FOLDER "a text" "first of a pair|||second of the pair"
    check_pruned.py FOLDER --task mrpc --data GLUE --limit 16
    check_pruned.py FOLDER ... --expect logits.json --tolerance 2e-5
    check_pruned.py FOLDER --ids golden.safetensors             # ids, mask and segments from a golden file

The JSON is a list of rows of logits; --expect takes such a list, or a bertology predictions.csv, compares and
exits 1 when the largest difference is above the tolerance. Eager attention, float32, padded to the longest.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from reference import TASKS, read_glue

SEPARATOR = "|||"


def expected_logits(path):
    if path.suffix == ".csv":
        with open(path, encoding="utf-8", newline="") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: int(row["index"]))
        count = sum(name.startswith("logit_") for name in rows[0])
        return np.array([[float(row[f"logit_{i}"]) for i in range(count)] for row in rows])
    value = json.loads(path.read_text(encoding="utf-8"))
    return np.array(value["logits"] if isinstance(value, dict) else value, dtype=np.float64)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("texts", nargs="*", help=f"a text, or a pair joined by {SEPARATOR}")
    parser.add_argument("--task", choices=sorted(TASKS))
    parser.add_argument("--data", type=Path, help="folder that holds MRPC/, SST-2/")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--ids", type=Path, help="golden.safetensors with input_ids, attention_mask, token_type_ids")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--expect", type=Path, help="JSON rows of logits, or predictions.csv")
    parser.add_argument("--tolerance", type=float, default=2e-5)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()

    model, info = AutoModelForSequenceClassification.from_pretrained(
        options.folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    model.eval()
    problems = {name: sorted(map(str, found)) for name, found in info.items() if found}
    if problems:
        print(f"FAIL  transformers did not load every tensor: {json.dumps(problems)}", file=sys.stderr)
        return 1

    rows = []
    with torch.no_grad():
        if options.ids:
            from safetensors.torch import load_file

            golden = load_file(options.ids)
            inputs = {name: golden[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
            rows = model(**inputs).logits.tolist()
        else:
            tokenizer = AutoTokenizer.from_pretrained(options.folder)
            if options.task:
                columns, _ = read_glue(options.data, options.task, options.limit)
                examples = list(zip(*columns))
            else:
                examples = [tuple(text.split(SEPARATOR)) for text in options.texts]
            if not examples:
                parser.error("no texts: give some, or --task with --data, or --ids")
            encode = dict(truncation="longest_first", max_length=options.max_length, padding=True, return_tensors="pt")
            # One by one where singles and pairs are mixed.
            size = options.batch_size if len({len(example) for example in examples}) == 1 else 1
            for start in range(0, len(examples), size):
                inputs = tokenizer(*map(list, zip(*examples[start : start + size])), **encode)
                rows.extend(model(**inputs).logits.tolist())
    if not options.expect:
        print(json.dumps(rows))
        return 0
    found, expected = np.array(rows), expected_logits(options.expect)
    if found.shape != expected.shape:
        print(f"FAIL  logits have shape {found.shape}, expected {expected.shape}")
        return 1
    largest = np.abs(found - expected).max()
    passed = largest <= options.tolerance
    print(f"{'PASS' if passed else 'FAIL'}  {len(rows)} rows, largest difference {largest:.2e} <= {options.tolerance:g}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
