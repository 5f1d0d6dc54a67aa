"""Keyword arguments and the words that they become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bertology import _options


@pytest.mark.parametrize(
    ("command", "options", "expected"),
    [
        ("importance", {"max_length": 64, "unmasked": True, "bos": False, "limit": None},
         ["--max-length=64", "--unmasked"]),
        ("importance", {"max_length": np.int64(7), "mlm_probability": np.float32(0.5)},
         ["--max-length=7", "--mlm-probability=0.5"]),
        ("importance", {"label_order": ["no", "yes"]}, ["--label-order=no,yes"]),
        ("importance", {"header": True}, ["--header=yes"]),
        ("importance", {"header": False}, ["--header=no"]),
        ("evaluate", {"heads": [(3, 5), "L0H1"]}, ["--heads=3.5", "--heads=L0H1"]),
        ("evaluate", {"heads": (3, 5)}, ["--heads=3.5"]),
        ("evaluate", {"mask": Path("a mask.npy")}, ["--mask=a mask.npy"]),
        ("extract", {"attentions": True}, ["--attentions"]),
        ("ablate", {"and_": "other.csv"}, ["--and=other.csv"]),
        ("bench", {"batch_sizes": (1, 8)}, ["--batch-sizes=1,8"]),
        ("cat", {"downstream": {"bleu": 19.5}}, ["--downstream=bleu=19.5"]),
        # A number below zero is a value and no option.
        ("mask", {"threshold": -1}, ["--threshold=-1"]),
    ],
)  # fmt: skip
def test_options_become_words(command: str, options: dict[str, Any], expected: list[str]) -> None:
    assert _options.words(command, options) == expected


def test_an_unknown_option_names_what_is_near() -> None:
    with pytest.raises(TypeError, match=r"importance\(\) has no option 'max_lenght'; did you mean max_length"):
        _options.words("importance", {"max_lenght": 3})
    with pytest.raises(TypeError, match=r"edge_data\.ud_deps"):
        _options.words("edge-data ud-deps", {"qqqq": 3})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unmasked": "yes"}, "True or False"),
        ({"max_length": [1, 2]}, "one value"),
        ({"label_order": []}, "empty list"),
        ({"label_order": ["a,b", "c"]}, "stands between values"),
        ({"mask": object()}, "cannot be given"),
        ({"json": True}, "no option"),
    ],
)
def test_what_cannot_be_said_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        _options.words("importance", options)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("leave --max-length out", "leave max_length= out"),
        ("give --text FILE, or --data FILE --text-column COLUMN", "give text=FILE, or data=FILE text_column=COLUMN"),
        ("--stride 5: windows alone have a stride", "stride=5: windows alone have a stride"),
        ("or replace its results with --overwrite", "or replace its results with overwrite=True"),
        ("--too-long skip is refused", "too_long=skip is refused"),
        ("--output a/b c: the folder", "output= a/b c: the folder"),
        ("--output out: the folder is not empty", "output=out: the folder is not empty"),
        ("--try_masking and --nonsense stay", "--try_masking and --nonsense stay"),
        ("make it with --part 2/3, then", "make it with part=2/3, then"),
        ("--and DATA", "and_=DATA"),
        ("'--batch-size <N>': zero\n\nFor more information, try '--help'.", "'batch_size=<N>': zero"),
    ],
)
def test_messages_name_options_as_python_does(said: str, expected: str) -> None:
    assert _options.in_python(said) == expected


def test_commands_of_commands_have_two_names() -> None:
    assert _options.commands()["edge-data ud-deps"].has("subtypes")
    assert "edge-data" not in _options.commands()
