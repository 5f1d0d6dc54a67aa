// Run folders as the commands write them, of any size and without a model: numbers with the shape of what BERT-base
// is known to do, and some noise. Tables have the columns that docs/commands/*.md name.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { random } from "./made.mjs";

/** A NumPy file, version 1.0. */
export function writeNpy(file, shape, values, type = "<f4") {
  const comma = shape.length === 1 ? "," : "";
  let header = `{'descr': '${type}', 'fortran_order': False, 'shape': (${shape.join(", ")}${comma}), }`;
  header = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11) + "\n";
  const size = Buffer.alloc(2);
  size.writeUInt16LE(header.length);
  const kind = { "<f4": Float32Array, "<f8": Float64Array, "<i8": BigInt64Array }[type];
  const numbers = type === "<i8" ? values.map((value) => BigInt(value)) : values;
  const start = Buffer.from("\x93NUMPY\x01\x00", "latin1");
  writeFileSync(file, Buffer.concat([start, size, Buffer.from(header, "latin1"), Buffer.from(kind.from(numbers).buffer)]));
}

const csv = (rows) => rows.map((row) => row.map((cell) => (cell === null || Number.isNaN(cell) ? "" : String(cell))).join(",") + "\n").join("");

/** A folder with the record that every run has. */
export function folderOf(base, name, command, results, options = {}) {
  const { layers = 12, heads = 12, model = "a made-up model of the size of BERT-base", sha = "5f1b1a9c0d3e", file = "wiki.txt", task = null } = options;
  const folder = join(base, name);
  mkdirSync(folder, { recursive: true });
  const record = {
    format: 1,
    command,
    bertology: "0.1.0",
    arguments: [command, model, "--data", file, "--output", name],
    options: { model, data: file, task, granularity: "example", threads: null, overwrite: false, output: name },
    seed: 42,
    started: "2026-01-31T12:00:00Z",
    finished: "2026-01-31T12:06:41Z",
    seconds: { load: 0.41, [command]: 398.2, total: 401.6 },
    threads: 8,
    model: {
      name: model,
      folder: `/models/${model}`,
      revision: null,
      commit: null,
      sha256: sha.padEnd(64, "0"),
      family: "BERT",
      num_layers: layers,
      num_heads: heads,
      heads_present: layers * heads,
      parameters: 109482240,
    },
    data: {
      file: { path: `/data/${file}`, task, examples: 408, skipped: { blank_lines: 3, short_rows: 0 }, sha256: "ab".repeat(32) },
      max_length: 128,
      objective: { kind: "label" },
      labels: ["not_equivalent", "equivalent"],
    },
    results,
    identity: {
      command,
      version: "0.1.0",
      options: { granularity: options.granularity ?? "example", task, limit: null },
      model_sha256: sha.padEnd(64, "0"),
      tokenizer_sha256: "cd".repeat(32),
      data_sha256: (options.data ?? "ab").repeat(32).slice(0, 64),
    },
  };
  writeFileSync(join(folder, "run.json"), JSON.stringify(record, null, 2) + "\n");
  return folder;
}

const EVALUATION = {
  metrics: { acc: 0.8676470588235294, f1: 0.9063032367972743 },
  loss: 0.4312,
  examples: 408,
  tokens: 21723,
  truncated_examples: 0,
  truncated_tokens: 0,
};

/** Scores per head: few matter much. */
export function scores(layers, heads, seed) {
  const next = random(seed);
  const importance = Array.from({ length: layers * heads }, (_, at) => {
    const layer = Math.floor(at / heads);
    return Math.min(1, next() ** 3 * (0.5 + 0.5 * Math.sin((layer / layers) * 3)) + 0.03 * next());
  });
  const high = Math.max(...importance);
  const low = Math.min(...importance);
  return importance.map((value) => (value - low) / (high - low));
}

export function importance(base, name, options = {}) {
  const { layers = 12, heads = 12, seed = 7, pruned = [] } = options;
  const gone = (at) => pruned.includes(at);
  const values = options.values ?? scores(layers, heads, seed);
  const next = random(seed + 1);
  const entropy = values.map((_, at) => Math.max(0.05, 3.6 - 0.12 * Math.floor(at / heads) - 2.2 * next() ** 2));
  const raw = values.map((value) => value * 0.0061 + 0.00004);
  const folder = folderOf(base, name, "importance", { granularity: "example", evaluation: EVALUATION }, { task: "mrpc", file: "dev.tsv", ...options });
  const at = (all) => all.map((value, i) => (gone(i) ? 0 : value));
  writeNpy(join(folder, "head_importance.npy"), [layers, heads], at(values));
  writeNpy(join(folder, "head_importance_raw.npy"), [layers, heads], at(raw), "<f8");
  writeNpy(join(folder, "attn_entropy.npy"), [layers, heads], at(entropy));
  const order = [...values.keys()].filter((i) => !gone(i)).sort((a, b) => values[b] - values[a]);
  const ranks = values.map((_, i) => order.indexOf(i));
  writeNpy(join(folder, "head_ranks.npy"), [layers, heads], ranks, "<i8");
  return folder;
}

