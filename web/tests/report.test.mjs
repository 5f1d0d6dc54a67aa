// Reports, joined heads and comparisons in Chromium: from disk, without a network.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { bertology, npy, root } from "./lib/bertology.mjs";
import { NARROW, WIDE, open, shutdown, slower } from "./lib/browser.mjs";
import { CLUSTERS, COMMANDS, HEADS, LAYERS, makeAll, renamed, runOf, suite } from "./lib/runs.mjs";

const NASTY = `<img src=x onerror="alert(1)">&</script><script>alert(2)</script>`;
let base;
const page = (name) => join(base, name, "report.html");

before(() => {
  base = mkdtempSync(join(tmpdir(), "bertology-report-"));
  makeAll(base);
  // Another model: without some of the heads.
  runOf(base, "prune", "fewer", undefined, ["--heads", "0.1", "--heads", "2.3"]);
  runOf(base, "importance", "pruned", join(base, "fewer/model"));
  const run = (name) => join(base, name);
  const six = ["importance", "ablate", "patterns", "syntax", "cluster", "coref"].map(run);
  bertology("heads", ...six, "--html", join(base, "heads.html"), "--output", join(base, "heads.csv"), "--quiet");
  const code = ["assets/tiny-code", "--code", "assets/code/functions.jsonl", "--limit", "80", "--permutations", "20", "--resamples", "60"];
  bertology("cat", ...code, "--output", run("cat"), "--quiet");
  bertology("heads", run("cluster"), "--html", join(base, "kinds.html"), "--quiet");
  bertology("compare", run("pruned"), run("importance"), "--output", join(base, "compare.html"), "--quiet");
});

after(async () => {
  await shutdown();
  rmSync(base, { recursive: true, force: true });
});

/** Texts of figures that are cut off or lie over each other, and whatever sticks out of the page. */
function laidOut(page) {
  return page.evaluate(() => {
    const found = [];
    const { scrollWidth, clientWidth } = document.documentElement;
    if (scrollWidth > clientWidth + 1) found.push(`the page is ${scrollWidth} wide`);
    for (const svg of document.querySelectorAll("svg.figure")) {
      if (!svg.getClientRects().length) continue;
      const name = svg.closest("figure").id;
      const frame = svg.getBoundingClientRect();
      const texts = [...svg.querySelectorAll("text")].map((text) => ({ text: text.textContent, box: text.getBoundingClientRect() }));
      for (const { text, box } of texts) {
        const inside = box.left >= frame.left - 1 && box.right <= frame.right + 1 && box.top >= frame.top - 1 && box.bottom <= frame.bottom + 1;
        if (!inside) found.push(`${name}: "${text}" is cut`);
      }
      for (let i = 0; i < texts.length; i++) {
        for (let j = i + 1; j < texts.length; j++) {
          const [a, b] = [texts[i].box, texts[j].box];
          const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
          // Boxes of lines of text are higher than their letters.
          const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
          if (across > 1 && down > Math.min(a.height, b.height) * 0.3) found.push(`${name}: "${texts[i].text}" lies over "${texts[j].text}"`);
        }
      }
    }
    for (const element of document.querySelectorAll("button, h1, h2, h3, .numbers dd")) {
      if (element.getClientRects().length && element.scrollWidth > element.clientWidth + 1) found.push(`"${element.textContent}" is cut`);
    }
    return found;
  });
}

const PAGES = [...COMMANDS.map((name) => [name, () => page(name)]), ["four edge probes", () => join(suite(base), "report.html")], ["cat", () => page("cat")], ["heads", () => join(base, "heads.html")], ["compare", () => join(base, "compare.html")]];

for (const [name, file] of PAGES) {
  test(`${name}: nothing is cut or covered, wide and narrow`, async () => {
    for (const viewport of [WIDE, NARROW]) {
      const shown = await open(file(), { viewport });
      await shown.page.evaluate(() => document.querySelectorAll("details").forEach((element) => (element.open = true)));
      assert.deepEqual(await laidOut(shown.page), [], `${viewport.width} wide`);
      await shown.close();
    }
  });
}

test("no page says where on a disk its folders lie", () => {
  for (const [name, file] of PAGES) {
    const html = readFileSync(file(), "utf8");
    for (const place of [base, root]) assert.ok(!html.includes(`${place}/`), `${name} names ${place}`);
  }
});

