"""The released code of CAT-probing (Chen et al. 2022), transcribed from its description with its faults, in plain numpy and
tree_sitter: the judge of `--legacy`. Distances are networkx's.

What is not the code's: the grammars are today's. Literals are put back to what those of 2022 gave (Java: one leaf; Python and Go:
the quotation marks alone, both of kind `"`; JavaScript: as they are), and comments of any name are comments.
"""

from collections import defaultdict

import networkx as nx
import numpy as np
import tree_sitter

from cat_reference import COMMENTS, GRAMMARS

LONGEST = 256
TOP = 8
STATIC = {
    "javascript": ["function", ")", "string_fragment", "identifier", "(", ";", "{", "}"],
    "go": ["package_identifier", "type_identifier", "field_identifier", "if", "return", "="],
    "java": [")", "public", "string_literal", "identifier", "}", "return", "type_identifier", "if"],
    "python": [")", "def", "return", "identifier", "if", "for", ":", "]"],
}
CONTENT = dict(
    python=("string_content",),
    go=("interpreted_string_literal_content", "raw_string_literal_content", "escape_sequence"),
)


def source(tokens):
    return " ".join(" ".join(tokens).replace("\n", " ").split()).replace("</s>", "<unk>")


def sliced(code, start, end):
    """Columns are the parser's, which are bytes, on lines of characters."""
    lines = code.split("\n")
    (first, a), (last, b) = start, end
    if first == last:
        return lines[first][a:b]
    return lines[first][a:] + "".join(lines[first + 1:last]) + lines[last][:b]


class Tree:
    """The upgraded tree: `graph`; and leaves by node number: `texts` and `kinds`."""

    def __init__(self, code, language):
        parser = tree_sitter.Parser(tree_sitter.Language(GRAMMARS[language].language()))
        root = parser.parse(code.encode()).root_node
        self.graph, self.texts, self.kinds = nx.Graph(), {}, {}
        self.graph.add_node(0)
        number = 0
        stack = [(child, 0) for child in reversed(root.children)]
        while stack:
            node, parent = stack.pop()
            kind, children = node.type, node.children
            if kind in CONTENT.get(language, ()):
                continue  # these grammars had none
            if language == "python" and kind in ("string_start", "string_end"):
                kind = '"'
            if language == "java" and kind == "string_literal":
                children = []
            number += 1
            self.graph.add_edge(parent, number)
            if not children and kind not in COMMENTS:
                self.texts[number] = sliced(code, node.start_point, node.end_point)
                self.kinds[number] = kind
            stack += [(child, number) for child in reversed(children)]
        leaves = list(self.texts)
        self.graph.add_edges_from(zip(leaves, leaves[1:]))
        seen = {}
        for leaf in leaves:
            if self.kinds[leaf] == "identifier":
                if self.texts[leaf] in seen:
                    self.graph.add_edge(seen[self.texts[leaf]], leaf)
                seen[self.texts[leaf]] = leaf

    def search(self, pieces, kinds=None):
        """The leaf of every piece or None, and the list of kinds."""
        leaves, texts, types = list(self.texts), list(self.texts.values()), list(self.kinds.values())
        found, listed, pos, old = [], [], 0, 0
        for piece in pieces:
            piece = piece.replace("Ġ", "")
            if piece in ("<s>", "</s>", "<pad>"):
                found.append(None)
                continue
            if pos == len(texts):
                pos = old
            while pos < len(texts) and (piece not in texts[pos] or (kinds is not None and types[pos] not in kinds)):
                pos += 1
            if pos == len(texts):
                found.append(None)
                continue
            if old != pos or old == 0:
                listed.append(types[pos])
            found.append(leaves[pos])
            old = pos
        return found, listed

    def matrices(self, found, attention):
        """Attention and distances between the leaves that were found, in order of their first piece."""
        rows = {}
        for at, leaf in enumerate(found):
            if leaf is not None:
                rows.setdefault(leaf, []).append(at)
        n = len(rows)
        a, d = np.zeros((n, n)), np.zeros((n, n))
        for i, (one, left) in enumerate(rows.items()):
            lengths = nx.single_source_shortest_path_length(self.graph, one)
            for j, (other, right) in enumerate(rows.items()):
                a[i, j] = np.mean(attention[np.ix_(left, right)])
                d[i, j] = lengths[other]
        return a, d


def score(a, d):
    """J, or None where the function is passed over."""
    if not a.any():
        return None
    high, near = a > np.quantile(a, 0.75), d < np.quantile(d, 0.25)
    either = (high | near).sum()
    return None if either == 0 else (high & near).sum() / either


def top(found):
    """The kinds of a layer, of (attention, listed kinds) of every function."""
    above, number, leaves = defaultdict(int), defaultdict(int), 0
    for a, listed in found:
        if not a.any():
            continue
        high = a > np.quantile(a, 0.75)
        leaves += len(a)
        for i in range(len(a)):
            for j in range(len(a)):
                for kind in (listed[i], listed[j]):
                    number[kind] += 1
                    above[kind] += bool(high[i, j])
    rates = {kind: above[kind] / number[kind] for kind in above if above[kind] and number[kind] > leaves}
    return sorted(rates, key=lambda kind: (-rates[kind], kind))[:TOP]
