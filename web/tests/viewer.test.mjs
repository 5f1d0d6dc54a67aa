// The attention viewer, in a browser.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { bertology, npy, root, safetensors } from "./lib/bertology.mjs";
import { NARROW, WIDE, laidOut, longest, open, shows, shutdown, slower } from "./lib/browser.mjs";
import { make } from "./lib/made.mjs";
import { allOn, cellAt, chooseView, hovering, labelOf, layerSelect, near, tile, token } from "./lib/viewer.mjs";

const work = mkdtempSync(join(tmpdir(), "bertology-web-"));
const at = (name) => join(work, name);

after(async () => {
  await shutdown();
  rmSync(work, { recursive: true, force: true });
});

describe("a page that the command wrote, of a pair of texts", () => {
  const first = "The horses near the house were admired.";
  const second = "No woman faints.";
  const file = at("pair.html");
  let maps;
  let importance;
  let n;
  let opened;

  before(async () => {
    writeFileSync(at("pair.jsonl"), JSON.stringify({ a: first, b: second }) + "\n");
    const data = ["--data", at("pair.jsonl"), "--text-column", "a", "--pair-column", "b"];
    bertology("extract", "assets/tiny-bert", ...data, "--attentions", "--queries", "--keys", "--attention-scores", "--output", at("pair"));
    maps = safetensors(at("pair/shard-00000.safetensors"));
    n = maps.input_ids.values.length;
    bertology("importance", "assets/tiny-bert", "--task", "cola", "--data", "assets/grammar", "--limit", "40", "--output", at("run"));
    importance = npy(at("run/head_importance.npy"));
    bertology("view", "assets/tiny-bert", first, second, "--importance", at("run"), "--output", file);
    opened = await open(file);
  });
  after(() => opened.close());

  const map = (layer, head) => maps[`attentions.${layer}.${head}`].values;
  const row = (layer, head, query) => map(layer, head).subarray(query * n, (query + 1) * n);

  test("the matrix says the numbers of the arrays", async () => {
    const { page } = opened;
    await chooseView(page, "matrix");
    for (const [layer, head] of [
      [0, 0],
      [1, 2],
      [3, 3],
    ]) {
      await layerSelect(page).selectOption(String(layer));
      await tile(page, head).click();
      for (const [i, j] of [
        [0, 0],
        [2, 5],
        [n - 1, 1],
      ]) {
        const found = await cellAt(page, i, j);
        near(found, row(layer, head, i)[j], row(layer, head, i), `layer ${layer}, head ${head}, ${i} to ${j}`);
      }
    }
  });

  test("the head view says the numbers of the arrays, of one head and of several", async () => {
    const { page } = opened;
    await chooseView(page, "heads");
    await layerSelect(page).selectOption("1");
    await tile(page, 2).dblclick();
    assert.equal(await page.locator(".tile[aria-pressed=true]").count(), 1);
    await token(page, "query", 3).hover();
    let seen = 0;
    for (let key = 0; key < n; key++) {
      const shown = token(page, "key", key).locator("[data-weight]");
      if (!(await shown.count())) continue;
      seen += 1;
      const found = Number(await shown.getAttribute("data-weight"));
      near(found, row(1, 2, 3)[key], row(1, 2, 3), `3 to ${key}`);
    }
    assert.ok(seen > 0);
    // From the other side: who attends to the strongest key.
    const best = row(1, 2, 3).indexOf(Math.max(...row(1, 2, 3)));
    await token(page, "key", best).hover();
    const found = Number(await token(page, "query", 3).locator("[data-weight]").getAttribute("data-weight"));
    near(found, row(1, 2, 3)[best], row(1, 2, 3), `3 to ${best}`);
    // All heads again: the mean.
    await tile(page, 2).dblclick();
    assert.equal(await page.locator(".tile[aria-pressed=true]").count(), 4);
    await token(page, "query", 3).hover();
    const mean = [0, 1, 2, 3].reduce((sum, head) => sum + row(1, head, 3)[best] / 4, 0);
    const said = Number(await token(page, "key", best).locator("[data-weight]").getAttribute("data-weight"));
    assert.ok(Math.abs(said - mean) < 1 / 500, `${said} is not ${mean}`);
    await page.mouse.move(5, 5);
  });

  test("heads are switched by clicks, tokens are held by clicks", async () => {
    const { page } = opened;
    await tile(page, 0).click();
    assert.equal(await tile(page, 0).getAttribute("aria-pressed"), "false");
    await tile(page, 0).click();
    assert.equal(await tile(page, 0).getAttribute("aria-pressed"), "true");
    await token(page, "query", 2).click();
    await token(page, "query", 5).click({ modifiers: ["Shift"] });
    await page.mouse.move(5, 5);
    assert.equal(await page.locator(".token.held").count(), 2);
    await shows(page.locator(".aside .card").first(), /2 tokens/);
    await page.keyboard.press("Escape");
    assert.equal(await page.locator(".token.held").count(), 0);
  });

  test("one text attends to another", async () => {
    const { page } = opened;
    const count = async (side) => page.locator(`[data-side=${side}] .token`).count();
    assert.equal(await count("query"), n);
    // [CLS] and [SEP] go with the first text, the last [SEP] with the second.
    const sizes = { a: maps.sequence_ids.values.findLastIndex((id) => id === 0) + 2 };
    sizes.b = n - sizes.a;
    for (const part of ["aa", "ab", "ba", "bb"]) {
      await page.locator(`.tools [role=radio][data-value=${part}]`).click();
      assert.equal(await count("query"), sizes[part[0]], part);
      assert.equal(await count("key"), sizes[part[1]], part);
      await shows(page.locator(".notes"), /not brought to a sum of 1/);
    }
    await page.locator(".tools [role=radio][data-value=all]").click();
    await page.getByLabel("Hide special tokens").check();
    assert.equal(await count("key"), n - 3);
    await page.getByLabel("Hide special tokens").uncheck();
  });

  test("rollout is that of the formula", async () => {
    const { page } = opened;
    let product = null;
    for (let layer = 0; layer < 4; layer++) {
      const mixed = new Float64Array(n * n);
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++) {
          for (let head = 0; head < 4; head++) mixed[i * n + j] += map(layer, head)[i * n + j] / 8;
        }
        mixed[i * n + i] += 0.5;
      }
      const lower = product;
      product = new Float64Array(n * n);
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++) {
          if (!lower) product[i * n + j] = mixed[i * n + j];
          else for (let k = 0; k < n; k++) product[i * n + j] += mixed[i * n + k] * lower[k * n + j];
        }
      }
    }
    await chooseView(page, "matrix");
    await layerSelect(page).selectOption("3");
    await page.getByLabel("Show").selectOption("rollout");
    await page.waitForFunction(() => document.querySelector(".caption")?.textContent.includes("rollout"));
    const found = await cellAt(page, 2, 4);
    // Errors of a byte each in every layer, which the products average.
    assert.ok(Math.abs(found - product[2 * n + 4]) < 2e-3, `${found} is not ${product[2 * n + 4]}`);
    await page.getByLabel("Show").selectOption("each");
  });

  test("neurons: scores and softmax are those of the arrays", async () => {
    const { page } = opened;
    await chooseView(page, "neurons");
    await layerSelect(page).selectOption("2");
    await tile(page, 1).click();
    await page.locator(".neuron-view select").selectOption("3");
    const box = await page.locator(".neuron-view .scroller").boundingBox();
    for (const key of [0, 4]) {
      await page.mouse.move(box.x + 60, box.y + 40 + 24 * key + 12);
      const read = page.getByTestId("neuron-read");
      const score = Number(await read.getAttribute("data-score"));
      const expected = maps["attention_scores.2.1"].values[3 * n + key];
      assert.ok(Math.abs(score - expected) < 0.02 * Math.max(1, Math.abs(expected)), `${score} is not ${expected}`);
      near(Number(await read.getAttribute("data-soft")), row(2, 1, 3)[key], row(2, 1, 3), `softmax of key ${key}`);
    }
  });

  test("importance is that of the run, and dims heads", async () => {
    const { page } = opened;
    await chooseView(page, "heads");
    const cells = page.getByLabel(/^Importance of heads/).locator("button");
    assert.equal(await cells.count(), 16);
    const said = await cells.nth(6).getAttribute("aria-label");
    const value = importance.values[6];
    assert.ok(Math.abs(Number(said.split(": ")[1]) - value) < 0.002, `${said} is not ${value}`);
    await page.getByLabel("Dim heads by").selectOption("importance");
    const kept = await page.locator(".tile").evaluateAll((tiles) => tiles.map((tile) => Number(getComputedStyle(tile).opacity)));
    const layer = Number(await layerSelect(page).inputValue());
    const order = (values) => [...values.keys()].sort((a, b) => values[a] - values[b]);
    assert.deepEqual(order(kept), order([...importance.values.subarray(layer * 4, layer * 4 + 4)]));
    await page.getByLabel("Dim heads by").selectOption("none");
  });

  test("without a head the model says what a masked model says", async () => {
    const { page } = opened;
    writeFileSync(at("one.jsonl"), JSON.stringify({ a: first, b: second }) + "\n");
    await layerSelect(page).selectOption("2");
    await tile(page, 1).click();
    await page.getByTestId("prediction").locator("input[type=checkbox]").check();
    const shown = async () =>
      page.locator(".bars [data-value]").evaluateAll((bars) => bars.map((bar) => Number(bar.dataset.value)));
    const changed = await shown();
    await page.getByTestId("prediction").locator("input[type=checkbox]").uncheck();
    const whole = await shown();
    bertology("prune", "assets/tiny-bert", "--heads", "2:1", "--output", at("pruned"));
    const data = ["--data", at("one.jsonl"), "--text-column", "a", "--pair-column", "b", "--logits"];
    bertology("extract", "assets/tiny-bert", ...data, "--output", at("logits"));
    bertology("extract", at("pruned/model"), ...data, "--output", at("logits-pruned"));
    const softmax = (folder) => {
      const { values } = safetensors(at(`${folder}/shard-00000.safetensors`)).logits;
      const powers = [...values].map((x) => Math.exp(x));
      return powers.map((power) => power / powers.reduce((a, b) => a + b));
    };
    softmax("logits").forEach((p, i) => assert.ok(Math.abs(p - whole[i]) < 1e-5));
    softmax("logits-pruned").forEach((p, i) => assert.ok(Math.abs(p - changed[i]) < 1e-5));
    assert.notDeepEqual(whole, changed);
  });

  test("a thumbnail opens its head", async () => {
    const { page } = opened;
    await chooseView(page, "model");
    await page.waitForSelector(".thumbs[data-drawn=yes]");
    assert.equal(await page.locator("button.thumb").count(), 16);
    await page.locator('button.thumb[data-layer="3"][data-head="1"]').click();
    await shows(page.locator(".caption"), /layer 3, head 1/);
  });

  test("the keyboard reaches everything", async () => {
    const { page } = opened;
    await page.locator("body").click({ position: { x: 2, y: 2 } });
    await page.keyboard.press("1");
    await page.getByTestId("head-view").waitFor();
    const before = Number(await layerSelect(page).inputValue());
    await page.keyboard.press("ArrowUp");
    assert.equal(Number(await layerSelect(page).inputValue()), before - 1);
    const headNow = async () => Number(await page.locator(".tile.here").getAttribute("data-head"));
    const head = await headNow();
    await page.keyboard.press("ArrowRight");
    assert.equal(await headNow(), (head + 1) % 4);
    // Tokens, by the keyboard alone.
    await page.locator("[data-side=query] [tabindex='0']").focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    assert.equal(await page.locator(".token.chosen").getAttribute("data-unit"), "2");
    await page.keyboard.press("ArrowRight");
    assert.equal(await page.locator(".token.chosen").evaluate((e) => e.parentElement.dataset.side), "key");
    await page.keyboard.press("Enter");
    assert.equal(await page.locator(".token.held").count(), 1);
    await page.keyboard.press("Escape");
    // Every control can be reached by Tab.
    await page.keyboard.press("3");
    const reached = new Set();
    await page.evaluate(() => document.activeElement?.blur());
    for (let i = 0; i < 60; i++) {
      await page.keyboard.press("Tab");
      reached.add(
        await page.evaluate(() => {
          const e = document.activeElement;
          return e?.getAttribute("role") ?? e?.tagName.toLowerCase();
        }),
      );
    }
    for (const role of ["tab", "select", "button", "radio", "switch", "application"]) assert.ok(reached.has(role), role);
  });

  test("every control has a name", async () => {
    const { page } = opened;
    for (const view of ["heads", "model", "matrix", "neurons"]) {
      await chooseView(page, view);
      const nameless = await page.locator("button, select, input, [role]").evaluateAll((all) =>
        all
          .filter((e) => e.getClientRects().length && !["status", "tab", "radio"].includes(e.getAttribute("role")))
          .filter((e) => !(e.ariaLabel || e.getAttribute("aria-labelledby") || e.closest("label") || e.textContent.trim()))
          .map((e) => e.outerHTML.slice(0, 80)),
      );
      assert.deepEqual(nameless, [], view);
    }
  });
});

