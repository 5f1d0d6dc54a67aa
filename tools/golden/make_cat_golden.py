#!/usr/bin/env python3
"""Write the golden file of CAT-probing: what transformers' maps, tree_sitter and numpy say of the embedded model of code.

Functions are the first of assets/code/functions.jsonl and those of cases.jsonl beside the files that are written, read as their
leaves joined by single spaces. Formulas: cat_reference.py; what is in the files: README.md.

    make_cat_golden.py            write golden/studies/cat
    make_cat_golden.py --check    make it again and compare with the committed one
"""

import argparse
import hashlib
import json
import re
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file
from transformers import AutoModel, AutoTokenizer
from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

import cat_reference as reference

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "assets/tiny-code"
FUNCTIONS = ROOT / "assets/code/functions.jsonl"
OUT = ROOT / "golden/studies/cat"
CASES = OUT / "cases.jsonl"
COUNT = 50
LONGEST = 256  # pieces, <s> and </s> among them
CLOSE = 1e-6  # cells so near to a threshold may fall on its other side on another machine
TOLERANCE = 1e-5
# Counts over thresholds of attention, and what a few moved cells or ranks change a little.
COUNTED = tuple(f"{of}.{what}" for of in ("masks", "mean_sum", "offset_mean") for what in ("both", "attention"))
FOLLOWING = ("summary", "spearman", "spearman.partial")
SCRIPTS = ("make_cat_golden.py", "cat_reference.py")
BYTES = {letter: byte for byte, letter in bytes_to_unicode().items()}
PACKAGES = ("tree-sitter", *(f"tree-sitter-{name}" for name in reference.GRAMMARS))


class Model:
    def __init__(self):
        self.tokenizer = AutoTokenizer.from_pretrained(MODEL)
        self.model = AutoModel.from_pretrained(MODEL, dtype=torch.float64, attn_implementation="eager").eval()
        self.model.requires_grad_(False)

    def pieces(self, text):
        """Ids, and every piece's span of bytes; None for <s> and </s>. Too long a text loses its end."""
        assert not any(special.encode() in text for special in self.tokenizer.all_special_tokens)
        ids = self.tokenizer(text.decode(), add_special_tokens=False)["input_ids"]
        spans, at = [], 0
        for piece in self.tokenizer.convert_ids_to_tokens(ids):
            content = bytes(BYTES[letter] for letter in piece)
            assert text[at:at + len(content)] == content
            spans.append((at, at + len(content)))
            at += len(content)
        assert at == len(text)
        ids, spans = ids[:LONGEST - 2], spans[:LONGEST - 2]
        return [self.tokenizer.cls_token_id, *ids, self.tokenizer.sep_token_id], [None, *spans, None]

    def maps(self, ids):
        """`[layers, heads, pieces, pieces]` in float64."""
        out = self.model(input_ids=torch.tensor([ids]), output_attentions=True)
        return np.stack([layer[0].numpy() for layer in out.attentions]).astype(np.float64)


def load():
    """(name of the file, line from 1, record) of every function."""
    for path, count in ((FUNCTIONS, COUNT), (CASES, None)):
        lines = path.read_text(encoding="utf-8").split("\n")[:count]
        for number, line in enumerate(lines, 1):
            if line:
                yield path.name, number, json.loads(line)


class Snippet:
    """A function: its leaves with pieces (`own`), distances between them `[graphs]`, and A `[modes][layers][heads + mean]`."""

    def __init__(self, model, record):
        self.language = record["language"]
        self.program = reference.read(record["code"].encode(), self.language)
        self.text, self.spans = reference.joined(self.program)
        self.ids, piece_spans = model.pieces(self.text)
        self.pieces = reference.align(self.text, piece_spans, self.spans)
        self.own = [leaf for leaf, own in enumerate(self.pieces) if own]
        self.kinds = [self.program.kinds[leaf] for leaf in self.own]
        found = {graph: reference.distances(self.program, graph) for graph in reference.GRAPHS}
        self.sums = [int(d.sum()) for d in found.values()]
        self.distances = {graph: d[np.ix_(self.own, self.own)] for graph, d in found.items()}
        alpha = model.maps(self.ids)
        alpha = np.concatenate([alpha, alpha.mean(1, keepdims=True)], 1)
        visible = [self.pieces[leaf] for leaf in self.own]
        self.attention = {mode: reference.leaf_attention(alpha, visible, mode) for mode in ("mean_mean", "mean_sum")}

    @property
    def n(self):
        return len(self.own)

    @property
    def counts(self):
        return self.n >= reference.MIN_LEAVES

    def each(self, of, mode="mean_mean"):
        """`of(A)` for every layer and head, `[layers, heads + 1, ...]`."""
        return np.array([[of(a) for a in layer] for layer in self.attention[mode]])

    def masks(self, graph, which, mode="mean_mean", through=lambda a: a):
        d = self.distances[graph]
        return [[reference.masks(through(a), d, which) for a in layer] for layer in self.attention[mode]]


