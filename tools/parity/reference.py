#!/usr/bin/env python3
"""The reference formulas of head importance, entropy and masking, run in transformers on a real checkpoint.

An independent oracle for `bertology importance`, `mask --reference` and `evaluate`: nothing here uses the product.

One backward pass with a head mask per example (`[layers, batch, heads, 1, 1]`) yields the signed gradient
g[e] of every example's own loss. All granularities follow from these in file order:

    example     mean over examples of |g[e]|
    batch:B     sum over batches of |mean of g in the batch|, divided by the number of real tokens
    script:B    the same, but each batch adds |sum of all batch means so far|: gradients never cleared
    token       mean over examples of the sum over positions of |context . gradient of the context|

`--literal B` also runs script:B and batch:B without that identity: one shared [layers, heads] mask, batches in
file order padded to the maximum length, mean loss; and reports how far the two ways differ.

The masking loop ranks the live heads by normalised importance (layer-wise L2, then min-max over all), masks
`--amount` of all heads a step, recomputes, and stops when the metric falls below `--threshold` times the
first. Masked heads stay inside the norms unless the loop is named with `:live`.
"""

import argparse
import csv
import json
import time
from pathlib import Path

import numpy as np
import torch
import transformers
from sklearn.metrics import f1_score
from transformers import AutoModelForSequenceClassification, AutoTokenizer

# task -> folder, columns of the texts, column of the label
TASKS = {"mrpc": ("MRPC", (3, 4), 0), "sst-2": ("SST-2", (0,), 1)}