/** What the page reads out at the middle of an element. */
async function readAt(page, selector) {
  const mark = page.locator(selector);
  await mark.scrollIntoViewIfNeeded();
  await mark.hover();
  return page.locator(".tip:not([hidden])").textContent();
}

const numberOf = (text) => Number(text.match(/: (\S+)/)[1].replace("−", "-"));

test("numbers under the pointer are those of the arrays", async () => {
  const shown = await open(page("importance"));
  for (const [figure, file] of [["heat-importance", "head_importance.npy"], ["heat-entropy", "attn_entropy.npy"]]) {
    const { values } = npy(join(base, "importance", file));
    for (const [layer, head] of [[0, 0], [2, 3], [3, 1], [1, 2]]) {
      const text = await readAt(shown.page, `#${figure} [data-head="${layer}.${head}"]`);
      assert.match(text, new RegExp(`^layer ${layer}, head ${head}: `));
      const value = values[layer * HEADS + head];
      assert.ok(Math.abs(numberOf(text) - value) <= Math.abs(value) * 1e-5, `${text}, not ${value}`);
    }
    // And every other one, as it would be saved.
    const rows = await shown.page.$$eval(`#${figure} .mark`, (marks) => marks.map((mark) => mark.dataset.row));
    assert.equal(rows.length, LAYERS * HEADS);
    for (const row of rows) {
      const [layer, head, value] = row.split(",").map(Number);
      assert.equal(Math.fround(value), values[layer * HEADS + head]);
    }
  }
  await shown.close();
  const ablate = await open(page("ablate"));
  const loss = npy(join(base, "ablate", "head_ablation_loss.npy")).values;
  const text = await readAt(ablate.page, `#heat-ablation-loss [data-head="0.0"]`);
  assert.ok(Math.abs(numberOf(text) - loss[0]) <= Math.abs(loss[0]) * 1e-5, text);
  await ablate.close();
});

test("distances under the pointer are those of the arrays, each between its own", async () => {
  const shown = await open(page("distance"));
  for (const measure of ["words", "tokens", "tokens_without_special"]) {
    const { values } = npy(join(base, "distance", `distance_${measure}.npy`));
    const figure = `#heat-distance-${measure.replaceAll("_", "-")}`;
    for (const [layer, head] of [[0, 0], [2, 3], [3, 1]]) {
      const text = await readAt(shown.page, `${figure} [data-head="${layer}.${head}"]`);
      assert.match(text, new RegExp(`^layer ${layer}, head ${head}: `));
      const value = values[layer * HEADS + head];
      assert.ok(Math.abs(numberOf(text) - value) <= value * 1e-5, `${measure}: ${text}, not ${value}`);
    }
    const rows = await shown.page.$$eval(`${figure} .mark`, (marks) => marks.map((mark) => Number(mark.dataset.row.split(",")[2])));
    assert.deepEqual(rows, [...values]);
  }
  await shown.close();
});

test("the pointer leaves and the number goes", async () => {
  const shown = await open(page("importance"));
  await readAt(shown.page, `#heat-importance [data-head="2.3"]`);
  await shown.page.mouse.move(5, 400);
  assert.equal(await shown.page.locator(".tip").isVisible(), false);
  await shown.close();
});

test("tables go into the order of the column that is clicked", async () => {
  const shown = await open(page("importance"));
  const column = (at) => shown.page.$$eval(`#heads tbody td:nth-child(${at})`, (cells) => cells.map((cell) => Number(cell.dataset.value)));
  const sorted = (values, sign) => values.every((value, i) => i === 0 || sign * (values[i - 1] - value) <= 0);
  assert.ok(sorted(await column(3), -1), "the most important head is not first");
  const header = (name) => shown.page.locator("#heads th button", { hasText: name });
  await header("entropy").click();
  assert.ok(sorted(await column(5), -1));
  assert.equal(await shown.page.locator("#heads th[aria-sort]").getAttribute("aria-sort"), "descending");
  await header("entropy").click();
  assert.ok(sorted(await column(5), 1));
  await header(/^layer$/).click();
  assert.ok(sorted(await column(1), 1), "layers begin with the first");
  await shown.close();
});

