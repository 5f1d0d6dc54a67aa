#!/usr/bin/env python3
"""What CAT-scores are without any model, on functions of sources that are on this machine.

Synthetic attentions against the trees of functions, in numpy and tree_sitter (tools/golden/cat_reference.py): attention that is
made of the distances, of positions alone, of noise. Means with 95 % over draws of functions and over draws of their files
(functions of one file are alike), of all functions alike, and weighed by a power of their number of leaves
that gives the recorded score of position on the chain: short functions score higher, and how long the recorded ones were is not known. --binary runs the same functions through `bertology cat` and compares what depends on trees
alone: the offset control, its rank correlation and the noise of every function that the model reads whole.

    cat_values.py                                    Python's standard library, src.zip of a JDK, npm's modules, Go if there is any
    cat_values.py --from python=/usr/lib/python3/dist-packages --count 400 --seed 2
    cat_values.py --binary target/release/bertology
"""

import argparse
import csv
import glob
import json
import random
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import tree_sitter

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/golden"))
import cat_reference as reference  # noqa: E402

MODEL = ROOT / "assets/tiny-code"
ENDS = dict(python=".py", java=".java", javascript=".js", go=".go")
FUNCTIONS = dict(
    python=("function_definition",),
    java=("method_declaration", "constructor_declaration"),
    javascript=("function_declaration", "method_definition"),
    go=("function_declaration", "method_declaration"),
)
# Recorded: chain, and 1/(1+|i-j|) on the bare tree and on chain+flow; Spearman of D and |i-j| on chain and on the bare tree.
RECORDED = {
    "planted": (1.0, 1.0, 1.0, 1.0),
    "softmax of -D": (0.806, 0.794, 0.816, 0.825),
    "1/(1+|i-j|)": (0.654, 0.501, 0.477, 0.540),
    "neighbours": (0.216, 0.172, 0.167, 0.178),
    "diagonal": (0.178, 0.147, 0.146, 0.152),
    "planted, permuted": (0.196, 0.139, 0.137, 0.145),
    "noise": (0.125, 0.125, 0.125, 0.125),
    "columns": (0.124, 0.123, 0.126, 0.128),
    "1/(1+|i-j|) ast": (0.469, 0.399, 0.389, 0.410),
    "1/(1+|i-j|) chain+flow": (0.534, 0.428, 0.419, 0.450),
    "rho chain": (0.64, 0.50, 0.47, 0.56),
    "rho ast": (0.44, 0.40, 0.39, 0.46),
}
NEAR = 0.03
FITTED = "1/(1+|i-j|)"


def sources(language):
    """Where this machine may have some: (name, bytes)."""
    if language == "python":
        places = [sysconfig.get_paths()["stdlib"]]
    elif language == "java":
        archives = [path for path in sorted(glob.glob("/usr/lib/jvm/*/lib/src.zip")) if Path(path).is_file()]
        for archive in archives[:1]:
            with zipfile.ZipFile(archive) as files:
                for name in sorted(files.namelist()):
                    if name.startswith("java.base/java/") and name.endswith(".java"):
                        yield name, files.read(name)
            return
        places = []
    elif language == "javascript":
        places = glob.glob("/usr/lib/node_modules") + glob.glob("/usr/share/nodejs")
    else:
        places = glob.glob("/usr/lib/go*/src") + glob.glob("/usr/share/go*/src") + glob.glob(str(Path.home() / "go/pkg/mod"))
    for place in places:
        yield from below(place, language)


def below(place, language):
    for path in sorted(Path(place).rglob("*" + ENDS[language])):
        if not {"test", "tests", "site-packages", "dist-packages", "dist"} & set(path.relative_to(place).parts):
            yield str(path), path.read_bytes()


