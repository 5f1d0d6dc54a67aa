"""The reference against closed forms, hand-made cases and planted maps.

    python -m unittest discover -s tools/golden -p 'test_*.py'
"""

import unittest
from pathlib import Path

import numpy as np

import attention_reference as reference
import treebank

ROOT = Path(__file__).resolve().parents[2]
LN2 = np.log(2)


def random_maps(heads, n, seed=0, causal=False):
    scores = np.random.default_rng(seed).standard_normal((heads, n, n)) * 2
    if causal:
        scores = np.where(np.tril(np.ones((n, n), bool)), scores, -np.inf)
    weights = np.exp(scores)
    return weights / weights.sum(-1, keepdims=True)


def one_hot(targets):
    return np.eye(len(targets))[list(targets)][None]


def ratios(maps, classes, mode, causal=False):
    top, bottom = reference.surface_patterns(maps, classes, mode, causal)
    with np.errstate(invalid="ignore"):
        return dict(zip(reference.CAUSAL_KEYS if causal else reference.KEYS, top / bottom[:, None]))


# [CLS] w w . w [SEP] w , w [SEP]
IDS = [2, 10, 11, 5, 12, 3, 13, 6, 14, 3]
CLASSES = reference.token_classes(IDS, cls=2, sep=3, punct=(5, 6))
N = len(IDS)


class SurfacePatterns(unittest.TestCase):
    def test_next_and_previous_heads(self):
        for offset, key in ((1, "next"), (-1, "previous")):
            maps = one_hot(np.clip(np.arange(N) + offset, 0, N - 1))
            paper, exact = (ratios(maps, CLASSES, mode) for mode in ("paper", "exact"))
            self.assertEqual(paper[key], (N - 1) / N)
            self.assertEqual(paper["self"], 1 / N)
            self.assertEqual(exact[key], 1.0)

    def test_uniform_head(self):
        maps = np.full((1, N, N), 1 / N)
        paper, exact = (ratios(maps, CLASSES, mode) for mode in ("paper", "exact"))
        for key in ("next", "previous"):
            np.testing.assert_allclose(paper[key], (N - 1) / N**2, rtol=1e-14)
            np.testing.assert_allclose(exact[key], 1 / N, rtol=1e-14)
        expected = dict(self=1 / N, cls=1 / N, sep=2 / N, punct=2 / N, sep_sep=2 / N, rest_sep=2 / N)
        for key, value in expected.items():
            np.testing.assert_allclose(paper[key], value, rtol=1e-14)
            np.testing.assert_allclose(exact[key], value, rtol=1e-14)

    def test_all_to_sep(self):
        found = ratios(one_hot([5] * N), CLASSES, "paper")
        self.assertEqual([found[key][0] for key in ("sep", "sep_sep", "rest_sep", "cls")], [1, 1, 1, 0])

    def test_half_self_half_next(self):
        maps = (one_hot(range(N)) + one_hot([*range(1, N), N - 1])) / 2
        self.assertAlmostEqual(ratios(maps, CLASSES, "exact")["next"][0], 0.5, 14)
        self.assertAlmostEqual(reference.entropy_statistics(maps)["all"][0], LN2 * (N - 1) / N, 14)

    def test_identities_on_random_maps(self):
        maps = random_maps(3, N)
        offsets = sum(np.trace(maps, o, 1, 2) for o in range(-N + 1, N)) / N
        np.testing.assert_allclose(offsets, 1, rtol=1e-12)
        for mode in ("paper", "exact"):
            found = ratios(maps, CLASSES, mode)
            np.testing.assert_allclose(N * found["sep"], 2 * found["sep_sep"] + (N - 2) * found["rest_sep"], rtol=1e-12)
            rest = maps[:, :, [1, 2, 4, 6, 8]].sum((1, 2)) / N
            np.testing.assert_allclose(found["sep"] + found["cls"] + found["punct"] + rest, 1, rtol=1e-12)

    def test_a_document_without_the_class_counts_in_paper_mode_only(self):
        bare = reference.token_classes([2, 10, 3], cls=2, sep=3, punct=(5, 6))
        means = {}
        for mode in ("paper", "exact"):
            averages = reference.Averages()
            averages.add(*reference.surface_patterns(one_hot([3] * N), CLASSES, mode))
            averages.add(*reference.surface_patterns(one_hot([0] * 3), bare, mode))
            means[mode] = averages.result()
        at = reference.KEYS.index("punct")
        self.assertEqual((means["paper"]["mean"][at, 0], means["paper"]["documents"][at]), (0.5, 2))
        self.assertEqual((means["exact"]["mean"][at, 0], means["exact"]["documents"][at]), (1.0, 1))
        self.assertEqual(means["paper"]["micro"][at, 0], N / (N + 3))
        self.assertEqual(means["paper"]["standard_error"][at, 0], 0.5)  # values 1 and 0: sd 1/sqrt(2), over sqrt(2)
        self.assertTrue(np.isnan(means["exact"]["standard_error"][at, 0]))

    def test_causal(self):
        n = 8
        classes = reference.token_classes([10, 11, 5, 12, 10, 10, 10, 5], punct=(5,), causal=True)
        maps = one_hot([0, *range(n - 1)])
        paper, exact = (ratios(maps, classes, mode, True) for mode in ("paper", "exact"))
        self.assertEqual((paper["previous"][0], exact["previous"][0]), ((n - 1) / n, 1.0))
        # Rows 2..7 see punctuation; row 3 looks at it.
        self.assertEqual((paper["punct"][0], exact["punct"][0]), (1 / 8, 1 / 6))
        self.assertEqual(ratios(one_hot([0] * n), classes, "paper", True)["first"], 1.0)


