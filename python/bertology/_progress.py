"""How far a command is, on a bar or in a function of the user's; its notes go to the logger `bertology`."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

from ._options import in_python

LOGGER = logging.getLogger("bertology")

# Called with what is being done, the units that are done, and all of them.
Callback = Callable[[str, int, int], None]
Progress = bool | Callback | None


class Listener:
    """Hears a command. `progress`: a function, `True`, `False`, or `None` for a bar where somebody may see it.

    >>> with Listener(False) as listener:
    ...     listener.note("nothing is drawn")
    """

    def __init__(self, progress: Progress) -> None:
        self._callback: Callback | None = None
        self._bars = False
        # A bar that nobody asked for is for work that somebody waits for.
        self._delay = 1.0 if progress is None else 0.0
        if callable(progress):
            self._callback = progress
        else:
            self._bars = somebody_looks_on() if progress is None else progress
        self._bar: Any = None
        self._label, self._total = "", 0

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        self.end()

    def note(self, text: str) -> None:
        """What the user should know: a log record of the level of warnings, with options as Python has them."""
        LOGGER.warning("%s", in_python(text))

    def begin(self, label: str, unit: str, total: int) -> None:
        """A stretch of work begins."""
        self.end()
        self._label, self._total = label, total
        if self._callback is not None:
            self._callback(label, 0, total)
        elif self._bars:
            self._bar = _bar(label, unit, total, self._delay)

    def advance(self, done: int) -> None:
        """So many units of it are done."""
        if self._callback is not None:
            self._callback(self._label, done, self._total)
        elif self._bar is not None:
            self._bar.update(done - self._bar.n)

    def end(self) -> None:
        """It is over."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def somebody_looks_on() -> bool:
    """Whether this is a notebook, or standard error a terminal."""
    return _in_notebook() or (sys.stderr is not None and sys.stderr.isatty())


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


def _bar(label: str, unit: str, total: int, delay: float) -> Any:
    if importlib.util.find_spec("tqdm") is None:
        return _Line(label, unit, total)
    from tqdm import tqdm

    kind: Any = tqdm
    if _in_notebook() and importlib.util.find_spec("ipywidgets") is not None:
        from tqdm import notebook

        kind = notebook.tqdm
    return kind(total=total, desc=label, unit=f" {unit}", leave=False, delay=delay)


class _Line:
    """A line on standard error that is written over, where tqdm is not installed."""

    def __init__(self, label: str, unit: str, total: int) -> None:
        self.n = 0
        self._label, self._unit, self._total = label, unit, total
        self._shown = ""
        self.update(0)

    def update(self, more: int) -> None:
        self.n += more
        share = 100 * self.n // max(self._total, 1)
        text = f"{self._label}: {share} % of {self._total:,} {self._unit}"
        if text != self._shown:
            sys.stderr.write(f"\r{text:<{len(self._shown)}}")
            sys.stderr.flush()
            self._shown = text

    def close(self) -> None:
        sys.stderr.write(f"\r{' ' * len(self._shown)}\r")
        sys.stderr.flush()
