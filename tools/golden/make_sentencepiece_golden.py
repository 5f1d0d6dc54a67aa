#!/usr/bin/env python3
"""Write golden/sentencepiece: tokenizers whose models SentencePiece trained.

A Unigram model is trained on make_tokenizer_golden's corpus with SentencePiece's own normalisation, nmt_nfkc, which the models
of XLM-RoBERTa and CamemBERT carry, and converted by transformers, as AutoTokenizer does for a folder that has only
sentencepiece.bpe.model. tokenizer.json then holds the compiled map (`Precompiled`). `cases.json` is that of
make_tokenizer_golden.py. The folders of DeBERTa hold SentencePiece's own file alone, `spm.model`, and the cases of transformers'
conversion of it, on 200 texts.

    make_sentencepiece_golden.py                  write the folders
    make_sentencepiece_golden.py --check          make them again in a temporary directory and compare byte by byte
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import make_tokenizer_golden as tokenizers
import numpy as np
import sentencepiece
import transformers
from transformers import AutoTokenizer, DebertaV2TokenizerFast, XLMRobertaTokenizer, XLMRobertaTokenizerFast
from transformers.convert_slow_tokenizer import import_protobuf

OUT = Path(__file__).resolve().parents[2] / "golden/sentencepiece"
NAME = "xlm-roberta"

# What the map changes, and where the library goes by grapheme and not by character.
MAPPED = [
    "ｆｕｌｌ　ｗｉｄｔｈ　ｂｏａｔ １２３ ﾊﾝｶｸ ｶﾞ",
    "ﬁnd ﬂoods ½ ² № ™ ㈱ ㍿ Ⅷ ﷺ …",
    "zero\u200bwidth soft\u00adhyphen joiner\u200d\u200c bom\ufeff mark\u200e\u200f",
    "control\x00\x01\x07\x1f\x7f\x8f\x9f characters",
    "lines\u2028and\u2029paragraphs\x0b\x0c\x85 and\u00a0spaces\u2003\u3000\u1680",
    "e\u0301 A\u030a \u1100\u1161\u11a8 \u0958 s\u0323\u0307 \u1e9b\u0323 \u2126 \u212b",
    "\u0e33 \u0e01\u0e33 \u0f73 \u0f77 ŉ ǆ ﬆ ß ſ \u0345 ͅα",
    "ﾊﾞ ﾊ\u3099 か\u3099 が 가\u11a8 각 👍🏽 👨‍👩‍👧 ❤️ 🇳🇱",
    "the™\x1eg ™\x1eg \x1e\x1e",
    "  double   spaces ▁and▁marks ▁ ",
]


def train(folder, name="sentencepiece.bpe", rule="nmt_nfkc", **more):
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(tokenizers.CORPUS + tokenizers.TEXTS[9:20]) + "\n", encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(folder / name), vocab_size=300, model_type="unigram",
        normalization_rule_name=rule, character_coverage=1.0, num_threads=1, hard_vocab_limit=False, minloglevel=2, **more,
    )  # fmt: skip
    corpus.unlink()
    return folder / f"{name}.model"


# DeBERTa's marks, and a piece that nobody trains.
MARKS = dict(
    pad_id=0, pad_piece="[PAD]", bos_id=1, bos_piece="[CLS]", eos_id=2, eos_piece="[SEP]", unk_id=3, unk_piece="[UNK]",
    user_defined_symbols=["<sep>"],
)  # fmt: skip


def drawn():
    """Words of the corpus, other letters, spaces and marks, thrown together: as many texts as make 200 with the others."""
    draw = np.random.default_rng(20240607)
    words = " ".join(tokenizers.CORPUS).split()[:400]
    others = ["[UNK]", "[MASK]", "<sep>", "[SEP]", "▁", "  ", "\t", "\n", "日本", "é", "É", "x", "!", "...", "'s", "😀", "ǅ", "\u00a0", "２"]
    texts = []
    for _ in range(200 - len(MAPPED) - len(tokenizers.TEXTS)):
        parts = [str(draw.choice(words if draw.random() < 0.7 else others)) for _ in range(draw.integers(1, 12))]
        texts.append("".join(part + (" " if draw.random() < 0.7 else "") for part in parts))
    return texts


def deberta(out, name, settings, **training):
    """What AutoTokenizer makes of a folder that has `spm.model` alone."""
    folder = out / name
    folder.mkdir(parents=True)
    model = import_protobuf().ModelProto.FromString(train(folder, "spm", **MARKS, **training).read_bytes())
    (folder / "spm.vocab").unlink()
    # Where the file was made has no place in it.
    del model.trainer_spec.input[:]
    model.trainer_spec.model_prefix = "spm"
    (folder / "spm.model").write_bytes(model.SerializeToString(deterministic=True))
    tokenizers.write_json(folder / "tokenizer_config.json", {"model_max_length": 512, **settings})
    tokenizers.write_json(folder / "config.json", {"model_type": "deberta-v2"})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert type(tokenizer) is DebertaV2TokenizerFast
    tokenizers.write_cases(folder, tokenizer, lambda tokenizer: cases(tokenizer, MAPPED + drawn()))
    return tokenizer


def deberta_json(out, tokenizer):
    """The same tokenizer as transformers saves it, without SentencePiece's file."""
    folder = out / "deberta-json"
    tokenizer.save_pretrained(folder)
    (folder / "spm.model").unlink()
    tokenizers.write_json(folder / "config.json", {"model_type": "deberta-v2"})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert type(tokenizer) is DebertaV2TokenizerFast
    tokenizers.write_cases(folder, tokenizer, lambda tokenizer: cases(tokenizer, drawn()[:30]))


