"""The part of the package that is written in Rust."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from numpy import float32, float64
from numpy.typing import NDArray

class Listener(Protocol):
    """Who hears how far a command is; called in the thread that called `run`."""

    def note(self, text: str) -> None: ...
    def begin(self, label: str, unit: str, total: int) -> None: ...
    def advance(self, done: int) -> None: ...
    def end(self) -> None: ...

class Error(Exception): ...
class InputError(Error, ValueError): ...
class WorkError(Error, RuntimeError): ...
class Interrupted(KeyboardInterrupt): ...

class Model:
    """A model with its tokenizer; `bertology.Model` is what users call."""

    @property
    def name(self) -> str: ...
    @property
    def commit(self) -> str | None: ...
    @staticmethod
    def open(
        name: str,
        *,
        revision: str | None = None,
        offline: bool = False,
        cache_dir: str | PathLike[str] | None = None,
        head: str = "auto",
        allow_unexpected: bool = False,
        precision: str = "f32",
        device: str = "cpu",
    ) -> Model: ...
    @staticmethod
    def from_memory(
        label: str,
        tensors: Mapping[str, NDArray[float32]],
        files: Mapping[str, bytes],
        *,
        head: str = "auto",
        allow_unexpected: bool = False,
        precision: str = "f32",
        device: str = "cpu",
    ) -> Model: ...
    def facts(self) -> dict[str, Any]: ...
    def encode(self, inputs: Sequence[Any], *, max_length: int | None = None) -> list[dict[str, Any]]: ...
    def look(
        self,
        inputs: Sequence[Any],
        *,
        values: Sequence[str] = (),
        gradients: Sequence[str] = (),
        targets: Sequence[Any] | None = None,
        head_mask: NDArray[float64] | None = None,
        changes: Sequence[tuple[Any, ...]] = (),
        token_logits: bool = False,
        max_length: int | None = None,
        threads: int = 0,
    ) -> list[dict[str, Any]]: ...
    def contacts(
        self,
        inputs: Sequence[Any],
        *,
        head_mask: NDArray[float64] | None = None,
        max_length: int | None = None,
        threads: int = 0,
    ) -> list[NDArray[float64]]: ...
    def without_heads(self, heads: Sequence[tuple[int, int]]) -> Model: ...
    def save(self, folder: str | PathLike[str], *, keep_shape: bool = False, overwrite: bool = False) -> list[str]: ...
    def export_onnx(
        self,
        path: str | PathLike[str],
        *,
        source: str,
        hidden_states: bool = False,
        attentions: bool = False,
        overwrite: bool = False,
    ) -> list[Path]: ...

__version__: str

def main(argv: list[str]) -> int:
    """The program; `argv` begins with its name."""

def run(argv: list[str], listener: Listener | None) -> str: ...
def commands() -> str: ...
def embedded() -> dict[str, bytes]: ...