test("a heat map puts the heads of each layer in order, and back", async () => {
  const shown = await open(page("importance"));
  const { values } = npy(join(base, "importance", "head_importance.npy"));
  const rows = () =>
    shown.page.$$eval("#heat-importance .mark", (marks) =>
      marks.map((mark) => ({ head: mark.dataset.head, x: Number(mark.getAttribute("x")) })),
    );
  const before = await rows();
  const button = shown.page.locator("#heat-importance button", { hasText: "Sort" });
  await button.click();
  const layer = (await rows()).filter(({ head }) => head.startsWith("2.")).sort((a, b) => a.x - b.x);
  const found = layer.map(({ head }) => values[2 * HEADS + Number(head.split(".")[1])]);
  assert.deepEqual(found, [...found].sort((a, b) => b - a));
  assert.equal(await button.getAttribute("aria-pressed"), "true");
  assert.ok(await shown.page.locator("#heat-importance text", { hasText: "rank of the head" }).count());
  await button.click();
  assert.deepEqual(await rows(), before);
  await shown.close();
});

test("a head is lit in every figure and table at once", async () => {
  const shown = await open(page("importance"));
  await shown.page.locator(`#heat-importance [data-head="3.2"]`).click();
  const lit = () => shown.page.$$eval(".lit", (all) => all.map((one) => [one.tagName, one.dataset.head]));
  const found = await lit();
  // Two maps, two distributions, the intervals of importance and a row.
  assert.equal(found.length, 6);
  assert.ok(found.every(([, head]) => head === "3.2"));
  assert.ok(found.some(([tag]) => tag === "TR"));
  await shown.page.keyboard.press("Escape");
  assert.deepEqual(await lit(), []);
  await shown.close();
});

test("figures are worked by keyboard", async () => {
  const shown = await open(page("importance"));
  const first = shown.page.locator(`#heat-importance .mark[tabindex="0"]`);
  assert.equal(await first.count(), 1);
  await first.focus();
  const said = () => shown.page.locator(".tip:not([hidden])").textContent();
  assert.match(await said(), /^layer 0, head 0: /);
  await shown.page.keyboard.press("ArrowRight");
  await shown.page.keyboard.press("ArrowDown");
  await shown.page.keyboard.press("ArrowDown");
  assert.match(await said(), /^layer 2, head 1: /);
  await shown.page.keyboard.press("ArrowLeft");
  await shown.page.keyboard.press("ArrowUp");
  assert.match(await said(), /^layer 1, head 0: /);
  await shown.page.keyboard.press("Enter");
  assert.equal(await shown.page.evaluate(() => document.activeElement.dataset.head), "1.0");
  assert.equal(await shown.page.locator("#heat-importance .lit").getAttribute("data-head"), "1.0");
  // Tables and buttons are ordinary ones.
  await shown.page.locator("#heads th button").first().focus();
  await shown.page.keyboard.press("Enter");
  assert.equal(await shown.page.locator("#heads th").first().getAttribute("aria-sort"), "ascending");
  await shown.close();
});

test("labels for those who do not see", async () => {
  const shown = await open(page("importance"));
  const nameless = await shown.page.evaluate(() => {
    const all = [...document.querySelectorAll("button, svg.figure, .mark, table, [role=region]")];
    return all.filter((element) => !element.textContent.trim() && !element.getAttribute("aria-label") && !element.getAttribute("aria-labelledby")).map((e) => e.outerHTML.slice(0, 80));
  });
  assert.deepEqual(nameless, []);
  assert.equal(await shown.page.locator("th:not([scope=col])").count(), 0);
  assert.equal(await shown.page.locator("h1").count(), 1);
  await shown.close();
});

test("files are saved with all digits", async () => {
  const shown = await open(page("importance"));
  const save = async (selector, name) => {
    const [download] = await Promise.all([shown.page.waitForEvent("download"), shown.page.locator(selector, { hasText: name }).click()]);
    return { name: download.suggestedFilename(), text: readFileSync(await download.path(), "utf8") };
  };
  const { values } = npy(join(base, "importance", "head_importance.npy"));
  // The page's order and light do not reach the files.
  await shown.page.locator("#heat-importance button", { hasText: "Sort" }).click();
  await shown.page.locator(`#heat-importance [data-head="0.3"]`).click();
  const csv = await save("#heat-importance button", "CSV");
  assert.equal(csv.name, "importance-heat-importance.csv");
  const lines = csv.text.trimEnd().split("\r\n");
  assert.equal(lines[0], "layer,head,importance");
  const cells = new Map(lines.slice(1).map((line) => [line.split(",").slice(0, 2).join("."), Number(line.split(",")[2])]));
  assert.equal(cells.size, LAYERS * HEADS);
  assert.equal(Math.fround(cells.get("3.2")), values[3 * HEADS + 2]);
  const svg = await save("#heat-importance button", "SVG");
  assert.equal(svg.name, "importance-heat-importance.svg");
  // The same file as the command writes.
  const figures = join(base, "figures");
  bertology("report", join(base, "importance"), "--figures", figures, "--quiet");
  const written = readFileSync(join(figures, "heat-importance.svg"), "utf8");
  const marks = (text) => text.match(/<rect [^>]*data-row="[^"]*"/g);
  assert.deepEqual(marks(svg.text), marks(written));
  const table = await save("#heads button.small", "CSV");
  assert.equal(table.name, "importance-heads.csv");
  assert.equal(table.text.trimEnd().split("\r\n").length, LAYERS * HEADS + 1);
  await shown.close();
});

