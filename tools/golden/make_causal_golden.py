#!/usr/bin/env python3
"""Write the golden files of OpenAI GPT and GPT-2: classifiers, language models, and their many variants.

The format is that of make_golden.py; README.md beside this file lists the folders and the tensor names.

    make_causal_golden.py            write all folders
    make_causal_golden.py --check    make them again in a temporary directory and compare with the committed ones
"""

import math
import sys

import torch
from safetensors.torch import save_file
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    GPT2Model,
    OpenAIGPTConfig,
    OpenAIGPTForSequenceClassification,
    OpenAIGPTLMHeadModel,
    OpenAIGPTModel,
)

from capture import (
    IGNORED,
    PRUNED,
    Layer,
    command,
    head_masks,
    own_loss_agrees,
    randomise,
    rng,
    run,
    token_losses,
    write_golden,
)

MAIN = dict(vocab_size=60, n_positions=16, n_embd=32, n_layer=3, n_head=4)
NARROW = dict(vocab_size=60, n_positions=16, n_embd=24, n_layer=3, n_head=4)
SMALL = dict(vocab_size=60, n_positions=16, n_embd=18, n_layer=2, n_head=3)
# Where the config names one: GPT-2 closes its texts with the id it pads with, as is usual there.
PAD = {"gpt2": 59, "openai-gpt": 3}
LENGTHS = (8, 5, 7, 4)

KEPT_IN_SHORT_VARIANTS = (
    "head_mask",
    "hidden_states.",
    "last_residual",
    "attention_probs.",
    "head_output.",
    "logits",
    "loss",
    "mask_grad",
    "grad.hidden_states.",
    "grad.last_residual",
)
# What the variants of the language model keep: enough to find where an option acts.
KEPT_IN_OPTIONS = (
    "head_mask",
    "hidden_states.",
    "last_residual",
    "attention_scores.",
    "attention_probs.",
    "logits",
    "loss",
    "mask_grad",
)


def gpt2_config(shape, **more):
    return GPT2Config(**{**shape, "bos_token_id": 59, "eos_token_id": 59, **more})


def gpt_config(shape, **more):
    return OpenAIGPTConfig(**{**shape, **more})


def build(kind, config, attention=1.0):
    """A random model; `attention` makes the fused projection smaller or larger."""

    # GPT-2 has no norm that would shrink what its residual stream adds up.
    added = 0.5 if config.model_type == "gpt2" else 1.0

    def spread(name):
        owner = name.split(".")[-2]
        if owner in ("wte", "tokens_embed"):
            return 0.5
        if owner in ("wpe", "positions_embed"):
            return 0.8
        if owner == "c_attn":
            return 0.3 * attention
        if owner == "c_proj":
            return (0.2 if "mlp" in name else 0.3) * added
        return 0.3

    return randomise(kind._from_config(config, attn_implementation="eager"), spread)


