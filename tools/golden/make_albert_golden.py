#!/usr/bin/env python3
"""Write the golden files of ALBERT: classifiers of texts and of tokens, masked words, both of its first tasks, answers, and
the bare encoder.

The format is that of make_golden.py; README.md beside this file lists the folders and the tensor names. Its layers share their
weights, and the head mask of its class is that of the first layer of a group in all of them; so what the output projection
reads is multiplied by the mask here, layer by layer.

    make_albert_golden.py            write all folders
    make_albert_golden.py --check    make them again in a temporary directory and compare with the committed ones
"""

import math
import sys

import torch
from capture import IGNORED, Layer, answer_losses, command, randomise, studied_alike, token_losses, write_golden
from make_family_golden import token_labels
from make_golden import MAIN, SMALL, bert_inputs, class_loss, masked_lm_labels, plain_run
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    AlbertForPreTraining,
    AlbertForQuestionAnswering,
    AlbertForSequenceClassification,
    AlbertForTokenClassification,
    AlbertModel,
)


def build(kind, shape, embedding_size, wide=0.3, **more):
    def spread(name):
        return 0.8 if name.split(".")[-2].endswith("embeddings") else wide

    config = AlbertConfig(**{**shape, "embedding_size": embedding_size, "max_position_embeddings": 24, **more})
    return randomise(kind._from_config(config, attn_implementation="eager"), spread)


def blocks_of(model):
    """The block of every layer, in their order; some occur again."""
    config, encoder = model.config, model.base_model.encoder
    found = []
    for i in range(config.num_hidden_layers):
        group = int(i / (config.num_hidden_layers / config.num_hidden_groups))
        found.extend(encoder.albert_layer_groups[group].albert_layers)
    return found


def layers_of(model):
    def layer(block):
        attention = block.attention
        scale = 1 / math.sqrt(attention.attention_head_size)
        linear = dict(query=attention.query, key=attention.key, value=attention.value)
        return Layer(
            attention.dense, block.ffn_output, attention.num_attention_heads, scale, inner=True, masked=True, **linear
        )  # fmt: skip

    return [layer(block) for block in blocks_of(model)]


def studied(model, inputs, labels, loss_of, full, watched):
    """As in make_golden.py. Hidden states are those behind every block, not every group of blocks alone."""
    layers = layers_of(model)
    states = {f"hidden_states.{i + 1}": (b.full_layer_layer_norm, "output") for i, b in enumerate(blocks_of(model))}
    return studied_alike(model, layers, inputs, labels, loss_of, full, {**states, **watched}, states=False)


def write(out, name, model, labels=None, loss_of=None, full=False, watched=None):
    model.save_pretrained(out / name)
    given = {} if labels is None else dict(labels=labels)
    write_golden(out / name, studied(model, bert_inputs(), given, loss_of, full, watched or {}), __file__)


def write_pruned(out, name, model):
    """The class counts blocks, not layers: what goes from one goes from every layer that has it."""
    gone = {0: [0, 2]}
    model.prune_heads(gone)
    tensors = plain_run(model, bert_inputs(), with_states=True)
    model.save_pretrained(out / name)
    again = type(model).from_pretrained(out / name, attn_implementation="eager").eval()
    with torch.no_grad():
        torch.testing.assert_close(again(**bert_inputs()).logits, tensors["ones.logits"], rtol=0, atol=1e-6)
    write_golden(out / name, tensors, __file__)


def write_spans(out, name, model):
    """Texts without padding, which would take part in the softmax over positions."""
    inputs = {site: tensor[:1].repeat(3, 1) for site, tensor in bert_inputs().items()}
    inputs["input_ids"] = (inputs["input_ids"] + torch.tensor([[0], [7], [19]])) % 55 + 5
    starts, ends = torch.tensor([1, 2, 0]), torch.tensor([4, 2, 7])

    model.save_pretrained(out / name)
    labels = dict(start_positions=starts, end_positions=ends)
    watched = dict(answers=(model.qa_outputs, "output"))
    tensors = studied(
        model, inputs, labels, lambda seen: answer_losses(seen["answers"], starts, ends), False, watched
    )  # fmt: skip
    tensors["ones.logits"] = tensors.pop("ones.answers")
    with torch.no_grad():
        own = model(**inputs, **labels).loss
    torch.testing.assert_close(own, tensors["ones.loss"].mean(), rtol=1e-5, atol=1e-5)
    write_golden(out / name, tensors, __file__)


def write_pretraining(out, name, model):
    """Words and whether two texts stand in their order; the labels of the latter have the name that BERT's have."""
    inputs, order = bert_inputs(), torch.tensor([1, 0, 0, 1])
    words = masked_lm_labels(inputs)

    def loss_of(seen):
        return token_losses(seen["logits"], words) + class_loss(seen["order"], order)

    model.save_pretrained(out / name)
    watched = dict(order=(model.sop_classifier, "output"), pooled=(model.sop_classifier, "input"))
    tensors = studied(model, inputs, {}, loss_of, False, watched)
    tensors["ones.seq_relationship_logits"] = tensors.pop("ones.order")
    tensors.update(labels=words, next_sentence_label=order)
    with torch.no_grad():
        own = model(**inputs, labels=words, sentence_order_label=order).loss
    counts = (words != IGNORED).sum(1).float()
    mine = (token_losses(tensors["ones.logits"], words) * counts).sum() / counts.sum()
    both = mine + class_loss(tensors["ones.seq_relationship_logits"], order).mean()
    torch.testing.assert_close(own, both, rtol=1e-5, atol=1e-5)
    write_golden(out / name, tensors, __file__)


def generate(out):
    inputs, classes = bert_inputs(), torch.tensor([2, 0, 1, 1])

    def classifier():
        return build(AlbertForSequenceClassification, MAIN, 20, num_labels=3)

    model = classifier()
    write(
        out, "albert", model, classes, lambda seen: class_loss(seen["logits"], classes), True,
        dict(pooled=(model.classifier, "input")),
    )  # fmt: skip
    write_pruned(out, "albert-pruned", classifier())
    words = masked_lm_labels(inputs)
    write(
        out, "albert-mlm", build(AlbertForMaskedLM, SMALL, 16, hidden_act="silu"), words,
        lambda seen: token_losses(seen["logits"], words),
    )  # fmt: skip
    write_pretraining(out, "albert-pretraining", build(AlbertForPreTraining, SMALL, 16))
    # Two groups of two blocks each, which are run twice: eight layers, through which tokens are to stay apart.
    tags = token_labels(inputs, 5)
    groups = dict(SMALL, num_hidden_layers=4, num_hidden_groups=2, inner_group_num=2)
    write(
        out, "albert-groups-tokens", build(AlbertForTokenClassification, groups, 16, wide=0.12, num_labels=5), tags,
        lambda seen: token_losses(seen["logits"], tags), True,
    )  # fmt: skip
    write_spans(out, "albert-answers", build(AlbertForQuestionAnswering, SMALL, 16))
    # The map from embeddings to the residual stream is there although their widths are the same.
    model = build(AlbertModel, SMALL, 24, hidden_act="relu")
    write(out, "albert-bare", model, watched=dict(pooled=(model.pooler_activation, "output")))


if __name__ == "__main__":
    sys.exit(command(__doc__, generate))
