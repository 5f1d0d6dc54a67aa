// Several texts in one attention viewer, the address that opens it, the head that it opens with, and its words.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { after, before, describe, test } from "node:test";
import { bertology, npy, safetensors } from "./lib/bertology.mjs";
import { NARROW, laidOut, open, settled, shows, shutdown } from "./lib/browser.mjs";
import { make } from "./lib/made.mjs";
import { allOn, cellAt, chooseView, layerSelect, near, tile, token } from "./lib/viewer.mjs";

const work = mkdtempSync(join(tmpdir(), "bertology-web-"));
const at = (name) => join(work, name);

after(async () => {
  await shutdown();
  rmSync(work, { recursive: true, force: true });
});

const textSelect = (page) => page.locator(".text-select");
/** The address, once it is what is expected; it follows after a moment. */
const address = (page, hash) => page.waitForFunction((hash) => location.hash === hash, hash);
const pressed = (page) => page.locator(".tile[aria-pressed=true]").allInnerTexts();

describe("a page of several texts that the command wrote", () => {
  const texts = [["The horses near the house were admired."], ["No woman faints.", "The dog sleeps."], ["The old man sees every dog."]];
  let opened;
  let arrays;

  before(async () => {
    writeFileSync(at("texts.txt"), `${texts.map((text) => text.join("\t")).join("\n")}\n`);
    bertology("view", "assets/tiny-bert", "--text", at("texts.txt"), "--output", at("texts.html"));
    arrays = texts.map(([a, b], i) => {
      writeFileSync(at(`${i}.jsonl`), JSON.stringify(b ? { a, b } : { a }) + "\n");
      const columns = ["--text-column", "a", ...(b ? ["--pair-column", "b"] : [])];
      bertology("extract", "assets/tiny-bert", "--data", at(`${i}.jsonl`), ...columns, "--attentions", "--logits", "--output", at(`x${i}`));
      return safetensors(at(`x${i}/shard-00000.safetensors`));
    });
    opened = await open(at("texts.html"));
  });
  after(() => opened.close());

  test("each has its own numbers, and layer, head and tab stay", async () => {
    const { page } = opened;
    await chooseView(page, "matrix");
    await layerSelect(page).selectOption("2");
    await tile(page, 1).click();
    for (const [i, { input_ids, ...maps }] of arrays.entries()) {
      await textSelect(page).selectOption(String(i));
      const n = input_ids.values.length;
      const map = maps["attentions.2.1"].values;
      for (const [query, key] of [[1, 2], [n - 1, 0], [3, n - 2]]) {
        const row = map.subarray(query * n, (query + 1) * n);
        near(await cellAt(page, query, key), row[key], row, `text ${i}, ${query} to ${key}`);
      }
      await shows(page.locator(".caption"), /layer 2, head 1/);
      await shows(page.locator(".facts"), new RegExp(`3 texts · ${n} tokens`));
      // The prediction is that of this text.
      const powers = [...maps.logits.values].map(Math.exp);
      const said = Number(await page.locator(".bars [data-value]").first().getAttribute("data-value"));
      const expected = powers[0] / powers.reduce((a, b) => a + b);
      assert.ok(Math.abs(said - expected) < 1e-5, `${said} is not ${expected}`);
    }
  });

  test("they are chosen by buttons and keys, and end at both ends", async () => {
    const { page } = opened;
    await textSelect(page).selectOption("0");
    const next = page.getByRole("button", { name: "Next text" });
    await next.click();
    assert.equal(await textSelect(page).inputValue(), "1");
    await page.locator("body").click({ position: { x: 2, y: 2 } });
    await page.keyboard.press("n");
    await page.keyboard.press("n");
    assert.equal(await textSelect(page).inputValue(), "2");
    assert.ok(await next.isDisabled());
    for (let i = 0; i < 3; i++) await page.keyboard.press("p");
    assert.equal(await textSelect(page).inputValue(), "0");
  });

  test("what only a pair has goes with it", async () => {
    const { page } = opened;
    await chooseView(page, "heads");
    await textSelect(page).selectOption("1");
    await page.locator(".tools [role=radio][data-value=ab]").click();
    await textSelect(page).selectOption("2");
    assert.equal(await page.locator(".tools [role=radio]").count(), 0);
    assert.equal(await page.locator("[data-side=key] .token").count(), arrays[2].input_ids.values.length);
  });

  test("rollout, thumbnails and neurons follow the text", async () => {
    const { page } = opened;
    await chooseView(page, "matrix");
    await layerSelect(page).selectOption("0");
    await page.getByLabel("Show").selectOption("rollout");
    for (const i of [2, 0]) {
      await textSelect(page).selectOption(String(i));
      await page.waitForFunction(() => document.querySelector(".caption")?.textContent.includes("rollout"));
      const n = arrays[i].input_ids.values.length;
      const mean = [0, 1, 2, 3].reduce((sum, head) => sum + arrays[i][`attentions.0.${head}`].values[n + 3] / 4, 0);
      const found = await cellAt(page, 1, 3);
      assert.ok(Math.abs(found - mean / 2) < 2e-3, `text ${i}: ${found} is not ${mean / 2}`);
    }
    await page.getByLabel("Show").selectOption("each");
    await chooseView(page, "model");
    for (const i of [1, 2]) {
      await textSelect(page).selectOption(String(i));
      await page.waitForSelector(".thumbs[data-drawn=yes]");
    }
    await chooseView(page, "neurons");
    const queries = () => page.locator(".neuron-view select option").count();
    assert.equal(await queries(), arrays[2].input_ids.values.length);
    await page.locator(".neuron-view select").selectOption("5");
    await textSelect(page).selectOption("1");
    assert.equal(await queries(), arrays[1].input_ids.values.length);
    assert.equal(await page.locator(".neuron-view select").inputValue(), "2");
    await chooseView(page, "heads");
  });
});