def numbers(table, name):
    """One count of a table of masks."""
    return [[getattr(m, name) for m in row] for row in table]


def weighted(attention):
    """A sum that knows rows from columns and one cell from the next."""
    n = len(attention)
    weights = (3 * np.arange(n)[:, None] + 7 * np.arange(n)[None, :]) % 11
    return float((attention.astype(np.float64) * weights).sum())


def scores(snippets):
    """Counts and correlations of every snippet, `[functions, ...]`."""
    out = {}
    found = {(g, w): [s.masks(g, w) for s in snippets] for g in reference.GRAPHS for w in reference.CELLS}

    def count(name, of):
        return np.array([numbers(table, name) for table in of], np.int32)

    out["masks.both"] = np.stack(
        [np.stack([count("both", found[g, w]) for w in reference.CELLS], 1) for g in reference.GRAPHS], 1
    )
    out["masks.attention"] = np.stack([count("a", found["ast", w]) for w in reference.CELLS], 1)
    out["masks.distance"] = np.array(
        [[[found[g, w][i][0][0].d for w in reference.CELLS] for g in reference.GRAPHS] for i in range(len(snippets))],
        np.int32,
    )
    out["masks.close"] = np.stack(
        [np.array([s.each(lambda a, w=w: reference.close_cells(a, w, CLOSE)) for s in snippets]) for w in reference.CELLS], 1
    ).astype(np.int32)
    summed = [s.masks("chain+flow", "off", "mean_sum") for s in snippets]
    out["mean_sum.both"], out["mean_sum.attention"] = count("both", summed), count("a", summed)
    explained = [[s.masks("chain+flow", w, through=reference.offset_mean) for s in snippets] for w in reference.CELLS]
    out["offset_mean.both"] = np.stack([count("both", of) for of in explained], 1)
    out["offset_mean.attention"] = np.stack([count("a", of) for of in explained], 1)
    near = [[[reference.masks(reference.nearness(s.n), s.distances[g], w) for w in reference.CELLS] for g in reference.GRAPHS] for s in snippets]
    out["nearness.both"] = np.array([[[m.both for m in row] for row in table] for table in near], np.int32)
    out["nearness.attention"] = np.array([[m.a for m in table[0]] for table in near], np.int32)
    ranked = np.array([[s.each(lambda a, d=s.distances[g]: reference.spearman(a, d)[:2]) for g in reference.GRAPHS] for s in snippets])
    out["spearman"], out["spearman.partial"] = (ranked[..., at].astype(np.float32) for at in range(2))
    out["spearman.offset"] = np.array(
        [[reference.spearman(reference.nearness(s.n), s.distances[g])[3] for g in reference.GRAPHS] for s in snippets]
    )
    for mode in ("mean_mean", "mean_sum"):
        out[f"attention.{mode}.weighted"] = np.array([s.each(weighted, mode) for s in snippets])
    return out, found


def summaries(snippets, found):
    """`[languages, graphs, cells, layers, heads + 1, SUMMARY]` over the snippets with enough leaves, and confidence."""
    tables, confidence = [], {}
    for language in reference.GRAMMARS:
        own = [i for i, s in enumerate(snippets) if s.language == language and s.counts]
        layers, heads = len(found["ast", "all"][0]), len(found["ast", "all"][0][0])
        tables.append([
            [
                [[reference.summary([found[g, w][i][l][h] for i in own], w) for h in range(heads)] for l in range(layers)]
                for w in reference.CELLS
            ]
            for g in reference.GRAPHS
        ])
        counts = [reference.Confidence() for _ in range(layers)]
        for i in own:
            for layer, table in enumerate(counts):
                table.add(snippets[i].attention["mean_mean"][layer, -1], snippets[i].kinds)
        confidence[language] = {
            kind: [counts[0].number[kind], *(table.above[kind] for table in counts)] for kind in sorted(counts[0].number)
        }
    return np.array(tables, np.float32), confidence


