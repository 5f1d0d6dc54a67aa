#!/usr/bin/env python3
"""Write a reference for `bertology verify` by running the lines that docs/commands/verify.md shows.

    write_reference.py MODEL --output FILE --text "A text." 1 --text "Another." 0
    write_reference.py MODEL --output FILE --causal --text "A text."

The lines are read from the page, so that it cannot say what does not run; only the line of names and values is replaced.
With --causal the lines of the page's second block take the place of those that set the same names.
"""

import argparse
import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/commands/verify.md"


def named(line):
    """The last name that a line sets, by which lines are matched."""
    return re.findall(r"(?:^|; )(\w+)(?:, \w+)* = ", line)[-1:]


def snippet(page, causal):
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    if len(blocks) != 2:
        raise SystemExit(f"{PAGE} should have two blocks of Python, it has {len(blocks)}")
    lines, changes = (block.strip().splitlines() for block in blocks)
    if len(lines) != 10 or len(changes) != 2:
        raise SystemExit(f"{PAGE} promises ten lines and two, it has {len(lines)} and {len(changes)}")
    if causal:
        for change in changes:
            key = ["inputs"] if "inputs = " in change else named(change)
            places = [i for i, line in enumerate(lines) if named(line) == key]
            if len(places) != 1:
                raise SystemExit(f"the line that sets {key} is not the only one: {places}")
            lines[places[0]] = change
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--text", nargs="+", action="append", required=True, metavar=("TEXT", "LABEL"))
    parser.add_argument("--causal", action="store_true")
    parser.add_argument("--output", required=True)
    options = parser.parse_args()
    lines = snippet(PAGE.read_text(encoding="utf-8"), options.causal)
    place = next(i for i, line in enumerate(lines) if named(line) == ["folder"])
    texts = [text[0] for text in options.text]
    labels = [int(text[1]) if len(text) > 1 else 0 for text in options.text]
    lines[place] = f"folder, texts, labels, output = {options.model!r}, {texts!r}, {labels!r}, {options.output!r}"
    exec(compile("\n".join(lines), str(PAGE), "exec"), {})


if __name__ == "__main__":
    main()
