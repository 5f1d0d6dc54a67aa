"""Writes an abstract function of `programs.py` as Python, Java, JavaScript or Go.

Expressions: name, self, attribute, number, string, truth, binary, compare, equal, contains, and, or, not, min, max, trim,
upper, digits (a number as text), length, index, list, call, method. Statements: let, set, change (`+=` and its kind),
append, do, log, if, each, range, while, collect, choose, return, fail, break, continue, comment. Each is a tuple that
begins with its kind; what follows is read off `Writer.value` and `Writer.statement`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LANGUAGES = ("python", "java", "javascript", "go")
TOKEN = re.compile(
    r'"(?:\\.|[^"\\])*"|[A-Za-z_]\w*|\d+|===|!==|==|!=|<=|>=|\+=|-=|\*=|:=|=>|->|&&|\|\||\+\+|[^\s\w]'
)
#: Loosest first; `%` and `*` bind alike, and mixed they get brackets.
BINDING = {"+": 1, "-": 1, "*": 2, "%": 2}


@dataclass
class Text:
    """A function in one language: its name there, the code, its tokens without comments and docstring."""

    name: str
    code: str
    tokens: list[str]

    @property
    def joined(self) -> str:
        return " ".join(self.tokens)


def camel(words: list[str]) -> str:
    return words[0] + "".join(w.capitalize() for w in words[1:])


class Writer:
    """What the languages share; each gives the forms that are its own."""

    indent = "    "
    end = ";"
    comment = "//"
    words = {"and": "&&", "or": "||", "not": "!", "true": "true", "false": "false"}
    same, different = "==", "!="

    def __init__(self, function):
        self.function = function
        self.lines: list[tuple[int, str, bool]] = []
        self.depth = 0

    # --- names ---

    def identifier(self, words: list[str] | str) -> str:
        return camel(words.split("_") if isinstance(words, str) else words)

    def this(self) -> str:
        return "this"

    # --- expressions ---

    def value(self, e: tuple) -> str:
        match e:
            case ("name", name):
                return self.identifier(name)
            case ("self",):
                return self.this()
            case ("attribute", holder, field):
                return f"{self.value(holder)}.{self.identifier(field)}"
            case ("number", digits):
                return digits
            case ("string", text):
                return f'"{text}"'
            case ("truth", truth):
                return self.words["true" if truth else "false"]
            case ("binary", operator, left, right):
                return f"{self.operand(left, operator, False)} {operator} {self.operand(right, operator, True)}"
            case ("compare", operator, left, right):
                shown = {"==": self.same, "!=": self.different}.get(operator, operator)
                return f"{self.value(left)} {shown} {self.value(right)}"
            case ("equal", left, right):
                return self.equal(self.value(left), self.value(right))
            case ("and" | "or", left, right):
                inner = [f"({self.value(x)})" if x[0] in ("and", "or") and x[0] != e[0] else self.value(x) for x in (left, right)]
                return f" {self.words[e[0]]} ".join(inner)
            case ("not", inner):
                return f"{self.words['not']}{self.value(inner)}"
            case ("call", words, arguments):
                return f"{self.identifier(words)}({self.arguments(arguments)})"
            case ("method", holder, words, arguments):
                return f"{self.value(holder)}.{self.identifier(words)}({self.arguments(arguments)})"
        return getattr(self, f"value_{e[0]}")(*e[1:])

    def operand(self, e: tuple, operator: str, right: bool) -> str:
        if e[0] != "binary":
            return self.value(e)
        bare = not right and BINDING[e[1]] >= BINDING[operator] and "%" not in (e[1], operator)
        return self.value(e) if bare else f"({self.value(e)})"

    def arguments(self, arguments: list[tuple]) -> str:
        return ", ".join(self.value(a) for a in arguments)

    def receiver(self, e: tuple) -> str:
        """An expression that a method is called of."""
        return f"({self.value(e)})" if e[0] == "binary" else self.value(e)

    def equal(self, left: str, right: str) -> str:
        return f"{left} {self.same} {right}"

    def value_index(self, holder: tuple, at: tuple) -> str:
        return f"{self.value(holder)}[{self.value(at)}]"

    # --- statements ---

    def line(self, text: str, is_comment: bool = False) -> None:
        self.lines.append((self.depth, text, is_comment))

    def block(self, head: str, body: list[tuple]) -> None:
        """A head, its block one step in, and what closes it."""
        self.line(head + " {")
        self.inner(body)
        self.line("}")

    def inner(self, body: list[tuple]) -> None:
        self.depth += 1
        for statement in body:
            self.statement(statement)
        self.depth -= 1

    def statement(self, s: tuple) -> None:
        match s:
            case ("set", target, value):
                self.line(f"{self.value(target)} = {self.value(value)}{self.end}")
            case ("change", operator, target, value):
                self.line(f"{self.value(target)} {operator}= {self.value(value)}{self.end}")
            case ("do", call):
                self.line(self.value(call) + self.end)
            case ("return", None):
                self.line("return" + self.end)
            case ("return", value):
                self.line(f"return {self.value(value)}{self.end}")
            case ("break" | "continue",):
                self.line(s[0] + self.end)
            case ("comment", text):
                self.line(f"{self.comment} {text}", True)
            case ("let", name, kind, value, mutable):
                self.let(self.identifier(name), kind, self.value(value), mutable)
            case ("if", arms, other):
                self.conditional(arms, other)
            case _:
                getattr(self, f"write_{s[0]}")(*s[1:])

    def conditional(self, arms: list, other: list[tuple]) -> None:
        for number, (condition, body) in enumerate(arms):
            if number:
                self.line(f"}} else if {self.test(condition)} {{")
            else:
                self.line(f"if {self.test(condition)} {{")
            self.inner(body)
        if other:
            self.line("} else {")
            self.inner(other)
        self.line("}")

    def test(self, condition: tuple) -> str:
        return f"({self.value(condition)})"

    def write_while(self, condition: tuple, body: list[tuple]) -> None:
        self.block(f"while {self.test(condition)}", body)

    def write_collect(self, name, kind, item, item_kind, source, value, condition) -> None:
        """A loop, where the language has no expression for it."""
        self.statement(("let", name, kind, ("list", kind, []), True))
        add = [("append", ("name", name), value, kind)]
        body = [("if", [(condition, add)], [])] if condition else add
        self.statement(("each", item, item_kind, source, body, ""))

    def text(self) -> Text:
        self.whole()
        code = "\n".join(self.indent * depth + text for depth, text, _ in self.lines)
        tokens = [t for _, text, is_comment in self.lines if not is_comment for t in TOKEN.findall(text)]
        return Text(self.identifier(self.function.words), code, tokens)


class Python(Writer):
    end = ""
    words = {"and": "and", "or": "or", "not": "not ", "true": "True", "false": "False"}
    comment = "#"
    types = {"int": "int", "str": "str", "bool": "bool", "ints": "list[int]", "strs": "list[str]"}

    def identifier(self, words):
        return words if isinstance(words, str) else "_".join(words)

    def this(self):
        return "self"

    def block(self, head, body):
        self.line(head + ":")
        self.inner(body)

    def value_min(self, a, b):
        return f"min({self.value(a)}, {self.value(b)})"

    def value_max(self, a, b):
        return f"max({self.value(a)}, {self.value(b)})"

    def value_trim(self, e):
        return f"{self.receiver(e)}.strip()"

    def value_upper(self, e):
        return f"{self.receiver(e)}.upper()"

    def value_digits(self, e):
        return f"str({self.value(e)})"

    def value_length(self, e):
        return f"len({self.value(e)})"

    def value_contains(self, holder, item):
        return f"{self.value(item)} in {self.value(holder)}"

    def value_list(self, kind, entries):
        return f"[{self.arguments(entries)}]"

    def let(self, name, kind, value, mutable):
        self.line(f"{name} = {value}")

    def conditional(self, arms, other):
        for number, (condition, body) in enumerate(arms):
            self.block(f"{'elif' if number else 'if'} {self.value(condition)}", body)
        if other:
            self.block("else", other)

    def test(self, condition):
        return self.value(condition)

    def write_each(self, name, kind, source, body, counter):
        if counter:
            self.block(f"for {counter}, {name} in enumerate({self.value(source)})", body)
        else:
            self.block(f"for {name} in {self.value(source)}", body)

    def write_range(self, name, limit, body):
        self.block(f"for {name} in range({self.value(limit)})", body)

    def write_collect(self, name, kind, item, item_kind, source, value, condition):
        end = f" if {self.value(condition)}" if condition else ""
        self.line(f"{name} = [{self.value(value)} for {item} in {self.value(source)}{end}]")

    def write_choose(self, name, kind, condition, a, b):
        self.line(f"{name} = {self.value(a)} if {self.value(condition)} else {self.value(b)}")

    def write_append(self, target, value, kind):
        self.line(f"{self.value(target)}.append({self.value(value)})")

    def write_log(self, arguments):
        self.line(f"print({self.arguments(arguments)})")

    def write_fail(self, text):
        self.line(f'raise ValueError("{text}")')

    def whole(self):
        f = self.function
        typed = [f"{n}: {self.types.get(t, t)}" if f.typed else n for n, t in f.parameters]
        typed = ["self"] * bool(f.owner) + typed
        returns = f" -> {self.types.get(f.returns, 'None')}" if f.typed else ""
        self.line(f"def {self.identifier(f.words)}({', '.join(typed)}){returns}:")
        if f.typed or "\n" in f.docstring:
            first, *rest = f.docstring.split("\n")
            self.depth = 1
            self.line('"""' + first + ("" if rest else '"""'), True)
            for number, text in enumerate(rest):
                self.lines.append((1 if text else 0, text, True))
            if rest:
                self.line('"""', True)
            self.depth = 0
        self.inner(f.body)


