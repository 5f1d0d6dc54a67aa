"""The attention analyses of Clark et al. (2019) in plain numpy and float64: the judge of the ones in Rust.

Written from the formulas alone, clear and slow. A document's maps are `maps` `[heads, query, key]`, all heads of
all layers side by side, layer by layer; rows sum to 1. Nothing is remembered between documents except what the
classes at the end of each part add up.

Positions, words, units and heads count from 0. `causal` means that row i sees the keys 0..i and no others.
"""

from dataclasses import dataclass

import numpy as np

# ---------------------------------------------------------------- surface patterns

CLASS_KEYS = ("sep", "cls", "punct")
KEYS = ("self", "next", "previous", "sep", "cls", "punct", "sep_sep", "rest_sep")
CAUSAL_KEYS = ("self", "previous", "first", "punct")


def token_classes(ids, cls=None, sep=None, punct=(), causal=False):
    """The class masks of a document, `[tokens]` bool by name: of causal models `first` and `punct`."""
    ids = np.asarray(ids)
    masks = dict(punct=np.isin(ids, list(punct)))
    if causal:
        return dict(first=np.arange(len(ids)) == 0, **masks)
    return dict(cls=ids == cls, sep=ids == sep, **masks)


def surface_patterns(maps, classes, mode, causal=False):
    """Numerators `[keys, heads]` and denominators `[keys]` of one document.

    `paper` divides by the number of tokens, `sep_sep` by the number of [SEP] rows and `rest_sep` by that of the others.
    `exact` divides by the number of rows that see an eligible key. A denominator of 0 means that the document
    has nothing to say about this key.
    """
    heads, n, _ = maps.shape
    keys = CAUSAL_KEYS if causal else KEYS
    visible = np.tril(np.ones((n, n), bool)) if causal else np.ones((n, n), bool)
    numerators, denominators = np.zeros((len(keys), heads)), np.zeros(len(keys))
    for at, key in enumerate(keys):
        rows = np.ones(n, bool)
        if key in ("self", "next", "previous"):
            offset = dict(self=0, next=1, previous=-1)[key]
            eligible = np.eye(n, k=offset, dtype=bool)
        elif key in ("sep_sep", "rest_sep"):
            rows = classes["sep"] if key == "sep_sep" else ~classes["sep"]
            eligible = rows[:, None] & classes["sep"][None, :]
        else:
            eligible = np.broadcast_to(classes[key], (n, n))
        eligible = eligible & visible
        numerators[at] = (maps * eligible).sum((1, 2))
        if mode == "exact":
            denominators[at] = eligible.any(1).sum()
        elif mode == "paper":
            denominators[at] = rows.sum()
        else:
            raise ValueError(mode)
    return numerators, denominators


class Averages:
    """Macro mean and standard error over documents, and the micro average, of ratios `[..., heads]`.

    A document whose denominator is 0 takes no part in that row. The standard error is the sample's standard
    deviation (divided by D - 1) over the square root of D; NaN for fewer than two documents.
    """

    def __init__(self):
        self.numerators, self.denominators = [], []

    def add(self, numerators, denominators):
        self.numerators.append(np.asarray(numerators, np.float64))
        self.denominators.append(np.asarray(denominators, np.float64))

    def result(self):
        top = np.stack(self.numerators)  # [documents, keys, heads]
        bottom = np.stack(self.denominators)  # [documents, keys]
        shape = top.shape[1:]
        found = dict(mean=np.full(shape, np.nan), standard_error=np.full(shape, np.nan), micro=np.full(shape, np.nan))
        counts = (bottom > 0).sum(0)
        for key in range(shape[0]):
            took_part = bottom[:, key] > 0
            count = int(counts[key])
            if count == 0:
                continue
            ratios = top[took_part, key] / bottom[took_part, key, None]
            found["mean"][key] = ratios.mean(0)
            if count > 1:
                found["standard_error"][key] = ratios.std(0, ddof=1) / np.sqrt(count)
            found["micro"][key] = top[took_part, key].sum(0) / bottom[took_part, key].sum()
        return found | dict(documents=counts)


