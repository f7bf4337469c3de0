import { lossesOf, moved } from "./f32.ts";
import { INITIAL, OFFSET, type Range, SCALE, type State } from "./state.ts";
import type { Texts } from "./texts/index.ts";
import { type Verdict, verdictOn } from "./verdict.ts";

export type Destination = keyof Texts["compare"]["example"];
type Place = Pick<State, "logits" | "label" | "offset" | "scale">;

/** The verdicts on the naive form that each destination must reach. */
const NAIVE: Record<Destination, readonly Verdict[]> = {
  ordinary: ["exact", "fine"],
  large: ["overflow", "overflowOfOthers"],
  low: ["vanished"],
  confident: ["zero"],
  unlikely: ["infinite"],
};

/** Settings at which the naive form, or f32 itself, fails: with the reader's logits if the sliders can take them there. */
export function placeOf(destination: Destination, state: State): Place {
  const place = reach(destination, state);
  return isReached(destination, place) ? place : reach(destination, INITIAL);
}

function isReached(destination: Destination, { logits, label, offset, scale }: Place): boolean {
  const within = ({ min, max }: Range, value: number): boolean => value >= min && value <= max;
  if (!within(OFFSET, offset) || !within(SCALE, scale)) return false;
  const x = moved(logits, scale, offset);
  return lossesOf([x], label).every((losses) =>
    NAIVE[destination].includes(verdictOn(losses, "naive", Math.max(...x))),
  );
}

function reach(destination: Destination, { logits, label }: Pick<State, "logits" | "label">): Place {
  const max = Math.max(...logits);
  const min = Math.min(...logits);
  const top = logits.indexOf(max);
  const second = Math.max(...logits.filter((_, j) => j !== top));
  const scale = (gap: number): number => Math.ceil(gap * 4) / 4;
  switch (destination) {
    case "ordinary":
      return { logits, label, offset: 0, scale: 1 };
    case "large": // exp(89) is too large
      return { logits, label, offset: Math.ceil(89 - max), scale: 1 };
    case "low": // exp(-104) is 0
      return { logits, label, offset: Math.floor(-105 - max), scale: 1 };
    case "confident": // 1 + exp(-20) is 1 in f32
      return { logits, label: top, offset: 0, scale: scale(20 / (max - second)) };
    case "unlikely":
      return { logits, label: logits.indexOf(min), offset: 0, scale: scale(105 / (max - min)) };
  }
}