def functions(files, language, most, seed):
    """Outermost functions without faults, of 8 to 200 leaves: (file, code), so many of them drawn."""
    parser = tree_sitter.Parser(tree_sitter.Language(reference.GRAMMARS[language].language()))
    files = list(files)
    draws = random.Random(seed)
    draws.shuffle(files)
    found = []
    for name, code in files[: 4 * most]:
        try:
            code.decode()
        except UnicodeDecodeError:
            continue
        stack, own = [parser.parse(code).root_node], []
        while stack:
            node = stack.pop()
            if node.type in FUNCTIONS[language]:
                own.append(code[node.start_byte:node.end_byte])
            else:
                stack += node.children
        found += [(name, one) for one in own]
    draws.shuffle(found)
    kept = []
    for name, code in found:
        program = reference.read(code, language)
        if not program.has_error and 8 <= len(program.nodes) <= 200:
            kept.append((name, code, program))
        if len(kept) == most:
            break
    return kept


def values(program, draws):
    """Every row of the table for one function; nan where it is not defined."""
    n = len(program.nodes)
    off, eye = reference.offsets(n), np.eye(n)
    order = draws.permutation(n)
    found = {graph: reference.distances(program, graph) for graph in reference.GRAPHS}
    d = found["chain"]
    planted = (1 / (1 + d)).astype(np.float32)
    soft = np.exp(-d.astype(np.float64))
    noise = draws.random((n, n)).astype(np.float32)

    def score(attention, graph="chain"):
        masks = reference.masks(np.asarray(attention, np.float32), found[graph], "all")
        return np.nan if masks is None or masks.jaccard is None else masks.jaccard

    near = reference.nearness(n)
    return {
        "planted": score(planted),
        "softmax of -D": score(soft / soft.sum(1, keepdims=True)),
        "1/(1+|i-j|)": score(near),
        # The rest of the cells in an order by chance: attention without ties.
        "neighbours": score((off == 1) + noise / 2),
        "diagonal": score(eye + noise / 2),
        "planted, permuted": score(planted[np.ix_(order, order)]),
        "noise": score(noise),
        "columns": score(np.tile(draws.random(n), (n, 1))),
        "1/(1+|i-j|) ast": score(near, "ast"),
        "1/(1+|i-j|) chain+flow": score(near, "chain+flow"),
        "rho chain": reference.spearman(near, d)[3],
        "rho ast": reference.spearman(near, found["ast"])[3],
    }


def interval(table, weights, groups=None, times=2000, seed=1):
    """Of the weighted mean, over draws of rows or of whole groups."""
    draws = np.random.default_rng(seed)
    groups = np.arange(len(table)) if groups is None else np.unique(groups, return_inverse=True)[1]
    count, known = groups.max() + 1, np.isfinite(table)
    sums = np.bincount(groups, np.where(known, table * weights, 0), count)
    numbers = np.bincount(groups, known * weights, count)
    drawn = draws.integers(0, count, (times, count))
    return np.percentile(sums[drawn].sum(1) / numbers[drawn].sum(1), (2.5, 97.5))


