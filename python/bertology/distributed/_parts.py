"""A run in parts: what each part is called with, where it lies, how far it is, and what went wrong."""

from __future__ import annotations

import contextlib
import filecmp
import json
import logging
import os
import shutil
import threading
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .. import _native
from .._call import Call, call, model_word
from .._options import commands, in_python, is_model, words

LOGGER = logging.getLogger("bertology")
# Seconds between two looks at a part that another process is making.
LOOK_EVERY = 0.2
# Attempts at a part whose work fails or whose worker dies. What is wrong with the input is wrong again.
ATTEMPTS = 3
# The folder within the output, and its description.
PARTS, PLAN = "parts", "plan.json"
# What a process has locked that makes a part; one that was killed leaves it.
LOCK = ".bertology-lock"
FORMAT = 1
# What the help calls values that are places on a disk.
PATHS = frozenset({"FILE", "PATH", "DIR"})


@dataclass(frozen=True)
class Outcome:
    """How a part ended: `kind` is `done`, `input`, `work`, `died` or `interrupted`."""

    number: int
    kind: str
    message: str = ""
    attempts: int = 1

    @property
    def may_be_tried_again(self) -> bool:
        """Whether another attempt may end otherwise."""
        return self.kind in ("work", "died")


@dataclass(frozen=True)
class Failure:
    """A part that could not be made."""

    part: int
    of: int
    chunks: range | None
    rows: range | None
    done: int
    attempts: int
    error: str

    def __str__(self) -> str:
        where = ""
        if self.rows is not None and self.chunks is not None and len(self.chunks):
            first, last = self.chunks[0], self.chunks[-1]
            chunks = f"chunk {first}" if first == last else f"chunks {first} to {last}"
            where = f" ({chunks}, rows {self.rows[0]} to {self.rows[-1]}; {self.done} of them done)"
        times = "once" if self.attempts == 1 else f"{self.attempts} times"
        return f"part {self.part}/{self.of}{where} failed {times}: {self.error}"


