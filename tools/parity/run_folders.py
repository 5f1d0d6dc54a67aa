"""Two run folders, or two JSON documents, held side by side: same bytes, close numbers, or different.

Only the standard library. Parquet files that differ in bytes are read with pyarrow where it is installed.
"""

import array
import csv
import json
import math
import re
import struct
import zipfile
from pathlib import Path

# Of run.json and of what --json prints: what differs from run to run, or with the version alone.
VOLATILE = re.compile(
    r"(^|\.)(arguments|bertology|started|finished|seconds)$"
    # Checksums of the files that are compared themselves.
    r"|^files\."
    r"|^((importance|mask|prune)\.)?format$"
    r"|(^|\.)(options\.)?threads$"
    r"|(^|\.)identity\.version$"
    r"|(^|\.)timing\.(before|after|speedup|range)$"
)
# Pages are for people: they must be there, no more.
PAGES = re.compile(r"\.html$")
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


class Comparison:
    """What was found: `different` places, the largest relative difference of close ones, and notes."""

    def __init__(self, tolerance=1e-12, looser=(), shorten=()):
        self.tolerance = tolerance
        self.looser = [(re.compile(place), limit) for place, limit in looser]
        self.shorten = shorten
        self.different = []
        self.notes = []
        self.unread = 0
        self.worst = 0.0
        self.worst_place = None
        self.files = 0

    def differ(self, place, text):
        line = f"{place}: {text}"
        if "any" in (self.limit(place), self.limit(line)):
            self.note(f"{line} (may differ)")
        else:
            self.different.append(line)

    def note(self, text):
        self.notes.append(text)

    def path(self, text):
        """A text without the folder of its version."""
        for folder in self.shorten:
            text = text.replace(folder, ".")
        return text

    def limit(self, place):
        """The absolute difference that passes at this place in place of the relative one: None, a number, or "any"."""
        return next((limit for pattern, limit in self.looser if pattern.search(place)), None)

    def numbers(self, place, before, after, exact=False):
        """One pair of numbers; whether they pass."""
        if before == after or (before != before and after != after):
            return True
        limit = self.limit(place)
        if before != before or after != after or math.isinf(before) or math.isinf(after):
            return False
        difference = abs(before - after)
        if limit not in (None, "any"):
            if difference > limit:
                return False
        elif exact or difference > self.tolerance * max(abs(before), abs(after)):
            return False
        relative = difference / max(abs(before), abs(after))
        if relative > self.worst:
            self.worst, self.worst_place = relative, place
        return True

    def sequences(self, place, before, after, exact, where):
        """Two sequences of numbers; the first place that differs and how much, `where` makes an index readable."""
        wrong = [i for i, (b, a) in enumerate(zip(before, after)) if not self.numbers(place, b, a, exact)]
        if wrong:
            first = wrong[0]
            largest = max(abs(before[i] - after[i]) for i in wrong)
            scale = max((abs(v) for v in before if math.isfinite(v)), default=0.0) or 1.0
            self.differ(
                f"{place}{where(first)}",
                f"{before[first]!r} became {after[first]!r}; {len(wrong)} of {len(before)} values, "
                f"by at most {largest:.2g}, {largest / scale:.2g} of the largest value",
            )


# --- arrays -------------------------------------------------------------------------------------------


def halves(data):
    return struct.unpack(f"<{len(data) // 2}e", data)


def brain_halves(data):
    whole = bytearray(len(data) * 2)
    whole[2::4], whole[3::4] = data[0::2], data[1::2]
    return array.array("f", bytes(whole))


def codes(code):
    return lambda data: array.array(code, data)


READERS = {
    **{name: codes(code) for name, code in {"f4": "f", "f8": "d", "i1": "b", "i2": "h", "i4": "i", "i8": "q"}.items()},
    **{name: codes(code) for name, code in {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "b1": "B"}.items()},
    **{name: codes(code) for name, code in {"F32": "f", "F64": "d", "I8": "b", "I32": "i", "I64": "q"}.items()},
    **{name: codes(code) for name, code in {"U8": "B", "BOOL": "B", "I16": "h", "U32": "I", "U64": "Q"}.items()},
    "f2": halves,
    "F16": halves,
    "BF16": brain_halves,
}


