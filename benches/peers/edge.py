"""The cumulative edge probes of a task: `bertology`'s suite against the same probes in PyTorch.

The peer is what a careful user writes: states of all layers in memory, ragged spans without padding, fused Adam, batches of
whole sentences with up to 1,024 targets, a validation on the whole development split after each epoch. `alone` trains
one probe after another; `batched` those of all layers of a seed side by side, with batched products.

    python benches/peers/edge.py prepare MODEL TRAIN.conllu DEV.conllu --states states.safetensors
    cargo build --release -p bertology-train --example edge_suite
    python benches/peers/edge.py compare --states states.safetensors --repeats 3

`prepare` computes the states of dependencies (span 1 a word, span 2 its head, the word itself at a root) once for all. In `compare`
the programs take turns; printed are the medians and the median of the ratios of each round.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGETS, PROJECTION, UNITS = 1024, 256, 256


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["prepare", "alone", "batched", "compare"])
    parser.add_argument("files", nargs="*", help="of prepare: MODEL TRAIN DEV")
    parser.add_argument("--states", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", default="alone,batched")
    parser.add_argument("--binary", default=str(ROOT / "target" / "release" / "examples" / "edge_suite"))
    return parser.parse_args()


def prepare(model, train, dev, out):
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModel, AutoTokenizer

    from syntax import read

    tokenizer = AutoTokenizer.from_pretrained(model)
    model = AutoModel.from_pretrained(model, dtype=torch.float32).eval()
    splits = {"train": read(train, None), "dev": read(dev, None)}
    classes = sorted({relation for _, _, relations in splits["train"] for relation in relations})
    arrays, states, pieces = {"classes": torch.tensor([len(classes)])}, [], 0
    for name, sentences in splits.items():
        spans, labels, ends = [], [], []
        for forms, heads, relations in sentences:
            encoded = tokenizer(forms, is_split_into_words=True, return_tensors="pt")
            with torch.no_grad():
                layers = model(**encoded, output_hidden_states=True).hidden_states
            words = encoded.word_ids()
            states.append(torch.stack(layers, 2)[0, 1:-1])
            first = [pieces + words.index(i) - 1 for i in range(len(forms))] + [pieces + len(words) - 2]
            for i, (head, relation) in enumerate(zip(heads, relations, strict=True)):
                head = i if head < 0 else head
                spans.append([first[i], first[i + 1], first[head], first[head + 1]])
                labels.append(classes.index(relation) if relation in classes else -1)
            ends.append(len(labels))
            pieces = first[-1]
        arrays |= {f"{name}.spans": torch.tensor(spans), f"{name}.labels": torch.tensor(labels), f"{name}.ends": torch.tensor(ends)}
    save_file(arrays | {"states": torch.cat(states).contiguous()}, out)
    print(f"{pieces} pieces, {len(classes)} relations")


class Probes:
    """Side by side: the probes that read layers 0 to each of `tops`."""

    def __init__(self, torch, tops, layers, hidden, classes, seed):
        self.torch, self.count = torch, len(tops)
        generator = torch.Generator().manual_seed(seed)

        def uniform(*shape, fan_in):
            one = (torch.rand(shape, generator=generator) * 2 - 1) / fan_in**0.5
            return torch.stack([one] * self.count).requires_grad_()

        unread = torch.arange(layers) > torch.tensor(tops)[:, None]
        self.unread = torch.zeros(self.count, layers).masked_fill(unread, -torch.inf)
        n = self.count
        self.a = torch.zeros(n, layers, requires_grad=True)
        self.gamma = torch.ones(n, 1, 1, requires_grad=True)
        self.w = [uniform(PROJECTION, hidden, fan_in=hidden) for _ in range(2)]
        self.b = [uniform(1, PROJECTION, fan_in=hidden) for _ in range(2)]
        self.v = [uniform(PROJECTION, 1, fan_in=PROJECTION) for _ in range(2)]
        self.c = [uniform(1, 1, fan_in=PROJECTION) for _ in range(2)]
        self.outer = uniform(UNITS, 2 * PROJECTION, fan_in=2 * PROJECTION)
        self.outer_bias = uniform(1, UNITS, fan_in=2 * PROJECTION)
        self.norm = torch.ones(n, 1, UNITS, requires_grad=True)
        self.norm_bias = torch.zeros(n, 1, UNITS, requires_grad=True)
        self.inner = uniform(classes, UNITS, fan_in=UNITS)
        self.inner_bias = uniform(1, classes, fan_in=UNITS)
        rest = [self.gamma, *self.w, *self.b, *self.v, *self.c, self.outer, self.outer_bias]
        self.rest = [*rest, self.norm, self.norm_bias, self.inner, self.inner_bias]
        groups = [{"params": [self.a], "lr": 1e-2}, {"params": self.rest, "lr": 1e-3}]
        self.adam = torch.optim.Adam(groups, amsgrad=True, fused=True)

    def logits(self, batch, training):
        """[probe, target, class]"""
        torch, F = self.torch, self.torch.nn.functional
        shares = torch.softmax(self.a + self.unread, 1)
        states = batch["states"]
        mixed = (shares @ states.flatten(1)).unflatten(1, states.shape[1:]) * self.gamma
        mixed = F.dropout(mixed, 0.2, training)
        spans = []
        for role in range(2):
            vectors = torch.baddbmm(self.b[role], mixed, self.w[role].transpose(1, 2))
            piece, span, count = batch["roles"][role]
            if count == len(piece):
                spans.append(vectors[:, piece])
                continue
            # Piece by piece of each span: no padding.
            weights = torch.baddbmm(self.c[role], vectors, self.v[role]).squeeze(2)[:, piece]
            index = span.expand(self.count, -1)
            most = torch.full((self.count, count), -torch.inf).scatter_reduce(1, index, weights.detach(), "amax")
            weights = torch.exp(weights - most.gather(1, index))
            sums = torch.zeros(self.count, count).index_add(1, span, weights)
            weights = weights / sums.gather(1, index)
            pooled = torch.zeros(self.count, count, PROJECTION)
            spans.append(pooled.index_add(1, span, vectors[:, piece] * weights.unsqueeze(2)))
        units = torch.tanh(torch.baddbmm(self.outer_bias, torch.cat(spans, 2), self.outer.transpose(1, 2)))
        units = F.layer_norm(units, (UNITS,)) * self.norm + self.norm_bias
        units = F.dropout(units, 0.3, training)
        return torch.baddbmm(self.inner_bias, units, self.inner.transpose(1, 2))

    def step(self, batch):
        torch = self.torch
        logits = self.logits(batch, True)
        gold = batch["gold"].expand_as(logits)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, gold, reduction="sum") / gold.shape[1]
        self.adam.zero_grad()
        loss.backward()
        parameters = [self.a, *self.rest]
        norms = torch.stack([p.grad.flatten(1).square().sum(1) for p in parameters]).sum(0).sqrt()
        scale = (5.0 / (norms + 1e-6)).clamp(max=1.0)
        if bool((scale < 1).any()):
            for p in parameters:
                p.grad *= scale.view(-1, *[1] * (p.dim() - 1))
        self.adam.step()

    def f1(self, batches):
        torch = self.torch
        right = wrong = missed = 0
        with torch.no_grad():
            for batch in batches:
                given, gold = self.logits(batch, False) >= 0, batch["gold"].bool()
                right = right + (given & gold).sum((1, 2))
                wrong = wrong + (given & ~gold).sum((1, 2))
                missed = missed + (~given & gold).sum((1, 2))
        return (2 * right / (2 * right + wrong + missed)).tolist()


def peer(options):
    import torch
    from safetensors.torch import load_file

    torch.set_num_threads(options.threads)
    arrays = load_file(options.states)
    states, classes = arrays["states"], int(arrays["classes"])
    layers, hidden = states.shape[1:]

    def make(name, sentences):
        """A batch, `[layers, pieces, hidden]`: layers outer, so that mixing is one product."""
        ends = arrays[f"{name}.ends"].tolist()
        targets = [t for s in sentences for t in range(ends[s - 1] if s else 0, ends[s])]
        spans = arrays[f"{name}.spans"][targets]
        wide = [torch.cat([torch.arange(a, b) for a, b in spans[:, 2 * role : 2 * role + 2].tolist()]) for role in range(2)]
        pieces = torch.unique(torch.cat(wide))
        roles = []
        for role in range(2):
            sizes = spans[:, 2 * role + 1] - spans[:, 2 * role]
            span = torch.repeat_interleave(torch.arange(len(targets)), sizes)
            roles.append((torch.searchsorted(pieces, wide[role]), span, len(targets)))
        labels = arrays[f"{name}.labels"][targets]
        gold = torch.nn.functional.one_hot(labels.clamp(min=0), classes) * (labels >= 0)[:, None]
        return {"states": states[pieces].transpose(0, 1).contiguous(), "roles": roles, "gold": gold.float()}

    def pack(name, order):
        sizes = torch.diff(arrays[f"{name}.ends"], prepend=torch.zeros(1, dtype=torch.int64)).tolist()
        batches, targets = [[]], 0
        for s in order:
            if batches[-1] and targets + sizes[s] > TARGETS:
                batches.append([])
                targets = 0
            batches[-1].append(s)
            targets += sizes[s]
        return batches

    dev_order = range(len(arrays["dev.ends"]))

    def train(tops, seed):
        probes = Probes(torch, tops, layers, hidden, classes, seed)
        generator = torch.Generator().manual_seed(seed)
        best = [0.0] * len(tops)
        for _ in range(options.epochs):
            order = torch.randperm(len(arrays["train.ends"]), generator=generator).tolist()
            for sentences in pack("train", order):
                probes.step(make("train", sentences))
            found = probes.f1(make("dev", sentences) for sentences in pack("dev", dev_order))
            best = [max(pair) for pair in zip(best, found, strict=True)]
        return best

    start, before = time.perf_counter(), time.process_time()
    f1 = []
    for seed in range(options.seeds):
        together = [list(range(layers))] if options.what == "batched" else [[top] for top in range(layers)]
        for tops in together:
            f1 += train(tops, seed)
    wall, processor = time.perf_counter() - start, time.process_time() - before
    print(json.dumps({"wall": round(wall, 3), "processor": round(processor, 2), "f1": [round(f, 4) for f in f1]}))


def flops(options):
    """FLOPs of the products that the training and its validations consist of, as they are done here."""
    from safetensors.torch import load_file

    arrays = load_file(options.states)
    (layers, hidden), classes = arrays["states"].shape[1:], int(arrays["classes"])
    total = 0
    for name in ("train", "dev"):
        spans, first, targets = arrays[f"{name}.spans"].tolist(), 0, len(arrays[f"{name}.spans"])
        distinct = several = 0
        for end in arrays[f"{name}.ends"].tolist():
            for role in (0, 2):
                own = {tuple(span[role : role + 2]) for span in spans[first:end]}
                distinct += len(own)
                several += sum(b - a > 1 for a, b in own)
            first = end
        # Of a batch the joint map A W of each role, of a span its row of it, of a target its logits.
        joint = -(-targets // TARGETS) * 2 * 2 * UNITS * PROJECTION * hidden
        span, logits = 2 * UNITS * hidden, targets * 2 * UNITS * classes
        total += layers * (joint + distinct * span + logits)
        if name == "train":
            total += layers * (2 * joint + distinct * span + 2 * logits)
            # The probe of the embeddings alone has no mixing weights to learn.
            total += (layers - 1) * distinct * span + several * span
    return total * options.seeds * options.epochs


def compare(options):
    common = ["--seeds", str(options.seeds), "--epochs", str(options.epochs), "--threads", str(options.threads)]
    programs = {"ours": [options.binary, options.states, *common]}
    for name in options.peers.split(","):
        programs[name] = [sys.executable, __file__, name, "--states", options.states, *common]
    rounds = {name: [] for name in programs}
    for _ in range(options.repeats):
        for name, command in programs.items():
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            rounds[name].append(found)
            print(name, json.dumps(found), file=sys.stderr, flush=True)
    work = flops(options)
    for measure in ("wall", "processor"):
        for name, found in rounds.items():
            seconds = statistics.median(one[measure] for one in found)
            ratios = [one[measure] / ours[measure] for one, ours in zip(found, rounds["ours"], strict=True)]
            print(f"{measure:9} {name:8} {seconds:8.2f} s   {statistics.median(ratios):.2f} times ours")
    seconds = statistics.median(one["processor"] for one in rounds["ours"])
    share = statistics.median(work / one["processor"] / one["peak"] for one in rounds["ours"])
    print(f"{work / 1e9:.0f} GFLOP of products, {work / seconds / 1e9:.1f} GFLOP/s a processor: {share:.0%} of bare products")


def main():
    options = arguments()
    if options.what == "prepare":
        prepare(*options.files, options.states)
    elif options.what == "compare":
        compare(options)
    else:
        peer(options)


if __name__ == "__main__":
    main()
