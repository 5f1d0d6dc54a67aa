// What is looked at, and the numbers for it.

import { batch, computed, effect, signal } from "@preact/signals";
import { inTurns, turn } from "../../common/schedule";
import {
  type LayerMaps,
  type LayerVectors,
  type Outcome,
  causal,
  doc,
  item,
  n,
  readMaps,
  readOutcome,
  readVectors,
  text,
} from "./model";
import { type Part, merge, pair, sideOf, unitsOf } from "./units";

export type View = "heads" | "model" | "matrix" | "neurons";
export type Mode = "each" | "mean" | "rollout";
export type Overlay = "none" | "importance" | "effect";

export interface Spot {
  side: "query" | "key";
  unit: number;
}

const first = doc.layers[0];
/** Every head that any layer shows. */
export const everyHead: ReadonlySet<number> = new Set(doc.layers.flatMap((shown) => shown.heads));

export const view = signal<View>("heads");
export const layer = signal(doc.start?.layer ?? first.layer);
export const head = signal(doc.start?.head ?? first.heads[0]);
/** Heads that are switched on, in every layer: one at first, since all at once are a tangle. */
export const active = signal<ReadonlySet<number>>(new Set([head.value]));
export const mode = signal<Mode>("each");
export const part = signal<Part>("all");
export const words = signal(false);
export const hideSpecial = signal(false);
export const overlay = signal<Overlay>("none");
/** Whether the prediction is shown without the head. */
export const masked = signal(false);
export const outcome = signal(0);
export const hover = signal<Spot | null>(null);
export const pinned = signal<readonly Spot[]>([]);
/** The cell under the pointer in the matrix. */
export const cell = signal<{ query: number; key: number } | null>(null);

export const shown = computed(() => doc.layers.find((shown) => shown.layer === layer.value) ?? first);
/** Heads of the layer that are shown and on. */
export const lit = computed(() => shown.value.heads.filter((head) => active.value.has(head)));
export const units = computed(() => unitsOf(words.value));
export const queries = computed(() => sideOf(units.value, part.value, "query", hideSpecial.value));
export const keys = computed(() => sideOf(units.value, part.value, "key", hideSpecial.value));
/** The tokens that are looked at: the one under the pointer, else those that are held. */
export const spots = computed<readonly Spot[]>(() => (hover.value ? [hover.value] : pinned.value));

// Layers of texts, unpacked as they are needed.

const layers = new Map<string, LayerMaps>();
const waiting = new Map<string, Promise<void>>();
/** Grows with every layer that is there. */
export const ready = signal(0);

export function need(layer: number): LayerMaps | null {
  const at = text.value;
  const name = `${at}.${layer}`;
  const found = layers.get(name);
  if (found) return found;
  if (!waiting.has(name)) {
    waiting.set(
      name,
      readMaps(at, layer).then((maps) => {
        layers.set(name, maps);
        ready.value += 1;
      }),
    );
  }
  return null;
}

/** A layer of the text that is looked at now. */
export async function needed(layer: number): Promise<LayerMaps> {
  const name = `${text.value}.${layer}`;
  const found = need(layer);
  if (found) return found;
  await waiting.get(name);
  return layers.get(name)!;
}

effect(() => {
  need(layer.value);
});

// Maps, decoded as they are needed; the latest are kept.

const keep = () => Math.max(24, Math.min(400, Math.floor(48e6 / (n.value * n.value * 4))));
const decoded = new Map<string, Float32Array>();

function remember(name: string, make: () => Float32Array): Float32Array {
  name = `${text.value}.${name}`;
  const found = decoded.get(name);
  if (found) {
    decoded.delete(name);
    decoded.set(name, found);
    return found;
  }
  const made = make();
  decoded.set(name, made);
  if (decoded.size > keep()) decoded.delete(decoded.keys().next().value!);
  return made;
}

/** The map of a head over tokens, `[query, key]`. */
function tokenMap(maps: LayerMaps, layer: number, head: number): Float32Array {
  return remember(`${layer}.${head}`, () => maps.decode(maps.heads.indexOf(head)));
}

/** The map of a head over the units that are shown; nothing while its layer is unpacked. */
export function mapOf(layer: number, head: number): Float32Array | null {
  ready.value;
  const maps = need(layer);
  if (!maps) return null;
  if (!words.value) return tokenMap(maps, layer, head);
  return remember(`${layer}.${head}.words`, () => merge(tokenMap(maps, layer, head), units.value));
}

