"""What each study found, under the names that people look for. Layers and heads are counted from 0."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .run import Document, Run, frame, heads_of, scores
from .table import Table

Floats = NDArray[np.floating[Any]]


def _grid(rows: list[list[float | None]]) -> Floats | None:
    """Numbers by layer and head; NaN where there is none, `None` where there are no numbers at all."""
    return np.array(rows, dtype=np.float64) if rows else None


class _Scored(Run):
    """A run with the task's metrics."""

    def _evaluation(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.results.get("evaluation") or {}
        return found

    @property
    def metrics(self) -> dict[str, float]:
        """The task's metrics and the mean loss (nats) of the model.

        >>> run.metrics                                                        # doctest: +SKIP
        {'acc': 0.8015, 'f1': 0.8661, 'loss': 0.5325}
        """
        evaluation = self._evaluation()
        found = dict(evaluation.get("metrics") or {})
        if evaluation.get("loss") is not None:
            found.setdefault("loss", evaluation["loss"])
        return found

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """95 % intervals of the metrics, where there are any.

        >>> run.intervals["acc"]                                               # doctest: +SKIP
        (0.7623, 0.8382)
        """
        found = self._evaluation().get("intervals") or {}
        return {name: (ends[0], ends[1]) for name, ends in found.items() if ends}

    @property
    def predictions(self) -> Table:
        """What the model says of each example.

        >>> run.predictions["loss"].mean()                                     # doctest: +SKIP
        """
        return self.table("predictions")


class HeadImportance(_Scored):
    """`bertology.importance`: how much every head matters, and how spread its attention is."""

    command: ClassVar[str | None] = "importance"

    @property
    def scores(self) -> NDArray[np.float32]:
        """Importance, normalised, `[layer, head]`; 0 where a head has no score.

        >>> run.scores.argmax()                                                # doctest: +SKIP
        """
        return self._array("head_importance")

    @property
    def raw(self) -> NDArray[np.float64]:
        """Importance before normalisation, `[layer, head]`, in the unit of the loss.

        >>> run.raw.sum(axis=1)                                                # doctest: +SKIP
        """
        return self._array("head_importance_raw")

    @property
    def ranks(self) -> NDArray[np.int64]:
        """0 the most important head, -1 one without a score, `[layer, head]`.

        >>> (run.ranks == 0).nonzero()                                         # doctest: +SKIP
        """
        return self._array("head_ranks")

    @property
    def entropy(self) -> NDArray[np.float32]:
        """Mean entropy of attention, nats, `[layer, head]`.

        >>> run.entropy.mean(axis=1)                                           # doctest: +SKIP
        """
        return self._array("attn_entropy")

    @property
    def stderr(self) -> Floats | None:
        """Standard error of `raw`, `[layer, head]`; `None` where there is none (`granularity="script"`, one example).

        >>> run.raw / run.stderr                                               # doctest: +SKIP
        """
        return _grid(self.results.get("head_importance_standard_error") or [])

    @property
    def rank_low(self) -> Floats | None:
        """The lower end of the 95 % interval of each rank, `[layer, head]`, NaN for heads without a score.

        >>> run.rank_high - run.rank_low                                       # doctest: +SKIP
        """
        return _grid(self.results.get("head_rank_low") or [])

    @property
    def rank_high(self) -> Floats | None:
        """The upper end of the 95 % interval of each rank, `[layer, head]`, NaN for heads without a score.

        >>> run.rank_high.max()                                                # doctest: +SKIP
        """
        return _grid(self.results.get("head_rank_high") or [])

    def to_pandas(self) -> Any:
        """A row a head: importance, entropy, rank, intervals; needs pandas.

        >>> run.to_pandas().nlargest(5, "importance")                          # doctest: +SKIP
        """
        return self.table("heads").to_pandas()

    def keep(self, share: float) -> NDArray[np.float32]:
        """The head mask that keeps this share of the heads, the most important ones: 1 keeps, 0 masks, `[layer, head]`.

        The number is rounded as `mask(keep=share)` rounds it, but that scores heads anew on the way and so may choose
        others. Heads without a score are not kept.

        Raises `ValueError` for a share that is not between 0 and 1, or of which no head is left.

        >>> bertology.evaluate(model, data, mask=run.keep(0.5))                # doctest: +SKIP
        """
        ranks = self.ranks
        live = int((ranks >= 0).sum())
        kept = int(np.floor(share * live + 0.5)) if 0 <= share <= 1 else -1
        if kept < 0:
            raise ValueError(f"keep({share}): a share between 0 and 1 is expected")
        if kept == 0:
            raise ValueError(f"keep({share}): none of {live} heads would be left")
        return ((ranks >= 0) & (ranks < kept)).astype(np.float32)

    def _numbers(self) -> str:
        ranks = self.ranks
        best = sorted((rank, layer, head) for (layer, head), rank in np.ndenumerate(ranks) if rank >= 0)[:3]
        most = " ".join(f"L{layer}H{head}" for _, layer, head in best)
        return f"{ranks.shape[0]} layers of {ranks.shape[1]} heads, most important {most}; {scores(self._evaluation())}"


class Ablation(_Scored):
    """`bertology.ablate`: what the score loses without each head, or with each alone in its layer (`keep_one`)."""

    command: ClassVar[str | None] = "ablate"

    @property
    def changes(self) -> NDArray[np.float32]:
        """Change of the metric, `[layer, head]`; NaN where a head was not tried.

        >>> np.nanargmin(run.changes)                                          # doctest: +SKIP
        """
        return self._array("keep_one_change" if self._has("keep_one_change.npy") else "head_ablation")

    @property
    def loss_changes(self) -> Floats:
        """Change of the mean loss, nats, `[layer, head]`; NaN where a head was not tried.

        >>> run.loss_changes > 0.01                                            # doctest: +SKIP
        """
        alone = self.results.get("keep_one")
        if alone:
            return np.array(alone["loss_change"], dtype=np.float64)
        return self._array("head_ablation_loss")

    @property
    def heads(self) -> Table:
        """A row a head: changes, errors, tests.

        >>> run.heads.to_pandas().sort_values("change")                        # doctest: +SKIP
        """
        return self.table("keep_one" if self._has("keep_one.csv") else "ablation")

    def to_pandas(self) -> Any:
        """`heads` as a `pandas.DataFrame`; needs pandas.

        >>> run.to_pandas().nsmallest(5, "change")                             # doctest: +SKIP
        """
        return self.heads.to_pandas()

    def _numbers(self) -> str:
        metric, changes = self.results.get("metric"), self.changes
        if np.isnan(changes).all():
            return scores(self._evaluation())
        lower = self.results.get("direction") != "lower"
        layer, head = np.unravel_index(np.nanargmin(changes) if lower else np.nanargmax(changes), changes.shape)
        alone = " alone" if self.results.get("keep_one") else ""
        return f"{metric} {changes[layer, head]:+.4f} by L{layer}H{head}{alone}; {scores(self._evaluation())}"


class Masking(Run):
    """`bertology.mask`: heads that the model can do without, least important first."""

    command: ClassVar[str | None] = "mask"

    def _search(self) -> Mapping[str, Any]:
        return self.results

    @property
    def mask(self) -> NDArray[np.float32]:
        """1 keeps a head, 0 masks or removes it, `[layer, head]`.

        Raises `KeyError` for a run with `schedule=`, which searches for no mask.

        >>> bertology.evaluate(model, data, mask=run.mask)                     # doctest: +SKIP
        """
        return self._array("head_mask")

    @property
    def heads_removed(self) -> list[tuple[int, int]]:
        """The heads that the mask leaves out, as (layer, head).

        >>> run.heads_removed                                                  # doctest: +SKIP
        [(0, 1), (3, 2)]
        """
        return heads_of(self._search().get("masked_heads") or [])

    @property
    def curve(self) -> Table:
        """The score at every step of the search; with `schedule=` of every share of heads, in each order.

        >>> run.curve.to_pandas().plot("heads_left", "score")                  # doctest: +SKIP
        """
        return self.table("curve" if self._has("curve.csv") else "schedule")

    @property
    def importance(self) -> NDArray[np.float32]:
        """Importance before any head was masked, normalised, `[layer, head]`.

        >>> run.importance.argmin()                                            # doctest: +SKIP
        """
        return self._array("head_importance")

    def _numbers(self) -> str:
        found = self._search()
        if found.get("heads_left") is None:
            return f"{found.get('metric')} in {len(self.curve)} points"
        return (
            f"{found['heads_left']} of {found['heads_before']} heads left, {found['metric']} "
            f"{_number(found['score_before'])} -> {_number(found['score_after'])}"
        )


class _Smaller(Run):
    """A run that wrote a smaller checkpoint."""

    @property
    def model_path(self) -> Path:
        """The folder of the smaller checkpoint, which transformers loads; removed with a temporary run.

        >>> AutoModel.from_pretrained(run.model_path)                          # doctest: +SKIP
        """
        return self.path / "model"

    @property
    def before(self) -> dict[str, float]:
        """Metrics and loss of the whole model; empty where no data were given.

        >>> run.before["acc"] - run.after["acc"]                               # doctest: +SKIP
        """
        return _metrics(self.results.get("evaluation_before"))

    @property
    def after(self) -> dict[str, float]:
        """Metrics and loss of the smaller model; empty where no data were given.

        >>> run.after["loss"]                                                  # doctest: +SKIP
        """
        return _metrics(self.results.get("evaluation_after"))


class Pruning(_Smaller, Masking):
    """`bertology.prune`: heads removed for good, and the smaller checkpoint."""

    command: ClassVar[str | None] = "prune"

    def _search(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.results.get("masking") or {}
        return found

    @property
    def heads_removed(self) -> list[tuple[int, int]]:
        """The heads that were removed, as (layer, head).

        >>> len(run.heads_removed)                                             # doctest: +SKIP
        """
        return heads_of(self.results.get("removed_heads") or [])

    def _numbers(self) -> str:
        sizes = self.results.get("sizes") or {}
        said = f"{sizes.get('heads_after')} of {sizes.get('heads_before')} heads left"
        before, after = self.before, self.after
        changed = [f"{name} {_number(before[name])} -> {_number(after.get(name))}" for name in before if name in after]
        return ", ".join([said, *changed[:2]])


class Compression(_Smaller):
    """`bertology.compress`: fewer heads and neurons under a cost, fewer tokens, and the smaller checkpoint."""

    command: ClassVar[str | None] = "compress"

    @property
    def mask(self) -> NDArray[np.float32]:
        """1 for a head that is left, 0 for one that is gone, `[layer, head]`.

        >>> run.mask.sum(axis=1)                                               # doctest: +SKIP
        """
        return self._array("head_mask")

    @property
    def neuron_mask(self) -> NDArray[np.float32]:
        """1 for a neuron that is left, 0 for one that is gone, `[layer, neuron]`.

        >>> run.neuron_mask.sum(axis=1)                                        # doctest: +SKIP
        """
        return self._array("neuron_mask")

    @property
    def layers(self) -> Table:
        """What each layer has lost, what it costs now, and what its tuning did.

        >>> run.layers.to_pandas()[["heads_after", "neurons_after"]]           # doctest: +SKIP
        """
        return self.table("layer_costs")

    @property
    def points(self) -> Table:
        """Every smaller model that was tried on the way to a score; raises `KeyError` without `max_drop=`.

        >>> run.points.to_pandas().plot("operations", "score")                 # doctest: +SKIP
        """
        return self.table("compression")

    @property
    def vocabulary(self) -> Table:
        """Every token that stays, its ids before and after; raises `KeyError` without `trim_vocabulary=`.

        >>> dict(zip(run.vocabulary["old_id"], run.vocabulary["id"]))          # doctest: +SKIP
        """
        return self.table("vocabulary_map")

    @property
    def finetuned(self) -> FineTuning:
        """The training of the smaller model; raises `FileNotFoundError` without `then="finetune"`.

        >>> run.finetuned.model_path                                           # doctest: +SKIP
        """
        return FineTuning(self.path / "finetuned")

    def _numbers(self) -> str:
        left = []
        if operations := self.results.get("operations"):
            left.append(f"{operations[1] / operations[0]:.1%} of the operations left")
        if vocabulary := self.results.get("vocabulary"):
            left.append("{1} of {0} tokens left".format(*vocabulary["rows"]))
        changed = [
            f"{name} {_number(value)} -> {_number(self.after.get(name))}"
            for name, value in self.before.items()
            if name in self.after
        ]
        return ", ".join([*left, *changed[:2]])


class Judgement(Run):
    """`bertology.judge`: which measure of heads, neurons or layers deserves trust."""

    command: ClassVar[str | None] = "judge"

    @property
    def measures(self) -> Table:
        """The mean score along the way of each measure, with its interval, the best first.

        >>> run.measures.to_pandas()[["measure", "area"]]                      # doctest: +SKIP
        """
        return self.table("judged_measures")

    @property
    def curves(self) -> Table:
        """The score as units go, by measure and seed.

        >>> run.curves.to_pandas().groupby(["measure", "left"])["score"].mean()   # doctest: +SKIP
        """
        return self.table("judged_curves")

    @property
    def differences(self) -> Table:
        """Which measures differ, pair by pair; `real` is 1 where that is no accident.

        >>> run.differences.to_pandas().query("real == 1")                     # doctest: +SKIP
        """
        return self.table("judged_differences")

    @property
    def units(self) -> Table:
        """What each measure gives to each unit, with standard errors where they are known.

        >>> run.units.to_pandas()                                              # doctest: +SKIP
        """
        return self.table("judged_units")

    def _numbers(self) -> str:
        pairs, real = self.results["pairs"]
        return f"{real} of {pairs} differences are real, best: {self.results['measures'][0]}"


class Evaluation(_Scored):
    """`bertology.evaluate`: the task's metrics, or a text's perplexity."""

    command: ClassVar[str | None] = "evaluate"


class Predictions(Run):
    """`bertology.predict`: what a classifier says of texts."""

    command: ClassVar[str | None] = "predict"

    @property
    def predictions(self) -> Table:
        """A row a text, or a word.

        >>> run.predictions.to_pandas()                                        # doctest: +SKIP
        """
        return self.table("predictions")

    @property
    def labels(self) -> list[Any]:
        """The class of each text or word, or its number.

        >>> run.labels                                                         # doctest: +SKIP
        ['entailment', 'neutral']
        """
        table = self.predictions
        found: list[Any] = table["label" if "label" in table else "value"].tolist()
        return found

    def to_pandas(self) -> Any:
        """`predictions` as a `pandas.DataFrame`; needs pandas.

        >>> run.to_pandas()["probability"].min()                               # doctest: +SKIP
        """
        return self.predictions.to_pandas()

    def _numbers(self) -> str:
        given = ", ".join(f"{name} {count}" for name, count in (self.results.get("given") or {}).items())
        return f"{self.results.get('rows')} rows{', ' if given else ''}{given}"


class FineTuning(Run):
    """`bertology.finetune`: a model trained for a task. The run folder is the model."""

    command: ClassVar[str | None] = "finetune"

    @property
    def model_path(self) -> Path:
        """The folder of the trained model, which transformers loads; removed with a temporary run.

        >>> bertology.importance(run.model_path, data)                         # doctest: +SKIP
        """
        return self.path

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics on the dev data at the end; empty where there were none.

        >>> run.metrics                                                        # doctest: +SKIP
        {'mcc': 0.913}
        """
        return dict(self.results.get("metrics") or {})

    @property
    def training(self) -> Table:
        """Loss, learning rate and size of the gradient of every step.

        >>> run.training["loss"][-1]                                           # doctest: +SKIP
        """
        return self.table("training")

    @property
    def checkpoints(self) -> list[Path]:
        """The models on the way, where `checkpoints=True` kept them.

        >>> bertology.dynamics(run.checkpoints, task="cola", data="GLUE")      # doctest: +SKIP
        """
        return sorted(path for path in (self.path / "checkpoints").glob("step-*") if path.is_dir())

    def _numbers(self) -> str:
        metrics = ", ".join(f"{name} {_number(value)}" for name, value in self.metrics.items())
        said = f"{self.results.get('steps')} steps of {self.results.get('examples')} examples"
        return f"{said}, {metrics}" if metrics else said


class Bench(Run):
    """`bertology.bench`: latency, throughput and memory."""

    command: ClassVar[str | None] = "bench"

    @property
    def timings(self) -> Table:
        """A row for each size of batch, length and model.

        >>> run.timings.to_pandas()[["batch_size", "p50_ms"]]                  # doctest: +SKIP
        """
        return self.table("bench")

    def _numbers(self) -> str:
        best = max(self.timings["examples_per_second"], default=0.0)
        return f"at most {best:.1f} examples/s, {self.results.get('threads')} threads"


class Verification(Document):
    """`bertology.verify`: whether the model computes what the reference has."""

    @property
    def agrees(self) -> bool:
        """Whether all tensors agree.

        >>> bertology.verify("model", reference="reference.safetensors").agrees  # doctest: +SKIP
        True
        """
        return bool(self.record.get("agrees"))

    @property
    def comparisons(self) -> Table:
        """A row a tensor: how many values were compared, and the largest relative error.

        >>> found.comparisons["relative"].max()                                # doctest: +SKIP
        """
        found = (self.record.get("found") or {}).get("comparisons") or []
        rows = []
        for one in found:
            worst = one.get("worst") or {}
            plain = {key: value for key, value in one.items() if not isinstance(value, (dict, list))}
            rows.append({**plain, "absolute": worst.get("absolute"), "relative": worst.get("relative")})
        return Table.of_rows(rows, "comparisons")

    def __repr__(self) -> str:
        found = self.comparisons
        worst = float(np.nanmax(found["relative"])) if len(found) else 0.0
        return (
            f"<Verification: {'agrees' if self.agrees else 'differs'}, {len(found)} tensors, largest error {worst:.2g}>"
        )


class View(Document):
    """`bertology.view`: the attention of a text as a page, which a notebook shows."""

    def __init__(self, record: Mapping[str, Any], page: str) -> None:
        super().__init__(record)
        self.html = page

    def save(self, path: str | Path) -> Path:
        """Writes the page into a file.

        >>> bertology.view("bert-base-uncased", "A text.").save("text.html")   # doctest: +SKIP
        """
        Path(path).write_text(self.html, encoding="utf-8")
        return Path(path)

    def __repr__(self) -> str:
        return f"<View: {self.record.get('tokens')} tokens, {self.record.get('heads')} heads>"

    def _repr_html_(self) -> str:
        return frame(self.html, 820)


def _metrics(evaluation: Mapping[str, Any] | None) -> dict[str, float]:
    found = dict((evaluation or {}).get("metrics") or {})
    if evaluation and evaluation.get("loss") is not None:
        found.setdefault("loss", evaluation["loss"])
    return found


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