export function ablate(base, name, options = {}) {
  const { layers = 12, heads = 12, seed = 7 } = options;
  const values = scores(layers, heads, seed);
  const next = random(seed + 5);
  const loss = values.map((value) => 0.11 * value ** 2 - 0.006 + 0.012 * (next() - 0.5));
  const change = loss.map((value) => -Math.round(value * 240) / 408);
  const folder = folderOf(base, name, "ablate", { metric: "acc", direction: "higher", evaluation: EVALUATION }, { task: "mrpc", file: "dev.tsv", ...options });
  writeNpy(join(folder, "head_ablation.npy"), [layers, heads], change);
  writeNpy(join(folder, "head_ablation_loss.npy"), [layers, heads], loss);
  const rows = values.map((_, at) => {
    const right = Math.max(0, Math.round(-change[at] * 408)) + 2;
    return [Math.floor(at / heads), at % heads, change[at], loss[at], 0.004 + 0.006 * next(), right + 3, right, 2, 0.3 * next(), 0.4312 + loss[at], 0.8676 + change[at]];
  });
  const names = ["layer", "head", "change", "loss_change", "loss_standard_error", "changed", "right_to_wrong", "wrong_to_right", "p_value", "loss", "acc"];
  writeFileSync(join(folder, "ablation.csv"), csv([names, ...rows]));
  return folder;
}

function search(folder, { layers, heads, seed }) {
  const values = scores(layers, heads, seed);
  const order = [...values.keys()].sort((a, b) => values[a] - values[b]);
  const count = layers * heads;
  const step = Math.ceil(count / 10);
  const rows = [];
  let masked = 0;
  const bound = 0.7809;
  let kept = 0;
  for (let at = 0; masked <= count * 0.75; at++) {
    const score = 0.8676 - 0.25 * (masked / count) ** 3.2 + 0.004 * Math.sin(at * 2.1);
    const passed = score >= bound;
    if (passed) kept = masked;
    const heads_ = order.slice(Math.max(0, masked - (at ? step : 0)), masked);
    const named = heads_.map((i) => `L${Math.floor(i / heads)}H${i % heads}`).join(" ");
    rows.push([at, count - masked, score, passed ? 1 : 0, 0.43 + (0.87 - score) * 2, score + 0.04, named]);
    if (!passed) break;
    masked += step;
  }
  writeFileSync(join(folder, "curve.csv"), csv([["step", "heads_left", "score", "passed", "loss", "f1", "masked_heads"], ...rows]));
  const mask = values.map((_, i) => (order.indexOf(i) < kept ? 0 : 1));
  writeNpy(join(folder, "head_mask.npy"), [layers, heads], mask);
  writeNpy(join(folder, "head_importance.npy"), [layers, heads], values);
  writeNpy(join(folder, "head_ranks.npy"), [layers, heads], values.map((_, i) => count - 1 - order.indexOf(i)), "<i8");
  return { count, kept, last: rows.filter((row) => row[3]).at(-1), bound };
}

export function mask(base, name, options = {}) {
  const { layers = 12, heads = 12, seed = 7 } = options;
  const extra = { task: "mrpc", file: "dev.tsv", ...options };
  const found = search(folderOf(base, name, "mask", {}, extra), { layers, heads, seed });
  return folderOf(base, name, "mask", {
    metric: "acc",
    higher_is_better: true,
    threshold: "relative:0.9",
    bound: found.bound,
    score_before: 0.8676,
    score_after: found.last[2],
    heads_before: found.count,
    heads_left: found.count - found.kept,
    stop: "threshold",
  }, extra);
}

export function prune(base, name, options = {}) {
  const { layers = 12, heads = 12, seed = 7 } = options;
  const extra = { task: "mrpc", file: "dev.tsv", ...options };
  const found = search(folderOf(base, name, "prune", {}, extra), { layers, heads, seed });
  return folderOf(base, name, "prune", {
    sizes: { heads_before: found.count, heads_after: found.count - found.kept, parameters_before: 109482240, parameters_after: 92754432 },
    checkpoint: { report: { file_bytes_before: 437951328, file_bytes_after: 371040096 }, compared: 134, largest_difference: 1.2e-6 },
    evaluation_before: EVALUATION,
    evaluation_after: { ...EVALUATION, metrics: { acc: 0.7892, f1: 0.8455 }, loss: 0.4977 },
    timing: { sequences: 256, tokens: 2046, speedup: 1.21, range: [1.16, 1.27] },
    masking: { metric: "acc", bound: found.bound },
  }, extra);
}

