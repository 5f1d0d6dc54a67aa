"""The reference of CAT-probing against the matrices and counts of its description.

    python -m unittest discover -s tools/golden -p 'test_*.py'
"""

import json
import unittest
from fractions import Fraction
from math import comb
from pathlib import Path

import numpy as np

import cat_reference as reference

ROOT = Path(__file__).resolve().parents[2]
TOY1 = reference.read(b"def f(x):\n    return x\n", "python")
TOY2 = reference.read(b"def f(a, b):\n    return a + b\n", "python")
MATRICES = {
    "ast": "02333244 20333244 33022355 33202355 33220355 22333044 44555402 44555420",
    "chain": "01233234 10123234 21012345 32101234 33210123 22321012 33432101 44543210",
    "chain+flow": "01233234 10123233 21012332 32101221 33210122 22321012 33322101 43212210",
}
EDGES = {
    "python": b'def f(a, *, b=1):\n    """d"""  # c\n    s = "x\\n" + f"{a!r}:{b}"\n    return [i for i in s if i]\n',
    "java": b'int f(int a) { /* c */ String s = "x\\n"; for (int i = 0; i < a; i++) { g(i, h(a)); } return a; } // e',
    "javascript": b"function f(a) { return a.map((x) => `n ${x}`).join('-') + `t`; }",
    "go": b'func f(a []int) (int, error) {\n\tfor _, x := range a {\n\t\tg(x, "s", `r`)\n\t}\n\treturn 1, nil\n}',
}


def both(attention, distance, which="all"):
    m = reference.masks(np.asarray(attention, np.float64), distance, which)
    return m.both, m.either, m.a, m.d


def neighbours(n):
    return (reference.offsets(n) == 1).astype(float)


class Trees(unittest.TestCase):
    def test_first_toy(self):
        self.assertEqual(b" ".join(TOY1.texts), b"def f ( x ) : return x")
        self.assertEqual(len(TOY1.parents), 13)
        for graph, rows in MATRICES.items():
            expected = [[int(v) for v in row] for row in rows.split()]
            np.testing.assert_array_equal(reference.distances(TOY1, graph), expected)
        sums = [int(reference.distances(TOY1, g).sum()) for g in reference.GRAPHS]
        self.assertEqual(sums, [190, 136, 116])

    def test_second_toy(self):
        found = {graph: reference.distances(TOY2, graph) for graph in reference.GRAPHS}
        self.assertEqual([int(d.sum()) for d in found.values()], [516, 416, 312])
        self.assertEqual(found["chain"][0].tolist(), [0, 1, 2, 3, 3, 3, 3, 2, 3, 4, 5, 5])
        self.assertEqual(found["chain+flow"][-1].tolist(), [4, 4, 3, 3, 2, 1, 2, 3, 3, 2, 1, 0])

    def test_data_flow_joins_identifiers_to_their_last_occurrence(self):
        program = reference.read(b"function f(a) { return a.b(1, a.b, 1); }", "javascript")
        extra = reference.edges(program, "chain+flow") - reference.edges(program, "chain")
        leaf = {node: at for at, node in enumerate(program.nodes)}
        texts = [leaf.decode() for leaf in program.texts]
        joined = sorted((leaf[a], leaf[b]) for a, b in extra)
        self.assertEqual(joined, [(i, j) for i, j in zip(*[[i for i, t in enumerate(texts) if t == "a"][at:] for at in range(2)])])
        self.assertEqual(len(joined), 2)

    def test_properties(self):
        for language, code in EDGES.items():
            program = reference.read(code, language)
            self.assertFalse(program.has_error, language)
            ast, chain, flow = (reference.distances(program, g) for g in reference.GRAPHS)
            np.testing.assert_array_equal(ast, reference.tree_distances(program))
            n = len(ast)
            self.assertTrue((flow <= chain).all() and (chain <= ast).all() and (chain <= reference.offsets(n)).all())
            self.assertTrue(((chain == 1) == (reference.offsets(n) == 1)).all())
            self.assertTrue((ast[~np.eye(n, dtype=bool)] >= 2).all())
            for d in (ast, chain, flow):
                self.assertTrue((d[:, None, :] <= d[:, :, None] + d[None, :, :]).all())

    def test_strings_comments_and_docstrings(self):
        texts = reference.read(EDGES["python"], "python").texts
        self.assertIn(b'"x\\n"', texts)
        self.assertNotIn(b'"""d"""', texts)
        self.assertNotIn(b"# c", texts)
        self.assertIn(b'"""d"""', reference.read(EDGES["python"], "python", docstrings=True).texts)
        kinds = dict(zip(*[getattr(reference.read(EDGES["go"], "go"), name) for name in ("texts", "kinds")]))
        self.assertEqual(kinds[b'"s"'], "interpreted_string_literal")
        self.assertEqual(kinds[b"`r`"], "raw_string_literal")
        script = reference.read(EDGES["javascript"], "javascript").texts
        self.assertIn(b"`t`", script)
        self.assertIn(b"${", script)
        java = reference.read(EDGES["java"], "java").texts
        self.assertFalse([t for t in java if t.startswith(b"/")])

    def test_docstrings_by_the_rule_of_the_language(self):
        def first(body):
            return reference.read(b"def f():\n" + body, "python").texts[5]

        self.assertEqual(first(b"    # c\n    'a'\n    return 1\n"), b"return")
        self.assertEqual(first(b"    'a' 'b'\n    return 1\n"), b"return")
        self.assertEqual(first(b"    f'a'\n    return 1\n"), b"f'a'")
        self.assertEqual(first(b"    b'a'\n    return 1\n"), b"b'a'")
        self.assertEqual(first(b"    if x:\n        'a'\n    return 1\n"), b"if")

    def test_the_embedded_functions_have_the_leaves_they_were_made_of(self):
        for line in (ROOT / "assets/code/functions.jsonl").read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            program = reference.read(record["code"].encode(), record["language"])
            self.assertFalse(program.has_error, record["code"])
            self.assertEqual([leaf.decode() for leaf in program.texts], record["code_tokens"])
            self.assertEqual(reference.joined(program)[0].decode(), " ".join(record["code_tokens"]))

    def test_missing_and_error(self):
        program = reference.read(b"int f( { return 1 }", "java")
        self.assertTrue(program.has_error)
        self.assertNotIn(b"", program.texts)
        self.assertNotIn(b";", program.texts)


