//! Operands as the tiles read them. What a row or column too few leaves free is zero, so that tiles are always whole.

use crate::tile::ROWS;
use crate::vector::{Vector, widen_bf16, widen_f16};

/// Values of [`crate::product::Product::weight_type`].
pub mod weight_type {
    /// `f32`
    pub const F32: u32 = 0;
    /// IEEE 754 binary16
    pub const F16: u32 = 1;
    /// bfloat16
    pub const BF16: u32 = 2;
}

/// A type of numbers in memory.
pub trait Number: Copy {
    /// Four of them, widened.
    ///
    /// # Safety
    ///
    /// They are valid for reads.
    unsafe fn load<V: Vector>(from: *const Self) -> V;

    /// One of them, widened.
    fn widen(self) -> f32;
}

impl Number for f32 {
    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: the caller's obligation.
        unsafe { V::load(from) }
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
}

/// Bits of binary16.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct F16(u16);

impl Number for F16 {
    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: the caller's obligation.
        unsafe { V::load_f16(from.cast()) }
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        widen_f16(self.0)
    }
}

/// Bits of bfloat16.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Bf16(u16);

impl Number for Bf16 {
    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: the caller's obligation.
        unsafe { V::load_bf16(from.cast()) }
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        widen_bf16(self.0)
    }
}

/// Up to four rows of `k` numbers as columns, `stride` elements from one k to the next: to [k][`stride`]. `row` gives the address of a
/// row.
///
/// # Safety
///
/// Rows below `count` are valid for reads, and four columns of `to` for writes.
#[inline(always)]
pub unsafe fn rows<V: Vector, N: Number>(
    row: impl Fn(usize) -> *const N,
    count: usize,
    k: usize,
    to: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller's obligations.
    unsafe {
        let mut begin = 0;
        if count >= 4 {
            let (mut a, mut b, mut c, mut d) = (row(0), row(1), row(2), row(3));
            let mut at = to;
            begin = k & !3;
            let end = a.wrapping_add(begin);
            while a != end {
                for column in V::transpose([N::load(a), N::load(b), N::load(c), N::load(d)]) {
                    column.store(at);
                    at = at.wrapping_add(stride);
                }
                a = a.add(4);
                b = b.add(4);
                c = c.add(4);
                d = d.add(4);
            }
        }
        for i in 0..4 {
            let from = row(if i < count { i } else { 0 });
            for j in begin..k {
                let x = if i < count { from.wrapping_add(j).read().widen() } else { 0.0 };
                to.wrapping_add(j * stride + i).write(x);
            }
        }
    }
}

/// Up to [`ROWS`] rows of `k` numbers: to [k][5]. `row` gives the address of a row.
///
/// # Safety
///
/// Rows below `count` are valid for reads, and `to` for writes.
#[inline(always)]
pub unsafe fn tile_rows<V: Vector>(row: impl Fn(usize) -> *const f32, count: usize, k: usize, to: *mut f32) {
    // SAFETY: the caller's obligations.
    unsafe {
        rows::<V, f32>(&row, count, k, to, ROWS);
        let last = row(if count >= ROWS { ROWS - 1 } else { 0 });
        for i in 0..k {
            let x = if count >= ROWS { last.wrapping_add(i).read() } else { 0.0 };
            to.wrapping_add(i * ROWS + ROWS - 1).write(x);
        }
    }
}

/// Up to eight columns of `k` rows, `stride` elements from one row to the next: to [k][8].
///
/// # Safety
///
/// The columns below `count` are valid for reads, and `to` for writes.
#[inline(always)]
pub unsafe fn columns<V: Vector, N: Number>(from: *const N, stride: usize, count: usize, k: usize, to: *mut f32) {
    let mut row = from;
    let mut at = to;
    let end = to.wrapping_add(8 * k);
    // SAFETY: the caller's obligations.
    unsafe {
        while at != end {
            if count >= 8 {
                N::load::<V>(row).store(at);
                N::load::<V>(row.add(4)).store(at.add(4));
            } else {
                for j in 0..8 {
                    let x = if j < count { row.wrapping_add(j).read().widen() } else { 0.0 };
                    at.wrapping_add(j).write(x);
                }
            }
            row = row.wrapping_add(stride);
            at = at.add(8);
        }
    }
}

/// Sixteen columns of `k` rows, likewise: to [k][8] and behind it another, a cache line of each row at a time.
///
/// # Safety
///
/// As [`columns`].
#[inline(always)]
pub unsafe fn sixteen_columns<V: Vector, N: Number>(from: *const N, stride: usize, k: usize, to: *mut f32) {
    let mut row = from;
    let mut at = to;
    let end = to.wrapping_add(8 * k);
    let mut second = end;
    // SAFETY: the caller's obligations.
    unsafe {
        while at != end {
            N::load::<V>(row).store(at);
            N::load::<V>(row.add(4)).store(at.add(4));
            N::load::<V>(row.add(8)).store(second);
            N::load::<V>(row.add(12)).store(second.add(4));
            row = row.wrapping_add(stride);
            at = at.add(8);
            second = second.add(8);
        }
    }
}
