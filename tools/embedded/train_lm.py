"""Trains a tiny language model of the GPT or GPT-2 family on the small English.

    python train_lm.py --family gpt2 --output DIR

Writes DIR/tiny-gpt or DIR/tiny-gpt2, an ordinary Hugging Face folder, and DIR/training-gpt.json or
DIR/training-gpt2.json. The sentences are the acceptable ones the BERT reads. Scored by the mean
loss per token on acceptable dev sentences, and by how often a sentence is more probable than
the same one broken.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
import time
from pathlib import Path

import torch
import transformers
from tokenizers import ByteLevelBPETokenizer, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast
from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel, OpenAIGPTTokenizerFast

import grammar
from corpus import batches, digests, optimizer, pad, schedule, set_seeds
from train_bert import GRAMMAR_SEED, MODEL_SEED, step

END = "<|endoftext|>"


def make_tokenizer(family: str, texts: list[str], size: int):
    """Byte-level BPE for GPT-2; lower-cased BPE with `</w>` word ends for GPT."""
    with tempfile.TemporaryDirectory() as folder:
        if family == "gpt2":
            raw = ByteLevelBPETokenizer()
            raw.train_from_iterator(texts, vocab_size=size, min_frequency=2, special_tokens=[END], show_progress=False)
            raw.save_model(folder)
            return GPT2TokenizerFast(vocab_file=f"{folder}/vocab.json", merges_file=f"{folder}/merges.txt", model_max_length=64)
        raw = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
        raw.normalizer = normalizers.BertNormalizer(lowercase=True)
        raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.BpeTrainer(
            vocab_size=size, min_frequency=2, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False
        )
        raw.train_from_iterator(texts, trainer)
        raw.model.save(folder)
        return OpenAIGPTTokenizerFast(vocab_file=f"{folder}/vocab.json", merges_file=f"{folder}/merges.txt", model_max_length=64)


def make_model(family: str, tokenizer):
    sizes = dict(vocab_size=len(tokenizer), n_positions=64, n_embd=128, n_layer=4, n_head=4, attn_implementation="eager")
    off = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)  # nearly every sentence is new
    if family == "gpt2":
        end = tokenizer.convert_tokens_to_ids(END)
        return GPT2LMHeadModel(GPT2Config(**sizes, **off, bos_token_id=end, eos_token_id=end))
    return OpenAIGPTLMHeadModel(OpenAIGPTConfig(**sizes, **off))


def encode(family: str, tokenizer, texts: list[str]) -> list[list[int]]:
    """GPT-2 reads a sentence between two end marks; GPT, which has none, reads it bare."""
    rows = tokenizer(texts)["input_ids"]
    if family == "gpt2":
        end = tokenizer.convert_tokens_to_ids(END)
        rows = [[end] + r + [end] for r in rows]
    return rows


def losses(model, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Summed loss and count of predicted tokens of every sequence."""
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
    gold = ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
    loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), gold, reduction="none", ignore_index=-100)
    return loss.sum(1), (gold != -100).sum(1)


@torch.no_grad()
def score(model, rows: list[list[int]]) -> tuple[list[float], int]:
    model.eval()
    sums, count = [], 0
    for start in range(0, len(rows), 100):
        loss, n = losses(model, *pad(rows[start : start + 100], 0))
        sums += loss.tolist()
        count += int(n.sum())
    return sums, count


def evaluate(family: str, model, tokenizer, dev: list) -> dict:
    """Loss per predicted token on the acceptable sentences, in nats, and how often, by violation, the sum of a
    sentence's losses is below that of the same sentence broken."""
    good, count = score(model, encode(family, tokenizer, [r.text for r in dev if r.label]))
    broken = [r for r in dev if not r.label]
    whole, _ = score(model, encode(family, tokenizer, [r.source for r in broken]))
    after, _ = score(model, encode(family, tokenizer, [r.text for r in broken]))
    parts: dict[str, tuple[int, int]] = {}
    for record, w, a in zip(broken, whole, after):
        right, n = parts.get(record.violation, (0, 0))
        parts[record.violation] = (right + (w < a), n + 1)
    loss = sum(good) / count
    return {
        "predicted_tokens": count,
        "loss_per_token": round(loss, 4),
        "perplexity": round(math.exp(loss), 4),
        "source_more_probable": round(sum(right for right, _ in parts.values()) / len(broken), 4),
        "by_violation": {k: f"{right}/{n}" for k, (right, n) in sorted(parts.items())},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=["gpt", "gpt2"], required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=MODEL_SEED)
    parser.add_argument("--sentences", type=int, default=40000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--vocabulary", type=int, default=640, help="size of the BPE vocabulary")
    args = parser.parse_args()
    set_seeds(args.seed, args.threads)
    start = time.time()
    _, dev, texts = grammar.splits(GRAMMAR_SEED, 6800, 1000, args.sentences)
    tokenizer = make_tokenizer(args.family, texts, args.vocabulary)
    model = make_model(args.family, tokenizer)
    rows = encode(args.family, tokenizer, texts)
    size, rng, done = 128, random.Random(args.seed), 0
    lengths = [len(r) for r in rows]
    steps = args.epochs * sum(1 for _ in batches(random.Random(0), lengths, size))
    adam = optimizer(model, args.rate, 0.01)
    for epoch in range(args.epochs):
        model.train()
        total = count = 0
        for group in batches(rng, lengths, size):
            loss, n = losses(model, *pad([rows[i] for i in group], 0))
            mean = loss.sum() / n.sum()
            step(adam, model, mean, args.rate * schedule(done, steps))
            done += 1
            total, count = total + loss.sum().item(), count + int(n.sum())
        print(f"epoch {epoch + 1}: loss {total / count:.3f}, {time.time() - start:.0f} s", flush=True)

    target = args.output / f"tiny-{args.family}"
    model.half().save_pretrained(target)
    tokenizer.save_pretrained(target)
    model = type(model).from_pretrained(target, dtype=torch.float32, attn_implementation="eager")
    summary = {
        "family": args.family, "grammar_seed": GRAMMAR_SEED, "model_seed": args.seed,
        "options": {k: v for k, v in vars(args).items() if isinstance(v, (int, float))},
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "parameters": sum(p.numel() for p in model.parameters()),
        "dev": evaluate(args.family, model, tokenizer, dev),
        "seconds": round(time.time() - start),
    }
    (args.output / f"training-{args.family}.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(summary, indent=1))
    print(digests(target))


if __name__ == "__main__":
    main()
