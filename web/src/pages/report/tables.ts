// Tables: a click on a column's name puts the rows in its order, another turns the order round.

import { csv, download } from "../../common/download";
import type { Light } from "./light";
import { button } from "./tools";

export function enhanceTable(sheet: HTMLElement, file: string, light: Light): void {
  const table = sheet.querySelector("table")!;
  const body = table.tBodies[0];
  const names = [...table.tHead!.rows[0].cells];
  const title = sheet.querySelector("h3")!.textContent!;
  const cellOf = (row: HTMLTableRowElement, at: number) => row.cells[at];
  const numberOf = (cell: HTMLTableCellElement) => (cell.dataset.value === undefined ? null : Number(cell.dataset.value));

  const sort = (at: number) => {
    const numeric = names[at].classList.contains("right");
    const before = names[at].getAttribute("aria-sort");
    // Numbers begin with the largest; layers, heads and names with the first.
    const index = ["layer", "head", "step", "cluster"].includes(names[at].textContent!.trim());
    const first = numeric && !index ? "descending" : "ascending";
    const order = before === first ? (first === "descending" ? "ascending" : "descending") : first;
    const sign = order === "ascending" ? 1 : -1;
    const rows = [...body.rows];
    rows.sort((a, b) => {
      const [x, y] = [cellOf(a, at), cellOf(b, at)];
      if (!numeric) return sign * x.textContent!.localeCompare(y.textContent!, "en", { numeric: true });
      const [p, q] = [numberOf(x), numberOf(y)];
      // What has no number comes last, whatever the order.
      if (p === null || q === null) return Number(p === null) - Number(q === null);
      return sign * (p - q);
    });
    body.append(...rows);
    for (const name of names) name.removeAttribute("aria-sort");
    names[at].setAttribute("aria-sort", order);
  };
  names.forEach((name, at) => {
    const text = name.textContent!;
    name.textContent = "";
    const made = document.createElement("button");
    made.type = "button";
    made.className = "sort";
    made.textContent = text;
    made.addEventListener("click", () => sort(at));
    name.append(made);
  });
  body.addEventListener("click", (event) => {
    const head = (event.target as Element).closest<HTMLElement>("tr[data-head]")?.dataset.head;
    // Text that is being selected is no click.
    if (head && getSelection()?.isCollapsed !== false) light.toggle(head);
  });

  const tools = sheet.querySelector(".plot-tools")!;
  button(tools, "CSV", `Save "${title}" as CSV, in the order shown`, () => {
    const rows = [...body.rows].map((row) =>
      [...row.cells].map((cell) => {
        if (cell.dataset.value !== undefined) return cell.dataset.value;
        return cell.textContent === "–" ? "" : cell.textContent!;
      }),
    );
    download(`${file}-${sheet.id}.csv`, "text/csv", csv([names.map((name) => name.textContent!), ...rows]));
  });
}
