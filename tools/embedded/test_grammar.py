"""Tests of the grammar: python -m unittest discover -s tools/embedded"""

from __future__ import annotations

import random
import tempfile
import unittest
from collections import Counter
from pathlib import Path

import grammar
import lexicon as lex
from corpus import split_long, wordpieces
from grammar import Builder, ambiguous_pronoun
from sentence import GRAMMATICAL, Mention, Record, finish, read_conllu, write_conllu
from violations import VIOLATIONS

SAMPLE = 400


def words(record: Record) -> list[str]:
    """Forms without the capital of the first word."""
    out = [t.form for t in record.tokens]
    return [out[0] if record.tokens[0].upos == "PROPN" else out[0].lower()] + out[1:]


def broken(name: str, count: int, seed: int = 1):
    """(source, broken) records of one violation, all sites tried over the run."""
    rng = random.Random(f"{name}-{seed}")
    while count:
        tree = grammar.generate(rng)
        sites = VIOLATIONS[name].sites(tree)
        if sites:
            source = finish(tree)
            VIOLATIONS[name].apply(tree, rng.choice(sites), rng)
            grammar.fix_articles(tree.words)
            yield source, finish(tree)
            count -= 1


def change(before: list[str], after: list[str]) -> str:
    """The one edit between two word sequences, or what is wrong with it."""
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    if not old and not new:
        return "none"
    if not old:
        return "insert"
    if not new:
        return "delete"
    if len(old) == len(new) == 1:
        return "replace"
    if len(old) == 2 and old == new[::-1]:
        return "swap"
    return f"{old} -> {new}"


def well_formed(case: unittest.TestCase, record: Record) -> None:
    n = len(record.tokens)
    heads = [t.head for t in record.tokens]
    case.assertEqual(heads.count(0), 1, record.text)
    for i, t in enumerate(record.tokens):
        case.assertTrue(0 <= t.head <= n and t.head != i + 1, record.text)
        case.assertEqual(t.head == 0, t.deprel == "root", record.text)
        case.assertNotEqual(t.deprel, "dep", record.text)
        seen, at = set(), i + 1
        while at:
            case.assertNotIn(at, seen, f"cycle in {record.text}")
            seen.add(at)
            at = heads[at - 1]
    for m in record.mentions:
        case.assertTrue(0 <= m.start <= m.head < m.end <= n, record.text)
    for a in record.mentions:
        for b in record.mentions:
            case.assertFalse(a.start < b.start < a.end < b.end, f"crossing mentions in {record.text}")


class Trees(unittest.TestCase):
    def test_every_tree_has_one_root_and_no_cycle(self):
        for name in VIOLATIONS:
            for source, after in broken(name, 25):
                well_formed(self, source)
                well_formed(self, after)

    def test_acceptable_trees_are_projective(self):
        rng = random.Random(3)
        for _ in range(SAMPLE):
            record = finish(grammar.generate(rng))
            arcs = [tuple(sorted((i + 1, t.head))) for i, t in enumerate(record.tokens) if t.head]
            for a, b in arcs:
                for c, d in arcs:
                    self.assertFalse(a < c < b < d, record.text)

    def test_a_known_sentence(self):
        # Annotated by hand after the UD guidelines: clausal complement, passive, agent.
        rng = random.Random(0)
        while True:
            record = finish(grammar.generate(rng))
            shape = [t.deprel for t in record.tokens]
            if shape == ["det", "nsubj:pass", "aux:pass", "root", "case", "det", "obl:agent", "punct"]:
                break
        self.assertEqual([t.head for t in record.tokens], [2, 4, 4, 0, 7, 7, 4, 4])
        self.assertEqual([t.upos for t in record.tokens], ["DET", "NOUN", "AUX", "VERB", "ADP", "DET", "NOUN", "PUNCT"])

    def test_attached_function_words_have_no_dependents(self):
        rng = random.Random(4)
        for _ in range(SAMPLE):
            record = finish(grammar.generate(rng))
            for t in record.tokens:
                if t.head:
                    self.assertNotIn(record.tokens[t.head - 1].upos, ("DET", "ADP", "AUX", "PART", "PUNCT", "SCONJ", "CCONJ"))

    def test_subject_and_verb_agree(self):
        rng = random.Random(5)
        checked = 0
        for _ in range(SAMPLE):
            record = finish(grammar.generate(rng))
            for i, t in enumerate(record.tokens):
                if t.deprel not in ("nsubj", "nsubj:pass") or "PronType=Rel" in t.feats:
                    continue
                plural = "Number=Plur" in t.feats or any(o.head == i + 1 and o.deprel == "conj" for o in record.tokens)
                clause = [record.tokens[t.head - 1]] + [o for o in record.tokens if o.head == t.head and o.upos == "AUX"]
                for v in clause:
                    if v.upos != "ADJ" and "VerbForm=Fin" in v.feats and "Number=" in v.feats:
                        self.assertEqual("Number=Plur" in v.feats, plural, record.text)
                        checked += 1
        self.assertGreater(checked, SAMPLE)

    def test_no_sentence_is_too_long(self):
        rng = random.Random(6)
        self.assertLessEqual(max(len(grammar.generate(rng).words) for _ in range(SAMPLE)), grammar.MAX_TOKENS)


