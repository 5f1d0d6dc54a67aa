"""The stub for editors is what the definitions give, and what doctests say is so."""

from __future__ import annotations

import ast
import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from bertology import _native

ROOT = Path(__file__).parents[2]


def test_the_stub_is_made_from_the_definitions(tmp_path: Path) -> None:
    commands = tmp_path / "commands.json"
    commands.write_text(_native.commands(), encoding="utf-8")
    script = ROOT / "tools" / "python" / "stubs.py"
    done = subprocess.run([sys.executable, script, "--check", "--commands", commands], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_option_is_in_the_stub() -> None:
    tree = ast.parse((ROOT / "python" / "bertology" / "studies.pyi").read_text(encoding="utf-8"))
    found = {
        node.name: {a.arg for a in node.args.kwonlyargs} for node in tree.body if isinstance(node, ast.FunctionDef)
    }
    assert {"max_length", "granularity", "output", "progress", "pair", "label"} <= found["importance"]
    assert "part" not in found["importance"]
    assert {"schedule", "heads_left"} <= found["mask"]


@pytest.mark.parametrize("name", ["_options", "_rows", "_call", "_progress", "run", "table", "extraction", "results"])
def test_examples_of_docstrings(name: str) -> None:
    tested = doctest.testmod(importlib.import_module(f"bertology.{name}"))
    assert tested.failed == 0
