// Opens pages from disk in Chromium, with the network off. Whatever a page says on the console, and whatever it
// asks for besides itself, is collected, and `close` fails on it.
//
// SLOWER=6 slows every page six times: what a test reads before the page has got there fails then, and not once
// in a hundred runs elsewhere.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

/** How many times slower than it could every page is to run. */
export const slower = Number(process.env.SLOWER ?? 1);
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";

export const WIDE = { width: 1280, height: 800 };
export const NARROW = { width: 390, height: 844 };

let browser = null;

async function launch() {
  assert.ok(existsSync(executablePath), `no Chromium at ${executablePath}; name one in CHROMIUM`);
  browser ??= await chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--font-render-hinting=none"],
  });
  return browser;
}

/** A page of its own, open. */
export async function open(file, { viewport = WIDE, theme = "light", touch = false } = {}) {
  const context = await (await launch()).newContext({
    viewport,
    colorScheme: theme,
    offline: true,
    hasTouch: touch,
    acceptDownloads: true,
    locale: "en-GB",
  });
  const page = await context.newPage();
  const wrong = [];
  const url = pathToFileURL(file).href;
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") wrong.push(message.text());
  });
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("dialog", (dialog) => {
    wrong.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("request", (request) => {
    const asked = request.url();
    if (asked !== url && !asked.startsWith("blob:") && !asked.startsWith("data:")) wrong.push(`asked for ${asked}`);
  });
  await page.addInitScript(() => {
    window.longTasks = [];
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) window.longTasks.push({ at: entry.startTime, ms: entry.duration });
    }).observe({ type: "longtask", buffered: true });
  });
  if (slower > 1) {
    const session = await context.newCDPSession(page);
    await session.send("Emulation.setCPUThrottlingRate", { rate: slower });
  }
  await page.goto(url);
  await page.waitForFunction(() => performance.getEntriesByName("drawn").length > 0);
  return {
    page,
    wrong,
    /** `expected` says of a line whether the test has brought it about. */
    async close(expected = () => false) {
      await context.close();
      assert.deepEqual(wrong.filter((line) => !expected(line)), []);
    },
  };
}

/** Waits until `check` gives nothing; what it gives until then is what is wrong. */
export async function settled(page, check) {
  const end = Date.now() + 10_000;
  for (;;) {
    const wrong = await check();
    if (!wrong) return;
    assert.ok(Date.now() < end, wrong);
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(done)));
  }
}

/** Waits until the text shown there matches. A frame in a process of its own draws after a click has returned. */
export async function shows(locator, pattern) {
  await settled(locator.page(), async () => {
    const text = await locator.innerText();
    return pattern.test(text) ? null : `"${text}" does not match ${pattern}`;
  });
}

export async function shutdown() {
  await browser?.close();
  browser = null;
}

/** Milliseconds of the longest task since `since`, 0 if none was long. */
export async function longest(page, since) {
  // Entries come after the tasks that they are about.
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 60)));
  return page.evaluate((since) => Math.max(0, ...longTasks.filter((task) => task.at >= since).map((task) => task.ms)), since);
}

/** Nothing sticks out of the page sideways, and no two of these elements lie over each other. */
export async function laidOut(page) {
  return page.evaluate(() => {
    const problems = [];
    const root = document.documentElement;
    if (root.scrollWidth > root.clientWidth + 1) problems.push(`the page is ${root.scrollWidth} wide`);
    const boxes = [...document.querySelectorAll(".bar > *, .tools > *, .tile, .stage, .aside > *, .notes")]
      .filter((element) => element.getClientRects().length)
      .map((element) => ({ element, box: element.getBoundingClientRect() }));
    for (const { element, box } of boxes) {
      if (box.left < -1 || box.right > root.clientWidth + 1) problems.push(`${element.className} sticks out`);
    }
    for (let i = 0; i < boxes.length; i++) {
      for (let j = i + 1; j < boxes.length; j++) {
        const [a, b] = [boxes[i], boxes[j]];
        if (a.element.contains(b.element) || b.element.contains(a.element)) continue;
        const over = (low, high) => Math.min(a.box[high], b.box[high]) - Math.max(a.box[low], b.box[low]);
        const sideScrolls = a.element.closest(".aside") || b.element.closest(".aside");
        if (!sideScrolls && over("left", "right") > 1 && over("top", "bottom") > 1) {
          problems.push(`${a.element.className} lies over ${b.element.className}`);
        }
      }
    }
    for (const element of document.querySelectorAll("button, select, h1, h2")) {
      if (element.closest(".head-grid, .thumbs") || !element.getClientRects().length) continue;
      if (element.scrollWidth > element.clientWidth + 1 && element.tagName !== "SELECT") {
        problems.push(`"${element.textContent}" is cut`);
      }
    }
    return problems;
  });
}
