"""The command lines that compare_versions.py runs: every command, and every option that changes a number.

A case's arguments may hold {out}, the case's own folder, {old}, where the folders that the version before wrote lie,
and names of other cases as {run:NAME}. Paths are relative to the folder of the version, so that both record the same.
"""

import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

ASSETS = Path(__file__).resolve().parents[2] / "assets"
REFERENCES = Path(__file__).resolve().parents[2] / "crates/bertology/tests/references"
INPUTS = "../inputs"


@dataclass
class Case:
    name: str
    arguments: list
    quick: bool = False
    fails: bool = False  # a typical error: only the exit codes must be equal
    old: list = field(default_factory=list)  # cases whose folders of the version before are read

    @property
    def needs(self):
        return [n for a in self.arguments for n in re.findall(r"\{run:([^}]+)\}", a)]


def words(text):
    return text.split() if isinstance(text, str) else list(text)


def chosen(lines, only, own):
    """The command lines by name whose names match, or else one of somebody's own: the runs work in a folder of their own."""
    if own:
        command, *rest = own
        return {command: " ".join([command, *(str(Path(a).resolve()) if Path(a).exists() else a for a in rest)])}
    found = {name: line for name, line in lines.items() if not only or re.search(only, name)}
    if not found:
        raise SystemExit(f"no command line has a name like {only}")
    return found


class Table:
    def __init__(self):
        self.cases = []

    def add(self, name, text, *more, quick=False, fails=False, old=()):
        """`text` is split at spaces, `more` is taken as it is."""
        arguments = words(text) + list(more)
        self.cases.append(Case(name, arguments, quick, fails, list(old)))

    def run(self, name, text, *more, quick=False):
        """A case that writes a run folder."""
        self.add(name, text, *more, "--output", "{out}", quick=quick)


# --- inputs -------------------------------------------------------------------------------------------


def numbers(seed):
    """A small generator, the same everywhere."""
    while True:
        seed = (seed * 1103515245 + 12345) % 2**31
        yield seed >> 8


