"""Stands in for `bertology._native` where it is not built: commands run as processes of a built program.

The program is `BERTOLOGY_BINARY`, or that of a release build; `record_commands.py` recorded what it knows of options.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
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
    command = [BINARY, *words, "--json", *rest]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=go_with_the_parent)
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
    """The program; signals are passed on, as if it were this process."""
    process = subprocess.Popen([BINARY, *argv[1:]], preexec_fn=go_with_the_parent)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda which, _: process.send_signal(which))
    return process.wait()


def go_with_the_parent() -> None:
    """A process in the place of a module ends with that whose module it is."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def commands() -> str:
    """What was recorded."""
    return RECORDED.read_text(encoding="utf-8")