test("causal models have triangles, and say what comes next", async () => {
  const file = at("causal.html");
  const text = "The horses near the house";
  bertology("view", "assets/tiny-gpt2", text, "--output", file);
  bertology("extract", "assets/tiny-gpt2", text, "--attentions", "--logits", "--output", at("causal"));
  const arrays = safetensors(at("causal/shard-00000.safetensors"));
  const n = arrays.input_ids.values.length;
  const { page, close } = await open(file);
  await chooseView(page, "matrix");
  await layerSelect(page).selectOption("0");
  await tile(page, 0).click();
  const map = arrays["attentions.0.0"].values;
  near(await cellAt(page, 3, 1), map[3 * n + 1], map.subarray(3 * n, 4 * n), "3 to 1");
  const box = await page.locator(".matrix-view .scroller").boundingBox();
  const side = Number(await page.locator(".matrix-view .scroller").getAttribute("data-side"));
  const labels = Number(await page.locator(".matrix-view .scroller").getAttribute("data-labels"));
  await page.mouse.move(box.x + labels + 3.5 * side, box.y + labels + 1.5 * side);
  assert.equal(await page.getByTestId("cell-weight").count(), 0, "a token does not see those behind it");
  // The likeliest next token, with its probability.
  const vocabulary = arrays.token_logits.values.length / n;
  const last = arrays.token_logits.values.subarray((n - 1) * vocabulary);
  const powers = last.map((x) => Math.exp(x));
  const best = Math.max(...powers) / powers.reduce((a, b) => a + b);
  const said = Number(await page.locator(".bars [data-value]").first().getAttribute("data-value"));
  assert.ok(Math.abs(said - best) < 1e-5, `${said} is not ${best}`);
  await close();
});

