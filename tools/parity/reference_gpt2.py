#!/usr/bin/env python3
"""Language-model loss and head importance by run_prune_gpt.py's formula, computed in transformers.

    reference_gpt2.py --family gpt2 --vocab VOCABULARY --checkpoint CHECKPOINT --text FILE --output ref
    reference_gpt2.py --family gpt --checkpoint CHECKPOINT --text FILE --output ref

CHECKPOINT is made where it does not exist: the family's default config (GPT-2 small, or OpenAI GPT), random weights
from a seed, drawn so that attention is far from uniform and every bias and norm matters. VOCABULARY holds vocab.json
and merges.txt (or encoder.json and vocab.bpe, the older names); without it one is trained on FILE.

Two readings of FILE, both written to ref.npz with eager attention in float32:

    lines/   every line that is not blank, by itself
    rows/    rectangular token ids as run_prune_gpt.py reads them: all lines in one stream, cut into rows of equal
             length; also written to ref.ids.txt, one row of ids a line

Of each: `ids`, `offsets` (of row i from offsets[i] to offsets[i+1]), `token_loss` (of the token at each position, in
nats; 0 for the first of a row, which nothing predicts), `loss` (the mean over a row's predicted tokens), `last_logits`
(at its last position), `gradients` `[rows, layers, heads]` (of a row's own loss with respect to the head mask),
`entropy` `[layers, heads]` (mean over query positions, nats), and under `importance/NAME/`:

    example     mean over rows of |gradient|                                  (both readings)
    batch:B     sum over batches of |gradient of the batch's mean loss|, divided by the number of ids    (rows)
    script:B    the same with gradients never cleared: each batch adds |sum of all so far|               (rows)

each `raw` and `normalised`. Rows keep the order of the file, where the script shuffles them without a seed. `--literal B` runs
batch:B and script:B once more as the script does, with one mask for all and the model's own loss.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2TokenizerFast,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    OpenAIGPTTokenizerFast,
)

from reference import normalise, raw_importance

CLASSES = {
    "gpt2": (GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast),
    "gpt": (OpenAIGPTConfig, OpenAIGPTLMHeadModel, OpenAIGPTTokenizerFast),
}


def load_tokenizer(family, vocab, text):
    tokenizer_class = CLASSES[family][2]
    if vocab is None:
        sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "embedded"))
        from train_lm import make_tokenizer

        with tempfile.TemporaryDirectory() as folder:
            make_tokenizer(family, text.splitlines(), 2000).save_pretrained(folder)
            return tokenizer_class.from_pretrained(folder, model_max_length=1_000_000)
    for words, merges in [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")]:
        if (vocab / words).is_file():
            return tokenizer_class(vocab_file=str(vocab / words), merges_file=str(vocab / merges))
    raise SystemExit(f"{vocab} holds neither vocab.json nor encoder.json")


def make_checkpoint(family, folder, tokenizer, seed, layers):
    """The default config with random weights. The usual initialisation would make attention nearly uniform and leave
    every bias 0: projections to query, key and value are three times as large, biases and norms get noise."""
    config_class, model_class, _ = CLASSES[family]
    torch.manual_seed(seed)
    config = config_class(**({} if layers is None else dict(n_layer=layers)))
    if len(tokenizer) > config.vocab_size:
        raise SystemExit(f"the vocabulary has {len(tokenizer)} tokens, the model's table {config.vocab_size} rows")
    model = model_class._from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "c_attn.weight" in name:
                parameter.mul_(3)
            elif "embed.weight" in name:  # GPT has no norm before its first layer; its token table also gives the logits
                parameter.mul_(3 if "tokens" in name else 10)
            elif parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def entropy_sums(attentions, attended):
    """Sum over real queries of -sum p ln p, `[layers, heads]` in f64."""
    return np.stack(
        [(torch.special.entr(p.double()).sum(-1) * attended[:, None, :]).sum((0, 2)).numpy() for p in attentions]
    )


def study(model, rows, batch_size):
    """Losses, last logits, per-row mask gradients and entropy of `rows`, padded at the end where they differ."""
    layers, heads = model.config.n_layer, model.config.n_head
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    result = dict(
        ids=np.concatenate([np.array(row) for row in rows]),
        offsets=offsets,
        token_loss=np.zeros(offsets[-1], np.float32),
        loss=np.zeros(len(rows)),
        last_logits=np.zeros((len(rows), model.config.vocab_size), np.float32),
        gradients=np.zeros((len(rows), layers, heads), np.float32),
    )
    entropy = np.zeros((layers, heads))
    order = np.argsort(np.diff(offsets), kind="stable")
    for start in range(0, len(rows), batch_size):
        chosen = order[start : start + batch_size]
        width = max(len(rows[i]) for i in chosen)
        ids = torch.tensor([rows[i] + [0] * (width - len(rows[i])) for i in chosen])
        attended = torch.tensor([[1] * len(rows[i]) + [0] * (width - len(rows[i])) for i in chosen])
        leaf = torch.ones(layers, len(chosen), heads, 1, 1, requires_grad=True)
        output = model(input_ids=ids, attention_mask=attended, head_mask=leaf, output_attentions=True)
        gold = ids[:, 1:].masked_fill(attended[:, 1:] == 0, -100)
        each = torch.nn.functional.cross_entropy(output.logits[:, :-1].transpose(1, 2), gold, reduction="none")
        mean = each.sum(1) / (gold != -100).sum(1)
        (gradient,) = torch.autograd.grad(mean.sum(), leaf)
        result["loss"][chosen] = mean.detach().double().numpy()
        result["gradients"][chosen] = gradient[..., 0, 0].permute(1, 0, 2).numpy()
        entropy += entropy_sums([a.detach() for a in output.attentions], attended)
        for k, i in enumerate(chosen):
            n = len(rows[i])
            result["token_loss"][offsets[i] + 1 : offsets[i + 1]] = each[k, : n - 1].detach().numpy()
            result["last_logits"][i] = output.logits[k, n - 1].detach().numpy()
    result["entropy"] = entropy / offsets[-1]
    if not np.abs(result["gradients"]).max(axis=(0, 2)).min() > 0:
        raise SystemExit("a layer's head mask has no gradient: it does not act")
    return result


def literal(model, rows, batch_size):
    """batch:B and script:B as the script has them: a shared mask, the model's own loss, gradients never cleared."""
    mask = torch.ones(model.config.n_layer, model.config.n_head, requires_grad=True)
    batch, script = np.zeros(mask.shape), np.zeros(mask.shape)
    for start in range(0, len(rows), batch_size):
        ids = torch.tensor(rows[start : start + batch_size])
        before = 0.0 if mask.grad is None else mask.grad.clone()
        model(input_ids=ids, labels=ids, head_mask=mask).loss.backward()
        script += mask.grad.abs().double().numpy()
        batch += (mask.grad - before).abs().double().numpy()
    tokens = sum(map(len, rows))
    return dict(batch=batch / tokens, script=script / tokens)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=sorted(CLASSES), default="gpt2")
    parser.add_argument("--checkpoint", type=Path, required=True, help="folder; made where it does not exist")
    parser.add_argument("--vocab", type=Path, help="folder of the vocabulary for a new checkpoint")
    parser.add_argument("--seed", type=int, default=1, help="of a new checkpoint's weights")
    parser.add_argument("--layers", type=int, help="of a new checkpoint (default: the family's 12)")
    parser.add_argument("--text", type=Path, required=True, help="plain text, UTF-8")
    parser.add_argument("--output", type=Path, required=True, help="writes OUTPUT.npz, OUTPUT.json, OUTPUT.ids.txt")
    parser.add_argument("--lines", type=int, help="first lines only")
    parser.add_argument("--end-marks", action="store_true", help="put every line between two end marks (GPT-2)")
    parser.add_argument("--max-length", type=int, help="cut longer lines (default: the model's positions)")
    parser.add_argument("--row-length", type=int, default=64)
    parser.add_argument("--rows", type=int, help="first rows only")
    parser.add_argument("--batch-sizes", type=int, nargs="*", default=[1, 4], help="for batch and script importance")
    parser.add_argument("--literal", type=int, nargs="*", default=[], metavar="B", help="check batch:B, script:B")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()

    text = options.text.read_text(encoding="utf-8")
    if not (options.checkpoint / "config.json").is_file():
        make_checkpoint(
            options.family, options.checkpoint, load_tokenizer(options.family, options.vocab, text), options.seed,
            options.layers,
        )  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(options.checkpoint)
    model = AutoModelForCausalLM.from_pretrained(
        options.checkpoint, dtype=torch.float32, attn_implementation="eager"
    )
    model.eval().requires_grad_(False)
    # Only "\n" and "\r\n" end a line; str.splitlines would cut at more characters.
    texts = [line.removesuffix("\r") for line in text.split("\n") if line.strip()][: options.lines]
    encoded = [tokenizer(line)["input_ids"] for line in texts]
    stream = [i for row in encoded for i in row]
    length = options.row_length
    rows = [stream[i : i + length] for i in range(0, len(stream) - length + 1, length)][: options.rows]
    if not rows:
        raise SystemExit(f"{len(stream)} tokens do not fill a row of {length}")
    if options.end_marks:
        end = tokenizer.eos_token_id
        encoded = [[end, *row, end] for row in encoded]
    limit = options.max_length or model.config.n_positions
    short = sum(len(row) < 2 for row in encoded)
    lines = [row[:limit] for row in encoded if len(row) >= 2]  # a single token predicts nothing

    started = time.monotonic()
    arrays = {}
    summary = dict(
        checkpoint=options.checkpoint.name, family=options.family, end_marks=options.end_marks,
        torch=torch.__version__, transformers=transformers.__version__,
        lines_cut=sum(len(row) > limit for row in encoded), lines_without_a_prediction=short,
    )  # fmt: skip
    for part, examples in [("lines", lines), ("rows", rows)]:
        found = study(model, examples, max(1, 1024 // max(map(len, examples))))
        tokens, predicted = int(found["offsets"][-1]), sum(len(row) - 1 for row in examples)
        importance = {"example": raw_importance(found["gradients"], "example", 1, tokens)}
        if part == "rows":
            for size in options.batch_sizes:
                for name in ("batch", "script"):
                    importance[f"{name}:{size}"] = raw_importance(
                        found["gradients"].astype(np.float64), name, size, tokens
                    )
        for name, raw in importance.items():
            found[f"importance/{name}/raw"] = raw
            found[f"importance/{name}/normalised"] = normalise(raw)
        arrays.update({f"{part}/{name}": value for name, value in found.items()})
        loss = float(found["token_loss"].sum(dtype=np.float64) / predicted)
        summary[part] = dict(
            examples=len(examples), tokens=tokens, predicted_tokens=predicted, loss=loss, perplexity=float(np.exp(loss)),
            mean_entropy=float(found["entropy"].mean()), importance_from=float(importance["example"].min()),
            importance_to=float(importance["example"].max()),
        )  # fmt: skip
        print(f"{part}: {json.dumps(summary[part])}, {time.monotonic() - started:.1f} s", flush=True)
    for size in options.literal:
        for name, raw in literal(model, rows, size).items():
            derived = arrays.get(f"rows/importance/{name}:{size}/raw")
            if derived is None:
                derived = raw_importance(arrays["rows/gradients"].astype(np.float64), name, size, arrays["rows/ids"].size)
            arrays[f"rows/literal/{name}:{size}/raw"] = raw
            largest = float(np.max(np.abs(raw - derived) / np.abs(derived)))
            summary.setdefault("literal_largest_relative_difference", {})[f"{name}:{size}"] = largest
            print(f"literal {name}:{size}: largest relative difference {largest:.2e}", flush=True)

    options.output.parent.mkdir(parents=True, exist_ok=True)
    base = options.output.name
    np.savez(options.output.with_name(f"{base}.npz"), **arrays)
    options.output.with_name(f"{base}.json").write_text(json.dumps(summary, indent=2) + "\n")
    ids = "".join(" ".join(map(str, row)) + "\n" for row in rows)
    options.output.with_name(f"{base}.ids.txt").write_text(ids)


if __name__ == "__main__":
    main()
