// What the rows and columns stand for: tokens, or words, of all or one of two texts.

import { computed } from "@preact/signals";
import { type Token, n, tokens } from "./model";

/** A token, or the tokens of a word. */
export interface Unit {
  /** What is shown. */
  text: string;
  /** What it is called at length. */
  name: string;
  /** Its tokens, one after the other. */
  from: number;
  to: number;
  special: boolean;
  sequence: number;
}

export type Part = "all" | "aa" | "ab" | "ba" | "bb";

export const pair = computed(() => tokens.value.some((token) => token.sequence === 1));

const single = computed<Unit[]>(() =>
  tokens.value.map((token, i) => ({
    text: token.text,
    name: token.text === token.piece ? `${token.text} (token ${i})` : `${token.text} (token ${i}, ${token.piece})`,
    from: i,
    to: i + 1,
    special: token.special,
    sequence: token.sequence,
  })),
);

function words(tokens: Token[], single: Unit[]): Unit[] {
  const units: Unit[] = [];
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i];
    const last = units.at(-1);
    const before = i > 0 ? tokens[i - 1] : null;
    const same =
      last && before && token.word !== null && before.word === token.word && before.sequence === token.sequence;
    if (same) {
      last.to = i + 1;
      last.text += token.text.replace(/^##/, "");
      last.name = `${last.text} (tokens ${last.from}–${i})`;
    } else {
      units.push({ ...single[i], text: token.text.replace(/^##(?=.)/, ""), name: `${token.text} (token ${i})` });
    }
  }
  return units;
}

const merged = computed(() => words(tokens.value, single.value));

/** Whether any word has more than one token. */
export const canMerge = computed(() => merged.value.length < n.value);

export function unitsOf(mergeWords: boolean): Unit[] {
  return mergeWords ? merged.value : single.value;
}

/** A map over tokens as one over words: attention to a word is the sum over its tokens, attention from a word
 * the mean. */
export function merge(map: Float32Array, units: Unit[]): Float32Array {
  const size = units.length;
  // As many as there are tokens.
  const n = Math.sqrt(map.length);
  if (size === n) return map;
  const result = new Float32Array(size * size);
  for (let i = 0; i < size; i++) {
    const { from, to } = units[i];
    for (let row = from; row < to; row++) {
      for (let j = 0; j < size; j++) {
        let sum = 0;
        for (let key = units[j].from; key < units[j].to; key++) sum += map[row * n + key];
        result[i * size + j] += sum / (to - from);
      }
    }
  }
  return result;
}

/** The units of one side that a part of the map has. */
export function sideOf(units: Unit[], part: Part, side: "query" | "key", hideSpecial: boolean): number[] {
  const text = part === "all" ? null : part[side === "query" ? 0 : 1] === "a" ? 0 : 1;
  const kept: number[] = [];
  units.forEach((unit, i) => {
    if (text !== null && unit.sequence !== text) return;
    if (hideSpecial && unit.special) return;
    kept.push(i);
  });
  return kept;
}