class Coreference(unittest.TestCase):
    def test_reflexives_corefer_with_their_subject(self):
        rng = random.Random(7)
        found = 0
        for _ in range(SAMPLE):
            tree = grammar.generate(rng)
            for m in tree.mentions:
                if m.pronoun == "reflexive":
                    self.assertEqual(m.entity, m.head.subject.entity)
                    found += 1
        self.assertGreater(found, 20)

    def test_pronouns_have_one_reading(self):
        # The check itself must see an ambiguity: "the boy near the king says that he sleeps".
        rng = random.Random(8)
        self.assertTrue(any(ambiguous_pronoun(Builder(rng).sentence()) for _ in range(SAMPLE)))
        self.assertFalse(any(ambiguous_pronoun(grammar.generate(rng)) for _ in range(SAMPLE)))

    def test_pronouns_agree_with_their_antecedents(self):
        rng = random.Random(9)
        chains = 0
        for _ in range(SAMPLE):
            tree = grammar.generate(rng)
            for m in tree.mentions:
                for o in tree.mentions:
                    if m is not o and m.entity == o.entity:
                        self.assertEqual((m.number, m.gender), (o.number, o.gender))
                        chains += 1
        self.assertGreater(chains, 50)


class Violations(unittest.TestCase):
    def test_each_makes_exactly_its_change(self):
        for name, v in VIOLATIONS.items():
            for source, after in broken(name, 60):
                self.assertIn(change(words(source), words(after)), v.change.split(" or "), f"{name}: {source.text} | {after.text}")

    def test_replacements_keep_the_kind_of_word(self):
        for name in ("agreement", "agreement_attractor", "agreement_relative", "missing_participle", "verb_form",
                     "reflexive_number", "reflexive_gender", "reflexive_attractor"):
            for source, after in broken(name, 40):
                changed = [(a, b) for a, b in zip(source.tokens, after.tokens) if a.form.lower() != b.form.lower()]
                self.assertEqual(len(changed), 1, f"{name}: {after.text}")
                a, b = changed[0]
                self.assertEqual((a.upos, a.head, a.deprel), (b.upos, b.head, b.deprel))
                if not name.startswith("reflexive"):
                    self.assertEqual(a.lemma, b.lemma)
                if name.startswith("agreement"):
                    numbers = {"Number=Sing" in t.feats for t in (a, b)}
                    self.assertEqual(numbers, {True, False})

    def test_attractors_stand_between(self):
        for source, after in broken("agreement_attractor", 60):
            i = next(i for i, (a, b) in enumerate(zip(source.tokens, after.tokens)) if a.form.lower() != b.form.lower())
            number = after.tokens[i].feats.split("Number=")[1][:4]
            before = [t for t in after.tokens[:i] if t.upos in ("NOUN", "PROPN")]
            self.assertTrue(any(f"Number={number}" in t.feats for t in before), after.text)

    def test_reflexive_of_open_gender_is_never_broken(self):
        for name in ("reflexive_number", "reflexive_gender"):
            for source, after in broken(name, 60):
                i = next(i for i, (a, b) in enumerate(zip(source.tokens, after.tokens)) if a.form != b.form)
                subject = source.tokens[i - 1]
                self.assertIn(source.tokens[i].form, ("himself", "herself", "themselves"), subject.form)
                self.assertNotEqual(source.tokens[i].form, after.tokens[i].form)


