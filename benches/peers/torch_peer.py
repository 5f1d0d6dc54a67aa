"""One pass of head importance and attention entropy in PyTorch; prints its cost as one JSON line.

Run by importance.py, once per repetition, in a process of its own.
"""

import argparse
import json
import resource
import time

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from glue import read_task


def entropy(probabilities):
    """Natural-log entropy of each row, with 0 ln 0 = 0."""
    return -torch.special.xlogy(probabilities, probabilities).sum(-1)


def batches(examples, tokenizer, size, sort, fixed_length):
    """Encoded batches: padded to 128 in file order, or sorted by length and padded to the longest."""
    encoded = [
        tokenizer(text, pair, truncation="longest_first", max_length=128)
        for text, pair, _ in examples
    ]
    order = range(len(examples))
    if sort:
        order = sorted(order, key=lambda i: len(encoded[i]["input_ids"]))
    order = list(order)
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        padding = {"padding": "max_length", "max_length": 128} if fixed_length else {"padding": True}
        batch = tokenizer.pad([encoded[i] for i in chosen], return_tensors="pt", **padding)
        yield batch, torch.tensor([examples[i][2] for i in chosen])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=["script", "tuned"], required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)

    tuned = arguments.kind == "tuned"
    model = AutoModelForSequenceClassification.from_pretrained(
        arguments.model, attn_implementation="eager", dtype=torch.float32
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    examples = read_task(arguments.data, arguments.task, arguments.limit)
    layers, heads = model.config.num_hidden_layers, model.config.num_attention_heads
    if tuned:
        model.requires_grad_(False)

    started = time.perf_counter()
    mask = torch.ones(layers, heads, requires_grad=True)
    importance = torch.zeros(layers, heads)
    spread = torch.zeros(layers, heads)
    tokens = 0
    size = arguments.batch_size
    for batch, labels in batches(examples, tokenizer, size, sort=tuned, fixed_length=not tuned):
        output = model(**batch, labels=labels, head_mask=mask, output_attentions=True)
        output.loss.backward()
        visible = batch["attention_mask"]
        for layer, attention in enumerate(output.attentions):
            rows = entropy(attention.detach()) * visible[:, None, :]
            spread[layer] += rows.sum((0, 2))
        importance += mask.grad.abs()
        if tuned:
            mask.grad = None
        tokens += int(visible.sum())
    importance /= tokens
    spread /= tokens
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps(
            {
                "pass_s": seconds,
                "peak_mib": peak,
                "tokens": tokens,
                "entropy_mean": float(spread.mean()),
            }
        )
    )


if __name__ == "__main__":
    main()
