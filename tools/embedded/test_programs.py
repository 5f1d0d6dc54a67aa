"""Tests of the small programs: python -m unittest discover -s tools/embedded"""

from __future__ import annotations

import ast
import itertools
import json
import random
import re
import tempfile
import unittest
from collections import Counter
from pathlib import Path

import code_lexicon as lex
import programs
from languages import LANGUAGES, TOKEN, camel, write
from programs import Builder, Function

SAMPLE = list(itertools.islice(programs.functions("test"), 300))
CLOSES = {")": "(", "]": "[", "}": "{"}


def made(body: list[tuple], returns: str = "", owner: str = "", parameters=(("items", "strs"), ("limit", "int"))) -> Function:
    return Function(["find", "item"], owner, list(parameters), returns, body, "Finds the item.", False)


class Languages(unittest.TestCase):
    def test_every_program_is_python(self):
        for function in SAMPLE:
            (tree,) = ast.parse(write(function, "python").code).body
            self.assertIsInstance(tree, ast.FunctionDef)

    def test_no_name_is_a_keyword_anywhere(self):
        reserved = set(
            "break case catch char class const continue default defer del delete do double else enum except false final "
            "finally float for from func function global go goto if import in int interface is lambda let long map new nil "
            "none not null or package pass private public raise range return select short static str string struct super "
            "switch this throw true try type var void while with yield min max len print self append".split()
        )
        for function in SAMPLE:
            names = {n for n, _ in function.parameters} | {"_".join(function.words), camel(function.words)}
            names |= {s[1] for s in walk(function.body) if s[0] in ("let", "each", "range", "collect", "choose")}
            self.assertFalse(names & reserved, names & reserved)

    def test_brackets_close(self):
        for function in SAMPLE:
            for language in LANGUAGES:
                open_ones = []
                for token in write(function, language).tokens:
                    if token in CLOSES.values():
                        open_ones.append(token)
                    elif token in CLOSES:
                        self.assertEqual(open_ones.pop(), CLOSES[token])
                self.assertFalse(open_ones)

    def test_tokens_are_the_code_without_blanks_comments_and_docstring(self):
        for function in SAMPLE:
            for language in LANGUAGES:
                text = write(function, language)
                code = re.sub(r'"""[\s\S]*?"""', "", text.code) if language == "python" else text.code
                code = re.sub(r"(?m)^\s*(#|//).*$", "", code)
                self.assertEqual(re.sub(r"\s", "", code), re.sub(r"\s", "", "".join(text.tokens)))
                for token in text.tokens:
                    self.assertEqual(TOKEN.findall(token), [token])

    def test_the_four_forms_of_one_program(self):
        function = made(
            [
                ("let", "total_count", "int", ("number", "0"), True),
                ("each", "item", "str", ("name", "items"), [
                    ("if", [(("and", ("equal", ("name", "item"), ("string", "ok")), ("not", ("call", ["is", "open"], [("name", "item")]))), [
                        ("change", "+", ("name", "total_count"), ("binary", "*", ("binary", "+", ("name", "limit"), ("number", "1")), ("length", ("name", "items")))),
                    ])], []),
                ], ""),
                ("return", ("max", ("name", "total_count"), ("attribute", ("self",), "size"))),
            ],
            returns="int", owner="Queue",
        )
        expected = {
            "python": "def find_item(self, items, limit):\n    total_count = 0\n    for item in items:\n"
            '        if item == "ok" and not is_open(item):\n            total_count += (limit + 1) * len(items)\n'
            "    return max(total_count, self.size)",
            "java": "public int findItem(List<String> items, int limit) {\n    int totalCount = 0;\n    for (String item : items) {\n"
            '        if (item.equals("ok") && !isOpen(item)) {\n            totalCount += (limit + 1) * items.size();\n        }\n    }\n'
            "    return Math.max(totalCount, this.size);\n}",
            "javascript": "function findItem(items, limit) {\n  let totalCount = 0;\n  for (const item of items) {\n"
            '    if (item === "ok" && !isOpen(item)) {\n      totalCount += (limit + 1) * items.length;\n    }\n  }\n'
            "  return Math.max(totalCount, this.size);\n}",
            "go": "func (queue *Queue) findItem(items []string, limit int) int {\n\ttotalCount := 0\n\tfor _, item := range items {\n"
            '\t\tif item == "ok" && !isOpen(item) {\n\t\t\ttotalCount += (limit + 1) * len(items)\n\t\t}\n\t}\n'
            "\treturn max(totalCount, queue.size)\n}",
        }
        for language, code in expected.items():
            self.assertEqual(write(function, language).code, code)

    def test_brackets_say_what_binds(self):
        def shown(*e):
            return write(made([("return", e)], "int"), "python").code.splitlines()[1].strip()

        a, b, c = ("name", "a"), ("name", "b"), ("name", "c")
        self.assertEqual(shown("binary", "-", a, ("binary", "-", b, c)), "return a - (b - c)")
        self.assertEqual(shown("binary", "-", ("binary", "-", a, b), c), "return a - b - c")
        self.assertEqual(shown("binary", "*", ("binary", "+", a, b), c), "return (a + b) * c")
        self.assertEqual(shown("binary", "+", ("binary", "*", a, b), c), "return a * b + c")


