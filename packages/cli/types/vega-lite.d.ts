// As vega.d.ts.
export function compile(spec: object): { spec: object };
