"""bertology against its Python peers, taking turns on one machine; writes one table.

    python3 benches/peers/compare.py --data GLUE                    # everything; hours at BERT-base size
    python3 benches/peers/compare.py --only forward --sizes minilm --inputs 8x128 --repeats 3

The peers live in a virtual environment that is made on the first run (requirements.txt); the driver
itself needs nothing but Python. Within each round the programs run in random order, each in a process of
its own; a process loads, warms up, and times the pass itself. See benches/README.md.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import flops
import machine
import table
from timed import timed

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
STUDIES = ["importance", "forward", "cache", "startup"]
TASKS = ["mrpc", "sst-2"]
FULL = ["8x128", "512"]
SENTENCE = "The quick brown fox jumps over the lazy dog."


@dataclass
class Program:
    """Someone who takes part: how it is run, and which of ours do the same as a peer."""

    name: str
    run: object  # () -> {"passes_s", "process_s", "peak_mib", ...}
    against: tuple = ()  # names of our programs; empty for our own
    work: float | None = None  # FLOPs that the pass cannot do without
    rate: str | None = None  # which of the measured peaks they are compared with


@dataclass
class Scenario:
    """Programs that are compared on one model and one input."""

    study: str
    model: str
    input: str
    programs: list
    peak: object = None  # () -> the measured product rates


class Setup:
    """Paths, interpreters and prepared inputs."""

    def __init__(self, options):
        self.options = options
        self.python = interpreter(options)
        self.threads = options.threads or len(os.sched_getaffinity(0))
        if not options.no_build:
            build()
        self.bertology = ROOT / "target/release/bertology"
        self.forward = ROOT / "target/release/examples/forward"
        self.peak = ROOT / "target/release/examples/peak"
        self.made = self.prepare()

    def environment(self):
        """Both sides get the same number of threads; nobody goes to the network."""
        threads = str(self.threads)
        names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"]
        return os.environ | dict.fromkeys(names, threads) | {"HF_HUB_OFFLINE": "1"}

    def prepare(self):
        options = self.options
        models, inputs = list(options.sizes), []
        if "importance" in options.only:
            inputs += options.tasks
        if "forward" in options.only:
            inputs += [each for each in options.inputs if each not in inputs]
        if "cache" in options.only:
            models.append("gpt2")
            inputs += [] if "8x128" in inputs else ["8x128"]
        if "startup" in options.only and "minilm" not in models:
            models.append("minilm")
        command = [self.python, HERE / "prepare.py", "--work", options.work / "inputs"]
        command += ["--tokenizer", options.tokenizer or options.model or "bert-base-uncased"]
        command += ["--models", *models, "--inputs", *inputs]
        command += ["--model", options.model] if options.model else []
        command += ["--data", options.data] if options.data else []
        return json.loads(timed(command + self.limit(), os.environ)[0].splitlines()[-1])

    def limit(self):
        return ["--limit", str(self.options.limit)] if self.options.limit else []

    def folder(self, model):
        return self.made["models"][model]["folder"]

    def config(self, model):
        return self.made["models"][model]["config"]

    def ids(self, model, kind):
        return self.made["inputs"][f"{model} {kind}"]

    def passes(self, kind):
        """A pass over one batch is short: it is repeated within the process, and the median counts."""
        return self.options.passes if kind in FULL else 1

    def measured(self, command):
        """Of a program that prints its own measurement; its own peak memory ends with its last pass."""
        output, seconds, peak = timed(command, self.environment())
        result = json.loads(output.splitlines()[-1])
        return result | {"process_s": seconds, "peak_mib": result.get("peak_mib") or peak}

    def torch(self, kind, model, *more):
        def run():
            command = [self.python, HERE / "torch_peer.py", "--kind", kind]
            command += ["--model", self.folder(model), "--threads", str(self.threads), *map(str, more)]
            return self.measured(command)

        return run

    def ours_forward(self, model, kind, observe):
        def run():
            command = [self.forward, self.folder(model), self.ids(model, kind)["path"]]
            command += ["--observe", observe, "--threads", str(self.threads)]
            return self.measured([*command, "--repeats", str(self.passes(kind))])

        return run

    def ours_study(self, command, lap, model, task, *more):
        """The command as users run it; its pass includes reading and tokenising, as the peers' does."""

        def run():
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "run"
                line = [self.bertology, command, self.folder(model), "--task", task]
                line += ["--data", self.options.data, "--output", out, "--quiet"]
                line += ["--threads", str(self.threads), *more, *self.limit()]
                _, seconds, peak = timed(line, self.environment())
                record = json.loads((out / "run.json").read_text())
                result = {"passes_s": [record["seconds"][lap]]}
                if (out / "attn_entropy.npy").exists():
                    result["entropy_mean"] = machine.mean_of_npy(out / "attn_entropy.npy")
                return result | {"process_s": seconds, "peak_mib": peak}

        return run

    def product_peak(self, model):
        hidden, inner = flops.block(self.config(model))

        def run():
            command = [self.peak, "--hidden", str(hidden), "--inner", str(inner)]
            return self.measured([*command, "--threads", str(self.threads)])

        return run


