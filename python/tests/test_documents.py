"""Every example of the pages and of the docstrings that needs no network runs as it stands."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import re
from pathlib import Path

import pytest
from conftest import REPOSITORY

PAGES = ["README.md", "docs/python.md"]
MODULES = ["bertology", "bertology.embedded", "bertology.model"]


def blocks(page: str) -> list[str]:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    found = re.findall(r"(<!-- needs torch -->\n)?```python\n(.*?)```", text, re.DOTALL)
    has_torch = importlib.util.find_spec("torch") and importlib.util.find_spec("transformers")
    return [code for needs_torch, code in found if has_torch or not needs_torch]


@pytest.mark.parametrize("page", PAGES)
def test_examples_of_a_page_run_in_their_order(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "assets").symlink_to(REPOSITORY / "assets")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    found = blocks(page)
    assert found, f"{page} has no example"
    for code in found:
        exec(compile(code, page, "exec"), names)


@pytest.mark.parametrize("module", MODULES)
def test_examples_of_docstrings_are_true(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    results = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert results.attempted and not results.failed