/** The mean of the maps of the heads that are on. */
function meanOf(layer: number, heads: number[]): Float32Array | null {
  const maps = heads.map((head) => mapOf(layer, head));
  if (!maps.length || maps.some((map) => !map)) return null;
  return remember(`${layer}.mean.${heads.join(",")}.${words.value}`, () => {
    const sum = new Float32Array(maps[0]!.length);
    for (const map of maps) for (let i = 0; i < sum.length; i++) sum[i] += map![i] / maps.length;
    return sum;
  });
}

// Rollout (Abnar and Zuidema 2020): half the mean over heads and half the identity, multiplied from layer 0 up.

const rolled = new Map<number, Float32Array>();
let rolling: Promise<void> | null = null;
export const rollProgress = signal<number | null>(null);

/** Why there is no rollout, if so. */
export const noRollout: string | null = (() => {
  const whole = Array.from({ length: doc.model.layers }, (_, i) => i).every((layer) => {
    const shown = doc.layers.find((shown) => shown.layer === layer);
    const pruned = doc.model.pruned.filter(([l]) => l === layer).length;
    return (shown?.heads.length ?? 0) === doc.model.heads - pruned;
  });
  return whole ? null : "Rollout needs every layer and head, and this page does not have them all.";
})();

/** Computes the rollout of the text that is looked at, while it is. */
async function roll(): Promise<void> {
  const of = text.value;
  const size = n.value;
  const go = () => text.value === of;
  let before: Float32Array | null = null;
  for (const { layer, heads } of doc.layers) {
    const maps = await needed(layer);
    if (!go()) return;
    const n = size;
    const mixed = new Float32Array(n * n);
    await inTurns(heads.length, (i) => {
      const map = maps.decode(i);
      for (let at = 0; at < mixed.length; at++) mixed[at] += (0.5 * map[at]) / heads.length;
    }, go);
    for (let i = 0; i < n; i++) {
      // A layer without heads passes on what it gets; rows that were cut are filled to one.
      let sum = 0;
      for (let j = 0; j < n; j++) sum += mixed[i * n + j];
      if (sum > 0) for (let j = 0; j < n; j++) mixed[i * n + j] *= 0.5 / sum;
      mixed[i * n + i] += sum > 0 ? 0.5 : 1;
    }
    const product = new Float32Array(n * n);
    const lower: Float32Array | null = before;
    await inTurns(n, (i) => {
      if (!lower) {
        product.set(mixed.subarray(i * n, (i + 1) * n), i * n);
        return;
      }
      const row = product.subarray(i * n, (i + 1) * n);
      for (let k = 0; k < (causal ? i + 1 : n); k++) {
        const weight = mixed[i * n + k];
        if (weight === 0) continue;
        const under = lower.subarray(k * n, (k + 1) * n);
        for (let j = 0; j < n; j++) row[j] += weight * under[j];
      }
    }, go);
    if (!go()) return;
    rolled.set(layer, product);
    before = product;
    rollProgress.value = rolled.size / doc.layers.length;
    await turn();
  }
  rollProgress.value = null;
}

export const rollReady = signal(0);

function rolloutOf(layer: number): Float32Array | null {
  rollReady.value;
  const of = text.value;
  const map = rolled.get(layer);
  if (!map) {
    rolling ??= roll().then(() => {
      if (text.value === of) rollReady.value += 1;
    });
    return null;
  }
  return words.value ? remember(`${layer}.rollout.words`, () => merge(map, units.value)) : map;
}

/** One thing to draw: a head, or what stands for several. */
export interface Source {
  name: string;
  /** The head, or −1. */
  head: number;
  map: Float32Array;
}

export const sources = computed<Source[] | null>(() => {
  const at = layer.value;
  if (mode.value === "rollout") {
    const map = rolloutOf(at);
    return map && [{ name: `rollout up to layer ${at}`, head: -1, map }];
  }
  const heads = lit.value;
  if (mode.value === "mean") {
    if (!heads.length) return [];
    const map = meanOf(at, heads);
    return map && [{ name: `mean of ${heads.length} heads of layer ${at}`, head: -1, map }];
  }
  const found: Source[] = [];
  for (const head of heads) {
    const map = mapOf(at, head);
    if (!map) return null;
    found.push({ name: `layer ${at}, head ${head}`, head, map });
  }
  return found;
});

/** What the matrix shows: one head, or the mean or rollout. */
export const single = computed<Source | null>(() => {
  if (mode.value !== "each") return sources.value?.[0] ?? null;
  const map = mapOf(layer.value, head.value);
  return map && { name: `layer ${layer.value}, head ${head.value}`, head: head.value, map };
});

/** Whether a query can see a key. */
export function visible(query: number, key: number): boolean {
  return !causal || units.value[key].from < units.value[query].to;
}

