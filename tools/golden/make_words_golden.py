"""Labels of words and answers to questions, as transformers, seqeval and SQuAD's script have them.

Writes golden/studies/tags, golden/studies/answers (a small random BERT each, with data and what is expected of them)
and golden/studies/entities.json (labels against labels). Losses and gradients are of torch, in float32 with eager
attention, a sentence or window at a time; metrics are seqeval 1.2.2 and transformers.data.metrics.squad_metrics, which
is SQuAD 2.0's script. How inputs are prepared and answers chosen is written here after what run_ner.py, run_qa.py and
utils_qa.py of transformers do. Nothing here is shared with the code under test.

    python tools/golden/make_words_golden.py
"""

import json
import random
import warnings
from pathlib import Path

import numpy
import torch
from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score
from transformers import BertConfig, BertForQuestionAnswering, BertForTokenClassification, BertTokenizerFast
from transformers.data.metrics import squad_metrics

from capture import randomise

OUT = Path(__file__).resolve().parents[2] / "golden" / "studies"
LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-MISC", "I-MISC"]
WHOLE = "the a of in river city was king born year green north south paris maria river old house tower by".split()
PIECES = ["zurich", "montenegro", "o'neil", "well-known", "x1999", "Besançon", "東京", "it's", "U.S.", "(", ")", "The"]
TAG_LENGTH, LENGTH, SHARED = 24, 40, 12
N_BEST, MAX_ANSWER = 20, 30


def vocabulary():
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + [str(digit) for digit in range(10)]
    words = list(dict.fromkeys(WHOLE + letters + list(".,'-()?")))
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *(f"##{letter}" for letter in letters), "##on"]


