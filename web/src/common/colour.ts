// Colours that stay apart without full colour vision.
//
// Scales of magnitude change in lightness from end to end; signed values go from blue to orange; heads have
// Okabe and Ito's eight colours, and beyond eight a stroke and a shape of their own besides their number.

import type { Theme } from "./theme";

type Rgb = [number, number, number];

function rgb(hex: string): Rgb {
  const n = parseInt(hex.slice(1), 16);
  return [n >> 16, (n >> 8) & 255, n & 255];
}

function ramp(stops: string[]): Uint8ClampedArray {
  const colours = stops.map(rgb);
  const table = new Uint8ClampedArray(256 * 3);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (colours.length - 1);
    const low = Math.min(Math.floor(at), colours.length - 2);
    for (let c = 0; c < 3; c++) {
      table[i * 3 + c] = colours[low][c] + (colours[low + 1][c] - colours[low][c]) * (at - low);
    }
  }
  return table;
}

const MAGNITUDE: Record<Theme, Uint8ClampedArray> = {
  light: ramp(["#f4f6f9", "#cfe3ec", "#8fc4d3", "#4a9dba", "#1f6f9e", "#1b4480", "#1a1f4f"]),
  dark: ramp(["#171c26", "#1f3a5f", "#1f6480", "#2a9083", "#6cba6b", "#c5d957", "#fdf3b0"]),
};
const SIGNED: Record<Theme, Uint8ClampedArray> = {
  light: ramp(["#0b4f8a", "#4a9dcb", "#b9d9ea", "#f7f8fa", "#fbd3a5", "#e0862c", "#8f4300"]),
  dark: ramp(["#9bd3f7", "#3f8fc4", "#1f4468", "#171c26", "#5e3a14", "#cc7a22", "#ffcf94"]),
};

/** 256 colours for 0 … 1, three bytes each. */
export function magnitudes(theme: Theme): Uint8ClampedArray {
  return MAGNITUDE[theme];
}

/** 256 colours for −1 … 1, three bytes each. */
export function signed(theme: Theme): Uint8ClampedArray {
  return SIGNED[theme];
}

/** The colour of a share of the scale, for CSS. */
export function css(table: Uint8ClampedArray, share: number): string {
  const i = Math.max(0, Math.min(255, Math.round(share * 255))) * 3;
  return `rgb(${table[i]} ${table[i + 1]} ${table[i + 2]})`;
}

/** Black or white, whichever can be read on that colour. */
export function ink(table: Uint8ClampedArray, share: number): string {
  const i = Math.max(0, Math.min(255, Math.round(share * 255))) * 3;
  const light = 0.299 * table[i] + 0.587 * table[i + 1] + 0.114 * table[i + 2];
  return light > 140 ? "#10151d" : "#f5f8fc";
}

const HEADS: Record<Theme, string[]> = {
  light: ["#0072b2", "#d55e00", "#009e73", "#c4679c", "#b88700", "#3aa0dc", "#7a5195", "#5b6675"],
  dark: ["#4aa8e8", "#f08a3c", "#2fc49a", "#e89cc8", "#e6b93f", "#9bd3f7", "#b797dd", "#aab4c2"],
};

/** The colour of a head, the same in every layer. */
export function headColour(head: number, theme: Theme): string {
  return HEADS[theme][head % 8];
}

/** The stroke of a head: heads that share a colour differ in it. */
export function headDash(head: number): number[] {
  return [[], [7, 4], [2, 4], [10, 4, 2, 4]][Math.floor(head / 8) % 4];
}

/** The shape of a head's tile, as a class. */
export function headShape(head: number): string {
  return ["square", "round", "cut", "leaf"][Math.floor(head / 8) % 4];
}
