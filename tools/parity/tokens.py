#!/usr/bin/env python3
"""Compare the tokens of a text file, ours against those of transformers' fast tokenizer.

    tokens.py --make-text FILE [--lines N] [--seed N]     write a difficult text file (UTF-8) and stop
    tokens.py FOLDER FILE                                 tokenise with both, compare, exit 1 on a difference
    tokens.py FOLDER FILE --write REFERENCE.jsonl         also keep what transformers says, a JSON object a text

Compared are input_ids, token_type_ids (zeros where the tokenizer's class returns none), offsets in characters and
word ids; three times: every line with special tokens, every line without, and the whole file as one text without.
A line ends with \\n; a \\r before it belongs to the line. Ours come from the example `encode` of the crate
bertology-tokenizer, run with --encode (default: cargo, in this checkout).
"""

import argparse
import json
import random
import shlex
import subprocess
import sys
from pathlib import Path

import transformers
from transformers import AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
ENCODE = f"cargo run --quiet --release --manifest-path {shlex.quote(str(ROOT / 'Cargo.toml'))} " + (
    "-p bertology-tokenizer --example encode --"
)
MODES = [("lines", []), ("lines without special tokens", ["--plain"]), ("whole file", ["--plain", "--whole"])]

# ---------------------------------------------------------------- a difficult text

# First and last code point of blocks with very different habits.
BLOCKS = {
    "ASCII": (0x20, 0x7E), "Latin": (0xA1, 0x24F), "Greek": (0x370, 0x3FF), "Cyrillic": (0x400, 0x4FF),
    "Hebrew": (0x590, 0x5FF), "Arabic": (0x600, 0x6FF), "Devanagari": (0x900, 0x97F), "Tamil": (0xB80, 0xBFF),
    "Thai": (0xE00, 0xE7F), "Tibetan": (0xF00, 0xFFF), "Georgian": (0x10A0, 0x10FF), "Jamo": (0x1100, 0x11FF),
    "Ethiopic": (0x1200, 0x137F), "Cherokee": (0x13A0, 0x13FF), "Khmer": (0x1780, 0x17FF),
    "more Latin": (0x1E00, 0x1EFF), "spaces and marks": (0x2000, 0x206F), "letterlike": (0x2100, 0x214F),
    "numbers": (0x2150, 0x218F), "arrows and signs": (0x2190, 0x23FF), "dingbats": (0x2700, 0x27BF),
    "kana": (0x3041, 0x30FF), "ideographs": (0x4E00, 0x9FFF), "Hangul": (0xAC00, 0xD7A3),
    "private": (0xE000, 0xE0FF), "presentation": (0xFB00, 0xFDFF), "full width": (0xFF01, 0xFFEE),
    "Gothic": (0x10330, 0x1034A), "mathematics": (0x1D400, 0x1D7FF), "emoji": (0x1F300, 0x1FAFF),
    "rare ideographs": (0x20000, 0x2A6D6), "tags": (0xE0020, 0xE007F), "any": (0x0, 0x10FFFF),
}  # fmt: skip
MARKS = [chr(code) for code in (*range(0x300, 0x370), *range(0x591, 0x5BE), *range(0x64B, 0x653), 0x94D, 0x20D7)]
PEOPLE = ["👩", "👨", "🧑", "👧", "👦"]
TONES = ["", "🏻", "🏽", "🏿"]
WORDS = """the quick river bank don't we'll THEY'RE it's o'clock naïve café straße İstanbul 1,000.5 2024-01-31
$5.00 50% a_b #tag @user https://example.org/a?b=c&d=e#f <b>bold</b> <|endoftext|> </w> <unk> [CLS] </s> Ġthe
tokenization antidisestablishmentarianism 'quoted' "double" “curly” – — … x² ½ Ⅷ ٣٤٥""".split()
SPACES = [" "] * 8 + ["  ", "   ", "\t", "\t\t", "\u00a0", "\u2003", "\u3000", "\u200b", "\r", "\x0b", "\x0c", "\x85", "\u2028"]


def characters(source, count):
    first, last = source.choice(list(BLOCKS.values()))
    codes = (source.randint(first, last) for _ in range(count))
    # Surrogates are no characters, and \n would end the line.
    return "".join(chr(code) for code in codes if not 0xD800 <= code <= 0xDFFF and code != 0x0A)


def emoji(source):
    family = "\u200d".join(source.choice(PEOPLE) + source.choice(TONES) for _ in range(source.randint(1, 4)))
    flag = "".join(chr(0x1F1E6 + source.randrange(26)) for _ in range(source.choice([2, 2, 3])))
    return source.choice([family, flag, "❤️‍🔥", "🏳️‍🌈", "1️⃣", "👩🏾‍💻"])


