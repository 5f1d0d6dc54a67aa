"""A probabilistic grammar of a small English, with exact annotation of every sentence.

Run as a command it writes the corpora of the embedded models:

    python grammar.py --output DIR [--train 6800] [--dev 1000] [--lm 0] [--seed 20]

README.md beside this file documents the rules and their probabilities; `violations.py` holds the
named ways to break a sentence.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import lexicon as lex
from lexicon import Noun, Verb
from sentence import NounPhrase, Record, Tree, Word, finish, write_conllu

#: Longest sentence kept, punctuation included.
MAX_TOKENS = 20


def pick(rng: random.Random, weights: dict):
    """One key of `weights`, with probability proportional to its value."""
    return rng.choices(list(weights), weights=list(weights.values()))[0]


# --- words with their features -----------------------------------------------------------------


def set_verb(word: Word, form: str) -> None:
    """Give a main verb one of its forms: base, s, plural, past, part, passive, ing."""
    verb = word.verb
    table = {
        "base": (verb.base, "VB", {"VerbForm": "Inf"}),
        "s": (verb.s, "VBZ", {"Mood": "Ind", "Number": "Sing", "Person": "3", "Tense": "Pres", "VerbForm": "Fin"}),
        "plural": (verb.base, "VBP", {"Mood": "Ind", "Number": "Plur", "Person": "3", "Tense": "Pres", "VerbForm": "Fin"}),
        "past": (verb.past, "VBD", {"Mood": "Ind", "Tense": "Past", "VerbForm": "Fin"}),
        "part": (verb.part, "VBN", {"Tense": "Past", "VerbForm": "Part"}),
        "passive": (verb.part, "VBN", {"Tense": "Past", "VerbForm": "Part", "Voice": "Pass"}),
        "ing": (verb.ing, "VBG", {"Tense": "Pres", "VerbForm": "Part"}),
    }
    word.form, word.xpos, feats = table[form]
    word.feats = dict(feats)


def set_auxiliary(word: Word, number: str, tense: str) -> None:
    """Inflect be, do or have for number (Sing, Plur) and tense (Pres, Past)."""
    key = ("past_" if tense == "Past" else "") + ("sg" if number == "Sing" else "pl")
    word.form = lex.AUXILIARIES[word.lemma][key]
    word.xpos = "VBD" if tense == "Past" else ("VBZ" if number == "Sing" else "VBP")
    word.feats = {"Mood": "Ind", "Number": number, "Person": "3", "Tense": tense, "VerbForm": "Fin"}


def pronoun(number: str, gender: str, case: str) -> Word:
    """A personal, possessive (`Poss`) or reflexive (`Reflex`) pronoun of the third person."""
    table = lex.PRONOUNS[(number, gender if number == "Sing" else "")]
    feats = {"Number": number, "Person": "3", "PronType": "Prs"}
    if number == "Sing":
        feats["Gender"] = {"m": "Masc", "f": "Fem"}[gender]
    if case == "Poss":
        feats |= {"Poss": "Yes", "Case": "Gen"}
    elif case == "Reflex":
        feats |= {"Reflex": "Yes", "Case": "Acc"}
    else:
        feats["Case"] = case
    lemma = table["Reflex"] if case == "Reflex" else table["Poss" if case == "Poss" else "Nom"]
    return Word(table[case], lemma, "PRON", "PRP$" if case == "Poss" else "PRP", feats)


def determiner(form: str) -> Word:
    """A determiner or numeral standing before a noun; `a` is adjusted by [`fix_articles`]."""
    if form in lex.NUMERALS:
        return Word(form, form, "NUM", "CD", {"NumForm": "Word", "NumType": "Card"}, "nummod")
    feats = {
        "the": {"Definite": "Def", "PronType": "Art"},
        "a": {"Definite": "Ind", "PronType": "Art"},
        "every": {"PronType": "Tot"},
        "some": {"PronType": "Ind"},
        "no": {"PronType": "Neg"},
    }.get(form) or {"Number": "Sing" if form in ("this", "that") else "Plur", "PronType": "Dem"}
    return Word(form, {"these": "this", "those": "that"}.get(form, form), "DET", "DT", dict(feats), "det")


def fix_articles(words: list[Word]) -> None:
    """Choose between a and an by the following word."""
    for word, following in zip(words, words[1:]):
        if word.lemma == "a" and word.upos == "DET":
            word.form = lex.article(following.form)


def attach(word: Word, head: Word, deprel: str) -> Word:
    word.head, word.deprel = head, deprel
    return word


class Builder:
    """Builds one sentence. Every `rng` decision is a rule of the grammar."""

    def __init__(self, rng: random.Random):
        self.rng = rng
        self.mentions: list[NounPhrase] = []
        self.entities = 0

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def mention(self, **fields) -> NounPhrase:
        if "entity" not in fields:
            self.entities += 1
            fields["entity"] = self.entities
        phrase = NounPhrase(**fields)
        self.mentions.append(phrase)
        return phrase

    # --- noun phrases ---

    def noun_word(self, noun: Noun, number: str) -> Word:
        if noun in lex.NAMES:
            return Word(noun.singular, noun.singular, "PROPN", "NNP", {"Number": "Sing"}, noun=noun)
        form = noun.singular if number == "Sing" else noun.plural
        return Word(form, noun.singular, "NOUN", "NN" if number == "Sing" else "NNS", {"Number": number}, noun=noun)

    def plain(self, kind: str, number: str | None = None, possessor: NounPhrase | None = None,
              names: float = 0.2, negative: bool = False, adjectives: float = 0.2,
              quantifier: bool = True) -> NounPhrase:
        """NP → Name | (Det | Poss) (Adj) Noun."""
        rng = self.rng
        if kind == "person" and number != "Plur" and self.chance(names) and possessor is None:
            noun = rng.choice(lex.NAMES)
            head = self.noun_word(noun, "Sing")
            return self.mention(words=[head], head=head, number="Sing", gender=noun.gender, kind=kind)
        pool = {"person": lex.PERSONS, "animal": lex.ANIMALS, "object": lex.OBJECTS, "place": lex.PLACES}[kind]
        noun = rng.choice(pool)
        number = number or rng.choice(["Sing", "Plur"])
        head = self.noun_word(noun, number)
        quantified = False
        if possessor is not None:
            first = pronoun(possessor.number, self.settle_gender(possessor), "Poss")
            attach(first, head, "nmod:poss")
            self.mention(words=[first], head=first, number=possessor.number, gender=possessor.gender,
                         kind=possessor.kind, entity=possessor.entity, pronoun="possessive")
        else:
            forms = lex.SINGULAR_DETERMINERS if number == "Sing" else lex.PLURAL_DETERMINERS
            # The verb of "every boy and the girl" is contested, so the rule for "and" does without.
            weights = {f: 4.0 if f == "the" else 1.0 for f in forms if quantifier or f != "every"}
            first = determiner("no" if negative else pick(rng, weights))
            first.head = head
            quantified = first.form in ("no", "every")
        words = [first]
        if self.chance(adjectives):
            adjective = rng.choice(lex.ADJECTIVES[kind])
            words.append(Word(adjective, adjective, "ADJ", "JJ", {"Degree": "Pos"}, "amod", head))
        words.append(head)
        return self.mention(words=words, head=head, number=number, gender=noun.gender if number == "Sing" else "",
                            kind=kind, quantified=quantified)

    def settle_gender(self, phrase: NounPhrase) -> str:
        """Decide whether a teacher is a he or a she, once for the sentence."""
        if phrase.number == "Sing" and phrase.gender == "x":
            gender = self.rng.choice("mf")
            for other in self.mentions:
                if other.entity == phrase.entity:
                    other.gender = gender
        return phrase.gender

    def prepositional(self, head: Word, kind: str, deprel: str, number: str | None = None) -> list[Word]:
        """PP → Prep NP, attached to `head`."""
        inner = self.plain(kind, number, names=0.1)
        form = self.rng.choice(lex.PREPOSITIONS)
        attach(inner.head, head, deprel)
        return [Word(form, form, "ADP", "IN", {}, "case", inner.head)] + inner.words

    def relative(self, phrase: NounPhrase) -> list[Word]:
        """RC → who VP | who NP V (object gap); `which` for things, `that` for both."""
        person = phrase.kind == "person"
        relativizer = self.rng.choice(["who", "that"] if person else ["which", "that"])
        word = Word(relativizer, relativizer, "PRON", "WP" if relativizer == "who" else "WDT", {"PronType": "Rel"})
        if self.chance(0.55):
            words, root, passive = self.predicate(phrase, "relative")
            attach(word, root, "nsubj:pass" if passive else "nsubj")
            inner = [word] + words
        else:
            subject = self.plain("person", adjectives=0.05)
            pool = {"person": lex.PERSON_VERBS, "animal": lex.PERSON_VERBS, "object": lex.THING_VERBS,
                    "place": [v for v in lex.THING_VERBS if v.base in ("clean", "paint", "photograph", "find")]}
            words, root, _ = self.predicate(subject, "gap", self.rng.choice(pool[phrase.kind]))
            attach(word, root, "obj")
            attach(subject.head, root, "nsubj")
            inner = [word] + subject.words + words
        attach(root, phrase.head, "acl:relcl")
        return inner

    def subject(self, depth: int) -> NounPhrase:
        """Subject NP → NP | NP PP | NP RC | NP and NP | Pronoun."""
        rng = self.rng
        if depth and self.chance(0.55):
            anaphor = self.anaphor("Nom", None)
            if anaphor:
                return anaphor
        form = pick(rng, {"plain": 0.40, "pp": 0.27, "rc": 0.2, "pronoun": 0.07, "and": 0.06})
        if form == "pronoun":
            number, gender = rng.choice([("Sing", "m"), ("Sing", "f"), ("Plur", "")])
            word = pronoun(number, gender, "Nom")
            return self.mention(words=[word], head=word, number=number, gender=gender, kind="person", pronoun="personal")
        kind = pick(rng, {"person": 0.78, "animal": 0.09, "object": 0.09, "place": 0.04})
        if form == "and":
            group = self.mention(words=[], head=None, number="Plur", gender="", kind="person")
            left, right = (self.plain("person", "Sing", quantifier=False) for _ in range(2))
            conjunction = Word("and", "and", "CCONJ", "CC", {}, "cc", right.head)
            attach(right.head, left.head, "conj")
            group.words, group.head = left.words + [conjunction] + right.words, left.head
            return group
        phrase = self.plain(kind, negative=depth == 0 and self.chance(0.07), names=0.2 if form == "plain" else 0.0)
        if form == "pp":
            other = pick(rng, {"person": 0.6, "animal": 0.2, "place": 0.2}) if kind == "person" else "place"
            opposite = "Plur" if phrase.number == "Sing" else "Sing"
            extra = self.prepositional(phrase.head, other, "nmod", opposite if self.chance(0.65) else phrase.number)
            phrase.words = phrase.words + extra
        elif form == "rc":
            phrase.words = phrase.words + self.relative(phrase)
        return phrase

    def anaphor(self, case: str, local_subject: NounPhrase | None) -> NounPhrase | None:
        """A pronoun for someone already mentioned, never the subject of its own clause."""
        options = [m for m in self.mentions
                   if m.kind == "person" and not m.quantified and m.words
                   and (local_subject is None or m.entity != local_subject.entity)]
        if not options:
            return None
        antecedent = self.rng.choice(options)
        word = pronoun(antecedent.number, self.settle_gender(antecedent), case)
        return self.mention(words=[word], head=word, number=antecedent.number, gender=antecedent.gender, kind="person",
                            entity=antecedent.entity, pronoun="personal", clause_subject=local_subject)

    def object(self, verb: Verb, subject: NounPhrase, context: str) -> NounPhrase:
        """Object NP → NP | Poss NP | NP RC | Pronoun."""
        if verb.valency == "person":
            if context in ("ccomp", "advcl") and self.chance(0.3):
                anaphor = self.anaphor("Acc", subject)
                if anaphor:
                    return anaphor
            if context == "main" and self.chance(0.07):
                number, gender = self.rng.choice([("Sing", "m"), ("Sing", "f"), ("Plur", "")])
                word = pronoun(number, gender, "Acc")
                return self.mention(words=[word], head=word, number=number, gender=gender, kind="person",
                                    pronoun="personal", clause_subject=subject)
            kind = "person" if self.chance(0.8) else "animal"
        else:
            kind = "object"
        own = subject.kind == "person" and subject.words and context != "relative" and self.chance(0.15)
        phrase = self.plain(kind, possessor=subject if own else None)
        if context == "main" and phrase.head.upos == "NOUN" and self.chance(0.12):
            phrase.words = phrase.words + self.relative(phrase)
        return phrase

    # --- predicates ---

    def options(self, subject: NounPhrase, context: str) -> dict[str, float]:
        """What a subject of this kind can do in this place, with weights."""
        if subject.kind == "person":
            weights = {"intransitive": 0.22, "transitive": 0.30, "reflexive": 0.17, "passive": 0.13, "copula": 0.08}
            if context == "main":
                weights |= {"clause": 0.11, "infinitive": 0.07}
            return weights
        if subject.kind == "animal":
            return {"intransitive": 0.45, "transitive": 0.2, "passive": 0.2, "copula": 0.15}
        return {"passive": 0.6, "copula": 0.4}

    def verb(self, what: str, subject: NounPhrase) -> Verb:
        """A verb that `subject` can be the subject of (of the passive: its object)."""
        person, animal = subject.kind == "person", subject.kind == "animal"
        if what == "passive":
            pool = lex.PERSON_VERBS if person or animal else lex.THING_VERBS
            if subject.kind == "place":
                pool = [v for v in pool if v.base in ("clean", "paint", "photograph", "find", "sell")]
        elif what == "transitive":
            pool = lex.PERSON_VERBS if animal or self.chance(0.6) else lex.THING_VERBS
        elif what == "reflexive":
            pool = [v for v in lex.PERSON_VERBS if v.reflexive]
        else:
            pool = {"intransitive": lex.INTRANSITIVE, "clause": lex.CLAUSE_VERBS, "infinitive": lex.INFINITIVE_VERBS}[what]
        if animal and what != "passive":
            pool = [v for v in pool if v.animal_subject]
        return self.rng.choice(pool)

    def predicate(self, subject: NounPhrase, context: str, verb: Verb | None = None,
                  simple: bool = False) -> tuple[list[Word], Word, bool]:
        """VP with `subject` as its subject: (words, root, is it passive).

        `context` is main, relative, gap (object relative; `verb` given), ccomp, advcl or
        infinitive. The caller attaches the subject. `simple` keeps to a plain present tense.
        """
        rng = self.rng
        what = "transitive" if context == "gap" else pick(rng, self.options(subject, context))
        if simple and what in ("clause", "infinitive"):
            what = "intransitive"
        negative_subject = context != "relative" and any(w.form == "no" for w in subject.words)
        pre: list[Word] = []
        adverb = not negative_subject and self.chance(0.08)

        def auxiliary(lemma: str, tense: str, role: str) -> Word:
            word = Word("", lemma, "AUX", "", role=role, subject=subject)
            set_auxiliary(word, subject.number, tense)
            pre.append(word)
            return word

        def negate(p: float) -> bool:
            if negative_subject or not self.chance(p):
                return False
            pre.append(Word("not", "not", "PART", "RB", {"Polarity": "Neg"}, "advmod"))
            return True

        if what == "copula":
            form = rng.choice(lex.ADJECTIVES[subject.kind])
            root = Word(form, form, "ADJ", "JJ", {"Degree": "Pos"}, role="adjective")
            auxiliary("be", "Pres" if self.chance(0.75) else "Past", "cop")
            negate(0.2)
        else:
            verb = verb or self.verb(what, subject)
            root = Word("", verb.base, "VERB", "", verb=verb)
            shape = self.shape(what, context, simple)
            self.inflect(root, shape, subject, auxiliary, negate, pre, negative_subject)
            if adverb and not any(w.deprel == "advmod" for w in pre) and shape != "infinitive":
                form = rng.choice(lex.DEGREE_ADVERBS)
                pre.append(Word(form, form, "ADV", "RB", {}, "advmod"))
        for word in pre:
            if word.head is None:
                deprel = {"cop": "cop", "passive": "aux:pass"}.get(word.role, "aux") if word.upos == "AUX" else word.deprel
                attach(word, root, deprel)
        words = pre + [root] + ([] if context == "gap" else self.complements(what, root, subject, context))
        return words, root, what == "passive"

    def shape(self, what: str, context: str, simple: bool) -> str:
        """Tense, aspect and polarity of a verb."""
        if context == "infinitive" and what != "passive":
            return "infinitive"
        if what == "passive":
            return "passive"
        if simple:
            return "present"
        if what in ("clause", "infinitive"):
            return pick(self.rng, {"present": 0.6, "past": 0.2, "do": 0.2})
        if context in ("relative", "gap"):
            return pick(self.rng, {"present": 0.6, "past": 0.1, "do": 0.2, "progressive": 0.1})
        return pick(self.rng, {"present": 0.42, "past": 0.08, "do": 0.17, "modal": 0.09, "progressive": 0.1, "perfect": 0.14})

    def inflect(self, root: Word, shape: str, subject: NounPhrase, auxiliary, negate, pre: list[Word],
                negative_subject: bool) -> None:
        """Put `root` into its form and its auxiliaries and negation into `pre`."""
        rng = self.rng
        if shape == "infinitive":
            root.role = "infinitive"
            set_verb(root, "base")
            pre.append(Word("to", "to", "PART", "TO", {}, "mark"))
        elif shape == "present":
            root.role, root.subject = "finite", subject
            set_verb(root, "s" if subject.number == "Sing" else "plural")
        elif shape == "past":
            root.role = "past"
            set_verb(root, "past")
        elif shape == "do" and not negative_subject:
            auxiliary("do", "Pres" if self.chance(0.75) else "Past", "do")
            negate(1.0)
            root.role = "bare"
            set_verb(root, "base")
        elif shape in ("do", "modal"):
            modal = rng.choice(lex.MODALS)
            pre.append(Word(modal, modal, "AUX", "MD", {"Mood": "Ind", "VerbForm": "Fin"}, role="modal"))
            negate(0.3)
            root.role = "bare"
            set_verb(root, "base")
        elif shape == "progressive" and not root.verb.stative:
            auxiliary("be", "Pres" if self.chance(0.75) else "Past", "progressive")
            negate(0.2)
            root.role = "progressive"
            set_verb(root, "ing")
        elif shape in ("perfect", "progressive"):
            auxiliary("have", "Pres", "perfect")
            negated = negate(0.45)
            if negated or negative_subject:
                if self.chance(0.7):
                    pre.append(Word("ever", "ever", "ADV", "RB", {}, "advmod"))
            elif self.chance(0.4):
                pre.append(Word("never", "never", "ADV", "RB", {}, "advmod"))
            root.role = "perfect"
            set_verb(root, "part")
        else:  # passive
            auxiliary("be", "Pres" if self.chance(0.6) else "Past", "passive")
            negate(0.15)
            root.role = "passive"
            set_verb(root, "passive")

    def complements(self, what: str, root: Word, subject: NounPhrase, context: str) -> list[Word]:
        """What follows the verb."""
        if what == "intransitive" and context != "relative" and self.chance(0.35):
            return self.prepositional(root, "place" if self.chance(0.7) else "person", "obl")
        if what == "transitive":
            phrase = self.object(root.verb, subject, context)
            attach(phrase.head, root, "obj")
            return phrase.words
        if what == "reflexive":
            word = pronoun(subject.number, self.settle_gender(subject), "Reflex")
            word.subject = subject
            self.mention(words=[word], head=word, number=subject.number, gender=subject.gender, kind="person",
                         entity=subject.entity, pronoun="reflexive")
            return [attach(word, root, "obj")]
        if what == "passive" and self.chance(0.5):
            agent = self.plain("person", adjectives=0.1)
            attach(agent.head, root, "obl:agent")
            return [Word("by", "by", "ADP", "IN", {}, "case", agent.head)] + agent.words
        if what == "clause":
            words, inner = self.clause("ccomp", 1)
            attach(inner, root, "ccomp")
            mark = [Word("that", "that", "SCONJ", "IN", {}, "mark", inner)] if self.chance(0.7) else []
            return mark + words
        if what == "infinitive":
            # A passive infinitive would need "to be"; the rule has only active ones.
            options = {k: w for k, w in self.options(subject, "infinitive").items() if k in ("intransitive", "transitive", "reflexive")}
            words, inner, _ = self.infinitive(subject, pick(self.rng, options))
            attach(inner, root, "xcomp")
            return words
        return []

    def infinitive(self, subject: NounPhrase, what: str) -> tuple[list[Word], Word, bool]:
        """InfP → to V Complement, controlled by the subject."""
        verb = self.verb(what, subject)
        root = Word("", verb.base, "VERB", "", verb=verb)
        pre: list[Word] = []
        self.inflect(root, "infinitive", subject, None, None, pre, False)
        attach(pre[0], root, "mark")
        return pre + [root] + self.complements(what, root, subject, "infinitive"), root, False

    # --- clauses ---

    def clause(self, context: str, depth: int) -> tuple[list[Word], Word]:
        """S → NP VP (and VP) (Sub S)."""
        subject = self.subject(depth)
        coordinated = depth == 0 and self.chance(0.12)
        words, root, passive = self.predicate(subject, context, simple=coordinated)
        attach(subject.head, root, "nsubj:pass" if passive else "nsubj")
        words = subject.words + words
        if coordinated and root.role == "finite" and not any(w.deprel == "acl:relcl" for w in words[len(subject.words):]):
            more, second, _ = self.predicate(subject, "second", simple=True)
            if second.role == "finite":
                words += [Word("and", "and", "CCONJ", "CC", {}, "cc", second)] + more
                attach(second, root, "conj")
            else:
                # The discarded half must leave no mention behind.
                gone = {id(w) for w in more}
                self.mentions = [m for m in self.mentions if id(m.head) not in gone]
        elif depth == 0 and not any(w.deprel in ("ccomp", "acl:relcl") for w in words) and self.chance(0.16):
            mark = self.rng.choice(lex.SUBORDINATORS)
            more, second = self.clause("advcl", 1)
            attach(second, root, "advcl")
            words += [Word(mark, mark, "SCONJ", "IN", {}, "mark", second)] + more
        return words, root

    def sentence(self) -> Tree:
        words, root = self.clause("main", 0)
        root.deprel = "root"
        words.append(Word(".", ".", "PUNCT", ".", {}, "punct", root))
        fix_articles(words)
        return Tree(words, self.mentions)


def _compatible(candidate: NounPhrase, anaphor: NounPhrase) -> bool:
    if candidate.number != anaphor.number:
        return False
    if anaphor.number == "Plur":
        return True
    gender = candidate.head.noun.gender if candidate.head.noun else candidate.gender
    return candidate.kind == "animal" or (candidate.kind == "person" and gender in (anaphor.gender, "x"))


def ambiguous_pronoun(tree: Tree) -> bool:
    """Whether some pronoun could also mean another phrase before it.

    The subject of its own clause is no competitor of an object pronoun (principle B), and a
    phrase does not compete for a pronoun inside itself.
    """
    position = {id(w): i for i, w in enumerate(tree.words)}
    for anaphor in tree.mentions:
        if anaphor.pronoun not in ("personal", "possessive"):
            continue
        at = position[id(anaphor.head)]
        for other in tree.mentions:
            if other.entity == anaphor.entity or anaphor.head in other.words or other is anaphor.clause_subject:
                continue
            same_as_subject = anaphor.clause_subject is not None and other.entity == anaphor.clause_subject.entity
            if min(position[id(w)] for w in other.words) < at and not same_as_subject and _compatible(other, anaphor):
                return True
    return False


def generate(rng: random.Random) -> Tree:
    """One acceptable sentence of at most `MAX_TOKENS` tokens, free of what could mislead.

    Every pronoun has one reading, no noun, name or verb comes twice (so a head word tells its
    entity), and no word follows itself ("that that").
    """
    while True:
        tree = Builder(rng).sentence()
        if len(tree.words) > MAX_TOKENS:
            continue
        content = [w.lemma for w in tree.words if w.noun or w.verb]
        stutter = any(a.form == b.form for a, b in zip(tree.words, tree.words[1:]))
        if not stutter and len(set(content)) == len(content) and not ambiguous_pronoun(tree):
            return tree


def corpus(rng: random.Random, count: int, seen: set[str]) -> list[Record]:
    """`count` labelled sentences, half of them broken, none whose text is in `seen`.

    Sentences come in matched pairs: one violation is drawn, a sentence that allows it is broken,
    and another sentence that allows it as well stays whole. So nothing but the violation itself
    tells the halves apart. `seen` grows by every text and by every broken sentence's source.
    """
    from violations import VIOLATIONS  # it needs the word functions above

    weights = {name: v.weight for name, v in VIOLATIONS.items()}
    records: list[Record] = []
    while len(records) < count:
        breaking = len(records) % 2 == 0
        # The partner of a broken sentence allows the same violation but stays whole.
        name = pick(rng, weights) if breaking else records[-1].violation
        while True:
            tree = generate(rng)
            sites = VIOLATIONS[name].sites(tree)
            if sites:
                break
        record = finish(tree)
        if record.text in seen:
            continue
        if breaking:
            source = record.text
            VIOLATIONS[name].apply(tree, rng.choice(sites), rng)
            fix_articles(tree.words)
            record = finish(tree)
            record.violation, record.source = name, source
            if record.text in seen:
                continue
            seen.add(source)
        seen.add(record.text)
        records.append(record)
    rng.shuffle(records)
    return records


def splits(seed: int, train: int, dev: int, lm: int = 0) -> tuple[list[Record], list[Record], list[str]]:
    """The train and dev corpora and `lm` further acceptable sentences, all texts distinct.

    The dev set comes first, so that its sentences do not depend on the sizes of the others.
    """
    seen: set[str] = set()
    dev_records = corpus(random.Random(f"{seed}-dev"), dev, seen)
    held_out = set(seen)
    train_records = corpus(random.Random(f"{seed}-train"), train, seen)
    rng = random.Random(f"{seed}-lm")
    texts: list[str] = []
    while len(texts) < lm:
        text = finish(generate(rng)).text
        if text not in held_out:
            texts.append(text)
    return train_records, dev_records, texts


def more_labelled(seed: int, count: int, known: list[Record]) -> list[Record]:
    """`count` further labelled sentences that share no text and no source with `known`."""
    seen = {text for r in known for text in (r.text, r.source) if text}
    return corpus(random.Random(f"{seed}-more"), count, seen)


def write_corpora(folder: Path, train: list[Record], dev: list[Record]) -> None:
    """`CoLA/train.tsv`, `CoLA/dev.tsv`, `dev.conllu` and, one a line, the acceptable dev sentences in `dev.txt`."""
    (folder / "CoLA").mkdir(parents=True, exist_ok=True)
    for name, records in (("train", train), ("dev", dev)):
        (folder / "CoLA" / f"{name}.tsv").write_text("".join(r.tsv() for r in records), encoding="utf-8", newline="\n")
    (folder / "dev.conllu").write_text("".join(write_conllu(dev, "dev")), encoding="utf-8", newline="\n")
    (folder / "dev.txt").write_text("".join(f"{r.text}\n" for r in dev if r.label), encoding="utf-8", newline="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--train", type=int, default=6800, help="labelled training sentences (default 6800)")
    parser.add_argument("--dev", type=int, default=1000, help="labelled dev sentences (default 1000)")
    parser.add_argument("--lm", type=int, default=0, help="also write this many plain sentences to lm.txt (default 0)")
    parser.add_argument("--seed", type=int, default=20)
    args = parser.parse_args()
    train, dev, texts = splits(args.seed, args.train, args.dev, args.lm)
    write_corpora(args.output, train, dev)
    if texts:
        (args.output / "lm.txt").write_text("\n".join(texts) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
