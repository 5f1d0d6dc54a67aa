#!/usr/bin/env python3
"""Write the tokenizer's golden files: small tokenizer folders and what transformers makes of difficult texts.

Each folder holds tokenizer files in one of the forms that checkpoints come with, and `cases.json`:
`{text, pair, max_length, input_ids, token_type_ids, attention_mask, offsets}`, one case a line, computed by
BertTokenizerFast / RobertaTokenizerFast with truncation="longest_first". Offsets count characters (Unicode
scalar values), as transformers returns them; special tokens have [0, 0].

The folders of OpenAIGPTTokenizerFast and GPT2TokenizerFast have more texts, and in each case `word_ids` and
`plain` (true: add_special_tokens=False, nothing cut); these classes return no token types, written as zeros.

    make_tokenizer_golden.py            write all folders
    make_tokenizer_golden.py --check    make them again in a temporary directory and compare byte by byte
"""

import argparse
import json
import math
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import transformers
from tokenizers import (
    ByteLevelBPETokenizer,
    Regex,
    Tokenizer,
    decoders,
    normalizers,
    pre_tokenizers,
    processors,
)
from tokenizers.models import BPE, Unigram
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from transformers import (
    AlbertTokenizerFast,
    AutoTokenizer,
    BertTokenizerFast,
    CamembertTokenizerFast,
    ElectraTokenizerFast,
    EsmTokenizer,
    MPNetTokenizerFast,
    RobertaTokenizerFast,
    XLMRobertaTokenizerFast,
)

import shared

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "golden/tokenizer"
# With it the folders of NAMES_5 alone are made, without it all others.
VERSION_5 = transformers.__version__.startswith("5.")
NAMES_5 = ("esmc",)

# ---------------------------------------------------------------- vocabularies

BERT_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA_SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]

WORDS = """the a an of to and in is was it on for with as by at from that this not no one two old new small
river river bank boat boats walk walks play plays read reads sing sings cat cats dog dogs bird birds green
blue quiet head heads layer layers mask masks model models token tokens word words text texts short long very
The A River Paris Anna NASA cafe naïve café résumé über straße ijs don t s ll re can will un able""".split()
PIECES = """s es ed ing er est ly ness ment able tion un re ish ful less bank boat walk play token mask word
is ation al ity ise ize ö é ü""".split()
PUNCTUATION = list(".,;:!?'\"()[]{}<>-_/\\&@#$%*+=~^|`") + ["–", "—", "“", "”", "’", "…", "€", "£", "。", "，"]
CHARACTERS = (
    list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
    + list("éèàüößñçåø")
    + list("河水山人中文語学")
    + ["한", "국", "ᄒ", "ᅡ", "ᆫ", "и", "р", "ي", "\u0301", "😀", "️"]
)


def bert_vocabulary(specials):
    unused = [f"[unused{i}]" for i in range(4)]
    pieces = [f"##{piece}" for piece in [*PIECES, *"abcdefghijklmnopqrstuvwxyz0123456789", "水", "文", "\u0301"]]
    entries = [*specials, *unused, *PUNCTUATION, *CHARACTERS, *WORDS, *pieces]
    return list(dict.fromkeys(entries))


CORPUS = """The river is quiet and the old boat lies on the bank.
Two cats walk along the river bank; the dog reads the quiet text aloud.
A small model has layers, and each layer has heads that read the other tokens.
Masking a head is not the same as masking a word, but both masks are short.
Anna sings in the café in Paris while the birds sing in the green trees.
Don't walk on the new bank: it isn't able to carry boats, boaters or boating dogs.
In 1997 there were 12 boats, in 2019 there were 345; nobody counted the birds.
The naïve reader reads every word; the quiet reader reads every layer of the text.
Tokens are words, parts of words, or single bytes, and a tokenizer tells them apart.
"It was a very long, very quiet walk," she said, "and nobody played or sang."
""".splitlines()