def npy(data):
    """Type, shape and bytes of a .npy file."""
    if data[:6] != b"\x93NUMPY":
        raise ValueError("not a .npy file")
    size, start = (2, 10) if data[6] == 1 else (4, 12)
    end = start + int.from_bytes(data[8 : 8 + size], "little")
    header = data[start:end].decode("latin-1")
    kind = re.search(r"'descr':\s*'[<|=]([a-z]\d)'", header)
    shape = re.search(r"'shape':\s*\(([^)]*)\)", header)
    if not kind or not shape or "'fortran_order': True" in header:
        raise ValueError(f"a .npy header that is not understood: {header}")
    return kind[1], [int(n) for n in shape[1].split(",") if n.strip()], data[end:]


def safetensors(data):
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    body = memoryview(data)[8 + size :]
    return {k: (v["dtype"], v["shape"], bytes(body[slice(*v["data_offsets"])])) for k, v in header.items()}


def arrays(path):
    """Name to type, shape and bytes; the only array of a .npy file has no name."""
    if path.suffix == ".npy":
        return {"": npy(path.read_bytes())}
    if path.suffix == ".safetensors":
        return safetensors(path.read_bytes())
    with zipfile.ZipFile(path) as file:
        return {name.removesuffix(".npy"): npy(file.read(name)) for name in file.namelist()}


def coordinates(shape):
    def where(index):
        place = []
        for size in reversed(shape):
            index, rest = divmod(index, size)
            place.append(rest)
        return str(list(reversed(place)))

    return where


def compare_arrays(found, name, before, after):
    before, after = arrays(before), arrays(after)
    names(found, name, before, after, "array")
    equal = True
    for key in [key for key in before if key in after]:
        place = f"{name}:{key}" if key else name
        (kind, shape, data), (new_kind, new_shape, new_data) = before[key], after[key]
        if (kind, shape) != (new_kind, new_shape):
            found.differ(place, f"{kind} {shape} became {new_kind} {new_shape}")
        elif data != new_data:
            equal = False
            exact = kind.lower()[0] in "iub" and kind != "BF16"
            read = READERS[kind]
            found.sequences(place, read(data), read(new_data), exact, coordinates(shape))
    if equal and before.keys() == after.keys():
        found.note(f"{name}: other bytes around the same values")


def names(found, place, before, after, what):
    """Names that only one side has: lost ones are differences, new ones are notes."""
    for key in [key for key in before if key not in after]:
        found.differ(place, f"{what} {key!r} is missing")
    for key in [key for key in after if key not in before]:
        found.note(f"{place}: {what} {key!r} added")


# --- tables and texts ---------------------------------------------------------------------------------


def rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def compare_tables(found, name, before, after):
    before, after = rows(before), rows(after)
    if not before or not after:
        return found.differ(name, "an empty table")
    names(found, name, before[0], after[0], "column")
    if len(before) != len(after):
        return found.differ(name, f"{len(before) - 1} rows became {len(after) - 1}")
    failed = len(found.different)
    for column in [column for column in before[0] if column in after[0]]:
        old, new = before[0].index(column), after[0].index(column)
        for row, (b, a) in enumerate(zip(before[1:], after[1:]), 1):
            if b[old] != a[new] and not cells(found, f"{name}:{column}", b[old], a[new]):
                found.differ(f"{name}:{column}, row {row}", f"{b[old]!r} became {a[new]!r}")
                break
    if len(found.different) == failed and before == after:
        found.note(f"{name}: other bytes around the same cells")


def cells(found, place, before, after):
    if not (NUMBER.fullmatch(before) and NUMBER.fullmatch(after)):
        return False
    whole = before.lstrip("+-").isdigit() and after.lstrip("+-").isdigit()
    return found.numbers(place, float(before), float(after), whole)


def compare_texts(found, name, before, after):
    """Texts such as SVG files: the words are equal, the numbers close."""
    try:
        before, after = (found.path(path.read_text(encoding="utf-8")) for path in (before, after))
    except UnicodeDecodeError:
        return found.differ(name, "other bytes")
    if before == after:
        return
    if NUMBER.sub("#", before) != NUMBER.sub("#", after):
        pairs = zip(before.splitlines(), after.splitlines())
        line = next((i for i, (b, a) in enumerate(pairs, 1) if b != a), "the last")
        return found.differ(name, f"another text from line {line} on")
    old, new = ([float(n) for n in NUMBER.findall(text)] for text in (before, after))
    found.sequences(name, old, new, False, lambda index: f" number {index}")


