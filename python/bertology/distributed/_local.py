"""Parts as processes of this machine."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

from ._parts import ATTEMPTS, LOGGER, Outcome, Plan, wait_for_others

INPUT, INTERRUPTED = 2, 130


class Local:
    """So many processes at a time."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()

    def threads(self, parts: int) -> int:
        """The cores, shared out."""
        return max(1, cores() // min(self.workers, parts))

    def outcomes(self, plan: Plan, numbers: list[int]) -> Generator[Outcome, None, None]:
        """See `Engine`."""
        waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        ended: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        for number in numbers:
            waiting.put(number)
        count = min(self.workers, len(numbers))
        threads = [threading.Thread(target=self._work, args=(plan, waiting, ended)) for _ in range(count)]
        try:
            for thread in threads:
                thread.start()
            for _ in numbers:
                yield ended.get()
        finally:
            self._end()
            for thread in threads:
                # Ctrl-C may come before all are started.
                if thread.ident is not None:
                    thread.join()

    def close(self) -> None:
        """Nothing is left."""

    def _work(self, plan: Plan, waiting: queue.SimpleQueue[int], ended: queue.SimpleQueue[Outcome]) -> None:
        while not self._stop.is_set():
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                ended.put(self._make(plan, number))
            except Exception as error:
                # A thread that ends without a word would be waited for.
                ended.put(Outcome(number, "work", f"{type(error).__name__}: {error}"))

    def _make(self, plan: Plan, number: int) -> Outcome:
        """Attempts at a part."""
        outcome = Outcome(number, "interrupted")
        for attempt in range(1, ATTEMPTS + 1):
            wait_for_others(plan.place(number), self._stop)
            if self._stop.is_set():
                break
            outcome = replace(self._attempt(plan, number), attempts=attempt)
            if not outcome.may_be_tried_again or self._stop.is_set():
                break
            LOGGER.warning("part %s of %s: %s", number, plan.count, outcome.message)
        return outcome

    def _attempt(self, plan: Plan, number: int) -> Outcome:
        with self._lock:
            if self._stop.is_set():
                return Outcome(number, "interrupted")
            process = start(plan.argv(number))
            self._running.add(process)
        try:
            # Standard input stays open: the worker takes its end for the driver's.
            assert process.stdout is not None
            said = process.stdout.read()
            code = process.wait()
        finally:
            with self._lock:
                self._running.discard(process)
            if process.stdin is not None:
                process.stdin.close()
        return Outcome(number, kind_of(code), message_of(said, code))

    def _end(self) -> None:
        """Asks all processes once to save and end: a second signal would end them at once."""
        with self._lock:
            self._stop.set()
            for process in self._running:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start(argv: list[str]) -> subprocess.Popen[str]:
    """A worker, in a session of its own, so that Ctrl-C reaches the driver alone."""
    # It must find the package where this process has found it.
    found = [os.environ.get("PYTHONPATH", ""), str(Path(__file__).parents[2])]
    return subprocess.Popen(
        [sys.executable, "-m", "bertology.distributed._worker", argv[0], "--json", *argv[1:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # What it notes in every part was said of the first; errors are in the document.
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in found if path)},
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )


def kind_of(code: int) -> str:
    """How a process ended."""
    if code < 0:
        return "died"
    return {0: "done", INPUT: "input", INTERRUPTED: "interrupted"}.get(code, "work")


def message_of(said: str, code: int) -> str:
    """The reason that a document gives."""
    if code < 0:
        return f"the worker was ended by signal {-code}"
    if code == 0:
        return ""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(said)["error"]["message"])
    return f"the worker ended with exit code {code}"
