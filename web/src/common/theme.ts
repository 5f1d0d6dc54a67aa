// Light and dark: what the system prefers, until the switch says otherwise.

import { signal } from "@preact/signals";

export type Theme = "light" | "dark";

const KEY = "bertology-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

function stored(): Theme | null {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : null;
  } catch {
    return null; // pages from disk may have no storage
  }
}

export const theme = signal<Theme>(stored() ?? (system.matches ? "dark" : "light"));

export function setTheme(value: Theme): void {
  theme.value = value;
  document.documentElement.dataset.theme = value;
  try {
    localStorage.setItem(KEY, value);
  } catch {
    // the choice then lasts as long as the page
  }
}

if (stored()) document.documentElement.dataset.theme = theme.value;
system.addEventListener("change", () => {
  if (!document.documentElement.dataset.theme) theme.value = system.matches ? "dark" : "light";
});
