//! The features' gradient: the logits' gradient times the weight.

use super::{BLOCK, Product, at, block};
use crate::pack::{self, Bf16, F16, Number, weight_type};
use crate::tile::{self, COLUMNS, ROWS};
use crate::vector::Vector;

impl Product {
    /// # Safety
    ///
    /// As [`Product::run`].
    #[inline(never)]
    pub(super) unsafe fn features_item<V: Vector>(&self, scratch: usize, item: usize) {
        let (rows, classes) = (self.padded_rows(), self.classes());
        let first = self.columns as usize * item;
        let columns = (self.columns as usize).min(self.features() - first);
        let length = block(classes);
        let gradient = at::<f32>(scratch, 0);
        let panel = gradient.wrapping_add(BLOCK * rows);
        let sums = panel.wrapping_add(2 * COLUMNS * BLOCK).cast::<f64>();
        let mut begin = 0;
        while begin < classes {
            let k = length.min(classes - begin);
            // SAFETY: the caller's obligations; the parts of the scratch memory lie behind one another.
            unsafe {
                self.pack_gradient_rows::<V>(begin, k, gradient);
                let mut column = 0;
                while column < columns {
                    // Sixteen at a time while they are there.
                    let panels = self.pack_weight_columns::<V>(begin, k, first + column, columns - column, panel);
                    for part in 0..panels {
                        let b = panel.wrapping_add(part * COLUMNS * k);
                        let tiles = sums.wrapping_add((column + part * COLUMNS) * rows);
                        let mut row = 0;
                        while row < rows {
                            let a = gradient.wrapping_add(row * k);
                            tile::add_wide::<V>(a, b, k, tiles.wrapping_add(row * COLUMNS), begin == 0);
                            row += ROWS;
                        }
                    }
                    column += panels * COLUMNS;
                }
            }
            begin += k;
        }
        // SAFETY: as above.
        unsafe { self.write_features::<V>(sums, first, columns) }
    }

    /// `k` classes of the logits' gradient: to [rows / 5][k][5].
    ///
    /// # Safety
    ///
    /// As [`Product::run`]; `to` is valid for writes.
    #[inline(never)]
    unsafe fn pack_gradient_rows<V: Vector>(&self, begin: usize, k: usize, to: *mut f32) {
        let mut row = 0;
        while row < self.rows() {
            // SAFETY: the caller's obligations.
            unsafe {
                pack::tile_rows::<V>(
                    |i| at::<f32>(self.logits, (row + i) * self.stride as usize + begin),
                    self.rows() - row,
                    k,
                    to.wrapping_add(row * k),
                );
            }
            row += ROWS;
        }
    }

    /// Up to sixteen columns of the weight, `k` classes from `begin` on. Returns how many panels of eight they are.
    ///
    /// # Safety
    ///
    /// As [`Product::run`]; `to` is valid for writes.
    #[inline(always)]
    unsafe fn pack_weight_columns<V: Vector>(
        &self,
        begin: usize,
        k: usize,
        column: usize,
        count: usize,
        to: *mut f32,
    ) -> usize {
        // SAFETY: the caller's obligations.
        unsafe {
            match self.weight_type {
                weight_type::F16 => self.pack_columns_of::<V, F16>(begin, k, column, count, to),
                weight_type::BF16 => self.pack_columns_of::<V, Bf16>(begin, k, column, count, to),
                _ => self.pack_columns_of::<V, f32>(begin, k, column, count, to),
            }
        }
    }

    /// # Safety
    ///
    /// As [`Product::pack_weight_columns`].
    #[inline(never)]
    unsafe fn pack_columns_of<V: Vector, N: Number>(
        &self,
        begin: usize,
        k: usize,
        column: usize,
        count: usize,
        to: *mut f32,
    ) -> usize {
        let from = at::<N>(self.weight, begin * self.features() + column);
        // SAFETY: the caller's obligations.
        unsafe {
            if count >= 2 * COLUMNS {
                pack::sixteen_columns::<V, N>(from, self.features(), k, to);
                return 2;
            }
            pack::columns::<V, N>(from, self.features(), count, k, to);
        }
        1
    }

    /// # Safety
    ///
    /// As [`Product::run`]; `sums` has a tile for each five rows of each eight columns.
    #[inline(never)]
    unsafe fn write_features<V: Vector>(&self, sums: *const f64, first: usize, columns: usize) {
        for row in 0..self.rows() {
            // SAFETY: the caller's obligations.
            unsafe {
                let to = at::<f32>(self.features_gradient, self.place(row) * self.features() + first);
                let from = sums.wrapping_add(row * COLUMNS);
                let mut column = 0;
                while column < columns {
                    let eight = from.wrapping_add(column * self.padded_rows());
                    if columns - column >= COLUMNS {
                        for half in [0, 4] {
                            let wide = V::load_wide(eight.wrapping_add(half));
                            V::splat(0.0).narrow(wide, self.scale).store(to.wrapping_add(column + half));
                        }
                    } else {
                        for i in 0..columns - column {
                            let x = eight.wrapping_add(i).read() * self.scale + 0.0;
                            to.wrapping_add(column + i).write(x as f32);
                        }
                    }
                    column += COLUMNS;
                }
            }
        }
    }
}
