#!/usr/bin/env python3
"""Checkpoints with the exact configs of published models and random weights: logits and head importance beside transformers'.

    tools/parity/published.py [NAME ...] [--binary target/release/bertology] [--keep FOLDER]

No published weights are needed. Each model gets a tokenizer of made-up words, a row of ids each, and classifies texts of 3 to
60 of them. Importance in PyTorch is the mean over texts of |context . gradient of the context|, summed over each head's
positions: what the gradient of a head mask is. Weights are drawn wider than at the beginning of training, so that heads differ.
Exits 1 where a logit is off by more than 1e-4 or an importance by more than 1e-3 of the largest of its layer.
"""

import argparse
import csv
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/golden"))
SPREAD = 0.05
# Where rounding grows so much from block to block that PyTorch itself is 1e-4 to 1e-3 from its f64 with that.
NARROWER = {"gte-base-en-v1.5": 0.03, "jina-embeddings-v2-base-en": 0.03}

# Class of the config, what the published file says besides the class's defaults, the classifier, and the module whose input
# is what the heads of a layer put out, side by side.
PUBLISHED = {
    "albert-base-v2": (
        transformers.AlbertConfig,
        dict(
            hidden_size=768,
            num_attention_heads=12,
            intermediate_size=3072,
            hidden_dropout_prob=0,
            attention_probs_dropout_prob=0,
        ),
        transformers.AlbertForSequenceClassification,
        lambda model: [model.albert.encoder.albert_layer_groups[0].albert_layers[0].attention.dense],
    ),
    "deberta-v3-base": (
        transformers.DebertaV2Config,
        dict(
            hidden_size=768,
            num_hidden_layers=12,
            num_attention_heads=12,
            intermediate_size=3072,
            relative_attention=True,
            position_buckets=256,
            norm_rel_ebd="layer_norm",
            share_att_key=True,
            pos_att_type="p2c|c2p",
            max_relative_positions=-1,
            position_biased_input=False,
            type_vocab_size=0,
        ),
        transformers.DebertaV2ForSequenceClassification,
        lambda model: [layer.attention.output.dense for layer in model.deberta.encoder.layer],
    ),
    "electra-small-discriminator": (
        transformers.ElectraConfig,
        dict(embedding_size=128, hidden_size=256, num_attention_heads=4, intermediate_size=1024),
        transformers.ElectraForSequenceClassification,
        lambda model: [layer.attention.output.dense for layer in model.electra.encoder.layer],
    ),
    "esm2_t12_35M_UR50D": (
        transformers.EsmConfig,
        dict(
            vocab_size=33,
            mask_token_id=32,
            pad_token_id=1,
            hidden_size=480,
            num_hidden_layers=12,
            num_attention_heads=20,
            intermediate_size=1920,
            max_position_embeddings=1026,
            layer_norm_eps=1e-5,
            position_embedding_type="rotary",
            token_dropout=True,
            emb_layer_norm_before=False,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        transformers.EsmForSequenceClassification,
        lambda model: [layer.attention.output.dense for layer in model.esm.encoder.layer],
    ),
    "ModernBERT-base": (
        transformers.ModernBertConfig,
        dict(reference_compile=False),
        transformers.ModernBertForSequenceClassification,
        lambda model: [layer.attn.Wo for layer in model.model.layers],
    ),
    "mpnet-base": (
        transformers.MPNetConfig,
        dict(vocab_size=30527, max_position_embeddings=514, layer_norm_eps=1e-5),
        transformers.MPNetForSequenceClassification,
        lambda model: [layer.attention.attn.o for layer in model.mpnet.encoder.layer],
    ),
}
# Written in the script of its golden files, from BERT's class of version 4: it has none of its own in transformers.
if transformers.__version__.startswith("4."):
    import make_jinabert_golden as jinabert

    PUBLISHED["jina-embeddings-v2-base-en"] = (
        transformers.BertConfig,
        dict(vocab_size=30528, max_position_embeddings=8192),
        lambda config: jinabert.refitted(transformers.BertForSequenceClassification(config)),
        lambda model: [layer.attention.output.dense for layer in model.bert.encoder.layer],
    )
# Families that only transformers 5 has (tools/golden/requirements-5.txt).
if hasattr(transformers, "EuroBertConfig"):
    PUBLISHED["EuroBERT-210m"] = (
        transformers.EuroBertConfig,
        dict(rope_parameters=dict(rope_type="default", rope_theta=250_000)),
        transformers.EuroBertForSequenceClassification,
        lambda model: [layer.self_attn.o_proj for layer in model.model.layers],
    )
    PUBLISHED["nomic-bert-v1"] = (
        transformers.NomicBertConfig,
        dict(max_position_embeddings=8192),
        transformers.NomicBertForSequenceClassification,
        lambda model: [layer.self_attn.o_proj for layer in model.nomic_bert.layers],
    )
    PUBLISHED["ESMC-300M"] = (
        transformers.EsmcConfig,
        dict(hidden_size=960, num_hidden_layers=30, num_attention_heads=15, intermediate_size=2560),
        transformers.EsmcForSequenceClassification,
        lambda model: [layer.self_attn.o_proj for layer in model.esmc.layers],
    )
    # The base is that of its own config times the factor there; what else the factor does is done to the model (`SLOWED`).
    PUBLISHED["gte-base-en-v1.5"] = (
        transformers.GteConfig,
        dict(
            vocab_size=30528,
            type_vocab_size=0,
            pad_token_id=0,
            rope_parameters=dict(rope_type="default", rope_theta=1_000_000.0),
        ),
        transformers.GteForSequenceClassification,
        lambda model: [layer.self_attn.o_proj for layer in model.gte.layers],
    )

# What config.json says in files that the class of transformers does not write: it is put in the place of its own.
OWN_CONFIG = {
    "nomic-bert-v1": dict(
        activation_function="swiglu",
        architectures=["NomicBertForSequenceClassification"],
        attn_pdrop=0.0,
        causal=False,
        embd_pdrop=0.0,
        layer_norm_epsilon=1e-12,
        mlp_fc1_bias=False,
        mlp_fc2_bias=False,
        model_type="nomic_bert",
        n_embd=768,
        n_head=12,
        n_inner=3072,
        n_layer=12,
        n_positions=8192,
        pad_vocab_size_multiple=64,
        parallel_block=False,
        prenorm=False,
        qkv_proj_bias=False,
        resid_pdrop=0.0,
        rotary_emb_base=1000,
        rotary_emb_fraction=1.0,
        rotary_emb_interleaved=False,
        rotary_emb_scale_base=None,
        rotary_scaling_factor=None,
        type_vocab_size=2,
        use_rms_norm=False,
        vocab_size=30528,
    ),
    "gte-base-en-v1.5": dict(
        architectures=["NewForSequenceClassification"],
        attention_probs_dropout_prob=0.0,
        classifier_dropout=None,
        hidden_act="gelu",
        hidden_dropout_prob=0.1,
        hidden_size=768,
        intermediate_size=3072,
        layer_norm_eps=1e-12,
        layer_norm_type="layer_norm",
        logn_attention_clip1=False,
        logn_attention_scale=False,
        max_position_embeddings=8192,
        model_type="new",
        num_attention_heads=12,
        num_hidden_layers=12,
        pack_qkv=True,
        pad_token_id=0,
        position_embedding_type="rope",
        rope_scaling=dict(factor=2.0, type="ntk"),
        rope_theta=500_000,
        type_vocab_size=0,
        unpad_inputs=False,
        use_memory_efficient_attention=False,
        vocab_size=30528,
    ),
}
# What all angles are divided by besides, where the class of transformers does not know of it.
SLOWED = {"gte-base-en-v1.5": 2.0 ** (2 / 64)}


def write(folder, name, draw):
    """The checkpoint, its tokenizer and a table of texts with labels; gives the model and the rows of ids with labels."""
    config_class, options, model_class, _ = PUBLISHED[name]
    torch.manual_seed(7)
    config = config_class(**options, num_labels=2)
    config._attn_implementation = "eager"
    model = model_class(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1 and parameter.requires_grad:
                parameter.normal_(std=NARROWER.get(name, SPREAD))
    model.save_pretrained(folder)
    if name in SLOWED:
        rotary = model.base_model.rotary_emb
        rotary.inv_freq = rotary.inv_freq / SLOWED[name]
    if name.startswith("jina"):
        jinabert.as_published(folder, model)
    if name in OWN_CONFIG:
        (folder / "config.json").write_text(json.dumps(OWN_CONFIG[name], indent=2))
    # Ids that no class gives a meaning of its own.
    first, last = 5, min(config.vocab_size, 30_000) - 2
    begin, end = 0, 2
    words = {"[CLS]": begin, "[1]": 1, "[SEP]": end, "[UNK]": 3, "[4]": 4} | {f"w{id}": id for id in range(first, last)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", begin), ("[SEP]", end)]
    )
    special = dict(cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]")
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    rows = [[draw.randrange(first, last) for _ in range(draw.randrange(3, 61))] for _ in range(12)]
    labels = [draw.randrange(2) for _ in rows]
    with open(folder / "texts.tsv", "w", encoding="utf-8") as file:
        file.write("text\tlabel\n")
        for row, label in zip(rows, labels, strict=True):
            file.write(" ".join(f"w{id}" for id in row) + f"\t{label}\n")
    return model, [[begin, *row, end] for row in rows], labels


def in_pytorch(model, name, rows, labels):
    """Logits `[texts, 2]` and raw importance `[layers, heads]`."""
    heads = model.config.num_attention_heads
    contexts = []
    hooks = [
        module.register_forward_pre_hook(lambda _module, args: contexts.append(args[0])) for module in PUBLISHED[name][3](model)
    ]
    logits, importance = [], 0.0
    for row, label in zip(rows, labels, strict=True):
        contexts.clear()
        output = model(input_ids=torch.tensor([row]), attention_mask=torch.ones(1, len(row), dtype=torch.long))
        loss = torch.nn.functional.cross_entropy(output.logits, torch.tensor([label]))
        gradients = torch.autograd.grad(loss, contexts)
        products = [
            (c.detach() * g).double().reshape(len(row), heads, -1).sum((0, 2)) for c, g in zip(contexts, gradients, strict=True)
        ]
        importance = importance + torch.stack(products).abs().numpy()
        logits.append(output.logits[0].detach().numpy())
    for hook in hooks:
        hook.remove()
    return np.array(logits), importance / len(rows)


def ours(binary, folder):
    words = [binary, "importance", folder, "--data", folder / "texts.tsv", "--text-column", "text", "--label-column", "label"]
    words += ["--granularity", "example", "--label-order", "0,1", "--quiet", "--output", folder / "run"]
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)
    with open(folder / "run/predictions.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [key for key in rows[0] if key.startswith("logit")]
    logits = np.array([[float(row[key]) for key in names] for row in rows])
    return logits, np.load(folder / "run/head_importance_raw.npy")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PUBLISHED))
    parser.add_argument("--binary", default=ROOT / "target/release/bertology")
    parser.add_argument("--keep", type=pathlib.Path, help="write the checkpoints here, and leave them")
    options = parser.parse_args()
    unknown = set(options.names) - set(PUBLISHED)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: there are {', '.join(PUBLISHED)}")
    transformers.logging.set_verbosity_error()
    failed = False
    for name in options.names or PUBLISHED:
        with tempfile.TemporaryDirectory() as scratch:
            folder = (options.keep or pathlib.Path(scratch)) / name
            folder.mkdir(parents=True)
            model, rows, labels = write(folder, name, random.Random(7))
            expected_logits, expected = in_pytorch(model, name, rows, labels)
            logits, importance = ours(options.binary, folder)
        off = np.abs(logits - expected_logits).max()
        of_layer = (np.abs(importance - expected) / expected.max(1, keepdims=True)).max()
        wrong = off > 1e-4 or of_layer > 1e-3
        failed |= wrong
        shape = "x".join(map(str, expected.shape))
        print(f"{name:28} {shape:6} logits off {off:.1e}, importance off {of_layer:.1e}  {'FAIL' if wrong else 'ok'}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
