// The command itself, and the arrays that it writes.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = join(dirname(fileURLToPath(import.meta.url)), "../../..");
const target = process.env.CARGO_TARGET_DIR ?? join(root, "target");
const binary = process.env.BERTOLOGY ?? join(target, "release/bertology");

export function bertology(...args) {
  assert.ok(existsSync(binary), `no command at ${binary}; build it, or name one in BERTOLOGY`);
  return execFileSync(binary, args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** The arrays of a safetensors file. */
export function safetensors(file) {
  const bytes = readFileSync(file);
  const size = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + size).toString("utf8"));
  const arrays = {};
  for (const [name, tensor] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const [from, to] = tensor.data_offsets;
    const part = bytes.buffer.slice(bytes.byteOffset + 8 + size + from, bytes.byteOffset + 8 + size + to);
    const type = { F32: Float32Array, F64: Float64Array, I32: Int32Array, I64: BigInt64Array }[tensor.dtype];
    arrays[name] = { shape: tensor.shape, values: new type(part) };
  }
  return arrays;
}

/** A little-endian array of NumPy of float32 or float64. */
export function npy(file) {
  const bytes = readFileSync(file);
  const size = bytes.readUInt16LE(8);
  const header = bytes.subarray(10, 10 + size).toString("latin1");
  const type = header.includes("<f4") ? Float32Array : Float64Array;
  const values = new type(bytes.buffer.slice(bytes.byteOffset + 10 + size, bytes.byteOffset + bytes.length));
  const shape = header.match(/'shape': \(([^)]*)\)/)[1].split(",").filter((s) => s.trim()).map(Number);
  return { shape, values };
}