def marked(source):
    return "".join(source.choice("aeouxкあ中") + "".join(source.choices(MARKS, k=source.randint(1, 4))) for _ in range(5))


def line(source):
    parts = []
    for _ in range(source.randint(1, 25)):
        kind = source.random()
        if kind < 0.45:
            parts.append(source.choice(WORDS))
        elif kind < 0.75:
            parts.append(characters(source, source.randint(1, 12)))
        elif kind < 0.85:
            parts.append(emoji(source))
        elif kind < 0.95:
            parts.append(marked(source))
        parts.append(source.choice(SPACES) if source.random() < 0.85 else "")
    return "".join(parts)


def long_word(source):
    kind = source.randrange(5)
    if kind == 0:
        return source.choice("aZ7é中.") * 5000
    if kind == 1:
        return "".join(source.choices("abcdefghijklmnopqrstuvwxyz", k=5000))
    if kind == 2:
        return "".join(chr(source.randint(0x4E00, 0x9FFF)) for _ in range(5000))
    if kind == 3:
        return "e" + "".join(source.choices(MARKS, k=4999))
    return "😀" * 2500 + "tokens" * 400


def make_text(path, count, seed):
    source = random.Random(seed)
    lines = []
    for index in range(count):
        if index % 40 == 7:
            lines.append(long_word(source))
        elif index % 9 == 4:
            lines.append(source.choice(["", "", " ", "\t", "\r", "   \t ", "\u00a0"]))
        else:
            lines.append(line(source) + ("\r" if source.random() < 0.1 else ""))
    path.write_bytes(("\ufeff" + "\n".join(lines)).encode("utf-8"))
    print(f"{path}: {count} lines, {sum(map(len, lines))} characters")


# ---------------------------------------------------------------- comparing


def reference(tokenizer, text, plain):
    encoded = tokenizer(text, add_special_tokens=not plain, return_offsets_mapping=True)
    ids = encoded["input_ids"]
    return {
        "input_ids": ids,
        "token_type_ids": encoded.get("token_type_ids", [0] * len(ids)),
        "offsets": [list(pair) for pair in encoded["offset_mapping"]],
        "word_ids": encoded.word_ids(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="a model folder")
    parser.add_argument("file", type=Path, nargs="?", help="a text file in UTF-8")
    parser.add_argument("--write", type=Path, help="keep what transformers says")
    parser.add_argument("--encode", default=ENCODE, help="the command that prints our tokens")
    parser.add_argument("--make-text", type=Path, metavar="FILE")
    parser.add_argument("--lines", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.make_text:
        make_text(options.make_text, options.lines, options.seed)
        return 0
    if not options.file:
        parser.error("FOLDER and FILE are needed")

    transformers.logging.set_verbosity_error()
    tokenizer = AutoTokenizer.from_pretrained(options.folder)
    print(f"{type(tokenizer).__name__}, {len(tokenizer)} tokens, transformers {transformers.__version__}")
    text = options.file.read_bytes().decode("utf-8")
    kept, failures = [], 0
    for mode, flags in MODES:
        texts = [text] if "--whole" in flags else text.split("\n")
        command = [*shlex.split(options.encode), str(options.folder), str(options.file), *flags]
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        ours = [json.loads(object) for object in printed.splitlines()]
        if len(ours) != len(texts):
            print(f"FAIL  {mode}: {len(ours)} texts from us, {len(texts)} in the file")
            failures += 1
            continue
        tokens, differing = 0, dict.fromkeys(["input_ids", "token_type_ids", "offsets", "word_ids"], 0)
        for index, (text_, found) in enumerate(zip(texts, ours)):
            expected = reference(tokenizer, text_, "--plain" in flags)
            kept.append({"mode": mode, "text": index, **expected})
            tokens += len(expected["input_ids"])
            for key in differing:
                if found[key] != expected[key]:
                    differing[key] += 1
                    if sum(differing.values()) <= 5:
                        print(f"      {mode}, text {index}, {key}: {found[key]} instead of {expected[key]}"[:400])
        failures += sum(differing.values())
        counts = ", ".join(f"{key} {count}" for key, count in differing.items())
        verdict = "FAIL" if any(differing.values()) else "PASS"
        print(f"{verdict}  {mode}: {len(texts)} texts, {tokens} tokens; texts that differ: {counts}")
    if options.write:
        options.write.write_text("".join(json.dumps(object) + "\n" for object in kept), encoding="utf-8")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
