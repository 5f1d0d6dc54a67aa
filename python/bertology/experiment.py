"""One text, one question: what does the model compute with these values changed?"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from ._native import InputError
from .output import Text

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from .model import Model

#: Sites of a layer that have a value for every head.
PER_HEAD = frozenset(
    {
        "query",
        "key",
        "value",
        "rotated_query",
        "rotated_key",
        "attention_scores",
        "attention",
        "attention_entropy",
        "head_output",
        "head_contribution",
        "head_mask",
    }
)


class Experiment:
    """Changes to a pass, and what is looked at; the model is asked when a result is read.

    >>> with model.experiment("The horses were admired.", label=1) as e:
    ...     e.zero(2, 0)
    ...     e.gradients("head_output")
    >>> e.loss, e.gradient("head_output", layer=1, head=3).shape

    Nothing is kept on the model: two experiments cannot disturb each other. Layers and heads count from 0.
    """

    def __init__(
        self, model: Model, text: str | tuple[str, str] | Sequence[int], label: Any = None, head_mask: Any = None
    ) -> None:
        self._model = model
        self._text = text
        self._label = label
        self._mask = head_mask
        self._changes: list[tuple[Any, ...]] = []
        self._values: set[str] = set()
        self._gradients: set[str] = set()
        self._logits = False
        self._seen: Text | None = None

    def __enter__(self) -> Experiment:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.run()

    def _change(self, change: tuple[Any, ...]) -> Experiment:
        self._seen = None
        self._changes.append(change)
        return self

    def zero(self, layer: int, head: int) -> Experiment:
        """The head's output becomes zero."""
        return self._change((layer, head))

    def mean(self, layer: int, head: int, row: ArrayLike) -> Experiment:
        """The head's output becomes this row ``[head_dim]`` at every token; see :meth:`Model.mean_head_output`."""
        return self._change((layer, head, np.ascontiguousarray(row, dtype=np.float32)))

    def patch(self, site: str, value: ArrayLike, *, layer: int | None = None, head: int | None = None) -> Experiment:
        """The value at a site becomes ``value``, of the site's shape: activation patching.

        At sites that every head has (``attention``, ``head_output`` ...) say which ``head``, or give values of all
        heads ``[heads, rows, columns]``.
        """
        values = np.asarray(value, dtype=np.float32)
        if site in PER_HEAD and head is None:
            if layer is None or values.ndim != 3:
                raise InputError(f"{site} is of every head: say layer= and head=, or give [heads, rows, columns]")
            for name, of_head in zip(self._model.heads[layer], values, strict=True):
                self._change((site, layer, name, np.ascontiguousarray(of_head)))
            return self
        if values.ndim != 2:
            raise InputError(f"{site}: give a matrix [rows, columns], not {values.ndim} axes")
        return self._change((site, layer, head, np.ascontiguousarray(values)))

    def mask(self, head_mask: ArrayLike) -> Experiment:
        """A factor for every head, ``[layers, heads]`` or ``[heads]``: 1 keeps, 0 masks."""
        self._seen, self._mask = None, head_mask
        return self

    def target(self, label: Any) -> Experiment:
        """What the model should have said; see ``labels`` of :meth:`Model.__call__`."""
        self._seen, self._label = None, label
        return self

    def values(self, *sites: str) -> Experiment:
        """Keep the values at these sites."""
        self._seen = None
        self._values.update(sites)
        return self

    def gradients(self, *sites: str) -> Experiment:
        """Keep the gradients of the loss at these sites (default: ``head_output``)."""
        self._seen = None
        self._gradients.update(sites or ("head_output",))
        return self

    def token_logits(self) -> Experiment:
        """Keep a language model's logits of every token."""
        self._seen, self._logits = None, True
        return self

    def run(self) -> Text:
        """Asks the model, once."""
        if self._seen is None:
            self._seen = self._model._look(
                [self._text],
                values=sorted(self._values),
                gradients=sorted(self._gradients),
                labels=None if self._label is None else [self._label],
                head_mask=self._mask,
                changes=self._changes,
                output_logits=self._logits or None,
            )[0]
        return self._seen

    @property
    def loss(self) -> float:
        """In nats, or squared units for regression."""
        return self.run().loss

    @property
    def logits(self) -> NDArray[np.float32]:
        """``[labels]``, or ``[tokens, labels]``."""
        return self.run().logits

    def value(self, site: str, *, layer: int | None = None, head: int | None = None) -> NDArray[np.float32]:
        """What was at a site: of one head, or of all heads of the layer."""
        return self._at(self.run().values, "values", site, layer, head)

    def gradient(self, site: str, *, layer: int | None = None, head: int | None = None) -> NDArray[np.float32]:
        """The gradient of the loss at a site."""
        return self._at(self.run().gradients, "gradients", site, layer, head)

    def _at(
        self, found: dict[str, Any], what: str, site: str, layer: int | None, head: int | None
    ) -> NDArray[np.float32]:
        if site not in found:
            raise InputError(f"{site} was not looked at: say {what}({site!r}) before")
        value = found[site]
        if isinstance(value, list):
            if layer is None:
                raise InputError(f"{site} is in every layer: say layer=")
            value = value[layer]
            if value is None:
                raise InputError(f"layer {layer} has no {site}")
        if head is not None:
            heads = self._model.heads[layer or 0]
            if head not in heads:
                raise InputError(f"layer {layer} has no head {head}; it has {heads}")
            value = value[heads.index(head)]
        return value  # type: ignore[no-any-return]
