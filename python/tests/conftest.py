"""The package with its native module, or with a stand-in for it where that is not built."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
ASSETS = REPOSITORY / "assets"
os.environ.setdefault("HF_HUB_OFFLINE", "1")
for folder in (HERE, REPOSITORY / "tools" / "parity"):
    sys.path.insert(0, str(folder))


def is_built(package: Path) -> bool:
    """Whether the native module lies in a package."""
    return any(path.suffix in (".so", ".pyd") for path in package.glob("_native.*"))


spec = importlib.util.find_spec("bertology")
if not any(is_built(Path(place)) for place in (spec.submodule_search_locations or () if spec else ())):
    # Nothing is installed: the sources, and a stand-in for what they lack.
    sys.path.insert(0, str(HERE.parent))
    python_path = [str(HERE.parent)]
    if not is_built(HERE.parent / "bertology"):
        import stand_in  # type: ignore[import-not-found, unused-ignore]

        sys.modules["bertology._native"] = stand_in
        python_path += [str(HERE / "site"), str(HERE)]
    # For processes that tests start, too.
    os.environ["PYTHONPATH"] = os.pathsep.join([*python_path, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)


@pytest.fixture(scope="session")
def tiny() -> str:
    """A classifier of sentences, 4 layers of 4 heads, of which class 1 is an acceptable sentence."""
    return str(ASSETS / "tiny-bert")


@pytest.fixture(scope="session")
def grammar() -> str:
    """The folder above CoLA, as GLUE has it."""
    return str(ASSETS / "grammar")


@pytest.fixture(scope="session")
def labelled() -> list[tuple[str, int]]:
    """Forty sentences with labels."""
    lines = (ASSETS / "grammar" / "CoLA" / "dev.tsv").read_text(encoding="utf-8").splitlines()[:40]
    rows = [line.split("\t") for line in lines]
    return [(row[3], int(row[1])) for row in rows]
