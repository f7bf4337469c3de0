import { parse, View } from "vega";
import { compile } from "vega-lite";

// This file is bundled with its library, 1 MB, and loaded only to draw a report.

/** Light colours, and the colours that replace them in dark mode. */
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

/** Draws a picture as SVG. {@link darkColors} adapts it to dark mode. */
export async function draw(spec: object): Promise<string> {
  const view = new View(parse(compile({ ...spec, config }).spec), { renderer: "none" });
  const svg = await view.toSVG();
  view.finalize();
  return svg;
}

/** CSS that replaces the colours of pictures in dark mode. */
export const darkColors: string = Object.entries(COLORS)
  .map(([light, dark]) => `svg [fill="${light}"]{fill:${dark}}svg [stroke="${light}"]{stroke:${dark}}`)
  .join("");
