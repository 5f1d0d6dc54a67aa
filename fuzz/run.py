#!/usr/bin/env python3
"""Run the fuzz targets, each under bounds of time and memory.

    fuzz/run.py                          every target for 20 seconds
    fuzz/run.py --seconds 0 --runs 1000000 safetensors
    fuzz/run.py --again FILE TARGET      one input once more

Works with stable Rust: the instrumentation is asked of the compiler itself, and libFuzzer is built by the crate
libfuzzer-sys. Seeds are made by seeds.py; what is found on the way is kept in target/corpus.

An input that ends a target (a panic, an abort, more than two seconds, more memory than 64 MB and twenty times the
input) is kept in target/found and named at the end, and the exit status is 1. A slow input is tried three times more
before it counts, since the machine may have been busy with something else.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
FLAGS = [
    "--cfg",
    "fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
]
# Of the whole process, which libFuzzer's own corpus is a part of. What a reader takes is bounded more tightly inside.
PROCESS_MB = 2048


def host():
    version = subprocess.run(["rustc", "-vV"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return re.search(r"^host: (.*)$", version, re.MULTILINE).group(1)


def build(triple):
    """Builds every target. The triple is named so that build scripts and macros are not instrumented."""
    environment = {**os.environ, "RUSTFLAGS": " ".join(FLAGS)}
    command = ["cargo", "build", "--release", "--quiet", "--target", triple, "--bins"]
    subprocess.run(command, cwd=HERE, env=environment, check=True)
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE / "target")) / triple / "release"


def targets():
    return sorted(path.stem for path in (HERE / "targets").glob("*.rs"))


def scratch():
    """Where readers find their files: in memory where that is possible."""
    memory = pathlib.Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory if memory.is_dir() else None)


def fuzz(binary, target, seconds, runs):
    """Runs a target; gives the executions, the coverage and what ended it, if anything did."""
    corpus, found = HERE / "target/corpus" / target, HERE / "target/found" / target
    corpus.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(found, ignore_errors=True)
    found.mkdir(parents=True)
    command = [
        str(binary),
        str(corpus),
        str(HERE / "target/seeds" / target),
        f"-artifact_prefix={found}/",
        f"-rss_limit_mb={PROCESS_MB}",
        "-timeout=2",
        "-max_len=16384",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    if seconds:
        command.append(f"-max_total_time={seconds}")
    if runs:
        command.append(f"-runs={runs}")
    with scratch() as folder:
        environment = {**os.environ, "TMPDIR": folder}
        ended = subprocess.run(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    log = ended.stderr.decode(errors="replace")
    (found.parent / f"{target}.log").write_text(log)
    numbers = re.findall(r"^#(\d+)\s", log, re.MULTILINE)
    coverage = re.findall(r"cov: (\d+)", log)
    executions = re.search(r"stat::number_of_executed_units: (\d+)", log)
    return {
        "executions": int(executions.group(1)) if executions else max(map(int, numbers), default=0),
        "coverage": int(coverage[-1]) if coverage else 0,
        "found": sorted(found.iterdir()),
        "status": ended.returncode,
        "log": log,
    }


def again(binary, file):
    """One input once more; whether the target survives it."""
    with scratch() as folder:
        environment = {**os.environ, "TMPDIR": folder, "SHOW_PANICS": "1"}
        command = [str(binary), "-timeout=2", f"-rss_limit_mb={PROCESS_MB}", str(file)]
        return subprocess.run(command, env=environment, capture_output=True)


def is_fault(binary, file):
    if not file.name.startswith(("timeout-", "slow-unit-")):
        return True
    if file.name.startswith("slow-unit-"):
        return False
    return all(again(binary, file).returncode != 0 for _ in range(3))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help="all if none is named")
    parser.add_argument("--seconds", type=int, default=20, help="for each target; 0 for no limit")
    parser.add_argument("--runs", type=int, default=0, help="executions of each target; 0 for no limit")
    parser.add_argument("--again", metavar="FILE", help="run one input and show what happens")
    options = parser.parse_args()
    unknown = set(options.targets) - set(targets())
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(targets())}")

    binaries = build(host())
    if options.again:
        for target in options.targets or parser.error("--again wants a target"):
            ended = again(binaries / target, options.again)
            sys.stderr.buffer.write(ended.stderr)
            sys.exit(1 if ended.returncode else 0)
    subprocess.run([sys.executable, str(HERE / "seeds.py"), str(HERE / "target/seeds")], check=True)

    faults = 0
    print(f"{'target':16}{'executions':>12}{'edges':>8}  faults", flush=True)
    for target in options.targets or targets():
        result = fuzz(binaries / target, target, options.seconds, options.runs)
        files = [file for file in result["found"] if is_fault(binaries / target, file)]
        # A target that ends without an input to show for it never ran.
        broken = result["status"] != 0 and not result["found"]
        faults += len(files) + broken
        said = ", ".join(str(file) for file in files) or ("did not run" if broken else "none")
        print(f"{target:16}{result['executions']:12,}{result['coverage']:8,}  {said}", flush=True)
        if files or broken:
            print("\n".join("    " + line for line in result["log"].splitlines()[-25:]), flush=True)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
