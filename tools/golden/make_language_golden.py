"""Losses and importance of language models over windows, as transformers computes them.

Writes golden/studies/language.json: for golden models of the engine and fixed token
ids, the windows of transformers' perplexity guide put through the model one by one, in float32 with
eager attention. Nothing here is shared with the code under test.

    python tools/golden/make_language_golden.py
"""

import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "golden" / "engine"
OUT = ROOT / "golden" / "studies" / "language.json"

# Ids of the tokens around each window of a masked language model.
FRAMES = {"bert": (2, 3), "roberta": (0, 2)}
LENGTHS = [7, 1, 31, 12, 2, 50]


def documents(vocabulary):
    """Arbitrary ids without the special ones, by a congruential generator."""
    state, rows = 1, []
    for length in LENGTHS:
        row = []
        for _ in range(length):
            state = (state * 1103515245 + 12345) % 2**31
            row.append(5 + (state >> 8) % (vocabulary - 5))
        rows.append(row)
    return rows


def windows(tokens, length, stride):
    """The loop of https://huggingface.co/docs/transformers/perplexity: begin, end, targets."""
    previous = 0
    for begin in range(0, tokens, stride):
        end = min(begin + length, tokens)
        yield begin, end, end - previous
        previous = end
        if end == tokens:
            break


def study(name, model, masked, length, stride):
    torch.manual_seed(0)
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    config = model.config
    rows = documents(config.vocab_size)
    room = length - 2 if masked else length
    cls, sep = FRAMES.get(config.model_type, (None, None))
    total, count, losses = 0.0, 0, []
    shape = (config.num_hidden_layers, config.num_attention_heads)
    example = torch.zeros(shape, dtype=torch.float64)
    for row in rows:
        for begin, end, fresh in windows(len(row), room, stride):
            ids = row[begin:end]
            labels = [-100] * (len(ids) - fresh) + ids[len(ids) - fresh :]
            if masked:
                ids, labels = [cls, *ids, sep], [-100, *labels, -100]
            targets = sum(label != -100 for label in (labels if masked else labels[1:]))
            if targets == 0:
                continue
            mask = torch.ones(shape, requires_grad=True)
            loss = model(
                input_ids=torch.tensor([ids]),
                labels=torch.tensor([labels]),
                head_mask=mask,
            ).loss
            (gradient,) = torch.autograd.grad(loss, mask)
            example += gradient.double().abs()
            losses.append(loss.item())
            total += loss.item() * targets
            count += targets
    return {
        "model": name,
        "masked": masked,
        "max_length": length,
        "stride": stride,
        "documents": rows,
        "windows": len(losses),
        "targets": count,
        "loss": total / count,
        "window_losses": losses,
        "importance": (example / len(losses)).flatten().tolist(),
    }


def main():
    studies = []
    for name, masked, length, stride in [
        ("bert-mlm", True, 12, 4),
        ("bert-mlm", True, 24, 11),
        ("roberta-mlm", True, 14, 12),
        ("gpt2-lm", False, 12, 5),
        ("gpt-lm", False, 16, 8),
    ]:
        kind = AutoModelForMaskedLM if masked else AutoModelForCausalLM
        model = kind.from_pretrained(MODELS / name, attn_implementation="eager")
        studies.append(study(name, model, masked, length, stride))
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(studies, indent=1) + "\n")
    print(f"{OUT}: {len(studies)} studies")


if __name__ == "__main__":
    main()
