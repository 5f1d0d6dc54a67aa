"""Models and data that are built in: small, made of a made-up grammar, for trying things out without a network.

>>> from bertology import embedded
>>> model = embedded.model()
>>> importance = model.head_importance(embedded.sentences())
"""

from __future__ import annotations

import atexit
import csv
import io
import shutil
import tempfile
from functools import cache
from pathlib import Path

from . import _native
from ._native import InputError
from .model import Model

#: What each built-in model is.
MODELS = {
    "tiny-bert": "a BERT that tells acceptable sentences from broken ones",
    "tiny-gpt": "a GPT that predicts the next word",
    "tiny-gpt2": "a GPT-2 that predicts the next word",
    "tiny-code": "a RoBERTa of code that guesses hidden tokens",
}


@cache
def _files() -> dict[str, bytes]:
    return _native.embedded()


def model(name: str = "tiny-bert") -> Model:
    """A built-in model, by one of the names of :data:`MODELS`."""
    if name not in MODELS:
        raise InputError(f"there is no built-in model {name!r}; there are {', '.join(MODELS)}")
    start = name + "/"
    files = {path.removeprefix(start): bytes for path, bytes in _files().items() if path.startswith(start)}
    return Model(_native.Model.from_memory(name, {}, files))


def sentences() -> list[tuple[str, int]]:
    """Sentences that tiny-bert has not seen, and whether they are acceptable (1) or broken (0)."""
    rows = csv.reader(io.StringIO(_files()["grammar/CoLA/dev.tsv"].decode()), delimiter="\t", quoting=csv.QUOTE_NONE)
    return [(row[3], int(row[1])) for row in rows]


def text() -> list[str]:
    """Sentences that the language models have not seen."""
    return _files()["grammar/dev.txt"].decode().splitlines()


@cache
def folder() -> Path:
    """All built-in files in a folder that lasts as long as the process, for whoever wants paths.

    `folder() / "grammar"` is a GLUE folder with CoLA's dev split, `folder() / "grammar/dev.conllu"` a treebank,
    `folder() / "code/functions.jsonl"` programs, and `folder() / "tiny-bert"` and the like are models.
    """
    place = Path(tempfile.mkdtemp(prefix="bertology-embedded-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    for path, content in _files().items():
        target = place / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return place


def treebank() -> Path:
    """Sentences with dependency trees and coreference, in CoNLL-U."""
    return folder() / "grammar" / "dev.conllu"
