"""What `bertology._native.commands()` gives, read from the help of a built command, for tests without it.

python record_commands.py BINARY > commands.json
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

# Of what help does not say: that an option may be given several times, and what stands between values.
REPEATED = re.compile(r"may be repeated|may be given several times|repeat it|separate heads with spaces")
DELIMITED = re.compile(r"several with\s+commas|commas between|with commas")
OF_HEADS = {"attentions", "attention-scores", "head-outputs", "head-contributions", "queries", "keys", "values"}


def text_of(binary: str, words: list[str]) -> str:
    """The whole help of a command."""
    return subprocess.run([binary, *words, "--help"], capture_output=True, text=True, check=True).stdout


def subcommands(help_text: str) -> list[tuple[str, str]]:
    """Names and what they do, from the list in a help."""
    found = re.search(r"^Commands:\n(.*?)\n\n", help_text, re.S | re.M)
    if not found:
        return []
    entries: list[tuple[str, str]] = []
    for line in found[1].splitlines():
        start = re.match(r"  (\S+)\s+(.*)", line)
        if start:
            entries.append((start[1], start[2]))
        elif entries:
            entries[-1] = (entries[-1][0], f"{entries[-1][1]} {line.strip()}")
    return [(name, about) for name, about in entries if name != "help"]


def arguments(help_text: str) -> list[dict[str, Any]]:
    """Positional arguments and options of a help."""
    heading: str | None = None
    found: list[dict[str, Any]] = []
    body: list[str] = []

    def close() -> None:
        if found and "help" not in found[-1]:
            finish(found[-1], body)
        body.clear()

    for line in help_text.splitlines():
        title = re.fullmatch(r"([A-Z][\w ]*):", line)
        option = re.fullmatch(r" {2}(?:-(\w), | {4})--([\w-]+)(?: (\[?)<([^>]+)>\]?(\.\.\.)?)?", line)
        positional = re.fullmatch(r" {2}([<\[])([A-Z_]+)[>\]](\.\.\.)?", line)
        if title or option or positional:
            close()
        if title:
            heading = None if title[1] in ("Options", "Arguments") else title[1]
        elif option:
            short, long, _, value, dots = option.groups()
            found.append(entry(long.replace("-", "_"), long, short, value, heading, bool(dots)))
        elif positional:
            argument = entry(positional[2].lower(), None, None, positional[2], None, bool(positional[3]))
            argument["positional"] = True
            found.append(argument)
        elif line.startswith("          "):
            body.append(line.strip())
        elif not line.strip():
            body.append("")
    close()
    return [argument for argument in found if argument["long"] not in ("help", "version")]


def entry(
    name: str, long: str | None, short: str | None, value: str | None, heading: str | None, dots: bool
) -> dict[str, Any]:
    """An argument of which only the names are known."""
    return {
        "id": name,
        "long": long,
        "short": short,
        "positional": False,
        "value_names": [value] if value else [],
        "takes_value": value is not None,
        "multiple": dots,
        "delimiter": None,
        "default": [],
        "values": [],
        "heading": heading,
        "hidden": False,
    }


def finish(argument: dict[str, Any], lines: list[str]) -> None:
    """Adds what the description says."""
    argument["values"] = [v[1] for line in lines if (v := re.match(r"- ([\w+-]+):", line))]
    text = " ".join(line for line in lines if line and not line.startswith("- ")).replace("Possible values:", "")
    default = re.search(r"(?<=\s)\[default: ([^\]]*)\]$", text.strip())
    own_line = any(line.startswith("[default: ") for line in lines)
    if default and own_line:
        text = text.replace(default[0], "")
    values = re.search(r"\[possible values: ([^\]]+)\]", text)
    if values:
        argument["values"] = values[1].split(", ")
        text = text.replace(values[0], "")
    argument["help"] = re.sub(r"\s+", " ", text).strip()
    if DELIMITED.search(text) and argument["takes_value"]:
        argument["delimiter"], argument["multiple"] = ",", True
    if REPEATED.search(text) or argument["long"] in OF_HEADS:
        argument["multiple"] = True
    if default and own_line:
        argument["default"] = default[1].split(",") if argument["delimiter"] else [default[1]]


def record(binary: str) -> list[dict[str, Any]]:
    """All commands, those with commands of their own by two names."""
    commands: list[dict[str, Any]] = []
    for name, about in subcommands(text_of(binary, [])):
        help_text = text_of(binary, [name])
        inner = subcommands(help_text)
        for sub, sub_about in inner:
            args = arguments(text_of(binary, [name, sub]))
            commands.append({"name": f"{name} {sub}", "about": sub_about, "args": args})
        if not inner:
            commands.append({"name": name, "about": about, "args": arguments(help_text)})
    return commands


if __name__ == "__main__":
    json.dump(record(sys.argv[1]), sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
