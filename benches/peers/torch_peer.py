"""One peer in a process of its own: loads, warms up, prints its cost as one JSON line.

Run by compare.py, once per repetition. Kinds:

script     the formula of run_bertology.py as the script runs it: every weight tracked, texts padded to
           128, attention maps returned, eager attention
tuned      the same numbers as a careful user computes them: weights frozen, sorted by length, padded to
           the longest of the batch
maps       forward with output_attentions and output_hidden_states, padded, and the entropy of every head
fast       forward alone with PyTorch's fused attention, sorted by length
cache      TransformerLens' run_with_cache
"""

import argparse
import json
import os
import resource
import time

import torch

from glue import read_task


def entropy(probabilities):
    """Natural-log entropy of each row, with 0 ln 0 = 0."""
    return -torch.special.xlogy(probabilities, probabilities).sum(-1)


def classifier(arguments, attention):
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(
        arguments.model, attn_implementation=attention, dtype=torch.float32
    ).eval()


def sorted_if(sort, lengths):
    order = range(len(lengths))
    return sorted(order, key=lengths.__getitem__) if sort else list(order)


class Importance:
    """Head importance and attention entropy over a task's dev file, tokenisation included."""

    def __init__(self, arguments):
        from transformers import AutoTokenizer

        self.tuned = arguments.kind == "tuned"
        self.size = arguments.batch_size
        self.model = classifier(arguments, "eager")
        self.model.requires_grad_(not self.tuned)
        self.tokenizer = AutoTokenizer.from_pretrained(arguments.model)
        self.examples = read_task(arguments.data, arguments.task, arguments.limit)

    def batches(self, examples):
        """Padded to 128 in file order, or sorted by length and padded to the longest."""
        encoded = [
            self.tokenizer(text, pair, truncation="longest_first", max_length=128)
            for text, pair, _ in examples
        ]
        order = sorted_if(self.tuned, [len(each["input_ids"]) for each in encoded])
        padding = {"padding": True}
        if not self.tuned:
            padding = {"padding": "max_length", "max_length": 128}
        for start in range(0, len(order), self.size):
            chosen = order[start : start + self.size]
            rows = [encoded[i] for i in chosen]
            batch = self.tokenizer.pad(rows, return_tensors="pt", **padding)
            yield batch, torch.tensor([examples[i][2] for i in chosen])

    def warm_up(self):
        self.run(self.examples[: self.size])
        self.model.zero_grad()

    def run(self, examples=None):
        config = self.model.config
        layers, heads = config.num_hidden_layers, config.num_attention_heads
        mask = torch.ones(layers, heads, requires_grad=True)
        importance = torch.zeros(layers, heads)
        spread = torch.zeros(layers, heads)
        tokens = 0
        for batch, labels in self.batches(examples or self.examples):
            output = self.model(**batch, labels=labels, head_mask=mask, output_attentions=True)
            output.loss.backward()
            visible = batch["attention_mask"]
            for layer, attention in enumerate(output.attentions):
                rows = entropy(attention.detach()) * visible[:, None, :]
                spread[layer] += rows.sum((0, 2))
            importance += mask.grad.abs()
            if self.tuned:
                mask.grad = None
            tokens += int(visible.sum())
        importance /= tokens
        spread /= tokens
        return {"tokens": tokens, "entropy_mean": float(spread.mean())}


