import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { placeOf } from "../destinations.ts";
import { COMPUTED, type Computed, type Errors, errorOf, type Losses, lossesOf, moved } from "../f32.ts";
import { Differences, type Point } from "../parts/differences.tsx";
import { show, Value } from "../parts/number.tsx";
import { Prose } from "../parts/prose.tsx";
import { Slider } from "../parts/slider.tsx";
import { formatLogits, OFFSET, type Range, SCALE } from "../state.ts";
import { isBad, SMALLEST, verdictOn } from "../verdict.ts";
import { Examples } from "./numbers.tsx";
import type { SectionProps } from "./props.ts";

export function Compare({ state, change, text }: SectionProps): JSX.Element {
  const t = text.compare;
  const { logits, label, offset, scale } = state;
  const x = moved(logits, scale, offset);
  const byOffset = useMemo(
    () => points(OFFSET, "difference", label, (offset) => moved(logits, scale, offset)),
    [logits, label, scale],
  );
  const byScale = useMemo(
    () => points(SCALE, "relative", label, (scale) => moved(logits, scale, offset)),
    [logits, label, offset],
  );
  return (
    <section aria-labelledby="compare-heading">
      <h2 id="compare-heading">{t.heading}</h2>
      <p class="prose">
        <Prose>{t.text}</Prose>
      </p>
      <div class="panel compare">
        <Examples names={t.example} title={t.examples} onExample={(name) => change(placeOf(name, state))} />
        <div class="sliders">
          <Slider name="scale" title={t.scale} range={SCALE} value={scale} onValue={(scale) => change({ scale })} />
          <Slider
            name="offset"
            title={t.offset}
            range={OFFSET}
            value={offset}
            onValue={(offset) => change({ offset })}
          />
        </div>
        <p class="moved">
          <span>{t.logits}</span> <code data-name="moved">{formatLogits(x)}</code>
        </p>
        <LossTable x={x} label={label} t={t} />
        <div class="charts">
          <Differences
            title={t.byOffset(String(scale))}
            axis={t.offsetAxis}
            notFinite={t.notFinite}
            usual
            range={OFFSET}
            here={offset}
            points={byOffset}
          />
          <Differences
            title={t.byScale(show(offset))}
            axis={t.scaleAxis}
            notFinite={t.notFinite}
            usual={false}
            range={SCALE}
            here={scale}
            points={byScale}
          />
        </div>
      </div>
      <p class="prose">
        <Prose>{t.afterword}</Prose>
      </p>
    </section>
  );
}

function LossTable(props: { x: readonly number[]; label: number; t: SectionProps["text"]["compare"] }): JSX.Element {
  const { x, label, t } = props;
  const [losses] = lossesOf([[...x]], label);
  return (
    <table class="losses">
      <caption class="unseen">{t.table}</caption>
      <thead>
        <tr>
          {t.columns.map((column) =>
            column ? (
              <th key={column} scope="col">
                {column}
              </th>
            ) : (
              <td key="corner" />
            ),
          )}
        </tr>
      </thead>
      {losses && (
        <tbody>
          {COMPUTED.map((of) => (
            <LossRow key={of} of={of} losses={losses} largest={Math.max(...x)} t={t} />
          ))}
          <tr>
            <RowTitle of="exact" t={t} />
            <td>
              <Value name="compare.exact" value={losses.exact} />
            </td>
            <td />
            <td />
          </tr>
        </tbody>
      )}
    </table>
  );
}

function LossRow(props: {
  of: Computed;
  losses: Losses;
  largest: number;
  t: SectionProps["text"]["compare"];
}): JSX.Element {
  const { of, losses, largest, t } = props;
  const { difference, relative } = errorOf(losses, of);
  const verdict = verdictOn(losses, of, largest);
  return (
    <>
      <tr>
        <RowTitle of={of} t={t} />
        <td>
          <Value name={`compare.${of}`} value={losses[of]} />
        </td>
        <td>
          <Value name={`compare.${of}.difference`} value={difference} />
        </td>
        <td>
          <Value name={`compare.${of}.relative`} value={relative} />
        </td>
      </tr>
      <tr class="verdict-row">
        <td colSpan={4} class={isBad(verdict) ? "verdict bad" : "verdict"} data-verdict={verdict}>
          {t.verdict[verdict]}
        </td>
      </tr>
    </>
  );
}

function RowTitle({ of, t }: { of: Computed | "exact"; t: SectionProps["text"]["compare"] }): JSX.Element {
  return (
    <th scope="row">
      <span class={`swatch ${of}`} />
      {t.rows[of]} <small>{t.how[of]}</small>
    </th>
  );
}

/** Errors over the whole range of a slider. */
function points(range: Range, error: keyof Errors, label: number, logits: (at: number) => number[]): Point[] {
  const places = Array.from(
    { length: Math.round((range.max - range.min) / range.step) + 1 },
    (_, i) => range.min + i * range.step,
  );
  return lossesOf(places.map(logits), label).map((losses, i) => {
    const of = (computed: Computed): number => {
      const errors = errorOf(losses, computed);
      // Near the smallest f32 numbers, the rounding of the result is not an error of the form.
      return errors.difference <= 3 * SMALLEST ? 0 : errors[error];
    };
    return { at: places[i] ?? Number.NaN, error: { naive: of("naive"), stable: of("stable"), xent: of("xent") } };
  });
}
