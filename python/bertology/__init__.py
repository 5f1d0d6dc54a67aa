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

import importlib
from typing import Any

from . import compat, studies
from ._native import Error, InputError, Interrupted, WorkError, __version__
from .attention import (
    AttentionProbe,
    Cat,
    Clusters,
    Contacts,
    Coref,
    Distance,
    Dynamics,
    EdgeProbe,
    Patterns,
    Relations,
    Syntax,
)
from .compat import find_pruneable_heads_and_indices, get_head_mask, prune_conv1d_layer, prune_linear_layer
from .experiment import Experiment
from .extraction import Extraction
from .model import Model
from .output import Output, Padded, Text
from .results import (
    Ablation,
    Bench,
    Compression,
    Evaluation,
    FineTuning,
    HeadImportance,
    Judgement,
    Masking,
    Predictions,
    Pruning,
    Verification,
    View,
)
from .run import Document, Run
from .table import Table


def view(model: Model | str, *texts: Any, **options: Any) -> Any:
    """The attention of texts as a page that notebooks show; see :func:`bertology.studies.view`."""
    return studies.view(model, *texts, **options)


devices = studies.devices


def __getattr__(name: str) -> Any:
    # What most programs do without is imported when it is asked for.
    if name in ("distributed", "embedded"):
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Ablation",
    "AttentionProbe",
    "Bench",
    "Cat",
    "Clusters",
    "Compression",
    "Contacts",
    "Coref",
    "Distance",
    "Document",
    "Dynamics",
    "EdgeProbe",
    "Error",
    "Evaluation",
    "Experiment",
    "Extraction",
    "FineTuning",
    "HeadImportance",
    "InputError",
    "Interrupted",
    "Judgement",
    "Masking",
    "Model",
    "Output",
    "Padded",
    "Patterns",
    "Predictions",
    "Pruning",
    "Relations",
    "Run",
    "Syntax",
    "Table",
    "Text",
    "Verification",
    "View",
    "WorkError",
    "__version__",
    "compat",
    "devices",
    "find_pruneable_heads_and_indices",
    "get_head_mask",
    "prune_conv1d_layer",
    "prune_linear_layer",
    "studies",
    "view",
]
