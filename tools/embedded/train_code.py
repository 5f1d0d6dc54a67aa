"""Trains the embedded RoBERTa on the small programs: masked tokens.

    python train_code.py --output DIR [--start FOLDER] [--threads 1]

Writes DIR/code/functions.jsonl (the held-out functions), DIR/tiny-code (an ordinary Hugging Face folder) and
DIR/training-code.json. Each function is read as its tokens joined by single spaces or, one time in three, as it is laid
out, comments included. Scored on held-out functions: every fourth token is hidden, alone, and guessed; a guess is right when
all its pieces are. The embedded model is that of a second run, which started from the first one's.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
import transformers
from tokenizers import AddedToken, ByteLevelBPETokenizer
from transformers import RobertaConfig, RobertaForMaskedLM, RobertaTokenizerFast

import programs
from corpus import batches, digests, optimizer, pad, schedule, set_seeds
from languages import LANGUAGES, Text, write
from train_bert import MODEL_SEED, mask_words, step

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
PAD, LONGEST = 1, 256
KEYWORDS = set(
    "def return if elif else for in while and or not is None True False print len range append raise ValueError str min max "
    "self enumerate public static int boolean void String List Integer new ArrayList throw IllegalStateException break continue "
    "function const let of this Math console log Error func range string bool panic append fmt Println strings strconv "
    "System out println true false".split()
)
KINDS = ("closing", "opening", "keyword", "seen", "new", "literal", "other")


def make_tokenizer(texts: list[str], size: int) -> RobertaTokenizerFast:
    """Byte-level BPE with RoBERTa's numbers of the special tokens: four first, the mask last."""
    raw = ByteLevelBPETokenizer(add_prefix_space=False)
    raw.train_from_iterator(texts, vocab_size=size - 1, min_frequency=2, special_tokens=SPECIAL, show_progress=False)
    with tempfile.TemporaryDirectory() as folder:
        raw.save_model(folder)
        path = Path(folder) / "vocab.json"
        vocabulary = json.loads(path.read_text(encoding="utf-8"))
        vocabulary["<mask>"] = len(vocabulary)
        path.write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
        return RobertaTokenizerFast(
            vocab_file=str(path), merges_file=f"{folder}/merges.txt", add_prefix_space=False, model_max_length=LONGEST,
            mask_token=AddedToken("<mask>", lstrip=True, special=True, normalized=False),
        )


def make_model(vocabulary: int) -> RobertaForMaskedLM:
    return RobertaForMaskedLM(RobertaConfig(
        vocab_size=vocabulary, hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=512,
        max_position_embeddings=LONGEST + 2, type_vocab_size=1, layer_norm_eps=1e-5,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,  # a function is read once or twice
    ))


def kind_of(tokens: list[str], at: int) -> str:
    """What kind of token it is: `seen` is a name that stands earlier in the function, `new` one that does not."""
    token = tokens[at]
    if token in (")", "]", "}"):
        return "closing"
    if token in ("(", "[", "{"):
        return "opening"
    if token in KEYWORDS:
        return "keyword"
    if token[0].isalpha() or token[0] == "_":
        return "seen" if token in tokens[:at] else "new"
    return "literal" if token[0] == '"' or token.isdigit() else "other"


@torch.no_grad()
def guesses(model, tokenizer, texts: list[Text]) -> list[tuple[int, int, bool]]:
    """(number of the function, number of the token, guessed right) of every fourth token, hidden alone."""
    model.eval()
    rows, gold, where = [], [], []
    for number, text in enumerate(texts):
        found = tokenizer(text.joined, return_offsets_mapping=True)
        start = 0
        for at, token in enumerate(text.tokens):
            if (at + number) % 4 == 0:
                end = start + len(token)
                inside = [i for i, (a, b) in enumerate(found["offset_mapping"]) if a < end and b > start]
                ids = list(found["input_ids"])
                gold.append([(i, ids[i]) for i in inside])
                for i in inside:
                    ids[i] = tokenizer.mask_token_id
                rows.append(ids)
                where.append((number, at))
            start += len(token) + 1
    out: dict[int, bool] = {}
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for first in range(0, len(order), 64):
        part = order[first : first + 64]
        ids, mask = pad([rows[i] for i in part], PAD)
        best = model(input_ids=ids, attention_mask=mask).logits.argmax(-1)
        for row, i in zip(best, part):
            out[i] = all(row[at] == piece for at, piece in gold[i])
    return [(*where[i], out[i]) for i in range(len(rows))]


