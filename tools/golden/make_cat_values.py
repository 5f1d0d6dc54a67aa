#!/usr/bin/env python3
"""Write functions of our own and what attention that knows positions alone scores on them: golden/studies/cat/values.json(l).

Python: functions of tools and benches; Java, JavaScript and Go: of assets/code/functions.jsonl. They have 40 to 200 leaves,
since short ones score higher (tools/parity/cat_values.py). Formulas: cat_reference.py.

    make_cat_values.py            draw the functions again and write both files
    make_cat_values.py --check    compute for the committed functions and compare
"""

import argparse
import json
import random
import sys
from pathlib import Path

import numpy as np
import tree_sitter

import cat_reference as reference

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "golden/studies/cat"
LEAVES = range(40, 201)
COUNT = 30
SEED = 1


def own_python():
    parser = tree_sitter.Parser(tree_sitter.Language(reference.GRAMMARS["python"].language()))
    for folder in ("tools", "benches"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            stack = [parser.parse(path.read_bytes()).root_node]
            while stack:
                node = stack.pop()
                if node.type == "function_definition":
                    yield node.text.decode()
                else:
                    stack += reversed(node.children)


def draw():
    found = {"python": list(own_python())}
    for line in (ROOT / "assets/code/functions.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["language"] != "python":
            found.setdefault(record["language"], []).append(record["code"])
    for language, codes in sorted(found.items()):
        random.Random(SEED).shuffle(codes)
        kept = [code for code in codes if len(reference.read(code.encode(), language).nodes) in LEAVES]
        yield from (dict(language=language, code=code) for code in kept[:COUNT])


def values(records):
    rows = {}
    for record in records:
        program = reference.read(record["code"].encode(), record["language"])
        assert not program.has_error
        near = reference.nearness(len(program.nodes))
        row = []
        for graph in reference.GRAPHS:
            d = reference.distances(program, graph)
            row += [
                reference.masks(near, d, "all").jaccard,
                reference.masks((1 / (1 + d)).astype(np.float32), d, "all").jaccard,
                reference.spearman(near, d)[3],
            ]
        rows.setdefault(record["language"], []).append(row)
    return {
        language: dict(
            functions=len(table),
            **{
                graph: dict(zip(("offset", "planted", "offset_rho"), map(float, np.mean(table, 0)[3 * at:3 * at + 3])))
                for at, graph in enumerate(reference.GRAPHS)
            },
        )
        for language, table in rows.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    options = parser.parse_args()
    functions, expected = OUT / "values.jsonl", OUT / "values.json"
    if not options.check:
        functions.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in draw()), encoding="utf-8")
    found = values([json.loads(line) for line in functions.read_text(encoding="utf-8").splitlines()])
    if options.check:
        kept = json.loads(expected.read_text())
        same = kept.keys() == found.keys() and all(
            found[language]["functions"] == kept[language]["functions"]
            and all(abs(found[language][g][k] - v) < 1e-12 for g in reference.GRAPHS for k, v in kept[language][g].items())
            for language in kept
        )
        print("same" if same else "FAIL")
        return 0 if same else 1
    expected.write_text(json.dumps(found, indent=1) + "\n")
    for language, of in found.items():
        print(language, of["functions"], {graph: {k: round(v, 3) for k, v in of[graph].items()} for graph in reference.GRAPHS})
    return 0


if __name__ == "__main__":
    sys.exit(main())
