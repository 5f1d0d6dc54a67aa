"""Makes what both sides of a comparison read: checkpoints and files of token ids.

Run by compare.py in the peers' environment, so that the driver itself stays small: a child's peak memory
can never be measured below that of its parent.
"""

import argparse
import json
import random
from importlib.metadata import version
from pathlib import Path

from glue import read_task

SIZES = {
    "base": {},
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536},
}


def random_bert(folder, size, tokenizer):
    """A classifier of the given size: seeded random weights, a real tokenizer."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    words = AutoTokenizer.from_pretrained(tokenizer)
    config = BertConfig(num_labels=2, vocab_size=len(words), **SIZES[size])
    BertForSequenceClassification(config).save_pretrained(folder)
    words.save_pretrained(folder)


def random_gpt2(folder):
    """GPT-2 small with seeded random weights and no tokenizer."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config()).save_pretrained(folder)


def made(folder, make):
    """`folder`, filled by `make` if it is not there yet; it appears whole or not at all."""
    if not folder.exists():
        partial = folder.with_name(folder.name + ".partial")
        make(partial)
        partial.rename(folder)
    return folder


def task_ids(folder, data, task, limit):
    """Token ids of each dev example, cut to 128 as the importance loops do."""
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(folder)
    examples = read_task(data, task, limit)
    encode = lambda text, pair: words(text, pair, truncation="longest_first", max_length=128)
    return [encode(text, pair)["input_ids"] for text, pair, _ in examples]


def full_ids(vocabulary, sequences, length):
    """Random ids (seeded); the lowest thousand, where special tokens live, are left out."""
    draw = random.Random(0)
    return [[draw.randrange(1000, vocabulary) for _ in range(length)] for _ in range(sequences)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--models", nargs="*", default=[], help="base, minilm, gpt2")
    parser.add_argument("--inputs", nargs="*", default=[], help="mrpc, sst-2, 8x128, 512")
    parser.add_argument("--model", help="folder of a real checkpoint of MiniLM size")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--data")
    parser.add_argument("--limit", type=int)
    arguments = parser.parse_args()

    arguments.work.mkdir(parents=True, exist_ok=True)
    result = {"models": {}, "inputs": {}, "versions": {}}
    for package in ["torch", "transformers", "transformer_lens", "numpy"]:
        try:
            result["versions"][package] = version(package)
        except ModuleNotFoundError:
            pass
    for name in arguments.models:
        if name == "minilm" and arguments.model:
            folder = Path(arguments.model).resolve()
        elif name == "gpt2":
            folder = made(arguments.work / "gpt2", random_gpt2)
        else:
            make = lambda path, size=name: random_bert(path, size, arguments.tokenizer)
            folder = made(arguments.work / name, make)
        config = json.loads((folder / "config.json").read_text())
        result["models"][name] = {"folder": str(folder), "config": config}
        for kind in arguments.inputs:
            if name == "gpt2" and kind != "8x128":
                continue
            if kind in ("8x128", "512"):
                ids = full_ids(config["vocab_size"], 8, 512 if kind == "512" else 128)
            else:
                ids = task_ids(folder, arguments.data, kind, arguments.limit)
            path = arguments.work / f"{name}-{kind}.ids"
            path.write_text("".join(" ".join(map(str, line)) + "\n" for line in ids))
            lengths = [len(line) for line in ids]
            result["inputs"][f"{name} {kind}"] = {"path": str(path), "lengths": lengths}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
