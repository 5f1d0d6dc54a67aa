// Head view: queries on the left, keys on the right, a ribbon for each weight.

import { Component } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { headColour, headDash } from "../../common/colour";
import { short } from "../../common/format";
import { theme } from "../../common/theme";
import { type Box, pen, themed, useBox } from "./canvas";
import { Term } from "./help";
import { type Source, type Spot, bright, hover, keys, layer, pin, pinned, queries, sources, spots, units, visible } from "./state";
import type { Unit } from "./units";

/** As many ribbons as are drawn at rest: more could not be told apart. */
const MOST = 2400;
/** And for the tokens that are looked at. */
const MOST_LOOKED_AT = 500;
const LEVELS = 10;

interface Ribbon {
  source: number;
  /** Places among the rows of each side. */
  from: number;
  to: number;
  weight: number;
}

const BINS = 1024;
const bin = (weight: number) => Math.min(BINS - 1, Math.floor(Math.sqrt(weight) * BINS));

/** The heaviest weights of at least `least`, about `most` of them. Counted first, so that nothing is listed that
 * is not drawn; where too many weigh the same, as in even attention, every so many-th of them. */
function gather(list: Source[], rows: number[], columns: number[], least: number, most: number): Ribbon[] {
  const size = units.value.length;
  const counts = new Uint32Array(BINS);
  for (const { map } of list) {
    for (const query of rows) {
      for (const key of columns) {
        const weight = map[query * size + key];
        if (weight >= least) counts[bin(weight)]++;
      }
    }
  }
  let bound = BINS;
  let sum = 0;
  while (bound > 0 && sum + counts[bound - 1] <= most) sum += counts[--bound];
  let step = 1;
  if (bound > 0 && sum < most / 2) step = Math.ceil(counts[--bound] / (most - sum));
  const found: Ribbon[] = [];
  let met = 0;
  list.forEach(({ map }, source) => {
    rows.forEach((query, from) => {
      columns.forEach((key, to) => {
        const weight = map[query * size + key];
        if (weight < least) return;
        const at = bin(weight);
        if (at < bound || (at === bound && met++ % step !== 0)) return;
        found.push({ source, from, to, weight });
      });
    });
  });
  return found;
}

interface Frame {
  box: Box;
  row: number;
  top: number;
}

function draw(canvas: HTMLCanvasElement, ribbons: Ribbon[], list: Source[], frame: Frame, strength: number): void {
  const { box, row, top } = frame;
  const context = pen(canvas, box);
  const ink = themed("--ink");
  const dim = bright.value;
  const spread = Math.min(1.6, (row * 0.5) / Math.max(1, list.length));
  const paths = new Map<string, Ribbon[]>();
  for (const ribbon of ribbons) {
    const a = ribbon.from * row - top;
    const b = ribbon.to * row - top;
    if (Math.max(a, b) < -row || Math.min(a, b) > box.height) continue;
    const level = Math.min(LEVELS - 1, Math.floor(Math.pow(ribbon.weight, 0.6) * LEVELS));
    const name = `${ribbon.source}.${level}`;
    const path = paths.get(name);
    if (path) path.push(ribbon);
    else paths.set(name, [ribbon]);
  }
  const crowd = Math.min(1, Math.max(0.35, 300 / Math.max(1, ribbons.length)) + 0.15);
  for (let level = 0; level < LEVELS; level++) {
    list.forEach(({ head }, source) => {
      const path = paths.get(`${source}.${level}`);
      if (!path) return;
      const share = (level + 0.5) / LEVELS;
      context.beginPath();
      const shift = (source - (list.length - 1) / 2) * spread;
      for (const { from, to } of path) {
        const y0 = (from + 0.5) * row - top + shift;
        const y1 = (to + 0.5) * row - top + shift;
        context.moveTo(0, y0);
        context.bezierCurveTo(box.width * 0.42, y0, box.width * 0.58, y1, box.width, y1);
      }
      context.strokeStyle = head < 0 ? ink : headColour(head, theme.value);
      context.setLineDash(head < 0 ? [] : headDash(head));
      const kept = dim && head >= 0 ? 0.08 + 0.92 * dim(layer.value, head) : 1;
      context.globalAlpha = Math.min(1, (0.06 + 0.94 * share) * strength * crowd) * kept;
      context.lineWidth = 0.7 + 3.6 * share * share;
      context.stroke();
    });
  }
  context.setLineDash([]);
  context.globalAlpha = 1;
}