const LINES = {
  cls: [0.056, 0.258, 0.239, 0.144, 0.025, 0.014, 0.013, 0.009, 0.012, 0.018, 0.024, 0.005],
  sep: [0.025, 0.05, 0.076, 0.214, 0.494, 0.551, 0.536, 0.572, 0.573, 0.478, 0.057, 0.072],
  punct: [0.07, 0.109, 0.086, 0.084, 0.048, 0.046, 0.047, 0.055, 0.053, 0.085, 0.513, 0.576],
  rest_sep: [0.028, 0.053, 0.08, 0.213, 0.487, 0.545, 0.529, 0.567, 0.567, 0.48, 0.063, 0.075],
  sep_sep: [0.155, 0.138, 0.109, 0.479, 0.902, 0.908, 0.894, 0.909, 0.872, 0.367, 0.065, 0.102],
  entropy: [3.6, 2.86, 2.54, 2.73, 2.42, 1.92, 1.93, 1.75, 2.2, 2.51, 2.77, 2.85],
  entropy_first: [3.65, 3.54, 2.06, 2.75, 2.44, 2.35, 2.62, 2.05, 2.23, 2.79, 3.51, 3.9],
  self: [0.09, 0.07, 0.06, 0.05, 0.04, 0.035, 0.03, 0.03, 0.035, 0.04, 0.045, 0.05],
  next: [0.11, 0.12, 0.18, 0.05, 0.06, 0.09, 0.04, 0.03, 0.03, 0.03, 0.03, 0.02],
  previous: [0.05, 0.12, 0.05, 0.13, 0.05, 0.05, 0.09, 0.08, 0.04, 0.03, 0.03, 0.02],
};

export const BEHAVIOURS = ["next", "previous", "broad", "cls", "sep", "punct"];

export function patterns(base, name, options = {}) {
  const { layers = 12, heads = 12, seed = 7, gradients = true } = options;
  const next = random(seed + 9);
  const rows = [];
  const entropy = [];
  const behaviours = [];
  for (let layer = 0; layer < layers; layer++) {
    const stretch = (line) => line[Math.round((layer / Math.max(1, layers - 1)) * 11)];
    for (let head = 0; head < heads; head++) {
      const means = {};
      for (const [key, line] of Object.entries(LINES)) {
        const noise = 0.4 + 1.2 * next();
        means[key] = Math.min(key.startsWith("entropy") ? 4.85 : 0.99, stretch(line) * noise);
      }
      means.entropy_normalized = means.entropy / 4.85;
      for (const key of ["self", "next", "previous", "sep", "cls", "punct", "sep_sep", "rest_sep", "entropy", "entropy_first", "entropy_normalized"]) {
        rows.push([layer, head, key, means[key], 0.003 + 0.004 * next(), means[key], 992]);
      }
      entropy.push(means.entropy);
      const kind =
        means.punct > 0.6 ? "punct" : means.sep > 0.6 ? "sep" : means.cls > 0.35 ? "cls" : means.entropy > 3.8 ? "broad"
        : means.previous > 0.13 ? "previous" : means.next > 0.16 ? "next" : "";
      behaviours.push([layer, head, kind]);
    }
  }
  const folder = folderOf(base, name, "patterns", { denominators: "paper", uniform_entropy: 4.812, counts: { sequences: 992, tokens: 125873 } }, options);
  writeFileSync(join(folder, "attention_patterns.csv"), csv([["layer", "head", "key", "mean", "standard_error", "micro", "documents"], ...rows]));
  writeFileSync(join(folder, "behaviours.csv"), csv([["layer", "head", "behaviour"], ...behaviours]));
  writeNpy(join(folder, "attn_entropy.npy"), [layers, heads], entropy, "<f8");
  if (gradients) {
    const lines = [];
    for (let layer = 0; layer < layers; layer++) {
      for (let head = 0; head < heads; head++) {
        for (const [kind, size] of [["cls", 0.0006], ["sep", 0.002 * Math.exp(-layer / 2)], ["punct", 0.0009], ["other", 0.0012]]) {
          lines.push([layer, head, kind, size * (0.6 + next()), size * 0.05, size * 9, size * 0.4, 992]);
        }
      }
    }
    writeFileSync(join(folder, "attention_gradients.csv"), csv([["layer", "head", "class", "mean", "mean_standard_error", "row_sum", "row_sum_standard_error", "documents"], ...lines]));
  }
  return folder;
}

