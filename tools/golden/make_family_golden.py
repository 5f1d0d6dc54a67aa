#!/usr/bin/env python3
"""Write the golden files of ELECTRA, of the families that differ from RoBERTa by name, and of heads on single tokens.

The format is that of make_golden.py; README.md beside this file lists the folders and the tensor names.

    make_family_golden.py            write all folders
    make_family_golden.py --check    make them again in a temporary directory and compare with the committed ones
"""

import sys

import torch
from transformers import (
    BertForQuestionAnswering,
    BertForTokenClassification,
    CamembertConfig,
    CamembertForMaskedLM,
    DistilBertForQuestionAnswering,
    ElectraConfig,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    ElectraForSequenceClassification,
    ElectraForTokenClassification,
    ElectraModel,
    RobertaForTokenClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

import make_distilbert_golden as distilbert
from capture import IGNORED, command, rng, token_losses, write_golden
from make_golden import (
    MAIN,
    SMALL,
    bert_config,
    bert_inputs,
    class_loss,
    labelled,
    layers_of,
    masked_lm_labels,
    randomise,
    roberta_config,
    roberta_inputs,
    studied,
    write_pruned,
)

EAGER = dict(attn_implementation="eager")


def build(kind, config):
    return randomise(kind._from_config(config, **EAGER))


def electra(shape, embedding_size, **more):
    return ElectraConfig(
        **{**shape, "embedding_size": embedding_size, "max_position_embeddings": 24, "type_vocab_size": 2, **more}
    )


def like_roberta(kind, shape, **more):
    """RoBERTa's settings in the config class of another family."""
    settings = roberta_config(shape, **more).to_dict()
    return kind(**{k: v for k, v in settings.items() if k not in ("model_type", "architectures")})


def write(out, name, model, inputs, labels=None, loss_of=None, weights=None, watched=None, full=False, layers=layers_of):
    """A checkpoint and its values, as `studied` has them."""
    model.save_pretrained(out / name)
    tensors = studied(model, inputs, labels, loss_of, weights, full, layers(model), watched)
    write_golden(out / name, tensors, __file__)


def token_labels(inputs, classes):
    """A class at every position but the first and the last of a text, which are ignored as padding is."""
    draw = rng("token labels", classes)
    labels = torch.full_like(inputs["input_ids"], IGNORED)
    for row, length in enumerate(inputs["attention_mask"].sum(1).tolist()):
        labels[row, 1 : length - 1] = torch.from_numpy(draw.integers(0, classes, length - 2))
    return labels


def replaced(inputs):
    """0 or 1 at every position that is not padding."""
    draw = rng("replaced tokens")
    drawn = torch.from_numpy(draw.integers(0, 2, tuple(inputs["input_ids"].shape)))
    return torch.where(inputs["attention_mask"] == 1, drawn, torch.full_like(drawn, IGNORED))


def replaced_losses(logits, labels):
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels.float(), reduction="none")
    counted = labels != IGNORED
    return (each * counted).sum(1) / counted.sum(1)


def write_spans(out, name, model, inputs, layers=layers_of):
    """Starts and ends of answers. A softmax over a padded text has the padding in it: every text alone, not padded."""
    model.save_pretrained(out / name)
    starts, ends = torch.tensor([1, 2, 3, 0]), torch.tensor([4, 2, 5, 3])
    tensors = dict(inputs, start_positions=starts, end_positions=ends)
    found, losses, gradients = torch.zeros(4, 8, 2), [], []
    where = layers(model)
    for row, length in enumerate(inputs["attention_mask"].sum(1).tolist()):
        one = {name: tensor[row : row + 1, :length] for name, tensor in inputs.items()}
        mask = torch.ones(len(where), where[0].heads, requires_grad=True)
        output = model(
            **one, head_mask=mask, start_positions=starts[row : row + 1], end_positions=ends[row : row + 1]
        )  # fmt: skip
        found[row, :length] = torch.stack([output.start_logits[0], output.end_logits[0]], -1).detach()
        losses.append(output.loss.detach())
        gradients.append(torch.autograd.grad(output.loss, mask)[0])
    tensors.update({"ones.logits": found, "ones.loss": torch.stack(losses), "ones.mask_grad": torch.stack(gradients)})
    write_golden(out / name, tensors, __file__)


def generate(out):
    bert, roberta = bert_inputs(), roberta_inputs()
    classes, binary = torch.tensor([2, 0, 1, 1]), torch.tensor([1, 0, 0, 1])
    plain = {name: tensor for name, tensor in bert.items() if name != "token_type_ids"}

    def classifier():
        return build(ElectraForSequenceClassification, electra(MAIN, 20, num_labels=3))

    def classification(name, model, inputs, labels, **more):
        write(
            out, name, model, inputs, dict(labels=labels), lambda seen: class_loss(seen["logits"], labels),
            torch.ones(4), watched=dict(pooled=(model.classifier.out_proj, "input")), **more,
        )  # fmt: skip

    classification("electra", classifier(), bert, classes, full=True)
    write_pruned(out, "electra-pruned", classifier(), bert)
    write(out, "electra-bare", build(ElectraModel, electra(SMALL, 24, hidden_act="relu")), bert)

    words = masked_lm_labels(bert)
    write(
        out, "electra-generator", build(ElectraForMaskedLM, electra(SMALL, 16, hidden_act="silu")), bert,
        dict(labels=words), lambda seen: token_losses(seen["logits"], words), labelled(words),
    )  # fmt: skip
    wrong = replaced(bert)
    write(
        out, "electra-discriminator", build(ElectraForPreTraining, electra(SMALL, 16, hidden_act="silu")), bert,
        dict(labels=wrong), lambda seen: replaced_losses(seen["logits"], wrong), labelled(wrong), full=True,
    )  # fmt: skip

    config = like_roberta(XLMRobertaConfig, SMALL, num_labels=2)
    classification("xlm-roberta", build(XLMRobertaForSequenceClassification, config), roberta, binary)
    words = masked_lm_labels(roberta)
    write(
        out, "camembert-mlm", build(CamembertForMaskedLM, like_roberta(CamembertConfig, SMALL)), roberta,
        dict(labels=words), lambda seen, words=words: token_losses(seen["logits"], words), labelled(words),
    )  # fmt: skip

    for name, kind, config, inputs in [
        ("bert-tokens", BertForTokenClassification, bert_config(SMALL, num_labels=5), bert),
        ("roberta-tokens", RobertaForTokenClassification, roberta_config(SMALL, num_labels=5), roberta),
        ("electra-tokens", ElectraForTokenClassification, electra(SMALL, 24, num_labels=5), bert),
    ]:
        tags = token_labels(inputs, 5)
        write(
            out, name, build(kind, config), inputs, dict(labels=tags),
            lambda seen, tags=tags: token_losses(seen["logits"], tags), labelled(tags), full=name == "bert-tokens",
        )  # fmt: skip
    write_spans(out, "bert-answers", build(BertForQuestionAnswering, bert_config(SMALL)), bert)
    model = distilbert.build(DistilBertForQuestionAnswering, distilbert.SMALL)
    write_spans(out, "distilbert-answers", model, plain, distilbert.layers_of)


if __name__ == "__main__":
    sys.exit(command(__doc__, generate))
