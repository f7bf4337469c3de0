import type { JSX } from "preact";

const WIDTH = 320;
const HEIGHT = 200;
const LEFT = 34;
const BOTTOM = 44;
const MAX_LOSS = 5;

const x = (p: number): number => LEFT + p * (WIDTH - LEFT - 10);
const y = (loss: number): number => 10 + (1 - Math.min(loss, MAX_LOSS) / MAX_LOSS) * (HEIGHT - BOTTOM - 10);

const path = Array.from({ length: 101 }, (_, i) => {
  // Steps in the loss, not in p: the curve is steep.
  const loss = MAX_LOSS * (1 - i / 100) ** 2;
  return `${i ? "L" : "M"}${x(Math.exp(-loss)).toFixed(1)} ${y(loss).toFixed(1)}`;
}).join("");

/** The curve -log p, with the row as a point on it. */
export function Curve(props: { p: number; loss: number; title: string; xAxis: string; yAxis: string }): JSX.Element {
  const { p, loss, title, xAxis, yAxis } = props;
  return (
    <svg class="chart" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={title}>
      <path class="axis" d={`M${LEFT} 6V${y(0)}H${WIDTH - 6}`} />
      {[0, 2, 4].map((loss) => (
        <text key={loss} x={LEFT - 8} y={y(loss) + 4} text-anchor="end">
          {loss}
        </text>
      ))}
      {[0, 0.5, 1].map((p) => (
        <text key={p} x={x(p)} y={y(0) + 16} text-anchor="middle">
          {p}
        </text>
      ))}
      <text class="axis-title" x={LEFT + 10} y={14}>
        {yAxis}
      </text>
      <text class="axis-title" x={(LEFT + WIDTH) / 2} y={HEIGHT - 6} text-anchor="middle">
        {xAxis}
      </text>
      <path class="guide" d={`M${LEFT} ${y(loss)}H${x(p)}V${y(0)}`} />
      <path class="curve" d={path} />
      <circle class="here" cx={x(p)} cy={y(loss)} r={6} />
    </svg>
  );
}