test("weights are unpacked when their text is looked at", async () => {
  make(at("lazy.html"), { layers: 3, heads: 2, n: 10, headDim: 4, pair: false, more: [14, 12, 8, 9] });
  // Damaged weights of the second text are met when it is shown, and not before.
  const whole = readFileSync(at("lazy.html"), "utf8");
  const damaged = whole.replace(/(id="array-maps\.1\.0">)[^<]{8}/, "$1????????");
  assert.notEqual(damaged, whole);
  writeFileSync(at("damaged.html"), damaged);
  const bad = await open(at("damaged.html"));
  await chooseView(bad.page, "model");
  await bad.page.waitForSelector(".thumbs[data-drawn=yes]");
  assert.deepEqual(bad.wrong, []);
  await textSelect(bad.page).selectOption("1");
  await settled(bad.page, () => (bad.wrong.length ? null : "nothing is said of the damage"));
  // It may be said more than once, by whatever draws the text.
  await bad.close((line) => line.startsWith("InvalidCharacterError"));
  // Back and forth through more texts than keep what was unpacked of them.
  const { page, close } = await open(at("lazy.html"));
  for (const i of [1, 2, 3, 4, 0, 4, 0]) await textSelect(page).selectOption(String(i));
  assert.equal(await page.locator("[data-side=query] .token").count(), 10);
  await chooseView(page, "matrix");
  await cellAt(page, 2, 3);
  await close();
});

