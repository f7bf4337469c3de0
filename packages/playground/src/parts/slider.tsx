import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Range } from "../state.ts";

/** A slider, with its name before and its value after it. */
export function Slider(props: {
  name: string;
  title: string;
  range: Range;
  value: number;
  onValue: (value: number) => void;
}): JSX.Element {
  const { name, title, range, value, onValue } = props;
  return (
    <label class="slider">
      <span class="title">{title}</span>
      <input
        type="range"
        name={name}
        {...range}
        value={value}
        onInput={(e) => onValue(e.currentTarget.valueAsNumber)}
      />
      <output>{String(value).replace("-", "−")}</output>
    </label>
  );
}

/** The common range of the logits' sliders. It includes all logits, and does not change while one of them is dragged. */
export function useLogitRange(logits: readonly number[]): { range: Range; hold: () => void; release: () => void } {
  const [held, setHeld] = useState(0);
  const needed = Math.max(held, ...logits.map(Math.abs));
  const end = [10, 20, 50, 100, 200, 500, 1e3, 1e4, 1e5].find((end) => end >= needed) ?? 1e6;
  return {
    range: { min: -end, max: end, step: end / 200 },
    hold: () => setHeld(end),
    release: () => setHeld(0),
  };
}
