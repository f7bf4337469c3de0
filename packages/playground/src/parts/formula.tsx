// Formulas in MathML Core, which browsers render without a library.
import type { ComponentChildren, JSX } from "preact";

function F({ children, block }: { children: ComponentChildren; block?: boolean }): JSX.Element {
  return (
    <math display={block ? "block" : "inline"}>
      <mrow>{children}</mrow>
    </math>
  );
}

const I = ({ children }: { children: string }): JSX.Element => <mi>{children}</mi>;
const O = ({ children }: { children: string }): JSX.Element => <mo>{children}</mo>;
const Sub = ({ of, at }: { of: string; at: string }): JSX.Element => (
  <msub>
    <mi>{of}</mi>
    <mi>{at}</mi>
  </msub>
);
const Name = ({ children }: { children: string }): JSX.Element => <mi mathvariant="normal">{children}</mi>;

const Exp = ({ at }: { at: string }): JSX.Element => (
  <msup>
    <I>e</I>
    <mrow>
      <Sub of="x" at={at} />
      <O>−</O>
      <I>m</I>
    </mrow>
  </msup>
);

const Sum = (): JSX.Element => (
  <munder>
    <mo>∑</mo>
    <I>j</I>
  </munder>
);

/** Brackets as text, which do not stretch. */
const T = ({ children }: { children: string }): JSX.Element => <mtext>{children}</mtext>;

const SoftmaxAt = ({ at }: { at: string }): JSX.Element => (
  <msub>
    <mrow>
      <Name>softmax</Name>
      <T>(</T>
      <I>x</I>
      <T>)</T>
    </mrow>
    <I>{at}</I>
  </msub>
);

const OneHot = (): JSX.Element => (
  <mrow>
    <T>[</T>
    <I>j</I>
    <O>=</O>
    <I>y</I>
    <T>]</T>
  </mrow>
);

const Log = (): JSX.Element => (
  <>
    <Name>log</Name>
    <mspace width="0.17em" />
  </>
);

export const LossFormula = ({ word }: { word: string }): JSX.Element => (
  <F block>
    <T>{word}</T>
    <O>=</O>
    <O>−</O>
    <Log />
    <SoftmaxAt at="y" />
  </F>
);

/** The right side of the previous formula in its stable form. */
export const StableFormula = (): JSX.Element => (
  <F block>
    <O>=</O>
    <Log />
    <Sum />
    <Exp at="j" />
    <O>−</O>
    <T>(</T>
    <Sub of="x" at="y" />
    <O>−</O>
    <I>m</I>
    <T>)</T>
  </F>
);

export const MaxFormula = (): JSX.Element => (
  <F block>
    <I>m</I>
    <O>=</O>
    <munder>
      <Name>max</Name>
      <I>j</I>
    </munder>
    <mspace width="0.17em" />
    <Sub of="x" at="j" />
  </F>
);

export const GradientFormula = ({ word }: { word: string }): JSX.Element => (
  <F block>
    <mfrac>
      <mrow>
        <O>∂</O>
        <mspace width="0.1em" />
        <T>{word}</T>
      </mrow>
      <mrow>
        <O>∂</O>
        <Sub of="x" at="j" />
      </mrow>
    </mfrac>
    <O>=</O>
    <SoftmaxAt at="j" />
    <O>−</O>
    <OneHot />
  </F>
);

/** A short formula for each step. */
export const stepFormulas: readonly (() => JSX.Element)[] = [
  () => (
    <F>
      <Sub of="x" at="j" />
    </F>
  ),
  () => (
    <F>
      <Sub of="x" at="j" />
      <O>−</O>
      <I>m</I>
    </F>
  ),
  () => (
    <F>
      <Exp at="j" />
    </F>
  ),
  () => (
    <F>
      <Sub of="p" at="j" />
      <O>=</O>
      <Exp at="j" />
      <O>/</O>
      <I>S</I>
    </F>
  ),
  () => (
    <F>
      <O>−</O>
      <Log />
      <Sub of="p" at="y" />
    </F>
  ),
  () => (
    <F>
      <Sub of="p" at="j" />
      <O>−</O>
      <OneHot />
    </F>
  ),
];

/** The symbols of the numbers at the end of the steps. */
export const Letter = {
  m: () => (
    <F>
      <I>m</I>
      <O>=</O>
      <Name>max</Name>
      <mspace width="0.17em" />
      <I>x</I>
    </F>
  ),
  S: () => (
    <F>
      <I>S</I>
      <O>=</O>
      <mo>∑</mo>
      <Exp at="j" />
    </F>
  ),
  logS: () => (
    <F>
      <Log />
      <I>S</I>
    </F>
  ),
  shifted: () => (
    <F>
      <Sub of="x" at="y" />
      <O>−</O>
      <I>m</I>
    </F>
  ),
};