test("words are sums over the tokens attended to and means over those that attend", async () => {
  const made = make(at("words.html"), { layers: 1, heads: 1, n: 12, pair: false, headDim: 8 });
  const { page, close } = await open(at("words.html"));
  await page.getByLabel("Words").check();
  await chooseView(page, "matrix");
  // Token 5 is a piece of the word that begins at token 4.
  assert.equal(made.tokens[5].word, made.tokens[4].word);
  const map = made.maps[0][0];
  const found = await cellAt(page, 4, 3);
  const expected = (map[4 * 12 + 3] + map[5 * 12 + 3]) / 2;
  assert.ok(expected > 0.2, "a weight that tells a mean from a sum");
  assert.ok(Math.abs(found - expected) < 4e-3, `${found} is not ${expected}`);
  // Token 6 is the word behind it, and attends to its second piece.
  const to = await cellAt(page, 5, 4);
  const sum = map[6 * 12 + 4] + map[6 * 12 + 5];
  assert.ok(Math.abs(to - sum) < 5e-3, `${to} is not ${sum}`);
  await shows(page.locator(".notes"), /sum over its tokens/);
  await close();
});

test("markup in names, labels and tokens is text", async () => {
  const nasty = "</script><script>alert(1)</script><img src=x onerror=alert(2)><!--";
  const entity = "&lt;b&gt; <b>bold</b> {{script}}";
  const token = (text, special) => ({ text, piece: text, id: 1, special, sequence: 0, word: special ? null : 0 });
  make(at("nasty.html"), {
    layers: 2,
    heads: 2,
    n: 4,
    headDim: 4,
    pair: false,
    name: nasty,
    labels: [entity, nasty],
    tokens: [token(nasty, true), token(entity, false), token("\u2028\u0000'\"", false), token("<svg onload=alert(3)>", false)],
  });
  const { page, close } = await open(at("nasty.html"));
  assert.equal(await page.locator("h1").innerText(), nasty);
  assert.equal(await labelOf(page, 1), entity);
  assert.equal(await labelOf(page, 3), "<svg onload=alert(3)>");
  assert.ok((await page.locator(".bars").innerText()).includes(nasty));
  for (const view of ["model", "matrix", "neurons"]) await chooseView(page, view);
  assert.equal(await page.locator("img, svg[onload], .app b:not(.bar-line b):not(p b)").count(), 0);
  await close();
});

