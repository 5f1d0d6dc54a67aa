#!/usr/bin/env python3
"""Write the golden files of JinaBERT: a classifier, masked words, and the bare encoder.

Its class is code that came with its files (jina-bert-implementation) and is in no version of transformers, so the block is written
here: that of transformers' BERT but for scores from which a head's slope times the distance is taken (ALiBi; Press et al. 2022, in
both directions), no positions in the embeddings, and a gated feed-forward block whose first map has no bias. Slopes follow the
rule of that code for numbers of heads that are no power of two. The format is that of make_golden.py; README.md beside this file
lists the folders and the tensor names.

    make_jinabert_golden.py            write all folders
    make_jinabert_golden.py --check    make them again in a temporary directory and compare with the committed ones
"""

import json
import math
import sys

import torch
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel

from capture import Layer, command, randomise, rewrite, token_losses, write_golden
from make_golden import MAIN, SMALL, bert_inputs, class_loss, labelled, masked_lm_labels, studied


def slopes(heads):
    """`2^(-8 i / n)` for `n` heads, a power of two; else those of the next smaller one and every second of the next larger."""
    if math.log2(heads).is_integer():
        first = 2 ** (-(2 ** -(math.log2(heads) - 3)))
        return [first * first**i for i in range(heads)]
    power = 2 ** math.floor(math.log2(heads))
    return slopes(power) + slopes(2 * power)[0::2][: heads - power]


def alibi(heads, length):
    """`[heads, length, length]`."""
    place = torch.arange(length)
    return -torch.tensor(slopes(heads))[:, None, None] * (place[None] - place[:, None]).abs()[None]


class Sloped(torch.nn.Module):
    """Attention whose scores fall with the distance."""

    def __init__(self, plain):
        super().__init__()
        self.query, self.key, self.value = plain.query, plain.key, plain.value
        self.heads = plain.num_attention_heads

    def forward(self, hidden_states, attention_mask=None, head_mask=None, **_):
        query, key, value = (
            map(hidden_states).unflatten(-1, (self.heads, -1)).transpose(1, 2) for map in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        if attention_mask is not None:
            scores = scores + attention_mask
        scores = scores + alibi(self.heads, scores.shape[-1]).to(scores.dtype)
        probs = torch.nn.functional.softmax(scores, dim=-1)
        if head_mask is not None:
            probs = probs * head_mask
        return ((probs @ value).transpose(1, 2).flatten(-2), probs)


class Gated(torch.nn.Module):
    """What stands in the place of BERT's first map and its activation."""

    def __init__(self, config):
        super().__init__()
        self.gated_layers = torch.nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)

    def forward(self, hidden_states):
        activated, gate = self.gated_layers(hidden_states).chunk(2, dim=-1)
        return torch.nn.functional.gelu(activated) * gate


def refitted(model):
    """A BERT with these blocks, and without positions."""
    for layer in model.base_model.encoder.layer:
        layer.attention.self = Sloped(layer.attention.self)
        layer.intermediate = Gated(model.config)
    position = model.base_model.embeddings.position_embeddings
    position.weight = torch.nn.Parameter(torch.zeros_like(position.weight), requires_grad=False)
    return model


def build(kind, shape, **more):
    config = BertConfig(**{**shape, "max_position_embeddings": 24, "type_vocab_size": 2, **more})
    model = refitted(kind._from_config(config, attn_implementation="eager"))
    model = randomise(model, lambda name: 0.8 if name.split(".")[-2].endswith("embeddings") else 0.2)
    with torch.no_grad():
        model.base_model.embeddings.position_embeddings.weight.zero_()
    return model


def in_files(tensors):
    """Tensors under the names of files; there are no positions."""
    renames = [("intermediate.gated_layers", "mlp.gated_layers"), ("output.dense", "mlp.wo"), ("output.LayerNorm", "mlp.layernorm")]

    def renamed(name):
        if "position_embeddings" in name:
            return None
        if "attention.output" in name:
            return name
        for ours, theirs in renames:
            name = name.replace(ours, theirs)
        return name

    found = {renamed(name): tensor for name, tensor in tensors.items()}
    return {name: tensor for name, tensor in found.items() if name}


def layers_of(model):
    def layer(block):
        attention = block.attention.self
        scale = 1 / math.sqrt(attention.query.out_features // attention.heads)

        def positions(query, _key):
            # Added to the scaled scores, not to the product.
            return alibi(attention.heads, query.shape[-2]) / scale

        linear = dict(query=attention.query, key=attention.key, value=attention.value)
        return Layer(
            block.attention.output.dense, block.output.dense, attention.heads, scale, positions=positions, inner=True, **linear
        )  # fmt: skip

    return [layer(block) for block in model.base_model.encoder.layer]


def as_published(folder, model):
    """The config and the names that the code has for what lies in a folder."""
    config = json.loads((folder / "config.json").read_text())
    config.update(
        architectures=["Jina" + config["architectures"][0]], position_embedding_type="alibi", feed_forward_type="geglu",
        emb_pooler="mean", attn_implementation=None,
    )  # fmt: skip
    names = in_files({name: name for name in model.state_dict()})
    rewrite(folder, config, {ours: theirs for theirs, ours in names.items()}.get)


def write(out, name, model, labels=None, loss_of=None, weights=None, watched=None, full=False):
    """A checkpoint and its values, as `studied` has them."""
    model.save_pretrained(out / name)
    as_published(out / name, model)
    given = None if labels is None else dict(labels=labels)
    tensors = studied(model, bert_inputs(), given, loss_of, weights, full, layers_of(model), watched)
    write_golden(out / name, tensors, __file__)


def model_of(name):
    """The model of a folder."""
    if name == "jinabert":
        return build(BertForSequenceClassification, MAIN, num_labels=3)
    # So many positions that a text may be longer than a tile of queries; there is no table of them.
    return build(BertForMaskedLM, SMALL, max_position_embeddings=320)


def generate(out):
    inputs, classes = bert_inputs(), torch.tensor([2, 0, 1, 1])
    model = model_of("jinabert")
    write(
        out, "jinabert", model, classes, lambda seen: class_loss(seen["logits"], classes), torch.ones(4),
        watched=dict(pooled=(model.classifier, "input")), full=True,
    )  # fmt: skip
    words = masked_lm_labels(inputs)
    write(
        out, "jinabert-mlm", model_of("jinabert-mlm"), words, lambda seen: token_losses(seen["logits"], words), labelled(words),
        full=True,
    )  # fmt: skip
    model = build(BertModel, dict(SMALL, num_attention_heads=6))
    write(out, "jinabert-bare", model, watched=dict(pooled=(model.pooler.activation, "output")))


if __name__ == "__main__":
    sys.exit(command(__doc__, generate))
