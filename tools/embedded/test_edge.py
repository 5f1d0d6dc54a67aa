"""Tests of the records for edge probing: python -m unittest discover -s tools/embedded"""

from __future__ import annotations

import json
import random
import tempfile
import unittest
from collections import Counter, defaultdict
from pathlib import Path

import edge
import grammar
from sentence import finish

ASSETS = Path(__file__).parents[2] / "assets/grammar/edge"


def read(name: str) -> list[dict]:
    return [json.loads(line) for line in (ASSETS / name).read_text(encoding="utf-8").splitlines()]


def trees(count: int, seed: int):
    rng = random.Random(seed)
    return (grammar.generate(rng) for _ in range(count))


class Assets(unittest.TestCase):
    def test_they_are_what_the_script_writes(self):
        with tempfile.TemporaryDirectory() as folder:
            edge.write(Path(folder), 240, 80, 20)
            made = {p.name: p.read_bytes() for p in Path(folder).iterdir()}
        self.assertEqual(made, {p.name: p.read_bytes() for p in ASSETS.iterdir()})
        self.assertLess(sum(map(len, made.values())), 300_000)

    def test_no_sentence_is_in_both_files(self):
        for task in edge.TASKS:
            train, dev = ([r["text"] for r in read(f"{task}-{name}.jsonl")] for name in ("train", "dev"))
            self.assertEqual(len(set(train)) + len(set(dev)), len(train) + len(dev))
            self.assertFalse(set(train) & set(dev))

    def test_words_of_the_spans_tell_nothing(self):
        for task in edge.TASKS:
            for name in ("train", "dev"):
                labels = defaultdict(Counter)
                for record in read(f"{task}-{name}.jsonl"):
                    words = record["text"].lower().split()
                    for target in record["targets"]:
                        key = [tuple(words[slice(*target[span])]) for span in ("span1", "span2") if span in target]
                        labels[tuple(key)][target["label"]] += 1
                for key, counts in labels.items():
                    self.assertEqual(len(counts), 2, key)
                    self.assertEqual(len(set(counts.values())), 1, key)

    def test_the_nearest_noun_and_the_first_noun_are_right_half_the_time(self):
        nouns = {n.singular: "Sing" for n in edge.lex.PERSONS} | {n.plural: "Plur" for n in edge.lex.PERSONS}
        right = Counter()
        records = read("agreement-dev.jsonl")
        for record in records:
            words, (target,) = record["text"].split(), record["targets"]
            before = [nouns[w] for w in words[: target["span1"][0]] if w in nouns]
            right["nearest"] += before[-1] == target["label"]
        self.assertEqual(right["nearest"] * 2, len(records))
        records = read("coreference-dev.jsonl")
        right["first"] = sum(record["targets"][0]["label"] == "1" for record in records)
        self.assertEqual(right["first"] * 2, len(records))


class Sites(unittest.TestCase):
    def test_a_verb_has_the_number_of_its_subject(self):
        found = 0
        for tree in trees(6000, 1):
            for site in list(edge.agreement_sites(tree)):
                tokens = finish(tree).tokens
                text = " ".join(t.form for t in tokens)
                group = edge.agreement(tree, site)
                self.assertEqual(len({r["text"] for r in group}), 4)
                self.assertEqual(Counter(r["targets"][0]["label"] for r in group), {"Sing": 2, "Plur": 2})
                # The sentence as the grammar made it, by its annotation alone.
                (record,) = (r for r in group if r["text"] == text)
                verb = record["targets"][0]["span1"][0]
                clause = verb + 1 if tokens[verb].upos == "VERB" else tokens[verb].head
                (subject,) = (t for t in tokens if t.head == clause and t.deprel.startswith("nsubj"))
                self.assertIn(f"Number={record['targets'][0]['label']}", subject.feats)
                self.assertNotIn("Number", tokens[verb].feats if tokens[verb].lemma != "do" else "")
                found += 1
                break
        self.assertGreater(found, 10)

    def test_a_pronoun_means_the_noun_of_its_chain(self):
        found = 0
        for tree in trees(3000, 2):
            for site in list(edge.coreference_sites(tree)):
                record = finish(tree)
                group = edge.coreference(tree, site)
                chains = {m.head: m.entity for m in record.mentions}
                self.assertEqual(group[0]["text"], " ".join(t.form for t in record.tokens))
                for target in group[0]["targets"]:
                    same = chains[target["span1"][0]] == chains[target["span2"][0]]
                    self.assertEqual(target["label"], "1" if same else "0")
                # The same words at other places.
                self.assertEqual(*(Counter(r["text"].lower().split()) for r in group))
                found += 1
                break
        self.assertGreater(found, 10)


class Known(unittest.TestCase):
    """By brute force, from other sentences and with the forms themselves: what is learnt from some sentences is right on
    others less often than the best rule is, and on its own more often."""

    @classmethod
    def setUpClass(cls):
        cls.known = json.loads((ASSETS / "known.json").read_text(encoding="utf-8"))["words"]
        cls.halves = [{"pos": [], "dependencies": []} for _ in range(2)]
        for at, tree in enumerate(trees(16000, 3)):
            tokens = finish(tree).tokens
            for token in tokens:
                head = tokens[token.head - 1] if token.head else token
                cls.halves[at % 2]["pos"].append(((token.form,), token.xpos))
                cls.halves[at % 2]["dependencies"].append(((token.form, head.form), token.deprel))

    def rules(self, task: str, key):
        """(key, label) of the second half, and how often each half has them."""
        pairs = [[(tuple(map(key, forms)), label) for forms, label in half[task]] for half in self.halves]
        tables = []
        for half in pairs:
            tables.append(defaultdict(Counter))
            for forms, label in half:
                tables[-1][forms][label] += 1
        return pairs[1], tables

    def test_words(self):
        for kind, case in (("lower case", str.lower), ("as written", str)):
            for task, apart in (("pos", 0.01), ("dependencies", 0.2)):
                pairs, (first, second) = self.rules(task, case)
                rule = {key: counts.most_common(1)[0][0] for key, counts in first.items()}
                others = sum(rule.get(key) == label for key, label in pairs) / len(pairs)
                own = edge.best(second)
                self.assertLess(own - others, apart)
                # Two thousandths are two standard errors of this many words.
                self.assertLess(others - 0.002, self.known[kind][task])
                self.assertGreater(own + 0.002, self.known[kind][task])

    def test_words_of_a_class_are_interchangeable(self):
        """Where pairs of forms are frequent enough to learn from, nothing is learnt that their classes do not tell."""
        classes = edge.interchangeable()
        pairs, (exact, _) = self.rules("dependencies", str.lower)
        _, (coarse, _) = self.rules("dependencies", lambda form: classes.get(form.lower(), form.lower()))
        of_forms, of_classes, number = 0, 0, 0
        for key, label in pairs:
            if sum(exact.get(key, Counter()).values()) < 40:
                continue
            number += 1
            of_forms += exact[key].most_common(1)[0][0] == label
            of_classes += coarse[tuple(classes.get(form, form) for form in key)].most_common(1)[0][0] == label
        self.assertGreater(number, 15000)
        self.assertLess(abs(of_forms - of_classes) / number, 0.003)


if __name__ == "__main__":
    unittest.main()
