#!/usr/bin/env python3
"""Writes `python/bertology/studies.pyi`: the functions of `studies.py` with every option of the command, for editors.

stubs.py                          # from the native module
stubs.py --commands FILE          # from what `bertology._native.commands()` gave
stubs.py --check                  # exit code 1 if the stub is another
"""

from __future__ import annotations

import argparse
import ast
import json
import keyword
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[2] / "python" / "bertology"
STUB = PACKAGE / "studies.pyi"

# What the functions take themselves, or never.
NOT_OFFERED = {"json", "quiet", "color", "help", "version", "part"}
PATHS = {"FILE", "PATH", "DIR", "FILE.html", "FILE.onnx", "OTHER", "TEACHER", "RUN", "FILES"}
WHOLE = {"N", "SEED"}
# Numbers, some of which may be given as texts such as 50% or 1pt.
NUMBERS = {
    *("P", "T", "SHARE", "RATE", "X", "D", "FACTOR", "NORM", "WEIGHT", "A", "C"),
    *("GIB", "MIB", "MB", "TIMES", "STEP", "DROP"),
}
ARRAYS = {"mask", "order", "importance"}

HEAD = '''"""Functions with every option, for editors. Made by tools/python/stubs.py from the command's definitions."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from .attention import (
    AttentionProbe,
    Cat,
    Clusters,
    Contacts,
    Coref,
    Distance,
    Dynamics,
    EdgeProbe,
    Patterns,
    Relations,
    Syntax,
)
from .extraction import Extraction
from .results import (
    Ablation,
    Bench,
    Compression,
    Evaluation,
    FineTuning,
    HeadImportance,
    Judgement,
    Masking,
    Predictions,
    Pruning,
    Verification,
    View,
)
from .run import Document, Run
from .table import Table

PathLike: TypeAlias = str | os.PathLike[str]
Heads: TypeAlias = str | tuple[int, int] | Sequence[str | tuple[int, int]]
Output: TypeAlias = PathLike | None
Progress: TypeAlias = bool | Callable[[str, int, int], None] | None
'''


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", type=Path, metavar="FILE")
    parser.add_argument("--check", action="store_true", help="write nothing")
    asked = parser.parse_args()
    if asked.commands:
        text = asked.commands.read_text(encoding="utf-8")
    else:
        from bertology import _native

        text = _native.commands()
    stub = made(json.loads(text), (PACKAGE / "studies.py").read_text(encoding="utf-8"))
    if not asked.check:
        STUB.write_text(stub, encoding="utf-8")
    elif not STUB.exists() or STUB.read_text(encoding="utf-8") != stub:
        print(f"{STUB} is not what this script writes: run it without --check", file=sys.stderr)
        return 1
    return 0


def made(commands: list[dict[str, Any]], source: str) -> str:
    """The stub of these commands for the functions of a source."""
    known = {command["name"]: command for command in flat(commands)}
    tree = ast.parse(source)
    parts = [HEAD]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            parts.extend(functions(node, known))
    return "\n".join(parts)


def flat(commands: Iterable[Mapping[str, Any]], before: str = "") -> Iterable[dict[str, Any]]:
    """Commands of commands beside the others."""
    for command in commands:
        inner = command.get("commands") or []
        name = f"{before}{command['name']}"
        yield from flat(inner, f"{name} ")
        if not inner:
            yield {**command, "name": name}


def functions(node: ast.FunctionDef, known: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """The declarations of a function: one, and two where an option changes what comes back."""
    name = node.name.replace("_", "-")
    options = options_of(known[name]) if name in known else {}
    if node.name == "edge_data":
        for command in known:
            options.update(options_of(known[command]) if command.startswith("edge-data ") else {})
    returns = ast.unparse(node.returns) if node.returns else "None"
    if "dry_run" not in options:
        yield declaration(node, options, returns)
        return
    options.pop("dry_run")
    found, _, otherwise = returns.partition(" | ")
    for literal, kind in (("Literal[False]", found), ("Literal[True]", otherwise)):
        own = f"dry_run: {literal}{' = ...' if kind == found else ''}"
        yield f"@overload\n{declaration(node, {**options, 'dry_run': own}, kind)}"


def declaration(node: ast.FunctionDef, options: Mapping[str, str], returns: str) -> str:
    """One `def`, an option a line."""
    lines = [f"def {node.name}("]
    arguments = node.args
    before = len(arguments.args) - len(arguments.defaults)
    for at, argument in enumerate(arguments.args):
        default = " = ..." if at >= before else ""
        lines.append(f"    {argument.arg}: {annotation(argument)}{default},")
    if arguments.vararg:
        lines.append(f"    *{arguments.vararg.arg}: {annotation(arguments.vararg)},")
    own = {argument.arg: annotation(argument) for argument in arguments.kwonlyargs}
    if arguments.kwarg is None:
        options = {}
    if (own or options) and not arguments.vararg:
        lines.append("    *,")
    lines.extend(f"    {name}: {kind} = ...," for name, kind in own.items())
    takes_data = any(argument.arg == "data" for argument in arguments.args) and "data" in options
    for name, text in options.items():
        if name in own or (takes_data and name == "data"):
            continue
        lines.append(f"    {text},")
    if takes_data:
        lines.extend(f"    {name}: str | Literal[False] | None = ...," for name in ("pair", "label"))
    lines = [*lines, f") -> {returns}:"] if len(lines) > 1 else [f"def {node.name}() -> {returns}:"]
    lines.append(f'    """{(ast.get_docstring(node) or "").splitlines()[0]}"""')
    return "\n".join(lines) + "\n"


def annotation(argument: ast.arg) -> str:
    """The annotation as it was written."""
    return ast.unparse(argument.annotation) if argument.annotation else "Any"


def options_of(command: Mapping[str, Any]) -> dict[str, str]:
    """Each option as a parameter."""
    found: dict[str, str] = {}
    for argument in command["args"]:
        long = argument.get("long")
        if not long or argument.get("positional") or argument.get("hidden") or long in NOT_OFFERED:
            continue
        name = long.replace("-", "_")
        name = f"{name}_" if keyword.iskeyword(name) else name
        found[name] = f"{name}: {type_of(argument, name)} | None = ..."
    return found


def type_of(argument: Mapping[str, Any], name: str) -> str:
    """What may be given."""
    if not argument["takes_value"]:
        return "bool"
    names = set(argument["value_names"])
    if argument["values"]:
        one = f"Literal[{', '.join(json.dumps(value) for value in argument['values'])}]"
        one = f"bool | {one}" if {"yes", "no"} <= set(argument["values"]) else one
        # Names and files are told from each other by the command.
        # A list of literals is more than a line holds.
        return "str | Sequence[str]" if argument["multiple"] else one
    if names & {"HEADS"}:
        return "bool | Heads"
    if names & {"LAYERS"}:
        return "bool | int | str | Sequence[int]"
    if names & WHOLE:
        default = argument.get("default") or []
        one = "int" if all(value.isdigit() for value in default) else "int | str"
    elif names & NUMBERS:
        one = "float | str"
    elif names & PATHS:
        one = "PathLike"
    elif names & {"NAME=SCORE"}:
        return "Mapping[str, float] | str | Sequence[str]"
    else:
        one = "str"
    if name in ARRAYS:
        one = f"{one} | NDArray[np.generic]"
    if name in ("dev", "and_", "select_on", "test", "against", "distill"):
        one = "Any"
    return f"{one} | Sequence[{one}]" if argument["multiple"] and one != "Any" else one


if __name__ == "__main__":
    sys.exit(main())