export function HeadView() {
  const [scroller, size] = useBox<HTMLDivElement>();
  const rest = useRef<HTMLCanvasElement>(null);
  const looked = useRef<HTMLCanvasElement>(null);
  const [gap, gapBox] = useBox<HTMLDivElement>();

  const list = sources.value;
  const rows = queries.value;
  const columns = keys.value;
  const count = Math.max(rows.length, columns.length);
  const comfortable = matchMedia("(pointer: coarse)").matches ? 28 : 23;
  const row = Math.max(comfortable, Math.min(42, Math.floor((size.height - 16) / Math.max(1, count))));
  const at = spots.value;
  const frame = () => ({
    box: { width: gapBox.width, height: size.height },
    row,
    top: scroller.current?.scrollTop ?? 0,
  });

  // What even attention would give is not worth a ribbon; of a token that is looked at, smaller weights are.
  const even = 1 / Math.max(1, columns.length);
  const usual = Math.min(0.06, 1.25 * even);
  const least = Math.min(0.012, 1.5 * even);
  const all = useMemo(
    () => (list ? gather(list, rows, columns, usual, MOST) : []),
    [list, rows, columns, units.value],
  );
  const chosen = useMemo(() => {
    if (!list || !at.length) return [];
    const side = at[0].side;
    const held = at.filter((spot) => spot.side === side).map((spot) => spot.unit);
    const some = (side === "query" ? rows : columns).filter((unit) => held.includes(unit));
    const found =
      side === "query"
        ? gather(list, some, columns, least, MOST_LOOKED_AT)
        : gather(list, rows, some, least, MOST_LOOKED_AT);
    // Places among the chosen are not places among all.
    const places = some.map((unit) => (side === "query" ? rows : columns).indexOf(unit));
    for (const ribbon of found) {
      if (side === "query") ribbon.from = places[ribbon.from];
      else ribbon.to = places[ribbon.to];
    }
    return found;
  }, [list, at, rows, columns]);

  const paintRest = () => {
    if (!rest.current || !list || !gapBox.width) return;
    draw(rest.current, all, list, frame(), 1);
    if (!performance.getEntriesByName("drawn").length) performance.mark("drawn");
  };
  const paintLooked = () => {
    if (looked.current && list && gapBox.width) draw(looked.current, chosen, list, frame(), 1.6);
  };
  useEffect(paintRest, [all, list, row, size, gapBox, theme.value, bright.value, layer.value]);
  useEffect(paintLooked, [chosen, list, row, size, gapBox, theme.value, bright.value]);
  const pending = useRef(0);
  const scrolled = () => {
    cancelAnimationFrame(pending.current);
    pending.current = requestAnimationFrame(() => {
      paintRest();
      paintLooked();
    });
  };

  return (
    <div class="head-view" data-testid="head-view">
      <div class="columns-title">
        <span>
          from: <Term word="query">query</Term>
        </span>
        <span>
          to: <Term word="key">key</Term>
        </span>
      </div>
      <div class={`scroller ${at.length ? "looking" : ""}`} ref={scroller} onScroll={scrolled}>
        <div class="columns" style={{ height: `${count * row}px`, "--row": `${row}px` }}>
          <Column side="query" rows={rows} list={list} />
          <div class="gap" ref={gap}>
            <div class="sheets">
              <canvas class="rest" ref={rest} aria-hidden="true" />
              <canvas class="looked" ref={looked} aria-hidden="true" />
            </div>
          </div>
          <Column side="key" rows={columns} list={list} />
        </div>
      </div>
    </div>
  );
}

/** Mean over the heads that are on of the weights between the tokens that are looked at and each of the other
 * side. */
function weightsFor(list: Source[] | null, at: readonly Spot[], side: "query" | "key", rows: number[]) {
  if (!list?.length || !at.length || at[0].side === side) return null;
  const size = units.value.length;
  const held = at.filter((spot) => spot.side !== side);
  return rows.map((unit) => {
    let sum = 0;
    for (const { map } of list) {
      for (const spot of held) {
        sum += side === "key" ? map[spot.unit * size + unit] : map[unit * size + spot.unit];
      }
    }
    return sum / list.length / held.length;
  });
}

