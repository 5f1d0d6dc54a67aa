#!/usr/bin/env python3
"""Studies of the embedded models on a device: the processor's numbers, and the same bytes a second time.

    studies.py --binary BINARY --device gpu:0
    studies.py --binary BINARY --device host --only importance

Each command line runs on the processor once and on the device twice. Numbers may differ from the processor's by 1e-4
of their size or by 2e-5, everything else must be equal; the two runs on the device must be the same to the bit, times
aside. Of a command without a run folder what --json prints is held side by side, of a page the texts and the numbers
in it. Exit code 1 if anything is not so.

BINARY needs the feature gpu (`cargo build -p bertology-cli --features gpu`). The device `host` is a card's operations
on the processor, which needs no card and no driver.
"""

import argparse
import json
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
# Where it was computed, the place of results, and times.
VOLATILE = re.compile(
    parts.VOLATILE.pattern + r"|^options\.device$|^device(\.|$)|^output$"
    r"|^results\.timing\.(\d+\.)?(before|after|speedup|range|device)(\.|$)"
    r"|^results\.(peak_bytes|cells\.\d+\.(seconds|speed|interval))(\.|$)"
)
# What rounding decides: the length of a compressed page, which of many small errors is the largest, the digest of a
# regression that is trained.
ROUNDED = re.compile(
    VOLATILE.pattern + r"|^bytes$|^identity\.options\.regression$"
    r"|^found\.comparisons\.\d+\.(heads\.\d+\.)?worst\.(place|ours|theirs)"
)
# A table of times.
TIMES = "bench.csv"
# A page whose numbers are looked at, and what is printed.
PAGE, PRINTED = "page.html", "run.json"