class Java(Writer):
    types = {"int": "int", "str": "String", "bool": "boolean", "ints": "List<Integer>", "strs": "List<String>", "": "void"}

    def equal(self, left, right):
        return f"{left}.equals({right})" if left[0] != '"' else f"{right}.equals({left})"

    def value_min(self, a, b):
        return f"Math.min({self.value(a)}, {self.value(b)})"

    def value_max(self, a, b):
        return f"Math.max({self.value(a)}, {self.value(b)})"

    def value_trim(self, e):
        return f"{self.receiver(e)}.trim()"

    def value_upper(self, e):
        return f"{self.receiver(e)}.toUpperCase()"

    def value_digits(self, e):
        return f"String.valueOf({self.value(e)})"

    def value_length(self, e):
        return f"{self.value(e)}.size()"

    def value_index(self, holder, at):
        return f"{self.value(holder)}.get({self.value(at)})"

    def value_contains(self, holder, item):
        return f"{self.value(holder)}.contains({self.value(item)})"

    def value_list(self, kind, entries):
        return f"List.of({self.arguments(entries)})" if entries else "new ArrayList<>()"

    def let(self, name, kind, value, mutable):
        self.line(f"{self.types.get(kind, kind)} {name} = {value};")

    def write_each(self, name, kind, source, body, counter):
        if counter:
            self.line(f"for (int {counter} = 0; {counter} < {self.value(source)}.size(); {counter}++) {{")
            self.depth += 1
            self.let(self.identifier(name), kind, f"{self.value(source)}.get({counter})", False)
            self.depth -= 1
            self.inner(body)
            self.line("}")
        else:
            self.block(f"for ({self.types[kind]} {self.identifier(name)} : {self.value(source)})", body)

    def write_range(self, name, limit, body):
        self.block(f"for (int {name} = 0; {name} < {self.value(limit)}; {name}++)", body)

    def write_choose(self, name, kind, condition, a, b):
        self.let(self.identifier(name), kind, f"{self.value(condition)} ? {self.value(a)} : {self.value(b)}", False)

    def write_append(self, target, value, kind):
        self.line(f"{self.value(target)}.add({self.value(value)});")

    def write_log(self, arguments):
        self.line(f'System.out.println({" + ".join(self.receiver(a) for a in arguments)});')

    def write_fail(self, text):
        self.line(f'throw new IllegalStateException("{text}");')

    def whole(self):
        f = self.function
        parameters = ", ".join(f"{self.types.get(t, t)} {self.identifier(n)}" for n, t in f.parameters)
        static = "" if f.owner else "static "
        self.block(f"public {static}{self.types[f.returns]} {self.identifier(f.words)}({parameters})", f.body)


