"""One command, called: data and options become words, the answer a run."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import _native
from ._data import Columns, Prepared, more, place_of, prepare
from ._options import Command, commands, in_python, is_model, text_of, unknown, words
from ._progress import Listener, Progress
from .results import Compression, FineTuning, Pruning
from .run import Run

# Of further data that may lie in memory, too.
FURTHER = ("dev", "and_", "select_on", "test", "train")
# How the model is opened, for a look at it before.
OPENING = ("revision", "offline", "cache_dir", "allow_unexpected")


def call(argv: list[str], progress: Progress = None) -> dict[str, Any]:
    """Runs a command in this process, and gives its document.

    Raises `InputError`, `WorkError` and `Interrupted`, whose messages name options as Python does.

    >>> call(["inspect", "assets/tiny-bert"])["family"]                        # doctest: +SKIP
    'BERT'
    """
    with Listener(progress) as listener:
        try:
            found: dict[str, Any] = json.loads(_native.run(argv, listener))
        except (_native.Error, _native.Interrupted) as error:
            if error.args and isinstance(error.args[0], str):
                error.args = (in_python(error.args[0]), *error.args[1:])
            raise
        except KeyboardInterrupt as error:
            # Ctrl-C came while the listener was called.
            raise _native.Interrupted(
                "interrupted; what was saved is kept in the output folder, and resume=True goes on"
            ) from error
    return found


def model_word(model: Any) -> str:
    """A model as the command takes it: a name, a folder, or a `bertology.Model`.

    Raises `TypeError` for what is no model.

    >>> model_word("bert-base-uncased")
    'bert-base-uncased'
    """
    if isinstance(model, (Pruning, Compression, FineTuning)):
        return str(model.model_path)
    if isinstance(model, (str, os.PathLike)) or is_model(model):
        return text_of(model, "model")
    raise TypeError(
        f"model: a {type(model).__name__} cannot be given; give a name, a folder or a bertology.Model made of it"
    )


class Call:
    """A command that is being put together. What it writes on the way lies in `work`, a temporary folder."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.command: Command = commands()[name]
        self.name = name
        self.options = dict(options)
        self.positional: list[str] = []
        self.work = tempfile.TemporaryDirectory(prefix="bertology-", ignore_cleanup_errors=True)
        self.output: str | None = None

    def __enter__(self) -> Call:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is not None:
            self.work.cleanup()

    @property
    def folder(self) -> Path:
        """The temporary folder."""
        return Path(self.work.name)

    def argv(self) -> list[str]:
        """The words of the command line: options first, so that no text is taken for one."""
        options = {name: self._on_disk(name, value) for name, value in self.options.items()}
        if self.output is not None:
            options["output"] = self.output
        found = [*self.name.split(" "), *words(self.name, options)]
        return [*found, "--", *self.positional] if self.positional else found

    def _on_disk(self, name: str, value: Any) -> Any:
        """An array by layer and head, such as a mask, is a file to the command."""
        if isinstance(value, np.ndarray) and value.ndim == 2:
            path = self.folder / f"{name}.npy"
            np.save(path, np.asarray(value, dtype=np.float32 if name == "mask" else None))
            return str(path)
        return value

    def add_model(self, model: Any) -> None:
        """The model comes first of what has no name; how it was opened is said unless the options say otherwise."""
        self.positional.append(model_word(model))
        opened: dict[str, Any] = model._opened_with() if hasattr(model, "_opened_with") else {}
        known = {name: value for name, value in opened.items() if value is not None and self.command.has(name)}
        self.options = {**known, **self.options}

    def add_data(self, data: Any, model: Any) -> None:
        """Data in a file or in memory. Without any, the options say where they are."""
        columns = Columns(self._take("text", data), self._take("pair", data), self._take("label", data))
        if data is None:
            if columns.said:
                raise TypeError("text=, pair= and label= name the columns of data, and there are none")
            return
        place = place_of(self.command)
        for given in (place, *(("text",) if place == "data" else ())):
            if self.options.get(given) is not None:
                raise TypeError(f"data are given twice, and as {given}=; leave one of them out")
        # The classes are asked for once, and only if they decide anything.
        labels = _Once(lambda: model_labels(model, self.options))
        prepared = prepare(data, self.command, self.folder, columns, self.options, labels)
        for name in FURTHER:
            self._add_further(name, prepared, labels)
        self.options = {**prepared.options, **self.options}

    def _add_further(self, name: str, like: Prepared, labels: Callable[[], list[str] | None]) -> None:
        if self.options.get(name) is not None and self.command.has(name):
            path = self.folder / f"{name.rstrip('_')}.jsonl"
            self.options[name] = more(self.options[name], like, path, self.command, self.options, labels)

    def _take(self, name: str, data: Any) -> Any:
        """`text=` is a column beside data, and the command's own option without them."""
        if data is None and self.command.has(name):
            return None
        value = self.options.pop(name, None)
        if value is not None and place_of(self.command) != "data":
            raise TypeError(unknown(self.name, name, self.command.options))
        if value is not None and not isinstance(value, (str, bool)):
            raise TypeError(f"{name}={value!r}: the name of a column is expected")
        if value is True:
            raise TypeError(f"{name}=True: the name of a column is expected, or False for none")
        return value

    def write_to(self, output: str | os.PathLike[str] | None, name: str = "run") -> str:
        """Where the command writes: the user's place, or one in the temporary folder."""
        if output is None:
            for option in ("resume", "overwrite"):
                if self.options.get(option):
                    raise TypeError(f"{option}=True is about a folder that is there: give it as output=")
            self.output = str(self.folder / name)
        else:
            self.output = os.fspath(output)
        return self.output

    def run(self, progress: Progress) -> dict[str, Any]:
        """Calls it."""
        if self.options.get("part") is not None:
            raise TypeError(
                "part= makes a folder to be merged and no run: see bertology.distributed, or use the command"
            )
        try:
            return call(self.argv(), progress)
        except _native.Interrupted as error:
            if self.output is None or not self.output.startswith(self.work.name):
                raise
            raise _native.Interrupted("interrupted; nothing is kept without output=") from error

    def keep(self, run: Run) -> Run:
        """The run, with the temporary folder if it lies there; else that is removed."""
        if Path(self.work.name) in run.path.parents:
            # What was written for the command to read is read no more.
            for left in self.folder.iterdir():
                if left not in (run.path, *run.path.parents):
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
            run._temporary = self.work
        else:
            self.work.cleanup()
        return run


class _Once:
    """A function that is called at most once."""

    def __init__(self, ask: Callable[[], list[str] | None]) -> None:
        self._ask = ask
        self._answer: list[list[str] | None] = []

    def __call__(self) -> list[str] | None:
        if not self._answer:
            self._answer.append(self._ask())
        return self._answer[0]


def model_labels(model: Any, options: Mapping[str, Any]) -> list[str] | None:
    """The names of a model's classes; `None` for a model without any.

    >>> model_labels("assets/tiny-bert", {})                                   # doctest: +SKIP
    ['LABEL_0', 'LABEL_1']
    """
    opening = {name: options.get(name) for name in OPENING}
    argv = ["inspect", *words("inspect", opening), "--", model_word(model)]
    return call(argv, False).get("labels") or None


def paths(name: str, given: Any) -> list[str]:
    """One path or several, as words.

    >>> paths("parts", "part-1"), paths("parts", ["part-1", "part-2"])
    (['part-1'], ['part-1', 'part-2'])
    """
    if isinstance(given, (str, os.PathLike)):
        return [os.fspath(given)]
    if not isinstance(given, Iterable):
        raise TypeError(f"{name}={given!r}: a path or several are expected")
    return [os.fspath(path) for path in given]
