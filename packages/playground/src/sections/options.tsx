import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { Bars } from "../parts/bars.tsx";
import { Value } from "../parts/number.tsx";
import { Slider } from "../parts/slider.tsx";
import { OPTIONS, type OptionName } from "../state.ts";
import { type KernelRow, kernelOptions, kernelRow } from "../steps.ts";
import type { SectionProps } from "./props.ts";

export function Options({ state, change, text, plain }: SectionProps & { plain: KernelRow }): JSX.Element {
  const t = text.options;
  const { logits, label, option, value } = state;
  const options = useMemo(
    () => kernelOptions(option, value, logits.length, label),
    [option, value, logits.length, label],
  );
  const row = useMemo(() => kernelRow(logits, label, options), [logits, label, options]);
  const range = option === "ignoreIndex" ? { ...OPTIONS.ignoreIndex, max: logits.length - 1 } : OPTIONS[option];
  const largest = Math.max(plain.loss, row.loss) || 1;
  const choose = (name: OptionName): void =>
    change({ option: name, value: name === "ignoreIndex" ? label : OPTIONS[name].initial });
  return (
    <section aria-labelledby="options-heading">
      <h2 id="options-heading">{t.heading}</h2>
      <p class="prose">{t.text}</p>
      <div class="panel options">
        <fieldset class="choice wide">
          <legend class="unseen">{t.choose}</legend>
          {(Object.keys(OPTIONS) as OptionName[]).map((name) => (
            <label key={name}>
              <input type="radio" name="option" value={name} checked={name === option} onChange={() => choose(name)} />
              <span>{name}</span>
            </label>
          ))}
        </fieldset>
        <div class="option">
          <div>
            <p class="formula-line">
              <code>{t.formula[option]}</code>
            </p>
            <p>{t.says[option]}</p>
            <Slider
              name="value"
              title={t.value[option]}
              range={range}
              value={value}
              onValue={(value) => change({ value })}
            />
            <pre>
              <code>{`{ ${Object.entries(options ?? {}).map(([name, v]) => `${name}: ${JSON.stringify(v).replaceAll(",", ", ")}`)} }`}</code>
            </pre>
          </div>
          <div>
            <h3>{text.numbers.result}</h3>
            <table class="bars two">
              <caption class="unseen">{text.numbers.result}</caption>
              <tbody>
                <LossRow title={t.without} kind="before" name="plain-loss" loss={plain.loss} largest={largest} />
                <LossRow title={t.with} kind="bar" name="option-loss" loss={row.loss} largest={largest} />
              </tbody>
            </table>
            <h3>{t.gradient}</h3>
            <Bars
              name="option-gradient"
              caption={text.steps.bars(t.gradient)}
              rows={row.gradient.map((value, j) => ({ value, before: plain.gradient[j] ?? 0 }))}
              label={label}
            />
          </div>
        </div>
      </div>
    </section>
  );
}

function LossRow(props: { title: string; kind: string; name: string; loss: number; largest: number }): JSX.Element {
  const { title, kind, name, loss, largest } = props;
  return (
    <tr class="label">
      <th scope="row">{title}</th>
      <td class="track">
        <span class="tracks">
          <span class={kind} style={{ left: "0", width: `${(100 * loss) / largest}%` }} />
        </span>
      </td>
      <td>
        <Value name={name} value={loss} />
      </td>
    </tr>
  );
}
