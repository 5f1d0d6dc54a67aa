#!/usr/bin/env python3
"""Write the golden files of DeBERTa: distances with queries and keys of their own, in every way in which a config says it.

The format is that of make_golden.py; README.md beside this file lists the folders and the tensor names.

    make_deberta_golden.py            write all folders
    make_deberta_golden.py --check    make them again in a temporary directory and compare with the committed ones
"""

import math
import sys

import numpy as np
import torch
from capture import (
    Layer,
    class_loss,
    command,
    masked_lm_labels,
    randomise,
    rng,
    studied_alike,
    token_losses,
    write_golden,
)
from safetensors.torch import save_file
from transformers import (
    DebertaV2Config,
    DebertaV2ForMaskedLM,
    DebertaV2ForQuestionAnswering,
    DebertaV2ForSequenceClassification,
    DebertaV2ForTokenClassification,
    DebertaV2Model,
)
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

MAIN = dict(vocab_size=60, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=28)
SMALL = dict(vocab_size=60, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20)
# As DeBERTa-v3 has it, with fewer buckets.
THIRD = dict(
    relative_attention=True, position_buckets=6, norm_rel_ebd="layer_norm", share_att_key=True, pos_att_type="p2c|c2p",
    position_biased_input=False,
)  # fmt: skip


def build(kind, shape, **more):
    def spread(name):
        if "rel_embeddings" in name:
            return 0.8 if "norm_rel_ebd" not in more else 1.5
        return 0.8 if "embeddings" in name else 0.25

    config = DebertaV2Config(**shape, max_position_embeddings=24, pad_token_id=0, **more)
    return randomise(kind._from_config(config, attn_implementation="eager"), spread)


def distances(model, attention):
    """What `positions` of `Layer` gives: what the queries and keys of distances add to the product of both."""
    config, encoder = model.config, model.deberta.encoder if hasattr(model, "deberta") else model.encoder

    def added(query, key):
        if not config.relative_attention:
            return torch.zeros(())
        with torch.no_grad():
            rows = encoder.rel_embeddings.weight
            if "layer_norm" in getattr(config, "norm_rel_ebd", "none"):
                rows = torch.nn.functional.layer_norm(
                    rows, rows.shape[1:], encoder.LayerNorm.weight, encoder.LayerNorm.bias, config.layer_norm_eps
                )
            place = torch.arange(query.shape[-2])
            apart = place[:, None] - place[None, :]
            buckets, farthest = getattr(config, "position_buckets", -1), config.max_relative_positions
            farthest = farthest if farthest > 0 else config.max_position_embeddings
            span = buckets if buckets > 0 else farthest
            if buckets > 0:
                apart = make_log_bucket_position(apart, buckets, farthest).long()
            index = (apart + span).clamp(0, 2 * span - 1)
            shared = getattr(config, "share_att_key", False)

            def by_head(projection):
                return projection(rows).unflatten(-1, (config.num_attention_heads, -1)).transpose(0, 1)

            total = torch.zeros(())
            if "c2p" in config.pos_att_type:
                keys = by_head(attention.key_proj if shared else attention.pos_key_proj)[:, index]
                total = total + torch.einsum("bnid,nijd->bnij", query, keys)
            if "p2c" in config.pos_att_type:
                queries = by_head(attention.query_proj if shared else attention.pos_query_proj)[:, index]
                total = total + torch.einsum("bnjd,nijd->bnij", key, queries)
        return total

    return added


def layers_of(model):
    encoder = model.deberta.encoder if hasattr(model, "deberta") else model.encoder
    terms = 1 + len(model.config.pos_att_type or [])
    found = []
    for block in encoder.layer:
        attention = block.attention.self
        shared = attention.relative_attention and attention.share_att_key
        found.append(
            Layer(
                block.attention.output.dense, block.output.dense, attention.num_attention_heads,
                1 / math.sqrt(attention.attention_head_size * terms), query=attention.query_proj, key=attention.key_proj,
                value=attention.value_proj, inner=True, masked=True, causal=False, blind=True, again=shared,
                positions=distances(model, attention),
            )
        )  # fmt: skip
    return found


