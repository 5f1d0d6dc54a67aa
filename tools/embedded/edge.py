"""Agreement and coreference as labelled spans, so that no word of a span tells the label.

    python edge.py --output DIR [--train 240] [--dev 80] [--seed 20]

writes `DIR/{agreement,coreference}-{train,dev}.jsonl`, the records of `bertology edge-probe`. Sentences are the
grammar's, each with its twins, which always stay in one file:

- agreement, `Sing` or `Plur`: the number of the subject of a verb that does not show it ("The boys near the teacher
  *will* sleep"). Four twins: subject and the noun between it and the verb in both numbers each. So the verb
  says nothing of the label, nor does the noun beside it.
- coreference, `1` or `0`: whether a noun is what a pronoun means ("The *teacher* near the boy admires *himself*"), asked
  of two nouns that both could be meant. Two twins: the nouns change places. So each pair of words is as often
  right as wrong. In every other group the first noun is meant, so that order alone tells nothing either.

`DIR/known.json` says what the grammar allows: how often words and rules without syntax are right.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Callable, Iterator

import grammar
import lexicon as lex
from sentence import NounPhrase, Record, Tree, Word, finish

#: Twins, as records.
Group = list[dict]


def _position(tree: Tree, word: Word) -> int:
    return next(i for i, w in enumerate(tree.words) if w is word)


def _core(tree: Tree, noun: Word) -> list[Word]:
    """A noun with its determiner and adjectives: the words before it that depend on it."""
    end = _position(tree, noun)
    start = end
    while start and tree.words[start - 1].head is noun and tree.words[start - 1].deprel in ("det", "nummod", "amod"):
        start -= 1
    return tree.words[start : end + 1]


def _movable(tree: Tree, phrase: NounPhrase, mentions: int) -> bool:
    """Whether another person could stand here: a common noun, not quantified, in no coordination, of whom nothing
    else speaks (`mentions` in all)."""
    head = phrase.head
    if phrase.pronoun or head is None or head.noun is None or head.upos != "NOUN" or phrase.kind != "person":
        return False
    if phrase.quantified or len(_core(tree, head)) < 2 or head.deprel == "conj":
        return False
    if any(w.head is head and w.deprel in ("nmod:poss", "conj") for w in tree.words):
        return False
    return sum(m.entity == phrase.entity for m in tree.mentions) == mentions


def _shows_number(word: Word) -> bool:
    past_do = word.lemma == "do" and word.xpos == "VBD"
    return word.role == "finite" or (word.upos == "AUX" and word.role != "modal" and not past_do)


def _silent_verb(tree: Tree, root: Word) -> Word | None:
    """The finite verb of the clause, if its form fits either number."""
    finite = [w for w in tree.words if w.upos == "AUX" and w.head is root and not w.role == "passive"]
    if root.role == "past":
        return root
    return finite[0] if finite and not _shows_number(finite[0]) else None


def agreement_sites(tree: Tree) -> Iterator[tuple[NounPhrase, NounPhrase, Word]]:
    """(subject, a noun between it and its verb, the verb): `the` before both, the verb without number."""
    free = [m for m in tree.mentions if _movable(tree, m, 1) and _core(tree, m.head)[0].form == "the"]
    for subject in free:
        if not subject.head.deprel.startswith("nsubj"):
            continue
        verb = _silent_verb(tree, subject.head.head)
        if verb is None:
            continue
        between = range(_position(tree, subject.head) + 1, _position(tree, verb))
        for other in free:
            if _position(tree, other.head) not in between:
                continue
            if not any(_shows_number(w) and w.subject in (subject, other) for w in tree.words):
                yield subject, other, verb


def coreference_sites(tree: Tree) -> Iterator[tuple[NounPhrase, NounPhrase, NounPhrase]]:
    """(pronoun, whom it means, whom its form would fit as well), all nouns before it."""
    for pronoun in tree.mentions:
        meant = [m for m in tree.mentions if m.entity == pronoun.entity and _movable(tree, m, 2)]
        if pronoun.pronoun not in ("reflexive", "personal") or len(meant) != 1:
            continue
        at = _position(tree, pronoun.head)
        for other in tree.mentions:
            if not _movable(tree, other, 1) or other.number != pronoun.number:
                continue
            if pronoun.number == "Sing" and other.head.noun.gender not in ("x", pronoun.gender):
                continue
            # Of a personal pronoun only the subject of its own clause: the grammar leaves no other (principle B).
            if pronoun.pronoun == "personal" and other is not pronoun.clause_subject:
                continue
            if max(_position(tree, other.head), _position(tree, meant[0].head)) < at:
                yield pronoun, meant[0], other


def _with_number(word: Word, number: str) -> None:
    again = grammar.Builder.noun_word(None, word.noun, number)
    word.form, word.xpos, word.feats = again.form, again.xpos, again.feats


def _record(tree: Tree, targets: list[dict]) -> dict:
    return {"text": " ".join(t.form for t in finish(tree).tokens), "targets": targets}


def _span(tree: Tree, word: Word) -> list[int]:
    at = _position(tree, word)
    return [at, at + 1]


def agreement(tree: Tree, site: tuple[NounPhrase, NounPhrase, Word]) -> Group:
    """The four twins."""
    subject, other, verb = site
    group = []
    for number in ("Sing", "Plur"):
        for beside in ("Sing", "Plur"):
            _with_number(subject.head, number)
            _with_number(other.head, beside)
            group.append(_record(tree, [{"span1": _span(tree, verb), "label": number}]))
    return group


def coreference(tree: Tree, site: tuple[NounPhrase, NounPhrase, NounPhrase]) -> Group:
    """The two twins."""
    pronoun, meant, other = site

    def record(right: Word, wrong: Word) -> dict:
        targets = [(right, "1"), (wrong, "0")]
        targets.sort(key=lambda target: _position(tree, target[0]))
        return _record(tree, [
            {"span1": _span(tree, noun), "span2": _span(tree, pronoun.head), "label": label} for noun, label in targets
        ])

    first = record(meant.head, other.head)
    left, right = sorted((_core(tree, meant.head), _core(tree, other.head)), key=lambda core: _position(tree, core[0]))
    i, j = _position(tree, left[0]), _position(tree, right[0])
    words = tree.words
    words[:] = words[:i] + right + words[i + len(left) : j] + left + words[j + len(right) :]
    return [first, record(other.head, meant.head)]


def first_is_meant(tree: Tree, site: tuple[NounPhrase, NounPhrase, NounPhrase]) -> bool:
    _, meant, other = site
    return _position(tree, meant.head) < _position(tree, other.head)


TASKS = {"agreement": (agreement_sites, agreement), "coreference": (coreference_sites, coreference)}


def groups(task: str, count: int, rng: random.Random, seen: set[str]) -> list[Group]:
    """`count` groups of twins, no text of which is in `seen`; it grows by theirs."""
    sites, twins = TASKS[task]
    out: list[Group] = []
    while len(out) < count:
        tree = grammar.generate(rng)
        found = list(sites(tree))
        if not found:
            continue
        site = rng.choice(found)
        if task == "coreference" and first_is_meant(tree, site) != (len(out) % 2 == 0):
            continue
        group = twins(tree, site)
        texts = {record["text"] for record in group}
        if len(texts) == len(group) and not texts & seen:
            seen |= texts
            out.append(group)
    return out


def interchangeable() -> dict[str, str]:
    """For every form of the lexicon, what it shares with the words that the rules draw it from. The rules draw words
    evenly, so two forms of one class have the same relations with the same probabilities."""
    found: dict[str, set[str]] = defaultdict(set)
    for pool in (lex.PERSONS, lex.NAMES, lex.ANIMALS, lex.OBJECTS, lex.PLACES):
        for noun in pool:
            for form, number in ((noun.singular, "name" if noun in lex.NAMES else "Sing"), (noun.plural, "Plur")):
                found[form.lower()].add(f"{noun.kind} {noun.gender} {number}")
    for kind, forms in lex.ADJECTIVES.items():
        for form in forms:
            found[form].add(f"adjective of {kind}")
    for verb in lex.VERBS:
        of_places = verb.base in ("clean", "paint", "photograph", "find"), verb.base == "sell"
        traits = f"{verb.valency} {verb.reflexive} {verb.animal_subject} {verb.stative} {of_places}"
        for name in ("base", "s", "past", "part", "ing"):
            found[getattr(verb, name)].add(f"{name} {traits}")
    return {form: " or ".join(sorted(classes)) for form, classes in found.items()}


def counted(count: int, seed: int, key: Callable[[str], str], case: bool) -> dict[str, dict[tuple, Counter]]:
    """How often the words of a span have each label, over `count` sentences: XPOS of a word, the relation of a word
    and its head. Of these two `key` is what is kept of a form."""
    rng = random.Random(f"{seed}-edge-known")
    pos: dict[tuple, Counter] = defaultdict(Counter)
    deps: dict[tuple, Counter] = defaultdict(Counter)
    for _ in range(count):
        tokens = finish(grammar.generate(rng)).tokens
        for token in tokens:
            head = tokens[token.head - 1] if token.head else token
            pos[(token.form if case else token.form.lower(),)][token.xpos] += 1
            deps[key(token.form), key(head.form)][token.deprel] += 1
    return {"pos": pos, "dependencies": deps}


def best(table: dict[tuple, Counter]) -> float:
    """How often the best rule is right that sees the key alone."""
    return sum(max(c.values()) for c in table.values()) / sum(sum(c.values()) for c in table.values())


def known(count: int, seed: int) -> dict:
    """How often the best rule is right that sees the words of the spans and nothing else, by task: of models that read
    lower case, and of those that read words as they are written. A capital shows that a word is the first one."""
    classes = interchangeable()

    def cased(form: str) -> str:
        first = form[0].isupper() and all(form != name.singular for name in lex.NAMES)
        return ("first " if first else "") + classes.get(form.lower(), form.lower())

    def lower(form: str) -> str:
        return classes.get(form.lower(), form.lower())

    twins = {"agreement": 0.5, "coreference": 0.5}
    kinds = {"lower case": lower, "as written": cased}
    words = {
        kind: {task: round(best(table), 4) for task, table in counted(count, seed, key, kind == "as written").items()}
        for kind, key in kinds.items()
    }
    return {"sentences": count, "words": {kind: found | twins for kind, found in words.items()}}


def write(folder: Path, train: int, dev: int, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for task in TASKS:
        seen: set[str] = set()
        for name, count in (("dev", dev), ("train", train)):
            made = groups(task, count, random.Random(f"{seed}-edge-{task}-{name}"), seen)
            lines = [json.dumps(record, separators=(",", ":")) + "\n" for group in made for record in group]
            (folder / f"{task}-{name}.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")
    text = json.dumps(known(20000, seed), indent=1) + "\n"
    (folder / "known.json").write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--train", type=int, default=240, help="groups of twins to train on (default 240)")
    parser.add_argument("--dev", type=int, default=80, help="groups of twins to score (default 80)")
    parser.add_argument("--seed", type=int, default=20)
    args = parser.parse_args()
    write(args.output, args.train, args.dev, args.seed)


if __name__ == "__main__":
    main()
