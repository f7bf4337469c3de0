// Common ways to compute the loss, with each step rounded to f32.
const f32 = Math.fround;

const sum = (terms: number[]): number => terms.reduce((total, term) => f32(total + term), 0);

/** The naive -log(softmax(x)[y]). */
export function naiveLoss(x: number[], y: number): number {
  const terms = x.map((v) => f32(Math.exp(f32(v))));
  return f32(-Math.log(f32((terms[y] as number) / sum(terms))));
}

/** log(sum_j exp(x_j - m)) - (x_y - m), as in the kernel of TensorFlow. */
export function stableLoss(x: number[], y: number): number {
  const m = Math.max(...x.map(f32));
  const shifted = x.map((v) => f32(f32(v) - m));
  return f32(f32(Math.log(sum(shifted.map((v) => f32(Math.exp(v)))))) - (shifted[y] as number));
}
