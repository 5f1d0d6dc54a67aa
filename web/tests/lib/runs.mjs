// Run folders, made by the command on the embedded model: what a page shows here is what commands write.

import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bertology, root } from "./bertology.mjs";

/** The shape of the embedded model. */
export const LAYERS = 4;
export const HEADS = 4;

/** Clusters that are asked for: more kinds of points than the model has layers. */
export const CLUSTERS = 6;

const MODEL = join(root, "assets/tiny-bert");
const TREES = join(root, "assets/grammar/dev.conllu");
const TEXTS = join(root, "assets/grammar/dev.txt");
const LABELLED = ["--task", "cola", "--data", join(root, "assets/grammar/CoLA"), "--limit", "60"];

/** The arguments of each command behind the model. */
const ARGUMENTS = {
  importance: LABELLED,
  ablate: LABELLED,
  mask: LABELLED,
  prune: LABELLED,
  patterns: [...LABELLED, "--gradients", "--gradient-times-attention"],
  syntax: ["--conllu", TREES, "--limit", "60"],
  coref: ["--conllu", TREES, "--limit", "60"],
  distance: ["--conllu", TREES, "--limit", "60"],
  cluster: ["--text", TEXTS, "--limit", "60", "--clusters", String(CLUSTERS)],
  "edge-probe": [
    ...["train", "dev"].flatMap((part) => [`--${part}`, join(root, `assets/grammar/edge/coreference-${part}.jsonl`)]),
    ..."--task coreference --layer0 word-only --decide softmax --seeds 2 --hidden 32 --random-encoder 1".split(" "),
  ],
  evaluate: [...LABELLED, "--heads", "0.2", "--heads", "3.1"],
};

/** A run of a command in a folder of its name, or of the name given. */
export function runOf(base, command, name = command, model = MODEL, more = []) {
  const folder = join(base, name);
  bertology(command, model, ...ARGUMENTS[command], ...more, "--output", folder, "--quiet");
  return folder;
}

/** Edge probes of four tasks. */
export const suite = (base) => join(base, "demo", "edge-probe");

/** One folder a command; attention probes take long to train, so theirs is one that was kept. */
export function makeAll(base) {
  bertology("demo", "edge-probe", "--output", join(base, "demo"), "--quiet");
  for (const command of Object.keys(ARGUMENTS)) runOf(base, command);
  const kept = join(root, "crates/bertology-run/tests/folders/attention-probe");
  cpSync(kept, join(base, "attention-probe"), { recursive: true });
  bertology("report", join(base, "attention-probe"), "--quiet");
}

export const COMMANDS = [...Object.keys(ARGUMENTS), "attention-probe"];

/** The same folder under other names of model, data and label, as users may have given them. */
export function renamed(base, from, to, name) {
  const folder = join(base, to);
  cpSync(join(base, from), folder, { recursive: true });
  const file = join(folder, "run.json");
  const record = JSON.parse(readFileSync(file, "utf8"));
  record.model.name = name;
  record.data.file.path = name;
  record.options.data = name;
  record.data.labels = [`label ${name}`];
  writeFileSync(file, JSON.stringify(record));
  bertology("report", folder, "--quiet");
  return folder;
}
