"""What the scripts of the engine's golden files share: one pass with every site captured, and the command line."""

import argparse
import hashlib
import itertools
import json
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

import shared

OUT = Path(__file__).resolve().parents[2] / "golden/engine"
SEED = 20240607
IGNORED = -100  # the label transformers' cross-entropy skips

# The heads that the pruned checkpoints have lost.
PRUNED = {0: [0, 2], 2: [1, 2, 3]}

# Where outputs of models hold their logits -> the sites' names.
LOGITS = {"logits": "logits", "prediction_logits": "logits", "seq_relationship_logits": "seq_relationship_logits"}

# Another processor sums in another order. Measured against float64 the values are up to 1e-6 of the largest entry
# of their tensor away, gradients through a peaked softmax up to 6e-6.
TOLERANCE = 1e-5


# Of the masks that are not the first, these values are kept.
KEPT_IN_SHORT_VARIANTS = (
    "head_mask",
    "hidden_states.",
    "attention_probs.",
    "head_output.",
    "logits",
    "loss",
    "mask_grad",
    "grad.hidden_states.",
)


# What `layer_sites` hands on by head, or nobody does.
LAYER_SITES = (
    "fused",
    "query",
    "key",
    "value",
    "distance_query",
    "distance_key",
    "masked_context",
    "attention_scores",
)


@dataclass
class Layer:
    """Where one layer's sites are: modules, the number of its heads, the factor of its scores."""

    out: torch.nn.Module  # the attention's output projection
    mlp: torch.nn.Module  # the feed-forward's second projection
    heads: int
    scale: float
    fused: torch.nn.Module | None = None  # one projection that gives query, key and value side by side
    query: torch.nn.Module | None = None
    key: torch.nn.Module | None = None
    value: torch.nn.Module | None = None
    inner: bool = False  # what `mlp` reads is a site, too
    masked: bool = False  # the class takes no head mask: what `out` reads is multiplied by it
    rotated: bool = False  # queries and keys are turned by their positions
    scaled: bool = False  # queries are scaled before they are turned
    causal: bool | None = None  # else those with a fused projection are
    reach: int | None = None  # a query sees so many tokens to either side
    blind: bool = False  # padding sees nothing, as its class has it
    again: bool = False  # the maps of queries and keys are called once more, for distances
    branch: float = 1.0  # what both projections give is multiplied by it before it is added
    # What the product of query and key lacks before it is scaled, [B,N,S,S] of both by head: relative positions.
    positions: Callable | None = None


def rng(*key):
    """One independent stream per name, so that adding a tensor never changes another."""
    words = [zlib.crc32(str(k).encode()) for k in key]
    return np.random.default_rng([SEED, *words])


def randomise(model, spread):
    """Weights from one stream per name; `spread(name)` is a tensor's standard deviation, norms lie around 1."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.from_numpy(rng("weight", name).standard_normal(tuple(parameter.shape))).float()
            owner = name.split(".")[-2]
            norm = owner.startswith("ln_") or "layer_norm" in owner or "LayerNorm" in owner
            parameter.copy_(1.0 + 0.3 * noise if norm and name.endswith(".weight") else spread(name) * noise)
    return model.eval()


def head_masks(layers, heads):
    some = torch.ones(layers, heads)
    some[0, 1] = 0.0
    some[1, 0] = 0.0
    some[1, 2] = 0.5
    some[layers - 1, heads - 1] = 0.0
    layer_off = torch.ones(layers, heads)
    layer_off[1, :] = 0.0
    layer_off[0, 2] = 0.0
    return {"ones": torch.ones(layers, heads), "some": some, "layer_off": layer_off}


@contextmanager
def softmax_recorded(record):
    """Eager attention calls `nn.functional.softmax` once a layer; keep what goes in and what comes out."""
    original = torch.nn.functional.softmax

    def recorded(scores, dim=None, **rest):
        probs = original(scores, dim=dim, **rest)
        record.append((scores, probs))
        return probs

    torch.nn.functional.softmax = recorded
    try:
        yield
    finally:
        torch.nn.functional.softmax = original


@contextmanager
def rotation_recorded(module, record):
    """Keep what a module's `apply_rotary_pos_emb`, called once a layer, or for queries and then for keys, makes of both."""
    original = getattr(module, "apply_rotary_pos_emb", None)
    queries = []

    def recorded(*args, **rest):
        turned = original(*args, **rest)
        if isinstance(turned, tuple):
            record.append(turned)
        elif queries:
            record.append((queries.pop(), turned))
        else:
            queries.append(turned)
        return turned

    if original is not None:
        module.apply_rotary_pos_emb = recorded
    try:
        yield
    finally:
        if original is not None:
            module.apply_rotary_pos_emb = original


