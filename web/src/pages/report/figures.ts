// What a figure does: numbers at its marks, by pointer and by keyboard; its files; heat maps with each layer's
// heads in order.

import { download } from "../../common/download";
import type { Light } from "./light";
import { hide, show } from "./tip";
import { button } from "./tools";

export function enhanceFigure(figure: HTMLElement, file: string, light: Light): void {
  const svg = figure.querySelector<SVGSVGElement>("svg")!;
  const tools = figure.querySelector(".plot-tools")!;
  const name = figure.querySelector("h3")!.textContent!;
  // As it came: the file has neither the page's marks of attention nor its order.
  const original = svg.outerHTML;
  const marks = [...svg.querySelectorAll<SVGGraphicsElement>(".mark")];
  // What is read out moves from the browser's own slow tooltip to a label.
  for (const mark of marks) {
    const title = mark.querySelector("title")!;
    mark.setAttribute("aria-label", title.textContent!);
    mark.setAttribute("role", "img");
    mark.setAttribute("tabindex", "-1");
    title.remove();
  }
  svg.querySelector("title")?.remove();
  svg.setAttribute("role", "group");
  svg.setAttribute("aria-label", `${name}; arrow keys go from mark to mark`);
  marks[0]?.setAttribute("tabindex", "0");
  readOut(svg, marks, light);

  if (figure.dataset.sortable === "yes") sorting(tools, marks);
  const base = `${file}-${figure.id}`;
  if (marks.length) {
    button(tools, "CSV", `Save the numbers of "${name}" as CSV`, () => {
      const rows = marks.map((mark) => mark.dataset.row!);
      download(`${base}.csv`, "text/csv", [figure.dataset.columns!, ...rows].join("\r\n") + "\r\n");
    });
  }
  button(tools, "SVG", `Save "${name}" as a picture`, () => {
    download(`${base}.svg`, "image/svg+xml", forFile(original));
  });
}

/** With white paper behind it, and nothing that only the page understands. */
function forFile(original: string): string {
  const parsed = new DOMParser().parseFromString(original, "image/svg+xml");
  const svg = parsed.documentElement;
  const paper = parsed.createElementNS("http://www.w3.org/2000/svg", "rect");
  paper.setAttribute("width", svg.getAttribute("width")!);
  paper.setAttribute("height", svg.getAttribute("height")!);
  paper.setAttribute("fill", "#ffffff");
  svg.querySelector("title")!.after(paper);
  return `${new XMLSerializer().serializeToString(parsed)}\n`;
}

function readOut(svg: SVGSVGElement, marks: SVGGraphicsElement[], light: Light): void {
  const of = (event: Event) => (event.target as Element).closest<SVGGraphicsElement>(".mark");
  const say = (mark: SVGGraphicsElement) => {
    const box = mark.getBoundingClientRect();
    show(mark.getAttribute("aria-label")!, box.left + box.width / 2, box.top);
  };
  svg.addEventListener("pointerover", (event) => {
    const mark = of(event);
    if (mark) say(mark);
  });
  svg.addEventListener("pointerout", hide);
  svg.addEventListener("click", (event) => {
    const head = of(event)?.dataset.head;
    if (head) light.toggle(head);
  });
  svg.addEventListener("focusin", (event) => {
    const mark = of(event);
    if (!mark) return;
    for (const other of marks) if (other.tabIndex === 0) other.setAttribute("tabindex", "-1");
    mark.setAttribute("tabindex", "0");
    say(mark);
  });
  svg.addEventListener("focusout", hide);
  svg.addEventListener("keydown", (event) => {
    const mark = of(event);
    if (!mark) return;
    if ((event.key === "Enter" || event.key === " ") && mark.dataset.head) {
      // Lighting a mark moves it to the front, which takes the keyboard from it.
      light.toggle(mark.dataset.head);
      mark.focus();
    } else {
      const next = neighbour(marks, mark, event.key);
      if (!next) return;
      next.focus();
    }
    event.preventDefault();
  });
}

const WAYS: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/** The nearest mark in that direction; what lies aside counts as farther. */
function neighbour(marks: SVGGraphicsElement[], from: SVGGraphicsElement, key: string): SVGGraphicsElement | null {
  const way = WAYS[key];
  if (!way) return null;
  const centre = (mark: SVGGraphicsElement) => {
    const box = mark.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  };
  const [x, y] = centre(from);
  let best: SVGGraphicsElement | null = null;
  let least = Infinity;
  for (const mark of marks) {
    const [mx, my] = centre(mark);
    const ahead = (mx - x) * way[0] + (my - y) * way[1];
    const aside = Math.abs((mx - x) * way[1]) + Math.abs((my - y) * way[0]);
    const distance = ahead + aside * 3;
    if (ahead > 0.5 && distance < least) {
      least = distance;
      best = mark;
    }
  }
  return best;
}

/** Puts the heads of each layer in order, the largest number first, and back. */
function sorting(tools: Element, marks: SVGGraphicsElement[]): void {
  const rows = new Map<string, SVGGraphicsElement[]>();
  for (const mark of marks) {
    const layer = mark.dataset.head!.split(".")[0];
    rows.set(layer, [...(rows.get(layer) ?? []), mark]);
  }
  const places = new Map([...rows].map(([layer, row]) => [layer, row.map((mark) => mark.getAttribute("x")!)]));
  const value = (mark: SVGGraphicsElement) => {
    const text = mark.dataset.row!.split(",")[2];
    return text === "" ? -Infinity : Number(text);
  };
  // Crosses through masked heads belong to their cells.
  const crosses = new Map<SVGGraphicsElement, Element[]>();
  for (const mark of marks) {
    const found: Element[] = [];
    let next = mark.nextElementSibling;
    while (next?.tagName === "path" && !next.classList.contains("mark")) {
      found.push(next);
      next = next.nextElementSibling;
    }
    crosses.set(mark, found);
  }
  let sorted = false;
  const toggle = button(tools, "Sort", "Put the heads of each layer in order, the largest number first", () => {
    sorted = !sorted;
    toggle.setAttribute("aria-pressed", String(sorted));
    for (const [layer, row] of rows) {
      const order = sorted ? [...row].sort((a, b) => value(b) - value(a)) : row;
      order.forEach((mark, at) => {
        const before = places.get(layer)![row.indexOf(mark)];
        const to = places.get(layer)![at];
        mark.setAttribute("x", to);
        const shift = Number(to) - Number(before);
        for (const cross of crosses.get(mark)!) cross.setAttribute("transform", `translate(${shift} 0)`);
      });
    }
    const axis = marks[0]?.ownerSVGElement;
    axis?.classList.toggle("sorted", sorted);
    for (const label of axis?.querySelectorAll("text") ?? []) {
      if (label.textContent === "head" || label.textContent === "rank of the head in its layer") {
        label.textContent = sorted ? "rank of the head in its layer" : "head";
      }
    }
  });
  toggle.setAttribute("aria-pressed", "false");
}
