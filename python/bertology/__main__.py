"""`python -m bertology`: the command, with all that it can do."""

from __future__ import annotations

import sys

from . import _native


def main() -> int:
    """The command with this process's arguments; gives the exit code."""
    return _native.main(["bertology", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