def run(model, inputs, head_mask, loss_of, layers, watched=None, states=True):
    """One forward and one backward pass; every site's value and, where a loss exists, its gradient.

    `watched` names more sites: (module, "input" or "output") each. `loss_of` takes the sites seen and gives one
    loss per example, or is None. A module that several layers share is called once for each, in their order. Without
    `states` the model's own hidden states are left aside, but for the first.
    """
    batch, length = inputs["input_ids"].shape
    leaf = head_mask[:, None, :, None, None].repeat(1, batch, 1, 1, 1).requires_grad_()
    seen, hooks = {}, []  # site -> the tensor of the graph, in whatever layout the model uses

    calls = {}  # (module, what is done at its calls) -> what each call is for

    def at_call(register, kind, item, use):
        """`use(item, ...)` at a call of the module whose hooks `register` takes: the first item at its first, and so on."""
        items = calls.setdefault((register.__self__, kind), [])
        items.append(item)
        if len(items) == 1:
            turn = itertools.cycle(items)
            hooks.append(register(lambda _module, *given: use(next(turn), *given)))

    def watch(module, site):
        at_call(module.register_forward_hook, "output", site, lambda site, _i, output: seen.__setitem__(site, output))

    def watch_input(module, site):
        at_call(module.register_forward_pre_hook, "input", site, lambda site, args: seen.__setitem__(site, args[0]))

    def multiply(module, factor):
        def masked(factor, args):
            heads = args[0].unflatten(-1, (factor.shape[1], -1)) * factor[:, None, :, :, 0]
            return (heads.flatten(-2),)

        at_call(module.register_forward_pre_hook, "mask", factor, masked)

    for i, layer in enumerate(layers):
        for site in ("fused", "query", "key", "value"):
            if getattr(layer, site) is not None:
                watch(getattr(layer, site), f"{site}.{i}")
                if layer.again and site in ("query", "key"):
                    watch(getattr(layer, site), f"distance_{site}.{i}")
        if layer.masked:
            multiply(layer.out, leaf[i])
        watch_input(layer.out, f"masked_context.{i}")
        watch(layer.out, f"attention_output.{i}")
        if layer.inner:
            watch_input(layer.mlp, f"mlp_inner.{i}")
        watch(layer.mlp, f"mlp_output.{i}")
    for site, (module, side) in (watched or {}).items():
        (watch_input if side == "input" else watch)(module, site)
    softmaxes, rotations = [], []
    given = inputs if layers[0].masked else dict(inputs, head_mask=leaf)
    try:
        with softmax_recorded(softmaxes), rotation_recorded(sys.modules[type(model).__module__], rotations):
            output = model(**given, output_hidden_states=True)
    finally:
        for hook in hooks:
            hook.remove()
    assert len(softmaxes) == len(layers)
    for i, (scores, probs) in enumerate(softmaxes):
        seen[f"attention_scores.{i}"] = scores
        seen[f"attention_probs.{i}"] = probs
    for i, (query, key) in enumerate(rotations):
        seen[f"rotated_query.{i}"], seen[f"rotated_key.{i}"] = query, key
    for i, state in enumerate(output.hidden_states if states else output.hidden_states[:1]):
        seen[f"hidden_states.{i}"] = state
    seen.update({site: output[field] for field, site in LOGITS.items() if field in output})
    loss = None if loss_of is None else loss_of(seen)

    gradient = {}
    if loss is not None:
        wanted = list(seen)
        found = torch.autograd.grad(loss.sum(), [seen[s] for s in wanted] + [leaf], allow_unused=True)
        for site, g in zip(wanted, found):
            gradient[site] = torch.zeros_like(seen[site]) if g is None else g
    for i, layer in enumerate(layers):
        for site in (f"attention_output.{i}", f"mlp_output.{i}") if layer.branch != 1.0 else ():
            seen[site] = seen[site] * layer.branch
            if site in gradient:
                gradient[site] = gradient[site] / layer.branch
        if layer.scaled and layer.rotated:
            site = f"rotated_query.{i}"
            seen[site] = seen[site] / layer.scale
            if site in gradient:
                gradient[site] = gradient[site] * layer.scale

    result = {"head_mask": head_mask}

    def keep(site, tensor, g):
        result[site] = tensor
        if g is not None:
            result[f"grad.{site}"] = g

    for site, tensor in seen.items():
        if site.split(".")[0] not in LAYER_SITES:
            keep(site, tensor, gradient.get(site))
    for i, layer in enumerate(layers):
        layer_sites(i, layer, seen, gradient, head_mask[i], inputs.get("attention_mask"), keep)
    if loss is not None:
        result["loss"] = loss
        result["mask_grad"] = found[-1][..., 0, 0].permute(1, 0, 2)  # [L,B,N,1,1] -> [B,L,N]
    return {name: tensor.detach().contiguous().clone() for name, tensor in result.items()}


