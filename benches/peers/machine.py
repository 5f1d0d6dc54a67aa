"""Where and on what a measurement was made, without anything but Python."""

import array
import ast
import os
import platform
import struct
import subprocess
from pathlib import Path


def describe():
    """Processor, cores in use, and the vector instructions that matter here."""
    fields = {}
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    flags = set(fields.get("flags", fields.get("Features", "")).split())
    return {
        "processor": fields.get("model name") or platform.processor() or platform.machine(),
        "family": fields.get("cpu family"),
        "model": fields.get("model"),
        "cores": len(os.sched_getaffinity(0)),
        "vectors": [flag for flag in ("avx2", "avx512f", "asimd") if flag in flags],
        "system": platform.platform(),
        "load_before": os.getloadavg()[0],
    }


def commit(root):
    """The commit measured, with a plus if files differ from it; None outside a checkout."""
    git = lambda *words: subprocess.run(
        ["git", *words], cwd=root, capture_output=True, text=True, check=False
    )
    head = git("rev-parse", "--short", "HEAD")
    if head.returncode != 0:
        return None
    changed = git("status", "--porcelain", "--untracked-files=no").stdout.strip()
    return head.stdout.strip() + ("+" if changed else "")


def mean_of_npy(path):
    """Mean of a little-endian float32 .npy file; the driver has no numpy."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<H", data[8:10])
    header = ast.literal_eval(data[10 : 10 + length].decode("latin-1"))
    if data[6] != 1 or header["descr"] != "<f4":
        raise ValueError(f"{path}: not a version 1 array of <f4")
    values = array.array("f", data[10 + length :])
    return sum(values) / len(values)