# ---------------------------------------------------------------- entropy


def entropies(maps):
    """-sum p ln p of every row in nats, `[heads, query]`; 0 ln 0 = 0."""
    logs = np.zeros_like(maps)
    np.log(maps, out=logs, where=maps > 0)
    return -(maps * logs).sum(-1)


def smoothed(maps, weight, causal=False):
    """(1 - weight) p + weight / (number of keys that the row sees); hidden keys stay 0."""
    n = maps.shape[-1]
    visible = np.tril(np.ones((n, n))) if causal else np.ones((n, n))
    return (1 - weight) * maps + weight * visible / visible.sum(1, keepdims=True)


PAPER_ENTROPY_SMOOTHING = 0.0001


def entropy_statistics(maps, smoothing=0.0, causal=False):
    """One document's entropies by name, `[heads]` each, and the uniform reference.

    all         mean over rows
    one         of the [CLS] row, the first; of causal models the last
    normalised  mean over rows of E / ln(keys that the row sees), over rows that see more than one
    uniform     the mean of ln(keys that the row sees): `[1]`
    """
    n = maps.shape[-1]
    rows = entropies(smoothed(maps, smoothing, causal) if smoothing else maps)
    reference = np.log(np.arange(1, n + 1)) if causal else np.full(n, np.log(n))
    spread = reference > 0
    found = dict(all=rows.mean(1), one=rows[:, -1 if causal else 0], uniform=np.array([reference.mean()]))
    if spread.any():
        found["normalised"] = (rows[:, spread] / reference[spread]).mean(1)
    return found


class EntropyAverages:
    """Means and standard errors over documents of `entropy_statistics`; `micro` is the mean over all rows."""

    def __init__(self):
        self.documents = {}
        self.rows, self.tokens = 0.0, 0

    def add(self, statistics, tokens):
        for name, value in statistics.items():
            self.documents.setdefault(name, []).append(value)
        self.rows = self.rows + statistics["all"] * tokens
        self.tokens += tokens

    def result(self):
        found = {}
        for name, values in self.documents.items():
            values = np.stack(values)
            found[f"{name}.mean"] = values.mean(0)
            if name != "uniform" and len(values) > 1:
                found[f"{name}.standard_error"] = values.std(0, ddof=1) / np.sqrt(len(values))
        return found | {"all.micro": self.rows / self.tokens}


# ---------------------------------------------------------------- words


def align(forms, offsets, special):
    """Which unit each token belongs to, when the words stand in a text one space apart.

    `offsets` are the tokens' half-open character ranges in `" ".join(forms)`, `special` says which tokens are not of
    the text. Special tokens are units of their own, in order with the words. A token goes to the word with which it
    shares most characters, the left one on a tie; one that covers only a space goes to the word behind it.
    Returns (units, words): token positions by unit, and the unit of each word. A word may have no tokens.
    """
    spans, start = [], 0
    for form in forms:
        spans.append((start, start + len(form)))
        start += len(form) + 1
    owners = []
    for (first, last), is_special in zip(offsets, special):
        if is_special:
            owners.append(None)
            continue
        shared = [min(last, b) - max(first, a) for a, b in spans]
        best = int(np.argmax(shared))
        if shared[best] <= 0:
            best = next((i for i, (_, end) in enumerate(spans) if end > first), len(spans) - 1)
        owners.append(best)
    text = [i for i, owner in enumerate(owners) if owner is not None]
    before = [i for i, owner in enumerate(owners) if owner is None and (not text or i < text[0])]
    behind = [i for i, owner in enumerate(owners) if owner is None and i not in before]
    units = [[i] for i in before]
    words = list(range(len(units), len(units) + len(forms)))
    units += [[i for i, owner in enumerate(owners) if owner == word] for word in range(len(forms))]
    units += [[i] for i in behind]
    return units, words


ROW_MODES = ("mean", "first", "last", "max")