class Alignment(unittest.TestCase):
    def test_bytes(self):
        program = reference.read('s = "héllo→" # 变量'.encode(), "python")
        self.assertEqual(program.spans, [(0, 1), (2, 3), (4, 15)])

    def test_raw_pieces(self):
        code = b"def f(x):\n    return x\n"
        pieces = [b"def", b" f", b"(", b"x", b"):", b"\n", b" ", b" ", b" ", b" return", b" x", b"\n"]
        ends = np.cumsum([len(p) for p in pieces])
        spans = [(int(e) - len(p), int(e)) for e, p in zip(ends, pieces)]
        found = reference.align(code, spans, TOY1.spans)
        self.assertEqual(found, [[0], [1], [2], [3], [4], [4], [9], [10]])

    def test_joined_shares_no_piece_and_keeps_blanks_out(self):
        text, spans = reference.joined(reference.read(EDGES["go"], "go"))
        self.assertNotIn(b"\n", text)
        self.assertNotIn(b"  ", text)
        self.assertEqual(text[:18], b"func f ( a [ ] int")
        for begin, end in spans:
            self.assertTrue(begin == end or not {text[begin], text[end - 1]} & set(reference.BLANKS))

    def test_leaf_attention(self):
        alpha = np.array([[0.5, 0.2, 0.2, 0.1], [0.1, 0.4, 0.3, 0.2], [0.1, 0.2, 0.3, 0.4], [0.25] * 4])
        mean = reference.leaf_attention(alpha, [[1], [2, 3]], "mean_mean")
        np.testing.assert_allclose(mean, [[0.4, 0.25], [0.225, (0.3 + 0.4 + 0.25 + 0.25) / 4]], rtol=1e-7)
        total = reference.leaf_attention(alpha, [[1], [2, 3]], "mean_sum")
        np.testing.assert_allclose(total, [[0.4, 0.5], [0.225, 0.6]], rtol=1e-7)
        self.assertTrue((total.sum(1) < 1).all())


