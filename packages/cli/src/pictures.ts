import { parse, View } from "vega";
import { compile } from "vega-lite";

// Only what draws a report loads this file, which is bundled with the library: 1 MB.

/** Light colours, and what takes their place where the reader prefers dark pages. */
const COLORS: Readonly<Record<string, string>> = {
  "#2563a8": "#6aa9ee",
  "#c2410c": "#f59161",
  "#8a94a0": "#7d8794",
  "#e4e7eb": "#2a3139",
  "#5b6570": "#a3adb8",
};

export const [BLUE, ORANGE, GREY, GRID, TEXT] = Object.keys(COLORS) as [string, string, string, string, string];

const config = {
  background: "transparent",
  font: "system-ui, sans-serif",
  axis: {
    labelFontSize: 12,
    titleFontSize: 12,
    titleFontWeight: "normal",
    labelColor: TEXT,
    titleColor: TEXT,
    gridColor: GRID,
    tickColor: GREY,
    domainColor: GREY,
  },
  legend: { labelFontSize: 12, labelColor: TEXT, title: null, orient: "top" },
  view: { stroke: null },
};

/** A picture as SVG, with colours that follow the page's. */
export async function draw(spec: object): Promise<string> {
  const view = new View(parse(compile({ ...spec, config }).spec), { renderer: "none" });
  const svg = await view.toSVG();
  view.finalize();
  return svg;
}

/** CSS that turns the colours of pictures into dark ones. */
export const darkColors: string = Object.entries(COLORS)
  .map(([light, dark]) => `svg [fill="${light}"]{fill:${dark}}svg [stroke="${light}"]{stroke:${dark}}`)
  .join("");