test("SVG files are pictures by themselves", async () => {
  const figures = join(base, "alone");
  bertology("report", join(base, "cluster"), "--figures", figures, "--quiet");
  const shown = await open(page("importance"));
  const sizes = await shown.page.evaluate(async (text) => {
    const image = new Image();
    image.src = `data:image/svg+xml,${encodeURIComponent(text)}`;
    await image.decode();
    return [image.naturalWidth, image.naturalHeight];
  }, readFileSync(join(figures, "map-of-heads.svg"), "utf8"));
  assert.ok(sizes[0] > 400 && sizes[1] > 250, String(sizes));
  await shown.close();
});

test("colours follow the system until the button says otherwise", async () => {
  for (const theme of ["light", "dark"]) {
    const shown = await open(page("mask"), { theme });
    const colours = () =>
      shown.page.evaluate(() => {
        const style = (selector) => getComputedStyle(document.querySelector(selector));
        return [style("html").backgroundColor, style("svg.figure text").fill, style("#mask .mark").fill];
      });
    const before = await colours();
    await shown.page.locator("[data-theme-switch]").click();
    const after = await colours();
    before.forEach((colour, i) => assert.notEqual(colour, after[i], `${theme}: ${i}`));
    await shown.page.locator("[data-theme-switch]").click();
    assert.deepEqual(await colours(), before);
    await shown.close();
  }
});

test("markup in names is text", async () => {
  renamed(base, "importance", "nasty", NASTY);
  const shown = await open(page("nasty"));
  // A heading names the model by the last part of its path.
  const last = NASTY.slice(NASTY.lastIndexOf("/") + 1);
  assert.ok((await shown.page.locator(".facts").textContent()).includes(last));
  await shown.page.evaluate(() => document.querySelectorAll("details").forEach((element) => (element.open = true)));
  assert.ok((await shown.page.locator("main").textContent()).includes(`label ${NASTY}`));
  assert.equal(await shown.page.locator("img").count(), 0);
  await shown.close();
});

test("without a script everything can be read", async () => {
  const html = readFileSync(page("patterns"), "utf8");
  const body = html.slice(html.indexOf("<main"), html.indexOf("</main>"));
  assert.ok(!body.includes("<script"));
  assert.ok(body.includes("[SEP]") && body.match(/<svg/g).length > 10);
  assert.ok(body.includes("<title>layer 0, head 0: "), "browsers show titles by themselves");
});

test("the map of heads has a shape for each kind", async () => {
  const shown = await open(join(base, "kinds.html"));
  const shapes = await shown.page.$$eval("#map-of-heads .mark", (marks) => {
    const kinds = new Map();
    for (const mark of marks) {
      const kind = mark.dataset.row.split(",").at(-1);
      const shape = mark.getAttribute("d").replace(/-?[\d.]+/g, "n") + mark.getAttribute("fill");
      kinds.set(kind, new Set([...(kinds.get(kind) ?? []), shape]));
    }
    return [...kinds].map(([kind, shapes]) => [kind, [...shapes]]);
  });
  assert.equal(shapes.length, CLUSTERS);
  assert.ok(shapes.every(([, own]) => own.length === 1));
  assert.equal(new Set(shapes.map(([, own]) => own[0])).size, shapes.length);
  await shown.close();
});

