#!/usr/bin/env python3
"""Write the golden files of relations: what transformers' maps, plain loops and scikit-learn say of an embedded model.

Records are dependency arcs of assets/grammar/dev.conllu. Every measure is written down here in the plainest way: one
head, label, range and text at a time.

    make_relations_golden.py            write golden/studies/relations
    make_relations_golden.py --check    make them again and compare with the committed ones
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import sklearn
import torch
import transformers
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score

import attention_reference as reference
import treebank
from attention_models import Model

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "golden/studies/relations"
LABELS = ("det", "nsubj", "obj")
TEST, TRAIN = slice(0, 12), slice(12, 36)
TOLERANCE = 1e-5
SETTINGS = {
    "directed": dict(symmetric=False, apc=False, least=0.0, ranges={"all": (1, None)}),
    "touching": dict(symmetric=True, apc=True, least=0.1, ranges={"near": (1, 2), "far": (3, None)}),
}
FITS = (("directed", "l2", 1.0), ("touching", "l2", 10.0), ("touching", "l1", 5.0))


def records(sentences):
    """A word in five has arcs of half the weight, so that weights matter."""
    found = []
    for sentence in sentences:
        pairs = []
        for at, word in enumerate(sentence.words):
            label = word.relation.split(":")[0]
            if word.head and label in LABELS:
                pairs.append([at, word.head - 1, label] + ([0.5] if at % 5 == 4 else []))
        found.append(dict(words=list(sentence.forms), pairs=pairs))
    return found


def made(model, record, settings):
    """What shares are of, and what pairs are judged by: `[heads, units, units]` each."""
    passage = model.words(record["words"])
    words = reference.word_maps(model.maps(passage.ids), passage.units)
    plain = words[:, passage.words][:, :, passage.words]
    shared = plain if settings["least"] == 0 else (plain >= settings["least"]).astype(float)
    if settings["symmetric"]:
        plain, shared = (values + values.transpose(0, 2, 1) for values in (plain, shared))
    judged = plain
    if settings["apc"]:
        rows, columns = plain.sum(2, keepdims=True), plain.sum(1, keepdims=True)
        judged = plain - rows * columns / plain.sum((1, 2), keepdims=True)
    return shared, judged


def related(record, label, symmetric):
    weights = {}
    for start, end, of, *weight in record["pairs"]:
        if of == label:
            pair = (min(start, end), max(start, end)) if symmetric else (start, end)
            weights.setdefault(pair, (weight or [1.0])[0])
    return weights


def universe(units, bounds, symmetric):
    least, most = bounds
    pairs = [(i, j) for i in range(units) for j in range(units) if i < j or (not symmetric and i != j)]
    return [(i, j) for i, j in pairs if least <= abs(i - j) <= (most or units)]


def precision(values, pairs, weights, count):
    count = min(count, len(pairs))
    if count == 0:
        return None
    edge = sorted((values[pair] for pair in pairs), reverse=True)[count - 1]
    above = [pair for pair in pairs if values[pair] > edge]
    level = [pair for pair in pairs if values[pair] == edge]
    hits = sum(pair in weights for pair in above)
    return (hits + (count - len(above)) * np.mean([pair in weights for pair in level])) / count


def named(values, pairs, units, symmetric, above_zero):
    """Whom each unit names: by rows, by columns."""
    best = [[None] * units, [None] * units]
    top = [[0.0 if above_zero else -np.inf] * units, [0.0 if above_zero else -np.inf] * units]
    for i, j in pairs:
        for side, unit, other in ((0, i, j), (0 if symmetric else 1, j, i)):
            if values[i, j] > top[side][unit]:
                top[side][unit], best[side][unit] = values[i, j], other
    return best


def mean(values):
    values = [value for value in values if value is not None]
    return float(np.mean(values)) if values else None


def judge(values, units, pairs, weights, symmetric, above_zero):
    """What one map says of one label and range, or nothing where the label does not occur."""
    of_range = {pair: weight for pair, weight in weights.items() if pair in set(pairs)}
    if not of_range:
        return None
    best = named(values, pairs, units, symmetric, above_zero)
    unrelated = {}
    for i, j in pairs:
        if (i, j) not in weights:
            unrelated.setdefault(j - i, []).append((i, j))
    counts = (len(of_range), units, units // 2, units // 5)
    found = dict(precision=[precision(values, pairs, of_range, count) for count in counts])
    accuracy, matched = [], []
    for side in (0,) if symmetric else (0, 1):
        asked = {pair[side] for pair in of_range} | ({pair[1] for pair in of_range} if symmetric else set())

        def right(unit, other, side=side):
            if other is None:
                return False
            pair = (min(unit, other), max(unit, other)) if symmetric else ((unit, other), (other, unit))[side]
            return pair in weights

        accuracy.append([sum(right(unit, best[side][unit]) for unit in asked), len(asked)])
        shares = []
        for i, j in of_range:
            others = unrelated.get(j - i, [])
            if symmetric:
                names = [(best[0][a] == b) / 2 + (best[0][b] == a) / 2 for a, b in others]
            else:
                names = [best[side][(a, b)[side]] == (b, a)[side] for a, b in others]
            shares.append(np.mean(names) if names else None)
        matched.append(mean(shares))
    found["accuracy"], found["matched_accuracy"] = accuracy, matched
    aucs = []
    for i, j in of_range:
        others = [values[pair] for pair in unrelated.get(j - i, [])]
        aucs.append(np.mean([(values[i, j] > v) / 2 + (values[i, j] >= v) / 2 for v in others]) if others else None)
    found["matched_auc"] = mean(aucs)
    return found


def excess(shared, pairs, weights):
    total = 0.0
    for (i, j), weight in weights.items():
        if (i, j) in pairs:
            others = [shared[a, b] for a, b in pairs if b - a == j - i and (a, b) not in weights]
            if others:
                total += weight * (shared[i, j] - np.mean(others))
    return total


def together(found, sides):
    """The mean over texts of what texts have; counts are added."""
    found = [one for one in found if one is not None]
    return dict(
        precision=[mean([one["precision"][k] for one in found]) for k in range(4)],
        accuracy=[np.sum([[0, 0], *(one["accuracy"][side] for one in found)], 0).tolist() for side in range(sides)],
        matched_accuracy=[mean([one["matched_accuracy"][side] for one in found]) for side in range(sides)],
        matched_auc=mean([one["matched_auc"] for one in found]),
    )


def measures(texts, settings):
    symmetric, result = settings["symmetric"], {}
    for label in LABELS:
        for name, bounds in settings["ranges"].items():
            units = [judged.shape[1] for _, _, judged in texts]
            pairs = [universe(n, bounds, symmetric) for n in units]
            weights = [related(record, label, symmetric) for record, _, _ in texts]
            held = [{p: w for p, w in of.items() if p in set(all)} for of, all in zip(weights, pairs)]
            heads = []
            for head in range(texts[0][1].shape[0]):
                total = sum(sum(shared[head][p] for p in all) for (_, shared, _), all in zip(texts, pairs))
                along = sum(sum(w * shared[head][p] for p, w in of.items()) for (_, shared, _), of in zip(texts, held))
                more = sum(excess(shared[head], set(all), of) for (_, shared, _), all, of in zip(texts, pairs, weights))
                judged = [
                    judge(values[head], n, all, of, symmetric, not settings["apc"])
                    for (_, _, values), n, all, of in zip(texts, units, pairs, weights)
                ]
                shares = dict(share=along / total, excess=more / total) if total else dict(share=None, excess=None)
                heads.append(shares | together(judged, 1 if symmetric else 2))
            background = sum(sum(of.values()) for of in held) / sum(len(all) for all in pairs)
            result[f"{label} {name}"] = dict(background=background, heads=heads)
    return result


def features(judged, pairs, symmetric):
    """`[pairs, features]`, rounded to float32."""
    there = np.array([judged[:, i, j] for i, j in pairs])
    if not symmetric:
        there = np.concatenate([there, [judged[:, j, i] for i, j in pairs]], 1)
    return there.astype(np.float32).astype(np.float64)


def regression(train, test, settings, penalty, strength):
    symmetric, result = settings["symmetric"], {}
    for label in LABELS:
        x, y, weight = [], [], []
        for record, _, judged in train:
            pairs = [p for b in settings["ranges"].values() for p in universe(judged.shape[1], b, symmetric)]
            weights = related(record, label, symmetric)
            x.append(features(judged, pairs, symmetric))
            y += [pair in weights for pair in pairs]
            weight += [weights.get(pair, 1.0) for pair in pairs]
        solver = dict(l2="lbfgs", l1="saga")[penalty]
        fitted = LogisticRegression(
            l1_ratio=float(penalty == "l1"), C=strength, solver=solver, tol=1e-12, max_iter=1000000, random_state=0
        ).fit(np.concatenate(x), y, sample_weight=weight)
        of_range = {}
        for name, bounds in settings["ranges"].items():
            judged_texts, ap, auc = [], [], []
            for record, _, judged in test:
                pairs = universe(judged.shape[1], bounds, symmetric)
                weights = related(record, label, symmetric)
                held = [pair in weights for pair in pairs]
                if not any(held):
                    continue
                # In the order of our own sum, so that what is tied there is tied here: to a few digits.
                logits = fitted.intercept_[0] + features(judged, pairs, symmetric) @ fitted.coef_[0]
                values = np.full(judged.shape[1:], -np.inf)
                for pair, logit in zip(pairs, logits):
                    values[pair] = logit
                judged_texts.append(judge(values, judged.shape[1], pairs, weights, symmetric, False))
                if not all(held):
                    ap.append(average_precision_score(held, logits))
                    auc.append(roc_auc_score(held, logits))
            ranked = dict(average_precision=mean(ap), auc=mean(auc))
            of_range[name] = together(judged_texts, 1 if symmetric else 2) | ranked
        coefficients = dict(weights=fitted.coef_[0].tolist(), bias=float(fitted.intercept_[0]))
        result[label] = coefficients | dict(ranges=of_range)
    return result


def make():
    model = Model(ROOT / "assets/tiny-bert")
    sentences, _ = treebank.read(ROOT / "assets/grammar/dev.conllu")
    files = {name: records(sentences[part]) for name, part in (("test", TEST), ("train", TRAIN))}
    expected = dict(labels=LABELS, settings=SETTINGS, measures={}, regressions=[])
    made_texts = {}
    for name, settings in SETTINGS.items():
        made_texts[name] = {
            file: [(record, *made(model, record, settings)) for record in of] for file, of in files.items()
        }
        expected["measures"][name] = measures(made_texts[name]["test"], settings)
    for name, penalty, strength in FITS:
        texts = made_texts[name]
        found = regression(texts["train"], texts["test"], SETTINGS[name], penalty, strength)
        expected["regressions"].append(dict(settings=name, penalty=penalty, strength=strength, labels=found))
    expected["provenance"] = dict(
        torch=torch.__version__, transformers=transformers.__version__, sklearn=sklearn.__version__
    )
    return files, json.loads(json.dumps(expected))


def differences(new, old, path=""):
    if isinstance(new, dict) and isinstance(old, dict) and new.keys() == old.keys():
        return [d for key in new for d in differences(new[key], old[key], f"{path}.{key}")]
    if isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        return [d for at, (a, b) in enumerate(zip(new, old)) for d in differences(a, b, f"{path}[{at}]")]
    if isinstance(new, float) and isinstance(old, float):
        return [] if abs(new - old) <= TOLERANCE * max(1, abs(old)) else [f"{path}: {new} was {old}"]
    return [] if new == old else [f"{path}: {new} was {old}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    files, expected = make()
    if options.check:
        old = json.loads((OUT / "expected.json").read_text())
        expected.pop("provenance"), old.pop("provenance")
        found = differences(expected, old)
        print("\n".join(found[:20]) or "same")
        return 1 if found else 0
    OUT.mkdir(parents=True, exist_ok=True)
    for name, of in files.items():
        (OUT / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in of))
    (OUT / "expected.json").write_text(json.dumps(expected) + "\n")
    print({path.name: path.stat().st_size for path in OUT.iterdir()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