def layer_sites(i, layer, seen, gradient, mask, attention_mask, keep):
    """Query, key, value, head output and scores of one layer by head, with their gradients."""

    def by_head(tensor):
        return None if tensor is None else tensor.unflatten(-1, (layer.heads, -1)).transpose(1, 2)

    if layer.fused is not None:
        values = seen[f"fused.{i}"].chunk(3, dim=-1)
        gradients = gradient[f"fused.{i}"].chunk(3, dim=-1) if gradient else (None,) * 3
    else:
        values = [seen[f"{site}.{i}"] for site in ("query", "key", "value")]
        gradients = [gradient.get(f"{site}.{i}") for site in ("query", "key", "value")]
    query, key, value = map(by_head, values)
    for site, tensor, g in zip(("query", "key", "value"), (query, key, value), gradients):
        keep(f"{site}.{i}", tensor, by_head(g))

    # Handed on as `head_output`: the context before the head mask, m times the gradient of the masked one.
    context = seen[f"attention_probs.{i}"] @ value
    m = mask[None, :, None, None]
    torch.testing.assert_close(by_head(seen[f"masked_context.{i}"]), context * m, rtol=1e-5, atol=1e-5)
    g = by_head(gradient.get(f"masked_context.{i}"))
    keep(f"head_output.{i}", context, None if g is None else g * m)

    # Without the masks, which would swallow the scores behind them.
    if layer.rotated:
        query, key = seen[f"rotated_query.{i}"], seen[f"rotated_key.{i}"]
    plain = query @ key.transpose(-1, -2)
    if layer.positions is not None:
        plain = plain + layer.positions(query, key)
    plain = plain * layer.scale
    causal = layer.fused is not None if layer.causal is None else layer.causal
    used = torch.ones(plain.shape[-2:]).bool()
    used = (used.tril() if causal else used).expand_as(plain)
    if attention_mask is not None:
        used = used & attention_mask[:, None, None, :].bool()
        if causal or layer.blind:  # padding on the left sees nothing at all
            used = used & attention_mask[:, None, :, None].bool()
    if layer.reach is not None:
        place = torch.arange(plain.shape[-1])
        used = used & ((place[:, None] - place[None, :]).abs() <= layer.reach)
    scores = seen[f"attention_scores.{i}"]
    torch.testing.assert_close(plain[used], scores[used], rtol=1e-5, atol=1e-5)
    keep(f"attention_scores.{i}", plain, gradient.get(f"attention_scores.{i}"))


def class_loss(logits, labels):
    return torch.nn.functional.cross_entropy(logits, labels, reduction="none")


