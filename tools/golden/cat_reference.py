"""CAT-probing (Chen et al. 2022) in plain numpy and tree_sitter: the judge of the one in Rust.

Written from the description of the method alone, clear and slow. `leaves` are what is left of a tree's leaves, in source order;
a graph's distances `D` are whole numbers `[leaves, leaves]`, an attention `A` between leaves is float32 of the same
shape, rows ask and columns are asked. Positions, layers and heads count from 0; spans are of bytes.
"""

from dataclasses import dataclass, field

import numpy as np
import tree_sitter
import tree_sitter_go
import tree_sitter_java
import tree_sitter_javascript
import tree_sitter_python

GRAMMARS = dict(python=tree_sitter_python, java=tree_sitter_java, javascript=tree_sitter_javascript, go=tree_sitter_go)
COMMENTS = ("comment", "html_comment", "line_comment", "block_comment")
# Literals that are one leaf unless something is put into them.
STRINGS = (
    "string", "string_literal", "template_string", "interpreted_string_literal", "raw_string_literal"
)
PUT_IN = ("interpolation", "template_substitution")
DROPPED = ("line_continuation",)
GRAPHS = ("ast", "chain", "chain+flow")
CELLS = ("all", "off")  # the whole matrix, or what is off its diagonal
BLANKS = b" \t\r\n\v\f"
MIN_LEAVES = 12

# ---------------------------------------------------------------- trees


@dataclass
class Program:
    """Parents of all nodes, in preorder, the root's -1; and the leaves that are kept."""

    parents: list = field(default_factory=list)
    nodes: list = field(default_factory=list)
    kinds: list = field(default_factory=list)
    texts: list = field(default_factory=list)
    spans: list = field(default_factory=list)
    has_error: bool = False

    @property
    def depths(self):
        found = []
        for parent in self.parents:
            found.append(found[parent] + 1 if parent >= 0 else 0)
        return found


def is_docstring(node):
    """The first statement of a module's, class's or function's body, if it is a plain string or several of them."""
    above = node.parent
    if node.type != "expression_statement" or node.child_count != 1 or above is None:
        return False
    body = above.type == "module" or (
        above.type == "block" and above.parent.type in ("function_definition", "class_definition")
    )
    first = next(child for child in above.children if child.type not in COMMENTS)
    if not body or first.start_byte != node.start_byte:
        return False
    inner = node.children[0]
    parts = [inner] if inner.type == "string" else inner.children if inner.type == "concatenated_string" else []
    parts = [part for part in parts if part.type not in COMMENTS + DROPPED]

    def plain(part):
        return part.type == "string" and not set(part.children[0].text.lower()) & set(b"fb")

    return bool(parts) and all(plain(part) for part in parts)


def read(code, language, docstrings=False):
    """A program's tree and leaves; strings collapsed, comments dropped, docstrings too unless they are wanted."""
    parser = tree_sitter.Parser(tree_sitter.Language(GRAMMARS[language].language()))
    root = parser.parse(code).root_node
    out = Program(has_error=root.has_error)
    stack = [(root, -1, False)]
    while stack:
        node, parent, dropped = stack.pop()
        at = len(out.parents)
        out.parents.append(parent)
        dropped = dropped or node.type in COMMENTS or node.type in DROPPED
        if language == "python" and not docstrings:
            dropped = dropped or is_docstring(node)
        whole = node.type in STRINGS and not any(child.type in PUT_IN for child in node.children)
        if node.child_count == 0 or whole:
            if not dropped and node.end_byte > node.start_byte:
                out.nodes.append(at)
                out.kinds.append(node.type)
                out.texts.append(code[node.start_byte:node.end_byte])
                out.spans.append((node.start_byte, node.end_byte))
            continue
        stack += [(child, at, dropped) for child in reversed(node.children)]
    return out


def joined(program):
    """The text of the mode `joined`, and every leaf's span in it. A leaf of blanks adds nothing and has an empty span."""
    text, spans = b"", []
    for leaf in program.texts:
        if not leaf.strip(BLANKS):
            spans.append((len(text), len(text)))
            continue
        text += b" " if text else b""
        spans.append((len(text), len(text) + len(leaf)))
        text += leaf
    return text, spans


# ---------------------------------------------------------------- distances


