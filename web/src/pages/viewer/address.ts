// The address says what is looked at, `page.html#tab=heads&layer=3&head=5&text=2`: it opens there, and a copy of it
// shows the same.

import { batch, effect, signal } from "@preact/signals";
import { doc, text } from "./model";
import { type View, active, everyHead, goTo, head, layer, showText, view } from "./state";

const TABS: View[] = ["heads", "model", "matrix", "neurons"];
const KEYS = ["tab", "layer", "head", "text", "on"];

/** What the address asks for and this page does not have, as a sentence. */
export const wrong = signal<string | null>(null);

/** `0 to 11`, `0, 3 and 5`. */
function listed(numbers: readonly number[]): string {
  const last = numbers.at(-1);
  if (numbers.length > 2 && numbers.every((number, i) => number === numbers[0] + i)) return `${numbers[0]} to ${last}`;
  return numbers.length > 1 ? `${numbers.slice(0, -1).join(", ")} and ${last}` : numbers.join();
}

/** At most so much of a value is repeated. */
const quoted = (value: string) => `“${value.length > 24 ? `${value.slice(0, 24)}…` : value}”`;

/** Goes where an address asks for. What it does not say stays as it is, and so does what cannot be. */
function follow(hash: string): void {
  const asked = new URLSearchParams(hash.replace(/^#/, ""));
  const faults: string[] = [];
  for (const key of new Set(asked.keys())) {
    if (!KEYS.includes(key)) faults.push(`${quoted(key)} is unknown (known are ${KEYS.join(", ")})`);
    else if (asked.getAll(key).length > 1) faults.push(`${key} is given twice`);
  }
  const said = (key: string) => (asked.getAll(key).length === 1 ? asked.get(key) : null);
  /** One of these numbers. */
  const number = (key: string, there: readonly number[], where = "") => {
    const value = said(key);
    if (value === null) return null;
    const found = /^\d{1,9}$/.test(value) ? Number(value) : -1;
    if (there.includes(found)) return found;
    faults.push(`there is no ${key} ${quoted(value)}${where} (there is ${listed(there)})`);
    return null;
  };
  batch(() => {
    const tab = said("tab");
    if (tab !== null) {
      if (TABS.includes(tab as View)) view.value = tab as View;
      else faults.push(`there is no tab ${quoted(tab)} (there is ${TABS.join(", ")})`);
    }
    const nextText = number("text", [...doc.texts.keys()]);
    if (nextText !== null) showText(nextText);
    const layers = doc.layers.filter((shown) => shown.heads.length);
    const nextLayer = number("layer", layers.map((shown) => shown.layer)) ?? layer.value;
    const { heads } = layers.find((shown) => shown.layer === nextLayer)!;
    const nextHead = number("head", heads, ` in layer ${nextLayer}`);
    if (nextLayer !== layer.value || nextHead !== null) {
      goTo(nextLayer, nextHead ?? head.value);
      active.value = new Set([head.value]);
    }
    const on = said("on");
    if (on === "all") active.value = everyHead;
    else if (on === "none") active.value = new Set();
    else if (on !== null) {
      const found = on.split(",").map((value) => (/^\d{1,9}$/.test(value) ? Number(value) : -1));
      if (found.every((at) => everyHead.has(at))) active.value = new Set(found);
      else faults.push(`on cannot be ${quoted(on)} (it is all, none, or heads with commas between)`);
    }
  });
  wrong.value = faults.length ? `The address asks for what this page does not have: ${faults.join("; ")}.` : null;
}

/** The address of what is looked at. */
function current(): string {
  const parts = [`tab=${view.value}`, `layer=${layer.value}`, `head=${head.value}`];
  if (doc.texts.length > 1) parts.push(`text=${text.value}`);
  const on = active.value;
  if (on.size === everyHead.size && on.size > 1) parts.push("on=all");
  else if (on.size === 0) parts.push("on=none");
  else if (on.size > 1 || !on.has(head.value)) parts.push(`on=${[...on].sort((a, b) => a - b).join(",")}`);
  return `#${parts.join("&")}`;
}

/** Browsers take some hundred changes of the address in half a minute; whoever holds a key down makes more. */
const PAUSE = 150;

if (location.hash.length > 1) follow(location.hash);
addEventListener("hashchange", () => follow(location.hash));
let pending = 0;
effect(() => {
  const hash = current();
  clearTimeout(pending);
  pending = window.setTimeout(() => {
    if (location.hash === hash) return;
    try {
      history.replaceState(history.state, "", location.href.split("#")[0] + hash);
    } catch {
      // Within another page, as in a notebook, there is no address of its own to keep.
    }
  }, PAUSE);
});
