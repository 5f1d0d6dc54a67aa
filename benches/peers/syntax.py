"""Every head as a predictor of dependency heads: `bertology syntax` against transformers and numpy.

The peer is what a competent user writes: the model in eager mode with `output_attentions`, sentences sorted by length in
batches of 32 on all cores, token maps merged into word maps and scored in numpy for all heads of a layer at once, the
same two directions and their sum, by relation. Both read the same treebank, words with single spaces between them;
loading of model and libraries is left out on both sides, reading of the treebank and tokenising are not.

    cargo build --release -p bertology-cli
    .venv/bin/python benches/peers/syntax.py MODEL en_ewt-ud-dev.conllu --repeats 5

The two take turns. Printed are the medians, their ratio, the peak memory of both processes, and whether the counts of
every relation, direction and head are the same (all but near ties must be).
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BATCH = 32
DIRECTIONS = ("dep->head", "head<-dep", "both")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a folder with a BERT model and its tokenizer")
    parser.add_argument("conllu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--limit", type=int, help="the first N sentences")
    parser.add_argument("--binary", default=str(ROOT / "target" / "release" / "bertology"))
    parser.add_argument("--peer", metavar="FILE", help=argparse.SUPPRESS)
    return parser.parse_args()


def read(path, limit):
    """(forms, heads from 0 or -1, relations) of every sentence."""
    sentences, words = [], []
    with open(path, encoding="utf-8-sig") as lines:
        for line in [*lines, "\n"]:
            line = line.rstrip("\r\n")
            if not line:
                if words:
                    forms, heads, relations = zip(*words)
                    sentences.append((list(forms), [head - 1 for head in heads], list(relations)))
                    words = []
                    if len(sentences) == limit:
                        break
            elif not line.startswith("#"):
                columns = line.split("\t")
                if columns[0].isdigit():
                    words.append((columns[1], int(columns[6]), columns[7]))
    return sentences


def predictions(scores):
    """The best word of each row, -1 where all are 0: `[heads, words]` of `[heads, words, words]`."""
    best = scores.argmax(-1)
    found = scores.max(-1) > 0
    return best if found.all() else best * found - ~found


def peer(args):
    """One measurement, in a process of its own."""
    import numpy as np
    import torch
    import transformers

    torch.set_num_threads(args.threads)
    transformers.logging.set_verbosity_error()
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model)
    model = transformers.AutoModel.from_pretrained(
        args.model, attn_implementation="eager", dtype=torch.float32
    ).eval()
    start = time.perf_counter()
    sentences = read(args.conllu, args.limit)
    names = sorted({relation for _, _, relations in sentences for relation in relations})
    row_of = {name: at for at, name in enumerate(names)}
    layers, heads = model.config.num_hidden_layers, model.config.num_attention_heads
    correct = np.zeros((len(DIRECTIONS), layers, heads, len(names)), np.int64)
    total = np.zeros(len(names), np.int64)
    order = sorted(range(len(sentences)), key=lambda at: len(sentences[at][0]))
    with torch.inference_mode():
        for first in range(0, len(order), BATCH):
            chosen = [sentences[at] for at in order[first : first + BATCH]]
            batch = tokenizer(
                [forms for forms, _, _ in chosen], is_split_into_words=True, padding=True, return_tensors="pt"
            )
            maps = [layer.numpy() for layer in model(**batch, output_attentions=True).attentions]
            for at, (forms, gold, relations) in enumerate(chosen):
                count = len(forms)
                word_of = batch.word_ids(at)
                places = [place for place, word in enumerate(word_of) if word is not None]
                owners = np.array([word_of[place] for place in places])
                # [words, tokens]: sums over the tokens of a word.
                summed = (owners == np.arange(count)[:, None]).astype(np.float32)
                sizes = np.maximum(summed.sum(1), 1)
                span = slice(places[0], places[-1] + 1)
                gold = np.array(gold)
                rows = np.array([row_of[relation] for relation in relations])
                which = (rows[:, None] == np.arange(len(names))).astype(np.float32)
                total += which.sum(0).astype(np.int64)
                whole = len(places) == count
                for layer, values in enumerate(maps):
                    alpha = values[at, :, span, span]
                    beta = alpha.copy() if whole else summed @ alpha @ summed.T / sizes[:, None]
                    beta[:, np.arange(count), np.arange(count)] = 0
                    turned = beta.transpose(0, 2, 1)
                    for direction, scores in enumerate((beta, turned, beta + turned)):
                        right = (predictions(scores) == gold) & (gold >= 0)
                        correct[direction, layer] += (right @ which).astype(np.int64)
    seconds = time.perf_counter() - start
    np.save(args.peer, correct)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(dict(seconds=seconds, peak_mib=peak, relations=names, total=total.tolist())))


def run_peer(args, folder):
    file = folder / "peer.npy"
    line = [sys.executable, __file__, args.model, args.conllu, "--threads", str(args.threads), "--peer", str(file)]
    line += ["--limit", str(args.limit)] if args.limit else []
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1]), file


def run_ours(args, folder):
    out = folder / "ours"
    line = [args.binary, "syntax", args.model, "--conllu", args.conllu, "--threads", str(args.threads)]
    line += ["--input", "words", "--output", str(out), "--overwrite", "--quiet", "--json"]
    line += ["--limit", str(args.limit)] if args.limit else []
    reader, writer = os.pipe()
    pid = os.posix_spawn(
        line[0], line, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1), (os.POSIX_SPAWN_CLOSE, reader)]
    )
    os.close(writer)
    with open(reader, encoding="utf-8") as output:
        text = output.read()
    _, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit(f"{' '.join(line)} failed")
    seconds = json.loads(text)["seconds"]
    # The treebank is read once within `load`, with the model, and again within `attention`.
    return dict(seconds=seconds["attention"], load=seconds["load"], peak_mib=usage.ru_maxrss / 1024), out


def differences(peer_file, peer_names, out):
    """Counts that are not the same, and the largest difference."""
    import numpy as np

    theirs, ours = np.load(peer_file), np.load(out / "syntax_heads.npy")
    names = [row["relation"] for row in json.loads((out / "relations.json").read_text())["relations"]]
    ours = ours[..., [names.index(name) for name in peer_names]]
    off = np.abs(theirs - ours)
    return int((off > 0).sum()), int(off.max()), off.size


def main():
    args = arguments()
    if args.peer:
        return peer(args)
    times = {"peer": [], "ours": []}
    peaks = {"peer": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for repeat in range(args.repeats):
            theirs, file = run_peer(args, folder)
            ours, out = run_ours(args, folder)
            for name, found in (("peer", theirs), ("ours", ours)):
                times[name].append(found["seconds"])
                peaks[name].append(found["peak_mib"])
            print(
                f"round {repeat + 1}: peer {theirs['seconds']:.2f} s, ours {ours['seconds']:.2f} s "
                f"(and {ours['load']:.2f} s of loading)",
                file=sys.stderr,
            )
        differ, most, size = differences(file, theirs["relations"], out)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, values in times.items():
        print(
            f"{name}: {medians[name]:.2f} s ({min(values):.2f}..{max(values):.2f}), "
            f"peak {statistics.median(peaks[name]):.0f} MiB"
        )
    print(f"ratio: {medians['peer'] / medians['ours']:.2f}")
    print(f"counts that differ: {differ} of {size}, by at most {most}")
    return 0 if most <= 2 else 1


if __name__ == "__main__":
    sys.exit(main())
