"""Words of the small English: who can do what, and how every word is inflected.

Nothing here is random. A noun carries the kind of thing it names and its gender, a verb its
five forms and what it can govern, so that the grammar never has to guess a form.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Noun:
    """A noun or a name with both numbers (`plural` is empty for a name)."""

    singular: str
    plural: str
    kind: str  # person, animal, object or place: also the entity type of its mentions
    gender: str  # m, f, x (a person of either gender), n (not a person)


def _nouns(kind: str, gender: str, words: str) -> list[Noun]:
    out = []
    for word in words.split():
        singular, _, plural = word.partition("/")
        out.append(Noun(singular, plural or singular + "s", kind, gender))
    return out


# Kinship words that serve as names ("Mother sleeps") are left out on purpose: a missing
# determiner must always be an error.
PERSONS = (
    _nouns("person", "m", "boy man/men king prince husband/husbands nephew grandson")
    + _nouns("person", "f", "girl woman/women queen princess/princesses wife/wives niece granddaughter")
    + _nouns(
        "person",
        "x",
        "teacher doctor student lawyer driver singer neighbor guest pilot farmer "
        "journalist photographer scientist librarian politician",
    )
)
NAMES = [Noun(n, "", "person", "m") for n in "John Paul Peter Thomas David".split()] + [
    Noun(n, "", "person", "f") for n in "Mary Anna Susan Julia Sarah".split()
]
ANIMALS = _nouns("animal", "n", "dog cat horse bird goat elephant")
OBJECTS = _nouns("object", "n", "book letter picture car table chair door window cake bicycle newspaper")
PLACES = _nouns("place", "n", "house garden school bridge river station museum")

ADJECTIVES = {
    "person": "tall young old happy angry famous friendly".split(),
    "animal": "small old young happy hungry dangerous".split(),
    "object": "new old red small expensive beautiful".split(),
    "place": "new old small famous beautiful".split(),
}

PREPOSITIONS = "near behind beside".split()
DEGREE_ADVERBS = "often always rarely".split()
MODALS = "will can must should".split()
SUBORDINATORS = "because when although while".split()


@dataclass(frozen=True)
class Verb:
    """A verb with its forms and its government.

    `strict` says that a transitive verb cannot lose its object, or that an intransitive one
    can never take one: only such verbs may be broken that way.
    """

    base: str
    s: str
    past: str
    part: str
    ing: str
    valency: str  # intransitive, person, thing, clause, infinitive
    reflexive: bool = False
    strict: bool = False
    animal_subject: bool = False
    stative: bool = False  # has no progressive


def _regular(base: str) -> tuple[str, str, str, str, str]:
    sibilant = base.endswith(("s", "sh", "ch", "x", "z"))
    consonant_y = base.endswith("y") and base[-2] not in "aeiou"
    stem = base[:-1] if base.endswith("e") else base
    s = base[:-1] + "ies" if consonant_y else base + ("es" if sibilant else "s")
    past = base[:-1] + "ied" if consonant_y else stem + "ed"
    return base, s, past, past, stem + "ing"


def _verbs(words: str, valency: str, **flags: bool) -> list[Verb]:
    """`base` alone is regular; `base/s/past/part/ing` spells the forms out."""
    out = []
    for word in words.split():
        forms = tuple(word.split("/"))
        out.append(Verb(*(forms if len(forms) == 5 else _regular(word)), valency=valency, **flags))
    return out


INTRANSITIVE = _verbs(
    "sleep/sleeps/slept/slept/sleeping arrive disappear sneeze yawn shiver",
    "intransitive", strict=True, animal_subject=True,
) + _verbs("laugh smile cough faint complain", "intransitive", strict=True) + _verbs(
    "run/runs/ran/run/running wait jump", "intransitive", animal_subject=True
)
PERSON_VERBS = (
    _verbs("admire praise blame describe introduce", "person", reflexive=True, strict=True)
    + _verbs("defend protect criticize", "person", reflexive=True)
    + _verbs("see/sees/saw/seen/seeing", "person", reflexive=True, stative=True)
    + _verbs("thank", "person", strict=True)
    + _verbs("hug/hugs/hugged/hugged/hugging interview help visit invite", "person")
    + _verbs("know/knows/knew/known/knowing", "person", stative=True)
    + _verbs("avoid", "person", strict=True, animal_subject=True)
    + _verbs("fear", "person", animal_subject=True, stative=True)
    + _verbs("follow", "person", animal_subject=True)
)
THING_VERBS = _verbs("need", "thing", strict=True, stative=True) + _verbs(
    "repair "
    "find/finds/found/found/finding take/takes/took/taken/taking break/breaks/broke/broken/breaking "
    "buy/buys/bought/bought/buying sell/sells/sold/sold/selling steal/steals/stole/stolen/stealing "
    "clean carry open paint photograph",
    "thing",
)
CLAUSE_VERBS = _verbs(
    "say/says/said/said/saying think/thinks/thought/thought/thinking claim believe hope", "clause"
)
INFINITIVE_VERBS = _verbs("want try/tries/tried/tried/trying refuse promise", "infinitive")
#: Bare forms that are adjectives too, so that "is clean" is no error.
ALSO_ADJECTIVES = {"clean", "open", "faint"}
VERBS = INTRANSITIVE + PERSON_VERBS + THING_VERBS + CLAUSE_VERBS + INFINITIVE_VERBS

# Auxiliaries by (form name): singular and plural present and past where they differ.
BE = {"base": "be", "sg": "is", "pl": "are", "past_sg": "was", "past_pl": "were"}
DO = {"base": "do", "sg": "does", "pl": "do", "past_sg": "did", "past_pl": "did"}
HAVE = {"base": "have", "sg": "has", "pl": "have", "past_sg": "had", "past_pl": "had"}
AUXILIARIES = {"be": BE, "do": DO, "have": HAVE}

# (number, gender) -> forms. Gender m/f for persons in the singular, "" in the plural.
PRONOUNS = {
    ("Sing", "m"): {"Nom": "he", "Acc": "him", "Poss": "his", "Reflex": "himself"},
    ("Sing", "f"): {"Nom": "she", "Acc": "her", "Poss": "her", "Reflex": "herself"},
    ("Plur", ""): {"Nom": "they", "Acc": "them", "Poss": "their", "Reflex": "themselves"},
}

SINGULAR_DETERMINERS = "the a this that every".split()
PLURAL_DETERMINERS = "the these those some two three".split()
NUMERALS = {"two", "three"}

#: Words longer than this are stored in the vocabulary as pieces.
LONG_WORD = 9


def all_forms() -> list[str]:
    """Every lower-cased word form the grammar can produce, sorted, without punctuation."""
    words: set[str] = set()
    for noun in PERSONS + NAMES + ANIMALS + OBJECTS + PLACES:
        words.update(w.lower() for w in (noun.singular, noun.plural) if w)
    for adjectives in ADJECTIVES.values():
        words.update(adjectives)
    for verb in VERBS:
        words.update((verb.base, verb.s, verb.past, verb.part, verb.ing))
    for table in AUXILIARIES.values():
        words.update(table.values())
    for table in PRONOUNS.values():
        words.update(table.values())
    words.update(PREPOSITIONS + DEGREE_ADVERBS + MODALS + SUBORDINATORS)
    words.update(SINGULAR_DETERMINERS + PLURAL_DETERMINERS)
    words.update("an no not never ever by to that who which and".split())
    return sorted(words)


def article(next_word: str) -> str:
    """`a` or `an`; the lexicon has no silent h and no vowel letter read as a consonant."""
    return "an" if next_word[0].lower() in "aeiou" else "a"
