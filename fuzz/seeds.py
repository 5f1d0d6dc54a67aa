#!/usr/bin/env python3
"""Write seeds for the fuzz targets: small inputs that are whole, from the fixtures or made here.

    fuzz/seeds.py FOLDER     FOLDER/TARGET/* appear

Only the standard library is used: a seed needs the form of what PyTorch writes, not its values.
"""

import argparse
import io
import json
import pathlib
import pickle
import struct
import sys
import types
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

BERT = json.dumps({
    "architectures": ["BertForSequenceClassification"], "model_type": "bert", "hidden_act": "gelu", "hidden_size": 4,
    "intermediate_size": 6, "layer_norm_eps": 1e-12, "max_position_embeddings": 8, "num_attention_heads": 2,
    "num_hidden_layers": 1, "pad_token_id": 0, "type_vocab_size": 2, "vocab_size": 9,
    "id2label": {"0": "no", "1": "yes"}, "label2id": {"no": 0, "yes": 1},
    "pruned_heads": {"0": [1]},
}).encode()

SHAPES = {
    "bert.embeddings.word_embeddings.weight": [9, 4],
    "bert.embeddings.LayerNorm.gamma": [4],
    "bert.encoder.layer.0.attention.self.query.weight": [4, 4],
    "classifier.weight": [2, 4],
}


def size(shape):
    count = 1
    for length in shape:
        count *= length
    return count


def safetensors(tensors, metadata=None):
    """`tensors` are triples: name, (dtype, bytes of an element), shape; or with data in the place of the size."""
    header, data = ({"__metadata__": metadata} if metadata else {}), b""
    for name, (dtype, width), shape, *values in tensors:
        bytes_ = values[0] if values else bytes(width * size(shape))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(bytes_)]}
        data += bytes_
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def torch():
    """Stand-ins under PyTorch's names, for pickle to refer to."""
    modules = {}
    for name in ["torch", "torch._utils", "torch.storage"]:
        modules[name] = sys.modules[name] = types.ModuleType(name)

    def rebuild(*_):
        raise NotImplementedError

    for name in ["_rebuild_tensor_v2", "_rebuild_parameter"]:
        function = types.FunctionType(rebuild.__code__, {}, name)
        function.__module__, function.__qualname__ = "torch._utils", name
        setattr(modules["torch._utils"], name, function)
    for name in ["FloatStorage", "HalfStorage", "LongStorage"]:
        setattr(modules["torch"], name, type(name, (), {"__module__": "torch"}))
    return modules["torch"]


class Storage:
    def __init__(self, kind, key, count):
        self.kind, self.key, self.count = kind, key, count


class TensorOf:
    def __init__(self, module, storage, shape, offset=0):
        strides = [size(shape[at + 1:]) for at in range(len(shape))]
        arguments = (storage, offset, tuple(shape), tuple(strides), False, __import__("collections").OrderedDict())
        self.reduced = (module._utils._rebuild_tensor_v2, arguments)

    def __reduce__(self):
        return self.reduced


class Pickler(pickle.Pickler):
    def __init__(self, file, legacy):
        super().__init__(file, protocol=2)
        self.legacy = legacy

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        identity = ("storage", value.kind, value.key, "cpu", value.count)
        return (*identity, None) if self.legacy else identity


def pickled(value, legacy=False):
    file = io.BytesIO()
    Pickler(file, legacy).dump(value)
    return file.getvalue()


def state_dicts(module):
    """A few forms in which weights are saved."""
    from collections import OrderedDict

    module._utils = sys.modules["torch._utils"]
    plain, shared = OrderedDict(), OrderedDict()
    both = Storage(module.FloatStorage, "1", 64)
    for at, (name, shape) in enumerate(SHAPES.items()):
        plain[name] = TensorOf(module, Storage(module.FloatStorage, str(at), size(shape)), shape)
        shared[name] = TensorOf(module, both, shape, offset=at)
    return [plain, shared, {"state_dict": dict(plain), "epoch": 3, "lr": 1e-5, "done": True, "notes": [None, (1, "a")]}]


def archive(program, storages):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive_:
        archive_.writestr("archive/data.pkl", program)
        archive_.writestr("archive/byteorder", "little")
        for key, bytes_ in storages.items():
            archive_.writestr(f"archive/data/{key}", bytes_)
        archive_.writestr("archive/version", "3\n")
    return file.getvalue()


