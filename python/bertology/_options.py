"""Keyword arguments as the words of a command line, and a command's messages as Python says them."""

from __future__ import annotations

import difflib
import json
import keyword
import numbers
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from . import _native

# What a function decides by itself: how it prints, and what the program says of itself.
NOT_OFFERED = frozenset({"json", "quiet", "color", "help", "version"})


@dataclass(frozen=True)
class Argument:
    """An option or a positional argument of a command, as the command's own parser knows it."""

    id: str
    long: str | None
    positional: bool
    takes_value: bool
    multiple: bool
    delimiter: str | None
    value_names: tuple[str, ...]
    values: tuple[str, ...]
    default: tuple[str, ...]
    help: str
    heading: str | None
    hidden: bool

    @property
    def keyword(self) -> str:
        """Its name in Python: `max_length`, and `and_` where the word is Python's own."""
        name = (self.long or self.id).replace("-", "_")
        return f"{name}_" if keyword.iskeyword(name) else name


@dataclass(frozen=True)
class Command:
    """A command with its arguments."""

    name: str
    about: str
    arguments: tuple[Argument, ...]

    @property
    def options(self) -> dict[str, Argument]:
        """What may be given by keyword, in the order of the help."""
        found = (a for a in self.arguments if not a.positional and not a.hidden)
        return {a.keyword: a for a in found if a.long and a.long not in NOT_OFFERED}

    def has(self, name: str) -> bool:
        """Whether there is an option of this keyword."""
        return name in self.options


@cache
def commands() -> dict[str, Command]:
    """Every command by its name; one with commands of its own is there as `edge-data ud-deps` and so on.

    >>> commands()["importance"].has("max_length")
    True
    """
    return {command.name: command for command in _flat(json.loads(_native.commands()), "")}


def _flat(documents: Iterable[Mapping[str, Any]], before: str) -> Iterable[Command]:
    for document in documents:
        name = f"{before}{document['name']}"
        inner = document.get("commands") or []
        yield from _flat(inner, f"{name} ")
        if not inner:
            arguments = tuple(_argument(a) for a in document["args"])
            yield Command(name, document.get("about") or "", arguments)


def _argument(document: Mapping[str, Any]) -> Argument:
    return Argument(
        id=document["id"],
        long=document.get("long"),
        positional=bool(document.get("positional")),
        takes_value=bool(document.get("takes_value")),
        multiple=bool(document.get("multiple")),
        delimiter=document.get("delimiter"),
        value_names=tuple(document.get("value_names") or ()),
        values=tuple(document.get("values") or ()),
        default=tuple(document.get("default") or ()),
        help=document.get("help") or "",
        heading=document.get("heading"),
        hidden=bool(document.get("hidden")),
    )


def words(command: str, options: Mapping[str, Any]) -> list[str]:
    """The options of a command line, each a word of its own.

    `True` is a flag that is set, `False` one that is not, `None` an option that is not given, a list an option with
    several values, a dictionary one with several `NAME=VALUE`.

    Raises `TypeError` for what the command does not know, and names what is near it.

    >>> words("importance", {"task": "mrpc", "max_length": 64, "unmasked": True, "limit": None})
    ['--task=mrpc', '--max-length=64', '--unmasked']
    """
    known = commands()[command].options
    found: list[str] = []
    for name, value in options.items():
        argument = known.get(name)
        if argument is None:
            raise TypeError(unknown(command, name, known))
        found.extend(_words_of(command, argument, value))
    return found


def unknown(command: str, name: str, known: Iterable[str]) -> str:
    """What is said of a keyword that a command has not.

    >>> unknown("mask", "max_lenght", ["max_length", "limit"])
    "mask() has no option 'max_lenght'; did you mean max_length?"
    """
    function = command.replace("-", "_").replace(" ", ".")
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    else_ = f"; did you mean {' or '.join(near)}?" if near else f"; options({function!r}) names all that there are"
    return f"{function}() has no option {name!r}{else_}"


