"""A run folder, read back."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from .table import Table

AnyRun = TypeVar("AnyRun", bound="Run")

# In pixels: a page of a run has a heading, its main figure and a table in that.
PAGE_HEIGHT = 720


class Run:
    """A complete run: `run.json`, arrays, tables and the page of its folder.

    `Run(path)` is an object of the class of its command, such as `HeadImportance`. A run that was made without
    `output=` lies in a temporary folder that lives as long as this object; `save` keeps it. A run is also a path: it
    may be given wherever a run folder may.

    Raises `FileNotFoundError` for a folder without a complete run, `ValueError` for a run of a future version.

    >>> run = Run("out")                                                       # doctest: +SKIP
    >>> run.record["finished"], run.table("heads").to_pandas()                 # doctest: +SKIP
    """

    command: ClassVar[str | None] = None
    _kinds: ClassVar[dict[str, type[Run]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.command is not None:
            Run._kinds[cls.command] = cls

    def __new__(cls: type[AnyRun], path: str | os.PathLike[str], **_: Any) -> AnyRun:
        record = _record(Path(path))
        command = str(record.get("command"))
        kind = Run._kinds.get(command, Run)
        if cls is not Run and not issubclass(kind, cls):
            raise ValueError(
                f"{os.fspath(path)}: a run of {command}, which {cls.__name__} does not read; Run reads all"
            )
        run = super().__new__(kind)
        run._record = record
        return run  # type: ignore[return-value]

    def __init__(
        self, path: str | os.PathLike[str], *, temporary: tempfile.TemporaryDirectory[str] | None = None
    ) -> None:
        self._path = Path(path)
        self._temporary = temporary

    _record: dict[str, Any]

    @property
    def path(self) -> Path:
        """The folder.

        >>> (Run("out").path / "report.html").exists()                         # doctest: +SKIP
        """
        return self._path

    def __fspath__(self) -> str:
        return str(self._path)

    @property
    def record(self) -> dict[str, Any]:
        """All of `run.json`: what was asked, of what, and what came out.

        >>> Run("out").record["options"]["task"]                               # doctest: +SKIP
        'mrpc'
        """
        return self._record

    @property
    def results(self) -> dict[str, Any]:
        """What came out, as `run.json` has it.

        >>> Run("out").results["evaluation"]["loss"]                           # doctest: +SKIP
        """
        found: dict[str, Any] = self._record.get("results") or {}
        return found

    @property
    def model(self) -> dict[str, Any]:
        """Which model: name, SHA-256, family, sizes.

        >>> Run("out").model["num_layers"]                                     # doctest: +SKIP
        12
        """
        found: dict[str, Any] = self._record.get("model") or {}
        return found

    @property
    def data(self) -> dict[str, Any]:
        """Which data: the file, its SHA-256, how many examples, how they were read.

        >>> Run("out").data["file"]["examples"]                                # doctest: +SKIP
        408
        """
        found: dict[str, Any] = self._record.get("data") or {}
        return found

    @property
    def files(self) -> dict[str, Path]:
        """Every file of the folder by its name there, with `/` between.

        >>> sorted(Run("out").files)                                           # doctest: +SKIP
        ['attn_entropy.npy', 'head_importance.npy', ...]
        """
        files = (path for path in sorted(self._path.rglob("*")) if path.is_file())
        names = ((path.relative_to(self._path).as_posix(), path) for path in files)
        return {name: path for name, path in names if not name.startswith(".bertology-")}

    def _file(self, name: str, ending: str) -> Path:
        for file in (self._path / name, self._path / f"{name}{ending}"):
            if file.is_file() and file.suffix == ending:
                return file
        there = [file.removesuffix(ending) for file in self.files if file.endswith(ending)]
        raise KeyError(f"{self._path} has no {name}{ending}; there are {', '.join(there) or 'none'}")

    def array(self, name: str) -> NDArray[Any]:
        """An array of the folder by its name, with or without `.npy`; mapped from the disk, read-only.

        Layers and heads are counted from 0. Raises `KeyError`, which names the arrays that there are.

        >>> Run("out").array("head_importance")[3, 5]                          # doctest: +SKIP
        """
        found: NDArray[Any] = np.load(self._file(name, ".npy"), mmap_mode="r", allow_pickle=False)
        return found

    def table(self, name: str) -> Table:
        """A table of the folder by its name, with or without `.csv`.

        Raises `KeyError`, which names the tables that there are.

        >>> Run("out").table("heads")["importance"].max()                      # doctest: +SKIP
        """
        return Table.read(self._file(name, ".csv"))

    def _has(self, name: str) -> bool:
        return (self._path / name).exists()

    def _array(self, name: str) -> NDArray[Any]:
        """A small array, in memory: it outlives a temporary folder."""
        return np.array(self.array(name))

    @property
    def html(self) -> str:
        """The page of the run, which needs no network.

        >>> Path("page.html").write_text(Run("out").html)                      # doctest: +SKIP
        """
        page = self._path / "report.html"
        if not page.exists():
            raise FileNotFoundError(f"{page} is missing; bertology.report({str(self._path)!r}) makes it again")
        return page.read_text(encoding="utf-8")

    def save(self: AnyRun, folder: str | os.PathLike[str]) -> AnyRun:
        """Copies the run folder, and gives the run that lies there.

        Raises `FileExistsError` for a folder that is not empty.

        >>> run = run.save("runs/mrpc")                                        # doctest: +SKIP
        """
        target = Path(folder)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise FileExistsError(f"{target} is not an empty folder; choose another")
        # run.json is last, so that a copy that was broken off is not taken for a run.
        shutil.copytree(
            self._path, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".bertology-*", "run.json")
        )
        for nested in self._path.rglob("run.json"):
            shutil.copy2(nested, target / nested.relative_to(self._path))
        return type(self)(target)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._temporary is not None:
            raise TypeError(
                "this run lies in a temporary folder that goes with it, so it cannot be pickled; "
                "save(folder) gives one that can"
            )
        return type(self), (str(self._path.absolute()),)

    def _numbers(self) -> str:
        """What is most worth knowing, in a few words."""
        evaluation = self.results.get("evaluation")
        return scores(evaluation) if isinstance(evaluation, Mapping) else ""

    def __repr__(self) -> str:
        name = os.path.basename(str(self.model.get("name") or "").rstrip("/\\"))
        numbers = self._numbers()
        about = f" of {name}" if name else ""
        return f"<{type(self).__name__}{about}{': ' if numbers else ''}{numbers}>"

    def _repr_html_(self) -> str:
        if not self._has("report.html"):
            return f"<pre>{html.escape(repr(self))}</pre>"
        return frame(self.html)


def frame(page: str, height: int = PAGE_HEIGHT) -> str:
    """A page inside another: scripts run, but nothing of the page around it can be reached.

    The frame has a fixed height and a handle to change it, since what is sandboxed cannot be measured from outside.

    >>> frame("<p>Hello</p>", 100)[:24]
    '<iframe srcdoc="&lt;p&gt'
    """
    style = f"width:100%;height:{height}px;border:0;resize:vertical;overflow:auto"
    sandbox = 'sandbox="allow-scripts allow-downloads"'
    return f'<iframe srcdoc="{html.escape(page, quote=True)}" {sandbox} style="{style}" loading="lazy"></iframe>'


def scores(evaluation: Mapping[str, Any]) -> str:
    """Metrics and loss in a line.

    >>> scores({"metrics": {"acc": 0.84}, "loss": 0.5, "examples": 408})
    'acc 0.8400, loss 0.5000, 408 examples'
    """
    found = [f"{name} {value:.4f}" for name, value in (evaluation.get("metrics") or {}).items() if value is not None]
    if evaluation.get("loss") is not None and "loss" not in (evaluation.get("metrics") or {}):
        found.append(f"loss {evaluation['loss']:.4f}")
    if evaluation.get("examples") is not None:
        found.append(f"{evaluation['examples']:,} examples")
    return ", ".join(found)


def heads_of(names: list[str]) -> list[tuple[int, int]]:
    """Heads as (layer, head), counted from 0.

    >>> heads_of(["L0H1", "L11H3"])
    [(0, 1), (11, 3)]
    """
    found = [re.fullmatch(r"L(\d+)H(\d+)", name) for name in names]
    return [(int(head[1]), int(head[2])) for head in found if head is not None]


def _record(folder: Path) -> dict[str, Any]:
    """`run.json`, checked."""
    try:
        text = (folder / "run.json").read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        unfinished = (folder / "state.json").exists()
        why = "the run is not finished; resume=True goes on with it" if unfinished else "there is no run.json in it"
        raise FileNotFoundError(f"{folder} is not the folder of a complete run: {why}") from None
    record = json.loads(text)
    if not isinstance(record, dict) or not isinstance(record.get("command"), str):
        raise ValueError(f"{folder / 'run.json'} is not the record of a run")
    if record.get("format", 1) != 1:
        raise ValueError(
            f"{folder} has the format {record['format']} of run folders, and this version reads 1; "
            "take a newer bertology"
        )
    return record


class Document(Mapping[str, Any]):
    """What a command without a run folder found: the document that its `--json` prints, as a dictionary.

    >>> bertology.inspect("bert-base-uncased")["num_heads"]                    # doctest: +SKIP
    12
    """

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.record = dict(record)

    def __getitem__(self, key: str) -> Any:
        return self.record[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.record)

    def __len__(self) -> int:
        return len(self.record)

    def __repr__(self) -> str:
        plain = {key: value for key, value in self.record.items() if isinstance(value, (str, int, float))}
        said = ", ".join(f"{key} {value}" for key, value in plain.items() if key != "command")
        return f"<{type(self).__name__}: {said}>"