INPUTS = cases.INPUTS
# Residues of the longest protein: what its model reads.
PROTEIN = 22
GOLDEN = Path(__file__).resolve().parents[2] / "golden"
MASK = f"--mask {INPUTS}/mask-4x4.json"
# Of the training data, so that units are chosen on the data that are scored.
CHOSEN_ON = f"{parts.COLA} --limit 200"
EVERY_MEASURE = (
    "michel,fisher,taylor,taylor2,integrated,leave-one-out,shapley,gates-l1,gates-l0,query-norm,key-norm,value-norm"
)
# Without edge probes, which are trained for so long that rounding comes to thousandths of an F1.
LINES = {
    **parts.LINES,
    "importance-gpt": f"importance {INPUTS}/tiny-gpt {parts.TEXT} --limit 200",
    "importance-mask": f"importance {parts.MODEL} {parts.COLA} --limit 200 {MASK}",
    "ablate-heads": f"ablate {parts.MODEL} {parts.COLA} --limit 100 --metric loss --heads 0:1,3 --heads 2.0 {MASK}",
    "evaluate-mask": f"evaluate {parts.MODEL} {parts.COLA} --limit 300 {MASK}",
    "extract-gradients": f"extract {parts.MODEL} {parts.TEXT} --limit 60 --head-outputs 0 --queries 1 --gradients "
    "--objective class:1 --logits",
    "mask": f"mask {parts.MODEL} {parts.COLA} --limit 300",
    "mask-reference": f"mask {parts.MODEL} {parts.COLA} --limit 100 --reference --metric mcc --max-steps 3",
    "prune": f"prune {parts.MODEL} {parts.COLA} --limit 200 --max-steps 2",
    # A layer without heads, and no data.
    "prune-heads": f"prune {parts.MODEL} --heads 0:1,3 --heads 2:0-3",
    "prune-shape": f"prune {parts.MODEL} {MASK} {parts.COLA} --limit 100 --keep-shape",
    "prune-lm": f"prune {parts.GPT2} {parts.TEXT} --limit 60 --keep 75%",
    "compress": f"compress {parts.MODEL} {CHOSEN_ON} --examples 150 --tune-examples 100 --flops 60%",
    "compress-uniform": f"compress {parts.MODEL} {CHOSEN_ON} --examples 150 --flops 80% --measure taylor2 "
    "--uniform --no-tune",
    "compress-drop": f"compress {parts.MODEL} {CHOSEN_ON} --examples 100 --tune-examples 60 --max-drop 20pt",
    "compress-tokens": f"compress {parts.MODEL} {CHOSEN_ON} --examples 100 --tune-examples 60 --flops 70% "
    f"--trim-vocabulary {INPUTS}/texts.txt",
    "compress-lm": f"compress {parts.GPT2} {parts.TEXT} --limit 60 --examples 60 --tune-examples 40 --max-size 1.5MB",
    "judge": f"judge {parts.MODEL} {parts.COLA} --limit 60 --examples 24 --seeds 2 --left 75%,50%,25% "
    f"--gate-steps 5 --measures {EVERY_MEASURE}",
    "judge-neurons": f"judge {parts.MODEL} {parts.COLA} --limit 60 --examples 24 --seeds 2 --left 60%,30% "
    "--units neurons --measures fisher,integrated",
    "judge-layers": f"judge {parts.MODEL} {parts.COLA} --limit 60 --examples 24 --seeds 2 --left 75%,50% "
    "--units layers --measures michel,leave-one-out",
    "distance": f"distance {parts.MODEL} {parts.TREES}",
    "predict": f"predict {parts.MODEL} {parts.TEXT} --limit 200",
    "survey": f"survey {parts.MODEL} {parts.TREES} --studies patterns,syntax,cluster --limit 200",
    "attention-probe": f"attention-probe {parts.MODEL} --train {INPUTS}/grammar/dev.conllu "
    f"--dev {INPUTS}/grammar/dev.conllu --limit 200 --dev-limit 100",
    "relations": f"relations {parts.MODEL} --data {INPUTS}/pairs.jsonl --train {INPUTS}/pairs.jsonl --limit 200",
    "contacts": f"contacts {INPUTS}/proteins --fasta {INPUTS}/proteins.fasta --contacts {INPUTS}/contacts.jsonl "
    f"--train-fasta {INPUTS}/proteins.fasta --train-contacts {INPUTS}/contacts.jsonl",
    "dynamics": f"dynamics 1={parts.MODEL} 2={parts.MODEL} {parts.COLA} --limit 100",
    "cat": f"cat {INPUTS}/tiny-code --code {INPUTS}/code/functions.jsonl --limit 40",
    "bench": f"bench {parts.MODEL} --lengths 16 --batch-sizes 2 --rounds 2",
    "verify": f"verify {parts.MODEL} --heads --reference {INPUTS}/references/tiny-bert.safetensors --json",
    "verify-lm": f"verify {parts.GPT2} --reference {INPUTS}/references/tiny-gpt2.safetensors --json",
    "view": f"view {parts.MODEL} --text {INPUTS}/few.txt --json --output {{out}}/{PAGE}",
    "view-lm": f"view {parts.GPT2} --text {INPUTS}/few.txt --json --output {{out}}/{PAGE}",
}


def write_inputs(folder):
    """Those of all comparisons; relations of the treebank's words, a protein model, proteins that touch by chance."""
    cases.write_inputs(folder)
    (folder / "few.txt").write_text("".join((folder / "texts.txt").read_text().splitlines(keepends=True)[:3]))

    sentences = (folder / "grammar/dev.conllu").read_text().strip().split("\n\n")
    lines = []
    for sentence in sentences:
        rows = [row.split("\t") for row in sentence.splitlines() if re.match(r"\d+\t", row)]
        pairs = [[int(row[0]) - 1, int(row[6]) - 1, row[7]] for row in rows if row[6] != "0"]
        lines.append(json.dumps({"words": [row[1] for row in rows], "pairs": pairs}))
    (folder / "pairs.jsonl").write_text("".join(f"{line}\n" for line in lines))

    model = folder / "proteins"
    model.mkdir()
    for place, names in {
        "engine/esm-mlm": ("config.json", "model.safetensors"),
        "tokenizer/esm": ("vocab.txt", "tokenizer_config.json"),
    }.items():
        for name in names:
            shutil.copy(GOLDEN / place / name, model / name)
    draw, fasta, contacts = cases.numbers(3), [], []
    for protein in range(12):
        length = PROTEIN - protein % 6
        fasta += [f">p{protein}", "".join("ACDEFGHIKLMNPQRSTVWY"[next(draw) % 20] for _ in range(length))]
        near = {(a, b) for a in range(length) for b in range(a + 6, length) if next(draw) % 9 == 0}
        contacts.append(json.dumps({"id": f"p{protein}", "contacts": sorted(near)}))
    (folder / "proteins.fasta").write_text("".join(f"{line}\n" for line in fasta))
    (folder / "contacts.jsonl").write_text("".join(f"{line}\n" for line in contacts))


