"""Stands in for `bertology._native` where it is not built: commands run as processes of a built program.

The program is `BERTOLOGY_BINARY`, or that of a release build; what it knows of options was recorded by `record_commands.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

__version__ = "0.0.0"
BINARY = os.environ.get("BERTOLOGY_BINARY") or str(Path(__file__).parents[2] / "target" / "release" / "bertology")
RECORDED = Path(__file__).with_name("commands.json")


class Error(Exception):
    """As the native one."""


class InputError(Error, ValueError):
    """As the native one."""


class WorkError(Error, RuntimeError):
    """As the native one."""


class Interrupted(KeyboardInterrupt):
    """As the native one."""


class Model:
    """A model that is only a name."""

    def __init__(self, name: str) -> None:
        self.name = name


KINDS: dict[str, type[BaseException]] = {"input": InputError, "work": WorkError, "interrupted": Interrupted}


def run(argv: list[str], listener: Any) -> str:
    """One command as a process; its notes are told when it has ended."""
    words = argv[: argv.index("--")] if "--" in argv else argv
    rest = argv[len(words) :]
    done = subprocess.run([BINARY, *words, "--json", *rest], capture_output=True, text=True, check=False)
    if listener is not None:
        listener.begin(argv[0], "units", 2)
        listener.advance(1)
        for line in done.stderr.splitlines():
            if line.startswith("note: "):
                listener.note(line.removeprefix("note: "))
        listener.advance(2)
        listener.end()
    document, end = json.JSONDecoder().raw_decode(done.stdout) if done.stdout.strip() else ({}, 0)
    more = done.stdout[end:].strip()
    failure = json.loads(more) if more else document if set(document) == {"error"} else None
    if failure is not None and not more:
        raise KINDS[failure["error"]["kind"]](failure["error"]["message"])
    if failure is not None:
        document["error"] = failure["error"]
    if not document:
        # What the parser of options refuses is no document.
        raise InputError(done.stderr.removeprefix("error: ").strip())
    return json.dumps(document)


def main(argv: list[str]) -> int:
    """The program in place of this process, so that it hears signals itself."""
    os.execv(BINARY, [BINARY, *argv[1:]])


def commands() -> str:
    """What was recorded."""
    return RECORDED.read_text(encoding="utf-8")