def read_glue(root, task, limit=None):
    """Texts and labels of the dev file: tab-separated, one header line, quotes are ordinary characters."""
    folder, columns, label = TASKS[task]
    with open(Path(root) / folder / "dev.tsv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    rows = rows[:limit]
    texts = [[row[c] for row in rows] for c in columns]
    return texts, np.array([int(row[label]) for row in rows])


class Corpus:
    """Tokenised examples in file order, batched on demand."""

    def __init__(self, tokenizer, texts, labels, max_length):
        self.encoded = tokenizer(*texts, truncation="longest_first", max_length=max_length)
        self.tokenizer = tokenizer
        self.labels = labels
        self.max_length = max_length
        self.lengths = np.array([len(ids) for ids in self.encoded["input_ids"]])

    def __len__(self):
        return len(self.labels)

    def batch(self, rows, to_maximum=False):
        features = {name: [values[row] for row in rows] for name, values in self.encoded.items()}
        padding = dict(padding="max_length", max_length=self.max_length) if to_maximum else dict(padding="longest")
        return self.tokenizer.pad(features, return_tensors="pt", **padding), torch.from_numpy(self.labels[rows])

    def by_length(self, tokens):
        """Batches of like lengths with about `tokens` tokens each."""
        rows = []
        for row in np.argsort(self.lengths, kind="stable"):
            if rows and self.lengths[row] * (len(rows) + 1) > tokens:
                yield np.array(rows)
                rows = []
            rows.append(row)
        yield np.array(rows)


def entropy_sums(attentions, attended):
    """Sum over real queries of -sum p ln p, `[layers, heads]` in f64."""
    sums = []
    for probs in attentions:
        terms = torch.special.entr(probs.double()).sum(-1)  # 0 ln 0 = 0
        sums.append((terms * attended[:, None, :]).sum((0, 2)))
    return torch.stack(sums).numpy()


def full_pass(model, corpus, mask, tokens, everything=False):
    """Logits and the per-example mask gradient `[examples, layers, heads]`; with all heads on, entropy and `token` too."""
    layers, heads = mask.shape
    count = len(corpus)
    logits = np.zeros((count, model.config.num_labels), np.float32)
    gradients = np.zeros((count, layers, heads), np.float64)
    positions = np.zeros((count, layers, heads), np.float64)
    entropy = np.zeros((layers, heads))
    contexts = []
    hooks = []
    if everything:
        for layer in model.base_model.encoder.layer:
            dense = layer.attention.output.dense
            hooks.append(dense.register_forward_pre_hook(lambda _module, args: contexts.append(args[0])))
    for rows in corpus.by_length(tokens):
        inputs, labels = corpus.batch(rows)
        leaf = torch.from_numpy(mask).float()[:, None, :, None, None].repeat(1, len(rows), 1, 1, 1).requires_grad_()
        contexts.clear()
        output = model(**inputs, head_mask=leaf, output_attentions=everything)
        loss = torch.nn.functional.cross_entropy(output.logits, labels, reduction="sum")
        gradient, *of_contexts = torch.autograd.grad(loss, [leaf, *contexts])
        logits[rows] = output.logits.detach().numpy()
        gradients[rows] = gradient[..., 0, 0].permute(1, 0, 2).double().numpy()
        if everything:
            entropy += entropy_sums([a.detach() for a in output.attentions], inputs["attention_mask"])
            for i, (context, g) in enumerate(zip(contexts, of_contexts)):
                per_head = (context.detach() * g).double().unflatten(-1, (heads, -1)).sum(-1)  # [B,S,N]
                positions[rows, i] = per_head.abs().sum(1).numpy()
    for hook in hooks:
        hook.remove()
    return dict(
        logits=logits, gradients=gradients, token=positions.mean(0), entropy=entropy / corpus.lengths.sum()
    )


def raw_importance(gradients, granularity, batch_size, tokens):
    """Scores before normalisation, `[layers, heads]` f64."""
    if granularity == "example":
        return np.abs(gradients).mean(0)
    starts = range(0, len(gradients), batch_size)
    means = np.stack([gradients[s : s + batch_size].mean(0) for s in starts])
    if granularity == "script":
        means = np.cumsum(means, axis=0)
    elif granularity != "batch":
        raise SystemExit(f"unknown granularity {granularity!r}")
    return np.abs(means).sum(0) / tokens


def normalise(raw, live=None):
    """Layer-wise L2, then min-max over all; over the heads in `live` only, where given."""
    live = np.ones_like(raw, bool) if live is None else live
    kept = np.where(live, raw, 0.0)
    scaled = kept / (np.sqrt((kept**2).sum(1, keepdims=True)) + 1e-20)
    low, high = scaled[live].min(), scaled[live].max()
    return np.where(live, (scaled - low) / (high - low), 0.0) if high > low else np.zeros_like(raw)


def literal(model, corpus, batch_size):
    """script:B and batch:B as written down: a shared mask whose gradient is never cleared; and cleared."""
    layers, heads = model.config.num_hidden_layers, model.config.num_attention_heads
    mask = torch.ones(layers, heads, requires_grad=True)
    script = np.zeros((layers, heads))
    batch = np.zeros((layers, heads))
    for start in range(0, len(corpus), batch_size):
        inputs, labels = corpus.batch(np.arange(start, min(start + batch_size, len(corpus))), to_maximum=True)
        before = 0.0 if mask.grad is None else mask.grad.clone()
        model(**inputs, labels=labels, head_mask=mask).loss.backward()
        script += mask.grad.abs().double().numpy()
        batch += (mask.grad - before).abs().double().numpy()
    tokens = corpus.lengths.sum()
    return script / tokens, batch / tokens


def score_of(logits, labels, metric):
    predictions = logits.argmax(1)
    accuracy = float((predictions == labels).mean())
    if metric == "acc":
        return accuracy
    f1 = float(f1_score(labels, predictions, zero_division=0.0))
    return f1 if metric == "f1" else (accuracy + f1) / 2


def masking_loop(model, corpus, passes, name, options):
    """Every step's mask and score; the final mask is the last whose score passed.

    `passes` holds the results of masks already tried: nothing in a pass depends on the loop that asks.
    """
    granularity, _, rest = name.partition(":")
    parts = rest.split(":") if rest else []
    live_norms = "live" in parts
    batch_size = next((int(part) for part in parts if part.isdigit()), 1)
    tokens = corpus.lengths.sum()
    current = np.ones((model.config.num_hidden_layers, model.config.num_attention_heads), bool)
    per_step = max(1, int(current.size * options.amount))
    result, kept = passes[current.tobytes()], current
    first_score = score = score_of(result["logits"], corpus.labels, options.metric)
    masks, scores, rankings, stopped = [current], [score], [], "threshold"
    while score >= first_score * options.threshold:
        kept = current
        if not kept.any():
            stopped = "exhausted"
            break
        raw = raw_importance(result["gradients"], granularity, batch_size, tokens)
        importance = normalise(raw, kept if live_norms else None)
        rankings.append(importance)
        order = np.argsort(np.where(kept, importance, np.inf), axis=None, kind="stable")
        current = kept.copy()
        current.flat[order[: min(per_step, int(kept.sum()))]] = False
        key = current.tobytes()
        if key not in passes:
            passes[key] = full_pass(model, corpus, current, options.tokens)
        result = passes[key]
        score = score_of(result["logits"], corpus.labels, options.metric)
        masks.append(current)
        scores.append(score)
        print(f"  {name:14} {int(current.sum()):3} heads left  {options.metric} {score:.4f}", flush=True)
    summary = dict(
        loop=name,
        metric=options.metric,
        threshold=options.threshold,
        amount=options.amount,
        heads_per_step=per_step,
        curve=[dict(heads_left=int(m.sum()), score=s) for m, s in zip(masks, scores)],
        stopped=stopped,
        heads_kept=int(kept.sum()),
        heads_masked=int(kept.size - kept.sum()),
        masked={layer: np.flatnonzero(~row).tolist() for layer, row in enumerate(kept) if not row.all()},
    )
    arrays = dict(masks=np.stack(masks), scores=np.array(scores), importance=np.stack(rankings), final_mask=kept)
    return summary, arrays


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, type=Path, help="checkpoint folder")
    parser.add_argument("--task", required=True, choices=sorted(TASKS))
    parser.add_argument("--data", required=True, type=Path, help="folder that holds MRPC/, SST-2/")
    parser.add_argument("--output", required=True, type=Path, help="writes OUTPUT.npz and OUTPUT.json")
    parser.add_argument("--limit", type=int, help="first examples only")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--batch-sizes", type=int, nargs="*", default=[1, 8], help="for batch and script importance")
    parser.add_argument("--literal", type=int, nargs="*", default=[], metavar="B", help="check script:B, batch:B")
    parser.add_argument(
        "--loops", nargs="*", default=["script:1"], help="GRANULARITY[:BATCH][:live], such as script:1 example:live"
    )
    parser.add_argument("--metric", choices=["acc", "f1", "acc_and_f1"], default="acc")
    parser.add_argument("--threshold", type=float, default=0.9)
    parser.add_argument("--amount", type=float, default=0.1)
    parser.add_argument("--tokens", type=int, default=2048, help="tokens in one of the length-sorted batches")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()

    tokenizer = AutoTokenizer.from_pretrained(options.model)
    tokenizer.deprecation_warnings["Asking-to-pad-a-fast-tokenizer"] = True  # silence: texts are encoded once
    model = AutoModelForSequenceClassification.from_pretrained(
        options.model, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    model.requires_grad_(False)
    texts, labels = read_glue(options.data, options.task, options.limit)
    corpus = Corpus(tokenizer, texts, labels, options.max_length)
    tokens = int(corpus.lengths.sum())

    started = time.monotonic()
    shape = (model.config.num_hidden_layers, model.config.num_attention_heads)
    first = full_pass(model, corpus, np.ones(shape, bool), options.tokens, everything=True)
    print(f"{len(corpus)} examples, {tokens} tokens, {time.monotonic() - started:.1f} s", flush=True)

    arrays = dict(
        index=np.arange(len(corpus)),
        label=labels,
        prediction=first["logits"].argmax(1),
        logits=first["logits"],
        entropy=first["entropy"],
        gradients=first["gradients"].astype(np.float32),
    )
    importance = {"example": raw_importance(first["gradients"], "example", 1, tokens), "token": first["token"]}
    for size in options.batch_sizes:
        for granularity in ("batch", "script"):
            importance[f"{granularity}:{size}"] = raw_importance(first["gradients"], granularity, size, tokens)
    for name, raw in importance.items():
        arrays[f"importance/{name}/raw"] = raw
        arrays[f"importance/{name}/normalised"] = normalise(raw)
    summary = dict(
        model=options.model.name,
        task=options.task,
        examples=len(corpus),
        tokens=tokens,
        max_length=options.max_length,
        torch=torch.__version__,
        transformers=transformers.__version__,
        metrics={name: score_of(first["logits"], labels, name) for name in ("acc", "f1", "acc_and_f1")},
    )
    for size in options.literal:
        script, batch = literal(model, corpus, size)
        for name, raw in ((f"script:{size}", script), (f"batch:{size}", batch)):
            derived = raw_importance(first["gradients"], name.partition(":")[0], size, tokens)
            largest = float(np.max(np.abs(raw - derived) / np.abs(derived)))
            arrays[f"literal/{name}/raw"] = raw
            summary.setdefault("literal_largest_relative_difference", {})[name] = largest
            print(f"  literal {name}: largest relative difference {largest:.2e}", flush=True)
    passes = {np.ones(shape, bool).tobytes(): first}
    for name in options.loops:
        loop, loop_arrays = masking_loop(model, corpus, passes, name, options)
        summary.setdefault("loops", []).append(loop)
        arrays.update({f"loop/{name}/{key}": value for key, value in loop_arrays.items()})
    summary["seconds"] = round(time.monotonic() - started, 1)

    options.output.parent.mkdir(parents=True, exist_ok=True)
    np.savez(options.output.with_name(options.output.name + ".npz"), **arrays)
    text = json.dumps(summary, indent=2)
    options.output.with_name(options.output.name + ".json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
