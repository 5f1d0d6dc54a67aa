"""A plain reader of CoNLL-U: words, features, documents, and the mentions of `Entity=` in MISC.

For the references of the attention analyses only: it reads what it needs and stops at what it does not know.
Words are numbered from 1, and 0 is the root, as in the files.
"""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Word:
    form: str
    upos: str
    xpos: str
    features: dict
    head: int
    relation: str
    misc: dict


@dataclass
class Sentence:
    name: str = ""
    text: str = ""
    begins_document: bool = False
    comments: dict = field(default_factory=dict)
    words: list = field(default_factory=list)
    multiword_tokens: int = 0
    empty_nodes: int = 0

    @property
    def forms(self):
        return [word.form for word in self.words]


@dataclass
class Mention:
    """`words` are positions in the document, counted from 0 over its sentences laid end to end."""

    entity: str
    words: range
    head: int
    category: str = ""
    text: str = ""
    head_form: str = ""
    features: dict = field(default_factory=dict)


def pairs(column):
    """`A=b|C=d` as a dict; a part without `=` stands for itself."""
    if column == "_":
        return {}
    return dict(part.partition("=")[::2] for part in column.split("|"))


def read(path):
    """Every sentence of a file and the layout of its `Entity=` (`# global.Entity`), or None."""
    sentences, current, layout = [], Sentence(), None
    lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    for number, line in enumerate([*lines, ""], 1):
        line = line.rstrip("\r")
        if not line:
            if current.words:
                sentences.append(current)
                current = Sentence()
        elif line.startswith("#"):
            key, _, value = line[1:].partition("=")
            key, value = key.strip(), value.strip()
            current.comments[key] = value
            current.begins_document |= key.split()[0:1] == ["newdoc"]
            current.name = value if key == "sent_id" else current.name
            current.text = value if key == "text" else current.text
            layout = value.split("-") if key == "global.Entity" else layout
        else:
            columns = line.split("\t")
            if len(columns) != 10:
                raise ValueError(f"{path}:{number}: {len(columns)} columns")
            if "-" in columns[0]:
                current.multiword_tokens += 1
            elif "." in columns[0]:
                current.empty_nodes += 1
            else:
                if int(columns[0]) != len(current.words) + 1:
                    raise ValueError(f"{path}:{number}: word {columns[0]} after word {len(current.words)}")
                current.words.append(
                    Word(columns[1], columns[3], columns[4], pairs(columns[5]), int(columns[6]), columns[7],
                         pairs(columns[9]))
                )  # fmt: skip
    return sentences, layout


def documents(sentences):
    """Lists of sentences, a new one at each `# newdoc`."""
    found = []
    for sentence in sentences:
        if sentence.begins_document or not found:
            found.append([])
        found[-1].append(sentence)
    return found


def entity_marks(value):
    """The opening and closing marks of one `Entity=`: `(e1-person-2(e2-person-1)e3)` and the like."""
    at = 0
    while at < len(value):
        if value[at] == "(":
            end = min((value.find(mark, at + 1) for mark in "()" if value.find(mark, at + 1) >= 0), default=len(value))
            closed = end < len(value) and value[end] == ")"
            yield ("whole" if closed else "open"), value[at + 1 : end]
            at = end + closed
        else:
            end = value.index(")", at)
            yield "close", value[at:end]
            at = end + 1


def category(word):
    return {"PRON": "pronoun", "PROPN": "proper"}.get(word.upos, "nominal")


def mentions(document, layout):
    """The mentions of a document in the order in which they close.

    The head is the word of the mention whose parent lies outside of it, the leftmost if there are several.
    """
    if layout is None:
        return []
    found, opened, start = [], {}, 0
    identity = layout.index("eid")

    def add(entity, first, last, sentence):
        span = range(start + first, start + last + 1)
        inside = set(range(first + 1, last + 2))
        heads = [i for i in range(first, last + 1) if sentence.words[i].head not in inside]
        word = sentence.words[heads[0]]
        text = " ".join(sentence.forms[first : last + 1])
        found.append(
            Mention(entity, span, start + heads[0], category(word), text, word.form, word.features)
        )

    for sentence in document:
        for position, word in enumerate(sentence.words):
            for kind, mark in entity_marks(word.misc.get("Entity", "")):
                # A closing mark has the entity's name alone.
                entity = mark if kind == "close" else mark.split("-")[identity]
                if "[" in entity:
                    raise ValueError(f"{sentence.name}: mention {entity} has several parts")
                if kind == "whole":
                    add(entity, position, position, sentence)
                elif kind == "open":
                    opened.setdefault(entity, []).append(position)
                else:
                    add(entity, opened[entity].pop(), position, sentence)
        if any(opened.values()):
            raise ValueError(f"{sentence.name}: a mention does not close")
        start += len(sentence.words)
    return found
