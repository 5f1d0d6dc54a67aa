// What the page's words mean, for people who meet them for the first time.

import type { ComponentChildren } from "preact";
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { plural } from "../../common/format";
import { causal, doc, item, tokens } from "./model";

export type Word = "token" | "layer" | "head" | "query" | "key" | "weight" | "special" | "score" | "worth";

/** The word that is explained; "" for all of them, null while nothing is. */
const asked = signal<Word | "" | null>(null);

interface Entry {
  id: Word;
  name: string;
  /** In one sentence. */
  brief: string;
  more: string;
}

const MARKS: Record<string, string> = {
  "[CLS]": "[CLS] stands in front of the text, and a classifier reads its answer from there",
  "[SEP]": "[SEP] closes a text",
  "[MASK]": "[MASK] is a gap that the model fills",
};

function entries(): Entry[] {
  const list = tokens.value;
  const special = [...new Set(list.filter((token) => token.special).map((token) => token.text))];
  const pieces = list.some((token) => token.text.startsWith("##"));
  const found: Entry[] = [
    {
      id: "token",
      name: "Token",
      brief: "A piece of the text as the model reads it: a word, a part of a word, or a mark.",
      more: pieces ? "## in front of a piece says that it goes on with the word before it." : "",
    },
    {
      id: "layer",
      name: "Layer",
      brief: `One of the ${doc.model.layers} steps in which the model works, one after the other.`,
      more: "Each begins with what the step before it made of every token.",
    },
    {
      id: "head",
      name: "Head",
      brief: `One of the parts of a layer, ${plural(doc.model.heads, "head")} in each, which work side by side.`,
      more: "For every token, each head decides for itself which tokens it looks at.",
    },
    {
      id: "query",
      name: "Query",
      brief: "The token that looks, on the left.",
      more: "Also the list of numbers that the head makes of it: what it looks for.",
    },
    {
      id: "key",
      name: "Key",
      brief: "The token that is looked at, on the right.",
      more: "Also the list of numbers that the head makes of it: what there is to find.",
    },
    {
      id: "weight",
      name: "Weight, or attention probability",
      brief: "How much of what a head takes over for a query comes from a key: a number from 0 to 1.",
      more: `The weights of a query add up to 1 over all keys${causal ? " that it sees: in this model itself and the tokens before it" : ""}.`,
    },
    {
      id: "score",
      name: "Score and softmax",
      brief: "The numbers of query and key, multiplied in pairs and added up: the larger, the better they match.",
      more: "Softmax turns the scores of a query into its weights, which are between 0 and 1 and add up to 1.",
    },
    {
      id: "worth",
      name: "What a head is worth here",
      brief: "How much the prediction changes when the head is left out.",
      more: "A strong weight alone does not say that the prediction depends on it.",
    },
  ];
  if (special.length) {
    const known = special.map((name) => MARKS[name]).filter(Boolean);
    const named = special.slice(0, 6).join(", ");
    found.splice(6, 0, {
      id: "special",
      name: `Special tokens: ${named}`,
      brief: "Tokens that are no words: they mark where texts begin, end or have a gap.",
      more: `${known.length ? `${known.join("; ")}. ` : ""}Heads often look at them when they find nothing else to look at.`,
    });
  }
  return found;
}

/** A word with what it means: pointed at in one sentence, clicked at length. */
export function Term(props: { word: Word; id?: string; children: ComponentChildren }) {
  const entry = entries().find((entry) => entry.id === props.word);
  if (!entry) return <span id={props.id}>{props.children}</span>;
  return (
    <button type="button" class="term" id={props.id} title={entry.brief} onClick={() => (asked.value = props.word)}>
      {props.children}
    </button>
  );
}

export function HelpButton() {
  return (
    <button type="button" class="button help-button" onClick={() => (asked.value = "")}>
      What is this?
    </button>
  );
}

/** Why the page opened where it did. */
export function opening(): string | null {
  const { start } = doc;
  return start && `The page opens with layer ${start.layer}, head ${start.head}: the head ${start.why}.`;
}

export function Help() {
  const box = useRef<HTMLDialogElement>(null);
  const word = asked.value;
  useEffect(() => {
    const dialog = box.current;
    if (!dialog || word === null) return;
    if (!dialog.open) dialog.showModal();
    dialog.querySelector(`[data-word="${word}"]`)?.scrollIntoView({ block: "nearest" });
  }, [word]);
  if (word === null) return null;
  const several = doc.texts.length > 1;
  return (
    <dialog
      class="help"
      aria-labelledby="help-title"
      ref={box}
      onClose={() => (asked.value = null)}
      onClick={(event) => event.target === box.current && box.current?.close()}
    >
      <div class="help-body">
        <div class="help-head">
          <h2 id="help-title">What is this?</h2>
          <button type="button" class="button icon" aria-label="Close" onClick={() => box.current?.close()}>
            ×
          </button>
        </div>
        <p>
          A language model reads a text by letting its tokens look at each other. This page shows for each of its heads
          which token looks at which, and how much{item.value.predictions.length ? ", and what the model says of the text" : ""}.
        </p>
        <p>
          {opening()} Choose another layer or head above, or with the arrow keys; “all” shows all heads of a layer at
          once. Point at a token to follow it alone.
          {several ? " Another text is chosen above, or with N and P." : ""}
        </p>
        <dl>
          {entries().map((entry) => (
            <div key={entry.id} data-word={entry.id} class={entry.id === word ? "asked" : ""}>
              <dt>{entry.name}</dt>
              <dd>
                {entry.brief} {entry.more}
              </dd>
            </div>
          ))}
        </dl>
        <p class="muted">
          Layers, heads and tokens{several ? ", and texts" : ""} are counted from 0. The address of this page names the tab,
          the layer and the head that are shown{several ? ", and the text" : ""}: whoever opens it sees the same.
        </p>
      </div>
    </dialog>
  );
}
