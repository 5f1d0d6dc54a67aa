// A table of layers and heads whose cells are coloured by a number each.

import { css, ink, magnitudes } from "./colour";
import { theme } from "./theme";

export interface HeadGridProps {
  /** What the numbers are. */
  label: string;
  layers: number;
  heads: number;
  /** Row-major `[layers, heads]`; null where there is no number. */
  values: (number | null)[];
  /** The text of a number. */
  text: (value: number) => string;
  /** Whether the model has the head; without this, all do. */
  present?: (layer: number, head: number) => boolean;
  selected?: { layer: number; head: number } | null;
  onSelect?: (layer: number, head: number) => void;
  onHover?: (at: { layer: number; head: number } | null) => void;
}

/** Arrow keys move from cell to cell. */
export function HeadGrid(props: HeadGridProps) {
  const table = magnitudes(theme.value);
  const finite = props.values.filter((v): v is number => v !== null && Number.isFinite(v));
  const high = Math.max(...finite, 0);
  const low = Math.min(...finite, 0);
  const share = (value: number) => (high > low ? (value - low) / (high - low) : 0);
  const move = (event: KeyboardEvent) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -props.heads, ArrowDown: props.heads }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const cells = [...(event.currentTarget as HTMLElement).querySelectorAll("button")];
    const at = cells.indexOf(document.activeElement as HTMLButtonElement);
    cells[at + step]?.focus();
  };
  const first = props.selected ?? { layer: 0, head: 0 };
  const cells = [];
  cells.push(<span key="corner" />);
  for (let head = 0; head < props.heads; head++) {
    cells.push(
      <span class="axis" key={`h${head}`} aria-hidden="true">
        {head}
      </span>,
    );
  }
  for (let layer = 0; layer < props.layers; layer++) {
    cells.push(
      <span class="axis" key={`l${layer}`} aria-hidden="true">
        {layer}
      </span>,
    );
    for (let head = 0; head < props.heads; head++) {
      const value = props.values[layer * props.heads + head];
      const there = props.present?.(layer, head) ?? true;
      const known = there && value !== null && value !== undefined && Number.isFinite(value);
      const said = !there ? "not in this model" : known ? props.text(value) : "not computed";
      const name = `layer ${layer}, head ${head}: ${said}`;
      const on = props.selected?.layer === layer && props.selected.head === head;
      cells.push(
        <button
          key={`${layer}.${head}`}
          type="button"
          class={there ? "" : "gone"}
          aria-label={name}
          aria-pressed={props.selected === undefined ? undefined : on}
          title={name}
          data-layer={layer}
          data-head={head}
          tabIndex={first.layer === layer && first.head === head ? 0 : -1}
          style={known ? { background: css(table, share(value)), color: ink(table, share(value)) } : undefined}
          onClick={() => there && props.onSelect?.(layer, head)}
          onPointerEnter={() => props.onHover?.({ layer, head })}
          onPointerLeave={() => props.onHover?.(null)}
        />,
      );
    }
  }
  return (
    <div>
      <div
        class="head-grid"
        role="group"
        aria-label={`${props.label}: rows are layers, columns are heads, both counted from 0`}
        style={{ gridTemplateColumns: `20px repeat(${props.heads}, minmax(0, 34px))` }}
        onKeyDown={move}
      >
        {cells}
      </div>
      <Scale low={props.text(low)} high={props.text(high)} />
    </div>
  );
}

/** The legend of a scale of magnitudes. */
export function Scale(props: { low: string; high: string }) {
  const table = magnitudes(theme.value);
  const stops = Array.from({ length: 9 }, (_, i) => css(table, i / 8));
  return (
    <div class="scale number">
      <span>{props.low}</span>
      <i style={{ background: `linear-gradient(90deg, ${stops.join(", ")})` }} />
      <span>{props.high}</span>
    </div>
  );
}
