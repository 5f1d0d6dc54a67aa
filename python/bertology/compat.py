"""What transformers 5 took away, for code that was written for version 4.

The functions have the names, arguments and results that they had in ``transformers.pytorch_utils`` and on
``PreTrainedModel``; torch is imported when they are called. Heads count from 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = [
    "find_pruneable_heads_and_indices",
    "get_head_mask",
    "prune_conv1d_layer",
    "prune_linear_layer",
]


def find_pruneable_heads_and_indices(
    heads: Iterable[int], n_heads: int, head_size: int, already_pruned_heads: Iterable[int]
) -> tuple[set[int], Any]:
    """Which of ``heads`` are still there, and the rows of the linear maps that stay.

    ``heads`` and ``already_pruned_heads`` are numbers of the unpruned layer; ``n_heads`` is how many heads the layer
    has now. Gives the heads to be removed and a LongTensor of the indices ``[rows kept]``.
    """
    import torch

    gone = set(already_pruned_heads)
    wanted = {int(head) for head in heads} - gone
    left = [head for head in range(n_heads + len(gone)) if head not in gone]
    unknown = wanted.difference(left)
    if unknown:
        raise ValueError(f"no such heads: {sorted(unknown)}; the layer has {left}")
    rows = torch.arange(n_heads * head_size).view(n_heads, head_size)
    kept = [place for place, head in enumerate(left) if head not in wanted]
    return wanted, rows[kept].reshape(-1)


def prune_linear_layer(layer: Any, index: Any, dim: int = 0) -> Any:
    """A new ``torch.nn.Linear`` with the outputs (``dim=0``) or inputs (``dim=1``) at ``index`` only."""
    import torch

    index = index.to(layer.weight.device)
    weight = layer.weight.detach().index_select(dim, index).clone()
    smaller = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=layer.bias is not None)
    return _filled(smaller, layer, weight, layer.bias if dim == 1 or layer.bias is None else layer.bias[index])


def prune_conv1d_layer(layer: Any, index: Any, dim: int = 1) -> Any:
    """The same of a ``Conv1D`` of GPT and GPT-2, whose weight is ``[inputs, outputs]``; ``dim=1`` are outputs."""
    index = index.to(layer.weight.device)
    weight = layer.weight.detach().index_select(dim, index).clone()
    smaller = type(layer)(weight.shape[1], weight.shape[0])
    return _filled(smaller, layer, weight, layer.bias if dim == 0 else layer.bias[index])


def _filled(smaller: Any, layer: Any, weight: Any, bias: Any) -> Any:
    import torch

    smaller = smaller.to(device=layer.weight.device, dtype=layer.weight.dtype)
    with torch.no_grad():
        smaller.weight.copy_(weight)
        if bias is not None:
            smaller.bias.copy_(bias.detach())
    for parameter in smaller.parameters():
        parameter.requires_grad_(layer.weight.requires_grad)
    return smaller


def get_head_mask(head_mask: Any, num_hidden_layers: int, is_attention_chunked: bool = False) -> Any:
    """A mask ``[heads]`` or ``[layers, heads]`` as each layer's attention takes it: ``[layers, 1, heads, 1, 1]``.

    With ``is_attention_chunked`` one more axis at the end. ``None`` gives a list of ``None``, one a layer.
    """
    if head_mask is None:
        return [None] * num_hidden_layers
    if head_mask.dim() == 1:
        head_mask = head_mask[None].expand(num_hidden_layers, -1)
    if head_mask.dim() != 2 or head_mask.shape[0] != num_hidden_layers:
        raise ValueError(f"head_mask has shape {tuple(head_mask.shape)}; give [heads] or [{num_hidden_layers}, heads]")
    mask = head_mask[:, None, :, None, None]
    return mask[..., None] if is_attention_chunked else mask