# ---------------------------------------------------------------- texts

TEXTS = [
    "the cat walks on the river bank",
    "The River, the CAT and Anna.",
    "",
    " ",
    "\t\n",
    "  leading and  double   spaces and trailing  ",
    "tabs\tand\nnew lines\r\nand\x0bothers",
    "no-break\u00a0space, thin\u2009space, zero\u200bwidth, soft\u00adhyphen, line\u2028separator, bom\ufeff",
    "control\x00 characters\x07 and \ufffd replacement",
    "café naïve résumé über straße",
    "CAFÉ NAÏVE RÉSUMÉ ÜBER STRASSE",
    "cafe\u0301 nai\u0308ve re\u0301sume\u0301 e\u0301\u0323 \u0301alone",
    "Ångström, Łódź, Dvořák, smørrebrød, İstanbul, ﬁnd ﬂoods, ½ ² №",
    "河水 山人中文",
    "the河水is quiet中文,word。",
    "日本語とひらがなカタカナ 漢字",
    "한국 국한 한",
    "река и Река",
    "العربية ي",
    "हिन्दी नमस्ते",
    "😀 the 😀😀 dog👍🏽 family👨‍👩‍👧 flag🇳🇱 heart❤️",
    "[CLS] the [SEP] cat [MASK] walks [PAD] [UNK]",
    "the[SEP]cat[MASK]walks",
    "[sep] [Mask] [ SEP ] [unused1]",
    "<s> the </s> cat <mask> walks <pad> <unk>",
    "the</s>cat<mask>walks  <mask> on",
    "don't can't it's we'll they're DON'T",
    "hello!!! (really?) \"quoted\" 'single' “curly” – — … a/b a\\b a_b #tag @user $5.00 50% 1,000.5",
    "https://example.org/a?b=c&d=e#f name@example.org",
    "walking walked walker walkers unwalkable replayable tokenization tokenizations maskings",
    "a" * 100,
    "a" * 101,
    "walk" * 40,
    "x" * 250 + " the cat",
    "é" * 60,
    "1234567890 007 3.14159 1e-5 x2 2x",
    "UNKNOWNWORD qzxj ЖЖЖ ∑∫√",
    "##s ##ing s##ing",
    "tri\u0323\u0301ple \u1100\u1161\u11ab \u0915\u094d\u0937",
    "ends with a space ",
    " starts with a space",
    "ＦＵＬＬ　ｗｉｄｔｈ ｔｅｘｔ",
    "\U00020000\U0002a6d6 rare ideographs",
    "one\x85two three\u3000four",
]

PAIRS = [
    ("the cat walks", "the dog reads"),
    ("", "the dog"),
    ("the dog", ""),
    ("", ""),
    ("café 河水", "NAÏVE 😀"),
    ("the [SEP] cat", "a [CLS] dog </s> x"),
    (" the cat", " the dog "),
    ("don't", "1,000 birds!"),
]

# For the language models' folders: what their vocabularies treat specially, then the lines of a difficult file.
MARKS = [
    "<|endoftext|>",
    "the cat<|endoftext|>the dog",
    " <|endoftext|>  the  <|endoftext|><|endoftext|> dog\n",
    "<|ENDOFTEXT|> <| endoftext |> endoftext",
    "the</w> cat</w> </w>",
    "Ġthe Ġcat ĊĠ",
    "<unk>the <unk> <UNK>",
    "'s 'S 't 're 've 'm 'll 'd 'x ' s it's IT'S it’s",
    "the\u00a0\u00a0cat \u00a0 dog\u2003 \u3000bird",
    "three   spaces\t\ttabs \t both\n\n\nlines  ",
    "\n\nthe\r\n\r\ncat \r",
    "x²y³ ½ Ⅷ ٣٤٥ 五六 1a2b",
    "👨‍👩‍👧‍👦👩🏾‍💻🏳️‍🌈🇳🇱🇯🇵❤️‍🔥 e\u0301\u0301\u0301 \u200d\u200d",
    "\U0010ffff\ue000\ufdd0\x7f\x80\x9f",
]

