// Small buttons at the head of a figure or table.

export function button(place: Element, text: string, title: string, act: () => void): HTMLButtonElement {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "button small";
  made.textContent = text;
  made.title = title;
  made.addEventListener("click", act);
  place.append(made);
  return made;
}
