"""Trains the embedded BERT: masked words on the small English, then acceptability.

    python train_bert.py --output DIR [--threads 1]

Writes DIR/grammar (the corpora) and DIR/tiny-bert (an ordinary Hugging Face folder), and
DIR/training.json with the seeds, the dev scores of the stored weights and the masking curve.
The corpora depend on their seed alone; the weights also depend on the version of
torch, the processor and the thread count, so another machine gets another model of about
the same quality.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

import torch
import transformers
from sklearn.metrics import accuracy_score, matthews_corrcoef
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertTokenizerFast
from transformers.utils import logging as transformers_logging

import grammar
from corpus import batches, digests, optimizer, pad, schedule, set_seeds, wordpieces

GRAMMAR_SEED = 20
MODEL_SEED = 7


def make_tokenizer() -> BertTokenizerFast:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.txt"
        path.write_text("\n".join(wordpieces()) + "\n", encoding="utf-8")
        return BertTokenizerFast(vocab_file=str(path), do_lower_case=True, model_max_length=64)


def encode(tokenizer, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts)["input_ids"]


def mask_words(ids: torch.Tensor, special: torch.Tensor, mask_id: int, vocab: int, rate: float):
    """BERT's corruption: of the chosen tokens 80 % masked, 10 % replaced, 10 % kept."""
    chosen = (torch.rand(ids.shape) < rate) & ~special
    labels = torch.where(chosen, ids, torch.full_like(ids, -100))
    how = torch.rand(ids.shape)
    ids = torch.where(chosen & (how < 0.8), torch.full_like(ids, mask_id), ids)
    return torch.where(chosen & (how >= 0.9), torch.randint(5, vocab, ids.shape), ids), labels


def pretrain(model, rows: list[list[int]], tokenizer, args, rng: random.Random) -> None:
    model.train()
    size, done, start = 128, 0, time.time()
    lengths = [len(r) for r in rows]
    steps = args.pretrain_epochs * sum(1 for _ in batches(random.Random(0), lengths, size))
    adam = optimizer(model, args.pretrain_rate, 0.01)
    for epoch in range(args.pretrain_epochs):
        total = count = 0
        for group in batches(rng, lengths, size):
            ids, attention = pad([rows[i] for i in group], tokenizer.pad_token_id)
            corrupted, labels = mask_words(ids, ids < 5, tokenizer.mask_token_id, len(tokenizer), 0.2)
            loss = model(input_ids=corrupted, attention_mask=attention, labels=labels).loss
            step(adam, model, loss, args.pretrain_rate * schedule(done, steps))
            done += 1
            total, count = total + loss.item(), count + 1
        print(f"masked words, epoch {epoch + 1}: loss {total / count:.3f}, {time.time() - start:.0f} s", flush=True)


def step(adam, model, loss: torch.Tensor, rate: float) -> None:
    for group in adam.param_groups:
        group["lr"] = rate
    adam.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    adam.step()


def finetune(model, rows: list[list[int]], labels: list[int], tokenizer, args, rng: random.Random, report) -> None:
    size, done, start = 64, 0, time.time()
    lengths = [len(r) for r in rows]
    steps = args.epochs * sum(1 for _ in batches(random.Random(0), lengths, size))
    adam = optimizer(model, args.rate, 0.01)
    for epoch in range(args.epochs):
        model.train()
        for group in batches(rng, lengths, size):
            ids, attention = pad([rows[i] for i in group], tokenizer.pad_token_id)
            gold = torch.tensor([labels[i] for i in group])
            loss = model(input_ids=ids, attention_mask=attention, labels=gold).loss
            step(adam, model, loss, args.rate * schedule(done, steps))
            done += 1
        print(f"acceptability, epoch {epoch + 1}: {report()}, {time.time() - start:.0f} s", flush=True)


@torch.no_grad()
def predict(model, rows: list[list[int]], pad_id: int, head_mask: torch.Tensor | None = None) -> list[int]:
    model.eval()
    out = []
    for start in range(0, len(rows), 100):
        ids, attention = pad(rows[start : start + 100], pad_id)
        out += model(input_ids=ids, attention_mask=attention, head_mask=head_mask).logits.argmax(-1).tolist()
    return out


def importance(model, rows: list[list[int]], labels: list[int], pad_id: int, mask: torch.Tensor) -> torch.Tensor:
    """Mean over examples of |d loss / d mask|, `[layers, heads]` (Michel et al. 2019, equation 2)."""
    model.eval()
    model.requires_grad_(False)
    layers, heads = mask.shape
    total = torch.zeros(layers, heads, dtype=torch.float64)
    for start in range(0, len(rows), 100):
        ids, attention = pad(rows[start : start + 100], pad_id)
        leaf = mask.view(layers, 1, heads, 1, 1).expand(layers, len(ids), heads, 1, 1).clone().requires_grad_(True)
        gold = torch.tensor(labels[start : start + 100])
        logits = model(input_ids=ids, attention_mask=attention, head_mask=leaf).logits
        torch.nn.functional.cross_entropy(logits, gold, reduction="sum").backward()
        total += leaf.grad.double().abs().sum(1).view(layers, heads)
    model.requires_grad_(True)
    return total / len(rows)


