//! The record of a product, and its items.

use crate::pack::{self, Bf16, F16, Number, weight_type};
use crate::tile::{self, COLUMNS, ROWS};
use crate::vector::Vector;

/// Products that are added in `f32`, at most.
pub const BLOCK: usize = 512;
/// Classes of an item of [`kind::LOGITS`].
pub const LOGITS_ITEM: usize = 64;
/// Classes of an item of [`kind::WEIGHT`].
pub const WEIGHT_ITEM: usize = 48;

/// Values of [`Product::kind`].
pub mod kind {
    /// Packs the features for [`LOGITS`]; an item is four rows.
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
    /// Features as tiles read them: `f32[rows to 4][features to 8]`
    pub packed: usize,
    /// `[classes, features]`, of type [`Product::weight_type`]
    pub weight: usize,
    /// `f32[classes]` or none
    pub bias: usize,
    /// `f32[rows to 4][stride]`: logits, and then their gradient
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

    /// Four rows of features, block by block: to [block][rows / 4][k][4].
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
                pack::rows::<V, f32>(
                    |row| at::<f32>(self.source, self.place(first + row) * features + begin),
                    count,
                    k,
                    at::<f32>(self.packed, begin * self.padded_rows() + first * k),
                    ROWS,
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

    /// # Safety
    ///
    /// As [`Product::run`].
    #[inline(never)]
    unsafe fn logits_item<V: Vector>(&self, scratch: usize, item: usize) {
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
    /// As [`Product::run`]; `sums` has a tile for each four rows of each eight classes.
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

    /// # Safety
    ///
    /// As [`Product::run`].
    #[inline(never)]
    unsafe fn features_item<V: Vector>(&self, scratch: usize, item: usize) {
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

    /// `k` classes of the logits' gradient: to [rows / 4][k][4].
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
                pack::rows::<V, f32>(
                    |i| at::<f32>(self.logits, (row + i) * self.stride as usize + begin),
                    self.rows() - row,
                    k,
                    to.wrapping_add(row * k),
                    ROWS,
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
    /// As [`Product::run`]; `sums` has a tile for each four rows of each eight columns.
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

    /// # Safety
    ///
    /// As [`Product::run`].
    #[inline(never)]
    unsafe fn weight_item<V: Vector>(&self, scratch: usize, item: usize) {
        let rows = self.rows();
        let first = WEIGHT_ITEM * item;
        let classes = WEIGHT_ITEM.min(self.classes() - first);
        let gradient = at::<f32>(scratch, 0);
        let edge = gradient.wrapping_add(WEIGHT_ITEM * rows);
        // SAFETY: the caller's obligations; the parts of the scratch memory lie behind one another.
        unsafe {
            self.pack_gradient_columns::<V>(first, classes, gradient);
            if self.weight_gradient == 0 {
                return;
            }
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

    /// Some classes of the logits' gradient, scaled: to [classes / 4][rows][4]. Their sums go to the bias.
    ///
    /// # Safety
    ///
    /// As [`Product::run`]; `to` is valid for writes.
    #[inline(never)]
    unsafe fn pack_gradient_columns<V: Vector>(&self, first: usize, classes: usize, to: *mut f32) {
        let scale = V::splat(self.scale as f32);
        let mut at_column = to;
        let mut class = 0;
        while class < classes {
            // SAFETY: the caller's obligations: rows of logits are padded to eight classes.
            unsafe {
                let mut row = at::<f32>(self.logits, first + class);
                let mut sums = V::splat(0.0).widen();
                for _ in 0..self.rows() {
                    let x = V::load(row).mul(scale);
                    x.store(at_column);
                    sums = V::add_wide(sums, x.widen());
                    row = row.wrapping_add(self.stride as usize);
                    at_column = at_column.wrapping_add(ROWS);
                }
                if self.bias_gradient != 0 {
                    let bias = at::<f64>(self.bias_gradient, first + class);
                    // Behind the last class it has room up to the next multiple of four.
                    V::store_wide(V::add_wide(V::load_wide(bias), sums), bias);
                }
            }
            class += ROWS;
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
