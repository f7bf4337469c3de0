//! The logits: features times weight, and the bias.

use super::{BLOCK, LOGITS_ITEM, Product, at, block};
use crate::pack::{self, Bf16, F16, Number, weight_type};
use crate::tile::{self, COLUMNS, ROWS};
use crate::vector::Vector;

impl Product {
    /// # Safety
    ///
    /// As [`Product::run`].
    #[inline(never)]
    pub(super) unsafe fn logits_item<V: Vector>(&self, scratch: usize, item: usize) {
        let (features, rows) = (self.features(), self.padded_rows());
        let first = LOGITS_ITEM * item;
        let classes = LOGITS_ITEM.min(self.classes() - first);
        let length = block(features);
        let whole = length >= features;
        let panel = at::<f32>(scratch, 0);
        let plus = at::<f32>(scratch, COLUMNS * BLOCK);
        let sums = at::<f64>(scratch, COLUMNS * BLOCK);
        // SAFETY: the caller's obligations; the parts of the scratch memory lie behind one another.
        unsafe {
            for class in 0..LOGITS_ITEM {
                let bias = if self.bias != 0 && class < classes { *at::<f32>(self.bias, first + class) } else { 0.0 };
                plus.wrapping_add(class).write(bias);
            }
            let mut begin = 0;
            while begin < features {
                let k = length.min(features - begin);
                let mut class = 0;
                while class < classes {
                    self.pack_weight_rows::<V>(first + class, classes - class, begin, k, panel);
                    let mut row = 0;
                    while row < rows {
                        let a = at::<f32>(self.packed, begin * rows + row * k);
                        if whole {
                            let to = at::<f32>(self.logits, row * self.stride as usize + first + class);
                            tile::write::<V>(a, panel, k, plus.wrapping_add(class), to, self.stride as usize);
                        } else {
                            tile::add_wide::<V>(
                                a,
                                panel,
                                k,
                                sums.wrapping_add(class * rows + row * COLUMNS),
                                begin == 0,
                            );
                        }
                        row += ROWS;
                    }
                    class += COLUMNS;
                }
                begin += k;
            }
            if !whole {
                self.round_logits::<V>(sums, plus, first, classes);
            }
        }
    }

    /// # Safety
    ///
    /// As [`Product::run`]; `sums` has a tile for each five rows of each eight classes.
    #[inline(never)]
    unsafe fn round_logits<V: Vector>(&self, sums: *const f64, plus: *const f32, first: usize, classes: usize) {
        let rows = self.padded_rows();
        let mut class = 0;
        while class < classes {
            // SAFETY: the caller's obligations.
            unsafe {
                let low = V::load(plus.wrapping_add(class));
                let high = V::load(plus.wrapping_add(class + 4));
                for row in 0..rows {
                    let from = sums.wrapping_add(class * rows + row * COLUMNS);
                    let to = at::<f32>(self.logits, row * self.stride as usize + first + class);
                    low.narrow(V::load_wide(from), 1.0).store(to);
                    high.narrow(V::load_wide(from.wrapping_add(4)), 1.0).store(to.wrapping_add(4));
                }
            }
            class += COLUMNS;
        }
    }

    /// Up to eight rows of the weight, `k` features from `begin` on: to [k][8].
    ///
    /// # Safety
    ///
    /// As [`Product::run`]; `to` is valid for writes.
    #[inline(always)]
    unsafe fn pack_weight_rows<V: Vector>(&self, class: usize, count: usize, begin: usize, k: usize, to: *mut f32) {
        // SAFETY: the caller's obligations.
        unsafe {
            match self.weight_type {
                weight_type::F16 => self.pack_rows_of::<V, F16>(class, count, begin, k, to),
                weight_type::BF16 => self.pack_rows_of::<V, Bf16>(class, count, begin, k, to),
                _ => self.pack_rows_of::<V, f32>(class, count, begin, k, to),
            }
        }
    }

    /// # Safety
    ///
    /// As [`Product::pack_weight_rows`].
    #[inline(never)]
    unsafe fn pack_rows_of<V: Vector, N: Number>(
        &self,
        class: usize,
        count: usize,
        begin: usize,
        k: usize,
        to: *mut f32,
    ) {
        let features = self.features();
        let row = |class: usize| at::<N>(self.weight, class * features + begin).cast_const();
        // SAFETY: the caller's obligations.
        unsafe {
            pack::rows::<V, N>(|i| row(class + i), count, k, to, COLUMNS);
            // Where there are no more than four rows, these are zero, of which no address is read.
            let more = count.saturating_sub(4);
            pack::rows::<V, N>(|i| row(class + 4 + i), more, k, to.wrapping_add(4), COLUMNS);
        }
    }
}
