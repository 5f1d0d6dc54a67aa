// Builds every page of src/pages into one HTML file each, which the crate bertology-report embeds.
//
//   node build.mjs            writes ../crates/bertology-report/pages/NAME.html
//   node build.mjs --check    fails if one of them is not what the sources give
//
// The result depends on the sources and on the locked versions only.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, "../crates/bertology-report/pages");
const check = process.argv.includes("--check");

async function bundle(entry, loader) {
  const result = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    charset: "ascii",
    format: "iife",
    target: ["chrome109", "firefox115", "safari16.4"],
    legalComments: "none",
    jsx: "automatic",
    jsxImportSource: "preact",
    loader,
    absWorkingDir: here,
    logLevel: "warning",
  });
  return result.outputFiles[0].text.trimEnd();
}

async function page(name) {
  const folder = join(here, "src/pages", name);
  // Pages that are whole without their script have a shell of their own.
  const own = join(folder, "shell.html");
  const shell = readFileSync(existsSync(own) ? own : join(here, "src/shell.html"), "utf8");
  const style = await bundle(join(folder, "page.css"), {});
  const script = await bundle(join(folder, "main.tsx"), {});
  if (/<\/script|<!--/i.test(script) || /<\/style/i.test(style)) {
    throw new Error(`${name}: the bundle would end its own element`);
  }
  // Only this very script may run, whatever a text or a label says.
  const hash = createHash("sha256").update(script).digest("base64");
  const parts = { name, style, script, hash: `sha256-${hash}` };
  return shell.replace(/\{\{(\w+)\}\}/g, (_, part) => parts[part]);
}

let stale = 0;
mkdirSync(target, { recursive: true });
const names = readdirSync(join(here, "src/pages")).sort();
for (const name of names) {
  const html = await page(name);
  const path = join(target, `${name}.html`);
  const size = `${(html.length / 1024).toFixed(1)} KiB`;
  if (!check) {
    writeFileSync(path, html);
    console.log(`${name}.html ${size}`);
  } else if (!existsSync(path) || readFileSync(path, "utf8") !== html) {
    console.error(`crates/bertology-report/pages/${name}.html is not current: run \`npm run build\` in web/`);
    stale += 1;
  } else {
    console.log(`${name}.html is current, ${size}`);
  }
}
for (const file of readdirSync(target).sort()) {
  if (file.endsWith(".html") && !names.includes(file.slice(0, -5))) {
    console.error(`crates/bertology-report/pages/${file} has no sources in web/src/pages`);
    stale += 1;
  }
}
process.exitCode = stale ? 1 : 0;
