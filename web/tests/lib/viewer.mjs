// What tests do with the attention viewer, and what they read from it.

import assert from "node:assert/strict";
import { longest } from "./browser.mjs";

export const chooseView = (page, view) => page.locator(`[role=tab][data-value=${view}]`).click();
export const tile = (page, head) => page.locator(`.tile[data-head="${head}"]`);
export const token = (page, side, unit) => page.locator(`[data-side=${side}] [data-unit="${unit}"]`);
export const labelOf = (page, unit) => token(page, "query", unit).locator(".label").evaluate((e) => e.textContent);
/** All heads of a layer at once. */
export const allOn = (page) => page.getByRole("button", { name: "all", exact: true }).click();
export const layerSelect = (page) => page.locator(".layer-select");

/** The pointer over a cell of the matrix, which is scrolled to it; gives what the page says of it. Maps are unpacked
 * after the view is shown, so the pointer moves until there is something under it. */
export async function cellAt(page, i, j) {
  const weight = page.getByTestId("cell-weight");
  for (let frame = 0; frame < 600; frame++) {
    const [x, y] = await page.locator(".matrix-view .scroller").evaluate(
      (element, [i, j]) => {
        const { side, labels } = Object.fromEntries(Object.entries(element.dataset).map(([k, v]) => [k, Number(v)]));
        const seen = (at, from, size) => at >= from && at + side <= from + size - labels;
        if (!seen(i * side, element.scrollTop, element.clientHeight)) element.scrollTop = i * side - 40;
        if (!seen(j * side, element.scrollLeft, element.clientWidth)) element.scrollLeft = j * side - 40;
        const box = element.getBoundingClientRect();
        return [
          box.x + labels + (j + 0.5) * side - element.scrollLeft,
          box.y + labels + (i + 0.5) * side - element.scrollTop,
        ];
      },
      [i, j],
    );
    await page.mouse.move(x - 1, y);
    await page.mouse.move(x, y);
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    if (await weight.count()) return Number(await weight.getAttribute("data-value"));
  }
  assert.fail(`no weight at ${i}, ${j}`);
}

/** Milliseconds of the longest task while this is done; of up to three rounds the best, since other processes can
 * only make it longer. */
export async function hovering(page, go) {
  let best = Infinity;
  for (let round = 0; round < 3 && best > 100; round++) {
    const since = await page.evaluate(() => performance.now());
    await go();
    best = Math.min(best, Math.round(await longest(page, since)));
  }
  return best;
}

/** Within the quantisation that the page states: 1/510 of the row's largest weight. */
export function near(found, expected, row, what) {
  const bound = Math.max(...row) / 510 + 1e-6;
  assert.ok(Math.abs(found - expected) <= bound, `${what}: ${found} is not ${expected}`);
}
