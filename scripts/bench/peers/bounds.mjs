// The bounds of bounds.mjs as peers, always on one thread and without results.
import { bounds } from "../bounds.mjs";

export async function open({ pass }) {
  return {
    version: undefined,
    prepare: ({ logits }) => ({ run: bounds(logits)[pass], results: () => undefined, dispose() {} }),
  };
}
