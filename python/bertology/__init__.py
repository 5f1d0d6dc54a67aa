"""What happens inside transformers: hidden states, attention, the importance of heads, masking and pruning.

>>> import bertology
>>> model = bertology.Model.from_pretrained("assets/tiny-bert")
>>> out = model(["The woman faints."], output_hidden_states=True, output_attentions=True)
>>> out.attentions[0][3].shape  # text 0, layer 3: [heads, query, key]
(4, 6, 6)

Every study of the command `bertology` is a function of :mod:`bertology.studies` and a method of :class:`Model`; it
writes the same run folder and gives it back as a :class:`Run`. Layers and heads count from 0 everywhere.
"""

from __future__ import annotations

from typing import Any

from . import compat, studies
from ._native import Error, InputError, Interrupted, WorkError, __version__
from .compat import find_pruneable_heads_and_indices, get_head_mask, prune_conv1d_layer, prune_linear_layer
from .experiment import Experiment
from .model import Model
from .output import Output, Padded, Text
from .run import Run
from .table import Table


def view(model: Model | str, *texts: Any, **options: Any) -> Any:
    """The attention of texts as a page that notebooks show; see :func:`bertology.studies.view`."""
    return studies.view(model, *texts, **options)


def __getattr__(name: str) -> Any:
    if name == "distributed":
        import importlib

        return importlib.import_module(".distributed", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Error",
    "Experiment",
    "InputError",
    "Interrupted",
    "Model",
    "Output",
    "Padded",
    "Run",
    "Table",
    "Text",
    "WorkError",
    "__version__",
    "compat",
    "find_pruneable_heads_and_indices",
    "get_head_mask",
    "prune_conv1d_layer",
    "prune_linear_layer",
    "studies",
    "view",
]