class PartsError(_native.WorkError):
    """Some parts could not be made, the others are finished and kept; `failures` names them.

    Chunks and rows are counted from 0.
    """

    def __init__(self, failures: list[Failure], folder: Path) -> None:
        self.failures = failures
        self.folder = folder
        said = "\n".join(f"  {failure}" for failure in failures)
        super().__init__(
            f"{len(failures)} of {failures[0].of} parts failed; the others are finished and stay in {folder}, "
            f"so that the same call makes only these again:\n{said}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.failures, self.folder)


class Engine(Protocol):
    """Makes parts. Whoever leaves the iteration early stops the workers, which save what they have."""

    @property
    def workers(self) -> int:
        """How many parts it makes at a time."""
        ...

    def threads(self, parts: int) -> int:
        """Threads of a worker, of so many parts in all, where nothing else was asked for."""
        ...

    def outcomes(self, plan: Plan, numbers: list[int]) -> Generator[Outcome, None, None]:
        """How each of these parts ended, in the order in which they end."""
        ...

    def close(self) -> None:
        """Gives back what it has started."""
        ...


@dataclass
class Plan:
    """A study in parts."""

    study: str
    # The words without those of the part: options, and behind `--` what has no name.
    options: list[str]
    positional: list[str]
    count: int
    output: Path
    threads: int | None = None

    @property
    def folder(self) -> Path:
        """Where parts lie until they are merged."""
        return self.output / PARTS

    def place(self, number: int) -> Path:
        """The folder of a part, from 1."""
        return self.folder / f"part-{number:05}"

    def argv(self, number: int) -> list[str]:
        """The command line of a part. It goes on where an earlier attempt stopped."""
        own = [f"--part={number}/{self.count}", f"--output={self.place(number)}", "--resume"]
        threads = [] if self.threads is None else [f"--threads={self.threads}"]
        return [self.study, *self.options, *threads, *own, "--", *self.positional]

    def whole(self) -> list[str]:
        """The command line of the whole run."""
        return [self.study, *self.options, f"--output={self.output}", "--resume", "--", *self.positional]

    def is_made(self, number: int) -> bool:
        """Whether a part is finished."""
        return (self.place(number) / "part.json").exists()

    def failure(self, outcome: Outcome) -> Failure:
        """What is known of a part that failed."""
        chunks = rows = None
        if span := self._span():
            total, chunk = span
            all_chunks = -(-total // chunk)
            first, end = (all_chunks * at // self.count for at in (outcome.number - 1, outcome.number))
            chunks, rows = range(first, end), range(first * chunk, min(end * chunk, total))
        error = in_python(outcome.message)
        return Failure(outcome.number, self.count, chunks, rows, self._done(outcome.number), outcome.attempts, error)

    def _span(self) -> tuple[int, int] | None:
        """Units of the corpus and of a chunk, as finished parts have them."""
        for number in range(1, self.count + 1):
            if self.is_made(number):
                stages = json.loads((self.place(number) / "part.json").read_text(encoding="utf-8"))["stages"]
                return (int(stages[0]["total"]), int(stages[0]["chunk"])) if stages else None
        return None

    def _done(self, number: int) -> int:
        try:
            found = call(["status", "--", str(self.place(number))], False)["parts"]
        except _native.Error:
            return 0
        return int(found[0].get("done") or 0) if found else 0


def made(
    study: str,
    model: Any,
    data: Any,
    output: str | os.PathLike[str],
    count: int | None,
    enough: int,
    options: Mapping[str, Any],
) -> Plan:
    """The plan of a run, or that of the run which lies in `output` unfinished.

    Raises `TypeError` and `ValueError` for what has no parts, and for a folder with parts of another run.
    """
    name = study.replace("_", "-")
    known = commands().get(name)
    if known is None or not known.has("part"):
        having = [one.replace("-", "_") for one, command in commands().items() if command.has("part")]
        raise ValueError(f"{study!r} has no parts; these have: {', '.join(having)}")
    for option in ("part", "output", "resume", "overwrite", "dry_run"):
        if options.get(option) is not None:
            raise TypeError(f"{option}= has no place here: parts are made, resumed and merged by themselves")
    _is_on_disk(model)
    folder = Path(os.path.abspath(output))
    threads = options.get("threads")
    rest = {key: value for key, value in options.items() if key != "threads"}
    with Call(name, rest) as put:
        put.add_model(model)
        put.add_data(data, model)
        words_, positional = _words(put)
        earlier = _earlier(folder, name, words_, positional, put, count)
        number = earlier or count or enough
        plan = Plan(name, words_, positional, number, folder, threads)
        plan.folder.mkdir(parents=True, exist_ok=True)
        _keep_data(put, plan, earlier is not None)
        if earlier is None:
            _write_plan(plan)
        put.work.cleanup()
    return plan


def _is_on_disk(model: Any) -> None:
    """Other processes cannot see into this one's memory."""
    name = model_word(model) if is_model(model) else ""
    if name.split(os.sep)[0].split("/")[0] == "in-memory" and not os.path.exists(name):
        raise TypeError(
            "a model that lies in memory alone cannot be seen by other processes; save it, and give the folder"
        )


def _words(put: Call) -> tuple[list[str], list[str]]:
    """The words of a command with paths from the root, so that they mean the same everywhere."""
    data = f"{put.folder}{os.sep}"
    paths = {key for key, one in put.command.options.items() if PATHS & set(one.value_names)}
    options = {key: _absolute(value) if key in paths else value for key, value in put.options.items()}
    own = words(put.name, {key: put._on_disk(key, value) for key, value in options.items()})
    # What was written for the run lies beside its parts.
    kept = [word.replace(data, f"{{data}}{os.sep}") for word in own]
    return kept, [_absolute(word) for word in put.positional]


def _absolute(value: Any) -> Any:
    if isinstance(value, (str, os.PathLike)) and os.path.exists(value):
        return os.path.abspath(value)
    return value


def _earlier(
    folder: Path, study: str, options: list[str], positional: list[str], put: Call, count: int | None
) -> int | None:
    """The number of parts of the same run, if some of them lie there; the words get the place of the data."""
    place = f"{folder / PARTS / 'data'}{os.sep}"
    options[:] = [word.replace(f"{{data}}{os.sep}", place) for word in options]
    try:
        document = json.loads((folder / PARTS / PLAN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    said = {"study": study, "options": options, "positional": positional}
    if different := [key for key, value in said.items() if document.get(key) != value]:
        raise ValueError(
            f"{folder / PARTS} holds parts of another run ({different[0]}: {document.get(different[0])}); "
            "choose another output, or remove that folder"
        )
    if count is not None and count != document["parts"]:
        raise ValueError(
            f"{folder / PARTS} holds parts of a run in {document['parts']}; leave parts= out, or choose another output"
        )
    return int(document["parts"])


def _keep_data(put: Call, plan: Plan, earlier: bool) -> None:
    """Puts what was written for the run beside its parts; what lies there from before must be the same."""
    place = plan.folder / "data"
    for file in sorted(put.folder.iterdir()):
        target = place / file.name
        if earlier and target.exists():
            if not filecmp.cmp(file, target, shallow=False):
                raise ValueError(f"{plan.folder} holds parts of a run on other data; choose another output")
            continue
        place.mkdir(exist_ok=True)
        half = place / f".{file.name}"
        shutil.copyfile(file, half)
        half.replace(target)


def _write_plan(plan: Plan) -> None:
    document = {
        "format": FORMAT,
        "study": plan.study,
        "options": plan.options,
        "positional": plan.positional,
        "parts": plan.count,
    }
    half = plan.folder / f".{PLAN}"
    half.write_text(json.dumps(document, indent=1), encoding="utf-8")
    half.replace(plan.folder / PLAN)


def holder(place: Path) -> str | None:
    """The process that is making a part, if one is: it has a file of the folder locked."""
    try:
        import fcntl
    except ModuleNotFoundError:
        # Elsewhere than on Unix the command itself says who is in its way.
        return None
    try:
        with (place / LOCK).open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read()
                with contextlib.suppress(ValueError, KeyError):
                    known = json.loads(text)
                    return f"process {known['pid']} on {known['host']}"
                return "another process"
    except OSError:
        # It is gone, or the file system knows no locks.
        return None
    return None


def wait_for_others(place: Path, stop: threading.Event | None = None) -> None:
    """Waits until nobody makes a part: what an earlier driver began may be saving and ending just now."""
    stop = stop or threading.Event()
    said = None
    while not stop.is_set() and (found := holder(place)):
        if found != said:
            LOGGER.warning("%s is being made by %s; waiting for it", place, found)
            said = found
        stop.wait(LOOK_EVERY)


def make(argv: list[str], number: int, place: str) -> Outcome:
    """Makes a part in this process; for workers."""
    wait_for_others(Path(place))
    try:
        _native.run(argv, None)
    except _native.InputError as error:
        return Outcome(number, "input", str(error))
    except _native.Error as error:
        return Outcome(number, "work", str(error))
    except _native.Interrupted as error:
        return Outcome(number, "interrupted", str(error))
    return Outcome(number, "done")


def missing(plan: Plan) -> list[int]:
    """The parts that are not finished."""
    return [number for number in range(1, plan.count + 1) if not plan.is_made(number)]


def places(plan: Plan) -> Iterable[str]:
    """The folders of all parts."""
    return (str(plan.place(number)) for number in range(1, plan.count + 1))
