// The attention viewer.

import { render } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Bar, Segments, Select, Switch } from "../../common/controls";
import { headColour, headShape } from "../../common/colour";
import { percent, plural } from "../../common/format";
import { theme } from "../../common/theme";
import { wrong } from "./address";
import { Aside } from "./aside";
import { HeadView } from "./heads";
import { Help, HelpButton, Term, opening } from "./help";
import { MatrixView } from "./matrix";
import { causal, doc, item, n, text, tokens } from "./model";
import { ModelView } from "./models";
import { NeuronView } from "./neurons";
import {
  type Mode,
  type Overlay,
  type View,
  active,
  bright,
  everyHead,
  goTo,
  hasEffects,
  head,
  hideSpecial,
  isolate,
  layer,
  lit,
  masked,
  mode,
  noRollout,
  overlay,
  part,
  pinned,
  rollProgress,
  showText,
  shown,
  sources,
  stepHead,
  stepLayer,
  stepText,
  toggleHead,
  view,
  words,
} from "./state";
import { type Part, canMerge, pair } from "./units";

const { model } = doc;

function Tiles() {
  const each = mode.value === "each";
  const one = view.value === "matrix" || view.value === "neurons";
  const dim = bright.value;
  const row = useRef<HTMLDivElement>(null);
  const all = shown.value.heads.every((head) => active.value.has(head));
  return (
    <div class="tiles-row">
      <span class="name">
        <Term word="head" id="tiles-name">
          {one ? "Head" : "Heads"}
        </Term>
      </span>
      <div class="tiles" role="group" aria-labelledby="tiles-name" ref={row}>
        {shown.value.heads.map((at) => {
          const on = one && each ? head.value === at : active.value.has(at);
          const kept = dim ? dim(layer.value, at) : 1;
          const hint = one ? "" : " · double click or I: only this one";
          return (
            <button
              key={at}
              type="button"
              class={`tile ${headShape(at)} ${at === head.value ? "here" : ""}`}
              aria-pressed={on}
              aria-label={`head ${at}`}
              title={`layer ${layer.value}, head ${at}${hint}`}
              data-head={at}
              style={{ "--colour": headColour(at, theme.value), "--kept": String(0.25 + 0.75 * kept) }}
              onClick={() => (one && each ? goTo(layer.value, at) : toggleHead(at))}
              onDblClick={() => !(one && each) && isolate(at)}
              onKeyDown={(event) => {
                if (event.key.toLowerCase() === "i" && !one) isolate(at);
              }}
            >
              {at}
            </button>
          );
        })}
        {!one && (
          <button
            type="button"
            class="button small"
            title={all ? `Only head ${head.value}` : "All heads of the layer at once"}
            onClick={() => {
              active.value = all ? new Set([head.value]) : everyHead;
            }}
          >
            {all ? "one" : "all"}
          </button>
        )}
      </div>
    </div>
  );
}

function LayerStepper() {
  const at = doc.layers.findIndex((shown) => shown.layer === layer.value);
  return (
    <div class="control first" role="group" aria-label="Layer">
      <span class="name">
        <Term word="layer">Layer</Term>
      </span>
      <button
        type="button"
        class="button icon"
        aria-label="Previous layer"
        disabled={at <= 0}
        onClick={() => stepLayer(-1)}
      >
        ‹
      </button>
      <select
        class="button number layer-select"
        aria-label="Layer"
        value={String(layer.value)}
        onChange={(event) => goTo(Number(event.currentTarget.value), head.value)}
      >
        {doc.layers.map((shown) => (
          <option key={shown.layer} value={String(shown.layer)} disabled={!shown.heads.length}>
            {shown.layer}
          </option>
        ))}
      </select>
      <button
        type="button"
        class="button icon"
        aria-label="Next layer"
        disabled={at >= doc.layers.length - 1}
        onClick={() => stepLayer(1)}
      >
        ›
      </button>
    </div>
  );
}

/** A text in a list: its number and its first words. */
function named(at: number): string {
  const words = doc.texts[at].texts.join(" | ");
  return `${at} · ${words.length > 70 ? `${words.slice(0, 69)}…` : words}`;
}

