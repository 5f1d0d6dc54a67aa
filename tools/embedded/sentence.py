"""Annotated sentences: the tree while it is being built, the finished record, CoNLL-U and TSV."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Iterable, Iterator

from lexicon import Noun, Verb

GLOBAL_ENTITY = "eid-etype-head"
GRAMMATICAL = "gr"


@dataclass(eq=False)
class Word:
    """One token under construction. `head` is another word, or None for the root."""

    form: str
    lemma: str
    upos: str
    xpos: str
    feats: dict[str, str] = field(default_factory=dict)
    deprel: str = "dep"
    head: "Word | None" = None
    # What the violations need to know, never written to a file:
    verb: Verb | None = None  # the paradigm of a main verb
    noun: Noun | None = None
    subject: "NounPhrase | None" = None  # finite verb: the phrase it agrees with; reflexive: its binder
    role: str = ""  # of a verb or auxiliary: finite, past, bare, progressive, perfect, passive, ...


@dataclass(eq=False)
class NounPhrase:
    """A mention: its words (in any order), its head, and what agrees with it."""

    words: list[Word]
    head: Word
    number: str  # Sing or Plur
    gender: str  # m, f, x, n
    kind: str
    entity: int
    pronoun: str = ""  # "", "personal", "possessive" or "reflexive"
    quantified: bool = False
    clause_subject: "NounPhrase | None" = None  # subject of the clause in which this is an argument


@dataclass(eq=False)
class Tree:
    """A sentence under construction: words in order and every mention."""

    words: list[Word]
    mentions: list[NounPhrase]


@dataclass
class Token:
    form: str
    lemma: str
    upos: str
    xpos: str
    feats: str
    head: int  # 1-based, 0 for the root
    deprel: str
    space_after: bool


@dataclass
class Mention:
    entity: int
    kind: str
    start: int  # 0-based, half-open
    end: int
    head: int  # 0-based, inside [start, end)


@dataclass
class Record:
    """A finished sentence with all its annotation."""

    tokens: list[Token]
    mentions: list[Mention]
    violation: str = GRAMMATICAL
    source: str = ""  # text before the violation; empty for an acceptable sentence

    @property
    def label(self) -> int:
        """1 acceptable, 0 broken."""
        return int(self.violation == GRAMMATICAL)

    @property
    def text(self) -> str:
        return "".join(t.form + (" " if t.space_after else "") for t in self.tokens).strip()

    def tsv(self) -> str:
        """One line of the CoLA layout: source code, label, original mark, sentence."""
        return f"{self.violation}\t{self.label}\t{'' if self.label else '*'}\t{self.text}\n"


def finish(tree: Tree) -> Record:
    """Number the words, capitalise the first one and measure the mentions."""
    position = {id(w): i for i, w in enumerate(tree.words)}
    tokens = []
    for i, w in enumerate(tree.words):
        following = tree.words[i + 1] if i + 1 < len(tree.words) else None
        form = w.form[0].upper() + w.form[1:] if i == 0 else w.form
        feats = "|".join(f"{k}={v}" for k, v in sorted(w.feats.items(), key=lambda kv: kv[0].lower()))
        tokens.append(
            Token(
                form, w.lemma, w.upos, w.xpos, feats or "_",
                0 if w.head is None else position[id(w.head)] + 1,
                w.deprel,
                space_after=following is None or following.upos != "PUNCT",
            )
        )
    mentions, names = [], {}
    for m in tree.mentions:
        at = [position[id(w)] for w in m.words if id(w) in position]
        if not at or id(m.head) not in position:
            continue
        entity = names.setdefault(m.entity, len(names) + 1)
        mentions.append(Mention(entity, m.kind, min(at), max(at) + 1, position[id(m.head)]))
    mentions.sort(key=lambda m: (m.start, -m.end, m.entity))
    return Record(tokens, mentions)


def _entity_column(record: Record, first: int) -> list[str]:
    """Bracketed mentions of every token; `first` is added to entity numbers."""
    opening: list[list[str]] = [[] for _ in record.tokens]
    single: list[list[str]] = [[] for _ in record.tokens]
    closing: list[list[str]] = [[] for _ in record.tokens]
    for m in sorted(record.mentions, key=lambda m: (m.start, -m.end)):
        label = f"e{first + m.entity}-{m.kind}-{m.head - m.start + 1}"
        if m.end - m.start == 1:
            single[m.start].append(f"({label})")
        else:
            opening[m.start].append(f"({label}")
            closing[m.end - 1].insert(0, f"e{first + m.entity})")
    return ["".join(o + s + c) for o, s, c in zip(opening, single, closing)]


def write_conllu(records: Iterable[Record], name: str) -> Iterator[str]:
    """CoNLL-U text, one sentence a document; entity numbers are unique in the file."""
    first = 0
    for number, record in enumerate(records, 1):
        lines = [f"# newdoc id = {name}-d{number}"]
        lines += [f"# global.Entity = {GLOBAL_ENTITY}"]
        lines += [f"# sent_id = {name}-{number}", f"# text = {record.text}"]
        lines += [f"# acceptability = {record.label}", f"# violation = {record.violation}"]
        if record.source:
            lines += [f"# source_text = {record.source}"]
        entities = _entity_column(record, first)
        for i, t in enumerate(record.tokens):
            misc = ([f"Entity={entities[i]}"] if entities[i] else []) + ([] if t.space_after else ["SpaceAfter=No"])
            lines.append(
                "\t".join(
                    [str(i + 1), t.form, t.lemma, t.upos, t.xpos, t.feats, str(t.head), t.deprel, "_", "|".join(misc) or "_"]
                )
            )
        first += max((m.entity for m in record.mentions), default=0)
        yield "\n".join(lines) + "\n\n"


def read_conllu(text: str) -> list[Record]:
    """The inverse of [`write_conllu`], for the files it wrote (no ranges, no empty nodes)."""
    records = []
    first = 0
    for block in text.split("\n\n"):
        if not block.strip():
            continue
        comments, tokens, mentions, open_mentions = {}, [], [], []
        for line in block.split("\n"):
            if line.startswith("#"):
                key, _, value = line[1:].partition(" = ")
                comments[key.strip()] = value
                continue
            columns = line.split("\t")
            misc = dict(item.split("=", 1) for item in columns[9].split("|") if item != "_")
            at = len(tokens)
            tokens.append(
                Token(*columns[1:6], int(columns[6]), columns[7], misc.get("SpaceAfter") != "No")
            )
            for part in misc.get("Entity", "").replace("(", "\n(").replace(")", ")\n").split("\n"):
                if not part:
                    continue
                if part.startswith("("):
                    eid, kind, head = part.strip("()").split("-")
                    open_mentions.append(Mention(int(eid[1:]) - first, kind, at, -1, at + int(head) - 1))
                if part.endswith(")"):
                    eid = int(part.strip("()").split("-")[0][1:]) - first
                    m = next(m for m in reversed(open_mentions) if m.entity == eid)
                    open_mentions.remove(m)
                    m.end = at + 1
                    mentions.append(m)
        if open_mentions:
            raise ValueError(f"{comments.get('sent_id')}: unclosed mentions {open_mentions}")
        mentions.sort(key=lambda m: (m.start, -m.end, m.entity))
        records.append(Record(tokens, mentions, comments["violation"], comments.get("source_text", "")))
        first += max((m.entity for m in mentions), default=0)
    return records