class Forward:
    """A classifier's forward pass over ready token ids."""

    def __init__(self, arguments):
        self.maps = arguments.kind == "maps"
        self.size = arguments.batch_size
        self.pad_to = arguments.pad_to
        self.model = classifier(arguments, "eager" if self.maps else "sdpa")
        self.ids = read_ids(arguments.ids)

    def batches(self, ids):
        order = sorted_if(not self.maps, [len(line) for line in ids])
        for start in range(0, len(order), self.size):
            rows = [ids[i] for i in order[start : start + self.size]]
            width = max(map(len, rows))
            if self.maps:
                width = max(width, self.pad_to)
            batch = torch.zeros(len(rows), width, dtype=torch.long)
            visible = torch.zeros_like(batch)
            for i, row in enumerate(rows):
                batch[i, : len(row)] = torch.tensor(row)
                visible[i, : len(row)] = 1
            yield batch, visible

    def warm_up(self):
        self.run(self.ids[: self.size])

    @torch.no_grad()
    def run(self, ids=None):
        ids = ids or self.ids
        logits, spread, tokens = 0.0, 0.0, 0
        for batch, visible in self.batches(ids):
            # Without padding no mask is needed, and fused attention is faster without one.
            mask = None if bool(visible.all()) else visible
            output = self.model(
                batch,
                attention_mask=mask,
                output_attentions=self.maps,
                output_hidden_states=self.maps,
            )
            logits += float(output.logits.abs().sum())
            tokens += int(visible.sum())
            for attention in output.attentions or ():
                rows = entropy(attention) * visible[:, None, :]
                spread += rows.sum((0, 2))
        result = {"tokens": tokens, "logits_mean": logits / len(ids)}
        if self.maps:
            per_head = spread / (tokens * self.model.config.num_hidden_layers)
            result["entropy_mean"] = float(per_head.mean())
        return result


class Cache:
    """TransformerLens with the weights of a GPT-2 checkpoint."""

    def __init__(self, arguments):
        from transformer_lens import HookedTransformer, HookedTransformerConfig
        from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights
        from transformers import GPT2LMHeadModel

        gpt2 = GPT2LMHeadModel.from_pretrained(arguments.model, dtype=torch.float32)
        config = HookedTransformerConfig(
            n_layers=gpt2.config.n_layer,
            d_model=gpt2.config.n_embd,
            d_head=gpt2.config.n_embd // gpt2.config.n_head,
            n_heads=gpt2.config.n_head,
            d_mlp=4 * gpt2.config.n_embd,
            d_vocab=gpt2.config.vocab_size,
            n_ctx=gpt2.config.n_positions,
            act_fn="gelu_new",
            normalization_type="LN",
            device="cpu",
        )
        self.model = HookedTransformer(config).eval()
        # The missing entries are causal masks, which the model has made already.
        self.model.load_state_dict(convert_gpt2_weights(gpt2, config), strict=False)
        self.ids = torch.tensor(read_ids(arguments.ids))

    def warm_up(self):
        self.run()

    @torch.no_grad()
    def run(self):
        logits, cache = self.model.run_with_cache(self.ids)
        return {"tokens": self.ids.numel(), "values_kept": len(cache)}

    @torch.no_grad()
    def check(self):
        """Numbers that the other side must agree with; not part of the time."""
        _, cache = self.model.run_with_cache(self.ids)
        layers = range(self.model.cfg.n_layers)
        spread = sum(float(entropy(cache["pattern", layer]).mean()) for layer in layers)
        return {"entropy_mean": spread / len(layers)}


def read_ids(path):
    with open(path, encoding="utf-8") as lines:
        return [[int(word) for word in line.split()] for line in lines]


KINDS = {
    "script": Importance,
    "tuned": Importance,
    "maps": Forward,
    "fast": Forward,
    "cache": Cache,
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", help="GLUE folder; script and tuned")
    parser.add_argument("--task", help="script and tuned")
    parser.add_argument("--ids", help="token ids, one sequence a line; the other kinds")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--pad-to", type=int, default=128, help="maps")
    parser.add_argument("--passes", type=int, default=1)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    peer = KINDS[arguments.kind](arguments)
    peer.warm_up()
    seconds = []
    for _ in range(arguments.passes):
        started = time.perf_counter()
        result = peer.run()
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if hasattr(peer, "check"):
        result |= peer.check()
    print(json.dumps({"passes_s": seconds, "peak_mib": peak, **result}))


if __name__ == "__main__":
    main()