describe("the address", () => {
  const file = at("address.html");
  before(() => {
    const start = { layer: 1, head: 2, why: "that is first" };
    make(file, { layers: 3, heads: 4, n: 10, headDim: 4, pair: false, more: [8], pruned: [[2, 0], [2, 1]], start });
  });
  /** The page at an address. */
  const openAt = async (hash) => {
    const opened = await open(file);
    await opened.page.goto("about:blank");
    await opened.page.goto(pathToFileURL(file).href + hash);
    await opened.page.locator(".tools").waitFor();
    return opened;
  };
  /** The page itself, asked for under another fragment. */
  const ownAddress = (line) => line.startsWith("asked for file:");
  const alert = (page) => page.getByRole("alert");

  test("opens a tab, a layer, a head and a text", async () => {
    const { page, close } = await openAt("#tab=matrix&layer=2&head=3&text=1");
    await shows(page.locator(".caption"), /layer 2, head 3/);
    assert.equal(await textSelect(page).inputValue(), "1");
    assert.equal(await alert(page).count(), 0);
    // Following an address in the open page.
    await page.evaluate(() => (location.hash = "#tab=heads&layer=0&head=1&on=1,3"));
    await page.getByTestId("head-view").waitFor();
    assert.deepEqual(await pressed(page), ["1", "3"]);
    assert.equal(await textSelect(page).inputValue(), "1", "what it does not name stays");
    await close(ownAddress);
  });

  test("is kept while one moves, and a copy of it shows the same", async () => {
    const { page, close } = await open(file);
    await address(page, "#tab=heads&layer=1&head=2&text=0");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowRight");
    await address(page, "#tab=heads&layer=2&head=3&text=0");
    await page.keyboard.press("n");
    await allOn(page);
    await address(page, "#tab=heads&layer=2&head=3&text=1&on=all");
    const length = await page.evaluate(() => history.length);
    await chooseView(page, "neurons");
    await address(page, "#tab=neurons&layer=2&head=3&text=1&on=all");
    assert.equal(await page.evaluate(() => history.length), length, "no step of the browser's way back");
    await close();
  });

  test("asking for what is not there is said in one sentence", async () => {
    for (const [hash, said, then] of [
      ["#tab=heds", "there is no tab “heds” (there is heads, model, matrix, neurons).", "#tab=heads&layer=1&head=2&text=0"],
      ["#layer=9&head=3", "there is no layer “9” (there is 0 to 2).", "#tab=heads&layer=1&head=3&text=0"],
      ["#layer=2&head=0", "there is no head “0” in layer 2 (there is 2 and 3).", "#tab=heads&layer=2&head=2&text=0"],
      ["#text=2&head=-1", "there is no text “2” (there is 0 and 1); there is no head “-1” in layer 1 (there is 0 to 3).", "#tab=heads&layer=1&head=2&text=0"],
      ["#lyer=2", "“lyer” is unknown (known are tab, layer, head, text, on).", "#tab=heads&layer=1&head=2&text=0"],
      ["#layer=2&layer=0", "layer is given twice.", "#tab=heads&layer=1&head=2&text=0"],
      ["#on=1,7", "on cannot be “1,7” (it is all, none, or heads with commas between).", "#tab=heads&layer=1&head=2&text=0"],
      ["#%E0%A4%A&tab=<img src=x>", "", "#tab=heads&layer=1&head=2&text=0"],
    ]) {
      const { page, close } = await openAt(hash);
      const found = await alert(page).locator("span").innerText();
      const begin = "The address asks for what this page does not have: ";
      if (said) assert.equal(found, begin + said, hash);
      else assert.ok(found.startsWith(begin), found);
      await address(page, then);
      await alert(page).getByRole("button").click();
      assert.equal(await alert(page).count(), 0);
      assert.equal(await page.locator("img").count(), 0);
      await close(ownAddress);
    }
  });

  test("is not missed within another page", async () => {
    const escaped = readFileSync(file, "utf8").replaceAll("&", "&amp;").replaceAll('"', "&quot;");
    for (const [name, sandbox] of [["open", ""], ["boxed", 'sandbox="allow-scripts"']]) {
      const outer = at(`${name}.html`);
      const frame = `<iframe width="900" height="700" ${sandbox} srcdoc="${escaped}"></iframe>`;
      writeFileSync(outer, `<!doctype html><title>outer</title>${frame}<script>performance.mark("drawn")</script>`);
      const { page, close } = await open(outer);
      const inner = page.frameLocator("iframe");
      await inner.locator(".tile.here").waitFor();
      await inner.locator("[role=tab][data-value=matrix]").click();
      await inner.locator("[role=tab][data-value=matrix][aria-selected=true]").waitFor();
      await inner.getByRole("button", { name: "Next layer" }).click();
      await shows(inner.locator(".caption"), /layer 2, head 2/);
      await page.waitForTimeout(400);
      assert.equal(new URL(page.url()).hash, "", "the outer page's address is its own");
      await close((line) => line === "asked for about:srcdoc");
    }
  });
});

