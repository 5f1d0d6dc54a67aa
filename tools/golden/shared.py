#!/usr/bin/env python3
"""Golden files that are copies of one another are kept once: `same_as.json` in a folder says where the others are.

`{"cases.json": "bert-uncased"}` means that `cases.json` of this folder is that of the folder `bert-uncased` beside it.
The crate `bertology-testkit` puts such a folder together for the tests; `resolved` does it for the scripts.

    shared.py golden/engine golden/tokenizer    leave out what is a copy, in these places
"""

import hashlib
import json
import sys
from pathlib import Path

NAME = "same_as.json"
# Smaller files stay where they are looked for: a config is easier read in its own folder.
LEAST = 4096


def others(folder):
    """What `same_as.json` of a folder says: the paths of the files that are kept elsewhere."""
    said = folder / NAME
    named = json.loads(said.read_text()) if said.is_file() else {}
    return {name: folder.parent / holder / name for name, holder in named.items()}


def resolved(place, name):
    """The path of the file `FOLDER/NAME` of a place, or None where there is none."""
    own = place / name
    return own if own.is_file() else others(own.parent).get(own.name)


def names(place):
    """All files of the folders of a place, those kept elsewhere too, as paths below it."""
    own = {path.relative_to(place) for path in place.rglob("*") if path.is_file() and path.name != NAME}
    folders = (path for path in place.iterdir() if path.is_dir())
    return own | {Path(folder.name, name) for folder in folders for name in others(folder)}


def share(place):
    """Leaves out what is a copy. The first folder by name keeps the file."""
    holders = {}
    for folder in sorted(path for path in place.iterdir() if path.is_dir()):
        left_out = {}
        for path in sorted(path for path in folder.iterdir() if path.is_file() and path.name != NAME):
            if path.stat().st_size < LEAST:
                continue
            digest = (path.name, hashlib.sha256(path.read_bytes()).digest())
            holder = holders.setdefault(digest, folder.name)
            if holder != folder.name:
                left_out[path.name] = holder
        for name in left_out:
            (folder / name).unlink()
        left_out |= {name: path.parent.name for name, path in others(folder).items() if name not in left_out}
        if left_out:
            (folder / NAME).write_text(json.dumps(left_out, indent=2, sort_keys=True) + "\n")


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 0 if "--help" in sys.argv else 2
    for place in sys.argv[1:]:
        share(Path(place))
    return 0


if __name__ == "__main__":
    sys.exit(main())