def inputs_of(segments=False, equal=False):
    """Texts of 14, 6 and 9 tokens: single, single, pair. [CLS] 1, [SEP] 2, [PAD] 0."""
    draw = rng("deberta inputs")
    counts = [(6, 0), (6, 0), (2, 3)] if equal else [(12, 0), (4, 0), (3, 3)]
    ids = np.zeros((3, 8 if equal else 14), np.int64)
    types = np.zeros_like(ids)
    for row, (first, second) in enumerate(counts):
        text = [1, *draw.integers(5, 60, first), 2]
        pair = [*draw.integers(5, 60, second), 2] if second else []
        ids[row, : len(text) + len(pair)] = [*text, *pair]
        types[row, len(text) : len(text) + len(pair)] = 1
    arrays = dict(input_ids=ids, attention_mask=(ids != 0).astype(np.int64))
    if equal:
        ids[2] = np.where(ids[2] == 0, 7, ids[2])
        arrays["attention_mask"][:] = 1
    if segments:
        arrays["token_type_ids"] = types
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def studied(model, inputs, labels, loss_of, full):
    layers = layers_of(model)
    watched = dict(pooled=(model.dropout, "input")) if hasattr(model, "pooler") else {}
    if "start_positions" in labels:
        watched["logits"] = (model.qa_outputs, "output")
    return studied_alike(model, layers, inputs, labels, loss_of, full, watched)


def write(out, name, model, inputs, labels=None, loss_of=None, full=False):
    model.save_pretrained(out / name)
    write_golden(out / name, studied(model, inputs, labels or {}, loss_of, full), __file__)


def buckets():
    """The row for each distance from query to key, for DeBERTa-v3's numbers and smaller ones."""
    place = torch.arange(-1100, 1101)
    found = {}
    for count, farthest in [(256, 512), (32, 128), (6, 24), (7, 24)]:
        rows = make_log_bucket_position(place, count, farthest).long() + count
        found[f"{count}.{farthest}"] = rows.clamp(0, 2 * count - 1)
    return found


def generate(out):
    inputs = inputs_of()
    classes = torch.tensor([2, 0, 1])
    words = masked_lm_labels(inputs)

    def of_words(seen):
        return token_losses(seen["logits"], words)

    model = build(DebertaV2ForSequenceClassification, MAIN, num_labels=3, **THIRD)
    write(out, "deberta", model, inputs, dict(labels=classes), lambda seen: class_loss(seen["logits"], classes), True)
    save_file(buckets(), out / "deberta/buckets.safetensors")
    # Maps of their own, a row a distance up to 3, absolute positions and segments besides.
    tokens = words.where(words < 0, words % 5)
    model = build(
        DebertaV2ForTokenClassification, SMALL, num_labels=5, relative_attention=True, max_relative_positions=3,
        pos_att_type=["c2p", "p2c"], type_vocab_size=2, hidden_act="relu",
    )  # fmt: skip
    write(
        out, "deberta-tokens", model, inputs_of(segments=True), dict(labels=tokens),
        lambda seen: token_losses(seen["logits"], tokens), True,
    )  # fmt: skip
    # One term alone, with maps of its own, and with those of tokens.
    model = build(DebertaV2ForMaskedLM, SMALL, **{**THIRD, "share_att_key": False, "pos_att_type": "c2p"})
    write(out, "deberta-mlm", model, inputs, dict(labels=words), of_words)
    model = build(
        DebertaV2ForMaskedLM, SMALL, legacy=False, tie_word_embeddings=False, **{**THIRD, "pos_att_type": "p2c"}
    )
    write(out, "deberta-renamed-mlm", model, inputs, dict(labels=words), of_words)
    # Without distances; the scores are scaled as if there were a term.
    equal = inputs_of(equal=True)
    starts, ends = torch.tensor([2, 0, 5]), torch.tensor([3, 6, 5])

    def of_answers(seen):
        sides = [class_loss(seen["logits"][..., side], place) for side, place in enumerate((starts, ends))]
        return sum(sides) / 2

    model = build(DebertaV2ForQuestionAnswering, SMALL, pos_att_type=["c2p"])
    write(out, "deberta-answers", model, equal, dict(start_positions=starts, end_positions=ends), of_answers)
    write(out, "deberta-bare", build(DebertaV2Model, SMALL, **{**THIRD, "norm_rel_ebd": "none"}), inputs)


if __name__ == "__main__":
    sys.exit(command(__doc__, generate))
