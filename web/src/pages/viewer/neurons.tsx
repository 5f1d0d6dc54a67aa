// Neuron view: how a query meets each key, number by number.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { magnitudes, signed as signedTable } from "../../common/colour";
import { plural, signed, weight as weightText } from "../../common/format";
import { theme } from "../../common/theme";
import { FACE, fit, pen, themed, useBox } from "./canvas";
import { Term } from "./help";
import { causal, item } from "./model";
import { head, layer, mapOf, ready, shown, vectorsOf, words } from "./state";

const ROW = 24;
const HEAD = 40;

/** Of one text: another has another list of keys, so it begins anew. */
export function NeuronView() {
  const { tokens } = item.value;
  const n = tokens.length;
  const [scroller, size] = useBox<HTMLDivElement>();
  const sheet = useRef<HTMLCanvasElement>(null);
  const [query, setQuery] = useState(() => Math.min(n - 1, tokens.findIndex((token) => !token.special) + 1));
  const [at, setAt] = useState<number | null>(null);
  const vectors = vectorsOf(layer.value);
  const place = shown.value.heads.indexOf(head.value);
  const scale = shown.value.scoreScale;
  const span = causal ? query + 1 : n;
  ready.value;
  const plain = !words.value;
  const map = plain ? mapOf(layer.value, head.value) : null;

  const found = useMemo(() => {
    if (!vectors || place < 0) return null;
    const mine = vectors.query(place, query);
    const rows = [];
    let top = 0;
    let topProduct = 0;
    for (const x of mine) top = Math.max(top, Math.abs(x));
    for (let key = 0; key < span; key++) {
      const theirs = vectors.key(place, key);
      const product = theirs.map((x, i) => x * mine[i]);
      let score = 0;
      for (let i = 0; i < product.length; i++) {
        score += product[i];
        top = Math.max(top, Math.abs(theirs[i]));
        topProduct = Math.max(topProduct, Math.abs(product[i]));
      }
      rows.push({ key, theirs, product, score: score * scale });
    }
    const high = Math.max(...rows.map((row) => row.score));
    const sum = rows.reduce((sum, row) => sum + Math.exp(row.score - high), 0);
    const span0 = Math.max(...rows.map((row) => Math.abs(row.score)), 1e-9);
    return {
      mine,
      rows: rows.map((row) => ({ ...row, soft: Math.exp(row.score - high) / sum })),
      top: top || 1,
      topProduct: topProduct || 1,
      span: span0,
    };
  }, [vectors, place, query, span, scale]);

  const narrow = size.width < 620;
  const label = narrow ? 74 : 112;
  const numbers = narrow ? 58 : 104;
  const strips = Math.max(40, (size.width - label - 2 * numbers - 34) / (narrow ? 1 : 2));

  const paint = () => {
    const canvas = sheet.current;
    const element = scroller.current;
    if (!canvas || !element || !found || !size.width) return;
    const context = pen(canvas, size);
    const table = signedTable(theme.value);
    const strong = themed("--ink");
    const muted = themed("--muted");
    const line = themed("--line");
    const top = element.scrollTop;
    const strip = (values: Float32Array, largest: number, x: number, y: number, width: number) => {
      const each = width / values.length;
      for (let i = 0; i < values.length; i++) {
        const colour = Math.round((values[i] / largest / 2 + 0.5) * 255) * 3;
        context.fillStyle = `rgb(${table[colour]} ${table[colour + 1]} ${table[colour + 2]})`;
        context.fillRect(x + i * each, y + 3, each + 0.4, ROW - 6);
      }
    };
    const xKey = label;
    const xProduct = narrow ? label : label + strips + 12;
    const xScore = xProduct + strips + 10;
    const xSoft = xScore + numbers;
    context.textBaseline = "middle";
    context.font = `13px ${FACE}`;
    const first = Math.max(0, Math.floor(top / ROW));
    const last = Math.min(found.rows.length, Math.ceil((top + size.height - HEAD) / ROW));
    const weights = magnitudes(theme.value);
    for (let i = first; i < last; i++) {
      const row = found.rows[i];
      const y = HEAD + i * ROW - top;
      if (row.key === at) {
        context.fillStyle = themed("--accent-soft");
        context.fillRect(0, y, size.width, ROW);
      }
      context.fillStyle = tokens[row.key].special ? muted : strong;
      context.textAlign = "right";
      context.fillText(fit(context, tokens[row.key].text, label - 16), label - 8, y + ROW / 2);
      if (!narrow) strip(row.theirs, found.top, xKey, y, strips);
      strip(row.product, found.topProduct, xProduct, y, strips);
      context.textAlign = "right";
      context.fillStyle = strong;
      const half = (numbers - 58) / 2;
      if (!narrow) {
        const middle = xScore + 50 + half;
        const width = (row.score / found.span) * half;
        const colour = (row.score > 0 ? 225 : 30) * 3;
        context.fillStyle = `rgb(${table[colour]} ${table[colour + 1]} ${table[colour + 2]})`;
        context.fillRect(Math.min(middle, middle + width), y + 6, Math.abs(width), ROW - 12);
        context.fillStyle = line;
        context.fillRect(middle, y + 2, 1, ROW - 4);
        context.fillStyle = strong;
      }
      context.fillText(signed(row.score, 2), xScore + 48, y + ROW / 2);
      const soft = map ? map[query * n + row.key] : row.soft;
      if (!narrow) {
        const colour = Math.round(150) * 3;
        context.fillStyle = `rgb(${weights[colour]} ${weights[colour + 1]} ${weights[colour + 2]})`;
        context.fillRect(xSoft + 56, y + 6, (numbers - 58) * soft, ROW - 12);
        context.fillStyle = strong;
      }
      context.fillText(weightText(soft), xSoft + 50, y + ROW / 2);
    }
    // The heading, over whatever was scrolled below it.
    context.fillStyle = themed("--surface");
    context.fillRect(0, 0, size.width, HEAD);
    context.fillStyle = muted;
    context.font = `12px ${FACE}`;
    context.textAlign = "left";
    if (!narrow) context.fillText("key", xKey, HEAD - 12);
    context.fillText("query × key", xProduct, HEAD - 12);
    context.textAlign = "right";
    context.fillText("score", xScore + 48, HEAD - 12);
    context.fillText(narrow ? "softmax" : "softmax", xSoft + 50, HEAD - 12);
    context.fillStyle = line;
    context.fillRect(0, HEAD - 1, size.width, 1);
  };
  useEffect(paint, [found, size, theme.value, at, map]);
  const pending = useRef(0);
  const scrolled = () => {
    cancelAnimationFrame(pending.current);
    pending.current = requestAnimationFrame(paint);
  };
  const strip = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    if (!strip.current || !found) return;
    const box = { width: strip.current.parentElement!.clientWidth, height: 22 };
    const context = pen(strip.current, box);
    const table = signedTable(theme.value);
    const each = box.width / found.mine.length;
    found.mine.forEach((x, i) => {
      const colour = Math.round((x / found.top / 2 + 0.5) * 255) * 3;
      context.fillStyle = `rgb(${table[colour]} ${table[colour + 1]} ${table[colour + 2]})`;
      context.fillRect(i * each, 0, each + 0.4, box.height);
    });
  }, [found, size, theme.value]);

  const key = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const next = Math.max(0, Math.min(span - 1, (at ?? -1) + step));
    setAt(next);
    const element = scroller.current!;
    if (next * ROW < element.scrollTop) element.scrollTop = next * ROW;
    if ((next + 1) * ROW > element.scrollTop + size.height - HEAD) {
      element.scrollTop = (next + 1) * ROW - size.height + HEAD;
    }
  };
  const read = at !== null ? found?.rows[at] : null;
  const kept = item.value.vectors;
  return (
    <div class="neuron-view" data-testid="neuron-view">
      <div class="strip">
        <label class="control">
          <span class="name">query</span>
          <select
            class="button"
            value={String(query)}
            onChange={(event) => {
              setQuery(Number(event.currentTarget.value));
              setAt(null);
            }}
          >
            {tokens.map((token, i) => (
              <option key={i} value={String(i)}>
                {i} · {token.text}
              </option>
            ))}
          </select>
        </label>
        <span class="small muted">
          <Term word="score">score and softmax</Term>
        </span>
        <span class="query-strip">
          <canvas ref={strip} aria-hidden="true" />
        </span>
        <span class="scale">
          −
          <i
            style={{
              background: `linear-gradient(90deg, ${[0, 0.2, 0.4, 0.5, 0.6, 0.8, 1]
                .map((share) => {
                  const table = signedTable(theme.value);
                  const i = Math.round(share * 255) * 3;
                  return `rgb(${table[i]} ${table[i + 1]} ${table[i + 2]})`;
                })
                .join(", ")})`,
            }}
          />
          +
        </span>
      </div>
      {vectors || kept.includes(layer.value) ? null : (
        <p class="absent">
          {kept.length
            ? `Queries and keys of ${kept.length === 1 ? "layer" : "layers"} ${kept.join(", ")} are in this page, not those of layer ${layer.value}. Choose one of these layers, or write the page again with --neuron-layers ${layer.value}.`
            : "This page holds no queries and keys. Write it again with --neuron-layers."}
        </p>
      )}
      <div
        class="scroller"
        ref={scroller}
        tabIndex={0}
        role="application"
        aria-roledescription="table of keys"
        aria-label={`Query ${query} against ${plural(span, "key")} in layer ${layer.value}, head ${head.value}; up and down move from key to key`}
        onScroll={scrolled}
        onKeyDown={key}
        onPointerMove={(event) => {
          const box = scroller.current!.getBoundingClientRect();
          const y = event.clientY - box.top - HEAD;
          const row = y < 0 ? -1 : Math.floor((y + scroller.current!.scrollTop) / ROW);
          const next = row >= 0 && row < span ? row : null;
          if (next !== at) setAt(next);
        }}
        onPointerLeave={() => setAt(null)}
      >
        <div class="sheets">
          <canvas ref={sheet} aria-hidden="true" />
        </div>
        <div style={{ height: `${HEAD + (found?.rows.length ?? 0) * ROW + 8}px` }} />
      </div>
      <p class="visually-hidden" aria-live="polite" data-testid="neuron-read" data-score={read?.score} data-soft={read && map ? map[query * n + read.key] : read?.soft}>
        {read ? `key ${read.key}, ${tokens[read.key].text}: score ${read.score.toFixed(3)}` : ""}
      </p>
    </div>
  );
}
