#!/usr/bin/env python3
"""Read what `bertology extract` writes as users do, and compare it with transformers.

Runs the command on a few texts in every format and type, reads the shards back with numpy, safetensors
(NumPy and PyTorch) and pandas, and checks that

- all formats hold the same bits, f16 and bf16 those of NumPy's and PyTorch's own rounding of the f32 file;
- the values are those of transformers, eager and float32, one text at a time, largest difference below 1e-4
  of the largest value;
- token strings, character offsets and word ids are those of transformers' fast tokenizer;
- pooled rows are the pooled rows of the tokens.

    read_extract.py --bertology target/release/bertology --model assets/tiny-bert --file texts.txt
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import transformers
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_torch

TOLERANCE = 1e-4


class Checks:
    def __init__(self):
        self.done = 0
        self.worst = 0.0

    def same(self, what, found, expected):
        """The same bits, NaN included."""
        found, expected = np.asarray(found), np.asarray(expected)
        if found.dtype != expected.dtype or found.tobytes() != expected.tobytes():
            sys.exit(f"FAIL {what}: {found.dtype}{found.shape} is not {expected.dtype}{expected.shape}")
        self.done += 1

    def near(self, what, found, expected):
        found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
        if found.shape != expected.shape:
            sys.exit(f"FAIL {what}: {found.shape} against {expected.shape}")
        difference = np.abs(found - expected).max(initial=0) / max(np.abs(expected).max(initial=0), 1e-3)
        if not difference <= TOLERANCE:
            sys.exit(f"FAIL {what}: relative difference {difference:.3e}")
        self.worst = max(self.worst, difference)
        self.done += 1


def run(options, folder, *more):
    command = [options.bertology, "extract", options.model, "--text", options.file, "--shard-size", "3",
               "--output", str(folder), "--quiet", *more]
    subprocess.run(command, check=True)
    index = json.loads((folder / "index.json").read_text())
    return index


def joined(folder, read):
    """Shard by shard: a list of dictionaries of arrays."""
    return [dict(read(path)) for path in sorted(folder.glob("shard-*"))]


def compare_formats(check, folders, values):
    plain = joined(folders["safetensors-f32"], load_file)
    for shard, other in zip(plain, joined(folders["npz-f32"], np.load), strict=True):
        assert shard.keys() == other.keys()
        for name in shard:
            check.same(f"npz {name}", other[name], shard[name])
    half = joined(folders["safetensors-f16"], load_file)
    for shard, other, zipped in zip(plain, half, joined(folders["npz-f16"], np.load), strict=True):
        for name in values:
            check.same(f"f16 {name}", other[name], shard[name].astype(np.float16))
            check.same(f"npz f16 {name}", zipped[name], other[name])
    brain = joined(folders["safetensors-bf16"], load_torch)
    for shard, other in zip(plain, brain, strict=True):
        for name in values:
            expected = torch.from_numpy(shard[name]).to(torch.bfloat16)
            check.same(f"bf16 {name}", other[name].view(torch.int16), expected.view(torch.int16))
    return plain


def compare_tables(check, folder, plain, index, strings, dtype):
    tokens = pd.read_parquet(folder / "tokens")
    examples = pd.read_parquet(folder / "examples")
    all_of = lambda name: np.concatenate([shard[name] for shard in plain])
    for column, name in [("input_id", "input_ids"), ("char_start", "char_start"), ("char_end", "char_end"),
                         ("word_id", "word_ids"), ("sequence_id", "sequence_ids")]:
        check.same(f"tokens.{column}", tokens[column].to_numpy(), all_of(name))
    assert list(tokens["string"]) == [strings[token] for token in all_of("input_ids")]
    check.same("examples.example", examples["example"].to_numpy(), all_of("examples"))
    check.same("examples.loss", examples["loss"].to_numpy(), all_of("loss"))
    lengths = all_of("num_tokens")
    check.same("tokens.example", tokens["example"].to_numpy(), np.repeat(all_of("examples"), lengths))
    tables = {}
    for array in index["arrays"]:
        about = array.get("values")
        if not about:
            continue
        name, column = array["name"], array["name"].replace(".", "_")
        expected = all_of(name).reshape(-1).astype(dtype)
        if about["head"] is None:
            table = examples if array["axes"][0] == "sequences" else tokens
        else:
            group = ("gradients_" if about["gradient"] else "") + about["of"]
            if group not in tables:
                tables[group] = pd.read_parquet(folder / group)
            every = tables[group]
            table = every[(every["layer"] == about["layer"]) & (every["head"] == about["head"])]
            column = group
            check.same(f"{group} keys", table["token"].to_numpy(), tokens["token"].to_numpy())
            filters = [("layer", "==", about["layer"]), ("head", "==", about["head"])]
            assert len(pd.read_parquet(folder / group, filters=filters)) == len(table)
        check.same(f"parquet {name}", np.concatenate(table[column].to_list()), expected)


def compare_pools(check, options, scratch, plain):
    for pool in ("first", "last", "mean"):
        folder = scratch / pool
        run(options, folder, "--hidden-states", "--pool", pool)
        for shard, pooled in zip(plain, joined(folder, load_file), strict=True):
            for at in range(len(shard["examples"])):
                first, end = shard["offsets"][at:at + 2]
                words = shard["word_ids"][first:end]
                rows = shard["hidden_states.1"][first:end].astype(np.float64)
                groups = [np.flatnonzero(words == word) for word in range(words.max(initial=-1) + 1)]
                groups = [group for group in groups if len(group)]
                choose = {"first": lambda g: rows[g[0]], "last": lambda g: rows[g[-1]],
                          "mean": lambda g: rows[g].mean(axis=0)}[pool]
                a, b = pooled["word_offsets"][at:at + 2]
                expected = np.array([choose(group) for group in groups]).reshape(-1, rows.shape[1])
                check.near(f"{pool} pooled", pooled["hidden_states.1"][a:b], expected)


def compare_transformers(check, options, plain, texts):
    config = transformers.AutoConfig.from_pretrained(options.model)
    kind = getattr(transformers, config.architectures[0])
    model = kind.from_pretrained(options.model, attn_implementation="eager").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model)
    place = 0
    for shard in plain:
        for at in range(len(shard["examples"])):
            encoded = tokenizer(texts[place], return_tensors="pt", return_offsets_mapping=True)
            offsets = encoded.pop("offset_mapping")[0].numpy().astype(np.int32)
            words = np.array([-1 if word is None else word for word in encoded.word_ids(0)], np.int32)
            place += 1
            first, end = shard["offsets"][at:at + 2]
            check.same("input ids", shard["input_ids"][first:end], encoded["input_ids"][0].numpy().astype(np.int32))
            check.same("starts", shard["char_start"][first:end], offsets[:, 0])
            check.same("ends", shard["char_end"][first:end], offsets[:, 1])
            check.same("words", shard["word_ids"][first:end], words)
            output = model(**encoded, output_hidden_states=True, output_attentions=True)
            for value in (*output.hidden_states, *output.attentions):
                value.retain_grad()
            target = torch.tensor([0])
            torch.nn.functional.cross_entropy(output.logits, target).backward()
            check.near("logits", shard["logits"][at], output.logits[0].detach())
            for layer, state in enumerate(output.hidden_states):
                check.near(f"hidden states {layer}", shard[f"hidden_states.{layer}"][first:end], state[0].detach())
                gradient = shard[f"gradients.hidden_states.{layer}"][first:end]
                check.near(f"gradient of hidden states {layer}", gradient, state.grad[0])
            a, b = shard["attention_offsets"][at:at + 2]
            n = end - first
            for layer, attention in enumerate(output.attentions):
                for head in range(attention.shape[1]):
                    found = shard[f"attentions.{layer}.{head}"][a:b].reshape(n, n)
                    check.near(f"attention L{layer}H{head}", found, attention[0, head].detach())
                    found = shard[f"gradients.attentions.{layer}.{head}"][a:b].reshape(n, n)
                    check.near(f"gradient of attention L{layer}H{head}", found, attention.grad[0, head])
    assert place == len(texts), f"{place} texts read, {len(texts)} given"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bertology", default="target/release/bertology", help="the command")
    parser.add_argument("--model", required=True, help="a sequence classifier with a fast tokenizer")
    parser.add_argument("--file", required=True, help="texts, one a line")
    options = parser.parse_args()
    torch.set_num_threads(1)
    texts = [line for line in Path(options.file).read_text().split("\n") if line.strip()]
    check = Checks()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        chosen = ["--hidden-states", "--attentions", "--head-outputs", "--logits", "--gradients",
                  "--objective", "class:0"]
        folders = {}
        for kind, dtype in [("safetensors", "f32"), ("safetensors", "f16"), ("safetensors", "bf16"),
                            ("npz", "f32"), ("npz", "f16"), ("parquet", "f32"), ("parquet", "f16")]:
            folders[f"{kind}-{dtype}"] = folder = scratch / f"{kind}-{dtype}"
            index = run(options, folder, *chosen, "--format", kind, "--dtype", dtype)
            if kind != "parquet":
                arrays = index
        values = [array["name"] for array in arrays["arrays"] if array.get("values")]
        plain = compare_formats(check, folders, values)
        strings = json.loads((folders["npz-f32"] / "tokens.json").read_text())
        compare_tables(check, folders["parquet-f32"], plain, arrays, strings, np.float32)
        compare_tables(check, folders["parquet-f16"], plain, arrays, strings, np.float16)
        compare_pools(check, options, scratch, plain)
        compare_transformers(check, options, plain, texts)
    print(f"{len(texts)} texts, {len(plain)} shards: {check.done} comparisons hold; largest relative difference "
          f"from transformers {check.worst:.1e}")


if __name__ == "__main__":
    main()
