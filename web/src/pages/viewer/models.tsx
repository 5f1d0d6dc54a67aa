// Model view: every layer and head as a small map.

import { useEffect } from "preact/hooks";
import { magnitudes } from "../../common/colour";
import { percent } from "../../common/format";
import { theme } from "../../common/theme";
import { turn } from "../../common/schedule";
import { useBox } from "./canvas";
import { causal, doc, hasHead, text } from "./model";
import { active, bright, head, keys, layer, mapOf, needed, queries, units, view, words } from "./state";
import { batch } from "@preact/signals";

/** A map in as many points as there is room for; each shows the largest weight in it, as its root, so that thin
 * lines and small weights can be seen. */
function thumbnail(canvas: HTMLCanvasElement, map: Float32Array): void {
  const room = Math.max(8, Math.round(canvas.clientWidth * Math.min(2, window.devicePixelRatio || 1)));
  const rows = queries.value;
  const columns = keys.value;
  const size = units.value.length;
  const h = Math.min(room, rows.length);
  const w = Math.min(room, columns.length);
  const peaks = new Float32Array(w * h);
  const column = columns.map((_, j) => Math.floor((j * w) / columns.length));
  for (let i = 0; i < rows.length; i++) {
    const base = Math.floor((i * h) / rows.length) * w;
    const from = rows[i] * size;
    for (let j = 0; j < columns.length; j++) {
      const weight = map[from + columns[j]];
      if (weight > peaks[base + column[j]]) peaks[base + column[j]] = weight;
    }
  }
  canvas.width = w;
  canvas.height = h;
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(w, h);
  const table = magnitudes(theme.value);
  for (let at = 0; at < peaks.length; at++) {
    const i = Math.floor(at / w);
    const j = at % w;
    const hidden = causal && rows.length === columns.length && j > i;
    const colour = Math.min(255, Math.round(Math.sqrt(peaks[at]) * 255)) * 3;
    image.data[at * 4] = table[colour];
    image.data[at * 4 + 1] = table[colour + 1];
    image.data[at * 4 + 2] = table[colour + 2];
    image.data[at * 4 + 3] = hidden ? 0 : 255;
  }
  context.putImageData(image, 0, 0);
}

export function ModelView() {
  const [grid, box] = useBox<HTMLDivElement>();
  useEffect(() => {
    if (!box.width) return;
    let wanted = true;
    // What stands there is of another text, or of another size.
    delete grid.current!.dataset.drawn;
    void (async () => {
      for (const shown of doc.layers) {
        await needed(shown.layer);
        if (!wanted) return;
        let began = performance.now();
        for (const head of shown.heads) {
          if (!wanted) return;
          const map = mapOf(shown.layer, head);
          const canvas = grid.current?.querySelector<HTMLCanvasElement>(
            `[data-layer="${shown.layer}"][data-head="${head}"] canvas`,
          );
          if (map && canvas) thumbnail(canvas, map);
          if (performance.now() - began > 12) {
            await turn();
            began = performance.now();
          }
        }
      }
      if (wanted && grid.current) grid.current.dataset.drawn = "yes";
    })();
    return () => {
      wanted = false;
    };
  }, [box.width, theme.value, text.value, queries.value, keys.value, words.value]);

  const open = (nextLayer: number, nextHead: number) =>
    batch(() => {
      layer.value = nextLayer;
      head.value = nextHead;
      active.value = new Set([nextHead]);
      view.value = "matrix";
    });
  const columns = [...new Set(doc.layers.flatMap((shown) => shown.heads))].sort((a, b) => a - b);
  const dim = bright.value;
  const move = (event: KeyboardEvent) => {
    const [dl, dh] = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key] ?? [0, 0];
    const at = document.activeElement as HTMLElement;
    if ((!dl && !dh) || !at.dataset.layer) return;
    event.preventDefault();
    event.stopPropagation();
    const rows = doc.layers.map((shown) => shown.layer);
    const l = rows[rows.indexOf(Number(at.dataset.layer)) + dl];
    const h = columns[columns.indexOf(Number(at.dataset.head)) + dh];
    grid.current?.querySelector<HTMLElement>(`button[data-layer="${l}"][data-head="${h}"]`)?.focus();
  };
  return (
    <div class="model-view scroller" data-testid="model-view">
      <div
        class="thumbs"
        role="group"
        aria-label="All heads as small maps: rows are layers, columns are heads, counted from 0"
        ref={grid}
        style={{ "--heads": columns.length, "--layers": doc.layers.length }}
        onKeyDown={move}
      >
        <span class="corner" aria-hidden="true">
          layer \ head
        </span>
        {columns.map((head) => (
          <span class="axis top" key={head} aria-hidden="true">
            {head}
          </span>
        ))}
        {doc.layers.map((shown) => [
          <span class="axis" key={`l${shown.layer}`} aria-hidden="true">
            {shown.layer}
          </span>,
          columns.map((at) => {
            const name = `layer ${shown.layer}, head ${at}`;
            const key = `${shown.layer}.${at}`;
            if (!shown.heads.includes(at)) {
              const why = hasHead(shown.layer, at) ? "not in this page" : "pruned";
              return <span key={key} class="thumb gone" title={`${name}: ${why}`} />;
            }
            const kept = dim ? dim(shown.layer, at) : 1;
            const said = dim ? `${name}: ${percent(kept)} of the largest` : name;
            const here = shown.layer === layer.value && at === head.value;
            return (
              <button
                key={key}
                type="button"
                class={`thumb ${here ? "here" : ""}`}
                data-layer={shown.layer}
                data-head={at}
                aria-label={`Open ${said}`}
                title={said}
                tabIndex={here ? 0 : -1}
                style={{ opacity: 0.12 + 0.88 * kept }}
                onClick={() => open(shown.layer, at)}
              >
                <canvas width={8} height={8} aria-hidden="true" />
              </button>
            );
          }),
        ])}
      </div>
    </div>
  );
}