def edges(program, graph):
    found = {(parent, child) for child, parent in enumerate(program.parents) if parent >= 0}
    if graph != "ast":
        found |= set(zip(program.nodes, program.nodes[1:]))
    if graph == "chain+flow":
        last = {}
        for node, kind, text in zip(program.nodes, program.kinds, program.texts):
            if kind == "identifier":
                if text in last:
                    found.add((last[text], node))
                last[text] = node
    return found


def distances(program, graph):
    """Edges of the shortest path between every two leaves, breadth first."""
    around = [[] for _ in program.parents]
    for a, b in edges(program, graph):
        around[a].append(b)
        around[b].append(a)
    rows = []
    for start in program.nodes:
        steps, front = {start: 0}, [start]
        while front:
            reached = []
            for node in front:
                for other in around[node]:
                    if other not in steps:
                        steps[other] = steps[node] + 1
                        reached.append(other)
            front = reached
        rows.append([steps[node] for node in program.nodes])
    return np.array(rows, np.int64).reshape(len(program.nodes), len(program.nodes))


def tree_distances(program):
    """The same on the tree alone, from the depths of the leaves and of where neighbours meet."""
    depths, n = program.depths, len(program.nodes)

    def chain(node):
        return [node, *chain(program.parents[node])] if node >= 0 else []

    meet = []
    for a, b in zip(program.nodes, program.nodes[1:]):
        above = set(chain(a))
        meet.append(depths[next(node for node in chain(b) if node in above)])
    found = np.zeros((n, n), np.int64)
    for i in range(n):
        for j in range(i + 1, n):
            found[i, j] = found[j, i] = depths[program.nodes[i]] + depths[program.nodes[j]] - 2 * min(meet[i:j])
    return found


def offsets(n):
    return np.abs(np.subtract.outer(np.arange(n), np.arange(n)))


# ---------------------------------------------------------------- alignment and leaf attention


def align(text, pieces, leaves):
    """The pieces of every leaf, as numbers of `pieces`, which are spans or None; a piece may belong to several leaves (`share`)."""
    found = [[] for _ in leaves]
    for number, piece in enumerate(pieces):
        if piece is None:
            continue
        begin, end = piece
        while begin < end and text[begin] in BLANKS:
            begin += 1
        while begin < end and text[end - 1] in BLANKS:
            end -= 1
        for leaf, (first, last) in enumerate(leaves):
            if min(end, last) > max(begin, first):
                found[leaf].append(number)
    return found


def leaf_attention(alpha, pieces, mode):
    """`[..., leaves, leaves]` float32 of `[..., pieces, pieces]`: the mean over a leaf's pieces as rows; as columns their
    mean (`mean_mean`) or sum (`mean_sum`). Every leaf has pieces. Nothing is normalised again."""
    alpha = np.asarray(alpha, np.float64)
    asks = np.zeros((len(pieces), alpha.shape[-1]))
    for leaf, own in enumerate(pieces):
        asks[leaf, own] = 1
    mean = asks / asks.sum(1, keepdims=True)
    asked = {"mean_mean": mean, "mean_sum": asks}[mode]
    return (mean @ alpha @ asked.T).astype(np.float32)


# ---------------------------------------------------------------- masks and scores


def cells(matrix, which):
    """The entries of a square matrix that take part."""
    return matrix[~np.eye(len(matrix), dtype=bool)] if which == "off" else matrix.ravel()