def write_inputs(folder):
    """The embedded models and corpora, and inputs made from them: texts, tables, ids, vectors, masks."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ASSETS, folder)
    shutil.copytree(REFERENCES, folder / "references")
    rows = [line.split("\t") for line in (ASSETS / "grammar/CoLA/train.tsv").read_text().splitlines()]
    texts = [row[3] for row in rows[:1400]]

    def write(name, lines):
        (folder / name).write_text("".join(f"{line}\n" for line in lines))

    write("texts.txt", texts)
    write("packed.txt", [line for i, text in enumerate(texts) for line in ([text, ""] if i % 9 == 8 else [text])])
    write(
        "table.jsonl", [json.dumps({"a": r[3], "b": rows[i - 1][3], "y": int(r[1])}) for i, r in enumerate(rows[:300])]
    )
    write("table.csv", ["text,label"] + [f'"{row[3]}",{row[1]}' for row in rows[:300]])
    draw = numbers(7)
    write("ids.txt", [" ".join(str(5 + next(draw) % 400) for _ in range(4 + i % 40)) for i in range(120)])
    vocabulary = sorted({w.lower() for t in texts for w in re.findall(r"[A-Za-z]+", t)})
    write(
        "vectors.txt",
        [f"{w} " + " ".join(f"{next(draw) % 2000 / 1000 - 1:.3f}" for _ in range(12)) for w in vocabulary],
    )
    treebank = (ASSETS / "grammar/dev.conllu").read_text()
    (folder / "documents.conllu").write_text(treebank + treebank)
    for layers, heads in ((4, 4), (6, 12)):
        mask = [[int((3 * layer + head) % 5 != 0) for head in range(heads)] for layer in range(layers)]
        (folder / f"mask-{layers}x{heads}.json").write_text(json.dumps(mask))


# --- cases --------------------------------------------------------------------------------------------


def tiny_bert(t):
    model, cola = f"{INPUTS}/tiny-bert", f"--task cola --data {INPUTS}/grammar"
    text, trees = f"--text {INPUTS}/texts.txt", f"--conllu {INPUTS}/grammar/dev.conllu"
    mask = f"--mask {INPUTS}/mask-4x4.json"

    def run(name, options, *more, quick=False):
        command = name.split("-")[0] if not name.startswith("attention-probe") else "attention-probe"
        t.run(f"tiny-bert/{name}", f"{command} {model} {options}", *more, quick=quick)

    run("importance-example", f"{cola} --limit 300", quick=True)
    run("importance-token", f"{cola} --limit 300 --granularity token --dont-normalize-importance-by-layer", quick=True)
    run("importance-batch", f"{cola} --limit 300 --granularity batch --batch-size 8", quick=True)
    run(
        "importance-script",
        f"{cola} --limit 300 --granularity script --batch-size 4 --dont-normalize-global-importance",
        quick=True,
    )
    run("importance-mask", f"{cola} --limit 200 {mask} --threads 1", quick=True)
    run("importance-small-batches", f"{cola} --limit 100 --tokens-per-batch 64 --max-length 10")
    run("importance-table", f"--data {INPUTS}/table.csv --text-column text --label-column label --limit 200")
    run(
        "importance-pairs",
        f"--data {INPUTS}/table.jsonl --text-column a --pair-column b --label-column y --limit 200 --max-length 24",
    )
    for unit in ("example", "token", "batch --batch-size 16", "script --batch-size 16"):
        run(
            f"importance-long-{unit.split()[0]}",
            f"{cola} --split train --limit 2300 --granularity {unit}",
            quick=unit == "example",
        )
    t.add("tiny-bert/importance-printed", f"importance {model} {cola} --limit 50", quick=True)
    run("ablate", f"{cola} --limit 80", quick=True)
    run("ablate-heads", f"{cola} --limit 100 --metric loss --heads", "0:1,3 2.0", quick=True)
    run("ablate-mask", f"{cola} --limit 60 {mask} --heads 1:0,1,3")
    run("ablate-long", f"{cola} --split train --limit 1300 --heads 3.1 --heads 0.2")
    run("mask", f"{cola} --limit 100", quick=True)
    run(
        "mask-reference", f"{cola} --limit 60 --reference --granularity script --batch-size 2 --amount 0.2 --metric mcc"
    )
    run("mask-once", f"{cola} --limit 60 --recompute once --metric loss --threshold 1.5 --min-heads-per-layer 2")
    run("mask-drop", f"{cola} --limit 60 --threshold-mode drop --threshold 0.2 --max-steps 2 --granularity token")
    run("mask-long", f"{cola} --split train --limit 1200 --max-steps 2")
    run("prune-search", f"{cola} --limit 60 --max-steps 2", quick=True)
    run("prune-heads", "--heads 0:1,3 --heads 2:0-3", quick=True)
    run("prune-mask-data", f"{mask} {cola} --limit 60 --keep-shape")
    run("evaluate", f"{cola} --limit 300", quick=True)
    run("evaluate-mask", f"{cola} --limit 200 {mask}", quick=True)
    run("evaluate-heads", f"{cola} --limit 200 --heads L1H2 --heads 3:0-2")
    run("evaluate-long", f"{cola} --split train --limit 5000")
    extracts(t, "tiny-bert", model, text, "class:0")
    run("extract-label", f"{cola} --limit 30 --head-outputs 0 --gradients --objective label --logits", quick=True)
    run("extract-class", f"{cola} --limit 30 --attentions 3 --gradients --objective class:1")
    run("extract-logit", f"{cola} --limit 30 --hidden-states 2,4 --gradients --objective logit:0")
    run(
        "extract-pairs",
        f"--data {INPUTS}/table.jsonl --text-column a --pair-column b "
        f"--limit 50 --hidden-states 4 --too-long cut --max-length 20",
    )
    run("extract-texts", "--hidden-states 0-2 --logits", "The woman faints.", "They faint.", quick=True)
    run("extract-long", f"{text} --hidden-states 4 --attentions 0.0 --shard-size 500")
    t.add("tiny-bert/extract-dry-run", f"extract {model} {text} --hidden-states --attentions --dry-run", quick=True)
    run("patterns", f"{text} --limit 200", quick=True)
    run(
        "patterns-pairs",
        f"--text {INPUTS}/packed.txt --packing pairs --packing-seed 7 --max-length 48 --denominators exact",
        quick=True,
    )
    run("patterns-smoothing", f"{text} --limit 200 --entropy-smoothing --punctuation . --max-length 12 --too-long cut")
    run(
        "patterns-gradients", f"{cola} --limit 150 --gradients --gradient-times-attention --objective label", quick=True
    )
    run("patterns-long", f"{text} --denominators exact")
    run("patterns-long-gradients", f"{cola} --split train --limit 1300 --gradients")
    run("patterns-pairs-long", f"--text {INPUTS}/packed.txt --packing pairs --max-length 14 --too-long cut")
    studies_of_trees(t, "tiny-bert", model, trees)
    run("coref", f"{trees} --limit 300", quick=True)
    run("coref-rows", f"{trees} --limit 300 --row-mode first --input text --max-length 16")
    run("coref-long", f"--conllu {INPUTS}/documents.conllu --limit 1500")
    probes = f"--train {INPUTS}/grammar/dev.conllu --dev {INPUTS}/grammar/dev.conllu"
    run("attention-probe", f"{probes} --limit 400 --dev-limit 300", quick=True)
    run(
        "attention-probe-epochs",
        f"{probes} --limit 200 --dev-limit 200 --epochs 3 --probe attention --probe distance "
        f"--row-mode first --cache-dtype f32 --seed 3",
    )
    run(
        "attention-probe-vectors",
        f"{probes} --limit 200 --dev-limit 200 --vectors {INPUTS}/vectors.txt "
        f"--legacy-alignment --keep-cache --probe words",
    )
    clusters(t, "tiny-bert", model, text)
    run("cluster-pairs", f"--text {INPUTS}/packed.txt --packing pairs --limit 200 --max-length 40 --clusters 3")
    run("cluster-long", f"{text}")
    t.add("tiny-bert/view", f"view {model} --output {{out}}/page.html", "The woman faints.", "They faint.", quick=True)
    t.add(
        "tiny-bert/view-some",
        f"view {model} --output {{out}}/page.html --layers 0,2 --no-masking --neuron-layers none "
        f"--importance {{run:tiny-bert/importance-example}}",
        "The [MASK] faints.",
    )
    t.add("tiny-bert/inspect", f"inspect {model} --tensors", quick=True)
    t.add("tiny-bert/inspect-pruned", "inspect {run:tiny-bert/prune-heads}/model", quick=True)
    t.add(
        "tiny-bert/verify", f"verify {model} --heads --reference {INPUTS}/references/tiny-bert.safetensors", quick=True
    )
    t.run("pruned/importance", f"importance {{run:tiny-bert/prune-heads}}/model {cola} --limit 100", quick=True)
    t.run("pruned/patterns", f"patterns {{run:tiny-bert/prune-heads}}/model {text} --limit 100")
    t.run("pruned/cluster", f"cluster {{run:tiny-bert/prune-heads}}/model {text} --limit 60")
    t.run("pruned/syntax", f"syntax {{run:tiny-bert/prune-heads}}/model {trees} --limit 100")
    t.run("pruned/ablate", f"ablate {{run:tiny-bert/prune-heads}}/model {cola} --limit 40")
    t.run(
        "pruned/extract",
        f"extract {{run:tiny-bert/prune-heads}}/model {text} --limit 20 --attentions --head-contributions",
    )


def extracts(t, name, model, text, objective):
    def run(what, options, quick=False):
        t.run(f"{name}/extract-{what}", f"extract {model} {text} {options}", quick=quick)

    everything = "--hidden-states --attentions --attention-scores 1 --head-outputs --head-contributions 0,2"
    everything += " --queries 3 --keys 0.1 --values 1.0"
    run("everything", f"--limit 30 {everything} --logits", quick=True)
    run("gradients", f"--limit 20 {everything} --gradients --objective {objective} --shard-size 7", quick=True)
    for kind in ("safetensors", "npz", "parquet"):
        run(
            f"{kind}-f16",
            f"--limit 40 --hidden-states --attentions 2 --format {kind} --dtype f16 --shard-size 15",
            quick=kind == "npz",
        )
    run("bf16", "--limit 40 --hidden-states 1,3 --dtype bf16")
    run("npz", "--limit 40 --head-outputs 0 --logits --format npz")
    run("parquet", "--limit 40 --head-outputs 0 --hidden-states 4 --format parquet", quick=True)
    for pool in ("first", "last", "mean"):
        run(f"pool-{pool}", f"--limit 40 --hidden-states 4 --head-outputs 1.1 --pool {pool}", quick=pool == "mean")
    run(
        "pool-parquet", f"--limit 40 --hidden-states 4 --pool mean --format parquet --gradients --objective {objective}"
    )
    run("tokens", "--limit 100 --tokens --format npz")
    run("window", f"--limit 40 --hidden-states 4 --max-length 9 --too-long window --stride 3 --objective {objective}")
    run("cut", "--limit 40 --hidden-states 4 --max-length 9 --too-long cut")


def studies_of_trees(t, name, model, trees):
    def run(what, options, quick=False):
        t.run(f"{name}/{what}", f"syntax {model} {trees} {options}", quick=quick)

    run("syntax", "--limit 200", quick=True)
    run(
        "syntax-select",
        f"--limit 150 --select {INPUTS}/documents.conllu --sd-view --possessive-clitic --min-count 5",
        quick=True,
    )
    run("syntax-base", "--limit 200 --base-relations --offsets 2 --input text --max-length 15")
    for rows in ("first", "last", "max"):
        run(f"syntax-{rows}", f"--limit 200 --row-mode {rows}", quick=rows == "max")
    t.run(f"{name}/syntax-long", f"syntax {model} --conllu {INPUTS}/documents.conllu --sd-view")


def clusters(t, name, model, text):
    def run(what, options, quick=False):
        t.run(f"{name}/{what}", f"cluster {model} {text} {options}", quick=quick)

    run("cluster", "--limit 100", quick=True)
    run("cluster-rows", "--limit 100 --rows 3 --smoothing none --seed 5 --restarts 2", quick=True)
    run("cluster-fraction", "--limit 100 --row-fraction 0.5 --distance sqrt --clusters 4")


def language_model(t, name):
    model, text = f"{INPUTS}/{name}", f"--text {INPUTS}/texts.txt"
    trees, mask = f"--conllu {INPUTS}/grammar/dev.conllu", f"--mask {INPUTS}/mask-4x4.json"
    # The first GPT has no beginning-of-text token.
    bos = "--bos" if name == "tiny-gpt2" else ""
    quick = name == "tiny-gpt2"

    def run(what, options, *more, quick=False):
        t.run(f"{name}/{what}", f"{what.split('-')[0]} {model} {options}", *more, quick=quick)

    run("importance-example", f"{text} --limit 120 {bos}", quick=True)
    run("importance-token", f"{text} --limit 120 --granularity token", quick=quick)
    run("importance-batch", f"{text} --limit 120 --granularity batch --batch-size 4")
    run("importance-script", f"{text} --limit 120 --granularity script --batch-size 4")
    run("importance-mask", f"{text} --limit 60 {mask}")
    run(
        "importance-windows",
        f"--text {INPUTS}/grammar/dev.txt --documents file --max-length 32 --stride 20",
        quick=quick,
    )
    run("importance-ids", f"--token-ids {INPUTS}/ids.txt --too-long cut --max-length 30", quick=quick)
    run("importance-long", f"{text}")
    run("ablate", f"{text} --limit 40 --metric perplexity", quick=quick)
    run("ablate-heads", f"{text} --limit 60 --heads 2.1")
    run("mask", f"{text} --limit 50 --max-steps 4", quick=quick)
    run("prune", f"{text} --limit 30 --threshold 1.2 --max-steps 2")
    run("prune-heads", "--heads 1:0,2")
    run("evaluate", f"{text} --limit 200", quick=quick)
    run(
        "evaluate-windows",
        f"--text {INPUTS}/packed.txt --documents paragraph --max-length 40 --stride 10 {mask} {bos}",
        quick=quick,
    )
    run("evaluate-long", f"{text}")
    extracts(t, name, model, text, "lm")
    run("patterns", f"{text} --limit 150 {bos}", quick=quick)
    run("patterns-gradients", f"{text} --limit 80 --gradients --gradient-times-attention --denominators exact")
    studies_of_trees(t, name, model, f"{trees} {bos}")
    run("coref", f"{trees} --limit 200 {bos}")
    clusters(t, name, model, text)
    t.run(
        f"{name}/attention-probe",
        f"attention-probe {model} --train {INPUTS}/grammar/dev.conllu --dev {INPUTS}/grammar/dev.conllu "
        f"--limit 150 --dev-limit 150 {bos}",
    )
    t.add(f"{name}/view", f"view {model} --output {{out}}/page.html", "The woman faints.", quick=quick)
    t.add(f"{name}/inspect", f"inspect {model}", quick=quick)
    if name == "tiny-gpt2":
        t.add(f"{name}/verify", f"verify {model} --reference {INPUTS}/references/tiny-gpt2.safetensors", quick=True)


READ_AGAIN = (
    "importance-example",
    "ablate",
    "mask",
    "prune-search",
    "patterns-gradients",
    "syntax",
    "coref",
    "cluster",
    "attention-probe",
    "evaluate",
    "extract-npz",
)
OF_HEADS = ("importance-example", "ablate", "mask", "patterns", "syntax", "coref", "cluster", "attention-probe")


def readers(t):
    """Commands that read run folders: those of their own version, and those of the version before."""
    for name in READ_AGAIN:
        run = f"tiny-bert/{name}"
        # Runs that say nothing of single heads have no figures.
        end = "" if name in ("evaluate", "extract-npz") else "--figures {out}"
        t.add(f"report/{name}", f"report {{run:{run}}} {end}", quick=True)
        t.add(f"report-old/{name}", f"report {{old}}/{run} {end}", quick=True, old=[run])
    runs = [f"tiny-bert/{name}" for name in OF_HEADS]
    t.add(
        "heads/all",
        "heads " + " ".join(f"{{run:{run}}}" for run in runs) + " --output {out}/heads.csv --html {out}/heads.html",
        quick=True,
    )
    t.add(
        "heads-old/all",
        "heads " + " ".join(f"{{old}}/{run}" for run in runs) + " --output {out}/heads.csv",
        quick=True,
        old=runs,
    )
    pairs = {
        "importance": ("importance-example", "importance-token"), "ablate": ("ablate", "ablate-mask"),
        "mask": ("mask", "mask-drop"), "patterns": ("patterns", "patterns-smoothing"),
        "syntax": ("syntax", "syntax-max"), "coref": ("coref", "coref-rows"),
        "attention-probe": ("attention-probe", "attention-probe-epochs"),
    }  # fmt: skip
    for command, (one, other) in pairs.items():
        one, other = f"tiny-bert/{one}", f"tiny-bert/{other}"
        end = "--output {out}/page.html --figures {out}/figures"
        quick = command == "importance"
        t.add(f"compare/{command}", f"compare {{run:{one}}} {{run:{other}}} {end}", quick=quick)
        t.add(f"compare-old/{command}", f"compare {{old}}/{one} {{old}}/{other} {end}", quick=quick, old=[one, other])


def errors(t):
    model, cola = f"{INPUTS}/tiny-bert", f"--task cola --data {INPUTS}/grammar"
    lines = {
        "no-model": "importance nowhere/model --offline " + cola,
        "no-data": f"importance {model} --task cola --data nowhere",
        "no-task": f"importance {model}",
        "unknown-option": f"importance {model} --granularities example",
        "bad-head": f"ablate {model} {cola} --heads 9.9",
        "mask-shape": f"evaluate {model} {cola} --mask {INPUTS}/mask-6x12.json",
        "threshold": f"mask {model} {cola} --threshold nought",
        "bf16-npz": f"extract {model} word --hidden-states --format npz --dtype bf16 --output {{out}}",
        "too-long": f"extract {model} --text {INPUTS}/texts.txt --hidden-states 0 --max-length 5 --output {{out}}",
        "objective": f"importance {model} --text {INPUTS}/texts.txt --objective lm",
        "bos": f"patterns {model} --text {INPUTS}/texts.txt --bos",
        "no-treebank": f"syntax {model} --conllu {INPUTS}/texts.txt",
        "mark": f"patterns {model} --text {INPUTS}/texts.txt --punctuation \u2603",
        "rows": f"cluster {model} --text {INPUTS}/texts.txt --rows 0",
        "no-run": "report nowhere",
        "other-model": "heads {run:tiny-bert/importance-example} {run:tiny-gpt2/importance-example}",
        "other-command": "compare {run:tiny-bert/importance-example} {run:tiny-bert/ablate}",
        "in-the-way": f"importance {model} {cola} --limit 5 --output {{run:tiny-bert/ablate}}",
        "verify": f"verify {model} --reference {INPUTS}/references/tiny-gpt2.safetensors",
        "layer": f"extract {model} word --hidden-states 9 --output {{out}}",
        "no-page": "report {run:tiny-bert/importance-example}/head_importance.npy",
    }
    for name, line in lines.items():
        t.add(f"error/{name}", line, quick=True, fails=True)


def given(t, name, model, task, glue, conllu, first):
    """A model of the user's; `task` and `glue`, and treebanks, where there are any."""
    quick = first
    texts, trees = "", f"--conllu {conllu[0]}" if conllu else ""

    def run(what, options, *more, quick=False):
        command = "attention-probe" if what.startswith("attention-probe") else what.split("-")[0]
        t.run(f"{name}/{what}", f"{command} {model} {options}", *more, quick=quick)

    if task and glue:
        texts = f"--task {task} --data {glue}"
        run("importance-example", f"{texts} --limit 100", quick=quick)
        for unit in ("token", "batch --batch-size 8", "script --batch-size 8"):
            run(f"importance-{unit.split()[0]}", f"{texts} --limit 80 --granularity {unit}")
        run("importance-long", f"{texts} --limit 1200")
        run("ablate", f"{texts} --limit 8")
        run("ablate-heads", f"{texts} --limit 100 --heads 5.3 --heads 2:0,7")
        run("mask", f"{texts} --limit 40 --max-steps 3")
        run("prune-search", f"{texts} --limit 30 --max-steps 1")
        run("evaluate", f"{texts} --limit 2500")
        run(
            "extract-label",
            f"{texts} --limit 20 --hidden-states 6 --head-outputs 5 --gradients --objective label",
            quick=quick,
        )
        run("patterns-gradients", f"{texts} --limit 60 --gradients --gradient-times-attention")
    else:
        texts = f"--text {INPUTS}/texts.txt"
    run("prune-heads", "--heads 0:1 --heads 3:0-4")
    run("patterns", f"{texts} --limit 1200")
    run("cluster", f"{texts} --limit 60")
    run("cluster-rows", f"{texts} --limit 150 --rows 2 --smoothing none")
    run("extract", f"{texts} --limit 30 --hidden-states 0,3,6 --attentions 5 --format npz --dtype f16", quick=quick)
    run("extract-pool", f"{texts} --limit 60 --hidden-states 6 --pool mean --format parquet --shard-size 25")
    run("extract-long", f"{texts} --limit 1200 --hidden-states 6 --pool first --dtype f16 --shard-size 500")
    if trees:
        run("syntax", f"{trees} --limit {2001 if first else 200}")
        run(
            "syntax-rows", f"{trees} --limit 150 --row-mode max --sd-view --possessive-clitic --input text", quick=quick
        )
        if len(conllu) > 1:
            run("syntax-select", f"{trees} --limit 150 --select {conllu[1]}")
        run("attention-probe", f"--train {conllu[-1]} --dev {conllu[0]} --limit 150 --dev-limit 150 --epochs 2")
    run("coref", f"--conllu {INPUTS}/grammar/dev.conllu --limit 150 --row-mode last")
    t.add(f"{name}/view", f"view {model} --output {{out}}/page.html", "The capital of France is Paris.", quick=quick)
    t.add(f"{name}/inspect", f"inspect {model}", quick=quick)


def table(models, glue, conllu):
    """All cases; `models` are pairs of a folder and its task, or None."""
    t = Table()
    tiny_bert(t)
    language_model(t, "tiny-gpt2")
    language_model(t, "tiny-gpt")
    for name in ("tiny-bert", "tiny-gpt", "tiny-gpt2"):
        t.add(f"demo/{name}", f"demo --model {name} --output {{out}}", quick=name == "tiny-gpt")
    readers(t)
    errors(t)
    for index, (model, task) in enumerate(models):
        given(t, model.name, model, task, glue, conllu, index == 0)
    return t.cases
