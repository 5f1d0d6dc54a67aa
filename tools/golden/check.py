#!/usr/bin/env python3
"""Make every engine folder again in a temporary directory, compare with the committed ones, and look for strays.

Each script's own --check compares its folders; this command knows all of them, and so what none of them makes. Folders of
families that only transformers 5 has are left to the --check of their script.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import torch
import transformers

import capture
import make_albert_golden
import make_causal_golden
import make_deberta_golden
import make_distilbert_golden
import make_esm_golden
import make_esmc_golden
import make_eurobert_golden
import make_family_golden
import make_golden
import make_gte_golden
import make_jinabert_golden
import make_modernbert_golden
import make_mpnet_golden
import make_nomicbert_golden

SCRIPTS = (
    make_golden,
    make_albert_golden,
    make_causal_golden,
    make_deberta_golden,
    make_distilbert_golden,
    make_esm_golden,
    make_family_golden,
    make_jinabert_golden,
    make_modernbert_golden,
    make_mpnet_golden,
)


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    failures, known = 0, set(make_esmc_golden.FOLDERS + make_eurobert_golden.FOLDERS + make_gte_golden.FOLDERS + make_nomicbert_golden.FOLDERS)
    for script in SCRIPTS:
        with tempfile.TemporaryDirectory() as scratch:
            made = Path(scratch)
            script.generate(made)
            folders = {folder.name for folder in made.iterdir()}
            print(f"{script.__name__}: ", end="")
            failures += capture.compare(made, capture.OUT, folders)
            known |= folders
    for stray in sorted({folder.name for folder in capture.OUT.iterdir()} - known):
        failures += 1
        print(f"FAIL {stray}: no script makes it")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