class Near(run_folders.Comparison):
    def numbers(self, place, before, after, exact=False):
        near = abs(before - after) <= ABSOLUTE + RELATIVE * max(abs(before), abs(after))
        return near or super().numbers(place, before, after, exact)


# What is chosen among candidates whose scores may be equal but for rounding.
CHOSEN = [(r"threshold", "any"), (rf"^{TIMES}:", "any")]


def near(before, after):
    found = Near(tolerance=RELATIVE, looser=CHOSEN)
    before, after = run_folders.files(before), run_folders.files(after)
    run_folders.names(found, "folder", before, after, "file")
    for name in [name for name in before if name in after]:
        found.files += 1
        if name == PAGE:
            run_folders.compare_values(found, name, numbers_of(before[name]), numbers_of(after[name]))
        else:
            run_folders.compare_files(found, name, before[name], after[name], ROUNDED)
    return found


def numbers_of(page):
    """The document in a page; its arrays are compressed."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.S)[1])


def same(before, after):
    found = run_folders.same_bytes(before, after, VOLATILE)
    found.different = [place for place in found.different if place != f"{TIMES}: other bytes"]
    if (before / PAGE).exists() and (before / PAGE).read_bytes() != (after / PAGE).read_bytes():
        found.differ(PAGE, "other bytes")
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
        write_inputs(work / "inputs")
        (work / "runs").mkdir()

        def run(line, name, device):
            shutil.rmtree(work / "runs" / name, ignore_errors=True)
            words = [binary, *(word.replace("{out}", name) for word in line), "--device", device, "--quiet"]
            printed = "--json" in line
            if printed:
                (work / "runs" / name).mkdir()
            else:
                words += ["--output", name]
            done = subprocess.run(words, cwd=work / "runs", capture_output=True, text=True)
            if done.returncode != 0:
                said = (done.stderr or done.stdout).strip().splitlines()
                raise parts.Failed(f"on {device}: {said[0] if said else 'no word'}")
            folder = work / "runs" / name
            if printed:
                (folder / PRINTED).write_text(done.stdout)
            kinds = {json.loads(record.read_text())["device"]["kind"] for record in folder.rglob("run.json")}
            if kinds != {"cpu"} if device == "cpu" else "cpu" in kinds or not kinds:
                raise parts.Failed(f"on {device}: the record says {', '.join(sorted(kinds)) or 'nothing'}")
            return folder

        for name, line in cases.chosen(LINES, asked.only, None).items():
            if asked.limit:
                line = re.sub(r"--limit \d+", f"--limit {asked.limit}", line)
            try:
                here, there, again = (
                    run(line.split(), f"{name}-{at}", device)
                    for at, device in enumerate(["cpu", asked.device, asked.device])
                )
                found, anew = near(here, there), same(there, again)
                wrong = [f"{len(found.different)} places: {place}" for place in found.different[:1]]
                wrong += [f"a second time: {place}" for place in anew.different[:1]]
                word = "DIFFERENT" if wrong else "same"
                text = "; ".join(wrong) or f"{found.files} files"
            except parts.Failed as error:
                word, text = "FAILED", str(error)
            failures += word != "same"
            print(f"{word:10} {name:18} {text}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
