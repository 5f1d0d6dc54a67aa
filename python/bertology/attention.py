"""What studies of attention and of layers found. Layers and heads are counted from 0."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .run import Run, heads_of
from .table import Table


class Patterns(Run):
    """`bertology.patterns`: what every head looks at."""

    command: ClassVar[str | None] = "patterns"

    @property
    def entropy(self) -> NDArray[np.float64]:
        """Entropy of attention, nats: the mean over texts of each text's mean over rows, `[layer, head]`.

        >>> run.entropy.mean(axis=1)                                           # doctest: +SKIP
        """
        return self._array("attn_entropy")

    @property
    def keys(self) -> list[str]:
        """What attention is summed over: `self`, `next`, `previous`, `sep` and so on.

        >>> run.keys                                                           # doctest: +SKIP
        ['self', 'next', 'previous', ...]
        """
        return list(self.results.get("averages") or {})

    def attention_to(self, key: str) -> NDArray[np.float64]:
        """Mean attention to one of `keys`, `[layer, head]`; NaN for heads that are pruned away.

        >>> run.attention_to("next")[2, 0]                                     # doctest: +SKIP
        """
        averages = self.results.get("averages") or {}
        if key not in averages:
            raise KeyError(f"no {key!r}; there are {', '.join(averages)}")
        return np.array(averages[key]["heads"], dtype=np.float64)

    @property
    def behaviours(self) -> Table:
        """What each head does most: layer, head, behaviour.

        >>> run.behaviours.to_pandas().value_counts("behaviour")               # doctest: +SKIP
        """
        return self.table("behaviours")

    def _numbers(self) -> str:
        found = self.results.get("behaviours") or {}
        return ", ".join(f"{name} {len(heads)}" for name, heads in found.items())


class Clusters(Run):
    """`bertology.cluster`: which heads look at the same things."""

    command: ClassVar[str | None] = "cluster"

    @property
    def distances(self) -> NDArray[np.float64]:
        """Divergence of the attention of two heads, nats, `[head, head]` in the order of `heads`.

        >>> run.distances[0].argsort()[:5]                                     # doctest: +SKIP
        """
        return self._array("head_distances")

    @property
    def heads(self) -> list[tuple[int, int]]:
        """The heads in the order of `distances`, as (layer, head).

        >>> run.heads[0]                                                       # doctest: +SKIP
        (0, 0)
        """
        return heads_of(self.results.get("heads") or [])

    @property
    def clusters(self) -> list[list[tuple[int, int]]]:
        """The heads of each cluster.

        >>> [len(cluster) for cluster in run.clusters]                         # doctest: +SKIP
        """
        return [heads_of(names) for names in self.results.get("clusters") or []]

    @property
    def map(self) -> Table:
        """Cluster and place on the map of every head.

        >>> run.map.to_pandas().plot.scatter("x", "y", c="cluster")            # doctest: +SKIP
        """
        return self.table("clusters")

    def _numbers(self) -> str:
        sizes = " ".join(str(len(cluster)) for cluster in self.clusters)
        silhouette = self.results.get("mean_silhouette")
        said = "" if silhouette is None else f", mean silhouette {silhouette:.3f}"
        return f"{len(self.clusters)} clusters of {sizes} heads{said}"


class Syntax(Run):
    """`bertology.syntax`: every head as a predictor of dependency relations."""

    command: ClassVar[str | None] = "syntax"

    @property
    def relations(self) -> Table:
        """The best head of each relation in each direction, with its interval and the baseline.

        >>> run.relations.to_pandas().query("best == 1")                       # doctest: +SKIP
        """
        return self.table("syntax")

    @property
    def correct(self) -> NDArray[np.int64]:
        """Words of a relation whose partner each head finds, `[direction, layer, head, relation]`; mapped from disk.

        >>> run.correct.shape                                                  # doctest: +SKIP
        """
        return self.array("syntax_heads")

    def _numbers(self) -> str:
        rows = self.results.get("relations") or []
        if not rows or not rows[0].get("best"):
            return ""
        best = rows[0]["best"]
        right = f"{best['head']} {100 * best['score']['accuracy']:.1f} % right"
        return f"{rows[0]['relation']} of {rows[0]['total']:,} words: {right}"


class Coref(Run):
    """`bertology.coref`: every head as a finder of antecedents."""

    command: ClassVar[str | None] = "coref"

    @property
    def heads(self) -> Table:
        """How often each head is right, by kind of mention.

        >>> run.heads.to_pandas().nlargest(5, "accuracy")                      # doctest: +SKIP
        """
        return self.table("coref")

    @property
    def baselines(self) -> Table:
        """How often simple rules are right.

        >>> run.baselines.to_pandas()                                          # doctest: +SKIP
        """
        return self.table("coref_baselines")

    def _numbers(self) -> str:
        best = (self.results.get("best") or {}).get("all") or {}
        accuracy = ((best.get("scores") or {}).get("all") or {}).get("accuracy")
        return f"best {best.get('head')}" + ("" if accuracy is None else f", {100 * accuracy:.1f} % right")


class Distance(Run):
    """`bertology.distance`: how far every head looks."""

    command: ClassVar[str | None] = "distance"

    @property
    def tokens(self) -> NDArray[np.float64]:
        """Mean distance of attention in tokens, `[layer, head]`.

        >>> run.tokens.mean(axis=1)                                            # doctest: +SKIP
        """
        return self._array("distance_tokens")

    @property
    def words(self) -> NDArray[np.float64]:
        """Mean distance of attention between words, in words, `[layer, head]`.

        >>> np.nanmean(run.words, axis=1)                                      # doctest: +SKIP
        """
        return self._array("distance_words")

    @property
    def heads(self) -> Table:
        """A row a head, with standard errors.

        >>> run.heads["words"]                                                 # doctest: +SKIP
        """
        return self.table("attention_distance")

    def _numbers(self) -> str:
        words = self.words
        if np.isnan(words).all():
            return ""
        near, far = (np.unravel_index(at, words.shape) for at in (np.nanargmin(words), np.nanargmax(words)))
        return f"from {words[near]:.2f} words (L{near[0]}H{near[1]}) to {words[far]:.2f} (L{far[0]}H{far[1]})"


class Relations(Run):
    """`bertology.relations`: whether attention follows labelled pairs."""

    command: ClassVar[str | None] = "relations"

    @property
    def heads(self) -> Table:
        """A row a label, range and head: share, precision, accuracies, beside what distances alone give.

        >>> run.heads.to_pandas().nlargest(5, "excess")                        # doctest: +SKIP
        """
        return self.table("relation_heads")

    @property
    def regressions(self) -> Table:
        """How well regressions over all heads find each label.

        >>> run.regressions.to_pandas()[["label", "average_precision"]]        # doctest: +SKIP
        """
        return self.table("relation_regressions")

    def _numbers(self) -> str:
        rows = [row for row in self.results.get("relations") or [] if row.get("share")]
        if not rows:
            return ""
        row = max(rows, key=lambda row: row["pairs"])
        share = row["share"]
        return f"{row['label']}: {share['head']} has {100 * share['value']:.1f} % of its attention along it"


class Contacts(Relations):
    """`bertology.contacts`: whether attention follows the contacts of proteins."""

    command: ClassVar[str | None] = "contacts"


class AttentionProbe(Run):
    """`bertology.attention_probe`: how much of dependency trees all attention maps hold together."""

    command: ClassVar[str | None] = "attention-probe"

    @property
    def probes(self) -> Table:
        """Scores of probes and baselines: unlabelled attachment with 95 % intervals.

        >>> run.probes.to_pandas()[["probe", "uas"]]                           # doctest: +SKIP
        """
        return self.table("probes")

    @property
    def weights(self) -> NDArray[np.float32]:
        """Weights of attention to the candidate, then from it, `[direction, layer, head]`; NaN for heads that are gone.

        >>> np.nanargmax(run.weights[0])                                       # doctest: +SKIP
        """
        return self._array("probe_weights")

    def _numbers(self) -> str:
        found = self.results.get("probes") or []
        return ", ".join(f"{row['probe']} {100 * row['without_punct']['uas']:.1f}" for row in found)


class EdgeProbe(Run):
    """`bertology.edge_probe`: what every layer knows of the structure of sentences."""

    command: ClassVar[str | None] = "edge-probe"

    @property
    def layers(self) -> Table:
        """Score, gain, mixing weight and controls of every layer of every task.

        >>> run.layers.to_pandas().pivot(index="layer", columns="task", values="score")  # doctest: +SKIP
        """
        return self.table("edge_layers")

    @property
    def examples(self) -> Table:
        """Every target that was scored, and the layer at which it is decided.

        >>> run.examples.to_pandas().query("flips > 2")                        # doctest: +SKIP
        """
        return self.table("edge_examples")

    @property
    def tasks(self) -> list[str]:
        """The names of the tasks.

        >>> run.tasks                                                          # doctest: +SKIP
        ['ud-deps', 'ud-pos']
        """
        return [str(task["name"]) for task in self.results.get("tasks") or []]

    def expected_layer(self, task: str | None = None) -> float:
        """The expected layer of a task, of the only one if none is named; NaN where the probes did not converge.

        >>> run.expected_layer("ud-pos")                                       # doctest: +SKIP
        """
        tasks = self.results.get("tasks") or []
        found = [row for row in tasks if task in (None, row["name"])]
        if len(found) != 1:
            raise KeyError(f"{task!r}: name one of the tasks {', '.join(self.tasks)}")
        value = (found[0].get("expected_layer") or {}).get("value")
        return float("nan") if value is None else float(value)

    def _numbers(self) -> str:
        return ", ".join(
            f"{task['name']} {_percent(task, 'bottom')} at the bottom, {_percent(task, 'top')} at the top"
            for task in self.results.get("tasks") or []
        )


class Cat(Run):
    """`bertology.cat`: how a model of code attends to its structure."""

    command: ClassVar[str | None] = "cat"

    @property
    def scores(self) -> NDArray[np.float64]:
        """Mean CAT-score, `[layer, head]`; NaN for heads without any.

        >>> np.nanmean(run.scores, axis=1)                                     # doctest: +SKIP
        """
        return self._array("cat")

    @property
    def partial_rho(self) -> NDArray[np.float64]:
        """Mean rank correlation of attention and closeness with the distance in the text held fast, `[layer, head]`.

        >>> run.partial_rho.max()                                              # doctest: +SKIP
        """
        return self._array("cat_partial_rho")

    @property
    def layers(self) -> Table:
        """Every measure and control of every layer, with intervals.

        >>> run.layers.to_pandas().query("measure == 'cat'")                   # doctest: +SKIP
        """
        return self.table("cat_layers")

    @property
    def heads(self) -> Table:
        """Scores of every head, and what chance gives the best of them.

        >>> run.heads.to_pandas().nsmallest(5, "p_value")                      # doctest: +SKIP
        """
        return self.table("cat_heads")

    def _numbers(self) -> str:
        rows = self.results.get("layers") or []
        found = [(row["cat"], row["layer"]) for row in rows if row.get("cat") is not None]
        counts = self.results.get("counts") or {}
        said = f"{counts.get('functions')} functions"
        return f"{said}, highest score {max(found)[0]:.3f} in layer {max(found)[1]}" if found else said


class Dynamics(Run):
    """`bertology.dynamics`: importance and pruning curves at every checkpoint of a training."""

    command: ClassVar[str | None] = "dynamics"

    @property
    def importance(self) -> NDArray[np.float64]:
        """Importance, normalised, `[checkpoint, layer, head]`, in the order of `steps`.

        >>> run.importance[-1].argmax()                                        # doctest: +SKIP
        """
        return self._array("head_importance_steps")

    @property
    def steps(self) -> Table:
        """A row a checkpoint: score, rank correlations, heads that it can do without.

        >>> run.steps.to_pandas().plot("step", "score")                        # doctest: +SKIP
        """
        return self.table("dynamics_steps")

    @property
    def curves(self) -> Table:
        """The score of every checkpoint with more and more heads masked, in each order.

        >>> run.curves.to_pandas().query("order == 'importance'")              # doctest: +SKIP
        """
        return self.table("dynamics")

    def _numbers(self) -> str:
        steps, metric = self.results.get("checkpoints") or [], self.results.get("metric")
        path = [_score(steps[0]), _score(steps[-1])] if steps else []
        return f"{len(steps)} checkpoints, {metric} {' -> '.join(path)}"


def _score(row: dict[str, Any]) -> str:
    return "-" if row.get("score") is None else f"{row['score']:.4f}"


def _percent(task: dict[str, Any], end: str) -> str:
    value = (task.get(end) or {}).get("value")
    return "-" if value is None else f"{100 * value:.1f}"