def make():
    """The arrays, and what names their axes."""
    model = Model()
    snippets, listed, skipped = [], [], []
    for file, line, record in load():
        if reference.read(record["code"].encode(), record["language"]).has_error:
            skipped.append(dict(file=file, line=line))
            continue
        snippets.append(Snippet(model, record))
        listed.append((file, line))
    arrays, found = scores(snippets)
    arrays["summary"], confidence = summaries(snippets, found)
    # Whole matrices of the shortest function in Python, and the default distances of the shortest in Go.
    shortest = {l: min((s.n, i) for i, s in enumerate(snippets) if s.counts and s.language == l)[1] for l in ("python", "go")}
    for language, at in shortest.items():
        for graph in reference.GRAPHS if language == "python" else ("chain+flow",):
            arrays[f"{at}.distance.{graph}"] = snippets[at].distances[graph].astype(np.int32)
    at = shortest["python"]
    arrays[f"{at}.mean_mean"] = snippets[at].attention["mean_mean"]
    arrays[f"{at}.mean_sum"] = snippets[at].attention["mean_sum"][:, -1]
    assert any(len(own) > 1 for own in snippets[at].pieces)
    kinds = sorted({kind for s in snippets for kind in s.program.kinds})
    names = dict(
        model=MODEL.name,
        graphs=reference.GRAPHS,
        cells=reference.CELLS,
        languages=list(reference.GRAMMARS),
        summary=reference.SUMMARY,
        min_leaves=reference.MIN_LEAVES,
        close=CLOSE,
        matrices=list(shortest.values()),
        kinds=kinds,
        functions=[
            dict(
                file=file, line=line, language=s.language, text=s.text.decode(), nodes=len(s.program.parents), n=s.n,
                leaf_kinds=[kinds.index(kind) for kind in s.program.kinds],
                leaf_bytes=[end - begin for begin, end in s.spans],
                leaf_pieces=[len(own) for own in s.pieces],
                ids=s.ids, distance_sums=s.sums,
            )
            for (file, line), s in zip(listed, snippets)
        ],
        skipped=skipped,
        confidence=confidence,
        provenance=provenance(),
    )
    return {key: np.ascontiguousarray(value) for key, value in arrays.items()}, json.loads(json.dumps(names))


def provenance():
    here = Path(__file__).parent
    digest = hashlib.sha256(b"".join((here / script).read_bytes() for script in SCRIPTS)).hexdigest()
    return dict(
        script=SCRIPTS[0], scripts_sha256=digest, torch=torch.__version__, transformers=transformers.__version__,
        **{package: version(package) for package in PACKAGES},
    )


def above(confidence):
    """The counts of `confidence` that depend on attention, in one row."""
    return np.array([count for kinds in confidence.values() for row in kinds.values() for count in row[1:]])


def differences(arrays, names):
    kept, kept_names = load_file(OUT / "tiny-code.safetensors"), json.loads((OUT / "tiny-code.json").read_text())
    found = sorted(arrays.keys() ^ kept.keys())
    named = (names.keys() | kept_names.keys()) - {"provenance", "confidence"}
    found += sorted(key for key in named if names.get(key) != kept_names.get(key))
    # What another processor may put on the other side of a threshold: a change of one cell moves the counts of two types.
    near, moved = int(kept["masks.close"].sum()), np.abs(above(names["confidence"]) - above(kept_names["confidence"])).sum() // 2
    for key in sorted(arrays.keys() & kept.keys()):
        a, b = arrays[key], kept[key]
        if a.shape != b.shape or a.dtype != b.dtype:
            found.append(f"{key}: {a.dtype} {a.shape} against {b.dtype} {b.shape}")
        elif key in COUNTED:
            moved += int(np.abs(a - b).sum())
        elif np.issubdtype(a.dtype, np.integer):
            found += [] if (a == b).all() or key == "masks.close" else [key]
        elif key in FOLLOWING:
            found += [] if np.allclose(a, b, rtol=0, atol=1e-3, equal_nan=True) else [key]
        elif not np.allclose(a, b, rtol=0, atol=TOLERANCE * np.nanmax(np.abs(b)), equal_nan=True):
            found.append(f"{key}: {np.nanmax(np.abs(a - b)):.2e}")
    if moved > near:
        found.append(f"{moved} cells moved, {near} are near a threshold")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    arrays, names = make()
    if options.check:
        found = differences(arrays, names)
        print(f"{'FAIL' if found else 'same'} {len(arrays)} arrays {'; '.join(found)}")
        return 1 if found else 0
    save_file(arrays, OUT / "tiny-code.safetensors")
    text = json.dumps(names, indent=1, ensure_ascii=False)
    # A list of numbers is one line.
    text = re.sub(r"\[\s+(-?\d+(?:,\s+-?\d+)*)\s+\]", lambda m: "[" + re.sub(r"\s+", "", m[1]) + "]", text)
    (OUT / "tiny-code.json").write_text(text + "\n", encoding="utf-8")
    sizes = sum((OUT / f"tiny-code.{end}").stat().st_size for end in ("safetensors", "json"))
    print(f"{len(names['functions'])} functions, {sizes / 1000:.1f} kB, {int(arrays['masks.close'].sum())} cells near a threshold")
    return 0


if __name__ == "__main__":
    sys.exit(main())