def ours(binary, kept, language):
    """How far the program's own numbers are from these, function by function."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "functions.jsonl")
        lines = (json.dumps(dict(code=code.decode(), language=language)) for _, code, _ in kept)
        path.write_text("\n".join(lines) + "\n")
        worst, compared = {}, 0
        for graph in reference.GRAPHS:
            out = Path(folder, graph)
            subprocess.run(
                [binary, "cat", MODEL, "--code", path, "--graph", graph, "--min-leaves", "8", "--output", out, "--quiet",
                 "--random-encoder", "0", "--permutations", "0", "--resamples", "0", "--frequent", "none"],
                check=True,
            )
            for row in csv.DictReader((out / "cat_snippets.csv").open()):
                program = kept[int(row["index"])][2]
                n = len(program.nodes)
                if row["layer"] != "0" or int(row["leaves"]) != n:
                    continue
                d = reference.distances(program, graph)
                masks = reference.masks(reference.nearness(n), d, "all")
                near = reference.spearman(reference.nearness(n), d)[3]
                for name, expected in (("offset", masks.jaccard), ("offset_rho", near), ("near", masks.d / masks.total)):
                    apart = abs(float(row[name] or "nan") - expected)
                    worst[name] = max(worst.get(name, 0), apart)
                compared += 1
    return compared, worst


def fitted(table, leaves, recorded):
    """The power of a function's number of leaves by which it has to be weighed for the recorded score of position on the chain: one
    number for what is not known, how long the recorded functions were."""
    low, high = -4.0, 8.0
    for _ in range(60):
        power = (low + high) / 2
        above = weighted(table[FITTED], leaves**power) > recorded[FITTED]
        low, high = (power, high) if above else (low, power)
    return power


def weighted(column, weights):
    known = np.isfinite(column)
    return (column * weights)[known].sum() / weights[known].sum()


def show(language, table, files, leaves, power, recorded):
    weights = leaves.astype(float) ** power
    half = np.searchsorted(np.cumsum(np.sort(leaves) ** power), weights.sum() / 2)
    print(
        f"{language}, weighed by leaves to the power of {power:.2f}: {len(leaves)} functions of {len(set(files))} files, "
        f"median {np.sort(leaves)[half]} leaves"
    )
    print(f"{'':24} {'mean':>6}  {'functions':>13}  {'files':>13}  recorded  apart")
    for name, column in table.items():
        mean = weighted(column, weights)
        (low, high), (less, more) = interval(column, weights), interval(column, weights, files)
        apart = mean - recorded[name]
        print(
            f"{name:24} {mean:6.3f}  {low:5.3f} - {high:5.3f}  {less:5.3f} - {more:5.3f}  {recorded[name]:8.3f}  {apart:+.3f}"
            f"{'' if abs(apart) <= NEAR else ' *'}{' (fitted)' if power and name == FITTED else ''}"
        )


def by_size(language, table, leaves):
    print(f"{language}, 1/(1+|i-j|) by number of leaves: ast, chain, chain+flow")
    bounds = (8, 12, 20, 40, 80, 201)
    for low, high in zip(bounds, bounds[1:]):
        own = (leaves >= low) & (leaves < high)
        if own.any():
            means = (np.nanmean(table[f"{FITTED}{end}"][own]) for end in (" ast", "", " chain+flow"))
            print(f"  {low:3} - {high - 1:3}  {own.sum():4} functions ", *(f"{mean:.3f}" for mean in means))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="places", metavar="LANGUAGE=FOLDER", action="append", default=[])
    parser.add_argument("--count", type=int, default=1000, help="functions of each language")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--binary", help="a bertology to compare with")
    options = parser.parse_args()
    given = [place.partition("=")[::2] for place in options.places]
    for language in list(dict(given)) or list(ENDS):
        column = list(ENDS).index(language)
        own = [place for name, place in given if name == language]
        files = (file for place in own for file in below(place, language)) if own else sources(language)
        kept = functions(files, language, options.count, options.seed)
        if not kept:
            print(f"{language}: no sources on this machine\n")
            continue
        draws = np.random.default_rng(options.seed)
        table = {name: [] for name in RECORDED}
        for _, _, program in kept:
            for name, value in values(program, draws).items():
                table[name].append(value)
        table = {name: np.array(column) for name, column in table.items()}
        leaves = np.array([len(program.nodes) for _, _, program in kept])
        files = np.array([name for name, _, _ in kept])
        recorded = {name: of[column] for name, of in RECORDED.items()}
        show(language, table, files, leaves, 0, recorded)
        show(language, table, files, leaves, fitted(table, leaves.astype(float), recorded), recorded)
        by_size(language, table, leaves)
        if options.binary:
            compared, worst = ours(options.binary, kept, language)
            print(f"against the program: {compared} functions and graphs,", {name: f"{apart:.1e}" for name, apart in worst.items()})
        print()


if __name__ == "__main__":
    main()