def word_maps(maps, units, mode="mean"):
    """Maps between units, `[heads, unit, unit]`: columns of a unit's tokens summed, its rows merged by `mode`.

    `max` takes the largest of the rows element by element and divides by the sum. A unit without tokens has a row and
    a column of zeros.
    """
    columns = np.stack([maps[:, :, unit].sum(-1) for unit in units], -1)
    merged = np.zeros((len(maps), len(units), len(units)))
    for at, unit in enumerate(units):
        if not unit:
            continue
        rows = columns[:, unit]
        if mode == "mean":
            merged[:, at] = rows.mean(1)
        elif mode in ("first", "last"):
            merged[:, at] = rows[:, 0 if mode == "first" else -1]
        elif mode == "max":
            largest = rows.max(1)
            merged[:, at] = largest / largest.sum(-1, keepdims=True)
        else:
            raise ValueError(mode)
    return merged


# ---------------------------------------------------------------- dependencies

DIRECTIONS = ("dep->head", "head<-dep", "both")
OFFSETS = tuple(range(-5, 6))
ALL, ALL_WITHOUT_PUNCT = "all", "all without punct"
# Two candidates that differ by less than both, the second a share of the larger, may change places with the order of
# a sum: rounding moves a large weight by an amount and a small one by a share of itself.
NEAR, NEAR_SHARE = 1e-6, 1e-3


def nearly_tied(a, b):
    """Equal zeros are no tie: both sides have them exactly. -inf is a candidate that does not exist."""
    larger = np.maximum(a, b)
    with np.errstate(invalid="ignore"):
        gap = np.abs(a - b)
    return (larger > 0) & (gap <= NEAR) & (gap <= NEAR_SHARE * larger)


def best_candidate(scores, allowed):
    """Where each row is largest among the allowed columns, the lowest index on a tie; -1 where all of them are 0."""
    chosen = np.where(allowed, scores, -np.inf)
    best = chosen.argmax(-1)
    return np.where(np.take_along_axis(chosen, best[..., None], -1)[..., 0] > 0, best, -1)


def dependency_scores(beta, words, empty, direction):
    """`[heads, dependent, candidate]` over words alone, and which candidates each dependent may choose."""
    inner = beta[:, words][:, :, words]
    scores = {
        "dep->head": inner,
        "head<-dep": inner.transpose(0, 2, 1),
        "both": inner + inner.transpose(0, 2, 1),
    }[direction]
    return scores, ~np.eye(len(words), dtype=bool) & ~np.asarray(empty, bool)[None, :]


def predict_heads(beta, words, empty, direction):
    """The word that each word chooses as its head, `[heads, words]`; -1 abstains. `empty`: words without tokens."""
    predicted = best_candidate(*dependency_scores(beta, words, empty, direction))
    predicted[:, np.asarray(empty, bool)] = -1
    return predicted


def near_ties(scores, allowed, gold):
    """Where rounding may decide whether a prediction is right, `[heads, words]`: the gold head and the best of the other
    candidates are nearly tied."""
    chosen = np.where(allowed, scores, -np.inf)
    words = np.arange(len(gold))
    target = np.maximum(gold, 0)
    right = chosen[:, words, target]
    chosen[:, words, target] = -np.inf
    return (gold >= 0) & nearly_tied(right, chosen.max(-1))


def gold_heads(sentence):
    """The head of every word, -1 for the root."""
    return np.array([word.head for word in sentence.words]) - 1


def relations_of(sentence, base=False):
    return [word.relation.split(":")[0] if base else word.relation for word in sentence.words]


def possessive_clitics(sentence):
    """Words whose head is judged by the clitic behind them: `nmod:poss` before a possessive ending (XPOS POS)."""
    words = sentence.words
    return [
        i for i in range(len(words) - 1) if words[i].relation == "nmod:poss" and words[i + 1].xpos == "POS"
    ]  # fmt: skip