FILE = (
    "\ufeffThe river is quiet.\r\n"
    "\r\n"
    "\n"
    "   \t \n"
    "the河水is quiet中文,word。Река العربية हिन्दी 한국어 ไทย\n"
    + "tokenmaskwalk" * 60
    + "\n"
    + "河😀e\u0301" * 30
    + "\n"
    "İIıi ŒÆß ǅ ΑΣ ΣΑΣ ﬀ\n"
    "\n"
    "Zalgo: t\u0300\u0316h\u0301\u0317e\u0302\u0318 c\u0303a\u0304t\u0305\n"
    "  the last line has no end"
)

COUNTED = "the cat walks on river bank and a dog reads one very long text with two small words for no bird".split()


def counted(words, start=0):
    return " ".join(COUNTED[(start + i) % len(COUNTED)] for i in range(words))


def requests(special_tokens_in_pair):
    """(text, pair, max_length) of every case."""
    for text in TEXTS:
        yield text, None, 128
    for text in TEXTS[:2] + TEXTS[9:15]:
        yield text, None, 6
    for pair in PAIRS:
        yield *pair, 128
        yield *pair, special_tokens_in_pair + 3
    # Single texts at, just below and just above the limit.
    for words in (0, 1, 6, 7, 8, 9, 30):
        yield counted(words), None, 9
    # Longest-first: either side longer, both longer than half, odd and even room, ties.
    for first, second in [(1, 1), (3, 3), (4, 3), (3, 4), (2, 12), (12, 2), (5, 6), (6, 5), (7, 7), (12, 12), (20, 1)]:
        for room in (2, 3, 7, 8, 9):
            yield counted(first), counted(second, 5), special_tokens_in_pair + room


def cases(tokenizer):
    specials = tokenizer.num_special_tokens_to_add(pair=True)
    typed = "token_type_ids" in tokenizer.model_input_names
    result = []
    for text, pair, max_length in requests(specials):
        encoded = tokenizer(
            text, pair, truncation="longest_first", max_length=max_length, return_offsets_mapping=True,
            return_token_type_ids=True, return_attention_mask=True,
        )  # fmt: skip
        result.append(
            dict(
                text=text,
                pair=pair,
                max_length=max_length,
                input_ids=encoded["input_ids"],
                # Zeros where the class gives the model none.
                token_type_ids=encoded["token_type_ids"] if typed else [0] * len(encoded["input_ids"]),
                attention_mask=encoded["attention_mask"],
                offsets=[list(pair) for pair in encoded["offset_mapping"]],
            )
        )
    return result


def language_model_cases(tokenizer):
    specials = tokenizer.num_special_tokens_to_add(pair=True)
    texts = [*MARKS, *FILE.split("\n"), FILE]
    wanted = [(*request, False) for request in requests(specials)]
    wanted += [(text, None, None, False) for text in texts]
    wanted += [(text, None, 4, False) for text in MARKS]
    wanted += [(text, None, None, True) for text in texts + TEXTS[:16]]
    result = []
    for text, pair, max_length, plain in wanted:
        encoded = tokenizer(
            text, pair, truncation="longest_first" if max_length else False, max_length=max_length,
            return_offsets_mapping=True, add_special_tokens=not plain,
        )  # fmt: skip
        assert "token_type_ids" not in encoded
        result.append(
            dict(
                text=text,
                pair=pair,
                max_length=max_length,
                plain=plain,
                input_ids=encoded["input_ids"],
                token_type_ids=[0] * len(encoded["input_ids"]),
                attention_mask=encoded["attention_mask"],
                offsets=[list(pair) for pair in encoded["offset_mapping"]],
                word_ids=encoded.word_ids(),
            )
        )
    return result