class Entropy(unittest.TestCase):
    def test_closed_forms(self):
        for n, smoothed in ((8, 1.0754e-3), (128, 1.4945e-3)):
            uniform, single = np.full((1, n, n), 1 / n), one_hot(range(n))
            for smoothing in (0, reference.PAPER_ENTROPY_SMOOTHING):
                found = reference.entropy_statistics(uniform, smoothing)
                for name, value in dict(all=np.log(n), one=np.log(n), uniform=np.log(n), normalised=1).items():
                    self.assertAlmostEqual(found[name][0], value, 12)
            self.assertEqual(reference.entropy_statistics(single)["all"][0], 0)
            found = reference.entropy_statistics(single, reference.PAPER_ENTROPY_SMOOTHING)
            self.assertAlmostEqual(found["all"][0], smoothed, 7)
        self.assertAlmostEqual(found["uniform"][0], 4.852030, 6)

    def test_bounds_and_permutation(self):
        maps = random_maps(4, 9)
        rows = reference.entropies(maps)
        self.assertTrue(((rows > 0) & (rows < np.log(9))).all())
        order = np.random.default_rng(1).permutation(9)
        np.testing.assert_allclose(reference.entropies(maps[:, :, order]), rows, rtol=1e-13)

    def test_causal(self):
        for n, mean in ((8, 1.325575), (128, 3.878168)):
            rows = np.tril(np.ones((n, n)))
            uniform = (rows / rows.sum(1, keepdims=True))[None]
            for smoothing in (0, reference.PAPER_ENTROPY_SMOOTHING):
                found = reference.entropy_statistics(uniform, smoothing, causal=True)
                self.assertAlmostEqual(found["all"][0], mean, 6)
                self.assertAlmostEqual(found["uniform"][0], mean, 6)
                self.assertAlmostEqual(found["one"][0], np.log(n), 12)
                self.assertAlmostEqual(found["normalised"][0], 1, 12)
        maps = random_maps(2, 8, causal=True)
        smooth = reference.smoothed(maps, 0.001, causal=True)
        self.assertEqual(np.abs(np.triu(smooth, 1)).max(), 0)
        np.testing.assert_allclose(smooth.sum(-1), 1, rtol=1e-13)
        np.testing.assert_array_equal(reference.entropies(smooth)[:, 0], 0)


