"""The arrays of an extraction, one text at a time and mapped from the disk."""

from __future__ import annotations

import bisect
import json
import math
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, overload

import numpy as np
from numpy.typing import NDArray

from .run import Run

Array = NDArray[Any]

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?", "BF16": "<u2",
}  # fmt: skip


class Values(Sequence[Array]):
    """One array of an extraction: the values of each sequence, by its number from 0.

    A sequence is a text, or a window of one; those of 16 bits that NumPy does not know (bf16) are given in float32.

    >>> extraction.arrays["hidden_states.3"][0].shape                          # doctest: +SKIP
    (7, 768)
    """

    def __init__(self, name: str, axes: str, shards: Sequence[_Shard]) -> None:
        self.name = name
        self.axes = axes
        self._shards = [shard for shard in shards if shard.sequences]
        self._ends = np.cumsum([shard.sequences for shard in self._shards]).tolist()

    def __len__(self) -> int:
        return int(self._ends[-1]) if self._ends else 0

    @overload
    def __getitem__(self, at: int) -> Array: ...
    @overload
    def __getitem__(self, at: slice) -> list[Array]: ...
    def __getitem__(self, at: int | slice) -> Array | list[Array]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self)))]
        row = at + len(self) if at < 0 else at
        if not 0 <= row < len(self):
            raise IndexError(f"{self.name}: no sequence {at}; there are {len(self)}")
        which = bisect.bisect_right(self._ends, row)
        shard = self._shards[which]
        return shard.of(self.name, self.axes, row - (self._ends[which] - shard.sequences))

    def __repr__(self) -> str:
        return f"<Values {self.name} of {len(self)} sequences, {self.axes}>"


class _Shard:
    """A file of an extraction, opened when it is asked for."""

    def __init__(self, path: Path | None, sequences: int, names: Callable[[Path], Mapping[str, Array]]) -> None:
        self.path = path
        self.sequences = sequences
        self._open = names

    @cached_property
    def arrays(self) -> Mapping[str, Array]:
        return {} if self.path is None else self._open(self.path)

    def of(self, name: str, axes: str, row: int) -> Array:
        if name not in self.arrays:
            # Texts without a token have no rows, and a shard of such texts alone has no file.
            return np.zeros(0, dtype=np.float32)
        values = self.arrays[name]
        if axes == "sequences":
            found: Array = values[row]
            return found
        pairs = axes.startswith("queries")
        offsets = self.arrays["attention_offsets" if pairs else "word_offsets" if axes == "words" else "offsets"]
        begin, end = int(offsets[row]), int(offsets[row + 1])
        part: Array = _whole(values[begin:end])
        if pairs:
            side = math.isqrt(end - begin)
            part = part.reshape(side, side)
        return part


class _Bits16(np.ndarray[Any, np.dtype[Any]]):
    """Values whose 16 bits are the upper half of a float32."""


def _whole(values: Array) -> Array:
    if isinstance(values, _Bits16):
        return (np.asarray(values).astype(np.uint32) << 16).view(np.float32)
    return values


def _safetensors(path: Path) -> dict[str, Array]:
    """The arrays of a safetensors file, mapped."""
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    whole = np.memmap(path, dtype=np.uint8, mode="r")
    found: dict[str, Array] = {}
    for name, about in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + at for at in about["data_offsets"])
        values: Array = whole[begin:end].view(_DTYPES[about["dtype"]]).reshape(about["shape"])
        found[name] = values.view(_Bits16) if about["dtype"] == "BF16" else values
    return found


def _npz(path: Path) -> dict[str, Array]:
    """The arrays of a NumPy archive, mapped where they lie in it: nothing in it is compressed."""
    found: dict[str, Array] = {}
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{path}: {entry.filename} is compressed, which this program does not write")
            # Of the local header: its own length, and those of name and extra field.
            file.seek(entry.header_offset + 26)
            name, extra = struct.unpack("<HH", file.read(4))
            file.seek(entry.header_offset + 30 + name + extra)
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
            if math.prod(shape) == 0:
                values: Array = np.zeros(shape, dtype)
            else:
                values = np.memmap(path, dtype=dtype, mode="r", offset=file.tell(), shape=shape)
            found[entry.filename.removesuffix(".npy")] = values
    return found


class Extraction(Run):
    """`bertology.extract`: hidden states, attention, outputs of heads and their gradients, of every text.

    >>> found = bertology.extract("bert-base-uncased", ["A text."], hidden_states=True)   # doctest: +SKIP
    >>> found.hidden_states(0, 12).shape                                                  # doctest: +SKIP
    (5, 768)
    """

    command: ClassVar[str | None] = "extract"

    @cached_property
    def index(self) -> dict[str, Any]:
        """`index.json`: arrays with their types and axes, shards, counts.

        >>> extraction.index["counts"]["tokens"]                               # doctest: +SKIP
        """
        found: dict[str, Any] = json.loads((self.path / "index.json").read_text(encoding="utf-8"))
        return found

    @cached_property
    def arrays(self) -> dict[str, Values]:
        """Every array by its name, such as `hidden_states.3` or `attentions.3.5`; `arrays[name][row]` is of a text.

        Raises `ValueError` for tables in Parquet, which pandas and polars read.

        >>> extraction.arrays["logits"][0]                                     # doctest: +SKIP
        """
        form = self.index.get("file_format")
        readers = {"safetensors": _safetensors, "npz": _npz}
        if form not in readers:
            raise ValueError(
                f"shards in {form} are tables: read them as in pandas.read_parquet({str(self.path / 'tokens')!r})"
            )
        shards: list[_Shard] = []
        for about in self.index["shards"]:
            path = self.path / about["files"][0] if about["files"] else None
            shards.append(_Shard(path, int(about["sequences"]), readers[form]))
        return {about["name"]: Values(about["name"], about["axes"][0], shards) for about in self.index["arrays"]}

    def _of(self, name: str, row: int) -> Array:
        if name not in self.arrays:
            raise KeyError(f"{name!r} was not extracted; there are {', '.join(self.arrays)}")
        return self.arrays[name][row]

    def hidden_states(self, row: int, layer: int) -> Array:
        """`[token, hidden]` of a sequence; layer 0 is the embeddings.

        >>> extraction.hidden_states(0, 12).mean(axis=0)                       # doctest: +SKIP
        """
        return self._of(f"hidden_states.{layer}", row)

    def attentions(self, row: int, layer: int, head: int) -> Array:
        """`[query, key]` of a sequence: the softmax, before any mask of heads.

        >>> extraction.attentions(0, 3, 5).sum(axis=1)                         # doctest: +SKIP
        """
        return self._of(f"attentions.{layer}.{head}", row)

    @cached_property
    def _strings(self) -> list[str]:
        found: list[str] = json.loads((self.path / "tokens.json").read_text(encoding="utf-8"))
        return found

    def tokens(self, row: int) -> list[str]:
        """The tokens of a sequence, as the vocabulary has them.

        >>> extraction.tokens(0)                                               # doctest: +SKIP
        ['[CLS]', 'a', 'text', '.', '[SEP]']
        """
        return [self._strings[int(number)] for number in self._of("input_ids", row)]

    def __len__(self) -> int:
        return int(self.index["counts"]["sequences"])

    def _numbers(self) -> str:
        counts = self.results.get("counts") or {}
        values = self.index.get("arrays") or self.index.get("tables") or []
        return f"{counts.get('sequences', 0):,} sequences, {counts.get('tokens', 0):,} tokens, {len(values)} arrays"