# ---------------------------------------------------------------- folders


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_cases(folder, tokenizer, cases=cases):
    lines = [json.dumps(case, ensure_ascii=True) for case in cases(tokenizer)]
    (folder / "cases.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def bert_folder(out, name, config=None, specials=None, vocabulary=BERT_SPECIALS):
    """The older files only: vocab.txt, and the two small JSON files where given."""
    folder = out / name
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(bert_vocabulary(vocabulary)) + "\n", encoding="utf-8")
    if config is not None:
        write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", **config})
    if specials is not None:
        write_json(folder / "special_tokens_map.json", specials)
    tokenizer = BertTokenizerFast.from_pretrained(folder)
    write_cases(folder, tokenizer)
    return tokenizer


def saved_folder(out, name, tokenizer, twin, drop=(), change=None, cases=cases):
    """What a fast tokenizer's `save_pretrained` writes; must agree with its twin of older files."""
    folder = out / name
    tokenizer.save_pretrained(folder)
    for file in drop:
        (folder / file).unlink()
    if change:
        path = folder / "tokenizer_config.json"
        write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **change})
    again = type(tokenizer).from_pretrained(folder)
    write_cases(folder, again, cases)
    if twin:
        assert (folder / "cases.json").read_bytes() == (out / twin / "cases.json").read_bytes(), name


def bert(out):
    uncased = bert_folder(
        out, "bert-uncased", {"do_lower_case": True, "model_max_length": 512},
        dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), BERT_SPECIALS)),
    )  # fmt: skip
    bert_folder(out, "bert-vocab-only")
    bert_folder(out, "bert-uncased-keep-accents", {"do_lower_case": True, "strip_accents": False})
    cased = bert_folder(out, "bert-cased", {"do_lower_case": False})
    bert_folder(out, "bert-cased-strip-accents", {"do_lower_case": False, "strip_accents": True})
    bert_folder(out, "bert-cased-no-chinese", {"do_lower_case": False, "tokenize_chinese_chars": False})

    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    others = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
    bert_folder(out, "bert-other-specials", {"do_lower_case": True}, dict(zip(names, others)), vocabulary=others)

    # tokenizer.json keeps whatever truncation and padding it was saved with; callers' settings must win.
    uncased.backend_tokenizer.enable_truncation(5)
    uncased.backend_tokenizer.enable_padding(length=12)
    saved_folder(out, "bert-uncased-json", uncased, "bert-uncased")
    saved_folder(out, "bert-cased-json", cased, "bert-cased", drop=["vocab.txt"])
    # The two files disagree: transformers lets tokenizer_config.json win.
    saved_folder(
        out, "bert-config-wins", BertTokenizerFast.from_pretrained(out / "bert-uncased"), "bert-cased",
        drop=["vocab.txt"], change={"do_lower_case": False},
    )  # fmt: skip