def above_third_quartile(values):
    """`values > Q(3/4)` by the entry that the interpolated quantile cannot pass."""
    return values > np.sort(values)[3 * (len(values) - 1) // 4]


def below_first_quartile(values):
    return values < np.sort(values)[-(-(len(values) - 1) // 4)]


def threshold(values):
    """The entry that a mask's cells exceed."""
    return np.sort(values)[3 * (len(values) - 1) // 4]


@dataclass
class Masks:
    both: int
    a: int
    d: int
    total: int

    @property
    def either(self):
        return self.a + self.d - self.both

    @property
    def jaccard(self):
        """None where there is nothing to divide by."""
        return self.both / self.either if self.either else None

    @property
    def chance(self):
        pa, pd = self.a / self.total, self.d / self.total
        return pa * pd / (pa + pd - pa * pd) if pa or pd else None

    @property
    def ceiling(self):
        return min(self.a, self.d) / max(self.a, self.d) if self.a or self.d else None

    @property
    def adjusted(self):
        """None where no distance is marked, or where chance is the ceiling."""
        if not self.d or self.ceiling == self.chance:
            return None
        return (self.jaccard - self.chance) / (self.ceiling - self.chance)


def masks(attention, distance, which):
    """The counts of a snippet; None where no cell takes part or the attention is all zero."""
    attention, distance = cells(attention, which), cells(distance, which)
    if not len(attention) or not attention.any():
        return None
    a, d = above_third_quartile(attention), below_first_quartile(distance)
    assert ((a & d).sum() + (a | d).sum()) == a.sum() + d.sum()
    return Masks(int((a & d).sum()), int(a.sum()), int(d.sum()), len(a))


def close_cells(attention, which, within):
    """How many cells, apart from those that equal the threshold, lie this near to it."""
    values = cells(attention, which).astype(np.float64)
    gap = np.abs(values - threshold(values))
    return int(((gap > 0) & (gap <= within)).sum())


SUMMARY = ("macro", "micro", "chance", "ceiling", "adjusted", "adjusted_of_means", "snippets")


def summary(found, which):
    """The `SUMMARY` of many snippets' masks. Off the diagonal a snippet without marked distances does not count.

    `macro`, `chance`, `ceiling` and `adjusted` are means of the snippets' values, `adjusted` over those with marked
    distances; `adjusted_of_means` is made of the other three's means over those same snippets; `micro` is a ratio of sums.
    """
    found = [m for m in found if m is not None and m.either and (m.d or which == "all")]
    marked = [m for m in found if m.adjusted is not None]
    if not found:
        return [np.nan] * 6 + [0]

    def mean(name, of):
        return float(np.mean([getattr(m, name) for m in of])) if of else np.nan

    j, chance, ceiling = (mean(name, marked) for name in ("jaccard", "chance", "ceiling"))
    return [
        mean("jaccard", found),
        sum(m.both for m in found) / sum(m.either for m in found),
        mean("chance", found),
        mean("ceiling", found),
        mean("adjusted", marked),
        (j - chance) / (ceiling - chance) if marked else np.nan,
        len(found),
    ]


# ---------------------------------------------------------------- controls


def offset_mean(attention):
    """The part of A that position explains: the mean over all cells of the same signed offset."""
    n = len(attention)
    signed = np.subtract.outer(np.arange(n), np.arange(n)) + n - 1
    total = np.bincount(signed.ravel(), attention.astype(np.float64).ravel(), 2 * n - 1)
    return (total / np.bincount(signed.ravel(), minlength=2 * n - 1))[signed].astype(np.float32)


def nearness(n):
    return (1 / (1 + offsets(n))).astype(np.float32)


def ranks(values):
    """From 1; what is equal shares the mean of its ranks."""
    _, group, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[group]


def correlation(x, y):
    """NaN where one of them is constant."""
    x, y = x - x.mean(), y - y.mean()
    size = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / size) if size > 0 else np.nan


def spearman(attention, distance):
    """Of A with -D off the diagonal; the same without what -|i-j| explains; of A and of -D with -|i-j|."""
    a, d = ranks(cells(attention, "off")), ranks(-cells(distance, "off"))
    o = ranks(-cells(offsets(len(attention)), "off"))
    ad, ao, do = correlation(a, d), correlation(a, o), correlation(d, o)
    rest = (1 - ao**2) * (1 - do**2)
    return ad, ((ad - ao * do) / np.sqrt(rest) if rest > 1e-24 else np.nan), ao, do


# ---------------------------------------------------------------- types of leaves


class Confidence:
    """How often cells of the rows and columns of a type are above the third quartile: `ge / num`."""

    def __init__(self):
        self.above, self.number = {}, {}

    def add(self, attention, kinds):
        values = attention.ravel()
        if not values.any():
            return
        mask = above_third_quartile(values).reshape(attention.shape)
        for own, row, column in zip(kinds, mask.sum(1), mask.sum(0)):
            self.above[own] = self.above.get(own, 0) + int(row + column)
            self.number[own] = self.number.get(own, 0) + 2 * len(kinds)
