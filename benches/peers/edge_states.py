"""Hidden states of all layers at the tokens of spans: `bertology`'s extraction against transformers, and the memory of a whole run.

    cargo build --release -p bertology-train --example edge_states
    python benches/peers/edge_states.py compare MODEL RECORDS... --threads 2 --repeats 5
    cargo build --release -p bertology-cli
    python benches/peers/edge_states.py memory MODEL TRAIN DEV --repeat 1,4

RECORDS are what `bertology edge-data` writes. The peer is what a careful user writes: distinct sentences sorted by length, batches
padded to their longest, `output_hidden_states`, of every batch the positions that are wanted, in half precision, in memory. Ours
does the same and writes them to the disk. Loading and tokenizing are left out of both. In `compare` the programs take turns; printed are the
medians and the median of the ratios of each round.

`memory` runs the whole of `bertology edge-probe` with all its controls on the corpus once and on it several times over, one word of
every sentence changed in each copy (states are kept once for each distinct sentence), and prints the greatest memory of each.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["compare", "memory", "peer"])
    parser.add_argument("model")
    parser.add_argument("records", nargs="+")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32, help="sentences of a batch of the peer")
    parser.add_argument("--sentences", type=int, help="of compare: only so many")
    parser.add_argument("--repeat", default="1,4", help="of memory: how many times over")
    parser.add_argument("--seeds", default="3")
    parser.add_argument("--epochs", default="1", help="of memory, which does not depend on them")
    parser.add_argument("--states", default=str(ROOT / "target" / "release" / "examples" / "edge_states"))
    parser.add_argument("--binary", default=str(ROOT / "target" / "release" / "bertology"))
    return parser.parse_args()


def read(paths):
    """Distinct records: text and targets."""
    records = {}
    for path in paths:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line)
                records.setdefault(record["text"], []).extend(record["targets"])
    return records


def peer(options):
    import torch
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(options.threads)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModel.from_pretrained(options.model, dtype=torch.float32).eval()
    # Texts that differ in case alone are the same tokens to an uncased model, and read once.
    distinct = {}
    for text, targets in read(options.records).items():
        encoded = tokenizer(text.split(), is_split_into_words=True)
        wanted = {word for t in targets for span in (t["span1"], t.get("span2", [0, 0])) for word in range(*span)}
        ids, here = tuple(encoded["input_ids"]), [word in wanted for word in encoded.word_ids()]
        earlier = distinct.setdefault(ids, here)
        distinct[ids] = [a or b for a, b in zip(earlier, here, strict=True)]
    sentences = [(list(ids), wanted) for ids, wanted in distinct.items()]
    pieces = sum(sum(wanted) for _, wanted in sentences)
    start, before = time.perf_counter(), time.process_time()
    sentences.sort(key=lambda sentence: len(sentence[0]))
    states, done = None, 0
    for first in range(0, len(sentences), options.batch):
        some = sentences[first : first + options.batch]
        width = len(some[-1][0])
        ids = torch.tensor([row + [tokenizer.pad_token_id or 0] * (width - len(row)) for row, _ in some])
        wanted = torch.tensor([row + [False] * (width - len(row)) for _, row in some])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row, _ in some])
        with torch.inference_mode():
            layers = model(ids, attention_mask=mask, output_hidden_states=True).hidden_states
            if states is None:
                states = torch.empty(pieces, len(layers), layers[0].shape[2], dtype=torch.float16)
            count = int(wanted.sum())
            for at, layer in enumerate(layers):
                states[done : done + count, at] = layer[wanted].half()
            done += count
    wall, processor = time.perf_counter() - start, time.process_time() - before
    print(json.dumps({"wall": wall, "processor": processor, "pieces": done, "sequences": len(sentences)}))


def compare(options):
    with tempfile.TemporaryDirectory() as folder:
        records = Path(folder) / "records.jsonl"
        with records.open("w", encoding="utf-8") as file:
            for text, targets in list(read(options.records).items())[: options.sentences]:
                file.write(json.dumps({"text": text, "targets": targets}) + "\n")
        threads = ["--threads", str(options.threads)]
        programs = {
            "ours": lambda at: [options.states, options.model, str(records), f"{folder}/states-{at}", *threads],
            "peer": lambda _: [
                *(sys.executable, __file__, "peer", options.model, str(records), *threads),
                *("--batch", str(options.batch)),
            ],
        }
        rounds = {name: [] for name in programs}
        for at in range(options.repeats):
            for name, command in programs.items():
                Path(f"{folder}/states-{at}").mkdir(exist_ok=True)
                ran = subprocess.run(command(at), check=True, capture_output=True, text=True)
                found = json.loads(ran.stdout.splitlines()[-1])
                rounds[name].append(found)
                print(name, json.dumps(found), file=sys.stderr, flush=True)
            subprocess.run(["rm", "-r", f"{folder}/states-{at}"], check=True)
    counts = [{(one["pieces"], one["sequences"]) for one in found} for found in rounds.values()]
    assert counts[0] == counts[1], f"not the same work: {counts}"
    for measure in ("wall", "processor"):
        for name, found in rounds.items():
            seconds = statistics.median(one[measure] for one in found)
            ratios = [one[measure] / ours[measure] for one, ours in zip(found, rounds["ours"], strict=True)]
            print(f"{measure:9} {name:5} {seconds:8.2f} s   {statistics.median(ratios):.2f} times ours")


def memory(options):
    train, dev = options.records
    with tempfile.TemporaryDirectory() as folder:
        for copies in (int(copies) for copies in options.repeat.split(",")):
            files = {}
            for name, source in {"train": train, "dev": dev}.items():
                files[name] = f"{folder}/{name}-{copies}.jsonl"
                records = [json.loads(line) for line in open(source, encoding="utf-8")]
                with open(files[name], "w", encoding="utf-8") as file:
                    for copy in range(copies):
                        for record in records:
                            words = record["text"].split()
                            if copy:
                                words[-1] = f"{words[-1]}{copy}"
                            file.write(json.dumps({"text": " ".join(words), "targets": record["targets"]}) + "\n")
            command = [options.binary, "edge-probe", options.model, "--train", files["train"], "--dev", files["dev"]]
            command += ["--seeds", options.seeds, "--epochs", options.epochs, "--random-encoder", "1", "--quiet"]
            command += ["--threads", str(options.threads), "--output", f"{folder}/out-{copies}"]
            start = time.perf_counter()
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            assert child.returncode == 0, f"ended with {child.returncode}"
            # Kibibytes on Linux.
            print(f"{copies} times: {used.ru_maxrss / 1024:7.0f} MiB   {time.perf_counter() - start:.0f} s", flush=True)


def main():
    options = arguments()
    {"compare": compare, "memory": memory, "peer": peer}[options.what](options)


if __name__ == "__main__":
    main()