def masked_lm_labels(inputs):
    """Labels at two or three positions of each text, never at padding; the rest is ignored."""
    draw = rng("masked lm labels")
    labels = np.full(tuple(inputs["input_ids"].shape), IGNORED, np.int64)
    for row, length in enumerate(inputs["attention_mask"].sum(1).tolist()):
        places = draw.choice(np.arange(length), size=2 + row % 2, replace=False)
        labels[row, places] = draw.integers(5, 60, len(places))
    return torch.from_numpy(labels)


def token_losses(logits, labels):
    """Mean over each example's own labelled positions; `labels` in the logits' own positions."""
    each = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none", ignore_index=IGNORED)
    return each.sum(1) / (labels != IGNORED).sum(1)


def norms_around_one(model):
    """Norms whose names `randomise` does not know, of classes that call them `*_layernorm` or `*norm`, around 1 as well."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.split(".")[-2].endswith("norm") and name.endswith("weight"):
                noise = torch.from_numpy(rng("weight", name).standard_normal(tuple(parameter.shape))).float()
                parameter.copy_(1.0 + 0.3 * noise)
    return model


def encoder_inputs(stream, pad=0, segments=True):
    """Texts of 12, 5 and 8 tokens: single, single, pair. [CLS] 2, [SEP] 3."""
    draw = rng(stream)
    ids, types = np.full((3, 12), pad, np.int64), np.zeros((3, 12), np.int64)
    for row, (first, second) in enumerate([(10, 0), (3, 0), (2, 3)]):
        text = [2, *draw.integers(5, 60, first), 3]
        pair = [*draw.integers(5, 60, second), 3] if second else []
        ids[row, : len(text) + len(pair)] = [*text, *pair]
        types[row, len(text) : len(text) + len(pair)] = 1
    arrays = dict(input_ids=ids, attention_mask=(ids != pad).astype(np.int64))
    if segments:
        arrays["token_type_ids"] = types
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def studied_alike(model, layers, inputs, labels, loss_of, full, watched, states=True):
    """All tensors of a folder, for every mask where it is full, the class's own loss held against ours."""
    tensors = {**inputs, **labels}
    masks = head_masks(len(layers), layers[0].heads)
    for variant, mask in masks.items() if full else [("ones", masks["ones"])]:
        result = run(model, inputs, mask, loss_of, layers, watched, states=states)
        if labels and variant == "ones":
            with torch.no_grad():
                own = model(**inputs, **labels).loss
            counts = torch.ones(len(result["loss"]))
            if "labels" in labels:
                counts = (labels["labels"] != IGNORED).reshape(len(result["loss"]), -1).sum(1).float()
            torch.testing.assert_close(own, (result["loss"] * counts).sum() / counts.sum(), rtol=1e-5, atol=1e-5)
        for site, tensor in result.items():
            if variant != "ones" and not site.startswith(KEPT_IN_SHORT_VARIANTS):
                continue
            if not full and site.startswith("grad."):
                continue
            tensors[f"{variant}.{site}"] = tensor
    return tensors


def under_names_of_files(tensors, renames, fused):
    """Tensors of a class's parameters under the names of files. `fused` says which stems are one there: (parts, whole)."""
    found = {}
    for name, tensor in tensors.items():
        for parts, whole in fused:
            if any(part in name for part in parts[1:]):
                name = None
                break
            if parts[0] in name:
                tensor = torch.cat([tensors[name.replace(parts[0], part)] for part in parts])
                name = name.replace(parts[0], whole)
        if name is None:
            continue
        for ours, theirs in renames:
            name = name.replace(ours, theirs)
        found[name] = tensor
    return found


