// Pages of any size in the format of the crate bertology-report, without a model: what heads of BERT are known to
// do, with some noise. The layout is written down here a second time, so that the page's reader has two writers.

import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { deflateRawSync } from "node:zlib";

const template = join(dirname(fileURLToPath(import.meta.url)), "../../../crates/bertology-report/pages/viewer.html");

/** Repeatable numbers in [0, 1). */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const WORDS = (
  "the old harbour town had slept through most of winter when a small ship came in from north carrying letters " +
  "nobody expected and people who knew each other only by name walked down to meet it"
).split(" ");

function makeTokens(n, pair) {
  const tokens = [];
  const word = (text, at, sequence, special = false, piece = text) => ({
    text,
    piece,
    id: 1000 + tokens.length,
    special,
    sequence,
    word: special ? null : at,
  });
  const half = pair ? Math.floor(n / 2) : n - 1;
  tokens.push(word("[CLS]", null, 0, true));
  for (let i = 1; i < n - 1; i++) {
    const sequence = pair && i > half ? 1 : 0;
    if (pair && i === half) tokens.push(word("[SEP]", null, 0, true));
    else if (i % 9 === 5) tokens.push(word("##ing", tokens.at(-1).word, sequence));
    else tokens.push(word(WORDS[i % WORDS.length], i, sequence));
  }
  tokens.push(word("[SEP]", null, pair ? 1 : 0, true));
  return tokens;
}

/** The map of a head: to the token before, after, itself, the separators, one word, or everywhere. */
function makeMap(n, causal, kind, noise, next) {
  const map = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const width = causal ? i + 1 : n;
    let sum = 0;
    for (let j = 0; j < width; j++) {
      let weight = noise * (0.2 + next());
      const distance = j - i;
      if (kind === 0 && distance === -1) weight += 1;
      if (kind === 1 && distance === (causal ? -2 : 1)) weight += 1;
      if (kind === 2 && (j === 0 || j === n - 1)) weight += 0.8;
      if (kind === 3) weight += Math.exp(-Math.abs(distance) / 3);
      if (kind === 4 && j % 7 === i % 7) weight += 0.5;
      if (kind === 5) weight += 0.02;
      map[i * n + j] = weight;
      sum += weight;
    }
    for (let j = 0; j < width; j++) map[i * n + j] /= sum;
  }
  return map;
}

const floats = (values) => Buffer.from(Float32Array.from(values).buffer);

function packMap(map, n, causal, kept) {
  const parts = { largest: [], lost: [], low: [], high: [], shares: [] };
  for (let i = 0; i < n; i++) {
    const width = causal ? i + 1 : n;
    const row = map.subarray(i * n, i * n + width);
    const top = Math.max(...row);
    parts.largest.push(top);
    let keys = [...row.keys()];
    if (kept !== null) {
      keys.sort((a, b) => row[b] - row[a] || a - b);
      parts.lost.push(keys.slice(kept).reduce((sum, key) => sum + row[key], 0));
      keys = keys.slice(0, kept).sort((a, b) => a - b);
      let before = 0;
      for (const key of keys) {
        parts.low.push((key - before) & 255);
        parts.high.push((key - before) >> 8);
        before = key;
      }
    }
    for (const key of keys) parts.shares.push(Math.round((row[key] / top) * 255));
  }
  return [floats(parts.largest), floats(parts.lost), Buffer.from(parts.low), Buffer.from(parts.high), Buffer.from(parts.shares)];
}

/** Each part of all heads, one part after the other. */
function packMaps(packed) {
  return Buffer.concat([0, 1, 2, 3, 4].flatMap((part) => packed.map((parts) => parts[part])));
}

function packVectors(heads, n, width, next) {
  const count = heads * n;
  const numbers = () => Buffer.from(Int8Array.from({ length: count * width }, () => Math.round((next() * 2 - 1) * 127)).buffer);
  const largest = () => floats(Array.from({ length: count }, () => 1 + next()));
  return Buffer.concat([largest(), largest(), numbers(), numbers()]);
}

