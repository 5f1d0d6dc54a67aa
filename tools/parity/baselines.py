#!/usr/bin/env python3
"""Fixed-offset baselines of every relation of a treebank, and planted maps, by the reference in tools/golden.

    baselines.py en_ewt-ud-dev.conllu              # a table: relation, words, best offset of -3..2, right
    baselines.py en_ewt-ud-dev.conllu --ewt dev    # and the published numbers of UD English EWT 2.16

An offset guesses that the head of word j is word j + offset, held inside 0 (the root) and the last word.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "golden"))
import attention_reference as reference  # noqa: E402
import treebank  # noqa: E402

# Sentences, words, punct, multiword tokens, empty nodes, sentences of one word, words of the longest.
SIZES = dict(dev=(2001, 25147, 3061, 359, 4, 100, 75), test=(2077, 25094, 3065, 354, 2, 151, 81))
# relation: (offset, right, words)
BASELINES = dict(
    dev={
        "all": (1, 7315, 25147), "all without punct": (1, 6932, 22086), "case": (1, 760, 2015),
        "nsubj": (1, 715, 1958), "det": (1, 1083, 1817), "advmod": (1, 619, 1353), "amod": (1, 990, 1326),
        "obj": (-2, 433, 1211), "obl": (-2, 190, 1001), "conj": (-2, 244, 916), "compound": (1, 741, 898),
        "nmod": (-2, 282, 813), "cc": (1, 351, 786), "mark": (1, 396, 757), "aux": (1, 361, 749),
        "cop": (1, 221, 627), "nmod:poss": (1, 227, 391), "xcomp": (-2, 214, 381), "flat": (-1, 213, 281),
        "acl:relcl": (-2, 63, 219), "ccomp": (-3, 50, 200), "aux:pass": (1, 134, 162), "nummod": (1, 109, 159),
        "nsubj:pass": (2, 65, 154), "compound:prt": (-1, 55, 74),
    },
    test={"all": (1, 7246, 25094), "all without punct": (1, 6804, 22029)},
)  # fmt: skip
PLANTED = dict(dev={"all": (23146, 25147), "all without punct": (20085, 22086)})


class Report:
    def __init__(self):
        self.failures = 0

    def equal(self, name, found, expected):
        self.failures += found != expected
        verdict, rest = ("PASS", "") if found == expected else ("FAIL", f", expected {expected}")
        print(f"{verdict}  {name:40} {found}{rest}")


def planted(sentence, kind):
    """[CLS] words [SEP]: every word attends to its head (`gold`), is attended to by it (`turned`), attends to the next
    word (`next`); who has none attends to [SEP]."""
    gold = reference.gold_heads(sentence)
    targets = [*range(1, len(gold)), -1] if kind == "next" else gold
    beta = np.zeros((len(gold) + 2, len(gold) + 2))
    for word, head in enumerate(targets):
        beta[word + 1, head + 1 if head >= 0 else -1] = 1
    return (beta.T if kind == "turned" else beta)[None]


def table_of(sentences, kind=None):
    table = reference.Dependencies(1)
    for sentence in sentences:
        count = len(sentence.words)
        beta = None if kind is None else planted(sentence, kind)
        table.add(sentence, beta, list(range(1, count + 1)), [False] * count)
    return table.tables


def best_offset(row):
    """The best of -3..2, of equals the nearest."""
    considered = [reference.OFFSETS.index(offset) for offset in sorted(range(-3, 3), key=abs)]
    at = max(considered, key=lambda i: row["baseline"][i])
    return reference.OFFSETS[at], int(row["baseline"][at])


def compare(report, sentences, rows, split):
    words = [word for sentence in sentences for word in sentence.words]
    sizes = (
        len(sentences), len(words), sum(word.relation == "punct" for word in words),
        sum(s.multiword_tokens for s in sentences), sum(s.empty_nodes for s in sentences),
        sum(len(s.words) == 1 for s in sentences), max(len(s.words) for s in sentences),
    )  # fmt: skip
    report.equal("sizes", sizes, SIZES[split])
    for relation, (offset, right, total) in BASELINES[split].items():
        row = rows[relation]
        report.equal(f"baseline {relation}", (*best_offset(row), int(row["total"])), (offset, right, total))
    gold, turned, following = (table_of(sentences, kind) for kind in ("gold", "turned", "next"))
    for d, (name, found) in enumerate((("dep->head", gold), ("head<-dep", turned))):
        wrong = [
            relation for relation, row in found.items()
            if relation != "root" and not relation.startswith("all") and row["correct"][d, 0] != row["total"]
        ]  # fmt: skip
        report.equal(f"planted gold, {name}, wrong", wrong, [])
        for relation, expected in PLANTED.get(split, {}).items():
            row = found[relation]
            report.equal(f"planted gold, {name}, {relation}", (int(row["correct"][d, 0]), int(row["total"])), expected)
    plus_one = reference.OFFSETS.index(1)
    wrong = [
        relation for relation, row in following.items()
        if relation != "root" and not relation.startswith("all") and row["correct"][0, 0] != row["baseline"][plus_one]
    ]  # fmt: skip
    report.equal("planted next word = offset +1, wrong", wrong, [])
    if split != "dev":
        return
    possessors = [s.words[i + 1].form for s in sentences for i in reference.possessive_clitics(s)]
    report.equal("possessors before a clitic", len(possessors), 67)
    report.equal("forms of clitics", sorted(set(possessors)), sorted({"'s", "s", "’s", "'"}))
    pairs = [pair for sentence in sentences for pair in reference.prepositional_pairs(sentence)]
    report.equal("prepositional pairs", len(pairs), 1810)
    for name, expected, right in (
        ("prep -1", 64.5, sum(head == preposition - 1 for _, head, preposition in pairs)),
        ("pobj -1", 39.5, sum(preposition == noun - 1 for noun, _, preposition in pairs)),
        ("pobj -2", 36.0, sum(preposition == noun - 2 for noun, _, preposition in pairs)),
    ):
        report.equal(f"{name}, per cent", round(100 * right / len(pairs), 1), expected)
    for relation, expected in (("det", 100.0), ("obj", 4.6)):
        places = (pair for sentence in sentences for pair in enumerate(sentence.words, 1))
        right = sum(word.relation == relation and word.head > at for at, word in places)
        share = round(100 * right / rows[relation]["total"], 1)
        report.equal(f"{relation}, head on the right, per cent", share, expected)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("treebank", type=Path)
    parser.add_argument("--ewt", choices=sorted(SIZES), help="compare with the published numbers of this split")
    options = parser.parse_args()
    sentences, _ = treebank.read(options.treebank)
    rows = table_of(sentences)
    report = Report()
    if options.ewt:
        compare(report, sentences, rows, options.ewt)
        return 1 if report.failures else 0
    for relation, row in sorted(rows.items(), key=lambda item: -item[1]["total"]):
        offset, right = best_offset(row)
        print(f"{relation:20} {row['total']:6} {offset:+} {right:6} {100 * right / row['total']:5.1f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
