// Numbers as people read them.

/** A weight, which is stored in steps: no more digits than it has. */
export function weight(value: number): string {
  if (value === 0) return "≈ 0";
  if (value < 0.001) return "< 0.001";
  return value.toFixed(3);
}

/** A number of any size: three digits that count. */
export function precise(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 0.001 && size < 1000) return value.toPrecision(3);
  return value.toExponential(1).replace("-", "−");
}

/** A weight in a narrow cell. */
export function short(value: number): string {
  if (value >= 0.995) return "1.0";
  return value.toFixed(2).replace(/^0/, "");
}

/** A signed number, with a true minus. */
export function signed(value: number, digits = 3): string {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return (value < 0 ? "−" : "+") + text;
}

export function percent(value: number): string {
  if (value > 0 && value < 0.0005) return "< 0.1 %";
  return `${(value * 100).toFixed(1)} %`;
}

/** `1 head`, `12 heads`. */
export function plural(count: number, noun: string): string {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}
