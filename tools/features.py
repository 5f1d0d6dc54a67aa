#!/usr/bin/env python3
"""Check every crate that has Cargo features with none of them, with each alone, and with all.

    tools/features.py            what is checked, and the checks
    tools/features.py --list     what would be checked

The features are read from `cargo metadata`, so a new one is checked without an edit here. Warnings are errors: what
one feature alone leaves unused is found where it is made.
"""

import argparse
import json
import subprocess
import sys


def combinations():
    """Pairs of a crate and the features to switch on."""
    answer = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"], check=True, stdout=subprocess.PIPE
    )
    for package in json.loads(answer.stdout)["packages"]:
        features = sorted(set(package["features"]) - {"default"})
        if features:
            alone = [(feature,) for feature in features]
            every = [tuple(features)] if len(features) > 1 else []
            yield from ((package["name"], chosen) for chosen in [(), *alone, *every])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="say what would be checked, check nothing")
    options = parser.parse_args()
    failures = 0
    for package, features in combinations():
        print(f"{package}: {', '.join(features) or 'none'}", flush=True)
        if options.list:
            continue
        command = ["cargo", "clippy", "--quiet", "--package", package, "--no-default-features"]
        command += ["--features", ",".join(features), "--", "--deny", "warnings"]
        failures += subprocess.run(command).returncode != 0
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