def through_clitics(right, predicted, sentence):
    """`right` `[..., words]`, with possessors right where the clitic's prediction is the possessor's head."""
    gold = gold_heads(sentence)
    right = right.copy()
    for i in possessive_clitics(sentence):
        right[..., i] = predicted[..., i + 1] == gold[i]
    return right


class Dependencies:
    """Right and total by relation of predictors `[heads]`; by relation first, then direction and head."""

    def __init__(self, heads, causal=False, base=False, clitics=False):
        self.heads, self.causal, self.base, self.clitics = heads, causal, base, clitics
        self.tables = {}
        self.abstained = np.zeros((len(DIRECTIONS), heads), np.int64)
        self.empty_words, self.near = 0, []

    def row(self, relation):
        if relation not in self.tables:
            self.tables[relation] = dict(
                total=0,
                correct=np.zeros((len(DIRECTIONS), self.heads), np.int64),
                near=np.zeros((len(DIRECTIONS), self.heads), np.int64),
                reachable=np.zeros(len(DIRECTIONS), np.int64),
                baseline=np.zeros(len(OFFSETS), np.int64),
            )
        return self.tables[relation]

    def add(self, sentence, beta=None, words=(), empty=()):
        """One sentence; without a map the baselines alone."""
        gold = gold_heads(sentence)
        count = len(gold)
        at = np.arange(count)
        right = np.zeros((len(DIRECTIONS), self.heads, count), bool)
        near = np.zeros_like(right)
        if beta is not None:
            for d, direction in enumerate(DIRECTIONS):
                predicted = predict_heads(beta, words, empty, direction)
                right[d] = (predicted == gold) & (predicted >= 0)
                if self.clitics:
                    right[d] = through_clitics(right[d], predicted, sentence)
                self.abstained[d] += (predicted < 0).sum(-1)
                near[d] = near_ties(*dependency_scores(beta, words, empty, direction), gold)
            self.empty_words += int(np.sum(empty))
            self.near += [(sentence.name, *map(int, place)) for place in np.argwhere(near)]
        # 0 is the root here, as in the treebank, and words count from 1.
        guessed = np.stack([np.clip(at + 1 + offset, 0, count) for offset in OFFSETS]) - 1
        baseline = guessed == gold
        if self.clitics:
            baseline = through_clitics(baseline, guessed, sentence)
        # What a direction can find: a causal row sees only what stands before it.
        reachable = np.stack([gold >= 0] * len(DIRECTIONS))
        if self.causal:
            reachable[0] &= gold < at
            reachable[1] &= gold > at
        for i, relation in enumerate(relations_of(sentence, self.base)):
            names = [ALL, relation] if relation.split(":")[0] == "punct" else [ALL, ALL_WITHOUT_PUNCT, relation]
            for name in names:
                row = self.row(name)
                row["total"] += 1
                row["correct"] += right[:, :, i]
                row["near"] += near[:, :, i]
                row["reachable"] += reachable[:, i]
                row["baseline"] += baseline[:, i]

    def relations(self):
        names = [ALL, ALL_WITHOUT_PUNCT]
        return [n for n in names if n in self.tables] + sorted(n for n in self.tables if n not in names)

    def result(self):
        """Arrays over `relations()`: total `[R]`, correct and near `[R, direction, heads]`, reachable `[R, direction]`,
        baseline `[R, offset]`, and abstained `[direction, heads]`."""
        rows = [self.tables[name] for name in self.relations()]
        found = {name: np.stack([row[name] for row in rows]) for name in ("correct", "near", "reachable", "baseline")}
        return found | dict(total=np.array([row["total"] for row in rows]), abstained=self.abstained)


def prepositional_pairs(sentence):
    """Stanford's two arcs of a prepositional phrase from UD: (noun, its head, preposition), words from 0.

    For a noun that is obl or nmod (no possessor) with a child `case` that is no possessive ending, the first if several.
    """
    words, found = sentence.words, []
    for i, word in enumerate(words):
        if word.relation.split(":")[0] not in ("obl", "nmod") or word.relation == "nmod:poss":
            continue
        children = [
            j for j, child in enumerate(words)
            if child.head == i + 1 and child.relation.split(":")[0] == "case" and child.xpos != "POS"
        ]  # fmt: skip
        if children:
            found.append((i, word.head - 1, children[0]))
    return found


