// The bounds of bounds.mjs, measured like peers. One thread always. They have no results.
import { bounds } from "../bounds.mjs";

export async function open({ pass }) {
  return {
    version: undefined,
    prepare: ({ logits }) => ({ run: bounds(logits)[pass], results: () => undefined, dispose() {} }),
  };
}
