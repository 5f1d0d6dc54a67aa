"""Small programs: abstract functions drawn by rules, which `languages.py` writes in four languages.

As a command it writes the functions that are held out from training:

    python programs.py --output FILE [--seed 20]

A function is `Function`, its statements and expressions tuples whose first entry names the kind; `languages.py` lists
them. Types are those of `code_lexicon.py`. The same seed gives the same bytes on every machine.
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import dataclass
from pathlib import Path

import code_lexicon as lex
from languages import LANGUAGES, write

SEED = 20
#: Held out: so many functions in all languages each, and so many more in Python.
SHARED, MORE_PYTHON = 48, 24
#: Fewest and most leaves of a function, of those that are held out in whichever language.
LEAVES = (24, 100)
LISTS = {"ints": "int", "strs": "str"}


@dataclass
class Function:
    """`words` is the name, `owner` the record whose method it is or "", `returns` a type or "" for nothing."""

    words: list[str]
    owner: str
    parameters: list[tuple[str, str]]
    returns: str
    body: list[tuple]
    docstring: str
    typed: bool


@dataclass
class Variable:
    name: str
    type: str
    mutable: bool
    uses: int = 0


class Builder:
    """Builds one function. Every `rng` decision is a rule of the grammar."""

    def __init__(self, rng: random.Random):
        self.rng = rng
        self.scopes: list[list[Variable]] = [[]]
        self.taken: set[str] = set()
        self.owner = ""
        self.returns = ""

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def one(self, weights: dict):
        return self.rng.choices(list(weights), weights=list(weights.values()))[0]

    # --- variables ---

    def declare(self, name: str, kind: str, mutable: bool = False) -> str:
        self.taken.add(name)
        self.scopes[-1].append(Variable(name, kind, mutable))
        return name

    def visible(self, kind: str) -> list[Variable]:
        return [v for scope in self.scopes for v in scope if v.type == kind]

    def use(self, choices: list[Variable]) -> tuple:
        """One of the variables, those not used yet sooner."""
        v = self.rng.choices(choices, weights=[1 if v.uses else 4 for v in choices])[0]
        v.uses += 1
        return ("name", v.name)

    def fresh(self, kind: str) -> str:
        """A name for a new variable of a type: one word, or where all are taken two."""
        words = {"int": lex.NUMBERS, "str": lex.TEXTS, "bool": lex.FLAGS}.get(kind)
        if kind in LISTS:
            words = [w.split("/")[1] for w in (lex.NUMBER_ITEMS if kind == "ints" else lex.TEXT_ITEMS)]
        elif words is None:
            words = [kind.lower()]
        free = [w for w in words if w not in self.taken]
        if free and not self.chance(0.1):
            return self.rng.choice(free)
        first = ["new", "old", "next", "last", "max"]
        free = [f"{a}_{w}" for a in first for w in words if f"{a}_{w}" not in self.taken]
        return self.rng.choice(free)

    def singular(self, plural: str, kind: str) -> str:
        for word in lex.NUMBER_ITEMS if kind == "int" else lex.TEXT_ITEMS:
            single, many = word.split("/")
            if plural.split("_")[-1] == many and single not in self.taken:
                return single
        return self.fresh(kind)

    # --- expressions ---

    def fields(self, kind: str) -> list[tuple]:
        """Attributes of a type that can be read: (variable or None for the owner, field)."""
        found = [(None, f) for f, t in lex.RECORDS.get(self.owner, {}).items() if t == kind]
        for record, fields in lex.RECORDS.items():
            for v in self.visible(record):
                found += [(v, f) for f, t in fields.items() if t == kind]
        return found

    def attribute(self, kind: str) -> tuple:
        v, field = self.rng.choice(self.fields(kind))
        if v is None:
            return ("attribute", ("self",), field)
        v.uses += 1
        return ("attribute", ("name", v.name), field)

    def call(self, kind: str, depth: int, fewest: int = 1) -> tuple:
        """A call of a function, or of a method of a record, of as many arguments as chance wants."""
        verb = self.rng.choice(lex.VERBS[kind])
        words = [verb, self.rng.choice(lex.STATES if verb in ("is", "has") else lex.NOUNS)]
        count = max(fewest, self.one({1: 4, 2: 4, 3: 3, 4: 1.5, 5: 0.7}))
        arguments = [self.argument(depth - 1) for _ in range(count)]
        holders = [v for record in lex.RECORDS for v in self.visible(record)]
        if holders and self.chance(0.3):
            return ("method", self.use(holders), words, arguments)
        if self.owner and self.chance(0.3):
            return ("method", ("self",), words, arguments)
        return ("call", words, arguments)

    def argument(self, depth: int) -> tuple:
        kinds = {k: 1.0 for k in ("int", "str", "ints", "strs") if self.visible(k) or self.fields(k)}
        kinds |= {"int": 2.0, "str": 1.0}
        kind = self.one(kinds)
        records = [v for record in lex.RECORDS for v in self.visible(record)]
        if records and self.chance(0.15):
            return self.use(records)
        return self.expression(kind, depth)

    def known(self, kind: str) -> tuple | None:
        """A variable or an attribute of a type, if there is one."""
        variables, fields = self.visible(kind), self.fields(kind)
        if variables and not (fields and self.chance(0.35)):
            return self.use(variables)
        return self.attribute(kind) if fields else None

    def expression(self, kind: str, depth: int, literal: bool = True) -> tuple:
        """An expression of a type, at most `depth` operations deep; without `literal`, no constant."""
        if kind == "bool":
            return self.condition(depth)
        if kind in LISTS:
            found = self.known(kind)
            return found if found and not self.chance(0.15) else self.call(kind, depth)
        if kind not in ("int", "str"):
            return self.use(self.visible(kind))
        ways = {"known": 6.0, "literal": 1.6 if literal else 0.0}
        if depth > 0:
            ways |= {"operation": 3.0, "call": 2.4, "length": 1.2, "index": 1.4}
            ways["extreme" if kind == "int" else "change"] = 0.9
        way = self.one(ways)
        if way == "literal":
            return self.literal(kind)
        if way == "operation":
            left = self.expression(kind, depth - 1, literal=False)
            operator = self.one({"+": 4, "-": 3, "*": 3, "%": 0.6}) if kind == "int" else "+"
            right = self.expression(kind, depth - 1)
            return ("binary", operator, left, self.literal(kind) if right == left else right)
        if way == "call":
            return self.call(kind, depth)
        if way == "extreme":
            name = self.rng.choice(["min", "max"])
            return (name, self.expression("int", depth - 1, literal=False), self.expression("int", depth - 1))
        if way == "change":
            if self.chance(0.35):
                return ("digits", self.expression("int", depth - 1, literal=False))
            return (self.rng.choice(["trim", "upper"]), self.expression("str", 0, literal=False))
        if way == "length" and kind == "int":
            found = self.known(self.rng.choice(["ints", "strs"]))
            if found:
                return ("length", found)
        if way == "index":
            found = self.known("ints" if kind == "int" else "strs")
            if found:
                return ("index", found, self.expression("int", depth - 1))
        found = self.known(kind)
        if found:
            return found
        return self.literal(kind) if literal else self.call(kind, depth)

    def literal(self, kind: str) -> tuple:
        if kind == "int":
            return ("number", self.rng.choice(lex.NUMBERS_SEEN))
        return ("string", self.rng.choice(lex.STRINGS_SEEN))

    def condition(self, depth: int) -> tuple:
        ways = {"compare": 5.0, "equal": 1.6, "contains": 1.2, "flag": 1.0}
        if depth > 0:
            ways |= {"and": 1.0, "or": 0.7, "not": 0.6, "call": 1.0}
        way = self.one(ways)
        if way in ("and", "or"):
            return (way, self.condition(depth - 1), self.condition(depth - 1))
        if way == "not":
            return ("not", self.call("bool", depth))
        if way == "call":
            return self.call("bool", depth)
        if way == "flag":
            found = self.known("bool")
            if found:
                return ("not", found) if self.chance(0.4) else found
        if way == "contains":
            kind = self.rng.choice(list(LISTS))
            found = self.known(kind)
            if found:
                return ("contains", found, self.expression(LISTS[kind], 0))
        if way == "equal" and (self.visible("str") or self.fields("str")):
            left, right = self.known("str"), self.expression("str", max(0, depth - 1))
            return ("equal", left, self.literal("str") if right == left else right)
        operator = self.one({"<": 3, ">": 3, "<=": 1, ">=": 1, "==": 2, "!=": 1})
        left = self.expression("int", max(0, depth - 1), literal=False)
        right = self.expression("int", max(0, depth - 1))
        return ("compare", operator, left, ("number", "0") if right == left else right)

    # --- statements ---

    def block(self, count: int, depth: int, loop: bool) -> list[tuple]:
        """A block of its own names. What it declared and did not use is used at its end."""
        self.scopes.append([])
        out: list[tuple] = []
        for _ in range(count):
            out += self.statement(depth, loop)
        idle = [v for v in self.scopes[-1] if not v.uses]
        if idle:
            out.append(self.finish(idle))
        self.scopes.pop()
        return out

    def finish(self, idle: list[Variable]) -> tuple:
        """A statement that uses variables."""
        for v in idle:
            v.uses += 1
        lists = [v for scope in self.scopes for v in scope if v.mutable and v.type in LISTS]
        first = idle[0]
        for v in lists:
            if len(idle) == 1 and LISTS[v.type] == first.type:
                v.uses += 1
                return ("append", ("name", v.name), ("name", first.name), v.type)
        totals = [v for v in self.visible("int") if v.mutable and v is not first]
        if len(idle) == 1 and first.type == "int" and totals:
            v = self.rng.choice(totals)
            v.uses += 1
            return ("change", "+", ("name", v.name), ("name", first.name))
        arguments = [("name", v.name) for v in idle]
        if self.chance(0.5):
            return ("log", arguments)
        return ("do", ("call", [self.rng.choice(lex.VERBS[""]), self.rng.choice(lex.NOUNS)], arguments))

    def comment(self) -> list[tuple]:
        return [("comment", self.rng.choice(lex.COMMENTS))] if self.chance(0.04) else []

    def statement(self, depth: int, loop: bool) -> list[tuple]:
        ways = {"let": 5.0, "change": 2.0, "append": 1.5, "do": 1.2, "log": 0.5, "field": 0.8}
        if depth > 0:
            ways |= {"if": 5.0, "each": 4.0, "range": 1.6, "while": 1.2, "collect": 1.6, "choose": 1.4, "guard": 1.4}
        if loop:
            ways["leave"] = 0.9
        return self.comment() + getattr(self, f"make_{self.one(ways)}")(depth, loop)

    def make_let(self, depth: int, loop: bool) -> list[tuple]:
        kind = self.one({"int": 5, "str": 3, "bool": 0.7, "ints": 0.8, "strs": 0.8})
        mutable = kind in ("int", "str") and self.chance(0.4)
        if kind in LISTS:
            mutable = self.chance(0.7)
            value = ("list", kind, [])
            if not mutable:
                count = self.rng.randint(2, 4)
                value = self.call(kind, 2) if self.chance(0.5) else ("list", kind, [self.expression(LISTS[kind], 1) for _ in range(count)])
        elif mutable and self.chance(0.6):
            value = ("number", self.one({"0": 4, "1": 1})) if kind == "int" else ("string", "")
        else:
            value = self.expression(kind, 3, literal=mutable)
        name = self.fresh(kind)
        return [("let", self.declare(name, kind, mutable), kind, value, mutable)]

    def make_change(self, depth: int, loop: bool) -> list[tuple]:
        found = [v for kind in ("int", "str") for v in self.visible(kind) if v.mutable]
        if not found:
            return self.make_let(depth, loop)
        v = self.rng.choice(found)
        v.uses += 1
        if self.chance(0.25):
            return [("set", ("name", v.name), self.expression(v.type, 2, literal=False))]
        operator = self.one({"+": 5, "-": 1.5, "*": 1}) if v.type == "int" else "+"
        return [("change", operator, ("name", v.name), self.expression(v.type, 2))]

    def make_field(self, depth: int, loop: bool) -> list[tuple]:
        if not self.owner:
            return self.make_change(depth, loop)
        field = self.rng.choice([f for f, t in lex.RECORDS[self.owner].items() if t in ("int", "str")])
        kind = lex.RECORDS[self.owner][field]
        target = ("attribute", ("self",), field)
        if self.chance(0.5):
            return [("change", "+", target, self.expression(kind, 2))]
        return [("set", target, self.expression(kind, 2))]

    def make_append(self, depth: int, loop: bool) -> list[tuple]:
        found = [v for kind in LISTS for v in self.visible(kind) if v.mutable]
        if not found:
            return self.make_let(depth, loop)
        v = self.rng.choice(found)
        v.uses += 1
        return [("append", ("name", v.name), self.expression(LISTS[v.type], 2, literal=False), v.type)]

    def make_do(self, depth: int, loop: bool) -> list[tuple]:
        return [("do", self.call("", 3, fewest=2))]

    def make_log(self, depth: int, loop: bool) -> list[tuple]:
        return [("log", [("string", self.rng.choice(lex.STRINGS_SEEN[4:])), self.expression("int", 2, literal=False)])]

    def make_if(self, depth: int, loop: bool) -> list[tuple]:
        arms = [(self.condition(2), self.block(self.one({1: 3, 2: 2}), depth - 1, loop))]
        if self.chance(0.2):
            arms.append((self.condition(1), self.block(1, depth - 1, loop)))
        other = self.block(1, depth - 1, loop) if self.chance(0.35) else []
        return [("if", arms, other)]

    def make_guard(self, depth: int, loop: bool) -> list[tuple]:
        """Leaves the function early, or fails."""
        if self.chance(0.4):
            return [("if", [(self.condition(1), [("fail", self.rng.choice(lex.FAILURES))])], [])]
        return [("if", [(self.condition(1), [self.give_back(0)])], [])]

    def make_each(self, depth: int, loop: bool) -> list[tuple]:
        kind = self.rng.choice(list(LISTS))
        source = self.known(kind)
        if source is None:
            return self.make_range(depth, loop)
        self.scopes.append([])
        plural = source[-1]
        counter = ""
        if self.chance(0.2):
            free = [c for c in lex.COUNTERS if c not in self.taken]
            counter = self.declare(free[0], "int") if free else ""
        name = self.declare(self.singular(plural, LISTS[kind]), LISTS[kind])
        body = self.block(self.one({1: 3, 2: 3, 3: 1}), depth - 1, True)
        idle = [v for v in self.scopes[-1] if not v.uses]
        if idle:
            body.append(self.finish(idle))
        self.scopes.pop()
        return [("each", name, LISTS[kind], source, body, counter)]

    def make_range(self, depth: int, loop: bool) -> list[tuple]:
        free = [c for c in lex.COUNTERS if c not in self.taken]
        if not free:
            return self.make_if(depth, loop)
        limit = self.expression("int", 1)
        self.scopes.append([])
        name = self.declare(free[0], "int")
        body = self.block(self.one({1: 3, 2: 3}), depth - 1, True)
        if not self.scopes[-1][0].uses:
            body.append(self.finish(self.scopes[-1]))
        self.scopes.pop()
        return [("range", name, limit, body)]

    def make_while(self, depth: int, loop: bool) -> list[tuple]:
        found = [v for v in self.visible("int") if v.mutable]
        if not found:
            return self.make_if(depth, loop)
        v = self.rng.choice(found)
        v.uses += 1
        condition = ("compare", "<", ("name", v.name), self.expression("int", 1))
        if self.chance(0.3):
            condition = ("and", condition, self.condition(0))
        body = self.block(self.one({1: 3, 2: 1}), depth - 1, True)
        return [("while", condition, body + [("change", "+", ("name", v.name), ("number", "1"))])]

    def make_collect(self, depth: int, loop: bool) -> list[tuple]:
        """A new list of what is made of the entries of another, all or those that fit."""
        kind = self.rng.choice(list(LISTS))
        source = self.known(kind)
        if source is None:
            return self.make_let(depth, loop)
        self.scopes.append([])
        item = self.declare(self.singular(source[-1], LISTS[kind]), LISTS[kind])
        result = self.rng.choice(list(LISTS))
        value = self.expression(LISTS[result], 2, literal=False)
        condition = self.condition(1) if self.chance(0.5) else None
        if not self.scopes[-1][0].uses:
            value = ("call", [self.rng.choice(lex.VERBS[LISTS[result]]), self.rng.choice(lex.NOUNS)], [("name", item), value])
        self.scopes.pop()
        name = self.declare(self.fresh(result), result)
        return [("collect", name, result, item, LISTS[kind], source, value, condition)]

    def make_choose(self, depth: int, loop: bool) -> list[tuple]:
        kind = self.rng.choice(["int", "str"])
        parts = (self.condition(1), self.expression(kind, 1), self.expression(kind, 1))
        return [("choose", self.declare(self.fresh(kind), kind), kind, *parts)]

    def make_leave(self, depth: int, loop: bool) -> list[tuple]:
        return [("if", [(self.condition(1), [(self.rng.choice(["break", "continue"]),)])], [])]

    def give_back(self, depth: int) -> tuple:
        if not self.returns:
            return ("return", None)
        if self.returns == "bool" and self.chance(0.5):
            return ("return", ("truth", self.chance(0.5)))
        return ("return", self.expression(self.returns, depth))

    # --- the function ---

    def function(self) -> Function:
        self.returns = self.one({"int": 4, "str": 3, "bool": 1.5, "ints": 1, "strs": 1.5, "": 2})
        verb = self.rng.choice(lex.VERBS[self.returns])
        noun = self.rng.choice(lex.STATES if verb in ("is", "has") else lex.NOUNS)
        words = [verb, noun] + (["by", self.rng.choice(lex.NUMBERS)] if self.chance(0.15) else [])
        self.taken |= {verb}
        if self.chance(0.3):
            self.owner = self.rng.choice(lex.OWNERS)
            self.taken.add(self.owner.lower())
        kinds = {"int": 4, "str": 3, "ints": 2, "strs": 2, "bool": 0.7} | {record: 0.3 for record in lex.RECORDS}
        parameters = []
        for _ in range(self.one({1: 2, 2: 4, 3: 3, 4: 1.5, 5: 0.8, 6: 0.3})):
            kind = self.one(kinds)
            if kind in lex.RECORDS:
                if kind.lower() in self.taken:
                    continue
                name = kind.lower()
            else:
                name = self.fresh(kind)
            parameters.append((self.declare(name, kind), kind))
        body: list[tuple] = []
        if self.chance(0.15):
            body += self.make_guard(1, False)
        for _ in range(self.one({2: 2, 3: 4, 4: 3, 5: 2})):
            body += self.statement(2, False)
        idle = [v for v in self.scopes[-1] if not v.uses]
        same = [v for v in idle if v.type == self.returns]
        if self.returns and (same or not idle):
            last = self.use(same) if same else self.expression(self.returns, 2, literal=False)
            rest = [v for v in idle if not v.uses]
            body += [self.finish(rest)] if rest else []
            body.append(("return", last))
        elif self.returns in ("int", "str", "ints", "strs"):
            for v in idle:
                v.uses += 1
            helper = [self.rng.choice(lex.VERBS[self.returns]), self.rng.choice(lex.NOUNS)]
            body.append(("return", ("call", helper, [("name", v.name) for v in idle])))
        else:
            body += [self.finish(idle)] if idle else []
            body += [("return", self.condition(1))] if self.returns else []
        docstring = lex.PHRASES[verb].format(" ".join(words[1:])) + "."
        if self.chance(0.4):
            docstring += "\n\n" + self.rng.choice(["Fails where there is none.", "The order is kept.", "Nothing else is changed."])
        return Function(words, self.owner, parameters, self.returns, body, docstring, self.chance(0.35))


def functions(seed: str):
    """Functions without end, all distinct."""
    rng = random.Random(seed)
    seen = set()
    while True:
        made = Builder(rng).function()
        key = write(made, "python").joined
        if key not in seen:
            seen.add(key)
            yield made


def held_out(seed: int = SEED) -> list[tuple[Function, str]]:
    """The functions that no training sees, with their languages: those in all four first."""
    out: list[tuple[Function, str]] = []
    kept = 0
    for made in functions(f"{seed}-held-out"):
        sizes = [len(write(made, language).tokens) for language in LANGUAGES]
        if not LEAVES[0] <= min(sizes) or not max(sizes) <= LEAVES[1]:
            continue
        kept += 1
        out += [(made, language) for language in (LANGUAGES if kept <= SHARED else ("python",))]
        if kept == SHARED + MORE_PYTHON:
            return out
    raise AssertionError("unreachable")


def training(count: int, seed: int = SEED) -> list[tuple[Function, str]]:
    """`count` functions with a language each, Python for two of five; none is held out."""
    known = {write(f, language).joined for f, language in held_out(seed)}
    rng = random.Random(f"{seed}-languages")
    out: list[tuple[Function, str]] = []
    for made in functions(f"{seed}-training"):
        language = rng.choices(LANGUAGES, weights=[2, 1, 1, 1])[0]
        leaves = len(write(made, language).tokens)
        if LEAVES[0] <= leaves <= LEAVES[1] and write(made, "python").joined not in known:
            out.append((made, language))
        if len(out) == count:
            return out
    raise AssertionError("unreachable")


def record(made: Function, language: str) -> str:
    """One line of CodeSearchNet's layout."""
    text = write(made, language)
    fields = {
        "func_name": text.name, "language": language, "code": text.code, "code_tokens": text.tokens,
        "docstring": made.docstring, "docstring_tokens": made.docstring.replace(".", " .").split(),
    }
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")) + "\n"


def write_functions(path: Path, held: list[tuple[Function, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(record(made, language) for made, language in held), encoding="utf-8", newline="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="file to write: one function a line")
    parser.add_argument("--seed", type=int, default=SEED)
    args = parser.parse_args()
    write_functions(args.output, held_out(args.seed))


if __name__ == "__main__":
    main()
