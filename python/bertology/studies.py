"""Every study of the command as a function.

Options are those of the command with `_` for `-`; the help of the command and the stub beside this file name them all.
What all functions have:

`model`     a name on the hub, a folder, or a `bertology.Model`
`data`      a path, a list of texts, of `(text, label)`, `(text, pair, label)` or of dictionaries, a frame of pandas or
            polars, a table of pyarrow, a `datasets.Dataset`; `text=`, `pair=` and `label=` name its columns
`output`    the run folder; without it a temporary one, which goes with the run
`progress`  `True`, `False`, or a function of label, done and total; without it a bar where somebody may see it

They raise `bertology.InputError` for what cannot be used, `bertology.WorkError` where the work failed,
`bertology.Interrupted` at Ctrl-C, and `TypeError` for options that a command has not. Layers and heads are counted
from 0.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from ._call import Call, call, model_word, paths
from ._options import commands, in_python, text_of, words
from ._progress import Progress
from .attention import (
    AttentionProbe,
    Cat,
    Clusters,
    Contacts,
    Coref,
    Distance,
    Dynamics,
    EdgeProbe,
    Patterns,
    Relations,
    Syntax,
)
from .extraction import Extraction
from .results import (
    Ablation,
    Bench,
    Compression,
    Evaluation,
    FineTuning,
    HeadImportance,
    Judgement,
    Masking,
    Predictions,
    Pruning,
    Verification,
    View,
)
from .run import Document, Run
from .table import Table

AnyRun = TypeVar("AnyRun", bound=Run)
Output = str | os.PathLike[str] | None


def _study(
    kind: type[AnyRun],
    model: Any,
    data: Any,
    output: Output,
    progress: Progress,
    options: dict[str, Any],
) -> AnyRun:
    assert kind.command is not None
    with Call(kind.command, options) as study:
        study.add_model(model)
        study.add_data(data, model)
        folder = study.write_to(output)
        study.run(progress)
        return study.keep(kind(folder))  # type: ignore[return-value]


def _dry(
    kind: type[Run], model: Any, data: Any, output: Output, progress: Progress, options: dict[str, Any]
) -> Document:
    """What a study would write, which it does not."""
    if output is not None:
        raise TypeError("dry_run=True writes nothing: leave output= out")
    assert kind.command is not None
    with Call(kind.command, options) as study:
        study.add_model(model)
        study.add_data(data, model)
        found = Document(study.run(progress))
        study.work.cleanup()
    return found


def importance(
    model: Any, data: Any = None, *, output: Output = None, progress: Progress = None, **options: Any
) -> HeadImportance:
    """How much each attention head matters, and how spread its attention is.

    >>> run = importance("textattack/bert-base-uncased-MRPC", "GLUE", task="mrpc")        # doctest: +SKIP
    >>> run.scores.shape                                                                  # doctest: +SKIP
    (12, 12)
    """
    return _study(HeadImportance, model, data, output, progress, options)


def ablate(
    model: Any, data: Any = None, *, output: Output = None, progress: Progress = None, **options: Any
) -> Ablation:
    """What the score loses without each head, one at a time; with `keep_one=True` with each alone in its layer.

    >>> ablate("bert-mrpc", "GLUE", task="mrpc").changes.min()                            # doctest: +SKIP
    """
    return _study(Ablation, model, data, output, progress, options)


def mask(model: Any, data: Any = None, *, output: Output = None, progress: Progress = None, **options: Any) -> Masking:
    """Masks heads, least important first, until the score falls below a threshold or a goal is reached.

    >>> mask("bert-mrpc", "GLUE", task="mrpc", keep=0.5).heads_removed                    # doctest: +SKIP
    """
    return _study(Masking, model, data, output, progress, options)


def prune(
    model: Any, data: Any = None, *, output: Output = None, progress: Progress = None, **options: Any
) -> Pruning | Document:
    """Removes heads for good and writes the smaller checkpoint; with `dry_run=True` says what it would be.

    >>> prune("bert-mrpc", heads=[(3, 5), (0, 1)], output="pruned").model_path            # doctest: +SKIP
    """
    if options.get("dry_run"):
        return _dry(Pruning, model, data, output, progress, options)
    return _study(Pruning, model, data, output, progress, options)


def compress(
    model: Any, data: Any = None, *, output: Output = None, progress: Progress = None, **options: Any
) -> Compression:
    """Fewer heads and neurons without training, until `flops=`, `speedup=`, `max_size=` or `max_drop=` is reached.

    With `trim_vocabulary=`, files of one text a line, only the tokens of these texts stay, with or without such a goal.

    >>> compress("bert-mrpc", "GLUE", task="mrpc", flops=0.6, output="small").after       # doctest: +SKIP
    """
    return _study(Compression, model, data, output, progress, options)


def judge(
    model: Any, data: Any = None, *, output: Output = None, progress: Progress = None, **options: Any
) -> Judgement:
    """Which measure of heads, neurons or layers deserves trust: curves of the score as units go, beside chance.

    >>> judge("bert-sst2", "GLUE", task="sst-2", measures="michel,fisher", seeds=5).differences   # doctest: +SKIP
    """
    return _study(Judgement, model, data, output, progress, options)


def evaluate(
    model: Any, data: Any = None, *, output: Output = None, progress: Progress = None, **options: Any
) -> Evaluation:
    """The task's metrics or a text's perplexity, with or without a head mask.

    >>> evaluate("bert-mrpc", [("A film.", "positive")], mask=run.keep(0.5)).metrics      # doctest: +SKIP
    """
    return _study(Evaluation, model, data, output, progress, options)


def predict(
    model: Any, data: Any = None, *, output: Output = None, progress: Progress = None, **options: Any
) -> Predictions:
    """What a classifier says of texts without labels.

    >>> predict("bert-sst2", ["A fine film."]).labels                                     # doctest: +SKIP
    ['positive']
    """
    return _study(Predictions, model, data, output, progress, options)


def patterns(
    model: Any, data: Any = None, *, output: Output = None, progress: Progress = None, **options: Any
) -> Patterns:
    """What every head looks at: neighbours, special tokens, punctuation.

    >>> patterns("bert-base-uncased", ["A text.", "Another."]).attention_to("next")       # doctest: +SKIP
    """
    return _study(Patterns, model, data, output, progress, options)


def cluster(
    model: Any, data: Any = None, *, output: Output = None, progress: Progress = None, **options: Any
) -> Clusters:
    """Which heads look at the same things.

    >>> cluster("bert-base-uncased", "texts.txt").clusters                                # doctest: +SKIP
    """
    return _study(Clusters, model, data, output, progress, options)


def syntax(model: Any, data: Any = None, *, output: Output = None, progress: Progress = None, **options: Any) -> Syntax:
    """Every head as a predictor of dependency relations; `data` is a treebank in CoNLL-U.

    >>> syntax("bert-base-uncased", "en_ewt-ud-dev.conllu").relations.to_pandas()         # doctest: +SKIP
    """
    return _study(Syntax, model, data, output, progress, options)


def coref(model: Any, data: Any = None, *, output: Output = None, progress: Progress = None, **options: Any) -> Coref:
    """Every head as a finder of antecedents; `data` is a treebank in CoNLL-U with `Entity=`.

    >>> coref("bert-base-uncased", "en_gum-ud-dev.conllu").heads.to_pandas()              # doctest: +SKIP
    """
    return _study(Coref, model, data, output, progress, options)


def distance(
    model: Any, data: Any = None, *, output: Output = None, progress: Progress = None, **options: Any
) -> Distance:
    """How far every head looks, in tokens and in words; `data` is a treebank in CoNLL-U.

    >>> distance("bert-base-uncased", "en_ewt-ud-dev.conllu").words.max()                 # doctest: +SKIP
    """
    return _study(Distance, model, data, output, progress, options)


def relations(
    model: Any, data: Any = None, *, output: Output = None, progress: Progress = None, **options: Any
) -> Relations:
    """Whether attention follows labelled pairs of units; `train=` fits a regression over all heads.

    >>> relations("bert-base-uncased", [{"text": "Rivers carve", "pairs": [[0, 1, "nsubj"]]}])    # doctest: +SKIP
    """
    return _study(Relations, model, data, output, progress, options)


def contacts(
    model: Any, data: Any = None, *, output: Output = None, progress: Progress = None, **options: Any
) -> Contacts:
    """Whether attention follows the contacts of proteins; `data` is FASTA, `contacts=` the file of contacts.

    >>> contacts("facebook/esm2_t12_35M_UR50D", "test.fasta", contacts="test.jsonl").regressions  # doctest: +SKIP
    """
    return _study(Contacts, model, data, output, progress, options)


def attention_probe(
    model: Any, data: Any = None, *, output: Output = None, progress: Progress = None, **options: Any
) -> AttentionProbe:
    """How much of dependency trees all attention maps hold together; `data` is to train on, `dev=` to score on.

    >>> attention_probe("bert-base-uncased", "train.conllu", dev="dev.conllu").probes     # doctest: +SKIP
    """
    return _study(AttentionProbe, model, data, output, progress, options)


def edge_probe(
    model: Any, data: Any = None, *, output: Output = None, progress: Progress = None, **options: Any
) -> EdgeProbe:
    """What every layer knows of the structure of sentences; `data` are records to train on, `dev=`, `test=` others.

    >>> edge_probe("bert-base-uncased", "train.jsonl", dev="dev.jsonl").layers            # doctest: +SKIP
    """
    return _study(EdgeProbe, model, data, output, progress, options)


def finetune(
    model: Any, data: Any = None, *, output: Output = None, progress: Progress = None, **options: Any
) -> FineTuning:
    """Trains a model for a task; `dev=` are data to be scored on the way.

    >>> finetune("bert-base-uncased", train, dev=dev, output="mine", epochs=2).metrics    # doctest: +SKIP
    """
    return _study(FineTuning, model, data, output, progress, options)


def cat(model: Any, data: Any = None, *, output: Output = None, progress: Progress = None, **options: Any) -> Cat:
    """How a model of code attends to its structure; `data` is a file or folder of functions.

    >>> cat("microsoft/codebert-base", "functions.jsonl").layers.to_pandas()              # doctest: +SKIP
    """
    return _study(Cat, model, data, output, progress, options)


def extract(
    model: Any, data: Any = None, *, output: Output = None, progress: Progress = None, **options: Any
) -> Extraction | Document:
    """Hidden states, attention, outputs of heads and their gradients; with `dry_run=True` only how large they are.

    >>> extract("bert-base-uncased", ["A text."], hidden_states=[0, 12]).hidden_states(0, 12)  # doctest: +SKIP
    """
    for name in ("hidden_states", "mlp_inner"):
        # Layers are written with commas, unlike heads.
        value = options.get(name)
        if isinstance(value, Iterable) and not isinstance(value, (str, os.PathLike)):
            options[name] = ",".join(text_of(layer, name) for layer in value)
    if options.get("dry_run"):
        return _dry(Extraction, model, data, output, progress, options)
    return _study(Extraction, model, data, output, progress, options)


def bench(model: Any, *, output: Output = None, progress: Progress = None, **options: Any) -> Bench:
    """How fast a model is, and whether another (`against=`) is faster.

    >>> bench("bert-base-uncased", batch_sizes=[1, 8]).timings.to_pandas()                # doctest: +SKIP
    """
    with Call("bench", options) as study:
        study.add_model(model)
        folder = study.write_to(output)
        study.run(progress)
        return study.keep(Bench(folder))  # type: ignore[return-value]


def _a_model(models: list[str]) -> str:
    """One of the checkpoints: the labels of all are the same."""
    if not models:
        raise ValueError("dynamics: no checkpoints are given")
    inside = sorted(path.parent for path in Path(models[0]).glob("*/config.json"))
    return str(inside[0]) if inside and not (Path(models[0]) / "config.json").exists() else models[0]


def dynamics(
    models: Any, data: Any = None, *, output: Output = None, progress: Progress = None, **options: Any
) -> Dynamics:
    """Importance of every head and pruning curves at every checkpoint of a training.

    `models` is a folder of checkpoints, or several models in their order; a dictionary has their steps as keys.

    >>> dynamics(tuned.checkpoints, "GLUE", task="cola").steps.to_pandas()                # doctest: +SKIP
    """
    by_step = models if isinstance(models, dict) else {}
    several = [models] if isinstance(models, (str, os.PathLike)) else list(by_step.values() or models)
    found = [model_word(model) for model in several]
    with Call("dynamics", options) as study:
        steps = [f"{step}=" for step in by_step] or [""] * len(found)
        study.positional = [step + model for step, model in zip(steps, found, strict=True)]
        study.add_data(data, _a_model(found))
        folder = study.write_to(output)
        study.run(progress)
        return study.keep(Dynamics(folder))  # type: ignore[return-value]


def survey(
    model: Any, data: Any = None, *, output: Output = None, progress: Progress = None, **options: Any
) -> dict[str, Run]:
    """Several studies of a treebank in one pass, a run each by its name.

    >>> survey("bert-base-uncased", "dev.conllu", studies=["patterns", "syntax"])["syntax"]  # doctest: +SKIP
    """
    with Call("survey", options) as study:
        study.add_model(model)
        study.add_data(data, model)
        folder = Path(study.write_to(output))
        document = study.run(progress)
        return {name: study.keep(Run(folder / name)) for name in document["studies"]}


def demo(what: str = "heads", *, output: Output = None, progress: Progress = None, **options: Any) -> dict[str, Run]:
    """The demonstrations on built-in models, a run each by its name; no data and no network.

    >>> demo()["importance"].scores                                                       # doctest: +SKIP
    """
    with Call("demo", options) as study:
        study.positional = [what]
        folder = Path(study.write_to(output))
        study.run(progress)
        places = sorted(place.parent for place in folder.glob("*/run.json"))
        runs = {place.name: Run(place) for place in places}
        if output is None:
            # All of them lie in one folder, which goes with the last.
            for run in runs.values():
                run._temporary = study.work
        else:
            study.work.cleanup()
        return runs


def merge(parts: Any, *, output: Output = None, progress: Progress = None, **options: Any) -> Run:
    """Puts the parts of a run together; `parts` are their folders.

    >>> merge(["part-1", "part-2"], output="whole")                                       # doctest: +SKIP
    """
    with Call("merge", options) as study:
        study.positional = [os.path.abspath(part) for part in paths("parts", parts)]
        folder = study.write_to(None if output is None else os.path.abspath(output))
        study.run(progress)
        return study.keep(Run(folder))


def status(parts: Any) -> Document:
    """What is done of the parts of a run, and what is missing.

    >>> status(["part-1", "part-2"])["missing"]                                           # doctest: +SKIP
    []
    """
    return Document(call(["status", "--", *paths("parts", parts)], False))


def report(run: str | os.PathLike[str], **options: Any) -> Document:
    """Makes the page of a run again; with `figures=` also its figures, as SVG files in that folder.

    >>> report("out", figures="figures")["figures"]                                       # doctest: +SKIP
    """
    return Document(call(["report", *words("report", options), "--", os.fspath(run)], False))


def heads(runs: Any, **options: Any) -> Table:
    """One table of heads from several runs of one model; `output=` and `html=` also write it.

    >>> heads([importance_run, ablation_run]).to_pandas()                                 # doctest: +SKIP
    """
    document = call(["heads", *words("heads", options), "--", *paths("runs", runs)], False)
    return Table.of_rows(document["heads"], "heads")


def compare(first: Any, second: Any, *others: Any, **options: Any) -> Document:
    """Two runs of one command side by side: differences of every head, rank correlation; `output=` writes a page.

    >>> compare("out-1", "out-2")["overall"]                                              # doctest: +SKIP
    """
    runs = paths("runs", [first, second, *others])
    return Document(call(["compare", *words("compare", options), "--", *runs], False))


def devices() -> Document:
    """The processor and the graphics cards of this machine, as `device=` takes them.

    >>> devices()["devices"][0]["device"]
    'cpu'
    """
    return Document(call(["devices"], False))


def inspect(model: Any, **options: Any) -> Document:
    """Family, sizes, heads, parameters by part, tensors used, ignored and missing.

    >>> inspect("bert-base-uncased")["num_heads"]                                         # doctest: +SKIP
    12
    """
    return Document(call(["inspect", *words("inspect", options), "--", model_word(model)], False))


def export(model: Any, *, output: str | os.PathLike[str], **options: Any) -> Document:
    """Writes the model as one ONNX file, for other runtimes; `hidden_states=True` and `attentions=True` add outputs.

    >>> export("bert-base-uncased", output="model.onnx")["bytes"]                        # doctest: +SKIP
    """
    known = words("export", {"onnx": True, **options, "output": output})
    return Document(call(["export", *known, "--", model_word(model)], False))


def verify(model: Any, *, progress: Progress = None, **options: Any) -> Verification:
    """Compares hidden states, attention, logits and gradients with a file written by transformers.

    >>> verify("model", reference="reference.safetensors").agrees                         # doctest: +SKIP
    True
    """
    return Verification(call(["verify", *words("verify", options), "--", model_word(model)], progress))


def view(model: Any, *texts: str | list[str], output: Output = None, progress: Progress = None, **options: Any) -> View:
    """The attention of texts as a page that a notebook shows; `output=` also writes it into a file.

    Two texts are a pair, which the model reads at once; a list of texts is one page with each on its own.

    >>> view("bert-base-uncased", "The cat sat.").save("cat.html")                        # doctest: +SKIP
    >>> view("bert-base-uncased", ["The cat sat.", "The cats sat."])                      # doctest: +SKIP
    """
    if len(texts) == 1 and isinstance(texts[0], list):
        texts, options = tuple(texts[0]), {**options, "each": True}
    with Call("view", options) as study:
        study.add_model(model)
        for text in texts:
            if not isinstance(text, str):
                raise TypeError(f"view: texts are given one by one, not as a {type(text).__name__}")
            study.positional.append(text)
        page = study.write_to(output, "page.html")
        found = View(study.run(progress), Path(page).read_text(encoding="utf-8"))
        study.work.cleanup()
        return found


def cat_tree(file: str | os.PathLike[str], **options: Any) -> Document:
    """The tree of a program, its tokens and how far they are from each other.

    >>> cat_tree("functions.jsonl", line=2)["leaves"]                                     # doctest: +SKIP
    """
    return Document(call(["cat-tree", *words("cat-tree", options), "--", os.fspath(file)], False))


def options(command: str) -> Table:
    """Every option of a function: name, default, values, and what it means.

    >>> options("importance").to_pandas()                                                 # doctest: +SKIP
    """
    names = [name for name in commands() if name.replace("-", "_") in (command, command.replace("-", "_"))]
    if not names:
        raise ValueError(f"options({command!r}): there is no such function; there are {', '.join(commands())}")
    rows = [
        {
            "name": argument.keyword,
            "default": ",".join(argument.default),
            "values": ",".join(argument.values),
            "help": in_python(argument.help),
        }
        for argument in commands()[names[0]].options.values()
        if argument.keyword != "part"
    ]
    return Table.of_rows(rows, command)


def edge_data(
    what: str, file: str | os.PathLike[str], *args: Any, progress: Progress = None, **options: Any
) -> Document:
    """Labelled spans for edge probing: a corpus as records, written to `output=`.

    `what` is `ud_deps`, `ud_pos`, `ud_upos`, `ud_feats`, `coref`, `semeval`, `spr1`, `spr2`, `dpr`, or `check`, which
    looks at records with the eyes of a model and takes it behind the file.

    >>> edge_data("ud_deps", "train.conllu", output="deps.jsonl")["targets"]              # doctest: +SKIP
    """
    name = f"edge-data {what.replace('_', '-')}"
    try:
        known = words(name, options)
    except KeyError:
        raise ValueError(f"edge_data({what!r}): there is no such corpus; help(edge_data) names them") from None
    positional = [os.fspath(file), *map(model_word, args)]
    return Document(call([*name.split(" "), *known, "--", *positional], progress))
