#!/usr/bin/env python3
"""Compare runs of the attention analyses with transformers' maps and plain numpy (tools/golden/attention_reference.py).

    compare_attention.py MODEL --conllu FILE --syntax RUN --coref RUN
    compare_attention.py MODEL --text FILE --patterns RUN --cluster RUN       # a sequence a line
    compare_attention.py MODEL --conllu FILE --patterns RUN --cluster RUN     # the words of the treebank
    compare_attention.py MODEL --conllu FILE                                  # the reference alone: the best heads

MODEL is a checkpoint folder, RUN a folder that `bertology patterns|syntax|coref|cluster --output` wrote. Averages,
entropies and divergences must agree to 1e-5, counts must be equal but for predictions where the right and the best
wrong candidate differ by less than 1e-6 and a thousandth of the larger; these are counted and the first are named. Exit
status 1 on any FAIL.
"""

import argparse
import csv
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "golden"))
import attention_reference as reference  # noqa: E402
import treebank  # noqa: E402
from attention_models import Model  # noqa: E402

TOLERANCE = 1e-5


class Report:
    def __init__(self):
        self.failures = 0

    def line(self, name, passed, text):
        self.failures += not passed
        print(f"{'PASS' if passed else 'FAIL'}  {name:36} {text}", flush=True)

    def close(self, name, found, expected, tolerance=TOLERANCE):
        found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
        if found.shape != expected.shape:
            self.line(name, False, f"shape {found.shape}, expected {expected.shape}")
            return
        absent = np.isnan(found) != np.isnan(expected)
        largest = np.nanmax(np.abs(found - expected), initial=0.0)
        text = f"largest difference {largest:.2e} <= {tolerance:g}, {found.size} values"
        if absent.any():
            text += f"; {int(absent.sum())} values on one side only"
        self.line(name, largest <= tolerance and not absent.any(), text)

    def counts(self, name, found, expected, near):
        """Counts that may differ by as many predictions as are nearly tied."""
        wrong = np.abs(found - expected)
        self.line(
            name, bool((wrong <= near).all()),
            f"{int((wrong > 0).sum())} of {wrong.size} counts differ, {int((wrong > near).sum())} by more than the "
            f"near-ties; {int(near.sum())} near-ties",
        )  # fmt: skip


class Study:
    """Every reference over one corpus, one sequence at a time."""

    def __init__(self, model, wanted):
        self.model, self.wanted = model, wanted
        heads, causal = model.layers * model.heads, model.is_causal
        self.patterns = {mode: reference.Averages() for mode in ("paper", "exact")}
        self.entropy = {0.0: reference.EntropyAverages(), reference.PAPER_ENTROPY_SMOOTHING: reference.EntropyAverages()}
        self.dependencies = reference.Dependencies(heads, causal)
        self.coreference = reference.Coreference(heads)
        self.sums, self.roots, self.tokens = np.zeros((heads, heads)), np.zeros((heads, heads)), 0
        self.skipped, self.sequences, self.empty_words = 0, 0, 0

    def maps(self, passage, longest):
        if not 0 < len(passage.ids) <= longest:
            self.skipped += 1
            return None
        return self.model.maps(passage.ids)

    def averages(self, passage, maps):
        causal = self.model.is_causal
        self.sequences += 1
        self.tokens += len(passage.ids)
        if "patterns" in self.wanted:
            classes = self.model.classes(passage.ids)
            for mode, averages in self.patterns.items():
                averages.add(*reference.surface_patterns(maps, classes, mode, causal))
            for smoothing, averages in self.entropy.items():
                averages.add(reference.entropy_statistics(maps, smoothing, causal), len(passage.ids))
        if "cluster" in self.wanted:
            total, roots = reference.distances(maps, causal=causal)
            self.sums += total
            self.roots += roots


