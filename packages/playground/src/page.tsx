import type { JSX } from "preact";
import { useLayoutEffect, useMemo, useState } from "preact/hooks";
import { Prose } from "./parts/prose.tsx";
import { Compare } from "./sections/compare.tsx";
import { Formulas } from "./sections/formulas.tsx";
import { Numbers } from "./sections/numbers.tsx";
import { Options } from "./sections/options.tsx";
import { Origin } from "./sections/origin.tsx";
import type { SectionProps } from "./sections/props.ts";
import { StepByStep } from "./sections/step-by-step.tsx";
import { Switches } from "./sections/switches.tsx";
import { fromHash, type State, toHash } from "./state.ts";
import { stepsOf } from "./steps.ts";
import { preferredLanguage, texts } from "./texts/index.ts";

export function Page(): JSX.Element {
  const [state, change] = useAddress();
  const text = texts[state.language];
  const steps = useMemo(() => stepsOf(state.logits, state.label), [state.logits, state.label]);
  // Before the new texts are drawn, so that a screen reader never meets them under another language.
  useLayoutEffect(() => {
    document.documentElement.lang = state.language;
    document.title = text.title;
  }, [state.language, text]);
  const section = { state, change, text };
  return (
    <>
      <button type="button" class="skip" onClick={skip}>
        {text.skip}
      </button>
      <header>
        <Switches {...section} />
        <h1>{text.title}</h1>
        <p class="lead">
          <Prose>{text.lead}</Prose>
        </p>
        <Formulas text={text} />
      </header>
      <main>
        <Numbers {...section} steps={steps} />
        <StepByStep {...section} steps={steps} />
        <Compare {...section} />
        <Options {...section} plain={steps.kernel} />
        <Origin text={text} />
      </main>
      <footer>{text.footer}</footer>
    </>
  );
}

/** Keeps state and address the same: an address can be shared, and a changed address changes the page. */
function useAddress(): [State, SectionProps["change"]] {
  const preferred = useMemo(preferredLanguage, []);
  const [state, setState] = useState(() => fromHash(location.hash, preferred));
  // Before the first numbers are drawn, so that no change of the address is missed.
  useLayoutEffect(() => {
    const follow = (): void => setState(fromHash(location.hash, preferred));
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, [preferred]);
  const change = (part: Partial<State>): void => {
    const next = { ...state, ...part };
    setState(next);
    history.replaceState(null, "", `#${toHash(next, preferred)}`);
  };
  return [state, change];
}

/** A button, because a link would change the address, which holds the state. */
function skip(): void {
  document.querySelector<HTMLElement>("#numbers textarea")?.focus();
}
