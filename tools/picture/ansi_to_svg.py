"""Draws a terminal's coloured output as the SVG that README shows.

    pip install rich==15.0.0
    cargo run --release -- demo --color always | head -n 72 | python tools/picture/ansi_to_svg.py docs/demo.svg
"""

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text


def main():
    console = Console(record=True, width=84, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(sys.stdin.read()))
    svg = console.export_svg(title="bertology demo")
    # The picture must not reach for fonts on the network: any monospaced font will do.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    Path(sys.argv[1]).write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