def made(folder, loader, **options):
    """A random model with its tokenizer in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    words = vocabulary()
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 48}) + "\n"
    )
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=24,
        max_position_embeddings=48,
        **options,
    )
    config._attn_implementation = "eager"
    model = loader(config)
    randomise(model, lambda name: 0.9 if "embeddings" in name else 0.35)
    model.eval()
    model.save_pretrained(folder)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model, BertTokenizerFast.from_pretrained(folder)


def gradient(model, **inputs):
    """Loss, its slopes by the mask factors, logits."""
    shape = (model.config.num_hidden_layers, model.config.num_attention_heads)
    mask = torch.ones(shape, requires_grad=True)
    output = model(head_mask=mask, **inputs)
    (slopes,) = torch.autograd.grad(output.loss, mask)
    return output.loss.item(), slopes.double().numpy(), output


def of_entities(labels, predictions):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "precision": float(precision_score(labels, predictions)),
            "recall": float(recall_score(labels, predictions)),
            "f1": float(f1_score(labels, predictions)),
            "accuracy": float(accuracy_score(labels, predictions)),
        }


def entities(draw):
    """Labels against labels: every kind of wrong order, prefix and form."""
    names = [*LABELS, "E-PER", "S-LOC", "X-PER", "PER", "B-A-B", "I-A-B", "E-LOC", "S-PER"]
    cases = []
    for case in range(300):
        kinds = random.Random(case).sample(names, 3) if case % 3 else LABELS
        lengths = [draw.randint(1, 9) for _ in range(1 if case % 2 else 4)]
        labels = [[draw.choice(kinds) for _ in range(length)] for length in lengths]
        keep = draw.choice([0.0, 0.5, 0.9])
        found = [[tag if draw.random() < keep else draw.choice(kinds) for tag in tags] for tags in labels]
        cases.append({"labels": labels, "predictions": found, **of_entities(labels, found)})
    by_hand = [
        ([["O", "I-PER", "I-PER"]], [["O", "B-PER", "I-PER"]]),
        ([["B-LOC", "I-PER", "O"]], [["B-LOC", "I-LOC", "O"]]),
        ([["B-PER", "B-PER"]], [["B-PER", "I-PER"]]),
        ([["X-PER", "X-PER", "O"]], [["B-PER", "I-PER", "O"]]),
        ([["O", "O"]], [["O", "O"]]),
        ([["B-PER"], ["I-PER"]], [["B-PER"], ["I-PER"]]),
    ]
    cases += [{"labels": a, "predictions": b, **of_entities(a, b)} for a, b in by_hand]
    (OUT / "entities.json").write_text(json.dumps({"names": names, "cases": cases}) + "\n")


def tags(draw):
    folder = OUT / "tags"
    names = dict(enumerate(LABELS))
    model, tokenizer = made(
        folder, BertForTokenClassification, id2label=names, label2id={name: id for id, name in names.items()}
    )
    sentences = []
    for number in range(40):
        length = 14 if number == 7 else draw.randint(1, 7)
        words = [draw.choice(WHOLE + PIECES) for _ in range(length)]
        if number == 3:
            # No token stands for it.
            words[0] = "\u200d"
            words.append("king")
        sentences.append((words, [draw.choice(LABELS) for _ in words]))
    expected, importance, sums = [], 0.0, [0.0, 0]
    all_labels, all_found = [], []
    for words, labels in sentences:
        inputs = tokenizer(words, is_split_into_words=True, truncation=True, max_length=TAG_LENGTH, return_tensors="pt")
        of_tokens, before = [], None
        for word in inputs.word_ids():
            first = word is not None and word != before
            of_tokens.append(LABELS.index(labels[word]) if first else -100)
            before = word
        loss, slopes, output = gradient(model, labels=torch.tensor([of_tokens]), **inputs)
        found = output.logits[0].argmax(-1).tolist()
        counted = [(label, found[at]) for at, label in enumerate(of_tokens) if label != -100]
        all_labels.append([LABELS[label] for label, _ in counted])
        all_found.append([LABELS[id] for _, id in counted])
        importance = importance + abs(slopes)
        sums = [sums[0] + loss * len(counted), sums[1] + len(counted)]
        expected.append({"ids": inputs["input_ids"][0].tolist(), "labels": of_tokens, "loss": loss})
    metrics = of_entities(all_labels, all_found)
    assert 0.0 < metrics["f1"] < 0.5, metrics
    lines = [f"{word} NN {label}" for word, label in zip(*sentences[0])]
    columns = ["-DOCSTART- -X- O", "", *lines, ""]
    for words, labels in sentences[1:]:
        columns += [f"{word} NN {label}" for word, label in zip(words, labels)] + [""]
    (folder / "data.conll").write_text("\n".join(columns) + "\n")
    rows = [json.dumps({"tokens": words, "ner_tags": labels}) for words, labels in sentences]
    (folder / "data.jsonl").write_text("\n".join(rows) + "\n")
    numbered = [[list(words), [LABELS.index(label) for label in labels]] for words, labels in sentences]
    rows = [{"words": words, "tags": labels} for words, labels in numbered]
    (folder / "data.json").write_text(json.dumps(rows) + "\n")
    record = {
        "max_length": TAG_LENGTH,
        "sentences": expected,
        "loss": sums[0] / sums[1],
        "importance": (importance / len(sentences)).tolist(),
        "metrics": metrics,
    }
    (folder / "expected.json").write_text(json.dumps(record) + "\n")


def windows(tokenizer, question, context):
    options = {"truncation": "only_second", "max_length": LENGTH, "stride": SHARED}
    more = {"return_overflowing_tokens": True, "return_offsets_mapping": True}
    found = tokenizer(question.lstrip(), context, **options, **more)
    for number in range(len(found["input_ids"])):
        sides = found.sequence_ids(number)
        offsets = [place if side == 1 else None for place, side in zip(found["offset_mapping"][number], sides)]
        yield found["input_ids"][number], found["token_type_ids"][number], offsets


def span(offsets, answers):
    """The tokens of the first answer; the first token twice where there is none in this window."""
    text = [at for at, place in enumerate(offsets) if place is not None]
    if not answers or not text:
        return 0, 0
    first, last = answers[0]["answer_start"], answers[0]["answer_start"] + len(answers[0]["text"])
    if offsets[text[0]][0] > first or offsets[text[-1]][1] < last:
        return 0, 0
    return max(at for at in text if offsets[at][0] <= first), min(at for at in text if offsets[at][1] >= last)


def predicted(seen, context, may_lack):
    """The answer, given start and end logits and offsets of each window."""
    spans, none = [], None
    for starts, ends, offsets in seen:
        score = starts[0] + ends[0]
        none = score if none is None or score < none else none
        for start in numpy.argsort(starts)[::-1][:N_BEST]:
            for end in numpy.argsort(ends)[::-1][:N_BEST]:
                if offsets[start] is None or offsets[end] is None or not 0 <= end - start < MAX_ANSWER:
                    continue
                text = context[offsets[start][0] : offsets[end][1]]
                spans.append((starts[start] + ends[end], starts[start], ends[end], text))
    spans.sort(key=lambda span: -span[0])
    _, start, end, text = spans[0] if spans else (0.0, 0.0, 0.0, "empty")
    return "" if may_lack and none - start - end > 0.0 else text


def scored(questions, may_lack):
    sums = {True: [], False: []}
    for question in questions:
        answer, given = question["prediction"], question["answers"]
        golds = [gold["text"] for gold in given]
        if may_lack:
            golds = [gold for gold in golds if squad_metrics.normalize_answer(gold)] or [""]
        exact = max(squad_metrics.compute_exact(gold, answer) for gold in golds)
        f1 = max(squad_metrics.compute_f1(gold, answer) for gold in golds)
        sums[bool(given)].append((exact, f1))
    share = lambda scores, at: 100.0 * sum(score[at] for score in scores) / len(scores)
    both = sums[True] + sums[False]
    found = {"exact_match": share(both, 0), "f1": share(both, 1)}
    if may_lack:
        found |= {"HasAns_exact": share(sums[True], 0), "HasAns_f1": share(sums[True], 1)}
        found |= {"NoAns_exact": share(sums[False], 0), "NoAns_f1": share(sums[False], 1)}
    return found


def asked(model, tokenizer, question, context, answers, may_lack):
    record, seen = [], []
    for ids, segments, offsets in windows(tokenizer, question, context):
        start, end = span(offsets, answers)
        positions = {"start_positions": torch.tensor([start]), "end_positions": torch.tensor([end])}
        inputs = {"input_ids": torch.tensor([ids]), "token_type_ids": torch.tensor([segments])}
        loss, slopes, output = gradient(model, **inputs, **positions)
        seen.append((output.start_logits[0].detach().numpy(), output.end_logits[0].detach().numpy(), offsets))
        record.append({"ids": ids, "span": [start, end], "loss": loss, "slopes": slopes})
    return record, predicted(seen, context, may_lack)


def answers(draw):
    folder = OUT / "answers"
    model, tokenizer = made(folder, BertForQuestionAnswering)
    articles, questions = [], []
    for number in range(12):
        length = [2, 60, 25, 5][number % 4]
        context = " ".join(draw.choice(WHOLE + PIECES) for _ in range(length))
        paragraph = {"context": context, "qas": []}
        for part in range(2):
            text = "  " * part + " ".join(draw.choice(WHOLE) for _ in range(draw.randint(2, 5))) + "?"
            start = context.index(draw.choice(context.split()))
            given = [{"text": context[start : start + 9].strip(), "answer_start": start}]
            _, answer = asked(model, tokenizer, text, context, [], False)
            # Some are what the model says, some nearly, some have no answer.
            kind = (2 * number + part) % 5
            if kind < 2 and answer in context:
                given = [{"text": answer, "answer_start": context.index(answer)}] + given * kind
            if kind == 2:
                given = given + [{"text": answer.upper().replace(" ", " a "), "answer_start": 0}]
                given[1]["text"] = given[1]["text"][: len(context)]
            if kind == 3:
                given = []
            paragraph["qas"].append(
                {"id": f"q{number}-{part}", "question": text, "answers": given, "is_impossible": not given}
            )
            questions.append({"id": f"q{number}-{part}", "question": text, "context": context, "answers": given})
        articles.append({"title": f"t{number}", "paragraphs": [paragraph]})
    (folder / "squad2.json").write_text(json.dumps({"version": "v2.0", "data": articles}, indent=1) + "\n")
    answered = [question for question in questions if question["answers"]]
    rows = []
    for question in answered:
        lists = {key: [given[key] for given in question["answers"]] for key in ("text", "answer_start")}
        rows.append(json.dumps({**question, "answers": lists}))
    (folder / "squad1.jsonl").write_text("\n".join(rows) + "\n")
    record = {"max_length": LENGTH, "doc_stride": SHARED}
    for name, chosen, may_lack in [("squad2", questions, True), ("squad1", answered, False)]:
        all_windows = []
        for question in chosen:
            found = asked(model, tokenizer, question["question"], question["context"], question["answers"], may_lack)
            question["prediction"] = found[1]
            all_windows += found[0]
        importance = sum(abs(window.pop("slopes")) for window in all_windows) / len(all_windows)
        metrics = scored(chosen, may_lack)
        nothing = sum(question["prediction"] == "" for question in chosen)
        print(name, metrics, len(all_windows), "windows", nothing, "without answer of", len(chosen))
        assert all(0.0 < value < 100.0 for value in metrics.values())
        record[name] = {
            "windows": all_windows,
            "predictions": [question["prediction"] for question in chosen],
            "loss": sum(window["loss"] for window in all_windows) / len(all_windows),
            "importance": importance.tolist(),
            "metrics": metrics,
        }
    (folder / "expected.json").write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    entities(random.Random(1))
    tags(random.Random(2))
    answers(random.Random(3))
