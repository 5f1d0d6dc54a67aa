// One head may be lit: it is outlined in every figure and every table of the page at once.

export interface Light {
  /** The head `layer.head` that is lit, or none. */
  readonly head: string | null;
  toggle(head: string): void;
}

export function headsOfPage(): Light {
  const all = new Map<string, Element[]>();
  for (const element of document.querySelectorAll("[data-head]")) {
    const head = element.getAttribute("data-head")!;
    const others = all.get(head);
    if (others) others.push(element);
    else all.set(head, [element]);
  }
  let lit: string | null = null;
  const paint = (head: string | null, on: boolean) => {
    for (const element of (head && all.get(head)) || []) {
      element.classList.toggle("lit", on);
      // Later elements lie above earlier ones; an outline must not be covered.
      if (on && element.namespaceURI === "http://www.w3.org/2000/svg") element.parentNode?.append(element);
    }
  };
  const set = (head: string | null) => {
    paint(lit, false);
    lit = head;
    paint(lit, true);
  };
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") set(null);
  });
  return {
    get head() {
      return lit;
    },
    toggle: (head) => set(lit === head ? null : head),
  };
}