/** Which of several texts. */
function TextChooser() {
  const at = text.value;
  return (
    <div class="control texts" role="group" aria-label="Text">
      <span class="name">Text</span>
      <button type="button" class="button icon" aria-label="Previous text" title="P" disabled={at <= 0} onClick={() => stepText(-1)}>
        ‹
      </button>
      <select
        class="button text-select"
        aria-label={`Text, 0 to ${doc.texts.length - 1}`}
        value={String(at)}
        onChange={(event) => showText(Number(event.currentTarget.value))}
      >
        {doc.texts.map((_, i) => (
          <option key={i} value={String(i)}>
            {named(i)}
          </option>
        ))}
      </select>
      <button
        type="button"
        class="button icon"
        aria-label="Next text"
        title="N"
        disabled={at >= doc.texts.length - 1}
        onClick={() => stepText(1)}
      >
        ›
      </button>
    </div>
  );
}

const PARTS: { value: Part; name: string; title: string }[] = [
  { value: "all", name: "All", title: "Both texts" },
  { value: "aa", name: "A→A", title: "From the first text to itself" },
  { value: "ab", name: "A→B", title: "From the first text to the second" },
  { value: "ba", name: "B→A", title: "From the second text to the first" },
  { value: "bb", name: "B→B", title: "From the second text to itself" },
];

function Tools() {
  const special = tokens.value.some((token) => token.special);
  const overlays: { value: Overlay; name: string; disabled?: boolean }[] = [{ value: "none", name: "no dimming" }];
  if (doc.importance) overlays.push({ value: "importance", name: "dim by importance" });
  if (hasEffects.value) overlays.push({ value: "effect", name: "dim by worth here" });
  const neurons = view.value === "neurons";
  return (
    <div class="tools">
      {doc.texts.length > 1 && <TextChooser />}
      {view.value !== "model" && <LayerStepper />}
      {view.value !== "model" && <Tiles />}
      {(view.value === "heads" || view.value === "matrix") && (
        <Select<Mode>
          class="first"
          label="Show"
          choices={[
            { value: "each", name: view.value === "matrix" ? "one head" : "each head" },
            { value: "mean", name: "mean of heads" },
            { value: "rollout", name: "rollout", disabled: noRollout !== null },
          ]}
          value={mode.value}
          onChange={(value) => (mode.value = value)}
        />
      )}
      {pair.value && !neurons && (
        <Segments<Part>
          label="Which text attends to which"
          choices={causal ? PARTS.filter((part) => part.value !== "ab") : PARTS}
          value={part.value}
          onChange={(value) => (part.value = value)}
        />
      )}
      {overlays.length > 1 && view.value !== "neurons" && (
        <Select<Overlay>
          label="Dim heads by"
          choices={overlays}
          value={overlay.value}
          onChange={(value) => (overlay.value = value)}
        />
      )}
      {!neurons && canMerge.value && (
        <Switch
          value={words.value}
          onChange={(value) => (words.value = value)}
          title="Attention to a word is the sum over its tokens, from a word the mean"
        >
          Words
        </Switch>
      )}
      {!neurons && special && (
        <Switch
          value={hideSpecial.value}
          onChange={(value) => (hideSpecial.value = value)}
          title="Their weights stay where they are: rows are not brought to a sum of 1 again"
        >
          Hide special tokens
        </Switch>
      )}
    </div>
  );
}

