//! The gradients of weight and bias: the logits' gradient times the features.

use super::{Product, WEIGHT_ITEM, at};
use crate::tile::{self, COLUMNS, ROWS};
use crate::vector::Vector;

impl Product {
    /// # Safety
    ///
    /// As [`Product::run`].
    #[inline(never)]
    pub(super) unsafe fn weight_item<V: Vector>(&self, scratch: usize, item: usize) {
        let rows = self.rows();
        let first = WEIGHT_ITEM * item;
        let classes = WEIGHT_ITEM.min(self.classes() - first);
        let gradient = at::<f32>(scratch, 0);
        let edge = gradient.wrapping_add(WEIGHT_ITEM * rows);
        // SAFETY: the caller's obligations; the parts of the scratch memory lie behind one another.
        unsafe {
            if self.bias_gradient != 0 {
                self.add_bias_gradient::<V>(first, classes);
            }
            if self.weight_gradient == 0 {
                return;
            }
            self.pack_gradient_columns::<V>(first, classes, gradient);
            for i in 0..COLUMNS {
                edge.wrapping_add(ROWS * COLUMNS + i).write(0.0);
            }
            let features = self.features();
            let mut column = 0;
            while column < features {
                let b = at::<f32>(self.packed, column * rows);
                let mut class = 0;
                while class < classes {
                    let a = gradient.wrapping_add(class * rows);
                    let to = at::<f32>(self.weight_gradient, (first + class) * features + column);
                    if classes - class < ROWS || features - column < COLUMNS {
                        tile::write::<V>(a, b, rows, edge.wrapping_add(ROWS * COLUMNS), edge, COLUMNS);
                        self.copy_edge(edge, to, ROWS.min(classes - class), COLUMNS.min(features - column));
                    } else if self.accumulate == 0 {
                        tile::write::<V>(a, b, rows, edge.wrapping_add(ROWS * COLUMNS), to, features);
                    } else {
                        tile::add::<V>(a, b, rows, to, features);
                    }
                    class += ROWS;
                }
                column += COLUMNS;
            }
        }
    }

    /// Some classes of the logits' gradient, scaled: to [classes / 5][rows][5].
    ///
    /// # Safety
    ///
    /// As [`Product::run`]; `to` is valid for writes.
    #[inline(never)]
    unsafe fn pack_gradient_columns<V: Vector>(&self, first: usize, classes: usize, to: *mut f32) {
        let scale = self.scale as f32;
        let mut at_column = to;
        let mut class = 0;
        while class < classes {
            let whole = classes - class >= ROWS;
            let mut row = at::<f32>(self.logits, first + class);
            for _ in 0..self.rows() {
                // SAFETY: the caller's obligations.
                unsafe {
                    if whole {
                        V::load(row).mul(V::splat(scale)).store(at_column);
                        at_column.wrapping_add(ROWS - 1).write(*row.wrapping_add(ROWS - 1) * scale);
                    } else {
                        for i in 0..ROWS {
                            let x = if i < classes - class { *row.wrapping_add(i) * scale } else { 0.0 };
                            at_column.wrapping_add(i).write(x);
                        }
                    }
                }
                row = row.wrapping_add(self.stride as usize);
                at_column = at_column.wrapping_add(ROWS);
            }
            class += ROWS;
        }
    }

    /// Adds the sums of some classes of the logits' gradient, scaled, to the bias.
    ///
    /// # Safety
    ///
    /// As [`Product::run`].
    #[inline(never)]
    unsafe fn add_bias_gradient<V: Vector>(&self, first: usize, classes: usize) {
        let scale = V::splat(self.scale as f32);
        for class in (0..classes).step_by(4) {
            let mut row = at::<f32>(self.logits, first + class);
            let mut sums = V::splat(0.0).widen();
            // SAFETY: the caller's obligations: rows of logits are padded to eight classes, the bias to four.
            unsafe {
                for _ in 0..self.rows() {
                    sums = V::add_wide(sums, V::load(row).mul(scale).widen());
                    row = row.wrapping_add(self.stride as usize);
                }
                let bias = at::<f64>(self.bias_gradient, first + class);
                V::store_wide(V::add_wide(V::load_wide(bias), sums), bias);
            }
        }
    }

    /// The part of a tile that lies within the gradient.
    ///
    /// # Safety
    ///
    /// It is valid for reads and writes.
    #[inline(never)]
    unsafe fn copy_edge(&self, from: *const f32, to: *mut f32, rows: usize, columns: usize) {
        for row in 0..rows {
            for column in 0..columns {
                let cell = to.wrapping_add(row * self.features() + column);
                // SAFETY: the caller's obligation.
                unsafe {
                    let x = from.wrapping_add(row * COLUMNS + column).read();
                    cell.write(if self.accumulate == 0 { x } else { x + cell.read() });
                }
            }
        }
    }
}
