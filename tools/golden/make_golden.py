#!/usr/bin/env python3
"""Write the engine's golden files: small random checkpoints and what transformers computes on them.

Every folder holds a genuine checkpoint (`save_pretrained`) and `golden.safetensors` with the inputs,
the activations and the gradients at the engine's sites, in float32 with eager attention and dropout off.
README.md beside this file lists the tensor names.

    make_golden.py            write all folders
    make_golden.py --check    make them again in a temporary directory and compare with the committed ones
"""

import json
import math
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertForSequenceClassification,
    BertModel,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
    RobertaModel,
)
from transformers.models.roberta.modeling_roberta import create_position_ids_from_input_ids

from capture import (
    IGNORED,
    KEPT_IN_SHORT_VARIANTS,
    PRUNED,
    Layer,
    class_loss,
    command,
    head_masks,
    masked_lm_labels,
    own_loss_agrees,
    rng,
    run,
    token_losses,
    write_golden,
)

# ---------------------------------------------------------------- models and inputs


def randomise(model):
    """Weights large enough that attention is far from uniform and every bias and norm matters.

    Multiplied in double precision, which that of `capture` is not: the committed weights have these last bits.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = rng("weight", name).standard_normal(tuple(parameter.shape))
            if "LayerNorm.weight" in name or "layer_norm.weight" in name:
                value = 1.0 + 0.3 * noise
            elif name.endswith("embeddings.weight"):
                value = 0.8 * noise
            elif "distance_embedding" in name:
                value = 0.4 * noise
            else:
                value = 0.3 * noise
            parameter.copy_(torch.from_numpy(value.astype(np.float32)))
    return model.eval()


MAIN = dict(vocab_size=60, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48)
SMALL = dict(vocab_size=60, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40)


def bert_config(shape, **more):
    return BertConfig(**{**shape, "max_position_embeddings": 24, "type_vocab_size": 2, **more})


def roberta_config(shape, **more):
    fixed = dict(
        max_position_embeddings=26,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    return RobertaConfig(**{**shape, **fixed, **more})


def bert_inputs():
    """Four texts of 8, 5, 7 and 4 tokens: pair, single, pair, single. [CLS] 2, [SEP] 3, [PAD] 0."""
    draw = rng("bert inputs")
    ids = np.zeros((4, 8), np.int64)
    types = np.zeros((4, 8), np.int64)
    for row, (first, second) in enumerate([(3, 2), (3, 0), (1, 3), (2, 0)]):
        text = [2, *draw.integers(5, 60, first), 3]
        pair = [*draw.integers(5, 60, second), 3] if second else []
        ids[row, : len(text) + len(pair)] = [*text, *pair]
        types[row, len(text) : len(text) + len(pair)] = 1
    return as_inputs(ids, ids != 0, types)


def roberta_inputs():
    """The same lengths; a pair is <s> a </s></s> b </s>. <s> 0, </s> 2, <pad> 1, no segments."""
    draw = rng("roberta inputs")
    ids = np.full((4, 8), 1, np.int64)
    for row, (first, second) in enumerate([(2, 2), (3, 0), (1, 2), (2, 0)]):
        text = [0, *draw.integers(5, 60, first), 2]
        pair = [2, *draw.integers(5, 60, second), 2] if second else []
        ids[row, : len(text) + len(pair)] = [*text, *pair]
    return as_inputs(ids, ids != 1, np.zeros_like(ids))


def as_inputs(ids, attended, types):
    arrays = dict(input_ids=ids, attention_mask=attended.astype(np.int64), token_type_ids=types)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


# ---------------------------------------------------------------- losses per example


def labelled(labels):
    """How many labelled positions each example has: its weight in a loss that is a mean over all of them."""
    counts = (labels != IGNORED).sum(1)
    assert len(set(counts.tolist())) > 1, "the example should tell the two averages apart"
    return counts.float()


def regression_loss(logits, labels):
    return (logits[:, 0] - labels) ** 2


# ---------------------------------------------------------------- where the sites are


def relative_positions(attention):
    """What relative positions add to the scores of a layer, or None where positions are absolute."""
    kind = attention.position_embedding_type
    if kind == "absolute":
        return None

    def added(query, key):
        place = torch.arange(query.shape[2])
        distance = place[:, None] - place[None, :] + attention.max_position_embeddings - 1
        embedded = attention.distance_embedding(distance)
        scores = torch.einsum("bhld,lrd->bhlr", query, embedded)
        if kind == "relative_key_query":
            scores = scores + torch.einsum("bhrd,lrd->bhlr", key, embedded)
        return scores

    return added


def layers_of(model):
    found = []
    for block in model.base_model.encoder.layer:
        attention = block.attention.self
        scale = 1 / math.sqrt(attention.attention_head_size)
        linear = dict(query=attention.query, key=attention.key, value=attention.value)
        found.append(
            Layer(
                block.attention.output.dense, block.output.dense, attention.num_attention_heads, scale,
                positions=relative_positions(attention), **linear,
            )
        )  # fmt: skip
    return found


def pooled(model):
    """Where the vector of a text is that its head reads, if it has one."""
    if model.base_model.pooler is not None:
        return dict(pooled=(model.base_model.pooler, "output"))
    if isinstance(model, RobertaForSequenceClassification):
        return dict(pooled=(model.classifier.out_proj, "input"))
    return {}


# ---------------------------------------------------------------- files


def studied(model, inputs, labels, loss_of, weights, full, layers, watched):
    """Values of a model: with gradients and three head masks when `full`, else those under the mask of ones.

    `labels` are what the model is called with; `weights` is what an example counts in the model's own loss, or None
    where no weights give it; `layers` and `watched` say where the sites are.
    """
    tensors = {**inputs, **(labels or {})}
    shape = (len(layers), layers[0].heads)
    for variant, mask in head_masks(*shape).items() if full else [("ones", torch.ones(shape))]:
        result = run(model, inputs, mask, loss_of, layers, watched)
        if weights is not None:
            own_loss_agrees(model, inputs, result, labels["labels"], weights)
        for site, tensor in result.items():
            if variant != "ones" and not site.startswith(KEPT_IN_SHORT_VARIANTS):
                continue
            if not full and site.startswith("grad."):
                continue
            tensors[f"{variant}.{site}"] = tensor
    return tensors


def write_studied(out, name, model, inputs, labels=None, loss_of=None, weights=None, full=False):
    """A checkpoint and its values, as `studied` has them."""
    folder = out / name
    model.save_pretrained(folder)
    tensors = studied(model, inputs, labels, loss_of, weights, full, layers_of(model), pooled(model))
    if isinstance(model.config, RobertaConfig):
        ids = torch.tensor([[0, 5, 6, 1, 7, 2, 1, 1]])
        tensors["position_ids_example.input_ids"] = ids
        tensors["position_ids_example.position_ids"] = create_position_ids_from_input_ids(ids, 1)
    write_golden(folder, tensors, __file__)


def plain_run(model, inputs, with_states=False):
    with torch.no_grad():
        output = model(**inputs, output_hidden_states=True)
    tensors = {**inputs, "ones.logits": output.logits}
    if with_states:
        tensors.update({f"ones.hidden_states.{i}": state for i, state in enumerate(output.hidden_states)})
    return tensors


def write_pruned(out, name, model, inputs):
    """`prune_heads` as transformers does it; the result must equal the masked full model."""
    mask = torch.ones(model.config.num_hidden_layers, model.config.num_attention_heads)
    for layer, heads in PRUNED.items():
        mask[layer, heads] = 0.0
    with torch.no_grad():
        masked = model(**inputs, head_mask=mask).logits
    model.prune_heads(PRUNED)
    tensors = plain_run(model, inputs, with_states=True)
    torch.testing.assert_close(tensors["ones.logits"], masked, rtol=0, atol=2e-5)
    model.save_pretrained(out / name)
    write_golden(out / name, tensors, __file__)


def write_storage_variants(out, make, inputs):
    """One set of weights in every storage form that checkpoints are found in."""
    reference = plain_run(make(), inputs)

    def finish(folder, tensors=reference, loadable=True):
        write_golden(folder, tensors, __file__)
        if loadable:
            again = type(make()).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
            torch.testing.assert_close(
                plain_run(again, inputs)["ones.logits"], tensors["ones.logits"], rtol=0, atol=1e-6
            )

    def config_only(name):
        folder = out / name
        folder.mkdir()
        make().config.save_pretrained(folder)
        config = json.loads((folder / "config.json").read_text())
        config["architectures"] = ["BertForSequenceClassification"]
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        return folder

    make().save_pretrained(out / "bert-sharded", max_shard_size=40_000)
    finish(out / "bert-sharded")

    make().save_pretrained(out / "bert-bin-sharded", max_shard_size=40_000, safe_serialization=False)
    finish(out / "bert-bin-sharded")

    folder = config_only("bert-bin")
    torch.save(make().state_dict(), folder / "pytorch_model.bin")
    finish(folder)

    # The format before PyTorch 1.6; one weight lies turned round in its storage.
    folder = config_only("bert-bin-legacy")
    state = make().state_dict()
    turned = "bert.encoder.layer.0.intermediate.dense.weight"
    state[turned] = state[turned].t().contiguous().t()
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    finish(folder)

    folder = config_only("bert-legacy-names")
    old = {}
    for name, tensor in make().state_dict().items():
        old[name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")] = tensor
    old["bert.embeddings.position_ids"] = torch.arange(24)[None, :]
    torch.save(old, folder / "pytorch_model.bin")
    finish(folder)

    folder = config_only("bert-noprefix")
    bare = {name.removeprefix("bert."): tensor for name, tensor in make().state_dict().items()}
    save_file(bare, folder / "model.safetensors", metadata={"format": "pt"})
    finish(folder, loadable=False)  # transformers refuses a classifier beside names without the prefix

    for name, dtype in [("bert-f16", torch.float16), ("bert-bf16", torch.bfloat16)]:
        model = make().to(dtype)
        model.save_pretrained(out / name)
        # The golden logits are what float32 arithmetic makes of the rounded weights.
        finish(out / name, plain_run(model.float(), inputs))


def generate(out):
    eager = dict(attn_implementation="eager")
    bert, roberta = bert_inputs(), roberta_inputs()
    classes = torch.tensor([2, 0, 1, 1])
    binary = torch.tensor([1, 0, 0, 1])

    def classification(out_name, model, inputs, labels, full):
        write_studied(
            out, out_name, model, inputs, dict(labels=labels),
            lambda seen: class_loss(seen["logits"], labels), torch.ones(4), full,
        )  # fmt: skip

    def classifier(position_type):
        config = bert_config(MAIN, num_labels=3, position_embedding_type=position_type)
        return randomise(BertForSequenceClassification._from_config(config, **eager))

    def roberta_classifier():
        return randomise(RobertaForSequenceClassification._from_config(roberta_config(MAIN, num_labels=2), **eager))

    classification("bert-absolute", classifier("absolute"), bert, classes, True)
    classification("bert-relative-key", classifier("relative_key"), bert, classes, True)
    classification("bert-relative-key-query", classifier("relative_key_query"), bert, classes, True)
    classification("roberta", roberta_classifier(), roberta, binary, True)

    # The other heads, each with one mask; three activations besides gelu among them.
    config = bert_config(SMALL, num_labels=1, problem_type="regression", hidden_act="relu")
    scores = torch.tensor([2.5, -0.5, 4.0, 1.25])
    write_studied(
        out, "bert-regression", randomise(BertForSequenceClassification._from_config(config, **eager)), bert,
        dict(labels=scores), lambda seen: regression_loss(seen["logits"], scores), torch.ones(4),
    )  # fmt: skip

    for name, model, inputs in [
        ("bert-mlm", BertForMaskedLM._from_config(bert_config(SMALL, hidden_act="gelu_new"), **eager), bert),
        ("roberta-mlm", RobertaForMaskedLM._from_config(roberta_config(SMALL), **eager), roberta),
    ]:
        words = masked_lm_labels(inputs)
        write_studied(
            out, name, randomise(model), inputs, dict(labels=words),
            lambda seen, words=words: token_losses(seen["logits"], words), labelled(words),
        )  # fmt: skip

    model = randomise(BertForNextSentencePrediction._from_config(bert_config(SMALL, hidden_act="silu"), **eager))
    classification("bert-nsp", model, bert, binary, False)

    words = masked_lm_labels(bert)
    write_studied(
        out, "bert-pretraining", randomise(BertForPreTraining._from_config(bert_config(SMALL), **eager)), bert,
        dict(labels=words, next_sentence_label=binary),
        lambda seen: token_losses(seen["logits"], words) + class_loss(seen["seq_relationship_logits"], binary),
    )  # fmt: skip

    for name, model, inputs in [
        ("bert-bare", BertModel._from_config(bert_config(SMALL), **eager), bert),
        ("roberta-bare", RobertaModel._from_config(roberta_config(SMALL, hidden_act="relu"), **eager), roberta),
    ]:
        write_studied(out, name, randomise(model), inputs)

    write_pruned(out, "bert-absolute-pruned", classifier("absolute"), bert)
    write_pruned(out, "roberta-pruned", roberta_classifier(), roberta)
    write_storage_variants(out, lambda: classifier("absolute"), bert)


if __name__ == "__main__":
    sys.exit(command(__doc__, generate))
