//! The loop that all products spend their time in: a tile of 5 x 8 sums, each in a lane of a register, over packed operands.
//!
//! One k an iteration, addresses that are counted up, and a function of its own for each ending: V8 has 15 registers for vectors,
//! of which this takes 13, one more without fused operations, and spills where it unrolls or where the loop is inlined beside another.
//! Ten sums hide the latency of a multiply-add on two ports, and leave some time for what else the processor does.
//!
//! Each ending writes the last row first: Node.js 20 computes the sums of an iteration in the order opposite to that of their uses behind
//! the loop, and if the last row came first, the operands of all rows would be in registers at once.

use crate::vector::Vector;

/// Rows and columns of a tile.
pub const ROWS: usize = 5;
/// See [`ROWS`].
pub const COLUMNS: usize = 8;

/// The sums of k products for each of 5 x 8 entries: `a` is packed as [k][5], `b` as [k][8].
///
/// # Safety
///
/// Both are valid for reads.
#[inline(always)]
unsafe fn sums<V: Vector>(mut a: *const f32, mut b: *const f32, k: usize) -> [[V; 2]; ROWS] {
    let mut sums = [[V::splat(0.0); 2]; ROWS];
    // SAFETY: the caller's obligation. Only of an `add` the compiler knows that it does not wrap, and makes an offset.
    unsafe {
        let end = a.add(ROWS * k);
        while a != end {
            let (low, high) = (V::load(b), V::load(b.add(4)));
            for (i, sum) in sums.iter_mut().enumerate() {
                let row = V::load_splat(a.add(i));
                sum[0] = row.mul_add(low, sum[0]);
                sum[1] = row.mul_add(high, sum[1]);
            }
            a = a.add(ROWS);
            b = b.add(COLUMNS);
        }
    }
    sums
}

/// Writes a tile, each column with what is to be added to it, `stride` elements from one row to the next.
///
/// # Safety
///
/// `a` and `b` as in [`sums`]; `plus` has 8 numbers; the tile is valid for writes.
#[inline(never)]
pub unsafe fn write<V: Vector>(a: *const f32, b: *const f32, k: usize, plus: *const f32, to: *mut f32, stride: usize) {
    // SAFETY: the caller's obligations.
    unsafe {
        let sums = sums::<V>(a, b, k);
        let (low, high) = (V::load(plus), V::load(plus.add(4)));
        let mut row = to.wrapping_add(ROWS * stride);
        for sum in sums.into_iter().rev() {
            row = row.wrapping_sub(stride);
            sum[0].add(low).store(row);
            sum[1].add(high).store(row.add(4));
        }
    }
}

/// Adds a tile to what is there, `stride` elements from one row to the next.
///
/// # Safety
///
/// As [`write`], and the tile is valid for reads.
#[inline(never)]
pub unsafe fn add<V: Vector>(a: *const f32, b: *const f32, k: usize, to: *mut f32, stride: usize) {
    // SAFETY: the caller's obligations.
    unsafe {
        let sums = sums::<V>(a, b, k);
        let mut row = to.wrapping_add(ROWS * stride);
        for sum in sums.into_iter().rev() {
            row = row.wrapping_sub(stride);
            sum[0].add(V::load(row)).store(row);
            sum[1].add(V::load(row.add(4))).store(row.add(4));
        }
    }
}

/// Adds a tile to 5 x 8 `f64` in one piece; the first block of a sum is written there.
///
/// # Safety
///
/// `a` and `b` as in [`sums`]; `to` is valid for reads and writes.
#[inline(never)]
pub unsafe fn add_wide<V: Vector>(a: *const f32, b: *const f32, k: usize, to: *mut f64, first: bool) {
    // SAFETY: the caller's obligations.
    unsafe {
        let sums = sums::<V>(a, b, k);
        let mut at = to.wrapping_add(ROWS * COLUMNS);
        if first {
            for [low, high] in sums.into_iter().rev() {
                at = at.wrapping_sub(COLUMNS);
                V::store_wide(high.widen(), at.wrapping_add(4));
                V::store_wide(low.widen(), at);
            }
        } else {
            for [low, high] in sums.into_iter().rev() {
                at = at.wrapping_sub(COLUMNS);
                let before = V::load_wide(at.wrapping_add(4));
                V::store_wide(V::add_wide(before, high.widen()), at.wrapping_add(4));
                V::store_wide(V::add_wide(V::load_wide(at), low.widen()), at);
            }
        }
    }
}