class Words(unittest.TestCase):
    MAP = np.array([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1], [0.25] * 4, [0.7, 0.1, 0.1, 0.1]])[None]

    def test_merging(self):
        middle = dict(
            mean=[0.325, 0.5, 0.175], first=[0.4, 0.5, 0.1], last=[0.25, 0.5, 0.25], max=[0.347826, 0.434783, 0.217391]
        )
        for mode, row in middle.items():
            found = reference.word_maps(self.MAP, [[0], [1, 2], [3]], mode)[0]
            np.testing.assert_allclose(found, [[0.1, 0.5, 0.4], row, [0.7, 0.2, 0.1]], atol=1e-6)
            np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-12)
            np.testing.assert_allclose(reference.word_maps(self.MAP, [[i] for i in range(4)], mode), self.MAP)

    def test_a_word_without_tokens(self):
        found = reference.word_maps(self.MAP, [[0], [], [1, 2], [3]])[0]
        self.assertEqual((found[1].sum(), found[:, 1].sum()), (0, 0))

    def test_alignment(self):
        # "ab c" as [CLS] a b" "c... : a piece over both words goes where it has most characters, ties left,
        # and a lone space goes to the word behind it.
        def owners(offsets):
            special = [True] + [False] * (len(offsets) - 2) + [True]
            return reference.align(["ab", "cde"], offsets, special)

        self.assertEqual(owners([(0, 0), (0, 1), (1, 2), (3, 6), (0, 0)])[0], [[0], [1, 2], [3], [4]])
        self.assertEqual(owners([(0, 0), (0, 1), (1, 4), (4, 6), (0, 0)])[0], [[0], [1, 2], [3], [4]])
        self.assertEqual(owners([(0, 0), (0, 1), (1, 5), (5, 6), (0, 0)])[0], [[0], [1], [2, 3], [4]])
        self.assertEqual(owners([(0, 0), (0, 2), (2, 3), (3, 6), (0, 0)])[0], [[0], [1], [2, 3], [4]])
        units, words = owners([(0, 0), (0, 2), (0, 0)])
        self.assertEqual((units, words), ([[0], [1], [], [2]], [1, 2]))
        self.assertEqual(reference.align(["a", "b"], [(0, 1), (1, 3)], [False, False]), ([[0], [1]], [0, 1]))


def planted(gold, transposed=False):
    """[CLS] words [SEP]; a word attends to its head, or is attended to by it; roots attend to [SEP]."""
    size = len(gold) + 2
    beta = np.zeros((size, size))
    for word, head in enumerate(gold):
        beta[word + 1, size - 1 if head < 0 else head + 1] = 1
    return (beta.T if transposed else beta)[None]