class JavaScript(Writer):
    indent = "  "
    same, different = "===", "!=="

    def value_min(self, a, b):
        return f"Math.min({self.value(a)}, {self.value(b)})"

    def value_max(self, a, b):
        return f"Math.max({self.value(a)}, {self.value(b)})"

    def value_trim(self, e):
        return f"{self.receiver(e)}.trim()"

    def value_upper(self, e):
        return f"{self.receiver(e)}.toUpperCase()"

    def value_digits(self, e):
        return f"String({self.value(e)})"

    def value_length(self, e):
        return f"{self.value(e)}.length"

    def value_contains(self, holder, item):
        return f"{self.value(holder)}.includes({self.value(item)})"

    def value_list(self, kind, entries):
        return f"[{self.arguments(entries)}]"

    def let(self, name, kind, value, mutable):
        self.line(f"{'let' if mutable else 'const'} {name} = {value};")

    def write_each(self, name, kind, source, body, counter):
        names = f"[{counter}, {self.identifier(name)}]" if counter else self.identifier(name)
        entries = ".entries()" if counter else ""
        self.block(f"for (const {names} of {self.value(source)}{entries})", body)

    def write_range(self, name, limit, body):
        self.block(f"for (let {name} = 0; {name} < {self.value(limit)}; {name}++)", body)

    def write_collect(self, name, kind, item, item_kind, source, value, condition):
        keep = f".filter(({self.identifier(item)}) => {self.value(condition)})" if condition else ""
        made = f".map(({self.identifier(item)}) => {self.value(value)})"
        self.let(self.identifier(name), kind, self.value(source) + keep + made, False)

    def write_choose(self, name, kind, condition, a, b):
        self.let(self.identifier(name), kind, f"{self.value(condition)} ? {self.value(a)} : {self.value(b)}", False)

    def write_append(self, target, value, kind):
        self.line(f"{self.value(target)}.push({self.value(value)});")

    def write_log(self, arguments):
        self.line(f"console.log({self.arguments(arguments)});")

    def write_fail(self, text):
        self.line(f'throw new Error("{text}");')

    def whole(self):
        f = self.function
        parameters = ", ".join(self.identifier(n) for n, _ in f.parameters)
        self.block(f"function {self.identifier(f.words)}({parameters})", f.body)


