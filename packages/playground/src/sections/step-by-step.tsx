import type { ComponentChildren, JSX } from "preact";
import { Bars } from "../parts/bars.tsx";
import { Letter, stepFormulas } from "../parts/formula.tsx";
import { Value } from "../parts/number.tsx";
import type { Steps } from "../steps.ts";
import type { SectionProps } from "./props.ts";

export function StepByStep({ state, text, steps }: SectionProps & { steps: Steps }): JSX.Element {
  const t = text.steps;
  const { logits, label } = state;
  const { max, shifted, exp, sum, softmax, logSum, kernel } = steps;
  const bars = (index: number, name: string, values: readonly number[]): JSX.Element => (
    <Bars
      name={name}
      caption={t.bars(t.names[index] ?? "")}
      rows={values.map((value) => ({ value }))}
      label={label}
      short={index < 2}
    />
  );
  const contents: ComponentChildren[] = [
    <>
      {bars(0, "logits", logits)}
      <Line of={<Letter.m />} name="max" value={max} />
    </>,
    bars(1, "shifted", shifted),
    <>
      {bars(2, "exp", exp)}
      <Line of={<Letter.S />} name="sum" value={sum} />
    </>,
    bars(3, "softmax", softmax),
    <>
      <Line of={<Letter.logS />} name="log-sum" value={logSum} />
      <Line of={<Letter.shifted />} name="label-shifted" value={shifted[label] ?? Number.NaN} sign="−" />
      <Line of={text.loss} name="step-loss" value={kernel.loss} sign="=" strong />
    </>,
    bars(5, "gradient", kernel.gradient),
  ];
  return (
    <section aria-labelledby="steps-heading">
      <h2 id="steps-heading">{t.heading}</h2>
      <ol class="steps">
        {contents.map((content, i) => {
          const Formula = stepFormulas[i];
          return (
            <li key={t.names[i]} class="panel step">
              <div class="step-head">
                <h3>
                  <span class="step-number">{i + 1}</span>
                  {t.names[i]}
                </h3>
                {Formula && <Formula />}
              </div>
              <p>{t.texts[i]}</p>
              {content}
            </li>
          );
        })}
      </ol>
    </section>
  );
}

/** A number with its formula and the sign with which it enters the next line. */
function Line(props: {
  of: ComponentChildren;
  name: string;
  value: number;
  sign?: string;
  strong?: boolean;
}): JSX.Element {
  const { of, name, value, sign = "", strong } = props;
  return (
    <p class={strong ? "line strong" : "line"}>
      <span class="sign">{sign}</span>
      <span class="of">{of}</span>
      <Value name={name} value={value} />
    </p>
  );
}