class Dependencies(unittest.TestCase):
    def setUp(self):
        self.sentences, _ = treebank.read(ROOT / "assets/grammar/dev.conllu")

    def score(self, make, causal=False):
        table = reference.Dependencies(1, causal)
        for sentence in self.sentences:
            gold = reference.gold_heads(sentence)
            count = len(gold)
            table.add(sentence, make(gold), list(range(1, count + 1)), [False] * count)
        return dict(zip(table.relations(), zip(*(table.result()[k] for k in ("correct", "total", "baseline"))))), table

    def test_planted_gold(self):
        for transposed in (False, True):
            rows, _ = self.score(lambda gold: planted(gold, transposed))
            for relation, (correct, total, _) in rows.items():
                expected = 0 if relation == "root" else total
                if relation.startswith("all"):
                    expected = total - len(self.sentences)
                self.assertEqual(correct[int(transposed), 0], expected, relation)

    def test_planted_next_head_is_the_baseline(self):
        rows, table = self.score(lambda gold: planted([*range(1, len(gold)), -1]))
        offset = reference.OFFSETS.index(1)
        for relation, (correct, _, baseline) in rows.items():
            if relation != "root" and not relation.startswith("all"):
                self.assertEqual(correct[0, 0], baseline[offset], relation)
        self.assertEqual(table.result()["abstained"][0, 0], len(self.sentences))

    def test_self_attention_abstains(self):
        rows, table = self.score(lambda gold: np.eye(len(gold) + 2)[None])
        words = rows["all"][1]
        self.assertEqual(table.result()["abstained"][:, 0].tolist(), [words] * 3)
        self.assertEqual(rows["all"][0].sum(), 0)

    def test_ties_take_the_lowest_index(self):
        beta = np.full((1, 5, 5), 0.2)
        self.assertEqual(reference.predict_heads(beta, [1, 2, 3], [False] * 3, "dep->head").tolist(), [[1, 0, 0]])

    def test_a_word_without_tokens_is_never_chosen(self):
        beta = np.full((1, 3, 3), 1 / 3)
        found = reference.predict_heads(beta, [0, 1, 2], [True, False, False], "dep->head")
        self.assertEqual(found.tolist(), [[-1, 2, 1]])

    def test_offsets_end_at_the_root_and_at_the_last_word(self):
        words = [treebank.Word("", "", "", {}, head, "root" if head == 0 else "dep", {}) for head in (2, 0, 2)]
        table = reference.Dependencies(1)
        table.add(treebank.Sentence(words=words))
        rows = dict(zip(table.relations(), table.result()["baseline"].tolist()))
        self.assertEqual(rows["root"], [1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
        self.assertEqual(rows["dep"], [0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0])

    def test_reach_of_causal_rows(self):
        _, table = self.score(lambda gold: planted([-1] * len(gold)), causal=True)
        reach = dict(zip(table.relations(), table.result()["reachable"]))
        rows = dict(zip(table.relations(), table.result()["total"]))
        self.assertEqual(reach["root"].tolist(), [0, 0, 0])
        for relation in table.relations():
            self.assertEqual(reach[relation][:2].sum(), reach[relation][2])
        left = sum(
            word.relation == "obj" and 0 < word.head < at
            for sentence in self.sentences for at, word in enumerate(sentence.words, 1)
        )  # fmt: skip
        self.assertEqual(reach["obj"].tolist(), [left, rows["obj"] - left, rows["obj"]])

    def test_clitics(self):
        def word(form, head, relation, xpos=""):
            return treebank.Word(form, "", xpos, {}, head, relation, {})

        sentence = treebank.Sentence(
            words=[word("John", 3, "nmod:poss"), word("'s", 1, "case", "POS"), word("dog", 0, "root")]
        )
        for clitics, expected in ((False, 0), (True, 1)):
            table = reference.Dependencies(1, clitics=clitics)
            table.add(sentence, planted([1, 2, -1]), [1, 2, 3], [False] * 3)
            found = dict(zip(table.relations(), zip(table.result()["correct"][:, 0, 0], table.result()["baseline"])))
            self.assertEqual(found["nmod:poss"][0], expected)
            self.assertEqual(found["nmod:poss"][1][reference.OFFSETS.index(1)], expected)


class Coreference(unittest.TestCase):
    def setUp(self):
        self.sentences, layout = treebank.read(ROOT / "golden/studies/attention/coreference.conllu")
        self.documents = treebank.documents(self.sentences)
        self.mentions = [treebank.mentions(document, layout) for document in self.documents]

    def test_order_of_the_sieves(self):
        def mention(head, text, head_form, category="nominal", **features):
            return treebank.Mention("e", range(head, head + 1), head, category, text, head_form, features)

        he = mention(9, "the old man", "man", Number="Sing", Gender="Masc")
        string = mention(1, "The old man", "man")
        same_head = mention(3, "this man", "man")
        fits = mention(5, "a pilot", "pilot", Number="Sing")
        any_mention = mention(7, "queens", "queens", Number="Plur")
        before = [string, same_head, fits, any_mention]
        for left_out, expected in enumerate(before):
            chosen = reference.baseline_antecedent("sieves", he, before[left_out:])
            self.assertIs(chosen, expected)
        self.assertIs(reference.baseline_antecedent("nearest", he, before), any_mention)
        self.assertIs(reference.baseline_antecedent("head match", he, before), same_head)
        self.assertIsNone(reference.baseline_antecedent("head match", he, before[2:]))
        i = mention(9, "I", "I", "pronoun", Person="1")
        self.assertFalse(reference.agree(i, fits))

    def test_planted_antecedents(self):
        for nearest_mention in (False, True):
            table = reference.Coreference(1)
            for document, mentions in zip(self.documents, self.mentions):
                count = sum(len(sentence.words) for sentence in document)
                beta = np.zeros((1, count, count))
                for mention, antecedents, before in reference.scored_mentions(mentions)[1]:
                    goal = max(other.head for other in before) if nearest_mention else max(antecedents)
                    beta[0, mention.head, goal] = 1
                table.add(mentions, beta, list(range(count)), [False] * count)
            for variant in table.correct[:, :, 0]:
                expected = table.baselines[0] if nearest_mention else table.total
                self.assertEqual(variant.tolist(), expected.tolist())

    def test_mentions(self):
        first = {(m.entity, m.text, m.head_form, m.category) for m in self.mentions[0]}
        self.assertIn(("e4", "Mary and John", "Mary", "proper"), first)
        kept = {m.text for m in reference.distinct_mentions(self.mentions[0])}
        self.assertIn("Mary and John", kept)
        self.assertNotIn("Mary", kept)


class Spans(unittest.TestCase):
    # [CLS], a word of two tokens, a word of one, [SEP].
    UNITS, WORDS = [[0], [1, 2], [3], [4]], [1, 2]

    def means(self, targets):
        return reference.mean_spans([reference.spans(one_hot(targets), self.UNITS, self.WORDS)] * 2)

    def test_planted_distances(self):
        mean, error = self.means([1, 3, 3, 1, 4])
        # 1 + 2 + 1 + 2 + 0 over five rows; 2 + 1 + 2 over three; both words name the other.
        np.testing.assert_allclose(mean[:, 0], [6 / 5, 5 / 3, 1])
        np.testing.assert_allclose(error, 0, atol=1e-12)

    def test_special_tokens_take_no_part(self):
        mean, _ = self.means([4, 0, 2, 4, 0])
        np.testing.assert_allclose(mean[1:, 0], [0, 0])

    def test_standard_error_of_a_ratio(self):
        # Weights alike: the error is that of the mean, deviations 1 of three documents.
        found = [np.array([[[d]] * 3, [[2.0]] * 3]) for d in (2.0, 4.0, 6.0)]
        mean, error = reference.mean_spans(found)
        np.testing.assert_allclose(mean, 2)
        np.testing.assert_allclose(error, np.sqrt(1 / 3))


class Distances(unittest.TestCase):
    def between(self, p, q, smoothing=0.0):
        maps = np.stack([np.tile(p, (len(p), 1)), np.tile(q, (len(q), 1))])
        return reference.distances(maps, smoothing)[0][0, 1] / len(p)

    def test_closed_forms(self):
        self.assertAlmostEqual(self.between([0.5, 0.5, 0], [0, 0.5, 0.5]), LN2 / 2, 14)
        for n, disjoint, uniform in ((8, 0.691379, 0.496929), (128, 0.692365, 0.670272)):
            a, b = np.eye(n)[0], np.eye(n)[1]
            self.assertAlmostEqual(self.between(a, b), LN2, 14)
            self.assertAlmostEqual(self.between(a, b, 0.001), disjoint, 6)
            self.assertAlmostEqual(self.between(a, np.full(n, 1 / n)), uniform, 6)
            # A uniform head stays uniform when it is smoothed.
            self.assertAlmostEqual(self.between(a, np.full(n, 1 / n), 0.001), {8: 0.493521, 128: 0.666353}[n], 6)

    def test_properties(self):
        maps = random_maps(5, 7)
        total, roots = reference.distances(maps)
        np.testing.assert_array_equal(total, total.T)
        np.testing.assert_array_equal(np.diag(total), 0)
        self.assertTrue((total <= 7 * LN2).all())
        for a, b, c in np.ndindex(5, 5, 5):
            self.assertLessEqual(roots[a, c], roots[a, b] + roots[b, c] + 1e-12)
        self.assertAlmostEqual(reference.distances(np.stack([maps[0], maps[0]]))[0].max(), 0, 14)

    def test_the_first_causal_row_is_the_same_for_all(self):
        maps = random_maps(2, 4, causal=True)
        rest = sum(
            reference.distances(np.broadcast_to(maps[:, i : i + 1, : i + 1], (2, i + 1, i + 1)))[0][0, 1] / (i + 1)
            for i in range(1, 4)
        )
        self.assertAlmostEqual(reference.distances(maps, causal=True)[0][0, 1], rest, 13)


class Gradients(unittest.TestCase):
    def test_a_constant_gradient(self):
        maps, gradient = np.full((1, N, N), 1 / N), np.full((1, N, N), -2.0)
        found = reference.gradient_importance(gradient, maps, CLASSES)
        sizes = np.array([1, 2, 2, 5])  # cls, sep, punct, other
        np.testing.assert_allclose(found[0, 0], 2)
        np.testing.assert_allclose(found[1, 0], 2 * sizes)
        np.testing.assert_allclose(found[2, 0], 2 / N)
        np.testing.assert_allclose(found[3, 0], 2 * sizes / N)

    def test_causal_pairs_and_missing_classes(self):
        classes = reference.token_classes([10, 5, 11], punct=(5,), causal=True)
        gradient = np.arange(9.0).reshape(1, 3, 3)
        found = reference.gradient_importance(gradient, gradient, classes, causal=True)
        np.testing.assert_allclose(found[0, 0], [(0 + 3 + 6) / 3, (4 + 7) / 2, 8])
        np.testing.assert_allclose(found[1, 0], [9 / 3, 11 / 3, 8 / 3])
        bare = reference.token_classes([10, 11, 12], punct=(5,), causal=True)
        self.assertTrue(np.isnan(reference.gradient_importance(gradient, gradient, bare, True)[:, 0, 1]).all())


if __name__ == "__main__":
    unittest.main()
