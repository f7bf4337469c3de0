//! Sparse softmax cross-entropy with logits: for a row of logits x and an integer label y
//!
//! ```text
//! loss = -log(softmax(x)[y]) = log(sum_j exp(x_j - m)) - (x_y - m),    m = max_j x_j
//! d loss / d x_j = softmax(x)_j - [j = y]
//! ```
//!
//! computed in `f32`, one exponential per logit for both results.
//!
//! # Numerics contract
//!
//! Errors are in ulp of `f32` against the exact value, where that is a normal `f32`.
//!
//! | case | what holds |
//! |---|---|
//! | loss, any finite row, any number of classes | at most 2 ulp, also where the loss is 1e-9 or 1e-35 |
//! | gradient | at most 3 ulp in every entry; the label's is -(sum of the others) / sum, never p - 1 |
//! | a shared offset, 1e8 on every logit | log 3 for three equal ones, not 0 |
//! | -inf logit | weight 0; at the label: loss +inf |
//! | all -inf, or any +inf or NaN | NaN loss and gradient row, other rows untouched |
//! | one class | loss 0, gradient 0 |
//! | subnormal results | within 3 steps of 2^-149 |
//! | reproducible | without fused operations: the same bits on every engine and machine; always: the same bits for every division of the rows |
//!
//! The two bounds are what the parts allow where their errors do not all point the same way: see [`exp::MAX_ERROR`] for a
//! term. A sum adds most where one term, not the label's, makes it up, and swallows many that are 2^24 times smaller. In
//! searches, 191 of 13 million entries of rows made for that were above 3 ulp (4.0 at most), and 31 of a million losses above 2
//! (3.7); of normal rows with a spread of 8, 31 entries of 13 million (3.7); of 52 million entries of other random rows none.
//!
//! # Map
//!
//! From the outside in: [`job`] (the record in memory, the only place where addresses become references), [`rows`] (which
//! routine computes which rows), then [`narrow`] (many rows of few classes) or [`terms`]: [`row`] (one row of many classes,
//! the heart; [`pass`] is its loop) and [`general`] (the row that leaves its window); [`split`] is a row that several threads
//! compute. All of them stand on [`scratch`] (memory), [`exp`], [`log1p`], [`largest`] and the [`vector`] trait.
//!
//! With options (weights, smoothing, soft targets, z-loss), other types and other layouts, [`job`] calls [`weighted`]: one
//! formula around [`row`]; [`staged`] reads logits of any type and stride and transforms them, [`wide`] is the same formula
//! in `f64`, [`math`] its functions.
//!
//! No heap, no statics, no panics in the release build for wasm, no stack memory: threads that share a memory share it safely.

#![no_std]
#![warn(missing_docs)]

pub mod exp;
pub mod general;
pub mod job;
pub mod label;
pub mod largest;
pub mod log1p;
pub mod math;
pub mod narrow;
pub mod pass;
pub mod row;
pub mod rows;
pub mod scratch;
pub mod shard;
pub mod split;
pub mod staged;
pub mod terms;
pub mod vector;
pub mod weighted;
pub mod wide;
