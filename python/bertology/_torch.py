"""A model of transformers that lives in memory, as arrays and small files; nothing touches a disk."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ._native import InputError

_ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def parts(model: Any, tokenizer: Any | None) -> tuple[str, dict[str, np.ndarray], dict[str, bytes]]:
    """The class's name, the weights as float32 by name, and the files beside them."""
    model = getattr(model, "module", model)  # DataParallel and its kin
    model = getattr(model, "_orig_mod", model)  # torch.compile
    config = getattr(model, "config", None)
    if config is None or not hasattr(model, "state_dict"):
        raise InputError(
            f"{type(model).__name__} is no model of transformers: give one that has a config and a state_dict"
        )
    described = json.loads(config.to_json_string(use_diff=False))
    described["architectures"] = [type(model).__name__]
    files = {"config.json": json.dumps(described).encode()}
    if tokenizer is not None:
        files.update(_tokenizer(tokenizer))
    return type(model).__name__, _weights(model), files


def _weights(model: Any) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    seen: set[tuple[int, tuple[int, ...]]] = set()
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():  # ids of positions, kept as buffers
            continue
        if tensor.device.type == "meta":
            raise InputError(f"tensor {name} has no values (device meta): load the model's weights first")
        # Tied weights are one tensor under two names; checkpoints have the first.
        place = (tensor.data_ptr(), tuple(tensor.shape))
        if tensor.numel() and place in seen:
            continue
        seen.add(place)
        values = tensor.detach().to("cpu").float().contiguous().numpy()
        arrays[name] = np.ascontiguousarray(values, dtype=np.float32)
    return arrays


def _tokenizer(tokenizer: Any) -> dict[str, bytes]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise InputError(
            f"{type(tokenizer).__name__} is written in Python: give the fast tokenizer of the model, "
            "as AutoTokenizer.from_pretrained gives it, or tokenizer=None and token ids as inputs"
        )
    settings: dict[str, Any] = {
        "tokenizer_class": type(tokenizer).__name__,
        "model_max_length": tokenizer.model_max_length,
        "truncation_side": getattr(tokenizer, "truncation_side", "right"),
        "model_input_names": list(tokenizer.model_input_names),
    }
    for role in _ROLES:
        token = getattr(tokenizer, role, None)
        if token is not None:
            settings[role] = str(token)
    return {
        "tokenizer.json": backend.to_str().encode(),
        "tokenizer_config.json": json.dumps(settings).encode(),
    }
