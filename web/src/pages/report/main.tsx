// Reports: text, tables and figures stand in the page already. This adds what moves: numbers under the pointer,
// tables and heat maps in another order, a head that is lit everywhere, files, colours.

import { render } from "preact";
import { ThemeButton } from "../../common/controls";
import { document_ } from "../../common/data";
import { headsOfPage } from "./light";
import { enhanceFigure } from "./figures";
import { enhanceTable } from "./tables";

const { file } = document_<{ file: string }>();
const place = document.getElementById("theme-place");
if (place) render(<ThemeButton />, place);
const light = headsOfPage();
for (const figure of document.querySelectorAll<HTMLElement>("figure.plot")) enhanceFigure(figure, file, light);
for (const sheet of document.querySelectorAll<HTMLElement>(".sheet")) enhanceTable(sheet, file, light);
document.documentElement.dataset.ready = "yes";
requestAnimationFrame(() => performance.mark("drawn"));
