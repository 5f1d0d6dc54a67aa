#!/usr/bin/env python3
"""How much faster a smaller model is, runtime by runtime: ours, onnxruntime, transformers.

    compressed.py whole=MODEL smaller=out/model uniform=out-uniform/model --texts sentences.txt

The first model is the whole one. For each runtime and number of threads all models are opened in one process, and passes to the
logits take turns, in another order each round: the ratio of a round is between neighbours. A process is a stretch; in the next
one weights lie elsewhere in memory. Times are medians over stretches; a ratio is the mean of the stretches' median ratios with
Student's interval at 95 %, on logarithms. Nothing else should run on the machine.

Texts are passed as they stand in the file, 16 after 16; ours has no padding, the others pad each batch to its longest. `128 tokens`
are any ids. ONNX files are made by `bertology export`. transformers reads only models whose layers are all as wide as each other;
others have a dash there. Wants the bertology package built for release (`maturin develop --release`), onnxruntime,
and for transformers torch and transformers 4.57.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine

ROOT = Path(__file__).resolve().parents[2]
RUNTIMES = ["bertology", "onnxruntime", "transformers"]
# Student's t at 95 %, two-sided, for 1 to 19 degrees of freedom.
STUDENT = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228]
STUDENT += [2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093]


def opened(runtime, folder, threads, work):
    """A function of a batch of ids that computes its logits; nothing if the runtime cannot read the folder."""
    if runtime == "bertology":
        import bertology

        model = bertology.Model.from_pretrained(folder)
        return lambda rows: model(rows, threads=threads)
    if runtime == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(str(work), options)
        names = [one.name for one in session.get_inputs()]
        return lambda rows: session.run(None, {name: padded(rows)[name] for name in names})
    if "intermediate_sizes" in json.loads((Path(folder) / "config.json").read_text()):
        return None
    import torch
    import transformers

    torch.set_num_threads(threads)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="sdpa")
    model.eval()

    def run(rows):
        with torch.inference_mode():
            return model(**{name: torch.from_numpy(value) for name, value in padded(rows).items()}).logits

    return run


def padded(rows):
    """What tokenizers give for a batch."""
    import numpy as np

    longest = max(map(len, rows))
    ids, mask = np.zeros((len(rows), longest), np.int64), np.zeros((len(rows), longest), np.int64)
    for at, row in enumerate(rows):
        ids[at, : len(row)], mask[at, : len(row)] = row, 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def stretch(asked):
    """One process: seconds of each round, by case and model."""
    draw = random.Random(asked["seed"])
    models = list(asked["models"].items())
    draw.shuffle(models)
    programs = {}
    for name, (folder, file) in models:
        program = opened(asked["runtime"], folder, asked["threads"], file)
        if program is not None:
            programs[name] = program
    found = {}
    for case, batches in asked["cases"].items():
        times = {name: [] for name in programs}
        for program in programs.values():
            program(batches[0])
        begun = time.perf_counter()
        while len(times[asked["first"]]) < 3 or time.perf_counter() - begun < asked["seconds"]:
            order = list(programs)
            draw.shuffle(order)
            for name in order:
                start = time.perf_counter()
                for rows in batches:
                    programs[name](rows)
                times[name].append(time.perf_counter() - start)
        found[case] = times
    return found


def prepared(options, work):
    """Batches of ids by case, and of each model its folder and its ONNX file."""
    import bertology

    models = {}
    for word in options.models:
        name, _, folder = word.partition("=")
        file = Path(work) / f"{name}.onnx"
        if "onnxruntime" in options.runtimes:
            bertology.studies.export(folder, output=file)
        models[name] = (folder, str(file))
    whole = bertology.Model.from_pretrained(next(iter(models.values()))[0])
    draw = random.Random(options.seed)
    texts = Path(options.texts).read_text(encoding="utf-8").splitlines()
    texts = draw.sample([text for text in texts if text.strip()], options.number)
    rows = [row["ids"].tolist() for row in whole._native.encode(texts, max_length=whole.max_length)]
    vocab = whole.config["vocab_size"]
    cases = {}
    for size in options.batches:
        full = [[draw.randrange(vocab) for _ in range(128)] for _ in range(size)]
        cases[f"{size} × 128 tokens"] = [full]
        cases[f"{size} × sentences"] = [rows[at : at + size] for at in range(0, len(rows), size)]
    return models, cases, statistics.mean(map(len, rows))


def ratio(logs):
    """The geometric mean, with its interval where there are stretches to tell it by."""
    mean = statistics.mean(logs)
    if len(logs) < 2:
        return f"{math.exp(mean):.2f}"
    half = STUDENT[min(len(logs) - 1, len(STUDENT)) - 1] * statistics.stdev(logs) / math.sqrt(len(logs))
    return f"{math.exp(mean):.2f} ({math.exp(mean - half):.2f} to {math.exp(mean + half):.2f})"


def table(found, first, names, passes):
    """Rows of the table: milliseconds a batch, and how many times as fast as the whole model."""
    heads = [f"{name}, ms | times as fast" if name != first else f"{name}, ms" for name in names]
    yield f"| runtime | threads | batch | {' | '.join(heads)} |"
    yield f"| --- | ---: | --- |{' ---: |' * (2 * len(names) - 1)}"
    for (runtime, threads), stretches in found.items():
        for case in stretches[0]:
            cells = []
            for name in names:
                if name not in stretches[0][case]:
                    cells += ["–"] * (1 if name == first else 2)
                    continue
                medians = [statistics.median(one[case][name]) for one in stretches]
                cells.append(f"{1000 * statistics.median(medians) / passes[case]:.2f}")
                if name != first:
                    logs = []
                    for one in stretches:
                        pairs = zip(one[case][first], one[case][name], strict=True)
                        logs.append(statistics.median(math.log(whole / small) for whole, small in pairs))
                    cells.append(ratio(logs))
            yield f"| {runtime} | {threads} | {case} | {' | '.join(cells)} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="NAME=FOLDER", help="the whole model first")
    parser.add_argument("--texts", required=True, metavar="FILE", help="a sentence a line")
    parser.add_argument("--number", type=int, default=64, help="sentences that are drawn (64)")
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=RUNTIMES)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--stretches", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a case in a stretch, all models together (1)")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--json", metavar="FILE", help="write every time")
    options = parser.parse_args()
    if any("=" not in word for word in options.models) or len(options.models) < 2:
        parser.error("name the models: whole=FOLDER smaller=FOLDER")
    about = machine.describe()
    with tempfile.TemporaryDirectory() as work:
        models, cases, mean = prepared(options, work)
        first = next(iter(models))
        found = {}
        for number in range(options.stretches):
            for threads in options.threads:
                for runtime in options.runtimes:
                    asked = {
                        "runtime": runtime,
                        "threads": threads,
                        "models": models,
                        "first": first,
                        "cases": cases,
                        "seconds": options.seconds,
                        "seed": options.seed + number,
                    }
                    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
                    command = [sys.executable, __file__, "--stretch"]
                    done = subprocess.run(
                        command, input=json.dumps(asked), capture_output=True, text=True, env=environment, check=False
                    )
                    if done.returncode != 0:
                        sys.exit(f"{runtime}, {threads} threads: {done.stderr.strip()}")
                    found.setdefault((runtime, threads), []).append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{about['processor']}, {about['cores']} cores, load before {about['load_before']:.1f}, {machine.commit(ROOT)};")
    print(f"{options.stretches} stretches; {options.number} sentences of {mean:.1f} tokens on average\n")
    passes = {case: len(batches) for case, batches in cases.items()}
    print("\n".join(table(found, first, list(models), passes)))
    if options.json:
        raw = [{"runtime": runtime, "threads": threads, "stretches": of} for (runtime, threads), of in found.items()]
        Path(options.json).write_text(json.dumps({"machine": about, "models": models, "found": raw}))


if __name__ == "__main__":
    if sys.argv[1:] == ["--stretch"]:
        print(json.dumps(stretch(json.load(sys.stdin))))
    else:
        main()
