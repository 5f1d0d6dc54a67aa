"""Divergences, a map and clusters of heads, as scipy and scikit-learn compute them.

Writes golden/studies/cluster.json. Nothing here is shared with the code under test.

    python tools/golden/make_cluster_golden.py

Needs numpy, scipy and scikit-learn, and no model.
"""

import json
import warnings
from pathlib import Path

import numpy
import scipy
import sklearn
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import jensenshannon, pdist, squareform
from sklearn.manifold import MDS
from sklearn.metrics import silhouette_samples

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "golden" / "studies" / "cluster.json"
HEADS, TOKENS, SEQUENCES = 12, 7, 2
# The numbers of the released script: 0.999 of the attention, 0.001 shared out evenly.
SMOOTHING = 0.001


def smoothed(maps, causal):
    seen = numpy.tril(numpy.ones(maps.shape[-2:])) if causal else numpy.ones(maps.shape[-2:])
    return (1 - SMOOTHING) * maps + SMOOTHING * seen / seen.sum(-1, keepdims=True)


def divergences(maps):
    """Of all pairs of heads, summed over the rows of [heads, rows, targets]."""
    heads = len(maps)
    sums = numpy.zeros((heads, heads))
    for a in range(heads):
        for b in range(a):
            # jensenshannon is the square root.
            sums[a, b] = sums[b, a] = sum(
                jensenshannon(p, q) ** 2 for p, q in zip(maps[a], maps[b])
            )
    return sums


def attention(random, causal):
    """Heads of three kinds, sharp and broad ones in each; float32 as a model gives them."""
    at = numpy.arange(TOKENS)
    previous = -numpy.abs(at[:, None] - 1 - at[None, :])
    first = -0.7 * at[None, :].repeat(TOKENS, 0)
    broad = numpy.zeros((TOKENS, TOKENS))
    kinds = [previous, previous, first, broad]
    scores = numpy.stack(
        [(1 + h % 3) * kinds[h % 4] + random.normal(size=(TOKENS, TOKENS)) for h in range(HEADS)]
    )
    if causal:
        scores = numpy.where(at[None, None, :] <= at[None, :, None], scores, -numpy.inf)
    weights = numpy.exp(scores - scores.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True)).astype(numpy.float32)


def sums_of(documents, causal, smoothing):
    documents = [maps.astype(numpy.float64) for maps in documents]
    if smoothing:
        documents = [smoothed(maps, causal) for maps in documents]
    return sum(divergences(maps) for maps in documents)


def best_map(distances):
    """The lowest stress that many starts of scikit-learn reach, and the distances on that map."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mds = MDS(
            n_components=2,
            metric="precomputed",
            metric_mds=True,
            init="random",
            n_init=200,
            max_iter=10_000,
            eps=1e-14,
            random_state=1,
            n_jobs=1,
        )
        points = mds.fit_transform(distances)
    return {"stress": float(mds.stress_), "distances": pdist(points).tolist()}


def clusters(distances):
    merges = linkage(squareform(distances, checks=False), "average")
    cuts = {}
    for count in range(2, 7):
        labels = fcluster(merges, count, "maxclust")
        assert len(set(labels)) == count
        cuts[count] = {
            "labels": labels.tolist(),
            "silhouettes": silhouette_samples(distances, labels, metric="precomputed").tolist(),
        }
    return {"merges": merges.tolist(), "cuts": cuts}


def main():
    random = numpy.random.default_rng(20)
    record = {
        "versions": {m.__name__: m.__version__ for m in (numpy, scipy, sklearn)},
        "heads": HEADS,
        "tokens": TOKENS,
    }
    for name, causal in (("bidirectional", False), ("causal", True)):
        documents = [attention(random, causal) for _ in range(SEQUENCES)]
        plain = sums_of(documents, causal, False)
        mean = plain / (SEQUENCES * TOKENS)
        record[name] = {
            # The shortest numbers that are these in float32.
            "maps": [[float(str(v)) for v in maps.reshape(-1)] for maps in documents],
            "sums": plain.reshape(-1).tolist(),
            "smoothed_sums": sums_of(documents, causal, True).reshape(-1).tolist(),
            "mean": {"map": best_map(mean), "clusters": clusters(mean)},
        }
    OUT.write_text(json.dumps(record))
    print(OUT, record["versions"])


if __name__ == "__main__":
    main()