class Go(Writer):
    indent = "\t"
    end = ""
    types = {"int": "int", "str": "string", "bool": "bool", "ints": "[]int", "strs": "[]string"}

    def this(self):
        return self.function.owner.lower()

    def value_min(self, a, b):
        return f"min({self.value(a)}, {self.value(b)})"

    def value_max(self, a, b):
        return f"max({self.value(a)}, {self.value(b)})"

    def value_trim(self, e):
        return f"strings.TrimSpace({self.value(e)})"

    def value_upper(self, e):
        return f"strings.ToUpper({self.value(e)})"

    def value_digits(self, e):
        return f"strconv.Itoa({self.value(e)})"

    def value_length(self, e):
        return f"len({self.value(e)})"

    def value_contains(self, holder, item):
        return f"slices.Contains({self.value(holder)}, {self.value(item)})"

    def value_list(self, kind, entries):
        return f"{self.types[kind]}{{{self.arguments(entries)}}}"

    def let(self, name, kind, value, mutable):
        self.line(f"{name} := {value}")

    def test(self, condition):
        return self.value(condition)

    def write_each(self, name, kind, source, body, counter):
        self.block(f"for {counter or '_'}, {self.identifier(name)} := range {self.value(source)}", body)

    def write_range(self, name, limit, body):
        self.block(f"for {name} := 0; {name} < {self.value(limit)}; {name}++", body)

    def write_while(self, condition, body):
        self.block(f"for {self.value(condition)}", body)

    def write_choose(self, name, kind, condition, a, b):
        self.let(self.identifier(name), kind, self.value(b), True)
        self.conditional([(condition, [("set", ("name", name), a)])], [])

    def write_append(self, target, value, kind):
        self.line(f"{self.value(target)} = append({self.value(target)}, {self.value(value)})")

    def write_log(self, arguments):
        self.line(f"fmt.Println({self.arguments(arguments)})")

    def write_fail(self, text):
        self.line(f'panic("{text}")')

    def whole(self):
        f = self.function
        parameters = ", ".join(f"{self.identifier(n)} {self.types.get(t, '*' + t)}" for n, t in f.parameters)
        receiver = f"({self.this()} *{f.owner}) " if f.owner else ""
        returns = f" {self.types[f.returns]}" if f.returns else ""
        self.block(f"func {receiver}{self.identifier(f.words)}({parameters}){returns}", f.body)


WRITERS = {"python": Python, "java": Java, "javascript": JavaScript, "go": Go}


def write(function, language: str) -> Text:
    """The function in a language of `LANGUAGES`."""
    return WRITERS[language](function).text()