def rewrite(folder, config, rename):
    """Gives a folder another config, and its tensors other names; those without one are left out."""
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    tensors = {rename(name): tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file({name: t for name, t in tensors.items() if name}, folder / "model.safetensors", metadata={"format": "pt"})


def answer_losses(logits, starts, ends):
    """Of each example, half the sum of what its answer's start and end cost; `logits` [B,S,2]."""
    start, end = logits.unbind(-1)
    return (class_loss(start, starts) + class_loss(end, ends)) / 2


def own_loss_agrees(model, inputs, golden, labels, weights):
    """The model's own loss, and its gradient to an ordinary [L,N] mask, against ours weighted per example."""
    shared = golden["head_mask"].clone().requires_grad_()
    loss = model(**inputs, head_mask=shared, labels=labels).loss
    (gradient,) = torch.autograd.grad(loss, shared)
    share = weights / weights.sum()
    torch.testing.assert_close(loss, (golden["loss"] * share).sum(), rtol=1e-5, atol=1e-5)
    mine = (golden["mask_grad"] * share[:, None, None]).sum(0)
    torch.testing.assert_close(gradient, mine, rtol=1e-4, atol=1e-5)


def write_golden(folder, tensors, script):
    """`golden.safetensors` with its provenance: the digests of the two scripts that made it."""
    for name, tensor in tensors.items():
        assert not tensor.is_floating_point() or torch.isfinite(tensor).all(), f"{folder.name} {name}"
    digest = hashlib.sha256(Path(script).read_bytes() + Path(__file__).read_bytes()).hexdigest()
    provenance = dict(
        seed=SEED, script=Path(script).name, script_sha256=digest, torch=torch.__version__,
        transformers=transformers.__version__,
    )  # fmt: skip
    # One key, so that the header has one possible order.
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        folder / "golden.safetensors",
        metadata={"provenance": json.dumps(provenance, sort_keys=True)},
    )


def tensors_of(path):
    if path.suffix == ".bin":
        return torch.load(path, weights_only=True)
    return load_file(path)


def difference(made, kept):
    """What differs between two files, or None: tensors by at most TOLERANCE of their largest entry, or of 1."""
    if made.read_bytes() == kept.read_bytes():
        return None
    if made.suffix not in (".bin", ".safetensors"):
        return "bytes differ"
    a, b = tensors_of(made), tensors_of(kept)
    if a.keys() != b.keys():
        return f"tensor names differ: {sorted(a.keys() ^ b.keys())}"
    for name in a:
        if a[name].shape != b[name].shape or a[name].dtype != b[name].dtype:
            return f"{name}: {a[name].dtype} {tuple(a[name].shape)} against {b[name].dtype} {tuple(b[name].shape)}"
        largest = (a[name].double() - b[name].double()).abs().max().item()
        if not largest <= TOLERANCE * max(1.0, b[name].double().abs().max().item()):
            return f"{name}: largest difference {largest:.3e}"
    return None


def compare(made, kept, folders, own=lambda name: True):
    """Prints what differs between two places, in the named folders and the files that are `own`; returns the number of files."""
    failures = 0
    names = {p.relative_to(made) for p in made.rglob("*") if p.is_file()}
    present = {name for name in shared.names(kept) if name.parts[0] in folders and own(name)}
    for name in sorted(names | present):
        if name not in present:
            problem = "not committed"
        elif name not in names:
            problem = "no longer made"
        else:
            problem = difference(made / name, shared.resolved(kept, name))
        if problem:
            failures += 1
            print(f"FAIL {name}: {problem}")
    print(f"{len(names)} files, {failures} differ")
    return failures


def of_version_5():
    """Ends a script whose classes the installed transformers does not have."""
    if not transformers.__version__.startswith("5."):
        sys.exit(f"transformers {transformers.__version__} has no such class; install tools/golden/requirements-5.txt")


def command(description, generate, output=OUT):
    """The command line of a golden script; `generate` writes its folders into a directory."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    parser.add_argument("--output", type=Path, default=output, help="folder that holds the fixture folders")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch)
        generate(made)
        folders = sorted(made.iterdir())
        if options.check:
            return 1 if compare(made, options.output, {folder.name for folder in folders}) else 0
        for folder in folders:
            target = options.output / folder.name
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(folder, target)
            size = sum(p.stat().st_size for p in target.iterdir())
            print(f"{folder.name:26} {size / 1000:7.1f} kB")
        shared.share(options.output)
    return 0