def cases(tokenizer, texts=MAPPED):
    made = tokenizers.cases(tokenizer)
    for text in texts:
        encoded = tokenizer(
            text, return_offsets_mapping=True, return_token_type_ids=True, return_attention_mask=True
        )
        made.append(
            dict(
                text=text, pair=None, max_length=128, input_ids=encoded["input_ids"],
                token_type_ids=encoded["token_type_ids"], attention_mask=encoded["attention_mask"],
                offsets=[list(pair) for pair in encoded["offset_mapping"]],
            )
        )  # fmt: skip
    return made


def generate(out):
    folder = out / NAME
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        slow = XLMRobertaTokenizer(str(train(Path(scratch))))
        fast = transformers.convert_slow_tokenizer.convert_slow_tokenizer(slow)
    XLMRobertaTokenizerFast(tokenizer_object=fast).backend_tokenizer.save(str(folder / "tokenizer.json"))
    tokenizers.write_json(folder / "tokenizer_config.json", {"model_max_length": 512})
    tokenizers.write_json(folder / "config.json", {"model_type": "xlm-roberta"})
    # One line: the file is a map of a quarter of a megabyte, and nobody reads it.
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert type(tokenizer) is XLMRobertaTokenizerFast
    assert "Precompiled" in str(tokenizer.backend_tokenizer.normalizer)
    tokenizers.write_cases(folder, tokenizer, cases)
    deberta(out, "deberta", {})
    tokenizer = deberta(out, "deberta-lower", {"do_lower_case": True, "split_by_punct": True}, rule="identity")
    deberta_json(out, tokenizer)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch)
        generate(made)
        files = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
        if options.check:
            wrong = [name for name in files if (made / name).read_bytes() != (OUT / name).read_bytes()]
            print(f"{len(files)} files, {len(wrong)} differ", *wrong)
            return 1 if wrong else 0
        shutil.rmtree(OUT, ignore_errors=True)
        shutil.copytree(made, OUT)
        for name in files:
            print(name, (OUT / name).stat().st_size)
    return 0


if __name__ == "__main__":
    sys.exit(main())