def interpreter(options):
    """The Python of the peers; makes their environment if there is none, or none with these versions."""
    if options.python:
        return options.python
    python, installed = options.venv / "bin/python", options.venv / "installed-peers.txt"
    requirements = HERE / "requirements.txt"
    wanted = requirements.read_text()
    if not installed.exists() or installed.read_text() != wanted:
        print(f"installing the peers in {options.venv}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", options.venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", requirements], check=True)
        installed.write_text(wanted)
    return python


def build():
    """In one call: built one by one, the packages would see different features and build twice."""
    packages = ["-p", "bertology-cli", "-p", "bertology", "-p", "bertology-kernels"]
    targets = ["--bin", "bertology", "--example", "forward", "--example", "peak"]
    subprocess.run(["cargo", "build", "--release", *packages, *targets], cwd=ROOT, check=True)


def importance(setup, model, task):
    options = setup.options
    data = ["--data", options.data, "--task", task, *setup.limit()]
    config, lengths = setup.config(model), setup.ids(model, task)["lengths"]
    programs = [
        Program(
            f"script, batch {batch}",
            setup.torch("script", model, "--batch-size", batch, *data),
            ("importance",),
        )
        for batch in options.script_batches
    ]
    tuned = setup.torch("tuned", model, "--batch-size", 32, *data)
    programs.append(Program("tuned, batch 32", tuned, ("importance",)))
    ours = setup.ours_study("importance", "importance", model, task, "--granularity", "example")
    work = flops.importance(config, lengths)
    programs.append(Program("importance", ours, (), work, "both"))
    return Scenario("importance", model, task, programs, setup.product_peak(model))


def forward(setup, model, kind):
    config, ids = setup.config(model), setup.ids(model, kind)
    pad_to = 512 if kind == "512" else 128
    common = ["--ids", ids["path"], "--passes", setup.passes(kind)]
    ours = ("statistics", "plain")
    batch = 8 if kind in FULL else 32
    programs = [
        Program(
            f"maps and states, batch 8, padded to {pad_to}",
            setup.torch("maps", model, "--batch-size", 8, "--pad-to", pad_to, *common),
            ("statistics",),
        ),
        Program(
            f"sdpa, batch {batch}, sorted",
            setup.torch("fast", model, "--batch-size", batch, *common),
            ours,
        ),
        Program(
            "statistics",
            setup.ours_forward(model, kind, "statistics"),
            (),
            flops.forward_whole(config, ids["lengths"]),
            "forward",
        ),
        Program(
            "plain",
            setup.ours_forward(model, kind, "none"),
            (),
            flops.forward_classifier(config, ids["lengths"]),
            "forward",
        ),
    ]
    if kind in TASKS:
        programs.append(
            Program(
                "evaluate",
                setup.ours_study("evaluate", "evaluation", model, kind),
                (),
                flops.forward_classifier(config, ids["lengths"]),
                "forward",
            )
        )
        programs[1].against = (*ours, "evaluate")
    return Scenario("forward", model, kind, programs, setup.product_peak(model))


def cache(setup):
    ids = setup.ids("gpt2", "8x128")
    common = ["--ids", ids["path"], "--passes", setup.passes("8x128")]
    work = flops.forward_language_model(setup.config("gpt2"), ids["lengths"])
    ours = ("everything read", "everything kept")
    programs = [Program("run_with_cache", setup.torch("cache", "gpt2", *common), ours)]
    for name, observe in zip(ours, ["everything", "capture"]):
        run = setup.ours_forward("gpt2", "8x128", observe)
        programs.append(Program(name, run, (), work, "forward"))
    return Scenario("cache", "gpt2", "8x128", programs, setup.product_peak("gpt2"))


def startup(setup):
    folder = setup.folder("minilm")

    def shell(command):
        _, seconds, peak = timed(command, setup.environment())
        return {"passes_s": [seconds], "process_s": seconds, "peak_mib": peak}

    def ours():
        with tempfile.TemporaryDirectory() as out:
            command = [setup.bertology, "extract", folder, SENTENCE, "--logits"]
            return shell([*command, "--output", out, "--overwrite", "--quiet"])

    def python():
        return shell([setup.python, HERE / "startup_peer.py", folder, SENTENCE])

    programs = [Program("python", python, ("extract",)), Program("extract", ours)]
    return Scenario("startup", "minilm", "one sentence", programs)


def scenarios(setup):
    options = setup.options
    for size in options.sizes:
        if "importance" in options.only:
            yield from (importance(setup, size, task) for task in options.tasks)
        if "forward" in options.only:
            yield from (forward(setup, size, kind) for kind in options.inputs)
    if "cache" in options.only:
        yield cache(setup)
    if "startup" in options.only:
        yield startup(setup)


def measure(scenario, repeats, seed):
    """{program: [one result a round]}, the bare products ("peak") among them."""
    runs = {program.name: program.run for program in scenario.programs}
    if scenario.peak:
        runs["peak"] = scenario.peak
    order = random.Random(f"{seed} {scenario.study} {scenario.model} {scenario.input}")
    if scenario.study == "startup":
        # Nothing warms itself up there; the first run fills the file cache.
        for run in runs.values():
            run()
    results = {name: [] for name in runs}
    for round_ in range(repeats):
        for name in order.sample(list(runs), len(runs)):
            results[name].append(runs[name]())
            where = f"{scenario.study} {scenario.model} {scenario.input}"
            print(f"{where} {round_ + 1}/{repeats} {name}: {results[name][-1]}", file=sys.stderr)
    return results


def check(scenario, results):
    """Programs that report the same number must agree on it: a fast wrong answer is no answer."""
    for key, tolerance in [("entropy_mean", 1e-3), ("logits_mean", 1e-3)]:
        found = {
            name: run[key]
            for name, runs in results.items()
            for run in runs
            if run.get(key) is not None
        }
        if found and max(found.values()) - min(found.values()) > tolerance * max(found.values()):
            sys.exit(f"{scenario.study} {scenario.model} {scenario.input}: {key} differs: {found}")


def write(path, text):
    """The file appears whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words = lambda text: text.split(",")
    parser.add_argument("--only", type=words, default=STUDIES, help=",".join(STUDIES))
    parser.add_argument("--sizes", type=words, default=["base", "minilm"], help="base,minilm")
    parser.add_argument("--tasks", type=words, default=TASKS, help="of importance: mrpc,sst-2")
    inputs = [*TASKS, *FULL]
    parser.add_argument("--inputs", type=words, default=inputs, help=f"of forward: {','.join(inputs)}")
    parser.add_argument("--script-batches", type=words, default=["1", "8"], help="default: 1,8")
    parser.add_argument("--data", help="GLUE folder (MRPC, SST-2); needed for tasks")
    parser.add_argument("--model", help="a real checkpoint of MiniLM size instead of random weights")
    parser.add_argument("--tokenizer", help="a BERT tokenizer for random weights [--model, or the hub's]")
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default: 5)")
    parser.add_argument("--passes", type=int, default=5, help="per round over 8x128 and 512")
    parser.add_argument("--limit", type=int, help="only the first N examples of each task")
    parser.add_argument("--threads", type=int, help="of both sides (default: all cores)")
    parser.add_argument("--seed", type=int, default=0, help="of the order within rounds")
    work = ROOT / "target/peers"
    parser.add_argument("--work", type=Path, default=work, help="checkpoints and inputs made here")
    parser.add_argument("--venv", type=Path, help="the peers' environment, made if absent [WORK/venv]")
    parser.add_argument("--python", help="an interpreter that has the peers, instead of --venv")
    parser.add_argument("--no-build", action="store_true", help="the Rust programs are there already")
    parser.add_argument("--table", type=Path, help="write the table to this file too")
    parser.add_argument("--json", type=Path, help="write every measurement to this file")
    options = parser.parse_args()
    options.venv = options.venv or options.work / "venv"
    known = [
        ("--only", options.only, STUDIES),
        ("--sizes", options.sizes, ["base", "minilm"]),
        ("--tasks", options.tasks, TASKS),
        ("--inputs", options.inputs, inputs),
    ]
    for name, given, allowed in known:
        if unknown := set(given) - set(allowed):
            parser.error(f"{name}: {', '.join(sorted(unknown))}; choose from {', '.join(allowed)}")
    tasks = "importance" in options.only and options.tasks
    tasks = tasks or ("forward" in options.only and set(options.inputs) & set(TASKS))
    if tasks and not options.data:
        parser.error("tasks need --data GLUE; or leave them out with --only or --inputs 8x128,512")
    return options


def main():
    options = parse()
    setup = Setup(options)
    record = {
        "date": date.today().isoformat(),
        "machine": machine.describe(),
        "commit": machine.commit(ROOT),
        "versions": setup.made["versions"],
        "options": {key: str(value) for key, value in vars(options).items()},
        "threads": setup.threads,
        "scenarios": [],
    }
    for scenario in scenarios(setup):
        results = measure(scenario, options.repeats, options.seed)
        check(scenario, results)
        described = [
            {"name": p.name, "against": p.against, "flops": p.work, "rate": p.rate}
            for p in scenario.programs
        ]
        names = {"study": scenario.study, "model": scenario.model, "input": scenario.input}
        record["scenarios"].append(names | {"programs": described, "results": results})
        # After each scenario, so that an interrupted run loses one and not all.
        if options.json:
            write(options.json, json.dumps(record, indent=1) + "\n")
        if options.table:
            write(options.table, table.markdown(record))
    print(table.markdown(record), end="")


if __name__ == "__main__":
    main()
