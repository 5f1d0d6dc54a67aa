#!/usr/bin/env python3
"""A distributed run whose workers and driver are killed, whenever that is, comes to the bytes of an undisturbed one.

    kills.py --engine local --rounds 20            # and ray, dask; on the embedded model
    kills.py --engine ray --study ablate --seed 2

Each round begins a run, kills a worker or the driver after a random time, a few times, calls again what ended early as
a user would, and compares. Only processes that descend from the round's own driver are killed. `PYTHONPATH` says where
the package is, if it is not installed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "parity"))

import parts  # noqa: E402
import run_folders  # noqa: E402

# What a worker of each engine looks like among the processes.
WORKERS = {"local": b"bertology.distributed._worker", "ray": b"ray::Maker", "dask": b"multiprocessing.spawn"}
DRIVER = """
import sys
from bertology import distributed
if __name__ == "__main__":
    study, model, data, output, engine = sys.argv[1:6]
    options = dict(task="cola", limit=int(sys.argv[6]), chunk=int(sys.argv[7]))
    distributed.run(study, model, data, output=output, engine=engine, workers=2, parts=6, threads=1, **options)
"""


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found.append(child)
            waiting.append(child)
    return found


def workers(pid: int, engine: str) -> list[int]:
    """The workers among them."""
    found = []
    for child in descendants(pid):
        with contextlib.suppress(OSError):
            if WORKERS[engine] in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found


def kill(driver: subprocess.Popen[bytes], engine: str, rng: random.Random) -> str:
    """Kills a worker, or now and then the driver; gives what it was."""
    victims = workers(driver.pid, engine)
    if rng.random() < 0.3 or not victims:
        if driver.poll() is None:
            driver.send_signal(signal.SIGKILL)
        return "driver"
    with contextlib.suppress(ProcessLookupError):
        os.kill(rng.choice(victims), signal.SIGKILL)
    return "worker"


def one_round(asked: argparse.Namespace, line: list[str], output: Path, rng: random.Random, seconds: float) -> str:
    """Kills, begins again, and says what happened."""
    shutil.rmtree(output, ignore_errors=True)
    kills, said = rng.randint(1, asked.kills), []
    for _ in range(10 + kills):
        driver = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while len(said) < kills and driver.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                driver.wait(rng.uniform(0, seconds))
            if driver.poll() is None:
                said.append(kill(driver, asked.engine, rng))
        error = driver.communicate()[1].decode(errors="replace")
        if driver.returncode == 0:
            return " ".join(said) or "none was caught"
        if driver.returncode != -signal.SIGKILL and "PartsError" not in error:
            raise SystemExit(f"the driver ended with {driver.returncode}:\n{error}")
    raise SystemExit("the run never came to its end")


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=sorted(WORKERS), default="local")
    parser.add_argument("--study", default="ablate")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--kills", type=int, default=4, metavar="N", help="at most, in a round")
    parser.add_argument("--limit", type=int, default=400, metavar="N", help="sentences")
    parser.add_argument("--chunk", type=int, default=16, metavar="N")
    parser.add_argument("--work", type=Path, default=Path("compare-distributed"), metavar="DIR")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    work = asked.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    (work / "driver.py").write_text(DRIVER, encoding="utf-8")
    place = {"model": str(ROOT / "assets" / "tiny-bert"), "data": str(ROOT / "assets" / "grammar")}
    rng, failed = random.Random(asked.seed), 0

    def line(output: Path, engine: str) -> list[str]:
        words = [asked.study, place["model"], place["data"], str(output), engine, str(asked.limit), str(asked.chunk)]
        return [sys.executable, str(work / "driver.py"), *words]

    # One process, and no parts.
    whole = work / f"{asked.study}-whole"
    shutil.rmtree(whole, ignore_errors=True)
    options = ["--task=cola", f"--limit={asked.limit}", f"--chunk={asked.chunk}", f"--data={place['data']}"]
    command = [sys.executable, "-m", "bertology", asked.study, *options, f"--output={whole}", "--", place["model"]]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    output = work / f"{asked.study}-{asked.engine}"
    shutil.rmtree(output, ignore_errors=True)
    started = time.monotonic()
    subprocess.run(line(output, asked.engine), check=True, stderr=subprocess.DEVNULL)
    seconds = time.monotonic() - started
    for number in range(asked.rounds + 1):
        said = "undisturbed" if number == 0 else one_round(asked, line(output, asked.engine), output, rng, seconds)
        found = run_folders.same_bytes(whole, output, parts.VOLATILE)
        failed += bool(found.different)
        word = "DIFFERENT" if found.different else "same"
        print(f"{word:10} {asked.engine:6} {asked.study:12} {found.files} files; {said}", flush=True)
        for different in found.different[:3]:
            print(f"           {different}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
