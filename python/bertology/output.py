"""What a model computes for a few texts."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._native import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]


class Padded(NamedTuple):
    """Tensors of a whole batch, in transformers' shapes; what is beyond a text's end is 0.

    Attributes that were not asked for are ``None``. ``hidden_states`` is a tuple of L + 1 arrays
    ``[batch, tokens, hidden]``, the embeddings first; ``attentions`` one of L arrays ``[batch, heads, query, key]``.
    """

    input_ids: Any
    attention_mask: Any
    logits: Any
    hidden_states: tuple[Any, ...] | None
    attentions: tuple[Any, ...] | None
    head_outputs: tuple[Any, ...] | None


class Text:
    """What the model computed for one text, at its true length.

    ``tokens``, ``input_ids`` ``[tokens]``; ``hidden_states``: a list of L + 1 arrays ``[tokens, hidden]``, embeddings
    first; ``attentions``: a list of L arrays ``[heads, query, key]`` (the softmax, before any head mask; heads that
    were pruned away are left out); ``values[site]`` and ``gradients[site]`` by the name of the site. Layers and heads
    count from 0. The arrays are numpy's own: torch takes them without a copy by ``torch.from_numpy``.
    """

    def __init__(self, found: dict[str, Any]) -> None:
        self._found = found
        self.tokens: list[str] | None = found["tokens"]
        self.input_ids: NDArray[np.uint32] = found["ids"]
        self.values: dict[str, Any] = found.get("values", {})
        self.gradients: dict[str, Any] = found.get("gradients", {})

    def _get(self, key: str, remedy: str) -> Any:
        value = self._found.get(key)
        if value is None:
            raise AttributeError(f"{key} was not asked for or the model has none; {remedy}")
        return value

    @property
    def hidden_states(self) -> list[Array]:
        """``L + 1`` arrays ``[tokens, hidden]``, the embeddings first."""
        return _hidden(self.values, "output_hidden_states=True")

    @property
    def attentions(self) -> list[Array]:
        """``L`` arrays ``[heads, query, key]``; each row of a map sums to 1."""
        return _site(self.values, "attention", "output_attentions=True")

    @property
    def head_outputs(self) -> list[Array]:
        """``L`` arrays ``[heads, tokens, head_dim]``: attention times values, before the output projection."""
        return _site(self.values, "head_output", "output_head_outputs=True")

    @property
    def logits(self) -> Array:
        """``[labels]`` of a sequence's head; ``[tokens, labels or vocabulary]`` of heads that score tokens."""
        if "token_logits" in self._found:
            return self._found["token_logits"]  # type: ignore[no-any-return]
        return self._get("logits", "language models give them with output_logits=True")  # type: ignore[no-any-return]

    @property
    def loss(self) -> float:
        """In nats (squared units for regression), of this text alone."""
        return float(self._get("loss", "give labels="))

    @property
    def mask_gradients(self) -> NDArray[np.float64]:
        """``[layers, heads]``: the loss's slope by each head's mask factor; its size is the head's importance here."""
        return self._get("mask_gradients", "give labels=")  # type: ignore[no-any-return]

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """Of each token its characters in the text, ``(0, 0)`` of special ones."""
        return self._get("offsets", "token ids have no text")  # type: ignore[no-any-return]

    @property
    def words(self) -> list[int | None]:
        """Of each token its word, as ``word_ids()`` of transformers."""
        return self._get("words", "token ids have no text")  # type: ignore[no-any-return]

    @property
    def truncated(self) -> int:
        """Tokens that were cut off."""
        return int(self._found.get("truncated", 0))

    def __len__(self) -> int:
        return len(self.input_ids)

    def __repr__(self) -> str:
        shown = " ".join(self.tokens[:8]) if self.tokens else "token ids"
        return f"<{len(self)} tokens: {shown}{' ...' if len(self) > 8 else ''}>"


def _site(values: dict[str, Any], name: str, remedy: str) -> list[Array]:
    if name not in values:
        raise AttributeError(f"{name} was not asked for; say {remedy}")
    return values[name]  # type: ignore[no-any-return]


def _hidden(values: dict[str, Any], remedy: str) -> list[Array]:
    return [_site(values, "embeddings", remedy), *_site(values, "hidden_state", remedy)]  # type: ignore[list-item]


class _Each(Sequence[Any]):
    """One attribute of every text."""

    def __init__(self, texts: list[Text], name: str) -> None:
        self._texts = texts
        self._name = name

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [getattr(text, self._name) for text in self._texts[at]]
        return getattr(self._texts[at], self._name)

    def __len__(self) -> int:
        return len(self._texts)


