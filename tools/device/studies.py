#!/usr/bin/env python3
"""Studies of the embedded models on a device: the processor's numbers, and the same bytes a second time.

    studies.py --binary BINARY --device gpu:0
    studies.py --binary BINARY --device host --only importance

Each command line runs on the processor once and on the device twice. Numbers may differ from the processor's by 1e-4
of their size or by 2e-5, everything else must be equal; the two runs on the device must be the same to the bit. Exit
code 1 if anything is not so.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "parity"))
import cases
import parts
import run_folders

RELATIVE, ABSOLUTE = 1e-4, 2e-5
# Where it was computed, and the place of results.
VOLATILE = re.compile(parts.VOLATILE.pattern + r"|^options\.device$|^device(\.|$)")

INPUTS = cases.INPUTS
# Without edge probes, which are trained for so long that rounding comes to thousandths of an F1.
LINES = {
    **parts.LINES,
    "importance-gpt": f"importance {INPUTS}/tiny-gpt {parts.TEXT} --limit 200",
    "mask": f"mask {parts.MODEL} {parts.COLA} --limit 300",
    "distance": f"distance {parts.MODEL} {parts.TREES}",
    "predict": f"predict {parts.MODEL} {parts.TEXT} --limit 200",
    "survey": f"survey {parts.MODEL} {parts.TREES} --studies patterns,syntax,cluster --limit 200",
    "attention-probe": f"attention-probe {parts.MODEL} --train {INPUTS}/grammar/dev.conllu "
    f"--dev {INPUTS}/grammar/dev.conllu --limit 200 --dev-limit 100",
    "dynamics": f"dynamics 1={parts.MODEL} 2={parts.MODEL} {parts.COLA} --limit 100",
    "cat": f"cat {INPUTS}/tiny-code --code {INPUTS}/code/functions.jsonl --limit 40",
}


class Near(run_folders.Comparison):
    def numbers(self, place, before, after, exact=False):
        near = abs(before - after) <= ABSOLUTE + RELATIVE * max(abs(before), abs(after))
        return near or super().numbers(place, before, after, exact)


# What is chosen among candidates whose scores may be equal but for rounding.
CHOSEN = [(r"threshold", "any")]


def near(before, after):
    found = Near(tolerance=RELATIVE, looser=CHOSEN)
    before, after = run_folders.files(before), run_folders.files(after)
    run_folders.names(found, "folder", before, after, "file")
    for name in [name for name in before if name in after]:
        found.files += 1
        run_folders.compare_files(found, name, before[name], after[name], VOLATILE)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--device", required=True, help="as the command takes it")
    parser.add_argument("--only", metavar="REGEX", help="studies whose name matches")
    parser.add_argument("--limit", type=int, help="examples, in the place of the usual numbers: for slow devices")
    asked = parser.parse_args()
    binary, failures = asked.binary.resolve(), 0
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        cases.write_inputs(work / "inputs")
        (work / "runs").mkdir()

        def run(line, name, device):
            shutil.rmtree(work / "runs" / name, ignore_errors=True)
            words = [binary, *line, "--device", device, "--output", name, "--quiet"]
            done = subprocess.run(words, cwd=work / "runs", capture_output=True, text=True)
            if done.returncode != 0:
                said = (done.stderr or done.stdout).strip().splitlines()
                raise parts.Failed(f"on {device}: {said[0] if said else 'no word'}")
            return work / "runs" / name

        for name, line in cases.chosen(LINES, asked.only, None).items():
            if asked.limit:
                line = re.sub(r"--limit \d+", f"--limit {asked.limit}", line)
            try:
                here, there, again = (
                    run(line.split(), f"{name}-{at}", device)
                    for at, device in enumerate(["cpu", asked.device, asked.device])
                )
                found, same = near(here, there), run_folders.same_bytes(there, again, VOLATILE)
                wrong = [f"{len(found.different)} places: {place}" for place in found.different[:1]]
                wrong += [f"a second time: {place}" for place in same.different[:1]]
                word = "DIFFERENT" if wrong else "same"
                text = "; ".join(wrong) or f"{found.files} files"
            except parts.Failed as error:
                word, text = "FAILED", str(error)
            failures += word != "same"
            print(f"{word:10} {name:18} {text}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