const escape = (json) =>
  json.replace(/[<>&\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** Writes a page; gives what is in it. */
export function make(file, options = {}) {
  const {
    layers = 12,
    heads = 12,
    n = 128,
    headDim = 64,
    causal = false,
    pair = true,
    kept = null,
    vectors = [0],
    seed = 7,
    name = "made of numbers",
    labels = ["acceptable", "unacceptable"],
    tokens = makeTokens(n, pair),
    pruned = [],
    different = Infinity,
    /** How many tokens each further text has. */
    more = [],
    start = null,
  } = options;
  const next = random(seed);
  const there = (layer) => [...Array(heads).keys()].filter((head) => !pruned.some(([l, h]) => l === layer && h === head));
  const shown = [...Array(layers).keys()].map((layer) => ({ layer, heads: there(layer), scoreScale: 1 / Math.sqrt(headDim) }));
  const left = shown.flatMap(({ layer, heads }) => heads.map((head) => [layer, head]));
  const arrays = [];
  /** What a page holds of a text of these tokens; its arrays go to the others. */
  const makeText = (at, tokens) => {
    const n = tokens.length;
    const distinct = [];
    const all = [];
    for (const { layer, heads: own } of shown) {
      const made = own.map((head) => {
        const kind = (layer * 5 + head + at) % 6;
        const known = distinct.length >= different ? distinct[(layer * heads + head) % different] : null;
        if (known) return known;
        const map = makeMap(n, causal, kind, 0.002 + 0.02 * next(), next);
        distinct.push({ map, packed: packMap(map, n, causal, kept) });
        return distinct.at(-1);
      });
      all.push(made.map(({ map }) => map));
      arrays.push([`maps.${at}.${layer}`, packMaps(made.map(({ packed }) => packed))]);
    }
    for (const layer of vectors) {
      arrays.push([`vectors.${at}.${layer}`, packVectors(shown[layer].heads.length, n, headDim, next)]);
    }
    const values = [0.91, 0.09];
    const effects = [];
    for (const _ of left) {
      const p = Math.min(0.99, Math.max(0.02, 0.91 - 0.5 * next() ** 6 + 0.04 * next()));
      values.push(p, 1 - p);
      effects.push(0.91 * Math.log(0.91 / p) + 0.09 * Math.log(0.09 / (1 - p)));
    }
    arrays.push([`prediction.${at}.0`, floats([...values, ...effects])]);
    const text = {
      texts: [tokens.filter((token) => !token.special).map((token) => token.text).join(" ")],
      tokens,
      truncated: 0,
      maps: { kept, largestError: 0.002, largestLost: kept === null ? 0 : 0.3, meanLost: kept === null ? 0 : 0.1 },
      vectors,
      predictions: [{ name: "the class of the text", kind: "classes", position: null, labels, heads: left }],
      notes: [],
    };
    return { text, maps: all, values, effects };
  };
  const made = [tokens, ...more.map((n) => makeTokens(n, false))].map((tokens, at) => makeText(at, tokens));
  const [{ maps, values, effects }] = made;
  const importance = Array.from({ length: layers * heads }, () => next() ** 2);
  const document = {
    page: "viewer",
    version: 2,
    generator: "made by a test",
    model: { name, family: causal ? "GPT-2" : "BERT", causal, layers, heads, headDim, pruned },
    layers: shown,
    importance: { source: "made", values: importance },
    start,
    texts: made.map(({ text }) => text),
  };
  const data = [`<script type="application/json" id="data">${escape(JSON.stringify(document))}</script>`];
  for (const [id, bytes] of arrays) {
    const text = deflateRawSync(bytes).toString("base64");
    data.push(`<script type="application/octet-stream" id="array-${id}">${text}</script>`);
  }
  const html = readFileSync(template, "utf8")
    .replace("<!--bertology:title-->", () => "made")
    .replace("<!--bertology:data-->", () => data.join("\n"));
  writeFileSync(file, html);
  return { maps, texts: made, tokens, importance, values, effects, left, bytes: Buffer.byteLength(html) };
}