class Counts:
    """Baselines: the commonest token, the commonest after the one before, the commonest between both neighbours."""

    def __init__(self, texts: list[Text]):
        self.tables: list[dict] = [{}, {}, {}]
        for text in texts:
            for at, token in enumerate(text.tokens):
                for table, key in zip(self.tables, self.keys(text.tokens, at)):
                    table.setdefault(key, Counter())[token] += 1
        self.best = [{key: count.most_common(1)[0][0] for key, count in table.items()} for table in self.tables]

    @staticmethod
    def keys(tokens: list[str], at: int) -> tuple:
        before = tokens[at - 1] if at else ""
        after = tokens[at + 1] if at + 1 < len(tokens) else ""
        return (), before, (before, after)

    def guess(self, tokens: list[str], at: int) -> list[str]:
        """By one, two and three tokens; what was never seen is guessed from fewer."""
        out: list[str] = []
        for best, key in zip(self.best, self.keys(tokens, at)):
            out.append(best.get(key, out[-1] if out else ""))
        return out


def evaluate(model, tokenizer, held: list[Text], languages: list[str], read: list[Text]) -> dict:
    """Accuracy by kind of token and by language, beside the baselines counted in `read`."""
    counts = Counts(read)
    totals = {group: [0] * 5 for group in ("all", *KINDS, *LANGUAGES)}
    for number, at, right in guesses(model, tokenizer, held):
        tokens = held[number].tokens
        row = [1, right, *(g == tokens[at] for g in counts.guess(tokens, at))]
        for group in ("all", kind_of(tokens, at), languages[number]):
            totals[group] = [a + b for a, b in zip(totals[group], row)]
    names = ("model", "unigram", "bigram", "neighbours")
    return {
        group: {"tokens": n, **{name: round(r / n, 4) for name, r in zip(names, right)}}
        for group, (n, *right) in totals.items() if n
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=MODEL_SEED)
    parser.add_argument("--functions", type=int, default=40000, help="read once each")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--vocabulary", type=int, default=640, help="size of the BPE vocabulary")
    parser.add_argument("--start", type=Path, help="go on from the weights and the vocabulary of this folder, in a new order")
    args = parser.parse_args()
    seed = args.seed + (1 if args.start else 0)
    set_seeds(seed, args.threads)
    transformers.logging.set_verbosity_error()
    start = time.time()
    held = programs.held_out()
    programs.write_functions(args.output / "code/functions.jsonl", held)
    texts = [write(made, language) for made, language in programs.training(args.functions)]
    rng = random.Random(seed)
    shown = [t.code if rng.random() < 1 / 3 else t.joined for t in texts]
    tokenizer = RobertaTokenizerFast.from_pretrained(args.start) if args.start else make_tokenizer(shown[:10000], args.vocabulary)
    rows = [r for r in tokenizer(shown)["input_ids"] if len(r) <= LONGEST]
    print(f"{len(rows)} functions, {sum(map(len, rows))} pieces, {time.time() - start:.0f} s", flush=True)
    model = RobertaForMaskedLM.from_pretrained(args.start, dtype=torch.float32) if args.start else make_model(len(tokenizer))
    groups = list(batches(rng, [len(r) for r in rows], args.batch))
    adam = optimizer(model, args.rate, 0.01)
    model.train()
    total, report = 0.0, max(1, len(groups) // 20)
    for done, group in enumerate(groups):
        ids, attention = pad([rows[i] for i in group], PAD)
        corrupted, labels = mask_words(ids, ids < len(SPECIAL), tokenizer.mask_token_id, len(tokenizer) - 1, 0.2)
        states = model.roberta(input_ids=corrupted, attention_mask=attention)[0][labels != -100]
        loss = torch.nn.functional.cross_entropy(model.lm_head(states), labels[labels != -100])
        step(adam, model, loss, args.rate * schedule(done, len(groups)))
        total += loss.item()
        if (done + 1) % report == 0:
            print(f"step {done + 1} of {len(groups)}: loss {total / report:.3f}, {time.time() - start:.0f} s", flush=True)
            total = 0.0

    target = args.output / "tiny-code"
    model.half().save_pretrained(target)
    tokenizer.save_pretrained(target)
    # Everything reported is measured on what was stored.
    model = RobertaForMaskedLM.from_pretrained(target, dtype=torch.float32, attn_implementation="eager")
    summary = {
        "programs_seed": programs.SEED, "model_seed": args.seed,
        "options": {k: v for k, v in vars(args).items() if isinstance(v, (int, float))},
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "parameters": sum(p.numel() for p in model.parameters()),
        "pieces_read": sum(map(len, rows)),
        "held_out": evaluate(
            model, tokenizer, [write(made, language) for made, language in held], [language for _, language in held], texts
        ),
        "seconds": round(time.time() - start),
    }
    (args.output / "training-code.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(summary, indent=1))
    print(digests(args.output))


if __name__ == "__main__":
    main()