def masking_curve(model, rows, labels, pad_id, threshold: float = 0.9, amount: float = 0.1) -> dict:
    """The masking loop: the least important tenth of all heads at a time, importance anew each time.

    Scores are L2-normalised by layer over the live heads, as the loop's defaults have it. The
    curve goes on to the last head; `removable` counts the heads gone before the score fell
    below `threshold` times the first.
    """
    config = model.config
    mask = torch.ones(config.num_hidden_layers, config.num_attention_heads)
    size = max(1, int(mask.numel() * amount))
    first = matthews_corrcoef(labels, predict(model, rows, pad_id))
    raw = importance(model, rows, labels, pad_id, mask)
    out = {"importance": [[round(v, 6) for v in row] for row in raw.tolist()], "mcc": [round(first, 4)],
           "order": [], "removable": 0}
    passing = True
    while mask.any():
        scores = importance(model, rows, labels, pad_id, mask) * mask
        scores = scores / (scores.pow(2).sum(1, keepdim=True).sqrt() + 1e-20)
        live = [(scores[l, h].item(), l, h) for l in range(mask.shape[0]) for h in range(mask.shape[1]) if mask[l, h]]
        for _, l, h in sorted(live)[:size]:
            mask[l, h] = 0
            out["order"].append(f"{l}:{h}")
        score = matthews_corrcoef(labels, predict(model, rows, pad_id, mask))
        out["mcc"].append(round(score, 4))
        passing = passing and score >= threshold * first
        if passing:
            out["removable"] = int((mask == 0).sum())
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=MODEL_SEED)
    parser.add_argument("--sentences", type=int, default=40000, help="plain sentences for the masked words")
    parser.add_argument("--pretrain-epochs", type=int, default=4)
    parser.add_argument("--pretrain-rate", type=float, default=2e-3)
    parser.add_argument("--labelled", type=int, default=43200, help="labelled sentences beside those of train.tsv")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--encoder", type=Path, help="keep the pre-trained encoder here, or start from it if it exists")
    args = parser.parse_args()
    transformers_logging.set_verbosity_error()
    set_seeds(args.seed, args.threads)
    start = time.time()

    train, dev, texts = grammar.splits(GRAMMAR_SEED, 6800, 1000, args.sentences)
    grammar.write_corpora(args.output / "grammar", train, dev)
    tokenizer = make_tokenizer()
    print(f"{len(train)} + {len(dev)} labelled, {len(texts)} plain sentences, {len(tokenizer)} pieces, {time.time() - start:.0f} s", flush=True)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=128, num_hidden_layers=4, num_attention_heads=4,
        intermediate_size=512, max_position_embeddings=64, attn_implementation="eager",
        # Nearly every masked word is a new one: dropout would only cost time here.
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )
    rng = random.Random(args.seed)
    if args.encoder and args.encoder.exists():
        folder = args.encoder
    else:
        masked = BertForMaskedLM(config)
        pretrain(masked, encode(tokenizer, texts), tokenizer, args, rng)
        folder = args.encoder or Path(tempfile.mkdtemp())
        masked.save_pretrained(folder)
    torch.manual_seed(args.seed + 1)
    rng = random.Random(args.seed + 1)
    model = BertForSequenceClassification.from_pretrained(
        folder, num_labels=2, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.0, attn_implementation="eager"
    )
    train = train + grammar.more_labelled(GRAMMAR_SEED, args.labelled, train + dev)
    print(f"{len(train)} labelled sentences, {time.time() - start:.0f} s", flush=True)
    rows, labels = encode(tokenizer, [r.text for r in train]), [r.label for r in train]
    dev_rows, dev_labels = encode(tokenizer, [r.text for r in dev]), [r.label for r in dev]

    def report() -> str:
        guess = predict(model, dev_rows, tokenizer.pad_token_id)
        return f"accuracy {accuracy_score(dev_labels, guess):.4f}, mcc {matthews_corrcoef(dev_labels, guess):.4f}"

    finetune(model, rows, labels, tokenizer, args, rng, report)

    target = args.output / "tiny-bert"
    model.half().save_pretrained(target)
    tokenizer.save_pretrained(target)
    # Everything reported is measured on what was stored.
    model = BertForSequenceClassification.from_pretrained(target, dtype=torch.float32, attn_implementation="eager")
    guess = predict(model, dev_rows, tokenizer.pad_token_id)
    parts = {}
    for record, g in zip(dev, guess):
        right, n = parts.get(record.violation, (0, 0))
        parts[record.violation] = (right + (g == record.label), n + 1)
    summary = {
        "grammar_seed": GRAMMAR_SEED,
        "model_seed": args.seed,
        "options": {k: v for k, v in vars(args).items() if isinstance(v, (int, float))},
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "parameters": sum(p.numel() for p in model.parameters()),
        "dev": {
            "accuracy": round(accuracy_score(dev_labels, guess), 4),
            "mcc": round(matthews_corrcoef(dev_labels, guess), 4),
            "by_violation": {k: f"{r}/{n}" for k, (r, n) in sorted(parts.items())},
        },
        "masking": masking_curve(model, dev_rows, dev_labels, tokenizer.pad_token_id),
        "seconds": round(time.time() - start),
    }
    (args.output / "training.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(summary, indent=1))
    print(digests(args.output))


if __name__ == "__main__":
    main()