test("a comparison shows heads that one run lacks as missing", async () => {
  const shown = await open(join(base, "compare.html"));
  const a = npy(join(base, "pruned", "head_importance.npy")).values;
  const b = npy(join(base, "importance", "head_importance.npy")).values;
  const text = await readAt(shown.page, `#importance-difference [data-head="3.1"]`);
  const value = b[3 * HEADS + 1] - a[3 * HEADS + 1];
  assert.ok(Math.abs(numberOf(text) - value) <= Math.abs(value) * 1e-4, `${text}, not ${value}`);
  assert.equal(await readAt(shown.page, `#importance-difference [data-head="0.1"]`), "layer 0, head 1: not in both runs");
  assert.ok((await shown.page.locator(`#importance-heads tr[data-head="0.1"]`).textContent()).includes("missing"));
  await shown.close();
});

/** Rows of a table as objects. */
function table(file) {
  const [header, ...lines] = readFileSync(file, "utf8").trimEnd().split(/\r?\n/);
  const names = header.split(",");
  return lines.map((line) => Object.fromEntries(line.split(",").map((value, i) => [names[i], value])));
}

test("edge probes: curves, controls and traces are those of the files", async () => {
  const shown = await open(join(suite(base), "report.html"));
  const layers = table(join(suite(base), "edge_layers.csv"));
  const tasks = [...new Set(layers.map((row) => row.task))];
  assert.deepEqual(tasks, ["pos", "dependencies", "agreement", "coreference"]);
  const rows = await shown.page.$$eval("#edge-curves .mark", (marks) => marks.map((mark) => mark.dataset.row.split(",")));
  assert.equal(rows.length, tasks.length * (LAYERS + 1));
  for (const { task, layer, score } of layers) {
    const row = rows.find(([name, x]) => name === task && Number(x) === Number(layer));
    assert.ok(Math.abs(Number(row[2]) - Number(score)) < 1e-12, `${row}, not ${score}`);
  }
  // What is known of the data: words alone are right on exactly half.
  for (const task of ["agreement", "coreference"]) {
    assert.equal(Number(rows.find(([name, x]) => name === task && x === "0")[2]), 0.5);
  }
  const { score } = layers.find((row) => row.task === "agreement" && Number(row.layer) === LAYERS);
  const read = await readAt(shown.page, `#edge-curves .mark[data-row^="agreement,${LAYERS},"]`);
  assert.ok(Math.abs(numberOf(read) - score) < 1e-5, `${read}, not ${score}`);
  for (const [at, task] of tasks.entries()) {
    assert.ok((await shown.page.locator(`#edge-controls-${at} h3`).textContent()).startsWith(task));
    assert.equal(await shown.page.locator(`#edge-weights-${at} text`, { hasText: /^(weight|gain)$/ }).count(), 2);
    assert.ok((await shown.page.locator(`#edge-stable-${at} .mark`).count()) >= LAYERS);
  }
  assert.equal(await shown.page.locator("[id^=edge-trace-]").count(), 6);
  await shown.close();
  // All controls, of one task.
  const one = await open(page("edge-probe"));
  const names = await one.page.$$eval("#edge-controls-0 text", (texts) => texts.map((text) => text.textContent));
  for (const name of ["given labels", "random encoder", "control task", "shuffled labels", "majority", "words' majority"]) {
    assert.ok(names.includes(name), `${name} is not among ${names}`);
  }
  const [{ compression }] = table(join(base, "edge-probe", "edge_layers.csv")).slice(-1);
  const code = await one.page.$$eval("#edge-code .mark", (marks) => marks.map((mark) => Number(mark.dataset.row.split(",")[2])));
  assert.equal(code.length, LAYERS + 1);
  assert.ok(Math.abs(code[LAYERS] - Number(compression)) < 1e-12);
  await one.close();
});