def roberta(out):
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        CORPUS, vocab_size=400, min_frequency=2, special_tokens=ROBERTA_SPECIALS, show_progress=False
    )
    mask = dict(content="<mask>", lstrip=True, rstrip=False, normalized=False, single_word=False)
    specials = dict(
        bos_token="<s>", eos_token="</s>", unk_token="<unk>", sep_token="</s>", pad_token="<pad>", cls_token="<s>",
        mask_token=mask,
    )  # fmt: skip
    for name, prefix in [("roberta", False), ("roberta-prefix-space", True)]:
        folder = out / name
        folder.mkdir()
        trained.save_model(str(folder))
        write_json(
            folder / "tokenizer_config.json",
            {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": prefix, "model_max_length": 512},
        )
        write_json(folder / "special_tokens_map.json", specials)
        tokenizer = RobertaTokenizerFast.from_pretrained(folder)
        write_cases(folder, tokenizer)
        saved_folder(out, f"{name}-json", tokenizer, name, drop=["vocab.json", "merges.txt"])


def word_end_bpe(count):
    """Vocabulary and merges of OpenAI GPT's kind, trained on CORPUS: the most frequent pair is merged, of equally
    frequent ones the first in the order of the alphabet. (The trainer of tokenizers gives the ends of words their
    ids in no fixed order.)"""
    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    words = Counter()
    for line in CORPUS:
        normal = tokenizer.normalizer.normalize_str(line)
        words.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal))
    alphabet = sorted({character.lower() for character in "".join([*words, *CHARACTERS[:75], *PUNCTUATION])})
    tokens = ["<unk>", *alphabet, *(f"{character}</w>" for character in alphabet)]
    split = {word: [*word[:-1], word[-1] + "</w>"] for word in words}
    merges = []
    for _ in range(count):
        pairs = Counter()
        for word, parts in split.items():
            for pair in zip(parts, parts[1:]):
                pairs[pair] += words[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        tokens.append("".join(best))
        for word, parts in split.items():
            at = 0
            while at < len(parts) - 1:
                if (parts[at], parts[at + 1]) == best:
                    parts[at : at + 2] = ["".join(best)]
                at += 1
    return tokens, merges


def language_model_folder(out, name, config):
    """A folder whose vocab.json and merges.txt are there, read as AutoTokenizer does."""
    folder = out / name
    write_json(folder / "tokenizer_config.json", config)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    write_cases(folder, tokenizer, language_model_cases)
    return tokenizer


def gpt(out):
    folder = out / "gpt"
    folder.mkdir()
    tokens, merges = word_end_bpe(150)
    write_json(folder / "vocab.json", {token: id for id, token in enumerate(tokens)})
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tokenizer = language_model_folder(out, "gpt", {"tokenizer_class": "OpenAIGPTTokenizer", "model_max_length": 512})
    assert type(tokenizer).__name__ == "OpenAIGPTTokenizerFast"
    saved_folder(out, "gpt-json", tokenizer, "gpt", drop=["vocab.json", "merges.txt"], cases=language_model_cases)


def gpt2(out):
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        CORPUS, vocab_size=400, min_frequency=2, special_tokens=["<|endoftext|>"], show_progress=False
    )
    config = {"tokenizer_class": "GPT2Tokenizer", "model_max_length": 1024}
    for name, more in [
        ("gpt2", {}),
        ("gpt2-prefix-space", {"add_prefix_space": True}),
        ("gpt2-bos", {"add_bos_token": True}),
    ]:
        (out / name).mkdir()
        trained.save_model(str(out / name))
        tokenizer = language_model_folder(out, name, {**config, **more})
        assert type(tokenizer).__name__ == "GPT2TokenizerFast"
        if name == "gpt2":
            drop = ["vocab.json", "merges.txt"]
            saved_folder(out, "gpt2-json", tokenizer, name, drop=drop, cases=language_model_cases)


def unigram(pieces, unknown=3, mask="<mask>"):
    """A Unigram model of whole and half words, more probable the more often CORPUS has them; single characters last."""
    counts = Counter("▁" + word for line in CORPUS for word in line.split())
    halves = Counter(word[:at] for word in counts for at in range(2, len(word)))
    halves += Counter(word[at:] for word in counts for at in range(1, len(word) - 1))
    for half, count in halves.items():
        if count > 2:
            counts[half] += count
    letters = sorted({letter for word in [*counts, *CHARACTERS, *PUNCTUATION] for letter in word})
    total = sum(counts.values())
    found = [(word, round(math.log(count / total), 6)) for word, count in sorted(counts.items()) if len(word) > 1]
    return Unigram([*pieces, *found, *((letter, -12.0) for letter in letters), (mask, 0.0)], unk_id=unknown)


