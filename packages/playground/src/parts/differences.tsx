import type { JSX } from "preact";
import { COMPUTED, type Computed } from "../f32.ts";
import type { Range } from "../state.ts";
import { USUAL } from "../verdict.ts";

/** The error of each form at one value of a slider. */
export interface Point {
  at: number;
  error: Record<Computed, number>;
}

const WIDTH = 440;
const HEIGHT = 270;
const LEFT = 58;
const RIGHT = 12;
const TOP = 34;
const BOTTOM = 52;
const LANE = 13;
const DECADES = [-10, 0] as const;

function y(error: number): number {
  if (!Number.isFinite(error)) return TOP - LANE;
  const [low, high] = DECADES;
  if (error < 10 ** low) return HEIGHT - BOTTOM + LANE;
  return TOP + ((high - Math.min(high, Math.log10(error))) / (high - low)) * (HEIGHT - BOTTOM - TOP);
}

/** Errors on a logarithmic scale, with a lane above for results that are not finite and one below for negligible errors. */
export function Differences(props: {
  title: string;
  axis: string;
  notFinite: string;
  usual: boolean;
  range: Range;
  here: number;
  points: readonly Point[];
}): JSX.Element {
  const { title, axis, notFinite, usual, range, here, points } = props;
  const x = (at: number): number => LEFT + ((at - range.min) / (range.max - range.min)) * (WIDTH - LEFT - RIGHT);
  // Dots are lines of length 0 with round ends.
  const dots = (of: Computed): string =>
    points.map(({ at, error }) => `M${x(at).toFixed(1)} ${y(error[of]).toFixed(1)}h0`).join("");
  return (
    <figure>
      <figcaption>{title}</figcaption>
      <svg class="chart" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={title}>
        <rect class="lane" x={LEFT} y={TOP - 2 * LANE + 3} width={WIDTH - LEFT - RIGHT} height={2 * LANE - 6} />
        <text x={LEFT - 8} y={TOP - LANE + 4} text-anchor="end">
          {notFinite.split(" ")[0]}, NaN
        </text>
        <rect class="lane" x={LEFT} y={HEIGHT - BOTTOM + 3} width={WIDTH - LEFT - RIGHT} height={2 * LANE - 6} />
        <text x={LEFT - 8} y={HEIGHT - BOTTOM + LANE + 6} text-anchor="end">
          {"<"} 1e−10
        </text>
        {[0, -2, -4, -6, -8].map((power) => (
          <g key={power}>
            <path class="grid" d={`M${LEFT} ${y(10 ** power)}H${WIDTH - RIGHT}`} />
            <text x={LEFT - 8} y={y(10 ** power) + 4} text-anchor="end">
              {power === 0 ? "1" : `1e−${-power}`}
            </text>
          </g>
        ))}
        {usual && (
          <>
            <path class="usual" d={`M${LEFT} ${y(USUAL)}H${WIDTH - RIGHT}`} />
            <text class="usual-title" x={WIDTH - RIGHT - 4} y={y(USUAL) - 5} text-anchor="end">
              2e−6
            </text>
          </>
        )}
        <path class="marker" d={`M${x(here)} ${TOP - 2 * LANE}V${HEIGHT - BOTTOM + 2 * LANE - 4}`} />
        {COMPUTED.map((of) => (
          <path key={of} class={`dots ${of}`} d={dots(of)} />
        ))}
        {[0, 0.25, 0.5, 0.75, 1].map((part) => {
          const at = range.min + part * (range.max - range.min);
          return (
            <text key={part} x={x(at)} y={HEIGHT - 15} text-anchor="middle">
              {String(at).replace("-", "−")}
            </text>
          );
        })}
        <text class="axis-title" x={LEFT + (WIDTH - LEFT - RIGHT) / 2} y={HEIGHT - 1} text-anchor="middle">
          {axis}
        </text>
      </svg>
    </figure>
  );
}
