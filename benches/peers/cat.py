"""The CAT-score of every layer and head of a corpus of functions: `bertology cat` against Python.

The peer is what a careful user writes: transformers with `output_attentions`, tree_sitter, numpy; one function at a time, as
its matrices are of different sizes. Per function and layer (mean of the heads) and per head it computes what `bertology cat` does
at least: leaves, distances in the graph with chain and flow, attention between leaves, J, Spearman's correlation plain and partial;
nothing of the controls, the permutations or the resamples, which `bertology` computes in the same time.

    python benches/peers/cat.py MODEL FUNCTIONS.jsonl [--limit 200] [--repeats 3] [--threads 2]

Needs `tree-sitter` and its grammars besides the requirements of this folder (tools/golden/requirements.txt pins them). The
programs take turns; printed are medians, the median of the ratios, and how far the means of the scores are apart.
"""

import argparse
import csv
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
MIN_LEAVES, LONGEST = 12, 256


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("functions")
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--binary", default=str(ROOT / "target/release/bertology"))
    parser.add_argument("--peer", action="store_true", help="be the peer")
    return parser.parse_args()


def peer(args):
    import numpy as np
    import torch
    import transformers

    sys.path.insert(0, str(ROOT / "tools/golden"))
    import cat_reference as cat

    torch.set_num_threads(args.threads)
    transformers.logging.set_verbosity_error()
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model)
    model = transformers.AutoModel.from_pretrained(args.model, attn_implementation="eager", dtype=torch.float32).eval()
    lines = Path(args.functions).read_text().splitlines()[: args.limit]
    layers, heads = model.config.num_hidden_layers, model.config.num_attention_heads
    sums, count = np.zeros((layers, heads + 1)), 0
    start = time.perf_counter()
    with torch.inference_mode():
        for line in lines:
            record = json.loads(line)
            program = cat.read(record["code"].encode(), record["language"])
            if program.has_error:
                continue
            text, spans = cat.joined(program)
            encoded = tokenizer(
                text.decode(), truncation=True, max_length=LONGEST, return_offsets_mapping=True, return_special_tokens_mask=True
            )
            special, offsets = encoded["special_tokens_mask"], encoded["offset_mapping"]
            characters = np.cumsum([0, *(len(c.encode()) for c in text.decode())])
            pieces = [None if s else (characters[a], characters[b]) for s, (a, b) in zip(special, offsets)]
            of_leaves = cat.align(text, pieces, spans)
            kept = [leaf for leaf, own in enumerate(of_leaves) if own]
            if len(kept) < MIN_LEAVES:
                continue
            distance = cat.distances(program, "chain+flow")[np.ix_(kept, kept)]
            ids = torch.tensor([encoded["input_ids"]])
            maps = model(ids, output_attentions=True).attentions
            own = [of_leaves[leaf] for leaf in kept]
            for layer, values in enumerate(maps):
                of_heads = cat.leaf_attention(values[0].numpy(), own, "mean_mean")
                mean = of_heads.astype(np.float64).mean(0).astype(np.float32)
                for at, attention in enumerate([*of_heads, mean]):
                    found = cat.masks(attention, distance, "all")
                    sums[layer, at] += found.jaccard
                    cat.spearman(attention, distance)
            count += 1
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mib": peak, "functions": count, "cat": (sums[:, -1] / count).tolist()}))


def run_peer(args):
    line = [sys.executable, __file__, args.model, args.functions, "--peer", "--limit", str(args.limit)]
    done = subprocess.run([*line, "--threads", str(args.threads)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def run_ours(args, folder):
    out = Path(folder) / "ours"
    line = [args.binary, "cat", args.model, "--code", args.functions, "--limit", str(args.limit), "--max-length", str(LONGEST)]
    # Without an untrained encoder, which is the whole work once more.
    line += ["--random-encoder", "0", "--threads", str(args.threads), "--output", str(out), "--overwrite", "--quiet", "--json"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    seconds = json.loads(done.stdout)["seconds"]
    with open(out / "cat_layers.csv", newline="", encoding="utf-8") as rows:
        found = [row for row in csv.DictReader(rows) if row["encoder"] == "model" and row["measure"] == "cat"]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"seconds": seconds["attention"], "peak_mib": peak, "functions": int(found[0]["snippets"]), "cat": [float(row["mean"]) for row in found]}


def main():
    args = arguments()
    if args.peer:
        return peer(args)
    rounds = {"peer": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(args.repeats):
            # Ours first: the largest of all children so far is asked for.
            rounds["ours"].append(run_ours(args, folder))
            rounds["peer"].append(run_peer(args))
            print(f"round {repeat + 1}: peer {rounds['peer'][-1]['seconds']:.2f} s, ours {rounds['ours'][-1]['seconds']:.2f} s", file=sys.stderr)
    for name, found in rounds.items():
        print(f"{name}: {statistics.median(one['seconds'] for one in found):.2f} s, peak {found[0]['peak_mib']:.0f} MiB")
    ratios = [theirs["seconds"] / ours["seconds"] for theirs, ours in zip(rounds["peer"], rounds["ours"], strict=True)]
    print(f"ratio: {statistics.median(ratios):.1f}")
    theirs, ours = rounds["peer"][0], rounds["ours"][0]
    apart = max(abs(a - b) for a, b in zip(theirs["cat"], ours["cat"], strict=True))
    print(f"{ours['functions']} functions here, {theirs['functions']} there; means of layers at most {apart:.1e} apart")
    return 0 if apart < 1e-3 and ours["functions"] == theirs["functions"] else 1


if __name__ == "__main__":
    sys.exit(main())
