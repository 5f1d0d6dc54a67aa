// What the page was given: see crates/bertology-report/src/viewer for the meaning and the layout in bytes.

import { computed, signal } from "@preact/signals";
import { Reader, array, document_ } from "../../common/data";

export interface Token {
  text: string;
  piece: string;
  id: number;
  special: boolean;
  sequence: number;
  word: number | null;
}

export interface Prediction {
  name: string;
  kind: "classes" | "labels" | "values" | "tokens";
  position: number | null;
  labels: string[];
  heads: [number, number][];
}

/** A text, or a pair of texts. */
export interface Text {
  texts: string[];
  tokens: Token[];
  truncated: number;
  maps: { kept: number | null; largestError: number; largestLost: number; meanLost: number };
  vectors: number[];
  predictions: Prediction[];
  notes: string[];
}

export interface Doc {
  generator: string;
  model: {
    name: string;
    family: string;
    causal: boolean;
    layers: number;
    heads: number;
    headDim: number;
    pruned: [number, number][];
  };
  layers: { layer: number; heads: number[]; scoreScale: number }[];
  importance: { source: string; values: number[] } | null;
  start: { layer: number; head: number; why: string } | null;
  texts: Text[];
}

export const doc = document_<Doc>();
export const causal = doc.model.causal;

/** The number of the text that is looked at. */
export const text = signal(0);
export const item = computed(() => doc.texts[text.value]);
export const tokens = computed(() => item.value.tokens);
export const n = computed(() => tokens.value.length);

/** The maps of one layer, as they lie in the page; a head is decoded when it is asked for. */
export class LayerMaps {
  readonly largest: Float32Array;
  readonly lost: Float32Array | null = null;
  readonly #steps: [Uint8Array, Uint8Array] | null = null;
  readonly #shares: Uint8Array;
  /** Where each query's weights begin, within a head's. */
  readonly #starts: Uint32Array;
  readonly #tokens: number;

  constructor(
    of: Text,
    readonly heads: number[],
    bytes: Uint8Array,
  ) {
    const n = of.tokens.length;
    const kept = of.maps.kept;
    /** Keys that a query may see. */
    const width = (query: number) => (causal ? query + 1 : n);
    this.#tokens = n;
    this.#starts = new Uint32Array(n + 1);
    for (let i = 0; i < n; i++) {
      this.#starts[i + 1] = this.#starts[i] + (kept === null ? width(i) : Math.min(kept, width(i)));
    }
    const reader = new Reader(bytes);
    const rows = heads.length * n;
    const entries = heads.length * this.#starts[n];
    this.largest = reader.f32(rows);
    if (kept !== null) {
      this.lost = reader.f32(rows);
      this.#steps = [reader.u8(entries), reader.u8(entries)];
    }
    this.#shares = reader.u8(entries);
    reader.end();
  }

  /** The map of the head at that place among the layer's, `[query, key]`. */
  decode(place: number): Float32Array {
    const n = this.#tokens;
    const map = new Float32Array(n * n);
    const base = place * this.#starts[n];
    for (let query = 0; query < n; query++) {
      const unit = this.largest[place * n + query] / 255;
      const from = base + this.#starts[query];
      const to = base + this.#starts[query + 1];
      let key = 0;
      for (let at = from; at < to; at++) {
        if (this.#steps) {
          key += this.#steps[0][at] + 256 * this.#steps[1][at];
          map[query * n + key] = this.#shares[at] * unit;
        } else {
          map[query * n + key++] = this.#shares[at] * unit;
        }
      }
    }
    return map;
  }
}

/** Queries and keys of one layer. */
export class LayerVectors {
  readonly #largest: [Float32Array, Float32Array];
  readonly #numbers: [Int8Array, Int8Array];
  readonly #width = doc.model.headDim;

  readonly #tokens: number;

  constructor(of: Text, heads: number, bytes: Uint8Array) {
    const reader = new Reader(bytes);
    this.#tokens = of.tokens.length;
    const rows = heads * this.#tokens;
    this.#largest = [reader.f32(rows), reader.f32(rows)];
    this.#numbers = [reader.i8(rows * this.#width), reader.i8(rows * this.#width)];
    reader.end();
  }

  #vector(side: 0 | 1, place: number, token: number): Float32Array {
    const row = place * this.#tokens + token;
    const unit = this.#largest[side][row] / 127;
    const vector = new Float32Array(this.#width);
    for (let i = 0; i < this.#width; i++) vector[i] = this.#numbers[side][row * this.#width + i] * unit;
    return vector;
  }

  query(place: number, token: number): Float32Array {
    return this.#vector(0, place, token);
  }
  key(place: number, token: number): Float32Array {
    return this.#vector(1, place, token);
  }
}

export async function readMaps(at: number, layer: number): Promise<LayerMaps> {
  const shown = doc.layers.find((shown) => shown.layer === layer);
  if (!shown) throw new Error(`this page does not show layer ${layer}`);
  return new LayerMaps(doc.texts[at], shown.heads, await array(`maps.${at}.${layer}`));
}

export async function readVectors(at: number, layer: number): Promise<LayerVectors> {
  const shown = doc.layers.find((shown) => shown.layer === layer);
  return new LayerVectors(doc.texts[at], shown?.heads.length ?? 0, await array(`vectors.${at}.${layer}`));
}

/** The numbers of a prediction: of the whole model, and without each head. */
export interface Outcome {
  prediction: Prediction;
  whole: Float32Array;
  without: Map<string, Float32Array>;
  effects: Map<string, number>;
}

export async function readOutcome(at: number, which: number): Promise<Outcome> {
  const prediction = doc.texts[at].predictions[which];
  const reader = new Reader(await array(`prediction.${at}.${which}`));
  const labels = prediction.labels.length;
  const whole = reader.f32(labels);
  const without = new Map<string, Float32Array>();
  const effects = new Map<string, number>();
  for (const [layer, head] of prediction.heads) without.set(`${layer}.${head}`, reader.f32(labels));
  const sizes = reader.f32(prediction.heads.length);
  prediction.heads.forEach(([layer, head], i) => effects.set(`${layer}.${head}`, sizes[i]));
  reader.end();
  return { prediction, whole, without, effects };
}

/** Whether the model itself has a head, shown here or not. */
export function hasHead(layer: number, head: number): boolean {
  return !doc.model.pruned.some(([l, h]) => l === layer && h === head);
}