function Notes() {
  const { maps, truncated } = item.value;
  const several = doc.texts.length > 1;
  const notes: string[] = [`Layers, heads${several ? ", tokens and texts" : " and tokens"} are counted from 0.`];
  const opened = opening();
  if (opened) notes.push(opened);
  const { kept, largestError, largestLost, meanLost } = maps;
  const error = largestError < 1e-9 ? "0" : largestError.toPrecision(1);
  if (kept === null) {
    notes.push(`Weights have 8 bits, scaled to the largest of their row: off by at most ${error}.`);
  } else {
    notes.push(
      `Of each row the ${kept} largest weights are kept, off by at most ${error}; the others are drawn as 0 and hold ${percent(meanLost)} of all attention, ${percent(largestLost)} at most in a row.`,
    );
  }
  if (words.value) notes.push("To a word: the sum over its tokens; from a word: the mean.");
  if (hideSpecial.value || part.value !== "all") notes.push("Rows are not brought to a sum of 1 again.");
  if (mode.value === "rollout") {
    notes.push("Rollout (Abnar and Zuidema 2020): half the mean over heads, half the identity, multiplied from layer 0 up; rows are first brought to a sum of 1.");
  }
  if (view.value === "neurons") {
    notes.push("Queries and keys have 8 bits each, so scores are off in the third digit; the softmax is the model's own.");
  }
  if (truncated) notes.push(`${plural(truncated, "token")} of the text were cut off.`);
  return <footer class="notes">{[...notes, ...item.value.notes].join(" ")}</footer>;
}

function keyboard(event: KeyboardEvent): void {
  const target = event.target as HTMLElement;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (target.closest("select, input, textarea, dialog")) return;
  const jump: Record<string, View> = { "1": "heads", "2": "model", "3": "matrix", "4": "neurons" };
  if (event.key === "ArrowLeft") stepHead(-1);
  else if (event.key === "ArrowRight") stepHead(1);
  else if (event.key === "ArrowUp") stepLayer(-1);
  else if (event.key === "ArrowDown") stepLayer(1);
  else if (event.key === "m") masked.value = !masked.value;
  else if (event.key === "w" && canMerge.value) words.value = !words.value;
  else if (event.key === "n") stepText(1);
  else if (event.key === "p") stepText(-1);
  else if (event.key === "Escape") pinned.value = [];
  else if (jump[event.key]) view.value = jump[event.key];
  else return;
  event.preventDefault();
}

function App() {
  useEffect(() => {
    addEventListener("keydown", keyboard);
    return () => removeEventListener("keydown", keyboard);
  }, []);
  const heads = doc.layers.reduce((sum, shown) => sum + shown.heads.length, 0);
  const facts = [
    model.family,
    `${plural(doc.layers.length, "layer")}, ${plural(heads, "head")}`,
    doc.texts.length > 1 ? plural(doc.texts.length, "text") : "",
    plural(n.value, "token"),
    causal ? "causal" : "",
  ];
  const progress = rollProgress.value;
  return (
    <div class="app">
      <Bar title={model.name} facts={facts.filter(Boolean).join(" · ")}>
        <Segments<View>
          label="View"
          tabs
          choices={[
            { value: "heads", name: "Heads", title: "1" },
            { value: "model", name: "Model", title: "2" },
            { value: "matrix", name: "Matrix", title: "3" },
            { value: "neurons", name: "Neurons", title: "4" },
          ]}
          value={view.value}
          onChange={(value) => (view.value = value)}
        />
        <HelpButton />
      </Bar>
      {wrong.value && (
        <p class="wrong" role="alert">
          <span>{wrong.value}</span>
          <button type="button" class="button icon" aria-label="Close" onClick={() => (wrong.value = null)}>
            ×
          </button>
        </p>
      )}
      <Tools />
      <main class="main">
        <section class="card stage" aria-label={`${view.value} view`}>
          {view.value === "heads" && <HeadView />}
          {view.value === "model" && <ModelView />}
          {view.value === "matrix" && <MatrixView />}
          {view.value === "neurons" && <NeuronView key={text.value} />}
          {mode.value === "rollout" && !sources.value && (view.value === "heads" || view.value === "matrix") && (
            <p class="absent" role="status">
              Computing rollout{progress === null ? "" : `, ${percent(progress)}`} …
            </p>
          )}
          {view.value === "heads" && mode.value !== "rollout" && !lit.value.length && (
            <p class="absent">No head is on. Switch some on above.</p>
          )}
        </section>
        <Aside />
      </main>
      <Notes />
      <Help />
    </div>
  );
}

const root = document.getElementById("app")!;
root.textContent = "";
render(<App />, root);