def sentence_pieces(out):
    """tokenizer.json as the converters of both classes build it, without the maps of characters that only
    SentencePiece's own files hold; in their place stands NFKC, which these are for the most part."""
    for name, kind, pieces in [
        ("xlm-roberta", XLMRobertaTokenizerFast, [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]),
        (
            "camembert",
            CamembertTokenizerFast,
            [("<s>NOTUSED", 0.0), ("<pad>", 0.0), ("</s>NOTUSED", 0.0), ("<unk>", 0.0), ("<unk>NOTUSED", -100.0)]
            + [("<s>", 0.0), ("</s>", 0.0)],
        ),
    ]:
        core = Tokenizer(unigram(pieces))
        core.normalizer = normalizers.Sequence(
            [normalizers.NFKC(), normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")]
        )
        core.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
        core.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
        core.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>",
            special_tokens=[(token, core.token_to_id(token)) for token in ("<s>", "</s>")],
        )  # fmt: skip
        # As the hub has them: everything but the vocabulary is left to the class, which config.json names.
        folder = out / name
        folder.mkdir()
        kind(tokenizer_object=core).backend_tokenizer.save(str(folder / "tokenizer.json"))
        write_json(folder / "tokenizer_config.json", {"model_max_length": 512})
        write_json(folder / "config.json", {"model_type": name})
        tokenizer = AutoTokenizer.from_pretrained(folder)
        assert type(tokenizer) is kind
        write_cases(folder, tokenizer)


def albert(out):
    """As sentence_pieces: BERT's marks, lower case, and no map of characters."""
    core = Tokenizer(unigram([("<pad>", 0.0), ("<unk>", 0.0), ("[CLS]", 0.0), ("[SEP]", 0.0)], unknown=1, mask="[MASK]"))
    core.normalizer = normalizers.Sequence(
        [
            normalizers.Replace("``", '"'), normalizers.Replace("\'\'", '"'), normalizers.NFKD(),
            normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )  # fmt: skip
    core.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    core.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    core.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, core.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )  # fmt: skip
    folder = out / "albert"
    folder.mkdir()
    AlbertTokenizerFast(tokenizer_object=core).backend_tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"model_max_length": 512})
    write_json(folder / "config.json", {"model_type": "albert"})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert type(tokenizer) is AlbertTokenizerFast
    write_cases(folder, tokenizer)


def electra(out):
    tokenizer = ElectraTokenizerFast.from_pretrained(out / "bert-uncased")
    saved_folder(out, "electra-json", tokenizer, "bert-uncased", drop=["vocab.txt"])


def mpnet(out):
    folder = out / "mpnet"
    folder.mkdir()
    vocabulary = bert_vocabulary(["<s>", "<pad>", "</s>", "[UNK]", "<mask>"])
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "MPNetTokenizer", "model_max_length": 512})
    tokenizer = MPNetTokenizerFast.from_pretrained(folder)
    write_cases(folder, tokenizer)
    saved_folder(out, "mpnet-json", tokenizer, "mpnet", drop=["vocab.txt"])


RESIDUES = """<cls> <pad> <eos> <unk> L A G V S E R T I D P K Q N F Y M H W C X B U Z O . - <null_1> <mask>""".split()
PROTEINS = [
    "MKTVRQERLKSIVRILERSKEPVSGAQLAEELSVSRQVIVQDIAYLRSLGYNIVATPRGYVLAGG",
    "M K T V R Q",
    "MKTV RQER\nLKSI\tVR",
    "MKT<mask>VRQ<mask>",
    "<cls>MKT<eos>VRQ<pad><unk>",
    "<mask> <mask>M",
    "mktv MKtvK",
    "MKTJJJVR J M",
    "A.B-C*D.-",
    "<null_1>M<null_2>K<nul",
    "M K  T",
    "M,K;T",
    "MéK水T😀",
    "",
    " ",
    "XBUZO",
    "<",
]


def places(tokens, text):
    """Where tokens stand in a text, which they are pieces of."""
    found, start = [], 0
    for token in tokens:
        at = text.index(token, start)
        start = at + len(token)
        found.append([at, start])
    return found