test("markup in a model's name, a label and a text that the command is given is text", async () => {
  const name = "<img src=x onerror=alert(1)>";
  cpSync(join(root, "assets/tiny-bert"), at(name), { recursive: true });
  const config = JSON.parse(readFileSync(join(at(name), "config.json"), "utf8"));
  config.id2label = { 0: "</script><b>", 1: "<!-- good" };
  config.label2id = { "</script><b>": 0, "<!-- good": 1 };
  writeFileSync(join(at(name), "config.json"), JSON.stringify(config));
  const file = at("nasty-text.html");
  bertology("view", at(name), "</script><b>The horses", "<!-- were admired", "--output", file);
  const { page, close } = await open(file);
  assert.equal(await page.locator("h1").innerText(), name, "the folder's name, and not where it is");
  assert.ok((await page.locator(".bars").innerText()).includes("</script><b>"));
  assert.equal(await page.locator("img").count(), 0);
  await close();
});

test("pruned heads are not there, and the rest keeps its numbers", async () => {
  make(at("pruned.html"), { layers: 3, heads: 4, n: 10, pruned: [[1, 0], [1, 2]], headDim: 4, pair: false });
  const { page, close } = await open(at("pruned.html"));
  await layerSelect(page).selectOption("1");
  assert.deepEqual(await page.locator(".tile").allInnerTexts(), ["1", "3"]);
  await chooseView(page, "model");
  assert.equal(await page.locator(".thumb.gone").count(), 2);
  await close();
});

