#!/usr/bin/env python3
"""Runs the notebooks of examples/notebooks from the top, each in a kernel of its own.

`--keep FOLDER` writes them with what they show.

No network is needed. A cell that raises ends it with the cell's number and the error.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import tempfile

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "examples" / "notebooks"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=pathlib.Path)
    options = parser.parse_args()
    for path in sorted(FOLDER.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        if any(cell.get("outputs") for cell in notebook.cells):
            print(f"{path.name}: outputs are kept out of the repository; clear them")
            return 1
        # What a cell writes goes with the folder.
        with tempfile.TemporaryDirectory() as scratch:
            client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": scratch}})
            try:
                client.execute()
            except CellExecutionError as error:
                print(f"{path.name}: {error}")
                return 1
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        print(f"{path.name}: {len(cells)} cells ran")
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, options.keep / path.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