const RELATIONS = [
  ["case", 2015, 8, 5, 0.763, 0.377, 1], ["nsubj", 1958, 7, 1, 0.585, 0.365, 1], ["det", 1817, 7, 10, 0.943, 0.596, 1],
  ["advmod", 1353, 6, 5, 0.488, 0.457, 1], ["amod", 1326, 3, 9, 0.756, 0.747, 1], ["obj", 1211, 7, 9, 0.868, 0.358, -2],
  ["obl", 1001, 6, 3, 0.402, 0.19, -2], ["conj", 916, 6, 0, 0.533, 0.266, -2], ["compound", 898, 3, 9, 0.853, 0.825, 1],
  ["nmod", 813, 5, 11, 0.431, 0.347, -2], ["cc", 786, 6, 4, 0.478, 0.447, 1], ["mark", 757, 7, 1, 0.607, 0.523, 1],
  ["aux", 749, 3, 9, 0.811, 0.482, 1], ["cop", 627, 6, 5, 0.722, 0.352, 1], ["nmod:poss", 391, 6, 5, 0.805, 0.581, 1],
  ["xcomp", 381, 4, 6, 0.613, 0.562, -2], ["flat", 281, 3, 0, 0.782, 0.758, -1], ["acl:relcl", 219, 8, 10, 0.409, 0.288, -2],
  ["ccomp", 200, 7, 0, 0.488, 0.25, -3], ["aux:pass", 162, 3, 9, 0.941, 0.827, 1], ["nummod", 159, 7, 10, 0.694, 0.686, 1],
  ["nsubj:pass", 154, 6, 5, 0.575, 0.422, 2], ["compound:prt", 74, 5, 6, 0.991, 0.743, -1],
];