# ---------------------------------------------------------------- coreference

CANDIDATES = ("all", "preceding", "mention-heads")
CATEGORIES = ("all", "pronoun", "proper", "nominal")
BASELINES = ("nearest", "head match", "sieves")


def distinct_mentions(mentions):
    """Of the mentions that share a head word the longest, the first of equals; in the order of their heads."""
    kept = {}
    for mention in mentions:
        if mention.head not in kept or len(mention.words) > len(kept[mention.head].words):
            kept[mention.head] = mention
    return [kept[head] for head in sorted(kept)]


def agree(a, b):
    """Number, gender and person do not contradict; what a word does not say fits all, but who is no pronoun is the
    third person."""
    for feature in ("Number", "Gender", "Person"):
        values = [
            m.features.get(feature, "3" if feature == "Person" and m.category != "pronoun" else None) for m in (a, b)
        ]  # fmt: skip
        if None not in values and values[0] != values[1]:
            return False
    return True


SIEVES = (
    lambda a, b: a.text.lower() == b.text.lower(),
    lambda a, b: a.head_form.lower() == b.head_form.lower(),
    agree,
    lambda a, b: True,
)


def baseline_antecedent(name, mention, before):
    """The mention that a baseline chooses among those with an earlier head, nearest first; None if it has none."""
    tests = {"nearest": SIEVES[3:], "head match": SIEVES[1:2], "sieves": SIEVES}[name]
    for test in tests:
        for other in sorted(before, key=lambda m: -m.head):
            if test(mention, other):
                return other
    return None


def scored_mentions(mentions):
    """(mention, antecedents, mentions with an earlier head) of every mention that has an antecedent: one of the same
    entity whose head word stands before its own."""
    kept = distinct_mentions(mentions)
    found = []
    for mention in kept:
        before = [other for other in kept if other.head < mention.head]
        antecedents = {other.head for other in before if other.entity == mention.entity}
        if antecedents:
            found.append((mention, antecedents, before))
    return kept, found


@dataclass
class Coreference:
    """Right antecedents: `correct` `[candidates, categories, heads]`, `baselines` `[baselines, categories]`."""

    heads: int

    def __post_init__(self):
        self.correct = np.zeros((len(CANDIDATES), len(CATEGORIES), self.heads), np.int64)
        self.near = np.zeros_like(self.correct)
        self.total = np.zeros(len(CATEGORIES), np.int64)
        self.baselines = np.zeros((len(BASELINES), len(CATEGORIES)), np.int64)

    def add(self, mentions, beta, words, empty):
        """`mentions` of one document, their words numbered as `words`, which gives the unit of each."""
        count = len(words)
        kept, scored = scored_mentions([m for m in mentions if m.words.stop <= count])
        heads = np.isin(np.arange(count), [m.head for m in kept])
        inner = beta[:, words][:, :, words]
        filled = ~np.asarray(empty, bool)
        for mention, antecedents, before in scored:
            rows = [0, CATEGORIES.index(mention.category)]
            self.total[rows] += 1
            goal = np.isin(np.arange(count), list(antecedents))
            for v, variant in enumerate(CANDIDATES):
                allowed = filled & (np.arange(count) != mention.head)
                if variant == "preceding":
                    allowed &= np.arange(count) < mention.head
                elif variant == "mention-heads":
                    allowed &= heads
                scores = inner[:, mention.head]
                predicted = best_candidate(scores, allowed)
                right = np.isin(predicted, list(antecedents)) & (predicted >= 0)
                good = np.where(allowed & goal, scores, -np.inf).max(-1)
                bad = np.where(allowed & ~goal, scores, -np.inf).max(-1)
                self.correct[v, rows] += right
                self.near[v, rows] += nearly_tied(good, bad)
            for b, name in enumerate(BASELINES):
                chosen = baseline_antecedent(name, mention, before)
                self.baselines[b, rows] += chosen is not None and chosen.head in antecedents


