// Matrix view: one map, a cell for each query and key, with its number where there is room.

import { useEffect, useRef, useState } from "preact/hooks";
import { ink, magnitudes } from "../../common/colour";
import { csv, download } from "../../common/download";
import { short, weight as weightText } from "../../common/format";
import { theme } from "../../common/theme";
import { FACE, fit, pen, themed, useBox } from "./canvas";
import { Term } from "./help";
import { doc } from "./model";
import { cell, keys, queries, single, units, visible } from "./state";

export function MatrixView() {
  const [scroller, size] = useBox<HTMLDivElement>();
  const sheet = useRef<HTMLCanvasElement>(null);
  const cross = useRef<HTMLCanvasElement>(null);
  const [zoom, setZoom] = useState(0);
  const source = single.value;
  const rows = queries.value;
  const columns = keys.value;
  const narrow = size.width < 520;
  const labels = narrow ? 76 : 104;
  const room = Math.min((size.width - labels - 10) / columns.length, (size.height - labels - 10) / rows.length);
  const fitted = Math.max(7, Math.min(54, Math.floor(room)));
  const side = Math.max(5, Math.min(64, Math.round(fitted * 1.35 ** zoom)));

  const paint = () => {
    const canvas = sheet.current;
    const element = scroller.current;
    if (!canvas || !element || !source || !size.width) return;
    // An effect may run when another text is shown already; what is drawn for that one paints anew.
    if (source !== single.peek() || rows !== queries.peek() || columns !== keys.peek()) return;
    const context = pen(canvas, size);
    const table = magnitudes(theme.value);
    const count = units.value.length;
    const { scrollLeft: left, scrollTop: top } = element;
    const i0 = Math.max(0, Math.floor(top / side));
    const i1 = Math.min(rows.length, Math.ceil((top + size.height - labels) / side));
    const j0 = Math.max(0, Math.floor(left / side));
    const j1 = Math.min(columns.length, Math.ceil((left + size.width - labels) / side));
    const gap = side >= 12 ? 1 : 0;
    context.save();
    context.beginPath();
    context.rect(labels, labels, size.width - labels, size.height - labels);
    context.clip();
    context.font = `${Math.min(13, Math.floor(side * 0.38))}px ${FACE}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const styles: string[] = [];
    for (let i = 0; i < 256; i++) styles.push(`rgb(${table[i * 3]} ${table[i * 3 + 1]} ${table[i * 3 + 2]})`);
    for (let i = i0; i < i1; i++) {
      for (let j = j0; j < j1; j++) {
        if (!visible(rows[i], columns[j])) continue;
        const weight = source.map[rows[i] * count + columns[j]];
        const share = Math.sqrt(weight);
        const x = labels + j * side - left;
        const y = labels + i * side - top;
        context.fillStyle = styles[Math.min(255, Math.round(share * 255))];
        context.fillRect(x, y, side - gap, side - gap);
        if (side >= 29 && weight >= 0.005) {
          context.fillStyle = ink(table, share);
          context.fillText(short(weight), x + (side - gap) / 2, y + (side - gap) / 2 + 0.5);
        }
      }
    }
    context.restore();
    const strong = themed("--ink");
    const muted = themed("--muted");
    const every = Math.max(1, Math.ceil(13 / side));
    context.font = side >= 11 ? `12px ${FACE}` : `11px ${FACE}`;
    context.textBaseline = "middle";
    context.save();
    context.beginPath();
    context.rect(0, labels - 6, labels, size.height - labels + 6);
    context.clip();
    context.textAlign = "right";
    for (let i = i0; i < i1; i++) {
      if (i % every) continue;
      const unit = units.value[rows[i]];
      context.fillStyle = unit.special ? muted : strong;
      context.fillText(fit(context, unit.text, labels - 14), labels - 7, labels + (i + 0.5) * side - top);
    }
    context.restore();
    context.save();
    context.beginPath();
    context.rect(labels - 6, 0, size.width - labels + 6, labels);
    context.clip();
    context.textAlign = "left";
    for (let j = j0; j < j1; j++) {
      if (j % every) continue;
      const unit = units.value[columns[j]];
      context.save();
      context.translate(labels + (j + 0.5) * side - left, labels - 7);
      context.rotate(-Math.PI / 2);
      context.fillStyle = unit.special ? muted : strong;
      context.fillText(fit(context, unit.text, labels - 14), 0, 0);
      context.restore();
    }
    context.restore();
    context.fillStyle = muted;
    context.font = `11px ${FACE}`;
    context.textAlign = "right";
    context.fillText("key →", labels - 12, labels - 30);
    context.fillText("query ↓", labels - 12, labels - 15);
  };
  const mark = () => {
    const canvas = cross.current;
    const element = scroller.current;
    if (!canvas || !element || !size.width) return;
    const context = pen(canvas, size);
    const at = cell.value;
    if (!at) return;
    const i = rows.indexOf(at.query);
    const j = columns.indexOf(at.key);
    if (i < 0 || j < 0) return;
    const x = labels + j * side - element.scrollLeft;
    const y = labels + i * side - element.scrollTop;
    context.fillStyle = themed("--accent");
    context.globalAlpha = 0.16;
    context.fillRect(0, y, size.width, side);
    context.fillRect(x, 0, side, size.height);
    context.globalAlpha = 1;
    context.lineWidth = 2;
    context.strokeStyle = themed("--ink");
    context.strokeRect(x - 1, y - 1, side + 1, side + 1);
  };
  useEffect(paint, [source, rows, columns, size, side, theme.value]);
  useEffect(mark, [cell.value, rows, columns, size, side, theme.value]);
  const pending = useRef(0);
  const scrolled = () => {
    cancelAnimationFrame(pending.current);
    pending.current = requestAnimationFrame(() => {
      paint();
      mark();
    });
  };

  const under = (event: PointerEvent) => {
    const element = scroller.current!;
    const box = element.getBoundingClientRect();
    const x = event.clientX - box.left - labels;
    const y = event.clientY - box.top - labels;
    if (x < 0 || y < 0 || event.clientX - box.left > element.clientWidth) return null;
    const i = Math.floor((y + element.scrollTop) / side);
    const j = Math.floor((x + element.scrollLeft) / side);
    if (i >= rows.length || j >= columns.length || !visible(rows[i], columns[j])) return null;
    return { query: rows[i], key: columns[j] };
  };
  const point = (event: PointerEvent) => {
    const at = under(event);
    const now = cell.value;
    if (at?.query !== now?.query || at?.key !== now?.key) cell.value = at;
  };
  const key = (event: KeyboardEvent) => {
    if (event.key === "+" || event.key === "=") return setZoom(zoom + 1);
    if (event.key === "-") return setZoom(zoom - 1);
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const now = cell.value;
    let i = now ? rows.indexOf(now.query) + step[0] : 0;
    let j = now ? columns.indexOf(now.key) + step[1] : 0;
    i = Math.max(0, Math.min(rows.length - 1, i));
    j = Math.max(0, Math.min(columns.length - 1, j));
    if (!visible(rows[i], columns[j])) return;
    cell.value = { query: rows[i], key: columns[j] };
    const element = scroller.current!;
    if (i * side < element.scrollTop) element.scrollTop = i * side;
    if ((i + 1) * side > element.scrollTop + size.height - labels) {
      element.scrollTop = (i + 1) * side - size.height + labels;
    }
    if (j * side < element.scrollLeft) element.scrollLeft = j * side;
    if ((j + 1) * side > element.scrollLeft + size.width - labels) {
      element.scrollLeft = (j + 1) * side - size.width + labels;
    }
  };
  const save = () => {
    if (!source) return;
    const count = units.value.length;
    const head = ["query \\ key", ...columns.map((key) => units.value[key].text)];
    const body = rows.map((query) => [
      units.value[query].text,
      ...columns.map((key) => (visible(query, key) ? source.map[query * count + key].toPrecision(6) : "")),
    ]);
    download(`${source.name.replace(/[^a-z0-9]+/gi, "-")}.csv`, "text/csv", csv([head, ...body]));
  };
  return (
    <div class="matrix-view" data-testid="matrix-view">
      <div class="strip">
        <span class="caption">{source?.name ?? "…"}</span>
        <span class="scale" title="Colours follow the square root of the weight, so that small ones can be seen">
          0
          <i
            style={{
              background: `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1]
                .map((share) => {
                  const table = magnitudes(theme.value);
                  const i = Math.round(share * 255) * 3;
                  return `rgb(${table[i]} ${table[i + 1]} ${table[i + 2]})`;
                })
                .join(", ")})`,
            }}
          />
          1
        </span>
        <button type="button" class="button icon" aria-label="Smaller cells" onClick={() => setZoom(zoom - 1)}>
          −
        </button>
        <button type="button" class="button icon" aria-label="Larger cells" onClick={() => setZoom(zoom + 1)}>
          +
        </button>
        <button type="button" class="button" onClick={save} title="The numbers of this matrix as a table">
          CSV
        </button>
      </div>
      <div
        class="scroller"
        ref={scroller}
        tabIndex={0}
        role="application"
        aria-roledescription="matrix"
        aria-label={`Attention matrix, ${source?.name ?? ""}, of ${doc.model.name}: arrow keys move from cell to cell, plus and minus change the size`}
        onScroll={scrolled}
        onPointerMove={point}
        onPointerDown={point}
        onPointerLeave={() => (cell.value = null)}
        onKeyDown={key}
        data-side={side}
        data-labels={labels}
      >
        <div class="sheets">
          <canvas ref={sheet} aria-hidden="true" />
          <canvas ref={cross} aria-hidden="true" />
        </div>
        <div style={{ width: `${labels + columns.length * side}px`, height: `${labels + rows.length * side}px` }} />
      </div>
    </div>
  );
}

/** What the cell under the pointer says. */
export function CellReadout() {
  const at = cell.value;
  const source = single.value;
  if (!at || !source) return <p class="muted">Point at a cell, or move to one with the arrow keys.</p>;
  const value = source.map[at.query * units.value.length + at.key];
  return (
    <dl class="readout">
      <dt>
        <Term word="query">query</Term>
      </dt>
      <dd>{units.value[at.query].name}</dd>
      <dt>
        <Term word="key">key</Term>
      </dt>
      <dd>{units.value[at.key].name}</dd>
      <dt>
        <Term word="weight">weight</Term>
      </dt>
      <dd class="number big" data-testid="cell-weight" data-value={value}>
        {weightText(value)}
      </dd>
    </dl>
  );
}
