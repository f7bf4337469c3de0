import type { JSX } from "preact";
import { GradientFormula, LossFormula, MaxFormula, StableFormula } from "../parts/formula.tsx";
import type { Texts } from "../texts/index.ts";

export function Formulas({ text }: { text: Texts }): JSX.Element {
  return (
    <section class="formulas" aria-label={text.formulas}>
      <div>
        <LossFormula word={text.loss} />
        <div class="second-line">
          <StableFormula />
        </div>
      </div>
      <MaxFormula />
      <GradientFormula word={text.loss} />
    </section>
  );
}