def compare_parquet(found, name, before, after):
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        found.unread += 1
        return found.note(f"{name}: other bytes, not read without pyarrow")
    before, after = (parquet.read_table(path) for path in (before, after))
    names(found, name, before.column_names, after.column_names, "column")
    for column in [c for c in before.column_names if c in after.column_names]:
        old, new = before[column], after[column]
        if old.type != new.type or len(old) != len(new):
            found.differ(f"{name}:{column}", f"{len(old)} of {old.type} became {len(new)} of {new.type}")
        elif not old.equals(new):
            compare_values(found, f"{name}:{column}", old.to_pylist(), new.to_pylist())


# --- documents ----------------------------------------------------------------------------------------


def compare_values(found, place, before, after, path="", volatile=None):
    """Two values of JSON. Keys that were added are notes, everything else that is not equal differs."""
    here = f"{place}: {path}" if path else place
    if volatile and volatile.search(path):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            inner = f"{path}.{key}" if path else key
            if volatile and volatile.search(inner):
                continue
            if key not in after:
                found.differ(f"{place}: {inner}", "is missing")
            elif key not in before:
                found.note(f"{place}: {inner} added")
            else:
                compare_values(found, place, before[key], after[key], inner, volatile)
    elif isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            return found.differ(here, f"{len(before)} items became {len(after)}")
        for index, (b, a) in enumerate(zip(before, after)):
            compare_values(found, place, b, a, f"{path}.{index}", volatile)
    elif number(before) and number(after):
        exact = isinstance(before, int) and isinstance(after, int)
        if not found.numbers(here, before, after, exact):
            found.differ(here, f"{before!r} became {after!r}")
    elif isinstance(before, str) and isinstance(after, str):
        before, after = found.path(before), found.path(after)
        if before != after:
            found.differ(here, f"{before!r} became {after!r}")
    elif type(before) is not type(after) or before != after:
        found.differ(here, f"{brief(before)} became {brief(after)}")


def number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def brief(value):
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


# --- folders ------------------------------------------------------------------------------------------


def files(folder):
    return {p.relative_to(folder).as_posix(): p for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def compare_folders(found, before, after):
    """Every file of the folder before has its equal in the one after."""
    before, after = files(before), files(after)
    names(found, "folder", before, after, "file")
    for name in [name for name in before if name in after]:
        found.files += 1
        compare_files(found, name, before[name], after[name])


def compare_files(found, name, before, after, volatile=VOLATILE):
    if PAGES.search(name) or before.read_bytes() == after.read_bytes():
        return
    try:
        if before.suffix == ".json":
            documents = [json.loads(path.read_bytes()) for path in (before, after)]
            compare_values(found, name, *documents, volatile=volatile if before.name == "run.json" else None)
        elif before.suffix in (".npy", ".npz", ".safetensors"):
            compare_arrays(found, name, before, after)
        elif before.suffix == ".csv":
            compare_tables(found, name, before, after)
        elif before.suffix == ".parquet":
            compare_parquet(found, name, before, after)
        else:
            compare_texts(found, name, before, after)
    except (ValueError, KeyError, IndexError, zipfile.BadZipFile, struct.error) as error:
        found.differ(name, f"cannot be read: {error}")


def same_bytes(whole, merged, volatile=VOLATILE):
    """Where two folders differ in bytes, pages aside; of run.json in any value that is not volatile."""
    found = Comparison(tolerance=0.0)
    whole, merged = files(whole), files(merged)
    names(found, "folder", whole, merged, "file")
    found.different += [f"folder: file {name!r} is too much" for name in merged if name not in whole]
    for name in [name for name in whole if name in merged]:
        found.files += 1
        if whole[name].name == "run.json":
            compare_files(found, name, whole[name], merged[name], volatile)
        elif not PAGES.search(name) and whole[name].read_bytes() != merged[name].read_bytes():
            found.differ(name, "other bytes")
    return found