test("more heads than colours differ in stroke, shape and number", async () => {
  make(at("many.html"), { layers: 1, heads: 20, n: 8, headDim: 4, pair: false });
  const { page, close } = await open(at("many.html"));
  const looks = await page.locator(".tile").evaluateAll((tiles) =>
    tiles.map((tile) => {
      const style = getComputedStyle(tile);
      return `${style.borderColor} ${style.borderStyle} ${style.borderRadius}`;
    }),
  );
  assert.equal(new Set(looks).size, 20);
  await close();
});

test("themes follow the system and the switch", async () => {
  make(at("theme.html"), { layers: 1, heads: 2, n: 8, headDim: 4, pair: false });
  for (const theme of ["light", "dark"]) {
    const { page, close } = await open(at("theme.html"), { theme });
    const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    const before = await ground();
    assert.equal(before === "rgb(14, 18, 25)", theme === "dark");
    await page.locator("[data-theme-switch]").click();
    assert.notEqual(await ground(), before);
    await page.locator("[data-theme-switch]").click();
    assert.equal(await ground(), before);
    await close();
  }
});

test("downloads hold the numbers", async () => {
  const made = make(at("csv.html"), { layers: 2, heads: 2, n: 9, headDim: 4, pair: false });
  const { page, close } = await open(at("csv.html"));
  await chooseView(page, "matrix");
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByText("CSV", { exact: true }).click()]);
  assert.equal(file.suggestedFilename(), "layer-0-head-0.csv");
  const rows = readFileSync(await file.path(), "utf8").trim().split("\r\n").map((line) => line.split(","));
  assert.equal(rows.length, 10);
  assert.ok(Math.abs(Number(rows[3][4]) - made.maps[0][0][2 * 9 + 3]) < 3e-3);
  await close();
});