// Queries and keys.

const vectors = new Map<string, LayerVectors>();
export const vectorsReady = signal(0);

export function vectorsOf(layer: number): LayerVectors | null {
  vectorsReady.value;
  const at = text.value;
  const name = `${at}.${layer}`;
  const found = vectors.get(name);
  if (!found && item.value.vectors.includes(layer)) {
    void readVectors(at, layer).then((read) => {
      if (vectors.has(name)) return;
      vectors.set(name, read);
      vectorsReady.value += 1;
    });
  }
  return found ?? null;
}

// Predictions.

export const outcomes = signal<Outcome[]>([]);
/** Whether any prediction is known without each head. */
export const hasEffects = computed(() => item.value.predictions.some((prediction) => prediction.heads.length > 0));

effect(() => {
  const at = text.value;
  void Promise.all(item.value.predictions.map((_, which) => readOutcome(at, which))).then((read) => {
    if (text.value === at) outcomes.value = read;
  });
});

/** The number by which a head is dimmed, 0 … 1; null without an overlay. */
export const bright = computed<((layer: number, head: number) => number) | null>(() => {
  if (overlay.value === "importance" && doc.importance) {
    const { values } = doc.importance;
    const high = Math.max(...values);
    const low = Math.min(...values);
    return (layer, head) => (values[layer * doc.model.heads + head] - low) / (high - low || 1);
  }
  const found = outcomes.value[outcome.value];
  if (overlay.value === "effect" && found) {
    const high = Math.max(...found.effects.values()) || 1;
    return (layer, head) => (found.effects.get(`${layer}.${head}`) ?? 0) / high;
  }
  return null;
});

// Changes.

/** So many texts keep what was unpacked of them. */
const TEXTS_KEPT = 3;
const latest: number[] = [];

/** Another text, seen as the one before: the same tab, layer and head. What does not fit it goes. */
export function showText(at: number): void {
  if (at === text.value || !doc.texts[at]) return;
  batch(() => {
    rolled.clear();
    rolling = null;
    rollProgress.value = null;
    outcomes.value = [];
    text.value = at;
    outcome.value = 0;
    if (!pair.value) part.value = "all";
    if (overlay.value === "effect" && !hasEffects.value) overlay.value = "none";
  });
}

effect(() => {
  const at = text.value;
  const old = latest.indexOf(at);
  if (old >= 0) latest.splice(old, 1);
  latest.push(at);
  if (latest.length <= TEXTS_KEPT) return;
  const gone = `${latest.shift()}.`;
  for (const kept of [layers, waiting, vectors, decoded]) {
    for (const name of [...kept.keys()]) if (name.startsWith(gone)) kept.delete(name);
  }
});

export function stepText(step: number): void {
  showText(Math.max(0, Math.min(doc.texts.length - 1, text.value + step)));
}

export function goTo(nextLayer: number, nextHead: number): void {
  batch(() => {
    const found = doc.layers.find((shown) => shown.layer === nextLayer);
    if (!found?.heads.length) return;
    layer.value = nextLayer;
    const alone = active.value.size === 1;
    head.value = found.heads.includes(nextHead) ? nextHead : found.heads[0];
    if (alone) active.value = new Set([head.value]);
  });
}

export function stepLayer(step: number): void {
  const at = doc.layers.findIndex((shown) => shown.layer === layer.value);
  const next = doc.layers[at + step];
  if (next) goTo(next.layer, head.value);
}

export function stepHead(step: number): void {
  const { heads } = shown.value;
  const at = heads.indexOf(head.value);
  goTo(layer.value, heads[(at + step + heads.length) % heads.length]);
}

export function toggleHead(at: number): void {
  const next = new Set(active.value);
  if (!next.delete(at)) next.add(at);
  batch(() => {
    active.value = next;
    head.value = at;
  });
}

/** Only this head; all of them, if it is alone already. */
export function isolate(at: number): void {
  batch(() => {
    const alone = active.value.size === 1 && active.value.has(at);
    active.value = alone ? everyHead : new Set([at]);
    head.value = at;
  });
}

export function pin(spot: Spot, more: boolean): void {
  const same = (other: Spot) => other.side === spot.side && other.unit === spot.unit;
  const held = pinned.value.some(same);
  const others = more ? pinned.value.filter((other) => other.side === spot.side && !same(other)) : [];
  pinned.value = held ? others : [...others, spot];
}

effect(() => {
  // Places mean something else when the units change.
  text.value;
  words.value;
  part.value;
  hideSpecial.value;
  batch(() => {
    hover.value = null;
    pinned.value = [];
    cell.value = null;
  });
});
