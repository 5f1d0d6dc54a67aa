"""The package as it is installed, or built in its folder, and the embedded models."""

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
# How two run folders are compared.
sys.path.insert(0, str(REPOSITORY / "tools" / "parity"))


def is_built(package: Path) -> bool:
    """Whether the native module lies in a package."""
    return any(path.suffix in (".so", ".pyd") for path in package.glob("_native.*"))


spec = importlib.util.find_spec("bertology")
places = [Path(place) for place in (spec.submodule_search_locations or () if spec else ())]
built = [place for place in (*places, HERE.parent / "bertology") if is_built(place)]
if not built:
    pytest.exit("bertology._native is not built: run `maturin develop`, or install the wheel", returncode=4)
sys.path.insert(0, str(built[0].parent))
# For processes that tests start.
python_path = [str(built[0].parent), os.environ.get("PYTHONPATH", "")]
os.environ["PYTHONPATH"] = os.pathsep.join(path for path in python_path if path)


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
