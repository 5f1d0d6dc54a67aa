"""Files that the command does not read itself: Parquet, and what lies behind an address of fsspec."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ._rows import Rows


def is_remote(path: str) -> bool:
    """Whether this is an address such as `s3://bucket/reviews.jsonl`, and no path.

    >>> is_remote("s3://bucket/reviews.jsonl"), is_remote("C:/reviews.jsonl"), is_remote("reviews.jsonl")
    (True, False, False)
    """
    return len(urlsplit(path).scheme) > 1 and "://" in path


def fetched(address: str, folder: Path) -> str:
    """A copy of what lies at an address, under its own name; what fsspec opens, with the credentials that it finds.

    Raises `ValueError` without fsspec, or where it cannot open the address.
    """
    try:
        import fsspec
    except ImportError:
        raise ValueError(f"{address} is read by fsspec, which is not installed: pip install fsspec") from None
    target = folder / (os.path.basename(urlsplit(address).path.rstrip("/")) or "data")
    try:
        with fsspec.open(address, "rb", compression="infer") as source, target.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
    except (OSError, ImportError, ValueError) as error:
        raise ValueError(f"cannot read {address}: {error}") from error
    return str(target.rename(target.with_suffix("")) if target.suffix in (".gz", ".bz2", ".xz", ".zst") else target)


def parquet(path: str) -> Rows:
    """The rows of a Parquet file, or of all in a folder by name; a row group is in memory at a time.

    Raises `ValueError` without pyarrow, for files that are none, and for files of different columns.
    """
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise ValueError(f"{path} is read by pyarrow, which is not installed: pip install pyarrow") from None
    place = Path(path)
    files = sorted(place.glob("*.parquet")) if place.is_dir() else [place]
    try:
        columns = [ParquetFile(file).schema_arrow.names for file in files]
    except (OSError, ArrowException) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    for file, names in zip(files, columns, strict=True):
        if names != columns[0]:
            raise ValueError(f"{file} has the columns {', '.join(names)}; those before have {', '.join(columns[0])}")

    def rows() -> Iterator[Any]:
        for file in files:
            opened = ParquetFile(file)
            for group in range(opened.num_row_groups):
                yield from opened.read_row_group(group).to_pylist()

    found = rows()
    first = next(found, None)
    if first is None:
        raise ValueError(f"{path}: there are no rows")
    return Rows(list(columns[0]), itertools.chain([first], found))


def is_parquet(path: str) -> bool:
    """Whether this is a Parquet file, or a folder that has some."""
    place = Path(path)
    return place.suffix.lower() == ".parquet" or (place.is_dir() and any(place.glob("*.parquet")))