def layers_of(model):
    found = []
    for i, block in enumerate(model.base_model.h):
        attention = block.attn
        heads = getattr(attention, "num_heads", None) or attention.n_head
        scale = 1 / math.sqrt(attention.split_size // heads)
        if isinstance(model.config, GPT2Config):
            scale = scale if model.config.scale_attn_weights else 1.0
            scale /= i + 1 if model.config.scale_attn_by_inverse_layer_idx else 1
        found.append(Layer(attention.c_proj, block.mlp.c_proj, heads, scale, fused=attention.c_attn))
    return found


# ---------------------------------------------------------------- inputs and targets


def texts(pad):
    """Four texts of 8, 5, 7 and 4 tokens. The pad id stands inside the second and at the end of the fourth."""
    draw = rng("causal inputs")
    rows = [draw.integers(5, 59, length).tolist() for length in LENGTHS]
    rows[1][2] = pad
    rows[3][3] = pad
    return rows


def padded(rows, fill, left=False):
    width = max(map(len, rows))
    blanks = [[fill] * (width - len(row)) for row in rows]
    return torch.tensor([b + r if left else r + b for r, b in zip(rows, blanks)])


def as_inputs(rows, pad, left=False):
    attended = padded([[1] * len(row) for row in rows], 0, left)
    return dict(input_ids=padded(rows, pad, left), attention_mask=attended)


def language_labels(rows, left=False):
    """(labels, targets). `labels` are the ids where they count, in transformers' convention, which shifts them
    itself; `targets[i]` is what the logits at position i should give. The first token of a text is never
    predicted, and the first four of the third text are context only."""
    labels = [[IGNORED, *row[1:]] for row in rows]
    labels[2][:4] = [IGNORED] * 4
    targets = [[*row[1:], IGNORED] for row in labels]
    return padded(labels, IGNORED, left), padded(targets, IGNORED, left)


def class_losses(logits, labels):
    return torch.nn.functional.cross_entropy(logits, labels, reduction="none")


def pool_positions(input_ids, pad):
    """The last position whose id is not the pad id."""
    places = torch.arange(input_ids.shape[1]) * (input_ids != pad)
    return places.argmax(1)


# ---------------------------------------------------------------- folders


class Study:
    """A model, its texts, and what its head is asked."""

    def __init__(self, model, token_types=False):
        self.model, self.layers = model, layers_of(model)
        self.pad = PAD[model.config.model_type]
        self.rows = texts(self.pad)
        self.language = hasattr(model, "lm_head")
        self.classes = torch.tensor([2, 0, 1, 1]) if hasattr(model, "score") else None
        self.more = {}
        if token_types:
            drawn = [rng("causal token types").integers(0, 60, n).tolist() for n in LENGTHS]
            self.more["token_type_ids"] = padded(drawn, 0)
        self.watched = {}
        if hasattr(model.base_model, "ln_f"):
            self.watched["last_residual"] = (model.base_model.ln_f, "input")

    def inputs(self, left=False):
        return {**as_inputs(self.rows, self.pad, left), **self.more}

    def labels(self, left=False):
        if self.language:
            labels, targets = language_labels(self.rows, left)
            return dict(labels=labels, targets=targets)
        return {} if self.classes is None else dict(labels=self.classes)

    def loss_of(self, left=False):
        answers = self.labels(left)
        if self.language:
            return lambda seen: token_losses(seen["logits"], answers["targets"])
        return None if self.classes is None else lambda seen: class_losses(seen["logits"], self.classes)

    def run(self, mask, inputs, left=False):
        result = run(self.model, inputs, mask, self.loss_of(left), self.layers, self.watched)
        if self.classes is not None and self.model.config.pad_token_id is not None:
            rows, places = torch.arange(len(self.rows)), pool_positions(inputs["input_ids"], self.pad)
            last = f"hidden_states.{len(self.layers)}"
            for prefix in ("", "grad."):
                result[f"{prefix}pooled"] = result[prefix + last][rows, places]
            torch.testing.assert_close(self.model.score(result["pooled"]), result["logits"])
        return result

    def studied(self, full, left, kept):
        """Every tensor of the folder: three head masks with gradients when `full`, else the mask of ones with the
        sites whose names start with one of `kept`."""
        inputs, answers = self.inputs(), self.labels()
        tensors = {**inputs, **answers}
        shape = (self.model.config.n_layer, self.model.config.n_head)
        ones = torch.ones(shape)
        if self.classes is not None:
            tensors["pool_positions"] = pool_positions(inputs["input_ids"], self.pad)
        for variant, mask in head_masks(*shape).items() if full else [("ones", ones)]:
            result = self.run(mask, inputs)
            if answers:
                weights = torch.ones(len(self.rows))
                if self.language:
                    weights = (answers["targets"] != IGNORED).sum(1).float()
                own_loss_agrees(self.model, inputs, result, answers["labels"], weights)
            if variant != "ones":
                moved = (result["logits"] - tensors["ones.logits"]).abs().max()
                assert moved > 0.1, f"the mask {variant} does not act"
            for site, tensor in result.items():
                if variant != "ones" and not site.startswith(KEPT_IN_SHORT_VARIANTS):
                    continue
                if not full and not site.startswith(kept):
                    continue
                tensors[f"{variant}.{site}"] = tensor
        if left:
            self.left_padded(ones, tensors)
        return tensors

    def left_padded(self, mask, tensors):
        """The same texts padded on the left: once as transformers counts positions then, once with the texts' own."""
        inputs, answers = self.inputs(left=True), self.labels(left=True) if self.language else {}
        tensors.update({f"left.{name}": tensor for name, tensor in {**inputs, **answers}.items()})
        own = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
        tensors["left_positions.position_ids"] = own
        for variant, more in [("left", {}), ("left_positions", dict(position_ids=own))]:
            result = self.run(mask, {**inputs, **more}, left=True)
            kept = ("hidden_states.", "logits", "loss", "mask_grad", "pooled")
            tensors.update({f"{variant}.{site}": t for site, t in result.items() if site.startswith(kept)})
        # With their own positions the texts must not notice on which side the padding is.
        for row, length in enumerate(LENGTHS):
            for i in range(mask.shape[0] + 1):
                torch.testing.assert_close(
                    tensors[f"left_positions.hidden_states.{i}"][row, -length:],
                    tensors[f"ones.hidden_states.{i}"][row, :length], rtol=1e-5, atol=2e-5,
                )  # fmt: skip
        assert (tensors["left.loss"] - tensors["ones.loss"]).abs().max() > 0.05, "positions do not matter"


def write_studied(out, name, model, full=False, left=False, kept=KEPT_IN_OPTIONS, token_types=False):
    model.save_pretrained(out / name)
    write_golden(out / name, Study(model, token_types).studied(full, left, kept), __file__)


def write_without_padding(out, name, model):
    """A classifier whose config has no pad id: transformers takes one text at a time and pools at its end."""
    model.save_pretrained(out / name)
    mask = torch.ones(model.config.n_layer, model.config.n_head)
    study = Study(model)
    tensors = dict(**study.inputs(), labels=study.classes, pool_positions=torch.tensor(LENGTHS) - 1)
    alone = []
    for row, label in zip(study.rows, study.classes):
        inputs = as_inputs([row], study.pad)
        result = run(
            model, inputs, mask, lambda seen: class_losses(seen["logits"], label[None]), study.layers, study.watched
        )
        own_loss_agrees(model, inputs, result, label[None], torch.ones(1))
        alone.append(result)
    for site in ("logits", "loss", "mask_grad"):
        tensors[f"ones.{site}"] = torch.cat([result[site] for result in alone])
    for i in range(model.config.n_layer + 1):
        states = torch.zeros(len(alone), max(LENGTHS), model.config.n_embd)
        for row, result in enumerate(alone):
            states[row, : LENGTHS[row]] = result[f"hidden_states.{i}"][0]
        tensors[f"ones.hidden_states.{i}"] = states
    tensors["ones.head_mask"] = mask
    write_golden(out / name, tensors, __file__)


def plain(study):
    """Logits and hidden states without a head mask."""
    with torch.no_grad():
        output = study.model(**study.inputs(), output_hidden_states=True)
    states = {f"ones.hidden_states.{i}": state for i, state in enumerate(output.hidden_states)}
    return {**study.inputs(), "ones.logits": output.logits, **states}


def write_pruned(out, name, model):
    """`prune_heads` as transformers does it; the result must equal the masked full model."""
    mask = torch.ones(model.config.n_layer, model.config.n_head)
    for layer, heads in PRUNED.items():
        mask[layer, heads] = 0.0
    study = Study(model)
    with torch.no_grad():
        masked = model(**study.inputs(), head_mask=mask).logits
    model.prune_heads(PRUNED)
    tensors = plain(study)
    torch.testing.assert_close(tensors["ones.logits"], masked, rtol=0, atol=2e-5)
    model.save_pretrained(out / name)
    write_golden(out / name, tensors, __file__)


def write_noprefix(out, name, model, binary):
    """A language model as first published: names of the bare model, the output matrix left out because it is the
    token table, and the buffers that older releases of transformers stored."""
    folder = out / name
    folder.mkdir()
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    tensors = {n.removeprefix("transformer."): t for n, t in model.state_dict().items() if not n.startswith("lm_head")}
    positions = model.config.n_positions
    triangle = torch.ones(positions, positions).tril()[None, None]
    for i in range(model.config.n_layer):
        tensors[f"h.{i}.attn.bias"] = triangle.to(torch.uint8) if binary else triangle.clone()
        tensors[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    if binary:
        torch.save(tensors, folder / "pytorch_model.bin")
    else:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    golden = plain(Study(model))
    again = type(model).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    torch.testing.assert_close(plain(Study(again))["ones.logits"], golden["ones.logits"], rtol=0, atol=1e-6)
    write_golden(folder, golden, __file__)


def generate(out):
    def gpt2_classifier(shape=MAIN):
        config = gpt2_config(shape, num_labels=3, pad_token_id=PAD["gpt2"])
        return build(GPT2ForSequenceClassification, config)

    def gpt_classifier(shape=MAIN):
        config = gpt_config(shape, num_labels=3, pad_token_id=PAD["openai-gpt"])
        return build(OpenAIGPTForSequenceClassification, config)

    write_studied(out, "gpt2", gpt2_classifier(), full=True, left=True)
    write_studied(out, "gpt2-lm", build(GPT2LMHeadModel, gpt2_config(NARROW)), full=True, left=True)
    write_studied(out, "gpt", gpt_classifier(), full=True, left=True)
    write_studied(out, "gpt-lm", build(OpenAIGPTLMHeadModel, gpt_config(NARROW)), full=True, left=True)

    both = dict(scale_attn_by_inverse_layer_idx=True, reorder_and_upcast_attn=True)
    for name, options, attention in [
        ("gpt2-no-scale", dict(scale_attn_weights=False), 0.6),
        ("gpt2-inverse-layer", dict(scale_attn_by_inverse_layer_idx=True), 1.2),
        ("gpt2-upcast", dict(reorder_and_upcast_attn=True), 1.0),
        ("gpt2-all-options", both, 1.2),
        ("gpt2-untied", dict(tie_word_embeddings=False), 1.0),
        ("gpt2-inner", dict(n_inner=40, activation_function="gelu"), 1.0),
    ]:
        write_studied(out, name, build(GPT2LMHeadModel, gpt2_config(SMALL, **options), attention))
    write_studied(out, "gpt2-token-types", build(GPT2LMHeadModel, gpt2_config(SMALL)), token_types=True)
    values = (*KEPT_IN_OPTIONS, "query.", "key.", "value.", "head_output.", "attention_output.", "mlp_output.")
    write_studied(out, "gpt2-bare", build(GPT2Model, gpt2_config(SMALL, activation_function="relu")), kept=values)
    write_studied(out, "gpt-bare", build(OpenAIGPTModel, gpt_config(SMALL, afn="silu")), kept=values)
    without = build(GPT2ForSequenceClassification, gpt2_config(SMALL, num_labels=3))
    write_without_padding(out, "gpt2-no-pad", without)

    write_pruned(out, "gpt2-pruned", gpt2_classifier(NARROW))
    write_pruned(out, "gpt-pruned", gpt_classifier(NARROW))
    write_noprefix(out, "gpt2-noprefix-buffers", build(GPT2LMHeadModel, gpt2_config(SMALL)), binary=True)
    write_noprefix(out, "gpt-noprefix-buffers", build(OpenAIGPTLMHeadModel, gpt_config(SMALL)), binary=False)


if __name__ == "__main__":
    sys.exit(command(__doc__, generate))
