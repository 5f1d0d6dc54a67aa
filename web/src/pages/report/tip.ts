// The read-out beside the pointer, or beside the mark that has the keyboard.

let tip: HTMLElement | null = null;

export function show(text: string, x: number, y: number): void {
  if (!tip) {
    tip = document.createElement("div");
    tip.className = "tip number";
    tip.setAttribute("role", "tooltip");
    document.body.append(tip);
  }
  tip.textContent = text;
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = Math.max(8, Math.min(innerWidth - width - 8, x - width / 2));
  const above = y - height - 14;
  tip.style.translate = `${left}px ${above > 8 ? above : y + 18}px`;
}

export function hide(): void {
  if (tip) tip.hidden = true;
}
