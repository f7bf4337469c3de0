import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Curve } from "../parts/curve.tsx";
import { show, Value } from "../parts/number.tsx";
import { useLogitRange } from "../parts/slider.tsx";
import { formatLogits, INITIAL, MAX_CLASSES, MIN_CLASSES, parseLogits, type State } from "../state.ts";
import type { Steps } from "../steps.ts";
import type { Texts } from "../texts/index.ts";
import type { SectionProps } from "./props.ts";

const EXAMPLES: Record<keyof Texts["numbers"]["example"], Pick<State, "logits" | "label">> = {
  readme: INITIAL,
  equal: { logits: [1, 1, 1], label: 0 },
  right: { logits: [1, 21, 0.5, -2], label: 1 },
  wrong: { logits: [1, 21, 0.5, -2], label: 0 },
  ten: { logits: [-1.5, 0.25, 1, 2.75, -3, 0.5, -2.25, 7.5, -0.5, 3.25], label: 7 },
};

export function Numbers({ state, change, text, steps }: SectionProps & { steps: Steps }): JSX.Element {
  const t = text.numbers;
  const { logits, label } = state;
  const probability = steps.softmax[label] ?? Number.NaN;
  const setLogits = (logits: readonly number[]): void => change({ logits, label: Math.min(label, logits.length - 1) });
  return (
    <section id="numbers" aria-labelledby="numbers-heading">
      <h2 id="numbers-heading">{t.heading}</h2>
      <div class="panel numbers">
        <div class="input">
          <TextOfLogits logits={logits} onLogits={setLogits} t={t} />
          <Examples names={t.example} title={t.examples} onExample={(name) => change(EXAMPLES[name])} />
          <LogitSliders state={state} change={change} text={text} />
          <p class="buttons">
            <button type="button" disabled={logits.length >= MAX_CLASSES} onClick={() => setLogits([...logits, 0])}>
              {t.add}
            </button>
            <button
              type="button"
              disabled={logits.length <= MIN_CLASSES}
              onClick={() => setLogits(logits.slice(0, -1))}
            >
              {t.remove}
            </button>
          </p>
        </div>
        <div class="result">
          <p class="result-title">{t.result}</p>
          <p class="result-loss">
            <Value name="loss" value={steps.kernel.loss} />
          </p>
          <p class="note">{t.byKernel}</p>
          <p class="result-title">{t.probability}</p>
          <p class="result-probability">
            <Value name="probability" value={probability} />
          </p>
          <Curve
            p={probability}
            loss={steps.kernel.loss}
            title={t.curve(show(probability), show(steps.kernel.loss))}
            xAxis={t.curveAxis}
            yAxis={text.loss}
          />
          <CopyLink t={t} />
        </div>
      </div>
    </section>
  );
}

/** The typed text stays as it is until the logits change in another way. */
function TextOfLogits(props: {
  logits: readonly number[];
  onLogits: (logits: readonly number[]) => void;
  t: Texts["numbers"];
}): JSX.Element {
  const { logits, onLogits, t } = props;
  const [draft, setDraft] = useState({ text: "", logits: undefined as readonly number[] | undefined, invalid: false });
  const isCurrent = draft.logits === logits;
  const invalid = isCurrent && draft.invalid;
  return (
    <div class="text">
      <label for="logits">{t.text}</label>
      <textarea
        id="logits"
        rows={2}
        spellcheck={false}
        aria-invalid={invalid}
        aria-describedby="logits-hint"
        value={isCurrent ? draft.text : formatLogits(logits)}
        onInput={({ currentTarget: { value } }) => {
          const parsed = parseLogits(value);
          setDraft({ text: value, logits: parsed ?? logits, invalid: parsed === undefined });
          if (parsed) onLogits(parsed);
        }}
      />
      <p id="logits-hint" class={invalid ? "note invalid" : "note"} aria-live="polite">
        {invalid ? t.invalid : t.hint}
      </p>
    </div>
  );
}

function LogitSliders({ state, change, text }: SectionProps): JSX.Element {
  const t = text.numbers;
  const { logits, label } = state;
  const { range, hold, release } = useLogitRange(logits);
  return (
    <fieldset class="logits">
      <legend>{t.label}</legend>
      {logits.map((x, j) => (
        <div key={j} class={j === label ? "logit label" : "logit"}>
          <label class="pick">
            <input
              type="radio"
              name="label"
              aria-label={t.isLabel(j)}
              checked={j === label}
              onChange={() => change({ label: j })}
            />
            <span class="class-index" aria-hidden="true">
              {j}
            </span>
          </label>
          <input
            type="range"
            name={`logit-${j}`}
            aria-label={t.logit(j)}
            {...range}
            step="any"
            value={x}
            onInput={({ currentTarget }) => {
              hold();
              const stepped = Math.round(currentTarget.valueAsNumber / range.step) * range.step;
              change({ logits: logits.with(j, Math.fround(Number(stepped.toFixed(6)))) });
            }}
            onChange={release}
          />
          <output>{formatLogits([x]).replace("-", "−")}</output>
        </div>
      ))}
    </fieldset>
  );
}

/** Buttons that show an example. */
export function Examples<Name extends string>(props: {
  title: string;
  names: Record<Name, string>;
  onExample: (name: Name) => void;
}): JSX.Element {
  const { title, names, onExample } = props;
  return (
    <p class="buttons">
      <span class="buttons-title">{title}</span>
      {(Object.keys(names) as Name[]).map((name) => (
        <button key={name} type="button" data-example={name} onClick={() => onExample(name)}>
          {names[name]}
        </button>
      ))}
    </p>
  );
}

function CopyLink({ t }: { t: Texts["numbers"] }): JSX.Element {
  const [said, say] = useState("");
  // A page outside a secure context has no clipboard, and a browser may refuse access to it.
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(location.href);
      say(t.copied);
    } catch {
      say(t.notCopied);
    }
  };
  return (
    <p class="buttons copy">
      <button type="button" onClick={copy} onBlur={() => say("")}>
        {t.copy}
      </button>
      <span class="note" role="status">
        {said}
      </span>
    </p>
  );
}
