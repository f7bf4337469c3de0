//! Sparse softmax cross-entropy with logits: for a row of logits x and an integer label y
//!
//! ```text
//! loss = -log(softmax(x)[y]) = log(sum_j exp(x_j - m)) - (x_y - m),    m = max_j x_j
//! d loss / d x_j = softmax(x)_j - [j = y]
//! ```
//!
//! in `f32`, or in `f64` for `f64` logits. Loss and gradient share one exponential for each logit. It is computed twice only if the
//! gradient's memory cannot hold it in between.
//!
//! # Numerics contract
//!
//! Errors are in ulp of `f32`, relative to the exact value, if that is a normal `f32`.
//!
//! | case | what holds |
//! |---|---|
//! | loss, any finite row, any number of classes | at most [`LOSS_ULP`], even for a loss of 1e-9 or 1e-35; with options 2.7 |
//! | gradient | at most [`GRADIENT_ULP`] in every entry, with a temperature 4.1; the label's is -(sum of the others) / sum, never p - 1 |
//! | smoothing, soft targets | the loss as above; the gradient within 4 u (see below) of \|alpha p_j\| + \|q_j\|, which is less than [`DENSE_ULP`] of the larger |
//! | softcap | loss within 3, gradient within 10: a capped logit is within T u / 8, and its slope within 2.2 u; if \|x\| is more than 55 c, the slope of `f32` logits is 0 (for `f64` logits and more than 240 c, it stays 1.4e-208) |
//! | `f64` logits | loss and gradient within 2^-49, relative; with a softcap, that times 1 + \|y / T\| + \|x / c\| for capped logits y; merged from shards with a temperature, \|x / T\| 2^-52 more, because their records have rounded quotients; loss and log-sum-exp are `f64` |
//! | sum of the losses | the sum of the losses before they are rounded, in `f64`, in a fixed order |
//! | divergence | the loss within [`DIVERGENCE`] of its size, also for `f64` logits, as far as an error of \|x / T\| 2^-46 (`f64` logits: 2^-51) in the d_j allows; the gradient within [`DIVERGENCE_GRADIENT_ULP`] of the larger of p and q, and 0 if both rows are equal |
//! | a shared offset, 1e8 on every logit | log 3 for three equal logits, not 0 |
//! | -inf logit | the class has probability 0; at the label: loss +inf |
//! | all -inf, or any +inf or NaN | NaN loss and gradient row, other rows untouched |
//! | a row with sample weight 0 | loss and gradient 0, whatever its logits and targets are |
//! | one class | loss 0, gradient 0 |
//! | subnormal results | within 3 steps of 2^-149 |
//! | results that weights, the z-loss or 1 / T raise above 2^-149 | may be 0, or differ beside other rows, as far as they would be below 2^-149 without |
//! | predictions | the first class with the largest logit, before softcap and temperature |
//! | reproducible | without fused operations: the same bits on every engine and machine; always: the same bits for every division of the rows and of their classes, except for 2^-48 of a loss before it is rounded |
//!
//! ## Why the two bounds hold
//!
//! Let u = 2^-24. An ulp of a number is between u and 2u of its size, so an error of k u is at most k ulp, and rounding costs half an ulp.
//!
//! 1. *Term.* Range reduction and polynomial give a term within 1.45 u of its size, rounding included ([`exp::MAX_ERROR`]; a test tries
//!    every `f32`, fused and not, and several temperatures). With a temperature, it is 1.5 u: the figures in brackets below. Its scale is an
//!    exact power of two.
//! 2. *Sum.* The sum O of the other terms is added in `f64`: it is within 1.45 u + n 2^-53, in four
//!    lanes. For any row that fits a memory of 4 GiB, that is within 1.46 u (1.51 u).
//! 3. *Label's term and logarithm* are computed in `f64`, within 2e-9 and 4e-9 (0.1 u together). The relative error of log(1 + O / e_y) is
//!    at most that of O / e_y: x / ((1 + x) log(1 + x)) <= 1.
//! 4. *Loss:* 1.46 + 0.1 + 0.5 (rounding) = 2.06 (2.11) <= 2.5.
//! 5. *Gradient off the label:* the term's 1.45 and the sum's 1.46 make 2.91; the factor has 29 digits (0.03). Its product is rounded once
//!    if fused (0.5): 3.5; and twice if not (1.0): 3.97 <= 4 (4.07). At the label: O / (O + e_y) in `f64`, 1.46 + 0.5.
//! 6. *Dense targets.* Margins sum_j q_j (x_r - x_j) are computed in `f64`, where the products are exact. The loss has the absolute error
//!    (q_r + Q) 1.56 u (1.61 u) min(1, nll_r). A row whose loss is less than 0.75 (q_r + Q) min(1, nll_r) is computed again with its largest logit
//!    as r, where all parts have the same sign. So the error is at most 2.15 u, with rounding 2.7 if the loss is exactly at that 0.75.
//!    So is a row whose loss is less than 2^-22 (`f64` logits: a quarter) of (q_r + Q) nll_r, because the parts are rounded to `f64`.
//!    In shards, r is always the largest logit.
//!    In rows of `f32` logits that need no centre, margins are Q x_r - sum_j q_j x_j for at most 8192 classes at a time, in four lanes. No
//!    logit whose term is not 0 is larger than 1000 T, so for q >= 0 this difference loses less than 2048 2^-53 2000 = 0.008 u of Q, and
//!    less than 0.02 u of the loss. A logit far below makes the margin larger by q_j times its distance, of which 2^-42 are lost.
//!    The gradient is a difference of two parts, each rounded: [`DENSE_ULP`].
//! 7. *Divergence.* p_j (d_j + expm1(-d_j)) has three parts if |d_j| >= 0.75: p_j d_j, p_j and q_j. The p_j are within 2.91 u: 1.46, the
//!    same for all, and 1.45 of their own. The loss has the same relative error. In addition, q_j is within 1.45 + 2.91 u, because its
//!    ratio to the p_j is that of two sums; its product and the difference add 1.5 u: 5.9 u. Relative to the term, this is largest at
//!    d_j = -0.75, where e^0.75 5.9 u + 2.5 u is 41 u of it. For smaller |d_j|, the polynomial has 5.2 u and its rounding 3. The terms are
//!    never negative and are added in `f64`, so their sum is within 44 u (46 u). If a divergence is large, the sum of p_j (d_j - 1) + q_j
//!    is within 51 u of it (see [`divergence::sums`]): 3.0e-6 <= [`DIVERGENCE`].
//!    Elsewhere, the error of c, 3 u, changes the sum by its square, which is subtracted. It comes from a sum of q_j - p_j that is added in `f32`: at
//!    most 130 u of sum |q_j - p_j| are lost, whose square is below 2e-10 of the loss (Pinsker's inequality). The remainder is below 1e-6
//!    of the loss, or the tile is summed again around a better c.
//!    A class whose term is 0, with p below 2^-182 (2^-1279 for `f64` logits), counts if d is more than 2^32 (2^200). So less than 2^-150
//!    (2^-1079) a class is left out.
//!    The gradient has 3.97 u (4.07 u) of p_j and of q_j, and half an ulp: 8.7 <= [`DIVERGENCE_GRADIENT_ULP`].
//! 8. *Softcap.* A capped logit changes its term by at most u / 8: the sum is within 1.64 u, the label's term within 0.23 u, the loss
//!    within 1.64 + 0.23 + 0.5 = 2.37, or with dense targets (1.86 instead of 1.61 in 6) 2.98. The gradient has the term's 1.63, the sum's
//!    1.64, the label's 0.13, the slope's 2.2, one more rounding, and the 1.06 of the factor: 7.7 <= 10.
//!
//! # Map
//!
//! [`job`] is the record in memory. Only this module and its folder turn addresses into references and choose how rows are computed:
//!
//! - [`short`]: many rows of few classes together
//! - [`row`]: one row of many classes, and any row that leaves the window around its label
//! - [`mod@column`]: rows side by side, if the class axis is not the last
//! - [`partial`]: some of the classes of a row, for one thread or one machine
//! - [`divergence`]: two rows of logits, of two models
//!
//! All of them read logits in tiles ([`tile`]: types, strides; [`softcap`]), turn them into terms ([`terms`]: the loop; [`exp`]), weight
//! the classes ([`targets`]), compute losses and factors of several rows at once ([`ends`]; [`log1p`]), and turn terms into gradients
//! ([`gradient`]). [`power`] is the arithmetic of numbers relative to a power of two, by which shards are merged. [`numbers`] are memory
//! whose type is known at run time, so all code but the loops exists once for all types. [`label`] is the meaning of a label, [`largest`]
//! the search for a prediction, [`scratch`] the memory between these steps, [`vector`] the lanes.
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | logits | x, before softcap and temperature |
//! | label | the row's class y |
//! | reference | r: the label or, with soft targets (in shards also with smoothing), the class of the largest logit |
//! | term | e^(x_j / T), divided by a power of two that all terms of the row share |
//! | scale, expm1 | a term is scale + scale * expm1, with scale = 2^n and expm1 = e^r - 1 |
//! | power, shift | log2 of that divisor; the float from which the scale is made |
//! | off-label sum | O: the sum of all terms but the reference's |
//! | weight | q_j: the weight of a class in the loss |
//! | margin | M: the sum of q_j (x_r - x_j) |
//! | share, factor | 1 / sum of all terms; the factor from terms to the gradient |
//! | tile | logits that a loop reads together: about 1,000, which fit the L1 cache |
//! | sink | what a loop does with its terms: add them, keep them, both |
//! | partial | the sums of some of a row's classes |
//!
//! No heap, no mutable statics, no panics in the release build for wasm, and no stack memory, so threads can share a memory safely.

#![no_std]
#![warn(missing_docs)]

/// The largest error of a loss, in ulp.
pub const LOSS_ULP: f64 = 2.5;

/// The largest error of an entry of the gradient, in ulp.
pub const GRADIENT_ULP: f64 = 4.0;

/// The largest error of an entry of the gradient with smoothing or soft targets, in ulp of the larger part.
pub const DENSE_ULP: f64 = 6.0;

/// The largest relative error of a divergence.
pub const DIVERGENCE: f64 = 4e-6;

/// The largest error of an entry of a divergence's gradient, in ulp of the larger of p and q.
pub const DIVERGENCE_GRADIENT_ULP: f64 = 9.0;

pub mod column;
pub mod divergence;
pub mod ends;
pub mod exp;
pub mod gradient;
pub mod job;
pub mod label;
pub mod largest;
pub mod log1p;
pub mod numbers;
pub mod partial;
pub mod power;
pub mod row;
pub mod scratch;
pub mod short;
pub mod softcap;
pub mod targets;
pub mod terms;
pub mod tile;
pub mod vector;