class Scores(unittest.TestCase):
    def test_quantiles_are_those_of_interpolation(self):
        random = np.random.default_rng(0)
        for n in range(1, 60):
            for values in (random.standard_normal(n), random.integers(0, 5, n).astype(float)):
                np.testing.assert_array_equal(reference.above_third_quartile(values), values > np.quantile(values, 0.75))
                np.testing.assert_array_equal(reference.below_first_quartile(values), values < np.quantile(values, 0.25))

    def test_first_toy(self):
        n = 8
        for graph, which, expected in (
            ("chain", "all", {"planted": (8, 8, 8, 8), "neighbours": (0, 22, 14, 8), "distance": (0, 18, None, 8)}),
            ("chain", "off", {"planted": (14, 14, 14, 14), "neighbours": (14, 14, 14, 14)}),
            ("ast", "all", {"planted": (8, 8, 8, 8)}),
            ("ast", "off", {"planted": (14, 14, 14, 14), "neighbours": (8, 20, 14, 14), "offset": (8, 20, 14, 14)}),
            ("chain+flow", "off", {"planted": (0, 0, 0, 0)}),
        ):
            d = reference.distances(TOY1, graph)
            cases = {"planted": 1 / (1 + d), "neighbours": neighbours(n), "distance": d, "offset": 1 / (1 + reference.offsets(n))}
            for name, counts in expected.items():
                found = both(cases[name], d, which)
                self.assertEqual([f for f, c in zip(found, counts) if c is not None], [c for c in counts if c is not None], (graph, which, name))
        self.assertIsNone(reference.masks(1 / (1 + d), d, "off").jaccard)

    def test_second_toy(self):
        d = reference.distances(TOY2, "chain")
        near = 1 / (1 + reference.offsets(12))
        soft = np.exp(-d) / np.exp(-d).sum(1, keepdims=True)
        self.assertEqual(both(1 / (1 + d), d), (34, 34, 34, 34))
        self.assertEqual(both(near, d)[:2], (34, 34))
        self.assertEqual(both(neighbours(12), d)[:2], (22, 34))
        self.assertEqual(both(d, d)[:2], (0, 66))
        self.assertEqual(both(soft, d)[:2], (34, 35))
        flow = reference.distances(TOY2, "chain+flow")
        self.assertEqual(both(near, flow)[:2], (12, 34))
        self.assertEqual(both(near, flow)[3], 12)

    def test_monotone_transforms(self):
        random = np.random.default_rng(1)
        for program in (TOY1, TOY2):
            d = reference.distances(program, "chain")
            for planted in (-d, 1 / (1 + d), np.exp(-d / 3)):
                self.assertEqual(reference.masks(planted + 9.0, d, "all").jaccard, 1)
            a = random.integers(0, 9, d.shape) / 9 + 0.1
            self.assertEqual(both(a, d), both(np.exp(a), d))

    def test_macro_and_micro(self):
        found = [reference.Masks(1, 1, 1, 16), reference.Masks(0, 5, 4, 16)]
        macro, micro, *rest = reference.summary(found, "all")
        self.assertEqual((macro, micro, rest[-1]), (0.5, 0.1, 2))

    def test_chance_and_ceiling(self):
        m = reference.Masks(5, 16, 16, 64)
        self.assertAlmostEqual(m.chance, 1 / 7)
        self.assertEqual(m.ceiling, 1)
        self.assertAlmostEqual(m.adjusted, (5 / 27 - 1 / 7) / (1 - 1 / 7))
        self.assertEqual(reference.Masks(0, 16, 0, 64).adjusted, None)
        # The expectation of a ratio is not the ratio of expectations: 8 leaves, |a| = 16, |d| = 8.
        exact = sum(
            Fraction(comb(8, k) * comb(56, 16 - k), comb(64, 16)) * Fraction(k, 24 - k) for k in range(9)
        )
        self.assertAlmostEqual(float(exact), 0.0940, 4)
        self.assertAlmostEqual(reference.Masks(0, 16, 8, 64).chance, 0.0909, 4)

    def test_confidence(self):
        table = reference.Confidence()
        table.add(np.array([[1.0, 0.0], [0.0, 0.0]]), ["u", "v"])
        self.assertEqual((table.above, table.number), ({"u": 2, "v": 0}, {"u": 4, "v": 4}))


class Controls(unittest.TestCase):
    def test_ranks(self):
        self.assertEqual(reference.ranks(np.array([3, 1, 3, 2])).tolist(), [3.5, 1, 3.5, 2])

    def test_spearman(self):
        d = reference.distances(TOY2, "chain")
        ad, partial, ao, do = reference.spearman(np.exp(-d / 2), d)
        self.assertAlmostEqual(ad, 1)
        self.assertAlmostEqual(ao, do)
        self.assertAlmostEqual(partial, 1)
        ad, partial, ao, do = reference.spearman(1 / (1 + reference.offsets(12)), d)
        self.assertAlmostEqual(ad, do)
        self.assertAlmostEqual(ao, 1)
        self.assertTrue(np.isnan(partial))

    def test_partial_is_what_regression_of_the_ranks_leaves(self):
        d = reference.distances(TOY2, "ast")
        a = np.random.default_rng(2).random(d.shape) - 0.1 * d
        x, y, z = (reference.ranks(reference.cells(m, "off")) for m in (a, -d, -reference.offsets(12)))
        base = np.stack([np.ones_like(z), z], 1)
        left = [v - base @ np.linalg.lstsq(base, v, rcond=None)[0] for v in (x, y)]
        self.assertAlmostEqual(reference.spearman(a, d)[1], float(np.corrcoef(*left)[0, 1]))

    def test_offset_mean(self):
        a = np.arange(9, dtype=np.float32).reshape(3, 3)
        np.testing.assert_allclose(reference.offset_mean(a), [[4, 3, 2], [5, 4, 3], [6, 5, 4]])


if __name__ == "__main__":
    unittest.main()
