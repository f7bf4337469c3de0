//! The products of a linear layer, logits = H Wᵀ + b, and of its gradients, for a chunk of rows of H whose logits are stored
//! until their loss and gradient G (crates/kernel) are known:
//!
//! ```text
//! logits = H Wᵀ + b      [rows, features] [classes, features]ᵀ   kind::LOGITS      by classes
//! dH     = G W           [rows, classes]  [classes, features]    kind::FEATURES    by columns
//! dW    += Gᵀ H          [rows, classes]ᵀ [rows, features]       kind::WEIGHT      by classes
//! ```
//!
//! A product is a [`product::Product`] in memory, whose items any threads compute in any order: the bits are the same.
//!
//! # Numerics contract
//!
//! Let u = 2^-24. An entry is a sum of n products. They are added in `f32`, one after the other, in blocks of at most
//! [`product::BLOCK`]; the sums of blocks are added in `f64`, and the entry is rounded once.
//!
//! | entry | error, relative to the sum of the sizes of its products |
//! |---|---|
//! | logit | at most (min(n, 512) + 2) u, n = features; the bias is one of the products |
//! | dH | at most (min(n, 512) + 2) u, n = classes, of what G is in `f32` |
//! | dW | at most (rows of a chunk + chunks + 3) u: it is kept in `f32` between chunks |
//! | db | at most 3 u: added in `f64` |
//!
//! A weight of 16 bits is widened exactly. What is NaN or infinite in a row of H reaches this row's logits and gradient, and all of
//! dW; in a row of W, all rows. Products that underflow lose up to 2^-150 each, beside this.
//!
//! # Map
//!
//! product -> pack -> tile -> vector. All of them get addresses: what lies there is [`product::Product`]'s contract.

#![no_std]

#[cfg(test)]
extern crate std;

pub mod pack;
pub mod product;
pub mod tile;
pub mod vector;
