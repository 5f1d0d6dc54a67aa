#!/usr/bin/env python3
"""Write a reference for `bertology verify` by running the lines that docs/commands/verify.md shows.

    write_reference.py MODEL --output FILE --text "A text." 1 --text "Another." 0
    write_reference.py MODEL --output FILE --causal --text "A text." --head-mask 0:1:0.5 2:3:0

The lines are read from the page, so that it cannot say what does not run; only the line of names and values is replaced.
With --causal the lines of the page's second block take the place of those that set the same names. --head-mask LAYER:HEAD:FACTOR
adds a head mask to the inputs, 1 at all other heads; layers and heads are counted from 0.
"""

import argparse
import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/commands/verify.md"


def name(line):
    """The first name that a line sets, by which lines are matched."""
    return re.match(r"(\w*)", line).group(1)


def snippet(page, causal):
    blocks = [block.strip().splitlines() for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL)]
    if [len(block) for block in blocks] != [10, 3]:
        raise SystemExit(f"{PAGE} promises ten lines and three, it has {[len(block) for block in blocks]}")
    lines, changes = blocks
    for change in changes if causal else []:
        lines[place(lines, name(change))] = change
    return lines


def place(lines, wanted):
    places = [i for i, line in enumerate(lines) if name(line) == wanted]
    if len(places) != 1:
        raise SystemExit(f"{PAGE}: {len(places)} lines set {wanted}, not one")
    return places[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--text", nargs="+", action="append", required=True, metavar=("TEXT", "LABEL"))
    parser.add_argument("--causal", action="store_true")
    parser.add_argument("--head-mask", nargs="+", default=[], metavar="LAYER:HEAD:FACTOR")
    parser.add_argument("--output", required=True)
    options = parser.parse_args()
    lines = snippet(PAGE.read_text(encoding="utf-8"), options.causal)
    texts = [text[0] for text in options.text]
    labels = [int(text[1]) if len(text) > 1 else 0 for text in options.text]
    given = f"folder, texts, labels, output = {options.model!r}, {texts!r}, {labels!r}, {options.output!r}"
    lines[place(lines, "folder")] = given
    if options.head_mask:
        factors = [factor.split(":") for factor in options.head_mask]
        changes = "".join(f"; mask[{int(l)}, {int(h)}] = {float(f)}" for l, h, f in factors)
        shape = "model.config.num_hidden_layers, model.config.num_attention_heads"
        lines.insert(place(lines, "out"), f"mask = torch.ones({shape}){changes}; inputs['head_mask'] = mask")
    exec(compile("\n".join(lines), str(PAGE), "exec"), {})


if __name__ == "__main__":
    main()
