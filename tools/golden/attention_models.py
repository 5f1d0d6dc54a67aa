"""What the references of the attention analyses need of transformers: sequences of tokens, and their maps.

float32, eager attention, dropout off, one sequence at a time; the maps come out in float64.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

import attention_reference as reference

CAUSAL = ("gpt2", "openai-gpt")


@dataclass
class Passage:
    """A sequence: its ids, and where it comes from words, the units and which of them are the words."""

    ids: list
    units: list | None = None
    words: list | None = None

    @property
    def empty(self):
        return [not self.units[word] for word in self.words]

    @property
    def unit_of_token(self):
        owner = np.full(len(self.ids), -1)
        for unit, tokens in enumerate(self.units):
            owner[tokens] = unit
        return owner


class Model:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        assert self.tokenizer.is_fast
        self.model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        self.model.requires_grad_(False)
        config = self.model.config
        self.layers, self.heads = config.num_hidden_layers, config.num_attention_heads
        self.longest = config.max_position_embeddings

    @property
    def is_causal(self):
        return json.loads((self.folder / "config.json").read_text())["model_type"] in CAUSAL

    @property
    def specials(self):
        """The ids of [CLS] and [SEP] (RoBERTa: <s> and </s>), or nothing."""
        return (None, None) if self.is_causal else (self.tokenizer.cls_token_id, self.tokenizer.sep_token_id)

    @property
    def punctuation(self):
        """Ids of the tokens that are `.` or `,` and nothing else, a mark of word starts or word ends aside."""
        bare = {}
        for token, i in self.tokenizer.get_vocab().items():
            bare[i] = token.removesuffix("</w>").removeprefix("Ġ").removeprefix("▁")
        return sorted(i for i, token in bare.items() if token in (".", ","))

    def classes(self, ids):
        cls, sep = self.specials
        return reference.token_classes(ids, cls, sep, self.punctuation, self.is_causal)

    def text(self, text):
        return Passage(self.tokenizer(text)["input_ids"])

    def words(self, forms):
        """Words joined by single spaces."""
        encoded = self.tokenizer(" ".join(forms), return_offsets_mapping=True, return_special_tokens_mask=True)
        special = [bool(mark) for mark in encoded["special_tokens_mask"]]
        return Passage(encoded["input_ids"], *reference.align(forms, encoded["offset_mapping"], special))

    def maps(self, ids):
        """`[layers * heads, query, key]`, layer by layer."""
        output = self.model(input_ids=torch.tensor([ids]), output_attentions=True)
        return torch.cat([layer[0] for layer in output.attentions]).numpy().astype(np.float64)


def gradients(folder, ids, label=None):
    """Loss and dL/dalpha `[layers * heads, query, key]`, with alpha, the softmax, as a leaf.

    With a label the cross-entropy of the sequence's class; without one the mean cross-entropy of every next token.
    """
    kind = AutoModelForCausalLM if label is None else AutoModelForSequenceClassification
    model = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    output = model(input_ids=torch.tensor([ids]), output_attentions=True)
    for layer in output.attentions:
        layer.retain_grad()
    if label is None:
        loss = torch.nn.functional.cross_entropy(output.logits[0, :-1], torch.tensor(ids[1:]))
    else:
        loss = torch.nn.functional.cross_entropy(output.logits, torch.tensor([label]))
    loss.backward()
    return loss.item(), torch.cat([layer.grad[0] for layer in output.attentions]).numpy().astype(np.float64)
