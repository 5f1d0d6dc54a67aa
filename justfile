# The common commands; `just` lists them.

default:
    @just --list

# Importance, masking and pruning on the embedded model
demo:
    cargo run --release -- demo

# Every test
test:
    cargo test --release --workspace --all-features

# What CI runs
check:
    .ci/run

# Formatting
fmt:
    cargo fmt --all

# Clippy and rustdoc, warnings are errors
lint:
    cargo clippy --workspace --all-targets --all-features -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps

# Licences, sources, advisories and spelling; asks for cargo-deny and typos-cli, and for a network
audit:
    cargo deny --all-features check
    typos

# Each feature of each crate without the others
features:
    tools/features.py

# Graphics cards, or Mesa's program that acts as one: operations, engine, studies
device:
    tools/device/check.sh

# The pages: build them from web/, compare with the committed ones, try them in Chromium
pages:
    tools/web/check.sh

# The Python package: the wheel, its tests, the notebooks
python:
    tools/python/check.sh

# Every reader of foreign bytes under mutated inputs: 20 seconds each, or as said
fuzz *OPTIONS:
    fuzz/run.py {{OPTIONS}}

# A virtual environment with the pinned reference (PyTorch, transformers)
venv:
    python3 -m venv .venv
    .venv/bin/pip install -r tools/golden/requirements.txt

# Make the golden files again elsewhere and compare them with the committed ones
golden:
    .venv/bin/python tools/golden/check.py
    .venv/bin/python tools/golden/make_extract_golden.py --check
    .venv/bin/python tools/golden/make_attention_golden.py --check
    .venv/bin/python tools/golden/make_cat_golden.py --check
    .venv/bin/python tools/golden/make_cat_legacy_golden.py --check
    .venv/bin/python tools/golden/make_cat_values.py --check
    .venv/bin/python -m unittest discover -s tools/golden -p 'test_*.py'
    .venv/bin/python tools/golden/make_tokenizer_golden.py --check
    .venv/bin/python tools/golden/make_sentencepiece_golden.py --check

# Time and memory against the Python peers; DATA is a GLUE folder (benches/README.md)
peers DATA *OPTIONS:
    python3 benches/peers/compare.py --data {{DATA}} {{OPTIONS}}