def walk(body: list[tuple]):
    """Every statement, those inside others too."""
    for statement in body:
        yield statement
        for part in statement:
            if isinstance(part, list):
                inner = [s for arm in part for s in arm[1]] if statement[0] == "if" and part is statement[1] else part
                if all(isinstance(s, tuple) for s in inner) and statement[0] not in ("do", "log"):
                    yield from walk(inner)


class Rules(unittest.TestCase):
    def test_variables_come_again(self):
        once = 0
        for function in SAMPLE:
            tree = ast.parse(write(function, "python").code)
            names = Counter(n.id for n in ast.walk(tree) if isinstance(n, ast.Name))
            names.update(a.arg for a in tree.body[0].args.args)
            stored = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            stored |= {a.arg for a in tree.body[0].args.args} - {"self"}
            once += any(names[name] < 2 for name in stored)
        # An expression that was drawn and thrown away may have held the only use.
        self.assertLess(once, 0.03 * len(SAMPLE))

    def test_nothing_is_used_before_it_is_there(self):
        def check(body, known):
            known = set(known)
            for node in body:
                inner = [getattr(node, part, []) for part in ("body", "orelse")]
                if isinstance(node, ast.For):
                    uses([node.iter], known)
                    known |= stored(node.target)
                elif isinstance(node, (ast.If, ast.While)):
                    uses([node.test], known)
                else:
                    uses([node], known)
                for block in inner:
                    check(block, known)
                known |= stored(node) if not any(inner) else set()

        def stored(node):
            return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}

        def uses(nodes, known):
            for node in nodes:
                called = {id(n.func) for n in ast.walk(node) if isinstance(n, ast.Call)}
                inside = {name for n in ast.walk(node) if isinstance(n, ast.comprehension) for name in stored(n.target)}
                for n in ast.walk(node):
                    if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load) and id(n) not in called and n.id not in inside:
                        self.assertIn(n.id, known)

        for function in SAMPLE:
            (tree,) = ast.parse(write(function, "python").code).body
            check(tree.body, {a.arg for a in tree.args.args} | {"ValueError"})

    def test_structure_is_varied(self):
        kinds = Counter(s[0] for function in SAMPLE for s in walk(function.body))
        for kind in "let set change append do log if each range while collect choose return fail break continue comment".split():
            self.assertGreater(kinds[kind], 3, kind)
        owners = sum(bool(f.owner) for f in SAMPLE)
        self.assertTrue(50 < owners < 150)

    def test_chance_alone_decides(self):
        first, second = (Builder(random.Random(5)).function() for _ in range(2))
        self.assertEqual(first, second)


class Corpora(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.held = programs.held_out(3)

    def test_shares_of_the_languages(self):
        counts = Counter(language for _, language in self.held)
        self.assertEqual(counts["python"], programs.SHARED + programs.MORE_PYTHON)
        self.assertEqual({counts[l] for l in LANGUAGES[1:]}, {programs.SHARED})
        sizes = [len(write(f, language).tokens) for f, language in self.held]
        self.assertTrue(programs.LEAVES[0] <= min(sizes) and max(sizes) <= programs.LEAVES[1])

    def test_training_shares_no_function_and_grows_at_its_end(self):
        known = {write(f, "python").joined for f, _ in programs.held_out()}
        read = programs.training(60)
        self.assertFalse(known & {write(f, "python").joined for f, _ in read})
        self.assertEqual(programs.training(20), read[:20])

    def test_the_file_is_the_same_every_time(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "code/functions.jsonl"
            programs.write_functions(path, programs.held_out())
            made = path.read_bytes()
        kept = Path(__file__).resolve().parents[2] / "assets/code/functions.jsonl"
        self.assertEqual(made, kept.read_bytes())
        records = [json.loads(line) for line in made.decode().splitlines()]
        fields = ["func_name", "language", "code", "code_tokens", "docstring", "docstring_tokens"]
        for record in records:
            self.assertEqual(list(record), fields)
            self.assertIn(record["func_name"], record["code_tokens"])
        self.assertTrue(any('"""' in r["code"] for r in records))
        self.assertTrue(any("// " in r["code"] for r in records))


class Lexicon(unittest.TestCase):
    def test_no_variable_has_two_types(self):
        singles = [w.split("/")[0] for w in lex.NUMBER_ITEMS], [w.split("/")[0] for w in lex.TEXT_ITEMS]
        plurals = [w.split("/")[1] for w in lex.NUMBER_ITEMS], [w.split("/")[1] for w in lex.TEXT_ITEMS]
        groups = [set(lex.NUMBERS + singles[0]), set(lex.TEXTS + singles[1]), set(lex.FLAGS), set(plurals[0]), set(plurals[1])]
        groups.append({record.lower() for record in lex.RECORDS})
        for a, b in itertools.combinations(groups, 2):
            self.assertFalse(a & b)

    def test_every_verb_has_a_phrase(self):
        self.assertEqual({v for verbs in lex.VERBS.values() for v in verbs}, set(lex.PHRASES))


if __name__ == "__main__":
    unittest.main()
