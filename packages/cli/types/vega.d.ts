// What is used of it: its own types, and vega-lite's, do not compile without skipLibCheck.
export function parse(spec: object): object;
export class View {
  constructor(runtime: object, options: { renderer: "none" });
  toSVG(): Promise<string>;
  finalize(): void;
}
