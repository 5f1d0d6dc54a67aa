// What the page was given: one JSON document, and named arrays of bytes.
//
// The arrays lie in the page as base64 of a raw deflate stream and are unpacked when they are asked for.

/** The JSON document of the page. */
export function document_<T>(): T {
  const element = document.getElementById("data");
  if (!element) throw new Error("this page holds no data");
  return JSON.parse(element.textContent ?? "") as T;
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** Whether the page holds an array. */
export function has(name: string): boolean {
  return document.getElementById(`array-${name}`) !== null;
}

/** One array of the page, unpacked. */
export async function array(name: string): Promise<Uint8Array> {
  const element = document.getElementById(`array-${name}`);
  if (!element) throw new Error(`this page holds no array ${name}`);
  const packed = fromBase64(element.textContent ?? "");
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Reads an array from its front: floats, bytes and so on, little-endian. */
export class Reader {
  #at = 0;
  constructor(readonly bytes: Uint8Array) {}

  #take(size: number): ArrayBuffer {
    const end = this.#at + size;
    if (end > this.bytes.length) throw new Error("an array of this page is too short");
    const part = this.bytes.slice(this.#at, end);
    this.#at = end;
    return part.buffer as ArrayBuffer;
  }

  f32(count: number): Float32Array {
    return new Float32Array(this.#take(count * 4));
  }
  u8(count: number): Uint8Array {
    return new Uint8Array(this.#take(count));
  }
  i8(count: number): Int8Array {
    return new Int8Array(this.#take(count));
  }
  end(): void {
    if (this.#at !== this.bytes.length) throw new Error("an array of this page is too long");
  }
}