describe("one head at first", () => {
  test("the most important one of a run", async () => {
    bertology("importance", "assets/tiny-bert", "--task", "cola", "--data", "assets/grammar", "--limit", "40", "--output", at("run"));
    bertology("view", "assets/tiny-bert", "The dog sleeps.", "--importance", at("run"), "--output", at("important.html"));
    const { values } = npy(at("run/head_importance.npy"));
    const best = values.indexOf(Math.max(...values));
    const { page, close } = await open(at("important.html"));
    assert.equal(await layerSelect(page).inputValue(), String(Math.floor(best / 4)));
    assert.deepEqual(await pressed(page), [String(best % 4)]);
    await shows(page.locator(".notes"), new RegExp(`head ${best % 4}: the head that run finds most important`));
    // All of them, and one again.
    await allOn(page);
    assert.equal((await pressed(page)).length, 4);
    await page.getByRole("button", { name: "one", exact: true }).click();
    assert.deepEqual(await pressed(page), [String(best % 4)]);
    await close();
  });

  test("else the one whose words pick out another word", async () => {
    const text = "The horses near the house were admired.";
    bertology("view", "assets/tiny-bert", text, "--output", at("focus.html"));
    bertology("extract", "assets/tiny-bert", text, "--attentions", "--output", at("focus"));
    const arrays = safetensors(at("focus/shard-00000.safetensors"));
    const n = arrays.input_ids.values.length;
    const focus = (map) => {
      let sum = 0;
      for (let query = 1; query < n - 1; query++) {
        sum += Math.max(...[...Array(n).keys()].slice(1, n - 1).filter((key) => key !== query).map((key) => map[query * n + key]));
      }
      return sum / (n - 2);
    };
    const all = [...Array(16).keys()].map((i) => focus(arrays[`attentions.${Math.floor(i / 4)}.${i % 4}`].values));
    const best = all.indexOf(Math.max(...all));
    const { page, close } = await open(at("focus.html"));
    assert.equal(await layerSelect(page).inputValue(), String(Math.floor(best / 4)));
    assert.deepEqual(await pressed(page), [String(best % 4)]);
    await shows(page.locator(".notes"), /the head whose tokens pick out one other token most clearly/);
    await close();
  });
});

test("words are explained, by the pointer, by the keyboard and on a phone", async () => {
  const name = "words.html";
  bertology("view", "assets/tiny-bert", "The horses run.", "The [MASK] sleeps.", "--each", "--output", at(name));
  for (const viewport of [undefined, NARROW]) {
    const { page, close } = await open(at(name), viewport && { viewport, touch: true });
    const dialog = page.getByRole("dialog");
    await page.getByRole("button", { name: "What is this?" }).click();
    const said = await dialog.innerText();
    for (const word of ["Token", "Layer", "Head", "Query", "Key", "attention probability", "[CLS]", "[SEP]", "Softmax"]) {
      assert.ok(said.includes(word), word);
    }
    assert.ok(said.includes("The page opens with layer"));
    assert.deepEqual(await laidOut(page), []);
    const before = await layerSelect(page).inputValue();
    await page.keyboard.press("ArrowDown");
    assert.equal(await layerSelect(page).inputValue(), before, "keys within the panel do not move the page");
    await page.keyboard.press("Escape");
    assert.equal(await dialog.count(), 0);
    const word = page.locator(".columns-title .term").first();
    assert.match(await word.getAttribute("title"), /^The token that looks/);
    await word.focus();
    await page.keyboard.press("Enter");
    await shows(dialog.locator(".asked dt"), /^Query/);
    await dialog.getByRole("button", { name: "Close" }).click();
    await token(page, "query", 1).click();
    assert.equal(await page.locator(".token.held").count(), 1);
    await close();
  }
});
