#!/usr/bin/env python3
"""Write the golden file of `--legacy`: the scores of the released code of CAT-probing for the embedded model of code.

Functions are the first of assets/code/functions.jsonl that have a list of tokens, and those of legacy.jsonl beside the file
that is written.

    make_cat_legacy_golden.py            write golden/studies/cat/legacy.json
    make_cat_legacy_golden.py --check    make it again and compare with the committed one
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import AutoModel, AutoTokenizer

import cat_legacy_reference as reference

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "assets/tiny-code"
FUNCTIONS = ROOT / "assets/code/functions.jsonl"
OUT = ROOT / "golden/studies/cat"
COUNT = 60


def load():
    for path, count in ((FUNCTIONS, COUNT), (OUT / "legacy.jsonl", None)):
        lines = path.read_text(encoding="utf-8").split("\n")[:count]
        yield from (json.loads(line) for line in lines if line)


def make():
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    model = AutoModel.from_pretrained(MODEL, dtype=torch.float64, attn_implementation="eager").eval()
    functions = {}
    for record in load():
        language = record["language"]
        ids = tokenizer(reference.source(record["code_tokens"]), truncation=True, max_length=reference.LONGEST)["input_ids"]
        with torch.no_grad():
            maps = model(input_ids=torch.tensor([ids]), output_attentions=True).attentions
        maps = np.stack([layer[0].mean(0).numpy() for layer in maps])
        tree = reference.Tree(record["code"], language)
        functions.setdefault(language, []).append((tree, tokenizer.convert_ids_to_tokens(ids), maps))
    out = {}
    for language, all in functions.items():
        layers = len(all[0][2])
        tops, scores, found = [], dict(all=[], static=[], top=[]), dict(all=[], static=[], top=[])
        for layer in range(layers):
            matrices = []
            for tree, pieces, maps in all:
                of, listed = tree.search(pieces)
                matrices.append((tree.matrices(of, maps[layer])[0], listed))
            tops.append(reference.top(matrices))
            for name, kinds in (("all", None), ("static", reference.STATIC.get(language)), ("top", tops[layer])):
                each, given, sought = [], 0, 0
                for tree, pieces, maps in all:
                    of, _ = tree.search(pieces, kinds)
                    sought += sum(piece not in ("<s>", "</s>") for piece in pieces)
                    given += sum(leaf is not None for leaf in of)
                    each.append(reference.score(*tree.matrices(of, maps[layer])))
                each = [j for j in each if j is not None]
                scores[name].append([len(each), float(np.mean(each)) if each else None])
                found[name].append(given / sought)
        out[language] = dict(functions=len(all), top=tops, scores=scores, found=found)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed file, write nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    made = make()
    path = OUT / "legacy.json"
    if options.check:
        kept = json.loads(path.read_text())
        same = all(
            made[language][key] == kept[language][key] for language in kept for key in ("functions", "top")
        ) and all(
            np.allclose(np.array(made[l]["scores"][c], float), np.array(kept[l]["scores"][c], float), rtol=0, atol=1e-3)
            for l in kept for c in kept[l]["scores"]
        )
        print("same" if same else "FAIL")
        return 0 if same else 1
    path.write_text(json.dumps(made, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print({language: (of["functions"], of["scores"]["all"][0]) for language, of in made.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