function Column(props: { side: "query" | "key"; rows: number[]; list: Source[] | null }) {
  const { side, rows, list } = props;
  const at = spots.value;
  const box = useRef<HTMLDivElement>(null);
  const weights = weightsFor(list, at, side, rows);
  const places = useMemo(() => new Map(rows.map((unit, place) => [unit, place])), [rows]);
  const chosen = new Set(at.filter((spot) => spot.side === side).map((spot) => spot.unit));
  const held = new Set(pinned.value.filter((spot) => spot.side === side).map((spot) => spot.unit));
  const only = at.length === 1 ? at[0] : null;

  const place = (target: EventTarget | null): number | null => {
    const element = (target as HTMLElement | null)?.closest?.("[data-unit]");
    return element ? Number(element.getAttribute("data-unit")) : null;
  };
  const over = (event: PointerEvent) => {
    if (event.pointerType === "touch") return;
    const unit = place(event.target);
    if (unit === null || (hover.value?.side === side && hover.value.unit === unit)) return;
    hover.value = { side, unit };
  };
  const key = (event: KeyboardEvent) => {
    const unit = place(event.target);
    if (unit === null) return;
    const here = places.get(unit) ?? 0;
    const focus = (unit: number | undefined) =>
      box.current?.querySelector<HTMLElement>(`[data-unit="${unit}"]`)?.focus();
    const next = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (next !== undefined) focus(rows[Math.max(0, Math.min(rows.length - 1, next))]);
    else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      const other = event.key === "ArrowRight" ? "key" : "query";
      if (other !== side) {
        const columns = box.current?.parentElement;
        const target = columns?.querySelectorAll<HTMLElement>(`[data-side="${other}"] [data-unit]`);
        target?.[Math.min(here, target.length - 1)]?.focus();
      }
    } else if (event.key === "Enter" || event.key === " ") pin({ side, unit }, event.shiftKey || event.ctrlKey);
    else if (event.key === "Escape") pinned.value = [];
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div
      class={`column ${side}`}
      role="listbox"
      aria-label={side === "query" ? "Queries: tokens that attend" : "Keys: tokens that are attended to"}
      aria-multiselectable="true"
      data-side={side}
      ref={box}
      onPointerOver={over}
      onPointerLeave={() => (hover.value = null)}
      onFocusIn={(event) => {
        const unit = place(event.target);
        if (unit !== null && (event.target as HTMLElement).matches(":focus-visible")) hover.value = { side, unit };
      }}
      onFocusOut={() => (hover.value = null)}
      onKeyDown={key}
      onClick={(event) => {
        const unit = place(event.target);
        if (unit !== null) pin({ side, unit }, event.shiftKey || event.ctrlKey || event.metaKey);
      }}
    >
      {rows.map((unit, i) => {
        const seen =
          only === null || only.side === side || (side === "key" ? visible(only.unit, unit) : visible(unit, only.unit));
        const weight = weights?.[i] ?? 0;
        return (
          <TokenRow
            key={unit}
            unit={unit}
            found={units.value[unit]}
            first={i === 0}
            chosen={chosen.has(unit)}
            held={held.has(unit)}
            seen={seen}
            weight={weight >= 0.005 ? weight : 0}
          />
        );
      })}
    </div>
  );
}

interface TokenProps {
  unit: number;
  found: Unit;
  first: boolean;
  chosen: boolean;
  held: boolean;
  seen: boolean;
  weight: number;
}

/** One token; drawn anew only when something about it is new, since there may be a thousand. */
class TokenRow extends Component<TokenProps> {
  override shouldComponentUpdate(next: TokenProps): boolean {
    const now = this.props;
    return (Object.keys(next) as (keyof TokenProps)[]).some((key) => next[key] !== now[key]);
  }

  override render({ unit, found, first, chosen, held, seen, weight }: TokenProps) {
    const classes = ["token"];
    if (found.special) classes.push("special");
    if (chosen) classes.push("chosen");
    if (held) classes.push("held");
    if (!seen) classes.push("unseen");
    return (
      <div
        class={classes.join(" ")}
        role="option"
        aria-selected={held}
        tabIndex={first ? 0 : -1}
        title={found.name}
        data-unit={unit}
        style={{ "--w": weight ? `${Math.round(Math.min(1, Math.sqrt(weight)) * 100)}%` : null }}
      >
        <span class="label">{found.text}</span>
        {weight ? (
          <span class="weight number" data-weight={weight}>
            {short(weight)}
          </span>
        ) : null}
      </div>
    );
  }
}
