import type { JSX } from "preact";
import { Value } from "./number.tsx";

export interface Row {
  value: number;
  /** The value of a paler bar behind it, for comparison. */
  before?: number;
}

/** One bar and one number for each class, from a common zero. The label is highlighted. */
export function Bars(props: {
  name: string;
  caption: string;
  rows: readonly Row[];
  label: number;
  short?: boolean;
}): JSX.Element {
  const { name, caption, rows, label, short = false } = props;
  const all = rows.flatMap(({ value, before = 0 }) => [value, before]).filter(Number.isFinite);
  const low = Math.min(0, ...all);
  const span = Math.max(0, ...all) - low || 1;
  const percent = (value: number): string => `${(100 * value) / span}%`;
  const bar = (value: number, kind: string): JSX.Element | false =>
    Number.isFinite(value) && (
      <span class={kind} style={{ left: percent(Math.min(value, 0) - low), width: percent(Math.abs(value)) }} />
    );
  return (
    <table class="bars">
      <caption class="unseen">{caption}</caption>
      <tbody>
        {rows.map(({ value, before }, j) => (
          <tr key={j} class={j === label ? "label" : ""}>
            <th scope="row">{j}</th>
            <td class="track">
              <span class="tracks">
                {before !== undefined && bar(before, "before")}
                {bar(value, "bar")}
                <span class="zero" style={{ left: percent(-low) }} />
              </span>
            </td>
            <td>
              <Value name={`${name}.${j}`} value={value} short={short} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