def esm(out):
    """The class is Python code, which says no places: each token is looked for behind the one before it."""
    folder = out / "esm"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(RESIDUES), encoding="utf-8")
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "EsmTokenizer", "model_max_length": 1024})
    tokenizer = EsmTokenizer.from_pretrained(folder)

    def cases(tokenizer):
        wanted = [(text, None, 128) for text in PROTEINS] + [(PROTEINS[0], None, limit) for limit in (3, 9, 66, 67)]
        wanted += [(first, second, 128) for first, second in zip(PROTEINS, PROTEINS[1:]) if second]
        result = []
        for text, pair, max_length in wanted:
            encoded = tokenizer(text, pair, truncation="longest_first", max_length=max_length)
            room = max_length - 2 if pair is None else None
            offsets = [[0, 0], *places(tokenizer.tokenize(text)[:room], text), [0, 0]]
            if pair is not None:
                offsets += [*places(tokenizer.tokenize(pair), pair), [0, 0]]
            assert len(offsets) == len(encoded["input_ids"])
            result.append(
                dict(
                    text=text, pair=pair, max_length=max_length, input_ids=encoded["input_ids"],
                    token_type_ids=[0] * len(offsets), attention_mask=encoded["attention_mask"], offsets=offsets,
                )
            )  # fmt: skip
        return result

    write_cases(folder, tokenizer, cases)


def esmc(out):
    """Of transformers 5 (requirements-5.txt). Its class has no template for two proteins: they stand side by side, without marks."""
    folder = out / "esmc"
    tokenizer = transformers.EsmcTokenizer()
    tokenizer.save_pretrained(folder)

    def cases(tokenizer):
        wanted = [(text, None, 128) for text in PROTEINS] + [(PROTEINS[0], None, limit) for limit in (3, 9, 66, 67)]
        wanted += [("MKT|VRQ", None, 128), ("|M", None, 128), ("mkéT", None, 128)]
        wanted += [(first, second, 128) for first, second in zip(PROTEINS, PROTEINS[1:]) if second]
        result = []
        for text, pair, max_length in wanted:
            encoded = tokenizer(text, pair, truncation="longest_first", max_length=max_length, return_offsets_mapping=True)
            count = len(encoded["input_ids"])
            result.append(
                dict(
                    text=text, pair=pair, max_length=max_length, input_ids=encoded["input_ids"], token_type_ids=[0] * count,
                    attention_mask=encoded["attention_mask"], offsets=[list(place) for place in encoded["offset_mapping"]],
                )
            )  # fmt: skip
        return result

    write_cases(folder, tokenizer, cases)


def generate(out):
    if VERSION_5:
        return esmc(out)
    bert(out)
    roberta(out)
    gpt(out)
    gpt2(out)
    sentence_pieces(out)
    electra(out)
    mpnet(out)
    albert(out)
    esm(out)


# ---------------------------------------------------------------- checking


def check(kept):
    failures = 0
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch)
        generate(made)
        names = {p.relative_to(made) for p in made.rglob("*") if p.is_file()}
        present = shared.names(kept) if kept.is_dir() else set()
        present = {name for name in present if (name.parts[0] in NAMES_5) == VERSION_5}
        for name in sorted(names | present):
            same = name in names & present and (made / name).read_bytes() == shared.resolved(kept, name).read_bytes()
            if not same:
                failures += 1
                print(f"FAIL {name}")
    print(f"{len(names)} files, {failures} differ")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    parser.add_argument("--output", type=Path, default=OUT, help="folder that holds the fixture folders")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    if options.check:
        return 1 if check(options.output) else 0
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        for folder in sorted(Path(scratch).iterdir()):
            target = options.output / folder.name
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(folder, target)
            size = sum(p.stat().st_size for p in target.iterdir())
            cases = json.loads((target / "cases.json").read_text(encoding="utf-8"))
            print(f"{folder.name:26} {size / 1000:7.1f} kB  {len(cases)} cases")
    shared.share(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
