#!/usr/bin/env python3
"""Write the golden files of the attention analyses: what transformers' maps and plain numpy say of the embedded models.

Sentences are the first of assets/grammar/dev.conllu, their words joined by single spaces; for coreference also the
documents of coreference.conllu beside the files that are written. Formulas: attention_reference.py; what is in
the files: README.md.

    make_attention_golden.py            write golden/studies/attention
    make_attention_golden.py --check    make them again and compare with the committed ones
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file

import attention_reference as reference
import treebank
from attention_models import Model, gradients

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "golden/studies/attention"
HAND_MADE = OUT / "coreference.conllu"
MODELS = ("tiny-bert", "tiny-gpt2", "tiny-gpt")
SENTENCES = 40
WORD_MAP_OF = 36  # it has words of several tokens in every model
# Sentences of each document, the last one's class the label of BERT. The full stop of a single sentence sees no
# gradient in a causal model: only the last row attends to it, and that predicts nothing.
GRADIENTS_OF = ((0,), (0, 1))
GRADIENT_MAP_OF = (1, 2)  # layer and head
TOLERANCE = 1e-5  # of the largest entry: another processor sums in another order
SCRIPTS = ("make_attention_golden.py", "attention_reference.py", "attention_models.py", "treebank.py")


def plane(model, values):
    """The axis of heads, the last, as layers and heads."""
    return values.reshape(*values.shape[:-1], model.layers, model.heads)


def tokens(passages):
    return {
        "documents.input_ids": np.concatenate([p.ids for p in passages]).astype(np.int32),
        "documents.offsets": np.cumsum([0, *(len(p.ids) for p in passages)]).astype(np.int64),
        "documents.unit": np.concatenate([p.unit_of_token for p in passages]).astype(np.int32),
        "documents.words": np.array([len(p.words) for p in passages], np.int64),
    }


def surface(model, passages, maps):
    arrays, counts = {}, {}
    for mode in ("paper", "exact"):
        averages = reference.Averages()
        for passage, alpha in zip(passages, maps):
            averages.add(*reference.surface_patterns(alpha, model.classes(passage.ids), mode, model.is_causal))
        result = averages.result()
        counts[mode] = result.pop("documents").tolist()
        arrays |= {f"patterns.{mode}.{name}": plane(model, value) for name, value in result.items()}
    return arrays, counts


def entropy(model, maps):
    arrays = {}
    for name, smoothing in (("exact", 0.0), ("paper", reference.PAPER_ENTROPY_SMOOTHING)):
        averages = reference.EntropyAverages()
        for alpha in maps:
            averages.add(reference.entropy_statistics(alpha, smoothing, model.is_causal), alpha.shape[-1])
        for key, value in averages.result().items():
            arrays[f"entropy.{name}.{key}"] = value if key == "uniform.mean" else plane(model, value)
    return arrays


def dependencies(model, sentences, passages, maps):
    table = reference.Dependencies(model.layers * model.heads, model.is_causal)
    for sentence, passage, alpha in zip(sentences, passages, maps):
        table.add(sentence, reference.word_maps(alpha, passage.units), passage.words, passage.empty)
    # A count that another order of summation may change is no test.
    assert not table.near, table.near
    result = table.result()
    arrays = {
        f"dependencies.{name}": plane(model, result[name]) if name in ("correct", "abstained") else result[name]
        for name in ("correct", "total", "reachable", "baseline", "abstained")
    }
    return arrays, table.relations()


def coreference(model, sentences, layout):
    extra, extra_layout = treebank.read(HAND_MADE)
    assert layout == extra_layout
    table = reference.Coreference(model.layers * model.heads)
    for document in treebank.documents(sentences) + treebank.documents(extra):
        passage = model.words([form for sentence in document for form in sentence.forms])
        beta = reference.word_maps(model.maps(passage.ids), passage.units)
        table.add(treebank.mentions(document, layout), beta, passage.words, passage.empty)
    assert not table.near.any()
    return {
        "coreference.correct": plane(model, table.correct),
        "coreference.total": table.total,
        "coreference.baselines": table.baselines,
    }


def distances(model, maps):
    found = [reference.distances(alpha, causal=model.is_causal) for alpha in maps]
    return {
        "distances.sum": sum(total for total, _ in found),
        "distances.root_sum": sum(roots for _, roots in found),
        "distances.tokens": np.array([sum(alpha.shape[-1] for alpha in maps)], np.int64),
    }


def spans(model, passages, maps):
    found = [reference.spans(alpha, passage.units, passage.words) for passage, alpha in zip(passages, maps)]
    mean, standard_error = reference.mean_spans(found)
    return {"spans.mean": plane(model, mean), "spans.standard_error": plane(model, standard_error)}


def gradient(model, sentences):
    arrays, losses, labels = {}, [], []
    layer, head = GRADIENT_MAP_OF
    for d, document in enumerate(GRADIENTS_OF):
        ids = model.words([form for at in document for form in sentences[at].forms]).ids
        maps = model.maps(ids)
        label = None if model.is_causal else int(sentences[document[-1]].comments["acceptability"])
        loss, found = gradients(model.folder, ids, label)
        found = np.tril(found) if model.is_causal else found  # what a causal row cannot see is not attention
        losses.append(loss)
        labels.append(label)
        arrays[f"gradients.{d}.input_ids"] = np.array(ids, np.int32)
        arrays[f"gradients.{d}.map"] = found[layer * model.heads + head].astype(np.float32)
        measured = reference.gradient_importance(found, maps, model.classes(ids), model.is_causal)
        assert (measured[0].max(0) > 0).all() or d == 0
        for name, value in zip(reference.GRADIENT_MEASURES, measured):
            arrays[f"gradients.{d}.{name}"] = value.reshape(model.layers, model.heads, -1)
    return arrays | {"gradients.loss": np.array(losses)}, labels


def make(name):
    """The arrays of one model and what names their axes."""
    model = Model(ROOT / "assets" / name)
    sentences, layout = treebank.read(ROOT / "assets/grammar/dev.conllu")
    sentences = sentences[:SENTENCES]
    passages = [model.words(sentence.forms) for sentence in sentences]
    maps = [model.maps(passage.ids) for passage in passages]
    arrays = tokens(passages)
    patterns, documents = surface(model, passages, maps)
    counts, relations = dependencies(model, sentences, passages, maps)
    gradient_arrays, labels = gradient(model, sentences)
    arrays |= patterns | entropy(model, maps) | counts | coreference(model, sentences, layout)
    arrays |= distances(model, maps) | spans(model, passages, maps) | gradient_arrays
    of = passages[WORD_MAP_OF]
    assert any(len(unit) > 1 for unit in of.units)
    for mode in reference.ROW_MODES:
        merged = reference.word_maps(maps[WORD_MAP_OF], of.units, mode).astype(np.float32)
        arrays[f"word_maps.{mode}"] = merged.reshape(model.layers, model.heads, *merged.shape[1:])
    names = dict(
        model=name,
        causal=model.is_causal,
        sentences=SENTENCES,
        punctuation_ids=model.punctuation,
        keys=reference.CAUSAL_KEYS if model.is_causal else reference.KEYS,
        documents=documents,
        directions=reference.DIRECTIONS,
        relations=relations,
        offsets=reference.OFFSETS,
        candidates=reference.CANDIDATES,
        categories=reference.CATEGORIES,
        baselines=reference.BASELINES,
        spans=reference.SPANS,
        word_map_of=WORD_MAP_OF,
        gradients_of=GRADIENTS_OF,
        gradient_labels=labels,
        gradient_map_of=GRADIENT_MAP_OF,
        gradient_classes=reference.CAUSAL_GRADIENT_CLASSES if model.is_causal else reference.GRADIENT_CLASSES,
        provenance=provenance(),
    )
    return {key: np.ascontiguousarray(value) for key, value in arrays.items()}, json.loads(json.dumps(names))


def provenance():
    here = Path(__file__).parent
    digest = hashlib.sha256(b"".join((here / script).read_bytes() for script in SCRIPTS)).hexdigest()
    return dict(
        script=SCRIPTS[0], scripts_sha256=digest, torch=torch.__version__, transformers=transformers.__version__
    )


def differences(name, arrays, names):
    kept, kept_names = load_file(OUT / f"{name}.safetensors"), json.loads((OUT / f"{name}.json").read_text())
    found = sorted(arrays.keys() ^ kept.keys())
    named = (names.keys() | kept_names.keys()) - {"provenance"}
    found += sorted(key for key in named if names.get(key) != kept_names.get(key))
    for key in sorted(arrays.keys() & kept.keys()):
        a, b = arrays[key], kept[key]
        if a.shape != b.shape or a.dtype != b.dtype:
            found.append(f"{key}: {a.dtype} {a.shape} against {b.dtype} {b.shape}")
        elif np.issubdtype(a.dtype, np.integer):
            found += [f"{key}: {int((a != b).sum())} counts"] if (a != b).any() else []
        elif not np.allclose(a, b, rtol=0, atol=TOLERANCE * np.nanmax(np.abs(b)), equal_nan=True):
            found.append(f"{key}: {np.nanmax(np.abs(a - b)):.2e}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    failures = 0
    for name in MODELS:
        arrays, names = make(name)
        if options.check:
            found = differences(name, arrays, names)
            failures += bool(found)
            print(f"{'FAIL' if found else 'same'} {name}: {len(arrays)} arrays {'; '.join(found)}")
            continue
        path = OUT / f"{name}.safetensors"
        save_file(arrays, path)
        path.with_suffix(".json").write_text(json.dumps(names, indent=1) + "\n")
        print(f"{name}: {path.stat().st_size / 1000:.1f} kB, scored mentions {arrays['coreference.total'].tolist()}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