def old_form(value, storages):
    """What `torch.save` wrote before 1.6: four pickles, then the storages with their lengths."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    file = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps(system, 2)
    file += pickled(value, legacy=True) + pickle.dumps(list(storages), 2)
    for count in storages.values():
        file += struct.pack("<q", count) + bytes(4 * count)
    return file


def npy(descr, shape, data, version=1):
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    width = "<H" if version == 1 else "<I"
    header += b" " * (-(len(header) + 9 + struct.calcsize(width)) % 64) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack(width, len(header)) + header + data


def read(*parts):
    return ROOT.joinpath(*parts).read_bytes()


def seeds():
    """Pairs of a target and an input."""
    f32, f16, i64 = ("F32", 4), ("F16", 2), ("I64", 8)
    tensors = [(name, f32, shape) for name, shape in SHAPES.items()]
    yield "safetensors", safetensors(tensors, {"format": "pt"})
    yield "safetensors", safetensors([(name, f16, shape) for name, shape in SHAPES.items()])
    yield "safetensors", safetensors([("a", ("BF16", 2), [0, 3]), ("b", i64, [])])
    yield "safetensors", safetensors([])

    names = list(SHAPES)
    shards = {name: f"{1 + at % 2}.safetensors" for at, name in enumerate(names)}
    yield "index", json.dumps({"metadata": {"total_size": 1234}, "weight_map": shards}).encode()
    yield "index", read("golden/engine/bert-sharded/model.safetensors.index.json")

    module = torch()
    counts = {str(at): size(shape) for at, shape in enumerate(SHAPES.values())}
    for value in state_dicts(module):
        yield "pickle_program", pickled(value)
        yield "pickle_file", archive(pickled(value), {key: bytes(4 * count) for key, count in counts.items()})
        yield "pickle_file", old_form(value, {**counts, "1": 64})

    yield "config", BERT
    for path in sorted(ROOT.glob("golden/engine/*/config.json")):
        yield "config", path.read_bytes()

    assets = ROOT / "assets"
    for which, (model, names) in enumerate([
        ("tiny-bert", {0: "tokenizer.json", 1: "tokenizer_config.json", 2: "special_tokens_map.json"}),
        ("tiny-bert", {3: "vocab.txt", 1: "tokenizer_config.json"}),
        ("tiny-gpt2", {4: "vocab.json", 5: "merges.txt", 1: "tokenizer_config.json"}),
    ]):
        for file, name in names.items():
            yield "tokenizer", bytes([which, file]) + (assets / model / name).read_bytes()
    pieces = ROOT / "golden/sentencepiece/deberta-lower"
    for file, name in {7: "spm.model", 1: "tokenizer_config.json"}.items():
        yield "tokenizer", bytes([3, file]) + (pieces / name).read_bytes()
    yield "tokenizer", bytes([0, 0]) + json.dumps({
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": 1, "content": "[MASK]", "single_word": False, "lstrip": True, "rstrip": False,
                          "normalized": False, "special": True}],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": "a+"}, "content": "b"}, {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "post_processor": {"type": "TemplateProcessing", "single": [
            {"SpecialToken": {"id": "[MASK]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[MASK]": {"id": "[MASK]", "ids": [1], "tokens": ["[MASK]"]}}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["[MASK]", -1.0], ["▁b", -2.5]]},
    }, ensure_ascii=False).encode()

    lines = b'text,pair,label\n"a ""b"", c","d\ne",1\nf,g,0\n'
    for kind in (0, 3):
        for columns in range(4):
            yield "tables", bytes([kind, columns]) + lines
    yield "tables", bytes([4, 1]) + b'text\tpair\tlabel\na "b\tc\t1\r\nd\te\t0\n'
    yield "tables", bytes([7, 2]) + b'{"text": "a", "pair": "b", "label": 1}\n\n{"text": "\\u00e9", "pair": "", "label": "x"}\n'
    yield "tables", bytes([10, 0]) + b"\xef\xbb\xbfone line\n\nanother\r\n"
    yield "tables", bytes([11, 0]) + b"one\ntwo\n\n\nthree\n"
    yield "tables", bytes([12, 0]) + b"a whole\nfile"
    yield "tables", bytes([13, 0]) + b'{"ids": [1, 2, 3]}\n{"input_ids": [4], "token_type_ids": [0]}\n[5, 6]\n'

    for kind, name in enumerate(["data.conll", None, "data.jsonl", "data.json"]):
        if name:
            yield "words", bytes([kind]) + read(f"golden/studies/tags/{name}")[:1500]
    yield "words", bytes([0]) + b"-DOCSTART- -X- O\n\nEU\tNN\tB-ORG\n\n# id 1\na\tNN\t-100\n"
    yield "words", bytes([1]) + b"tokens,ner_tags\n\"['a', 'it\\'s']\",\"[1, -100]\"\na b,O O\n"
    for name in ["squad1.jsonl", "squad2.json"]:
        yield "words", bytes([4]) + read(f"golden/studies/answers/{name}")[:4000]
    yield "words", bytes([4]) + b'{"data": [{"paragraphs": [{"context": "a b", "qas": [{"id": "1", "question": "c", '\
        b'"answers": [{"text": "b", "answer_start": 2}], "is_impossible": false}]}]}], "version": "v2.0"}'
    yield "glue", bytes([0, 1]) + read("assets/grammar/CoLA/dev.tsv")[:1500]
    rows = {
        1: "index\tpromptID\tpairID\tgenre\ts1b\ts2b\ts1p\ts2p\tsentence1\tsentence2\tlabel1\tgold_label\n"
           "0\t1\t1n\tfiction\t(\t(\t(\t(\tA b.\tC d.\tneutral\tneutral\n",
        3: "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t10\t11\tA b.\tC d.\n",
        4: "sentence\tlabel\nfine film\t1\n",
        5: "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
           "0\tmain\tMSR\t2012\t1\tnone\tnone\tA b.\tC d.\t4.5\n",
        6: "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n0\t1\t2\tA?\tB?\t0\n",
        7: "index\tquestion\tsentence\tlabel\n0\tA?\tB.\tentailment\n",
        8: "index\tsentence1\tsentence2\tlabel\n0\tA.\tB.\tnot_entailment\n",
        9: "index\tsentence1\tsentence2\tlabel\n0\tA.\tB.\t1\n",
    }
    for task, text in rows.items():
        for split in range(3):
            yield "glue", bytes([task, split]) + text.encode()

    yield "treebank", read("assets/grammar/dev.conllu")[:2500]
    target = {"span1": [0, 1], "span2": [1, 2], "label": ["a", "b"], "info": {"height": 1}}
    record = {"text": "do n't", "targets": [target], "info": {"raw": {"text": "don't", "words": [[0, 2], [2, 5]]}}}
    yield "records", "\n".join(json.dumps(record | more) for more in [{}, {"preds": [1.5, float("nan")]}]).encode()
    yield "records", b'{"text":"a b","targets":[{"span1":[0,2],"label":"x"},{"span1":[1,2],"label":[]}]}\n\n{"text":""}'
    yield "records", b'{"text":"a b","pairs":[[0,1,"x"],[1,0,"y",0.5]]}\n{"tokens":["a"],"pairs":[{"from":0,"to":0,"label":"x"}]}'
    yield "records", b'{"id":"a","contacts":[[0,7],[7,0]]}\n{"id":"b","coordinates":[[0,0,0],null,[1e9,2,3]]}'
    for kind in range(3):
        yield "corpora", bytes([kind]) + read("assets/grammar/dev.conllu")[:1500]
    semeval = b'1\t"The <e1>fire</e1> was caused by a <e2>wire</e2>."\nCause-Effect(e2,e1)\nComment: x\n\n'
    yield "corpora", b"\3" + semeval + semeval.replace(b"1", b"2")
    spr1 = {"tokens": ["a", "b"], "split": "dev", "sent_id": "1", "spr1": [
        {"pred_idx": 1, "arg_idx": 0, "responses": [{"spr_property": "awareness", "response": 5.0}]}]}
    yield "corpora", b"\5" + json.dumps(spr1).encode()
    yield "corpora", (b"\6Sentence.ID\tPred.Token\tArg.Tokens.Begin\tArg.Tokens.End\tProperty\tResponse\tApplicable\n"
                      b"en-ud-dev.conllu 1\t1\t0\t1\texistence\t5\tyes\n")
    yield "corpora", (b"\7text: The cat ran because it's wet.\nhypothesis: The cat ran because the cat's wet.\n"
                      b"entailed: entailed\npartof: dev\n")
    yield "treebank", read("golden/studies/attention/coreference.conllu")[:6000]
    yield "treebank", (
        "# newdoc id = d\n# global.Entity = eid-etype-head-other\n# sent_id = 1\n# text = Don't go.\n"
        "1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_\n1\tDo\tdo\tAUX\t_\tMood=Imp\t3\taux\t_\tEntity=(e1-person-1-x\n"
        "2\tn't\tnot\tPART\t_\t_\t3\tadvmod\t_\t_\n2.1\t_\t_\t_\t_\t_\t_\t_\t_\t_\n"
        "3\tgo\tgo\tVERB\t_\t_\t0\troot\t_\tEntity=e1)(e2-place-1-)|SpaceAfter=No\n4\t.\t.\tPUNCT\t_\t_\t3\tpunct\t_\t_\n\n"
    ).encode()

    yield "npy", npy("<f4", (2, 3), bytes(24))
    yield "npy", npy("<i8", (), bytes(8), version=2)
    yield "npy", npy("|u1", (0, 5), b"", version=3)
    yield "npy", npy("|b1", (4,), bytes(4))
    for path in sorted(ROOT.glob("crates/bertology-run/tests/folders/importance/*.npy")):
        yield "npy", path.read_bytes()

    yield from states()
    yield from trainings()
    yield from programs()

    folders = sorted(path for path in (ROOT / "crates/bertology-run/tests/folders").iterdir())
    for which, folder in enumerate(folders):
        for file, path in enumerate(sorted(folder.iterdir(), key=lambda path: path.name)):
            if path.stat().st_size < 14000:
                yield "run", bytes([which, file, file % 3]) + path.read_bytes()

    ids = struct.pack("<4q", 2, 3, 4, 5)
    yield "reference", safetensors([("input_ids", i64, [1, 4], ids), ("logits", f32, [1, 2], struct.pack("<2f", 0.1, 0.2))])
    yield "reference", safetensors([
        ("input_ids", i64, [2, 4], ids * 2), ("attention_mask", i64, [2, 4], struct.pack("<8q", *[1] * 7, 0)),
        ("labels", i64, [2], struct.pack("<2q", 0, 1)), ("head_mask", f32, [1, 2], struct.pack("<2f", 1, 0)),
        ("loss", f32, [], struct.pack("<f", 0.7)), ("mask_grad", f32, [1, 2], struct.pack("<2f", 0.1, 0.2)),
        ("hidden_states.0", f32, [2, 4, 4], struct.pack("<f", 0.5) * 32),
        ("attentions.0", f32, [2, 2, 4, 4], struct.pack("<f", 0.25) * 64),
    ])


def states():
    """Saved states, as the tests of a run with `--checkpoint-every` leave them; see `states/`."""
    for path in sorted((ROOT / "fuzz/states").glob("*.json")):
        document = json.loads(path.read_bytes())
        yield "states", bytes([8]) + path.read_bytes()
        parts = [document]
        # Which study a part is of is not said, so each is tried as each.
        while parts:
            part = parts.pop()
            if isinstance(part, (dict, list)) and len(json.dumps(part)) < 14000:
                if isinstance(part, dict) and len(part) > 3:
                    for which in range(8):
                        yield "states", bytes([which]) + json.dumps(part).encode()
                parts.extend(part.values() if isinstance(part, dict) else part)


def trainings():
    """Saved trainings of four weights: one that has just begun, one with steps, looks at the dev data and best weights."""
    step = {"loss": 0.5, "rate": 0.1, "norm": 1.0}
    looked = {"step": 1, "loss": 0.7, "metrics": [["acc", 0.5]], "score": 0.5}
    for best, course in [
        (False, {"steps": [], "evaluated": [], "best": None, "stopped_early": False}),
        (True, {"steps": [step], "evaluated": [looked], "best": 0, "stopped_early": True}),
    ]:
        head = json.dumps({"key": "key", "size": 4, "best": best, "course": course}).encode()
        arrays = struct.pack("<4f", 1, -2, 0.5, 0) * (4 if best else 3)
        yield "trainings", b"\0" + b"fine-tuning 1\n" + struct.pack("<Q", len(head)) + head + arrays


def programs():
    """Every language's file, read in each way; a few files of functions."""
    # As the table of languages has them.
    names = ["till.c", "till.cpp", "till.go", "Till.java", "till.js", "till.php", "shop.py", "till.rb", "till.rs", "till.ts",
             "till.tsx"]
    texts = {name: read(f"crates/bertology-code/tests/fixtures/{name}") for name in names}
    for kind, (name, text) in enumerate(texts.items()):
        for way in range(6):
            yield "code", bytes([kind, way, way % 3]) + text
        yield "functions", bytes([kind]) + text
    lines = [{"code": "def f(x): return x", "language": "python", "code_tokens": ["def", "f"], "func_name": "f"},
             {"original_string": "int f() {}", "language": "Java", "x": float("nan")}, {"function": "a", "language": "go"}]
    yield "functions", bytes([len(names)]) + b"\r\n\n".join(json.dumps(line).encode() for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    counts = {}
    for target, data in seeds():
        at = counts[target] = counts.get(target, 0) + 1
        path = folder / target / f"{at:03}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for target, count in sorted(counts.items()):
        print(f"{target}: {count} seeds", file=sys.stderr)


if __name__ == "__main__":
    main()