function wilson(p, n) {
  const z = 1.96;
  const middle = (p + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = (z / (1 + (z * z) / n)) * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
  return [middle - half, middle + half];
}

export function syntax(base, name, options = {}) {
  const { layers = 12, heads = 12, seed = 7 } = options;
  const next = random(seed + 3);
  const folder = folderOf(base, name, "syntax", { account: { sequences: 2001, tokens: 28342 } }, { file: "en_ewt-ud-dev.conllu", ...options });
  const names = ["relation", "direction", "best", "layer", "head", "correct", "total", "accuracy", "low", "high", "reachable", "reachable_accuracy", "baseline_offset", "baseline_correct", "baseline_accuracy", "baseline_in_reach", "chosen_by_correct", "chosen_by_total"];
  const rows = [];
  for (const [relation, total, layer, head, accuracy, baseline, offset] of RELATIONS) {
    for (const [direction, best] of [["dep->head", 1], ["head<-dep", 0]]) {
      const p = best ? accuracy : accuracy * 0.6;
      const [low, high] = wilson(p, total);
      rows.push([relation, direction, best, layer % layers, head % heads, Math.round(p * total), total, p, low, high, total, p, offset, Math.round(baseline * total), baseline, 1, Math.round(p * total), total]);
    }
  }
  writeFileSync(join(folder, "syntax.csv"), csv([names, ...rows]));
  const relations = [["all", 25147, 0, 0, 0.347, 0.291, 1], ...RELATIONS];
  const correct = [];
  for (let direction = 0; direction < 2; direction++) {
    for (let at = 0; at < layers * heads; at++) {
      const [layer, head] = [Math.floor(at / heads), at % heads];
      for (const [relation, total, l, h, accuracy] of relations) {
        const own = relation !== "all" && l === layer && h === head && direction === 0;
        correct.push(Math.round(total * (own ? accuracy : 0.05 + 0.2 * next() * Math.sin(((layer + 1) / layers) * 3))));
      }
    }
  }
  writeNpy(join(folder, "syntax_heads.npy"), [2, layers, heads, relations.length], correct, "<i8");
  writeFileSync(join(folder, "relations.json"), JSON.stringify({
    axes: ["direction", "layer", "head", "relation"],
    directions: ["dep->head", "head<-dep"],
    offsets: [-3, -2, -1, 1, 2],
    relations: relations.map(([relation, total, , , , baseline]) => ({ relation, total, baseline_correct: [0, 0, 0, Math.round(baseline * total), 0] })),
  }));
  return folder;
}

export function coref(base, name, options = {}) {
  const { layers = 12, heads = 12, seed = 7 } = options;
  const next = random(seed + 4);
  const folder = folderOf(base, name, "coref", { account: { sequences: 262, tokens: 29113 } }, { file: "gum.conllu", ...options });
  const heads_ = [["candidates", "layer", "head", "category", "correct", "total", "accuracy", "low", "high", "abstained"]];
  const rules = [["baseline", "category", "correct", "total", "accuracy", "low", "high"]];
  const totals = { all: 3120, pronoun: 1404, proper: 721, nominal: 995 };
  const scored = (category, p) => [category, Math.round(p * totals[category]), totals[category], p, ...wilson(p, totals[category])];
  for (const [candidates, lift] of [["all", 0], ["preceding", 0.04], ["mention-heads", 0.11]]) {
    for (let at = 0; at < layers * heads; at++) {
      const star = at === 4 * heads + 3;
      const p = star ? 0.58 + lift : 0.04 + 0.3 * next() ** 2 + lift;
      for (const category of Object.keys(totals)) {
        heads_.push([candidates, Math.floor(at / heads), at % heads, ...scored(category, Math.min(0.95, p * (0.85 + 0.3 * next()))), ""]);
      }
    }
  }
  for (const [rule, p] of [["nearest", 0.27], ["head-match", 0.52], ["sieves", 0.69]]) {
    for (const category of Object.keys(totals)) rules.push([rule, ...scored(category, p * (0.9 + 0.2 * next()))]);
  }
  writeFileSync(join(folder, "coref.csv"), csv(heads_));
  writeFileSync(join(folder, "coref_baselines.csv"), csv(rules));
  return folder;
}

export function cluster(base, name, options = {}) {
  const { layers = 12, heads = 12, seed = 7 } = options;
  const next = random(seed + 6);
  const count = layers * heads;
  const centres = Array.from({ length: 7 }, (_, i) => [Math.cos(i * 0.9) * (20 + 4 * i), Math.sin(i * 0.9) * (14 + 3 * i)]);
  const points = Array.from({ length: count }, (_, at) => {
    const kind = Math.min(6, Math.floor(next() ** 1.6 * 7));
    const [x, y] = centres[kind];
    const layer = Math.floor(at / heads);
    return { kind, x: x + 12 * (next() + next() - 1) + layer, y: y + 9 * (next() + next() - 1) };
  });
  const folder = folderOf(base, name, "cluster", { tokens: 125873, rows: 125873, map: { relative_stress: 0.2143 }, mean_silhouette: 0.31, account: { sequences: 992 } }, options);
  const rows = points.map(({ kind, x, y }, at) => [Math.floor(at / heads), at % heads, kind, x * 900, y * 900, 0.7 - 0.8 * next() ** 2]);
  writeFileSync(join(folder, "clusters.csv"), csv([["layer", "head", "cluster", "x", "y", "silhouette"], ...rows]));
  const distances = [];
  for (const a of points) for (const b of points) distances.push(Math.hypot(a.x - b.x, a.y - b.y) * 900);
  writeNpy(join(folder, "head_distances.npy"), [count, count], distances, "<f8");
  return folder;
}

export function probe(base, name, options = {}) {
  const { layers = 12, heads = 12, seed = 7 } = options;
  const next = random(seed + 8);
  const folder = folderOf(base, name, "attention-probe", {}, { file: "en_ewt-ud-dev.conllu", ...options });
  const rows = [["probe", "parameters", "correct", "total", "uas", "low", "high", "correct_with_punct", "total_with_punct", "uas_with_punct"]];
  for (const [probe, parameters, uas] of [["right-branching", 0, 0.308], ["best offset", 0, 0.314], ["distance", 53761, 0.584], ["attention", 290, 0.612], ["words", 57890, 0.774]]) {
    rows.push([probe, parameters, Math.round(uas * 22086), 22086, uas, ...wilson(uas, 22086), Math.round(uas * 0.98 * 25147), 25147, uas * 0.98]);
  }
  writeFileSync(join(folder, "probes.csv"), csv(rows));
  writeNpy(join(folder, "probe_weights.npy"), [2, layers, heads], Array.from({ length: 2 * layers * heads }, () => (next() + next() + next() - 1.5) * 2));
  return folder;
}

export function evaluate(base, name, options = {}) {
  return folderOf(base, name, "evaluate", { evaluation: EVALUATION, masked_heads: ["L0H2", "L3H11"] }, { task: "mrpc", file: "dev.tsv", ...options });
}

export const MAKERS = { importance, ablate, mask, prune, patterns, syntax, coref, cluster, "attention-probe": probe, evaluate };
