"""The named ways to break a sentence. Each makes one change and is certain to be an error.

A violation has `sites(tree)`, the places where it can be made, and `apply(tree, site, rng)`, which
makes it in place. `change` says what the token sequence goes through: one token replaced, one
or more neighbours inserted or deleted, or two neighbours swapped.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Callable

import lexicon as lex
from grammar import attach, determiner, pronoun, set_auxiliary, set_verb
from sentence import NounPhrase, Tree, Word


@dataclass(frozen=True)
class Violation:
    """A named violation; `weight` is its share of the broken sentences."""

    name: str
    weight: float
    change: str  # replace, insert, delete or swap
    what: str
    sites: Callable[[Tree], list[Any]]
    apply: Callable[[Tree, Any, random.Random], None]


VIOLATIONS: dict[str, Violation] = {}


def violation(name: str, weight: float, change: str, what: str, sites: Callable[[Tree], list[Any]]):
    """Register the decorated function as the `apply` of a violation."""

    def register(apply):
        VIOLATIONS[name] = Violation(name, weight, change, what, sites, apply)
        return apply

    return register


# --- what the sites look at ---------------------------------------------------------------------


def _index(tree: Tree, word: Word) -> int:
    return next(i for i, w in enumerate(tree.words) if w is word)


def _children(tree: Tree, word: Word) -> list[Word]:
    return [w for w in tree.words if w.head is word]


def _ancestors(word: Word) -> list[Word]:
    out = []
    while word.head is not None:
        word = word.head
        out.append(word)
    return out


def _in_relative(word: Word) -> bool:
    return any(w.deprel == "acl:relcl" for w in [word] + _ancestors(word))


def _replace(word: Word, new: Word) -> None:
    """Turn `word` into `new`, keeping its place in the tree."""
    word.form, word.lemma, word.upos, word.xpos, word.feats = new.form, new.lemma, new.upos, new.xpos, new.feats


def _remove(tree: Tree, gone: list[Word]) -> None:
    ids = {id(w) for w in gone}
    tree.words[:] = [w for w in tree.words if id(w) not in ids]


def _opposite(number: str) -> str:
    return "Plur" if number == "Sing" else "Sing"


# --- agreement ----------------------------------------------------------------------------------


def _agreeing(tree: Tree) -> list[Word]:
    """Finite verbs and auxiliaries that show their number."""
    out = []
    for w in tree.words:
        if w.role == "finite":
            out.append(w)
        elif w.upos == "AUX" and w.role != "modal" and not (w.lemma == "do" and w.feats["Tense"] == "Past"):
            out.append(w)
    return out


def _agreement_kind(tree: Tree, word: Word) -> str:
    """relative: inside a relative clause on its subject; attractor: a noun of the other number
    stands between subject and verb; plain: neither."""
    root = word.head if word.upos == "AUX" else word
    subjects = [w for w in _children(tree, root) if w.deprel.startswith("nsubj")]
    if any(w.feats.get("PronType") == "Rel" for w in subjects):
        return "relative"
    subject: NounPhrase = word.subject
    members = {id(subject.head)} | {id(w) for w in tree.words if w.deprel == "conj" and w.head is subject.head}
    between = tree.words[_index(tree, subject.head) + 1 : _index(tree, word)]
    attractors = [w for w in between if w.noun and id(w) not in members and w.feats["Number"] != subject.number]
    return "attractor" if attractors else "plain"


def _agreement_sites(kind: str) -> Callable[[Tree], list[Word]]:
    return lambda tree: [w for w in _agreeing(tree) if _agreement_kind(tree, w) == kind]


def _flip_number(tree: Tree, word: Word, rng: random.Random) -> None:
    number = _opposite(word.feats["Number"])
    if word.upos == "AUX":
        set_auxiliary(word, number, word.feats["Tense"])
    else:
        set_verb(word, "s" if number == "Sing" else "plural")


for _name, _kind, _weight, _what in (
    ("agreement", "plain", 2.0, "the verb has the wrong number; no noun of that number stands between"),
    ("agreement_attractor", "attractor", 3.0, "the verb agrees with a noun between it and its subject"),
    ("agreement_relative", "relative", 1.5, "the verb of a subject relative clause disagrees with the antecedent"),
):
    violation(_name, _weight, "replace", _what, _agreement_sites(_kind))(_flip_number)


# --- reflexives and pronouns --------------------------------------------------------------------


def _binder_gender(word: Word) -> str:
    head = word.subject.head
    return head.noun.gender if head.noun else word.subject.gender


def _matching_noun(tree: Tree, word: Word, number: str, gender: str) -> bool:
    """Whether a person before `word`, not its binder, would fit a reflexive of that form."""
    at = _index(tree, word)
    for m in tree.mentions:
        if m.entity == word.subject.entity or m.kind != "person" or m.number != number:
            continue
        known = m.head.noun.gender if m.head.noun else m.gender
        if _index(tree, m.head) < at and (number == "Plur" or known in (gender, "x")):
            return True
    return False


def _reflexives(tree: Tree) -> list[tuple[Word, str, str]]:
    """Every wrong (reflexive, number, gender) that no reading can rescue.

    A singular noun of open gender may be himself or herself, and with many speakers themselves;
    a quantified one too. Those are never broken.
    """
    out = []
    for w in tree.words:
        if w.feats.get("Reflex") != "Yes":
            continue
        subject, gender = w.subject, _binder_gender(w)
        if subject.number == "Plur":
            out += [(w, "Sing", "m"), (w, "Sing", "f")]
        elif gender in "mf" and not subject.quantified:
            out += [(w, "Plur", ""), (w, "Sing", "f" if gender == "m" else "m")]
    return out


def _reflexive_sites(kind: str) -> Callable[[Tree], list]:
    def sites(tree: Tree) -> list:
        out = []
        for w, number, gender in _reflexives(tree):
            if _matching_noun(tree, w, number, gender):
                found = "attractor"
            else:
                found = "number" if number != w.subject.number else "gender"
            if found == kind:
                out.append((w, number, gender))
        return out

    return sites


def _wrong_reflexive(tree: Tree, site, rng: random.Random) -> None:
    word, number, gender = site
    _replace(word, pronoun(number, gender, "Reflex"))


for _kind, _weight, _what in (
    ("number", 1.0, "a reflexive differs in number from its subject"),
    ("gender", 1.0, "a reflexive differs in gender from its subject"),
    ("attractor", 1.5, "a reflexive fits an earlier person that is not its subject"),
):
    violation(f"reflexive_{_kind}", _weight, "replace", _what, _reflexive_sites(_kind))(_wrong_reflexive)


def _case_sites(tree: Tree) -> list[NounPhrase]:
    return [m for m in tree.mentions if m.pronoun == "personal"]


@violation("pronoun_case", 1.0, "replace", "an object form as subject, or a subject form as object", _case_sites)
def _wrong_case(tree: Tree, site: NounPhrase, rng: random.Random) -> None:
    case = "Acc" if site.head.feats["Case"] == "Nom" else "Nom"
    _replace(site.head, pronoun(site.number, site.gender, case))


# --- verb forms and auxiliaries -----------------------------------------------------------------


def _verbs(*roles: str) -> Callable[[Tree], list[Word]]:
    return lambda tree: [w for w in tree.words if w.verb and w.role in roles]


def _participle_sites(tree: Tree) -> list[Word]:
    return [w for w in _verbs("passive")(tree) if w.verb.base != w.verb.part and w.verb.base not in lex.ALSO_ADJECTIVES]


@violation("missing_participle", 1.0, "replace", "the bare verb in place of the passive participle", _participle_sites)
def _bare_passive(tree: Tree, word: Word, rng: random.Random) -> None:
    set_verb(word, "base")


def _form_sites(tree: Tree) -> list[Word]:
    found = _verbs("bare", "infinitive", "progressive", "perfect")(tree)
    return [
        w for w in found
        if not (w.role == "perfect" and w.verb.base == w.verb.part)
        and not (w.role == "progressive" and w.verb.base in lex.ALSO_ADJECTIVES)
    ]


@violation("verb_form", 1.0, "replace", "a form that its auxiliary or `to` does not allow", _form_sites)
def _wrong_form(tree: Tree, word: Word, rng: random.Random) -> None:
    if word.role in ("bare", "infinitive"):
        set_verb(word, "s" if word.verb.past == word.verb.base else rng.choice(["s", "past"]))
    else:
        set_verb(word, "base")


def _do_sites(tree: Tree) -> list[Word]:
    return [w for w in tree.words if w.upos == "AUX" and w.lemma == "do"]


@violation("negation_auxiliary", 1.0, "delete", "a negated verb without its `do`", _do_sites)
def _drop_do(tree: Tree, word: Word, rng: random.Random) -> None:
    _remove(tree, [word])


def _negation_sites(tree: Tree) -> list[Word]:
    pairs = zip(tree.words, tree.words[1:])
    return [second for first, second in pairs if first.upos == "AUX" and second.form == "not"]


@violation("negation_order", 1.0, "swap", "`not` before its auxiliary", _negation_sites)
def _not_first(tree: Tree, word: Word, rng: random.Random) -> None:
    i = _index(tree, word)
    tree.words[i - 1], tree.words[i] = tree.words[i], tree.words[i - 1]


def _npi_sites(tree: Tree) -> list[tuple[Word, Word]]:
    """(ever, its licensor) where the licensor is alone in the clause."""
    out = []
    for ever in tree.words:
        if ever.form != "ever":
            continue
        verb = ever.head
        licensors = [w for w in _children(tree, verb) if w.form == "not"]
        auxiliary = next(w for w in _children(tree, verb) if w.role == "perfect")
        licensors += [w for w in auxiliary.subject.words if w.form == "no"]
        if len(licensors) == 1:
            out.append((ever, licensors[0]))
    return out


@violation("npi_licensing", 1.0, "replace or delete", "`ever` after its negation is taken away", _npi_sites)
def _unlicensed(tree: Tree, site: tuple[Word, Word], rng: random.Random) -> None:
    _, licensor = site
    if licensor.form == "not":
        _remove(tree, [licensor])
    else:
        _replace(licensor, determiner("the"))


# --- determiners, order and government ----------------------------------------------------------


def _determined(tree: Tree) -> list[tuple[Word, Word, NounPhrase]]:
    """(determiner, noun, phrase) of every noun with a determiner or numeral."""
    out = []
    for m in tree.mentions:
        first = m.words[0] if m.words else None
        if first is not None and first.head is m.head and first.deprel in ("det", "nummod"):
            out.append((first, m.head, m))
    return out


def _double_sites(tree: Tree):
    # "says that | boy": a second determiner after `that` could leave a good clause behind.
    return [s for s in _determined(tree) if s[0].form not in ("that", "an") and s[0].upos == "DET"]


@violation("double_determiner", 1.0, "insert", "a second determiner", _double_sites)
def _second_determiner(tree: Tree, site, rng: random.Random) -> None:
    first, noun, phrase = site
    options = ["the", "this", "a"] if phrase.number == "Sing" else ["the", "these", "those"]
    second = attach(determiner(rng.choice(options)), noun, "det")
    tree.words.insert(_index(tree, first) + 1, second)
    phrase.words.insert(1, second)


def _determiner_number_sites(tree: Tree):
    return [s for s in _determined(tree) if s[0].form != "no"]


@violation("determiner_number", 1.0, "replace", "a determiner of the wrong number", _determiner_number_sites)
def _wrong_determiner(tree: Tree, site, rng: random.Random) -> None:
    first, _, phrase = site
    options = ["these", "those", "two", "three"] if phrase.number == "Sing" else ["this", "a", "every"]
    new = determiner(rng.choice(options))
    _replace(first, new)
    first.deprel = new.deprel


def _missing_determiner_sites(tree: Tree):
    return [s for s in _determined(tree) if s[2].number == "Sing" and s[0].form not in ("no", "that")]


@violation("missing_determiner", 1.0, "delete", "a singular count noun without its determiner", _missing_determiner_sites)
def _drop_determiner(tree: Tree, site, rng: random.Random) -> None:
    _remove(tree, [site[0]])


def _order_sites(tree: Tree) -> list[tuple[Word, Word]]:
    out = []
    for first, second in zip(tree.words, tree.words[1:]):
        if first.head is not second or not second.noun:
            continue
        if first.deprel == "det" and first.form not in ("that", "a", "an"):
            out.append((first, second))
        # After an object an adjective could be read as its state ("paint the door red"). Where
        # the article before would have to change, two words would differ.
        if first.deprel == "amod" and second.deprel.startswith("nsubj") and lex.article(first.form) == lex.article(second.form):
            out.append((first, second))
    return out


@violation("word_order", 1.0, "swap", "a noun before its determiner or adjective", _order_sites)
def _noun_first(tree: Tree, site, rng: random.Random) -> None:
    i = _index(tree, site[0])
    tree.words[i], tree.words[i + 1] = tree.words[i + 1], tree.words[i]


def _preposition_sites(tree: Tree) -> list[Word]:
    """Not where the rest could stand: "runs (behind) the school", "the singer (near) Mary"."""
    out = []
    for w in tree.words:
        if w.upos != "ADP":
            continue
        noun = w.head
        apposition = noun.deprel == "nmod" and noun.upos == "PROPN"
        object_ = noun.deprel == "obl" and not noun.head.verb.strict
        if not apposition and not object_:
            out.append(w)
    return out


@violation("missing_preposition", 1.0, "delete", "a noun phrase without its preposition", _preposition_sites)
def _drop_preposition(tree: Tree, word: Word, rng: random.Random) -> None:
    _remove(tree, [word])


def _object_sites(tree: Tree) -> list[NounPhrase]:
    out = []
    for m in tree.mentions:
        if m.head.deprel != "obj" or not m.head.noun:
            continue
        verb = m.head.head
        # "hugs and carries the dog": a second verb could lend its object.
        shared = any(w.deprel == "conj" for w in _children(tree, verb))
        if verb.verb.strict and not shared and not _in_relative(verb):
            out.append(m)
    return out


@violation("missing_object", 1.0, "delete", "a transitive verb without its object", _object_sites)
def _drop_object(tree: Tree, phrase: NounPhrase, rng: random.Random) -> None:
    _remove(tree, phrase.words)


def _extra_object_sites(tree: Tree) -> list[Word]:
    return [w for w in tree.words if w.verb and w.verb.valency == "intransitive" and w.verb.strict and not _in_relative(w)]


@violation("extra_object", 1.0, "insert", "an object after a verb that can have none", _extra_object_sites)
def _add_object(tree: Tree, verb: Word, rng: random.Random) -> None:
    noun = rng.choice(lex.OBJECTS + lex.PERSONS + lex.ANIMALS)
    number = rng.choice(["Sing", "Plur"])
    plural = number == "Plur"
    head = Word(noun.plural if plural else noun.singular, noun.singular, "NOUN", "NNS" if plural else "NN",
                {"Number": number}, "obj", verb, noun=noun)
    first = attach(determiner("the"), head, "det")
    i = _index(tree, verb)
    tree.words[i + 1 : i + 1] = [first, head]
    entity = 1 + max((m.entity for m in tree.mentions), default=0)
    tree.mentions.append(NounPhrase([first, head], head, number, noun.gender, noun.kind, entity))


def _relativizer_sites(tree: Tree) -> list[Word]:
    return [w for w in tree.words
            if w.feats.get("PronType") == "Rel" and w.form in ("who", "which") and w.head.head.noun.kind != "animal"]


@violation("relative_animacy", 1.0, "replace", "`who` for a thing or `which` for a person", _relativizer_sites)
def _wrong_relativizer(tree: Tree, word: Word, rng: random.Random) -> None:
    word.form = word.lemma = "which" if word.form == "who" else "who"
    word.xpos = "WP" if word.form == "who" else "WDT"