class Corpora(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.train, cls.dev, cls.texts = grammar.splits(1, 300, 200, 100)

    def test_half_is_broken_and_every_violation_occurs(self):
        for records in (self.train, self.dev):
            self.assertEqual(sum(r.label for r in records) * 2, len(records))
        counts = Counter(r.violation for r in self.train)
        self.assertEqual(set(counts), set(VIOLATIONS) | {GRAMMATICAL})

    def test_splits_share_no_text_and_no_source(self):
        def texts(records):
            return {r.text for r in records} | {r.source for r in records if r.source}

        self.assertFalse(texts(self.train) & texts(self.dev))
        self.assertFalse(set(self.texts) & texts(self.dev))
        self.assertEqual(len({r.text for r in self.train}), len(self.train))

    def test_the_seed_decides_and_dev_ignores_other_sizes(self):
        train, dev, texts = grammar.splits(1, 20, 200, 5)
        self.assertEqual(dev, self.dev)
        self.assertNotEqual(grammar.splits(2, 0, 20)[1], grammar.splits(1, 0, 20)[1])
        self.assertEqual(grammar.splits(1, 20, 200, 5), (train, dev, texts))

    def test_tsv_has_four_columns(self):
        for r in self.dev:
            source, label, mark, text = r.tsv().rstrip("\n").split("\t")
            self.assertEqual((label, mark), ("1", "") if source == GRAMMATICAL else ("0", "*"))
            self.assertEqual(text, r.text)
            self.assertTrue(text[0].isupper() and text.endswith("."))

    def test_the_plain_file_has_the_acceptable_sentences_in_order(self):
        with tempfile.TemporaryDirectory() as folder:
            grammar.write_corpora(Path(folder), self.train, self.dev)
            rows = (Path(folder) / "CoLA/dev.tsv").read_text(encoding="utf-8").splitlines()
            plain = (Path(folder) / "dev.txt").read_text(encoding="utf-8").splitlines()
        self.assertEqual(plain, [row.split("\t")[3] for row in rows if row.split("\t")[1] == "1"])
        self.assertGreater(len(plain), 0)

    def test_conllu_round_trip(self):
        text = "".join(write_conllu(self.dev, "dev"))
        self.assertEqual(read_conllu(text), self.dev)
        self.assertEqual("".join(write_conllu(read_conllu(text), "dev")), text)

    def test_conllu_of_nested_mentions(self):
        record = Record(self.dev[0].tokens[:1] * 3, [Mention(1, "person", 0, 3, 2), Mention(2, "person", 0, 1, 0), Mention(1, "person", 2, 3, 2)])
        text = "".join(write_conllu([record], "x"))
        self.assertIn("Entity=(e1-person-3(e2-person-1)", text)
        self.assertIn("Entity=(e1-person-1)e1)", text)
        self.assertEqual(read_conllu(text), [record])


class Vocabulary(unittest.TestCase):
    def test_every_form_is_covered_without_letters(self):
        vocabulary = set(wordpieces())
        self.assertEqual(len(vocabulary), len(wordpieces()))
        for form in lex.all_forms():
            first, *rest = split_long(form, set(lex.all_forms()))
            self.assertEqual(first + "".join(rest), form)
            self.assertTrue({first, *("##" + r for r in rest)} <= vocabulary, form)

    def test_corpus_uses_known_forms_only(self):
        forms = set(lex.all_forms()) | {"."}
        for r in grammar.splits(3, 100, 100)[0]:
            self.assertLessEqual({t.form.lower() for t in r.tokens}, forms, r.text)


if __name__ == "__main__":
    unittest.main()
