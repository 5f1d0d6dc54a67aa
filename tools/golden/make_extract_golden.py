#!/usr/bin/env python3
"""Write what transformers computes inside the embedded model: the golden file of the extraction.

The arrays bear the names that `bertology extract --format safetensors` gives them, the texts laid end to
end without padding. float32, eager attention, dropout off, one text at a time.

    make_extract_golden.py            write golden/studies/extract.safetensors
    make_extract_golden.py --check    make it again and compare with the committed one
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "golden/studies/extract.safetensors"
MODEL = ROOT / "assets/tiny-bert"
TOLERANCE = 1e-5  # of the largest entry: another processor sums in another order
# The same list as in crates/bertology/tests/studies/extract.rs. The second has words of several tokens and
# characters of several bytes.
TEXTS = ["The woman faints.", "Unbelievable crocodiles naïvely admired the horses!", "the goat"]
STATES = (0, 2, 4)
HEADS = ((2, 0), (3, 1))
CLASS = 1


def one(model, tokenizer, text, heads, width):
    encoded = tokenizer(text, return_tensors="pt", return_offsets_mapping=True)
    words = [-1 if word is None else word for word in encoded.word_ids(0)]
    offsets = encoded.pop("offset_mapping")[0].numpy()
    context = {}
    hooks = [
        layer.attention.output.dense.register_forward_pre_hook(
            lambda _module, given, at=at: context.__setitem__(at, given[0]))
        for at, layer in enumerate(model.bert.encoder.layer)
    ]
    output = model(**encoded, output_hidden_states=True, output_attentions=True)
    for hook in hooks:
        hook.remove()
    watched = [*output.hidden_states, *output.attentions]
    for value in watched:
        value.retain_grad()
    loss = torch.nn.functional.cross_entropy(output.logits, torch.tensor([CLASS]))
    loss.backward()
    found = {
        "input_ids": encoded["input_ids"][0].numpy().astype(np.int32),
        "char_start": offsets[:, 0].astype(np.int32),
        "char_end": offsets[:, 1].astype(np.int32),
        "word_ids": np.array(words, np.int32),
        "logits": output.logits.detach().numpy(),
        "loss": np.array([loss.item()]),
    }
    for at in STATES:
        state = output.hidden_states[at]
        found[f"hidden_states.{at}"] = state[0].detach().numpy()
        found[f"gradients.hidden_states.{at}"] = state.grad[0].numpy()
    for layer, head in heads:
        attention = output.attentions[layer]
        name = f"{layer}.{head}"
        found[f"attentions.{name}"] = attention[0, head].detach().numpy().reshape(-1)
        found[f"gradients.attentions.{name}"] = attention.grad[0, head].numpy().reshape(-1)
        rows = context[layer][0].detach().numpy()
        found[f"head_outputs.{name}"] = rows[:, head * width:(head + 1) * width]
    rows = output.hidden_states[-1][0].detach().numpy().astype(np.float64)
    groups = [np.flatnonzero(np.array(words) == word) for word in range(max(words) + 1)]
    found["pooled.first"] = np.stack([rows[group[0]] for group in groups])
    found["pooled.last"] = np.stack([rows[group[-1]] for group in groups])
    found["pooled.mean"] = np.stack([rows[group].mean(axis=0) for group in groups])
    return found


def make():
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    model = AutoModelForSequenceClassification.from_pretrained(MODEL, attn_implementation="eager").eval()
    config = model.config
    width = config.hidden_size // config.num_attention_heads
    found = [one(model, tokenizer, text, HEADS, width) for text in TEXTS]
    arrays = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
    for name, value in arrays.items():
        if name.startswith("pooled"):
            arrays[name] = value.astype(np.float32)
    lengths = [len(each["input_ids"]) for each in found]
    arrays["offsets"] = np.cumsum([0, *lengths])
    return {name: np.ascontiguousarray(value) for name, value in arrays.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed file, write nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    made = make()
    if not options.check:
        OUT.parent.mkdir(parents=True, exist_ok=True)
        save_file(made, OUT)
        print(f"{OUT.name}: {OUT.stat().st_size / 1000:.1f} kB, {sum(map(len, TEXTS))} characters")
        return 0
    kept = load_file(OUT)
    failures = sorted(made.keys() ^ kept.keys())
    for name in made.keys() & kept.keys():
        a, b = made[name], kept[name]
        if (a.shape != b.shape or a.dtype != b.dtype
                or np.abs(a - b).max(initial=0) > TOLERANCE * np.abs(b).max(initial=0)):
            failures.append(name)
    print(f"{len(made)} arrays, {len(failures)} differ {failures}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