describe("BERT-base at 128 tokens", () => {
  const file = at("base.html");
  let made;
  before(() => {
    made = make(file, { vectors: [0, 6, 11] });
  });

  test("takes at most 4 MB", () => {
    assert.ok(made.bytes <= 4e6, `${made.bytes} bytes`);
  });

  test("is painted within a second, and never keeps the pointer waiting", async () => {
    const { page, close } = await open(file);
    const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
    const drawn = await page.evaluate(() => performance.getEntriesByName("drawn")[0].startTime);
    assert.ok(paint < 1000, `first paint after ${paint} ms`);
    assert.ok(drawn < 1500, `first figure after ${drawn} ms`);
    const figures = { paint: Math.round(paint), drawn: Math.round(drawn) };
    await page.waitForFunction(() => document.querySelectorAll(".token").length === 256);
    await allOn(page);
    await page.waitForTimeout(300);
    const hover = async (name, go) => {
      figures[name] = await hovering(page, go);
      assert.ok(figures[name] <= 100, `${name}: a task of ${figures[name]} ms`);
    };
    await hover("heads", async () => {
      for (let i = 0; i < 16; i++) await token(page, i % 2 ? "key" : "query", i).hover();
    });
    await chooseView(page, "matrix");
    await hover("matrix", async () => {
      for (let i = 0; i < 24; i++) await cellAt(page, i, (i * 3) % 24);
    });
    await chooseView(page, "neurons");
    await hover("neurons", async () => {
      const box = await page.locator(".neuron-view .scroller").boundingBox();
      for (let i = 0; i < 20; i++) await page.mouse.move(box.x + 200, box.y + 50 + i * 14);
    });
    await chooseView(page, "model");
    await page.waitForSelector(".thumbs[data-drawn=yes]");
    await hover("model", async () => {
      for (let i = 0; i < 12; i++) await page.locator(`button.thumb[data-layer="${i}"][data-head="${i}"]`).hover();
    });
    console.log(`# BERT-base, 128 tokens, ${(made.bytes / 1e6).toFixed(2)} MB; ms: ${JSON.stringify(figures)}`);
    await close();
  });
});