class Output:
    """What a model computed for several texts.

    ``out.hidden_states[text][layer]``, ``out.attentions[text][layer]``, ``out.logits[text]``, ``out.losses[text]``; or
    ``out[text]`` for everything of one text. ``out.padded()`` gives the tuples of transformers, for bertviz and Captum.
    """

    def __init__(self, texts: list[Text]) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, at: int) -> Text:
        return self._texts[at]

    def __iter__(self) -> Iterator[Text]:
        return iter(self._texts)

    def _each(self, name: str) -> _Each:
        if self._texts:
            getattr(self._texts[0], name)  # says what was not asked for
        return _Each(self._texts, name)

    @property
    def hidden_states(self) -> Sequence[list[Array]]:
        """``[text][layer]``, each ``[tokens, hidden]``, embeddings first."""
        return self._each("hidden_states")

    @property
    def attentions(self) -> Sequence[list[Array]]:
        """``[text][layer]``, each ``[heads, query, key]``."""
        return self._each("attentions")

    @property
    def head_outputs(self) -> Sequence[list[Array]]:
        """``[text][layer]``, each ``[heads, tokens, head_dim]``."""
        return self._each("head_outputs")

    @property
    def logits(self) -> Sequence[Array]:
        """``[text]``."""
        return self._each("logits")

    @property
    def losses(self) -> Sequence[float]:
        """``[text]``, in nats."""
        return self._each("loss")

    @property
    def tokens(self) -> Sequence[list[str]]:
        """``[text]``."""
        return self._each("tokens")

    @property
    def mask_gradients(self) -> NDArray[np.float64]:
        """``[text, layers, heads]``: the slope of each text's loss by the mask of each head."""
        return np.stack([text.mask_gradients for text in self._texts])

    def padded(self, return_tensors: str | None = None) -> Padded:
        """Everything as arrays of the whole batch, in transformers' shapes.

        ``return_tensors`` is ``"np"`` or ``"pt"``; left out, torch tensors where the program has imported torch already
        (as bertviz and Captum do), else numpy arrays.
        """
        if return_tensors not in (None, "np", "pt"):
            raise InputError(f'return_tensors={return_tensors!r}: give "np" or "pt"')
        if return_tensors is None:
            return_tensors = "pt" if "torch" in sys.modules else "np"
        texts = self._texts
        width = max((len(text) for text in texts), default=0)
        ids = np.zeros((len(texts), width), dtype=np.int64)
        mask = np.zeros((len(texts), width), dtype=np.int64)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = text.input_ids
            mask[row, : len(text)] = 1
        has = {name for name in ("hidden_states", "attentions", "head_outputs", "logits") if _has(texts, name)}
        hidden = attentions = outputs = logits = None
        if "hidden_states" in has:
            hidden = _stacked([text.hidden_states for text in texts], width, axes=(0,))
        if "attentions" in has:
            attentions = _stacked([text.attentions for text in texts], width, axes=(1, 2))
        if "head_outputs" in has:
            outputs = _stacked([text.head_outputs for text in texts], width, axes=(1,))
        if "logits" in has:
            of_tokens = texts[0].logits.ndim == 2
            logits = _stacked([[text.logits] for text in texts], width, axes=(0,) if of_tokens else ())[0]
        padded = Padded(ids, mask, logits, hidden, attentions, outputs)
        return padded if return_tensors == "np" else Padded(*(_to_torch(value) for value in padded))

    def __repr__(self) -> str:
        return f"<bertology.Output of {len(self)} texts>"


def _has(texts: list[Text], name: str) -> bool:
    return bool(texts) and hasattr(texts[0], name)


def _stacked(values: list[list[Array]], width: int, axes: tuple[int, ...]) -> tuple[Array, ...]:
    layers = []
    for of_texts in zip(*values, strict=True):
        shape = [width if axis in axes else size for axis, size in enumerate(of_texts[0].shape)]
        layer = np.zeros((len(of_texts), *shape), dtype=np.float32)
        for row, value in enumerate(of_texts):
            layer[row][tuple(slice(size) for size in value.shape)] = value
        layers.append(layer)
    return tuple(layers)


def _to_torch(value: Any) -> Any:
    import torch

    if value is None:
        return None
    return tuple(map(torch.from_numpy, value)) if isinstance(value, tuple) else torch.from_numpy(value)