def study_of(model, options, wanted):
    study = Study(model, wanted)
    longest = min(options.max_length or model.longest, model.longest)
    started = time.monotonic()

    def progress(done, count):
        if done % 200 == 0 or done == count:
            print(f"  {done} of {count} sequences, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)

    if options.text:
        lines = options.text.read_text(encoding="utf-8").split("\n")
        passages = [model.text(line) for line in lines[: options.limit] if line.strip()]
        for done, passage in enumerate(passages, 1):
            maps = study.maps(passage, longest)
            if maps is not None:
                study.averages(passage, maps)
            progress(done, len(passages))
        return study
    sentences, layout = treebank.read(options.conllu)
    sentences = sentences[: options.limit]
    if wanted - {"coref"}:
        for done, sentence in enumerate(sentences, 1):
            passage = model.words(sentence.forms)
            maps = study.maps(passage, longest)
            if maps is not None:
                study.averages(passage, maps)
                if "syntax" in wanted:
                    beta = reference.word_maps(maps, passage.units, options.rows)
                    study.dependencies.add(sentence, beta, passage.words, passage.empty)
            progress(done, len(sentences))
    if "coref" in wanted:
        texts = treebank.documents(sentences)
        for done, document in enumerate(texts, 1):
            passage = model.words([form for sentence in document for form in sentence.forms])
            maps = study.maps(passage, longest)
            if maps is not None:
                beta = reference.word_maps(maps, passage.units, options.rows)
                mentions = treebank.mentions(document, layout)
                study.coreference.add(mentions, beta, passage.words, passage.empty)
            progress(done, len(texts))
    return study


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def values_of(run, key):
    """Everything that run.json says under a name, at any depth."""

    def search(value):
        if isinstance(value, dict):
            for name, inner in value.items():
                if name == key:
                    yield inner
                yield from search(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from search(inner)

    return list(search(json.loads((run / "run.json").read_text(encoding="utf-8"))))


def head_of(model, row):
    return int(row["layer"]) * model.heads + int(row["head"])


def compare_patterns(report, study, run):
    model = study.model
    mode = values_of(run, "denominators")[-1]
    smoothing = reference.PAPER_ENTROPY_SMOOTHING if values_of(run, "entropy_smoothing")[-1] else 0.0
    expected = {}
    result = study.patterns[mode].result()
    for at, key in enumerate(reference.CAUSAL_KEYS if model.is_causal else reference.KEYS):
        expected[key] = {column: result[column][at] for column in ("mean", "standard_error", "micro")}
    entropy = study.entropy[smoothing].result()
    one = "entropy_last" if model.is_causal else "entropy_first"
    for key, name in (("entropy", "all"), (one, "one"), ("entropy_normalized", "normalised")):
        expected[key] = {column: entropy.get(f"{name}.{column}") for column in ("mean", "standard_error", "micro")}
    rows = rows_of(run / "attention_patterns.csv")
    unknown = sorted({row["key"] for row in rows} - expected.keys())
    report.line(f"patterns, {mode}", not unknown, f"{len(expected)} keys, unknown: {unknown}")
    for key, columns in expected.items():
        for column, values in columns.items():
            if values is None:
                continue
            found = np.full(model.layers * model.heads, np.nan)
            for row in rows:
                if row["key"] == key:
                    found[head_of(model, row)] = float(row[column] or "nan")
            report.close(f"{key} {column}", found, values)
    report.close("attn_entropy.npy", np.load(run / "attn_entropy.npy").reshape(-1), entropy["all.mean"])


def compare_syntax(report, study, run):
    model, table = study.model, study.dependencies
    result, relations = table.result(), table.relations()
    axes = json.loads((run / "relations.json").read_text(encoding="utf-8"))
    names = [row["relation"] for row in axes["relations"]]
    report.line("syntax relations", sorted(names) == sorted(relations), f"{len(names)}, expected {len(relations)}")
    shared = [name for name in relations if name in names]
    theirs, ours = [names.index(name) for name in shared], [relations.index(name) for name in shared]
    zeros = np.zeros(len(shared), np.int64)
    totals = np.array([axes["relations"][i]["total"] for i in theirs])
    report.counts("syntax total", totals, result["total"][ours], zeros)
    # [direction, layer, head, relation]
    correct = np.load(run / "syntax_heads.npy")
    correct = correct.reshape(len(axes["directions"]), model.layers * model.heads, len(names))
    for at, direction in enumerate(axes["directions"]):
        d = reference.DIRECTIONS.index(direction)
        found = correct[at][:, theirs].T
        report.counts(f"syntax {direction} correct", found, result["correct"][ours, d], result["near"][ours, d])
        reachable = np.array([axes["relations"][i]["reachable"][at] for i in theirs])
        report.counts(f"syntax {direction} reachable", reachable, result["reachable"][ours, d], zeros)
        abstained = np.array(axes["abstained"][at])
        report.counts(f"syntax {direction} abstained", abstained, result["abstained"][d], np.zeros_like(abstained))
    for at, offset in enumerate(axes["offsets"]):
        if offset in reference.OFFSETS:
            found = np.array([axes["relations"][i]["baseline_correct"][at] for i in theirs])
            expected = result["baseline"][ours, reference.OFFSETS.index(offset)]
            report.counts(f"syntax offset {offset:+}", found, expected, zeros)
    for name, direction, head, word in table.near[:10]:
        layer, head = divmod(head, model.heads)
        print(f"      near-tie: {name}, word {word}, {reference.DIRECTIONS[direction]}, layer {layer} head {head}")


def compare_coref(report, study, run):
    model, table = study.model, study.coreference
    found, totals = np.zeros_like(table.correct), np.zeros_like(table.total)
    for row in rows_of(run / "coref.csv"):
        v, c = reference.CANDIDATES.index(row["candidates"]), reference.CATEGORIES.index(row["category"])
        found[v, c, head_of(model, row)], totals[c] = int(row["correct"]), int(row["total"])
    report.counts("coref total", totals, table.total, np.zeros_like(totals))
    report.counts("coref correct", found, table.correct, table.near)
    baselines = np.zeros_like(table.baselines)
    for row in rows_of(run / "coref_baselines.csv"):
        b = reference.BASELINES.index(row["baseline"].replace("-", " "))
        baselines[b, reference.CATEGORIES.index(row["category"])] = int(row["correct"])
    report.counts("coref baselines", baselines, table.baselines, np.zeros_like(baselines))


def compare_cluster(report, study, run):
    found = np.load(run / "head_distances.npy").astype(np.float64)
    report.close("distances, mean over tokens", found / study.tokens, study.sums / study.tokens)
    report.close("distances, of the largest", found / study.sums.max(), study.sums / study.sums.max())
    tokens = values_of(run, "tokens")
    report.line("tokens", study.tokens in tokens, f"{tokens}, expected {study.tokens}")


COMPARE = dict(patterns=compare_patterns, syntax=compare_syntax, coref=compare_coref, cluster=compare_cluster)


def best_heads(study):
    """The reference's own table: the best head of each relation with its best offset of -3..2."""
    result = study.dependencies.result()
    for at, relation in enumerate(study.dependencies.relations()):
        total = result["total"][at]
        direction, head = np.unravel_index(result["correct"][at, :2].argmax(), result["correct"][at, :2].shape)
        considered = [reference.OFFSETS.index(offset) for offset in sorted(range(-3, 3), key=abs)]
        offset = max(considered, key=lambda i: result["baseline"][at, i])
        print(
            f"{relation:20} {total:6}  {head // study.model.heads}:{head % study.model.heads} "
            f"{reference.DIRECTIONS[direction]} {result['correct'][at, direction, head]:6}   "
            f"offset {reference.OFFSETS[offset]:+} {result['baseline'][at, offset]:6}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="checkpoint folder")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--conllu", type=Path, help="a treebank: its words joined by single spaces")
    source.add_argument("--text", type=Path, help="a text, a sequence a line")
    for name in COMPARE:
        parser.add_argument(f"--{name}", type=Path, metavar="RUN")
    parser.add_argument("--rows", choices=reference.ROW_MODES, default="mean", help="of a word's tokens")
    parser.add_argument("--max-length", type=int, help="longer sequences are left out (default: what the model allows)")
    parser.add_argument("--limit", type=int, help="the first sentences or lines only")
    options = parser.parse_args()
    runs = {name: getattr(options, name) for name in COMPARE if getattr(options, name)}
    if options.text and {"syntax", "coref"} & runs.keys():
        parser.error("--syntax and --coref need a treebank")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    model = Model(options.model)
    study = study_of(model, options, set(runs) or {"syntax"})
    print(
        f"{study.sequences} sequences, {study.tokens} tokens, {study.skipped} left out, "
        f"{study.dependencies.empty_words} words without tokens"
    )
    report = Report()
    for name, run in runs.items():
        COMPARE[name](report, study, run)
    if not runs:
        best_heads(study)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