test("512 tokens stay usable", async () => {
  const file = at("long.html");
  const made = make(file, { n: 512, kept: 30, different: 18, vectors: [] });
  const { page, close } = await open(file);
  await shows(page.locator(".notes"), /the 30 largest weights are kept/);
  await allOn(page);
  await page.waitForTimeout(500);
  const pointing = await hovering(page, async () => {
    for (let i = 0; i < 10; i++) await token(page, i % 2 ? "key" : "query", i).hover();
  });
  assert.ok(pointing <= 100 * slower, `a task of ${pointing} ms`);
  await layerSelect(page).selectOption("5");
  await chooseView(page, "matrix");
  await tile(page, 3).click();
  // A head that looks nearby, at a place whose number takes more than a byte.
  const row = made.maps[5][3].subarray(400 * 512, 401 * 512);
  const best = row.indexOf(Math.max(...row));
  assert.ok(best > 300);
  near(await cellAt(page, 400, best), row[best], row, `400 to ${best}`);
  const since = await page.evaluate(() => performance.now());
  await page.getByLabel("Show").selectOption("rollout");
  await page.waitForFunction(() => document.querySelector(".caption")?.textContent.includes("rollout"));
  const rolling = Math.round(await longest(page, since));
  await chooseView(page, "model");
  await page.waitForSelector(".thumbs[data-drawn=yes]");
  console.log(`# 512 tokens, ${(made.bytes / 1e6).toFixed(2)} MB; longest task hovering ${pointing} ms, rollout ${rolling} ms`);
  assert.ok(rolling <= 400 * slower, `a task of ${rolling} ms`);
  await close();
});

describe("pictures", () => {
  const folder = process.env.PICTURES ?? at("pictures");
  const file = at("picture.html");
  const causal = at("picture-causal.html");

  before(() => {
    mkdirSync(folder, { recursive: true });
    const text = "The horses near the old house were admired by every woman.";
    bertology("importance", "assets/tiny-bert", "--task", "cola", "--data", "assets/grammar", "--limit", "40", "--output", at("importance-cola"));
    bertology("view", "assets/tiny-bert", text, "No farmer who sleeps sees the dog.", "--importance", at("importance-cola"), "--output", file);
    bertology("view", "assets/tiny-gpt2", "The horses near the old house were admired by every", "--output", causal);
    const texts = [text, "No farmer who sleeps sees the dog.\tThe dog sleeps.", "The woman near the dogs runs."];
    writeFileSync(at("picture.txt"), texts.join("\n"));
    bertology("view", "assets/tiny-bert", "--text", at("picture.txt"), "--output", at("picture-texts.html"));
    make(at("picture-base.html"), { n: 64, vectors: [0, 6, 11], name: "a made-up model of the size of BERT-base" });
  });

  const shots = [
    ["heads", file, async (page) => token(page, "query", 2).hover()],
    ["heads-all", file, allOn],
    ["texts", at("picture-texts.html"), async (page) => page.getByRole("button", { name: "Next text" }).click()],
    ["model", at("picture-base.html"), async (page) => {
      await chooseView(page, "model");
      await page.waitForSelector(".thumbs[data-drawn=yes]");
    }],
    ["matrix", causal, async (page, narrow) => {
      await chooseView(page, "matrix");
      await layerSelect(page).selectOption("1");
      await cellAt(page, narrow ? 4 : 6, 3);
    }],
    ["neurons", file, async (page) => {
      await chooseView(page, "neurons");
      const box = await page.locator(".neuron-view .scroller").boundingBox();
      await page.mouse.move(box.x + 60, box.y + 40 + 24 * 5 + 12);
    }],
  ];
  for (const [name, source, prepare] of shots) {
    for (const theme of ["light", "dark"]) {
      for (const [size, viewport] of [["wide", WIDE], ["narrow", NARROW]]) {
        test(`${name}, ${theme}, ${size}`, async () => {
          const { page, close } = await open(source, { viewport, theme });
          await page.waitForTimeout(150);
          await prepare(page, size === "narrow");
          await page.waitForTimeout(250);
          assert.deepEqual(await laidOut(page), []);
          const path = join(folder, `view-${name}-${theme}-${size}.png`);
          await page.screenshot({ path });
          if (process.env.PICTURES) {
            execFileSync("pngquant", ["--force", "--skip-if-larger", "--strip", "--speed", "1", "--output", path, "256", path]);
            assert.ok(statSync(path).size < 250e3, `${path} is large`);
          }
          await close();
        });
      }
    }
  }
});