def _words_of(command: str, argument: Argument, value: Any) -> list[str]:
    option = f"--{argument.long}"
    if value is None:
        return []
    if not argument.takes_value:
        if isinstance(value, bool) or _is_numpy_bool(value):
            return [option] if value else []
        raise TypeError(f"{argument.keyword}={value!r}: True or False is expected")
    if isinstance(value, bool) or _is_numpy_bool(value):
        if {"yes", "no"} <= set(argument.values):
            return [f"{option}={'yes' if value else 'no'}"]
        # Some options have a value that may be left out, which the command says where it is not so.
        return [option] if value else []
    if isinstance(value, Mapping):
        return [f"{option}={key}={text_of(item, argument.keyword)}" for key, item in value.items()]
    if _is_several(value) and not _is_head(argument, value):
        items = [text_of(item, argument.keyword) for item in value]
        if not items:
            raise ValueError(f"{argument.keyword}=[]: an empty list says nothing; leave {argument.keyword} out")
        if argument.delimiter is not None:
            for item in items:
                if argument.delimiter in item:
                    raise ValueError(
                        f"{argument.keyword}: {item!r} has {argument.delimiter!r} in it, which stands between values"
                    )
            return [f"{option}={argument.delimiter.join(items)}"]
        if not argument.multiple:
            raise TypeError(f"{argument.keyword}={value!r}: {command} takes one value here")
        return [f"{option}={item}" for item in items]
    return [f"{option}={text_of(value, argument.keyword)}"]


def text_of(value: Any, name: str) -> str:
    """One value as a word: numbers, texts, paths, models, and heads as pairs (layer, head).

    >>> text_of(0.5, "keep"), text_of((3, 5), "heads")
    ('0.5', '3.5')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, os.PathLike):
        return os.fsdecode(os.fspath(value))
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real):
        return repr(float(value))
    if _is_pair(value):
        layer, head = value
        return f"{int(layer)}.{int(head)}"
    if is_model(value):
        # Heads that were pruned in memory are in no file until somebody asks.
        return str(value._argument() if hasattr(value, "_argument") else value.name)
    raise TypeError(f"{name}={value!r}: a {type(value).__name__} cannot be given here")


def is_model(value: Any) -> bool:
    """Whether this is a `bertology.Model`, of Rust or wrapped."""
    kinds = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(value).__mro__}
    return isinstance(value, _native.Model) or bool(kinds & {"bertology.Model", "bertology.model.Model"})


def _is_numpy_bool(value: Any) -> bool:
    return type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_")


def _is_several(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes, os.PathLike))


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(n, numbers.Integral) for n in value)


def _is_head(argument: Argument, value: Any) -> bool:
    return "HEADS" in argument.value_names and _is_pair(value)


@cache
def _names() -> dict[str, Argument]:
    found: dict[str, Argument] = {}
    for command in commands().values():
        for argument in command.options.values():
            found.setdefault(str(argument.long), argument)
    return found


_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z0-9-]*)(?:([ =])((?:[^\s`',;:)]|[:](?=\S))+))?")


def in_python(text: str) -> str:
    """A message of the command with its options as keyword arguments.

    >>> in_python("leave --max-length out, or give --text FILE and --resume")
    'leave max_length= out, or give text=FILE and resume=True'
    """

    def replaced(found: re.Match[str]) -> str:
        argument = _names().get(found[1])
        if argument is None:
            return found[0]
        after = f"{found[2]}{found[3]}" if found[2] else ""
        if not argument.takes_value:
            return f"{argument.keyword}=True{after}"
        word = found[3] or ""
        # `--output out: the folder is not empty`: what stands before the colon was typed.
        is_value = found[2] == "=" or text[found.end() : found.end() + 1] == ":"
        is_value = is_value or word in argument.values or word in argument.value_names
        is_value = is_value or bool(re.fullmatch(r"<.+>|[\d.]+%?|\d+/\d+|[A-Z][A-Z/_0-9]*(?:\[:N\])?", word))
        return f"{argument.keyword}={word}" if is_value else f"{argument.keyword}={after}"

    # What the parser of a command line says to those who type one.
    text = re.split(r"\n\s*\n(?:Usage:|For more information)", text)[0].rstrip()
    return _OPTION.sub(replaced, text)
