#!/usr/bin/env python3
"""Write golden/training: what PyTorch's autograd says of every weight of the engine's golden models.

For each model one file with `loss`, the weighted sum of the sequences' own losses (weights 0.5, 0.75, 1.0, ...), and its
gradient for every tensor of the checkpoint under the tensor's name, linear maps as [out, in], halves of a gated block's first map
with what is activated before what multiplies. Computed in float64, dropout off, every sequence by itself and without padding.
`finetune-bert` holds what fifty steps of AdamW make of the embedded BERT.

    make_training_golden.py            write all files whose classes the installed transformers has
    make_training_golden.py --check    make them again in a temporary directory and compare
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.pytorch_utils import Conv1D

import make_gte_golden
import make_jinabert_golden
import make_nomicbert_golden
import shared
from capture import compare
from finetune_reference import train

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
ENGINE = GOLDEN / "engine"

NAMES = """
albert albert-answers albert-groups-tokens albert-mlm albert-pretraining
bert-absolute bert-absolute-pruned bert-answers bert-mlm bert-nsp bert-pretraining bert-regression bert-relative-key
bert-relative-key-query bert-tokens deberta deberta-answers deberta-mlm deberta-renamed-mlm deberta-tokens distilbert distilbert-answers distilbert-mlm electra
electra-discriminator electra-generator electra-tokens esm esm-mlm esm-tokens gpt gpt-lm gpt2 gpt2-inverse-layer gpt2-lm gpt2-token-types jinabert jinabert-mlm modernbert modernbert-answers modernbert-biases
modernbert-mlm modernbert-tokens mpnet mpnet-mlm
roberta roberta-mlm
""".split()
# Whose classes are those of transformers 5 (requirements-5.txt); with it these alone are made.
NAMES_5 = """
eurobert eurobert-bos eurobert-mean eurobert-mlm eurobert-tokens
esmc esmc-mlm esmc-tokens gte gte-mlm gte-tokens
nomic nomic-mlm nomic-tokens
""".split()
VERSION_5 = transformers.__version__.startswith("5.")


def open_model(folder):
    config = json.loads((folder / "config.json").read_text())
    kind = getattr(transformers, config["architectures"][0])
    with tempfile.TemporaryDirectory() as scratch:
        # A file that is a copy of another folder's is kept there.
        files = {path.name: path for path in folder.iterdir()} | shared.others(folder)
        for name, path in files.items():
            (Path(scratch) / name).symlink_to(path)
        return kind.from_pretrained(scratch, attn_implementation="eager", dtype=torch.float64).eval()


def inputs_of(golden, b, classes):
    """Sequence b without its padding, which is on the right; a folder without a loss of its own gets classes in turn."""
    length = int(golden["attention_mask"][b].sum())
    names = ["input_ids", "token_type_ids", "position_ids"]
    given = {name: golden[name][b : b + 1, :length].long() for name in names if name in golden}
    labels = {}
    for name in ["start_positions", "end_positions", "next_sentence_label"]:
        if name in golden:
            labels[name] = golden[name][b : b + 1].long()
    if "labels" in golden:
        label = golden["labels"][b : b + 1]
        labels["labels"] = label[:, :length] if label.dim() == 2 else label
    if not labels:
        labels["labels"] = torch.tensor([b % classes])
    if labels.get("labels") is not None and labels["labels"].is_floating_point():
        labels["labels"] = labels["labels"].double()
    return given, labels


def loss_of(model, given, labels):
    if type(model).__name__ == "BertForNextSentencePrediction":
        labels = {"labels": labels["labels"]}
    if type(model).__name__ == "AlbertForPreTraining":
        labels = {"labels": labels["labels"], "sentence_order_label": labels["next_sentence_label"]}
    if type(model).__name__ == "ElectraForPreTraining":
        # The class averages over every token; positions that do not count are left out.
        logits = model(**given).logits
        wanted = labels["labels"] != -100
        loss = torch.nn.functional.binary_cross_entropy_with_logits
        return loss(logits[wanted], labels["labels"][wanted].double())
    return model(**given, **labels).loss


def make(folder, out):
    if folder.name.startswith("jinabert"):
        return gradients_of(make_jinabert_golden.model_of(folder.name).double(), folder, out)
    if folder.name == "gte-mlm":
        # With angles that no class of transformers has.
        return gradients_of(make_gte_golden.slowed().double(), folder, out)
    if folder.name == "nomic-mlm":
        # Written as no class of transformers reads it.
        model = make_nomicbert_golden.without_biases().double()
        with make_nomicbert_golden.partly_turned(model, make_nomicbert_golden.TURNED):
            return gradients_of(model, folder, out)
    return gradients_of(open_model(folder), folder, out)


def gradients_of(model, folder, out):
    golden = load_file(folder / "golden.safetensors")
    total = 0
    for b in range(golden["input_ids"].shape[0]):
        given, labels = inputs_of(golden, b, model.config.num_labels)
        total = total + (0.5 + 0.25 * b) * loss_of(model, given, labels)
    total.backward()
    turned = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, Conv1D)}
    tensors = {"loss": total.detach().reshape(1).float()}
    for name, parameter in model.named_parameters():
        gradient = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
        tensors[name] = (gradient.T if name in turned else gradient).float().contiguous()
    if folder.name.startswith("nomic"):
        tensors = make_nomicbert_golden.in_files(tensors, "bert." if folder.name == "nomic-mlm" else "nomic_bert.")
    if folder.name.startswith("jinabert"):
        tensors = make_jinabert_golden.in_files(tensors)
    if folder.name.startswith("gte"):
        tensors = make_gte_golden.in_files(tensors, "new." if folder.name == "gte-mlm" else "gte.")
    save_file(tensors, out)


def finetune(out):
    """Fifty steps of the embedded BERT on 200 sentences of its grammar, dropout off: losses, norms, rates, and every so many
    numbers of each weight behind them."""
    folder = GOLDEN.parent / "assets"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "tiny-bert")
    rows = (folder / "grammar/CoLA/dev.tsv").read_text().splitlines()[:200]
    rows = [row.split("\t") for row in rows]
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder / "tiny-bert", attn_implementation="eager", dtype=torch.float32
    ).eval()

    def encode(places):
        texts = tokenizer([rows[at][3] for at in places], padding=True, return_tensors="pt")
        return {**texts, "labels": torch.tensor([int(rows[at][1]) for at in places])}

    numbers = train(model, encode, len(rows), steps=50, size=8, rate=5e-4, decay=0.1, warmup=0.2, clip=0.5, seed=7)
    tensors = {name: torch.tensor(values) for name, values in zip(["loss", "norm", "rate"], numbers, strict=True)}
    for name, parameter in model.named_parameters():
        flat = parameter.detach().flatten()
        tensors[f"after.{name}"] = flat[:: -(-len(flat) // 100)].contiguous().clone()
    save_file(tensors, out)


def generate(out):
    out.mkdir(parents=True, exist_ok=True)
    for name in NAMES_5 if VERSION_5 else NAMES:
        make(ENGINE / name, out / f"{name}.safetensors")
    if not VERSION_5:
        finetune(out / "finetune-bert.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    if not options.check:
        generate(GOLDEN / "training")
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch) / "training")
        own = compare(Path(scratch), GOLDEN, {"training"}, lambda name: (name.stem in NAMES_5) == VERSION_5)
        return 1 if own else 0


if __name__ == "__main__":
    sys.exit(main())
