"""What transformers computes with the embedded language models, for the tests to compare with.

    python reference_lm.py --assets ASSETS

Reads ASSETS/tiny-gpt and ASSETS/tiny-gpt2 (eager attention, float32) and writes ASSETS/reference-lm.json. Each model's
entry has, of the first acceptable dev sentences, ids and loss (the mean over the sentence's own predicted tokens, in
nats); for those sentences and for all acceptable ones the importance of every head, `[layers][heads]`: the mean over
sentences of |d loss / d mask|; and for all the loss per predicted token with its perplexity.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

import grammar
from corpus import pad
from train_bert import GRAMMAR_SEED
from train_lm import encode, losses


def study(model, rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Per sentence the summed loss `[n]`, the predicted tokens `[n]`, d mean loss / d mask `[n, layers, heads]`."""
    layers, heads = model.config.n_layer, model.config.n_head
    sums, counts, gradients = [], [], []
    for start in range(0, len(rows), 100):
        ids, mask = pad(rows[start : start + 100], 0)
        leaf = torch.ones(layers, len(ids), heads, 1, 1, requires_grad=True)
        loss, count = losses(lambda **inputs: model(**inputs, head_mask=leaf), ids, mask)
        (gradient,) = torch.autograd.grad((loss / count).sum(), leaf)
        sums.append(loss.detach().double())
        counts.append(count)
        gradients.append(gradient[..., 0, 0].permute(1, 0, 2).double())
    return torch.cat(sums), torch.cat(counts), torch.cat(gradients)


def table(gradients: torch.Tensor) -> list[list[float]]:
    return [[float(f"{v:.7g}") for v in row] for row in gradients.abs().mean(0).tolist()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--sentences", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    _, dev, _ = grammar.splits(GRAMMAR_SEED, 0, 1000)
    texts = [r.text for r in dev if r.label]
    out: dict = {"versions": {"torch": torch.__version__, "transformers": transformers.__version__}, "models": {}}
    for family in ("gpt", "gpt2"):
        folder = args.assets / f"tiny-{family}"
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
        model.eval().requires_grad_(False)
        rows = encode(family, tokenizer, texts)
        sums, counts, gradients = study(model, rows)
        assert gradients.abs().max() > 1e-3, "the head mask does not act"
        loss = float(sums.sum() / counts.sum())
        n = args.sentences
        out["models"][f"tiny-{family}"] = {
            "sentences": [
                {"text": text, "ids": ids, "loss": float(f"{mean:.7g}")}
                for text, ids, mean in zip(texts[:n], rows, (sums / counts).tolist())
            ],
            "importance": table(gradients[:n]),
            "all": {
                "sentences": len(rows),
                "predicted_tokens": int(counts.sum()),
                "loss_per_token": float(f"{loss:.7g}"),
                "perplexity": float(f"{math.exp(loss):.7g}"),
                "importance": table(gradients),
            },
        }
    text = json.dumps(out, indent=1)
    # One row of ids, and of importance, a line.
    text = re.sub(r"\[\s+(-?[\d.e-]+(?:,\s+-?[\d.e-]+)*)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", text)
    (args.assets / "reference-lm.json").write_text(text + "\n", encoding="utf-8")
    for name, found in out["models"].items():
        print(name, json.dumps(found["all"]))


if __name__ == "__main__":
    main()