# ---------------------------------------------------------------- how far heads look

SPANS = ("tokens", "tokens_without_special", "words")


def spans(maps, units, words):
    """Weight times |query - key|, and weight, of one document: `[SPANS, heads]` each. Units that are no words are
    special tokens; `words` are between the merged maps of `word_maps`."""
    inner = sorted(token for word in words for token in units[word])
    found = []
    for kept, places in ((maps, range(maps.shape[1])), (maps, inner), (word_maps(maps, units), words)):
        places = np.array(places)
        kept = kept[:, places][:, :, places]
        found.append(((kept * np.abs(places[:, None] - places)).sum((1, 2)), kept.sum((1, 2))))
    return np.moveaxis(np.array(found), 1, 0)


def mean_spans(found):
    """Mean distance and its standard error, of what `spans` says of every document. The mean is a ratio of sums R;
    the residuals of its linear part are distance - R * weight, a document each."""
    distance, weight = np.moveaxis(np.array(found), 1, 0)  # [documents, SPANS, heads]
    mean = distance.sum(0) / weight.sum(0)
    residuals = distance - mean * weight
    return mean, np.sqrt(len(found) * residuals.var(0, ddof=1)) / weight.sum(0)


# ---------------------------------------------------------------- distances

DISTANCE_SMOOTHING = 0.001


def distances(maps, smoothing=DISTANCE_SMOOTHING, causal=False):
    """Sums over a document's rows of the Jensen-Shannon divergence of every two heads, in nats, and of its square
    root: `[heads, heads]` each. JS(P, Q) = H(M) - H(P)/2 - H(Q)/2 with M = (P + Q)/2."""
    probabilities = smoothed(maps, smoothing, causal)
    heads, n, _ = maps.shape
    alone = entropies(probabilities)  # [heads, rows]
    total, roots = np.zeros((heads, heads)), np.zeros((heads, heads))
    for a in range(heads - 1):
        between = entropies((probabilities[a] + probabilities[a + 1 :]) / 2) - (alone[a] + alone[a + 1 :]) / 2
        between = np.maximum(between, 0)
        total[a, a + 1 :] = between.sum(1)
        roots[a, a + 1 :] = np.sqrt(between).sum(1)
    return total + total.T, roots + roots.T


# ---------------------------------------------------------------- gradients

GRADIENT_CLASSES = ("cls", "sep", "punct", "other")
CAUSAL_GRADIENT_CLASSES = ("first", "punct", "other")
GRADIENT_MEASURES = ("mean", "row_sum", "weighted_mean", "weighted_row_sum")


def gradient_importance(gradient, maps, classes, causal=False):
    """|dL/dalpha| of one document by class of key, `[measures, heads, classes]`; NaN for a class without tokens.

    mean      over the pairs (query, key) of the class; of causal models only keys that the query sees
    row_sum   summed over the keys of the class, mean over queries
    weighted  the same of |alpha dL/dalpha|
    A token belongs to the first class that has it; `other` has the rest.
    """
    names = CAUSAL_GRADIENT_CLASSES if causal else GRADIENT_CLASSES
    heads, n, _ = gradient.shape
    visible = np.tril(np.ones((n, n), bool)) if causal else np.ones((n, n), bool)
    found = np.full((len(GRADIENT_MEASURES), heads, len(names)), np.nan)
    left = np.ones(n, bool)
    for c, name in enumerate(names):
        keys = left if name == "other" else left & classes[name]
        left = left & ~keys
        pairs = visible & keys[None, :]
        if not pairs.any():
            continue
        for m, size in enumerate((np.abs(gradient), np.abs(gradient * maps))):
            total = (size * pairs).sum((1, 2))
            found[2 * m, :, c] = total / pairs.sum()
            found[2 * m + 1, :, c] = total / n
    return found