test("cat: layers, kinds and the function that is shown are those of the files", async () => {
  const shown = await open(page("cat"));
  const layers = table(join(base, "cat", "cat_layers.csv"));
  const marks = (id) => shown.page.$$eval(`#${id} .mark`, (marks) => marks.map((mark) => mark.dataset.row.split(",")));
  const rows = await marks("cat-layers");
  for (const [name, encoder, measure] of [["model", "model", "cat"], ["1/(1+|i-j|)", "model", "offset"], ["untrained", "random 1", "cat"]]) {
    for (const { layer, mean } of layers.filter((row) => row.encoder === encoder && row.measure === measure)) {
      const row = rows.find(([own, x]) => own === name && Number(x) === Number(layer));
      assert.ok(row && Math.abs(Number(row[2]) - Number(mean)) < 1e-12, `${row}, not ${mean}`);
    }
  }
  const { leaves, distances } = JSON.parse(readFileSync(join(base, "cat", "cat_example.json"), "utf8"));
  assert.equal((await marks("cat-example-distances")).length, leaves.length ** 2);
  assert.equal(distances.length, leaves.length ** 2);
  const texts = await shown.page.$$eval("#cat-example-distances text", (texts) => texts.map((text) => text.textContent));
  assert.ok(texts.includes(leaves[0]), `${leaves[0]} is not among ${texts}`);
  const [kind] = table(join(base, "cat", "cat_kinds.csv"));
  assert.ok((await marks("cat-kinds")).length > 4 && Number(kind.cells) > 0);
  await shown.close();
  for (const theme of ["light", "dark"]) {
    for (const viewport of [WIDE, NARROW]) {
      const themed = await open(page("cat"), { theme, viewport });
      const { text, ratio } = await contrast(themed.page);
      assert.ok(ratio >= 3, `${theme}: "${text}" has a contrast of ${ratio}`);
      await themed.close();
    }
  }
});

/** The least contrast between a text of a figure and what it stands on. */
function contrast(page) {
  return page.evaluate(() => {
    const context = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
    const light = (colour) => {
      context.clearRect(0, 0, 1, 1);
      context.fillStyle = colour;
      context.fillRect(0, 0, 1, 1);
      const linear = [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
      return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const found = [...document.querySelectorAll("svg.figure text")].map((text) => {
      const ground = getComputedStyle(text.closest("figure")).backgroundColor;
      const [a, b] = [light(getComputedStyle(text).fill), light(ground)].sort((a, b) => b - a);
      return { text: text.textContent, ratio: (a + 0.05) / (b + 0.05) };
    });
    return found.sort((a, b) => a.ratio - b.ratio)[0];
  });
}

test("edge probes: texts of figures can be read in both themes, wide and narrow", async () => {
  for (const theme of ["light", "dark"]) {
    for (const viewport of [WIDE, NARROW]) {
      for (const file of [page("edge-probe"), join(suite(base), "report.html")]) {
        const shown = await open(file, { theme, viewport });
        assert.deepEqual(await laidOut(shown.page), [], `${theme}, ${viewport.width} wide`);
        const { text, ratio } = await contrast(shown.page);
        // Of large and bold parts of a picture WCAG asks 3.
        assert.ok(ratio >= 3, `${theme}: "${text}" has a contrast of ${ratio}`);
        await shown.close();
      }
    }
  }
});

test("pages are small and drawn quickly", async () => {
  for (const [name, file] of PAGES) {
    const size = readFileSync(file()).length;
    assert.ok(size < 1_200_000, `${name}: ${size} bytes`);
    const shown = await open(file());
    const drawn = await shown.page.evaluate(() => performance.getEntriesByName("drawn")[0].startTime);
    assert.ok(drawn < 1000 * slower, `${name}: drawn after ${drawn} ms`);
    await shown.close();
  }
});

test("pictures for the documentation", async () => {
  const pictures = process.env.PICTURES ?? join(base, "pictures");
  mkdirSync(pictures, { recursive: true });
  const all = [
    ["report-importance", page("importance")],
    ["report-mask", page("mask")],
    ["report-ablate", page("ablate")],
    ["report-patterns", page("patterns")],
    ["report-syntax", page("syntax")],
    ["report-cluster", page("cluster")],
    ["report-edge-probe", join(suite(base), "report.html")],
    ["report-cat", page("cat")],
    ["heads", join(base, "heads.html")],
    ["compare", join(base, "compare.html")],
  ];
  for (const [name, file] of all) {
    for (const [theme, viewport, size] of [["light", WIDE, "wide"], ["dark", WIDE, "wide"], ["light", NARROW, "narrow"], ["dark", NARROW, "narrow"]]) {
      const shown = await open(file, { theme, viewport });
      const path = join(pictures, `${name}-${theme}-${size}.png`);
      await shown.page.screenshot({ path });
      if (process.env.PICTURES) {
        execFileSync("pngquant", ["--force", "--skip-if-larger", "--strip", "--speed", "1", "--output", path, "256", path]);
      }
      assert.ok(readFileSync(path).length < 250_000, `${path} is too large`);
      await shown.close();
    }
  }
});
