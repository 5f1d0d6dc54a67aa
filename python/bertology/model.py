"""A model with its tokenizer."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _native, _torch, studies
from ._native import InputError
from .experiment import Experiment
from .output import Output, Text

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from . import attention, extraction, results
    from .run import Document

    OneText = str | tuple[str, str] | Sequence[int]


class Model:
    """A model of any family that runs here, and everything that happens inside it.

    >>> import bertology
    >>> model = bertology.Model.from_pretrained("assets/tiny-bert")
    >>> out = model(["The woman faints."], output_hidden_states=True, output_attentions=True)
    >>> out.hidden_states[0][4].shape, out.attentions[0][3].shape
    ((6, 128), (4, 6, 6))

    Layers and heads count from 0, and a head keeps its number when others are pruned.
    """

    def __init__(self, native: _native.Model, opening: Mapping[str, Any] | None = None) -> None:
        self._native = native
        self._opening = dict(opening or {})
        self._facts: dict[str, Any] = native.facts()
        self._stored: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        head: str = "auto",
        allow_unexpected: bool = False,
        precision: str = "f32",
        device: str = "cpu",
    ) -> Model:
        """Opens a folder in Hugging Face layout, or a model of the hub (fetched into the usual cache).

        ``head`` says with which task head: ``auto`` (the one it was saved with, if it is one of ours), ``encoder``,
        ``sequence-classification``, ``masked-lm``, ``causal-lm``, ``token-classification``, ``question-answering``,
        ``next-sentence``, ``pre-training``. ``precision`` says how exactly linear maps are computed: ``f32``, ``split``
        (by two bf16 parts of each number) or ``bf16``; see docs/precision.md. ``device`` says where passes run:
        ``cpu``, ``gpu:0`` or ``gpu:NAME`` (:func:`bertology.devices`), or ``auto``; see docs/commands/devices.md.
        Raises :class:`bertology.InputError` with what is wrong with the files.
        """
        folder = None if cache_dir is None else os.fspath(cache_dir)
        native = _native.Model.open(
            os.fspath(name),
            revision=revision,
            offline=local_files_only,
            cache_dir=folder,
            head=head,
            allow_unexpected=allow_unexpected,
            precision=precision,
            device=device,
        )
        # What a command must be told to open the same.
        opening: dict[str, Any] = {"allow_unexpected": allow_unexpected or None}
        if precision != "f32":
            opening["precision"] = precision
        if device != "cpu":
            opening["device"] = device
        if native.commit is not None:
            opening |= {"revision": native.commit, "cache_dir": folder, "offline": local_files_only or None}
        return cls(native, opening)

    @classmethod
    def from_torch(
        cls, model: Any, tokenizer: Any = None, *, head: str = "auto", precision: str = "f32", device: str = "cpu"
    ) -> Model:
        """Takes a model of transformers (4 or 5) as it is in memory; nothing is written anywhere.

        The weights are copied once, as float32, and later changes of ``model`` do not show. Without a tokenizer, inputs
        are token ids.
        """
        label, tensors, files = _torch.parts(model, tokenizer)
        native = _native.Model.from_memory(label, tensors, files, head=head, precision=precision, device=device)
        said = {"precision": precision, "device": device}
        usual = {"precision": "f32", "device": "cpu"}
        return cls(native, {name: value for name, value in said.items() if value != usual[name]})

    # What it is.

    @property
    def name(self) -> str:
        """What the command calls MODEL; of a model that lives in memory, the place that its files have there."""
        return self._native.name

    @property
    def config(self) -> dict[str, Any]:
        """``config.json``."""
        return json.loads(self._facts["config"])  # type: ignore[no-any-return]

    @property
    def precision(self) -> str:
        """How exactly linear maps are computed: ``f32``, ``split`` or ``bf16``."""
        return str(self._facts["precision"])

    @property
    def device(self) -> str:
        """Where passes run: ``cpu``, or a graphics card by its name."""
        return str(self._facts["device"])

    @property
    def num_layers(self) -> int:
        """Layers, pruned or not."""
        return int(self._facts["num_layers"])

    @property
    def num_heads(self) -> int:
        """Heads of a layer of the unpruned model."""
        return int(self._facts["num_heads"])

    @property
    def hidden_size(self) -> int:
        """Width of hidden states."""
        return int(self._facts["hidden_size"])

    @property
    def head_dim(self) -> int:
        """Width of a head's output."""
        return int(self._facts["head_dim"])

    @property
    def max_length(self) -> int:
        """The longest input in tokens, special ones included."""
        return int(self._facts["max_length"])

    @property
    def heads(self) -> list[list[int]]:
        """Of each layer the heads that it has, by their numbers in the unpruned model."""
        return [list(heads) for heads in self._facts["heads"]]

    @property
    def labels(self) -> list[str]:
        """Names of the classes, in order."""
        return list(self._facts["labels"])

    @property
    def parameters(self) -> int:
        """Numbers in the weights."""
        return int(self._facts["parameters"])

    def __repr__(self) -> str:
        facts = self._facts
        there = sum(map(len, self.heads))
        name = self.name if self._native.commit else Path(self.name).name
        return (
            f"<bertology.Model {name}: {facts['family']}, {self.num_layers} layers, {there} heads, "
            f"{self.parameters:,} parameters, {facts['task']}>"
        )

    def __reduce__(self) -> Any:
        if self._facts["in_memory"]:
            raise TypeError(
                "a model from memory cannot be pickled: save_pretrained() it and open that folder elsewhere"
            )
        return _reopened, (self.name, self._facts["removed"], self._opening)

    # What it computes.

    def __call__(
        self,
        texts: OneText | Iterable[OneText],
        *,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        output_head_outputs: bool = False,
        output_logits: bool | None = None,
        values: Iterable[str] = (),
        gradients: Iterable[str] = (),
        labels: Iterable[Any] | None = None,
        head_mask: ArrayLike | None = None,
        max_length: int | None = None,
        threads: int = 0,
    ) -> Output:
        """Puts texts through the model.

        A text is a string, a pair ``(first, second)``, or a list of token ids. Each is computed at its true length:
        there is no padding. A text beyond the model's limit is an error unless ``max_length`` says to cut.

        ``head_mask``: ``[layers, heads]`` or ``[heads]``, 1 keeps a head and 0 masks it. ``labels``: one a text, a
        class or a number, ``("logit", class)`` for the logit itself, ``"next"`` for a causal language model on its own
        text, a list with a token (or label) or None for each position. They give ``out.losses``,
        ``out.mask_gradients`` and the ``gradients`` of sites. ``values`` and ``gradients`` name sites: query, key,
        value, rotated_query, rotated_key (where positions are rotary), attention_scores, attention, attention_entropy,
        head_output, head_contribution, attention_output, mlp_inner, mlp_output, hidden_state, embeddings, pooled,
        last_residual.
        ``output_logits``: language models compute logits of every token only if asked.
        """
        wanted = set(values)
        if output_hidden_states:
            wanted |= {"embeddings", "hidden_state"}
        if output_attentions:
            wanted.add("attention")
        if output_head_outputs:
            wanted.add("head_output")
        return self._look(
            _listed(texts),
            values=sorted(wanted),
            gradients=list(gradients),
            labels=None if labels is None else list(labels),
            head_mask=head_mask,
            output_logits=output_logits,
            max_length=max_length,
            threads=threads,
        )

    def _look(
        self,
        texts: list[OneText],
        *,
        values: list[str],
        gradients: list[str],
        labels: list[Any] | None,
        head_mask: ArrayLike | None = None,
        changes: list[tuple[Any, ...]] | None = None,
        output_logits: bool | None = None,
        max_length: int | None = None,
        threads: int = 0,
    ) -> Output:
        by_token = self._facts["token_scores"] is not None
        found = self._native.look(
            [_plain(text) for text in texts],
            values=values,
            gradients=gradients,
            targets=labels,
            head_mask=None if head_mask is None else self._head_mask(head_mask),
            changes=changes or [],
            token_logits=by_token if output_logits is None else output_logits and self._scores_tokens(),
            max_length=max_length,
            threads=threads,
        )
        return Output([Text(one) for one in found])

    def _scores_tokens(self) -> bool:
        return bool(self._facts["language_model"]) or self._facts["token_scores"] is not None

    def _head_mask(self, mask: ArrayLike) -> NDArray[np.float64]:
        values = np.asarray(mask, dtype=np.float64)
        layers, heads = self.num_layers, self.num_heads
        if values.shape == (heads,):
            values = np.broadcast_to(values, (layers, heads))
        if values.shape != (layers, heads):
            raise InputError(f"head_mask has shape {values.shape}; give [{layers}, {heads}] or [{heads}]")
        return np.ascontiguousarray(values)

    def contacts(
        self,
        proteins: OneText | Iterable[OneText],
        *,
        head_mask: ArrayLike | None = None,
        max_length: int | None = None,
        threads: int = 0,
    ) -> list[NDArray[np.float64]]:
        """How probable it is that two residues touch, ``[residues, residues]`` for each protein, symmetric.

        For a checkpoint of ESM with a contact head: its regression over the attention of all heads (Rao et al. 2021),
        as ``predict_contacts`` of transformers. A head that is masked or pruned has nothing to say.
        """
        mask = None if head_mask is None else self._head_mask(head_mask)
        texts = [_plain(protein) for protein in _listed(proteins)]
        return self._native.contacts(texts, head_mask=mask, max_length=max_length, threads=threads)

    def tokenize(self, text: str, pair: str | None = None) -> list[str]:
        """The tokens that the model sees, special ones included."""
        given: OneText = text if pair is None else (text, pair)
        tokens = self._native.encode([given])[0]["tokens"]
        return list(tokens)

    def experiment(self, text: OneText, label: Any = None, head_mask: ArrayLike | None = None) -> Experiment:
        """A question about one text under changes: heads put out, values replaced, gradients kept."""
        return Experiment(self, text, label, head_mask)

    def mean_head_output(self, layer: int, head: int, texts: Iterable[OneText]) -> NDArray[np.float64]:
        """``[head_dim]``: the mean of a head's output over all tokens, for :meth:`Experiment.mean`."""
        total, tokens = np.zeros(self.head_dim), 0
        at = self.heads[layer].index(head)
        for text in self(texts, output_head_outputs=True):
            total += text.head_outputs[layer][at].astype(np.float64).sum(axis=0)
            tokens += len(text)
        if not tokens:
            raise InputError("no texts: a mean needs at least one")
        return total / tokens

    # Smaller models.

    def prune_heads(self, heads: Mapping[int, Iterable[int]]) -> Model:
        """The same model without these heads, ``{layer: [head, ...]}``; this one stays as it is."""
        given = [(int(layer), int(head)) for layer, of in heads.items() for head in of]
        return Model(self._native.without_heads(given), self._opening)

    def save_pretrained(
        self, folder: str | os.PathLike[str], *, keep_shape: bool = False, overwrite: bool = False
    ) -> list[str]:
        """Writes the model as it is now, with config and tokenizer; gives the names of the files.

        Pruned models load in transformers up to 4.57; with ``keep_shape`` pruned heads are zeros in their place, which
        loads anywhere and is no smaller.
        """
        return self._native.save(os.fspath(folder), keep_shape=keep_shape, overwrite=overwrite)

    def export_onnx(
        self,
        path: str | os.PathLike[str],
        hidden_states: bool = False,
        attentions: bool = False,
        *,
        overwrite: bool = False,
    ) -> list[Path]:
        """Writes the model as it is now as one ONNX file, for other runtimes; gives the paths of what was written.

        ``hidden_states`` adds the outputs ``hidden_states.0`` (the embeddings) to ``hidden_states.L``, ``attentions``
        ``attentions.0`` to ``attentions.L-1``, ``[batch, heads, query, key]`` of the heads that are left. Weights are
        float32 whatever the precision that the model was opened in. Those of a model beyond 2 GiB lie in a second file.
        """
        return self._native.export_onnx(
            os.fspath(path),
            source=self.name if self._native.commit else Path(self.name).name,
            hidden_states=hidden_states,
            attentions=attentions,
            overwrite=overwrite,
        )

    def _opened_with(self) -> dict[str, Any]:
        """Options with which a command opens :meth:`_argument`."""
        if self._facts["removed"]:
            return {name: value for name, value in self._opening.items() if name in ("precision", "device")}
        return self._opening

    def _argument(self) -> str:
        """What a command can open: heads that were pruned in memory are in no file yet."""
        if not self._facts["removed"]:
            return self.name
        if self._stored is None:
            self._stored = tempfile.TemporaryDirectory(prefix="bertology-")
            self.save_pretrained(Path(self._stored.name) / Path(self.name).name)
        return str(Path(self._stored.name) / Path(self.name).name)

    # Studies. Every option of the command is a keyword; see `help(bertology.studies.importance)`.

    def head_importance(self, data: Any = None, **options: Any) -> results.HeadImportance:
        """Importance and attention entropy of every head (Michel, Levy and Neubig 2019)."""
        return studies.importance(self, data, **options)

    importance = head_importance

    def ablate(self, data: Any = None, **options: Any) -> results.Ablation:
        """What the score loses without each head, one at a time."""
        return studies.ablate(self, data, **options)

    def mask(self, data: Any = None, **options: Any) -> results.Masking:
        """Heads masked, least important first, until the score falls."""
        return studies.mask(self, data, **options)

    def prune(self, data: Any = None, **options: Any) -> results.Pruning | Document:
        """Heads removed for good: score, size and speed before and after."""
        found: results.Pruning | Document = studies.prune(self, data, **options)
        return found

    def compress(self, data: Any = None, **options: Any) -> results.Compression:
        """Fewer heads and neurons under a cost, without training."""
        return studies.compress(self, data, **options)

    def judge(self, data: Any = None, **options: Any) -> results.Judgement:
        """Which measure of heads, neurons or layers deserves trust."""
        return studies.judge(self, data, **options)

    def evaluate(self, data: Any = None, **options: Any) -> results.Evaluation:
        """The task's metrics, or the loss and perplexity of a text."""
        return studies.evaluate(self, data, **options)

    def predict(self, data: Any = None, **options: Any) -> results.Predictions:
        """What a classifier says of texts without labels."""
        return studies.predict(self, data, **options)

    def patterns(self, data: Any = None, **options: Any) -> attention.Patterns:
        """What every head looks at: neighbours, special tokens, punctuation; entropy."""
        return studies.patterns(self, data, **options)

    def syntax(self, data: Any = None, **options: Any) -> attention.Syntax:
        """Every head as a predictor of dependency relations (Clark et al. 2019)."""
        return studies.syntax(self, data, **options)

    def coref(self, data: Any = None, **options: Any) -> attention.Coref:
        """Every head as a finder of antecedents."""
        return studies.coref(self, data, **options)

    def distance(self, data: Any = None, **options: Any) -> attention.Distance:
        """How far every head looks, in tokens and in words."""
        return studies.distance(self, data, **options)

    def relations(self, data: Any = None, **options: Any) -> attention.Relations:
        """Whether attention follows labelled pairs of words, tokens or residues."""
        return studies.relations(self, data, **options)

    def cluster(self, data: Any = None, **options: Any) -> attention.Clusters:
        """Which heads look at the same things."""
        return studies.cluster(self, data, **options)

    def attention_probe(self, data: Any = None, **options: Any) -> attention.AttentionProbe:
        """What all heads know of syntax together."""
        return studies.attention_probe(self, data, **options)

    def edge_probe(self, data: Any = None, **options: Any) -> attention.EdgeProbe:
        """What every layer knows of the structure of sentences (Tenney et al. 2019)."""
        return studies.edge_probe(self, data, **options)

    def cat(self, data: Any = None, **options: Any) -> attention.Cat:
        """How a model of code attends to its structure."""
        return studies.cat(self, data, **options)

    def finetune(self, data: Any = None, **options: Any) -> results.FineTuning:
        """Trains the model for a task."""
        return studies.finetune(self, data, **options)

    def dynamics(self, data: Any = None, **options: Any) -> attention.Dynamics:
        """Importance and pruning curves at every checkpoint of a training."""
        return studies.dynamics(self, data, **options)

    def bench(self, **options: Any) -> results.Bench:
        """Latency, throughput and memory; is another model faster?"""
        return studies.bench(self, **options)

    def extract(self, data: Any = None, **options: Any) -> extraction.Extraction | Document:
        """Hidden states, attention and gradients of a corpus, on disk."""
        found: extraction.Extraction | Document = studies.extract(self, data, **options)
        return found

    def verify(self, **options: Any) -> results.Verification:
        """The same numbers as transformers? Each layer, each head."""
        return studies.verify(self, **options)

    def view(self, *texts: str, **options: Any) -> results.View:
        """The attention of a text as a page."""
        return studies.view(self, *texts, **options)


def _listed(texts: Any) -> list[OneText]:
    """One text is a list of one; so is one pair, and one list of ids."""
    if isinstance(texts, str):
        return [texts]
    if isinstance(texts, tuple) and len(texts) == 2 and all(isinstance(part, str) for part in texts):
        return [texts]
    listed = list(texts)
    if listed and all(isinstance(one, int | np.integer) for one in listed):
        return [listed]
    return listed


def _plain(text: Any) -> Any:
    if isinstance(text, str):
        return text
    if isinstance(text, tuple | list) and len(text) == 2 and all(isinstance(part, str) for part in text):
        return tuple(text)
    if hasattr(text, "tolist"):
        text = text.tolist()
    if isinstance(text, list | tuple) and all(isinstance(one, int | np.integer) for one in text):
        return [int(one) for one in text]
    raise InputError(f"{text!r:.60} is no text: give a string, a pair of strings, or a list of token ids")


def _reopened(name: str, removed: list[tuple[int, int]], opening: dict[str, Any]) -> Model:
    known = {key: value for key, value in opening.items() if value is not None}
    known["local_files_only"] = known.pop("offline", False)
    model = Model.from_pretrained(name, **known)
    return model if not removed else Model(model._native.without_heads(removed), opening)
