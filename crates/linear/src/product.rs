//! The record of a product; its items are in the files of this folder, a product each.

mod features;
mod logits;
mod weight;

use crate::pack;
use crate::tile::{COLUMNS, ROWS};
use crate::vector::Vector;

/// Products that are added in `f32`, at most.
pub const BLOCK: usize = 512;
/// Classes of an item of [`kind::LOGITS`].
pub const LOGITS_ITEM: usize = 64;
/// Classes of an item of [`kind::WEIGHT`]: whole tiles, and whole vectors of the bias.
pub const WEIGHT_ITEM: usize = 40;

/// Values of [`Product::kind`].
pub mod kind {
    /// Packs the features for [`LOGITS`]; an item is [`ROWS`] rows.
    pub const PACK_ROWS: u32 = 0;
    /// The logits; an item is [`super::LOGITS_ITEM`] classes.
    pub const LOGITS: u32 = 1;
    /// The features' gradient; an item is [`super::Product::columns`] features.
    pub const FEATURES: u32 = 2;
    /// Packs the features for [`WEIGHT`]; an item is eight columns.
    pub const PACK_COLUMNS: u32 = 3;
    /// The gradients of weight and bias; an item is [`super::WEIGHT_ITEM`] classes.
    pub const WEIGHT: u32 = 4;
}

/// One product. Addresses are those of the memory that the record lies in; 0 stands for "none".
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Product {
    /// `f32[.., features]`
    pub source: usize,
    /// `u32[rows]`: the rows of `source` that are those of the chunk
    pub index: usize,
    /// Features as tiles read them: `f32[rows to 5][features to 8]`
    pub packed: usize,
    /// `[classes, features]`, of type [`Product::weight_type`]
    pub weight: usize,
    /// `f32[classes]` or none
    pub bias: usize,
    /// `f32[rows to 5][stride]`: logits, and then their gradient
    pub logits: usize,
    /// `f32[.., features]`, as `source`
    pub features_gradient: usize,
    /// `f32[classes, features]` or none
    pub weight_gradient: usize,
    /// `f64[classes]` or none: always added to
    pub bias_gradient: usize,
    /// See [`kind`].
    pub kind: u32,
    /// See [`weight_type`].
    pub weight_type: u32,
    /// Rows of the chunk, at least 1.
    pub rows: u32,
    /// Features, at least 1.
    pub features: u32,
    /// Classes, at least 1.
    pub classes: u32,
    /// Elements from one row of logits to the next: a multiple of 8.
    pub stride: u32,
    /// Features of an item of [`kind::FEATURES`]: a multiple of 8.
    pub columns: u32,
    /// 1: the weight's gradient is added to; 0: it is written.
    pub accumulate: u32,
    /// Keeps what follows aligned.
    pub reserved: u32,
    /// Factor of the gradients.
    pub scale: f64,
}

/// Bytes of one thread's scratch memory for chunks of so many rows, and items of so many columns.
#[must_use]
pub const fn scratch_bytes(rows: usize, columns: usize) -> usize {
    let rows = rows.next_multiple_of(ROWS);
    let columns = if columns < LOGITS_ITEM { LOGITS_ITEM } else { columns };
    4 * (BLOCK * rows + 2 * COLUMNS * BLOCK) + 8 * rows * columns
}

/// A length in blocks that are about equally long.
#[inline(always)]
fn block(length: usize) -> usize {
    length.div_ceil(length.div_ceil(BLOCK)).next_multiple_of(4)
}

#[inline(always)]
fn at<T>(address: usize, index: usize) -> *mut T {
    core::ptr::with_exposed_provenance_mut::<T>(address).wrapping_add(index)
}

impl Product {
    /// Computes the items from `begin` to `end`.
    ///
    /// # Safety
    ///
    /// - Every address of the record is that of memory of the size given with its field, valid until the return, aligned to the type.
    ///   Entries of `index` are rows of `source`.
    /// - Regions do not overlap.
    /// - `scratch` is the address of [`scratch_bytes`] that no other thread uses meanwhile, aligned to 8.
    /// - No other thread computes the same items, or writes what they read, meanwhile.
    #[inline(always)]
    pub unsafe fn run<V: Vector>(&self, scratch: usize, begin: u32, end: u32) {
        for item in begin as usize..end as usize {
            // SAFETY: the caller's obligations.
            unsafe {
                match self.kind {
                    kind::PACK_ROWS => self.pack_rows::<V>(item),
                    kind::LOGITS => self.logits_item::<V>(scratch, item),
                    kind::FEATURES => self.features_item::<V>(scratch, item),
                    kind::PACK_COLUMNS => self.pack_columns::<V>(item),
                    _ => self.weight_item::<V>(scratch, item),
                }
            }
        }
    }

    #[inline(always)]
    fn features(&self) -> usize {
        self.features as usize
    }

    #[inline(always)]
    fn classes(&self) -> usize {
        self.classes as usize
    }

    #[inline(always)]
    fn rows(&self) -> usize {
        self.rows as usize
    }

    #[inline(always)]
    fn padded_rows(&self) -> usize {
        self.rows().next_multiple_of(ROWS)
    }

    /// The number of this row of the chunk among all.
    ///
    /// # Safety
    ///
    /// As [`Product::run`].
    #[inline(always)]
    unsafe fn place(&self, row: usize) -> usize {
        // SAFETY: the caller's obligation.
        unsafe { *at::<u32>(self.index, row) as usize }
    }

    /// [`ROWS`] rows of features, block by block: to [block][rows / 5][k][5].
    ///
    /// # Safety
    ///
    /// As [`Product::run`].
    #[inline(never)]
    unsafe fn pack_rows<V: Vector>(&self, item: usize) {
        let (first, features) = (ROWS * item, self.features());
        let count = self.rows() - first;
        let length = block(features);
        let mut begin = 0;
        while begin < features {
            let k = length.min(features - begin);
            // SAFETY: the caller's obligations: row is below count.
            unsafe {
                pack::tile_rows::<V>(
                    |row| at::<f32>(self.source, self.place(first + row) * features + begin),
                    count,
                    k,
                    at::<f32>(self.packed, begin * self.padded_rows() + first * k),
                );
            }
            begin += k;
        }
    }

    /// Eight columns of features: to [features / 8][rows][8].
    ///
    /// # Safety
    ///
    /// As [`Product::run`].
    #[inline(never)]
    unsafe fn pack_columns<V: Vector>(&self, item: usize) {
        let (first, features) = (COLUMNS * item, self.features());
        for row in 0..self.rows() {
            // SAFETY: the caller's obligations.
            unsafe {
                let from = at::<f32>(self.source, self.place(row) * features + first);
                let to = at::<f32>(self.packed, (item * self.rows() + row) * COLUMNS);
                pack::columns::<V, f32>(from, 0, features - first, 1, to);
            }
        }
    }
}
