//! Four `f32` side by side: what the products need of a vector. [`Scalar`] is for tests on any host, `F32x4` for WebAssembly.

mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;

pub use scalar::Scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub use wasm::F32x4;

/// Four `f32`.
pub trait Vector: Copy {
    /// Four `f64`.
    type Wide: Copy;

    /// The same number in every lane.
    fn splat(x: f32) -> Self;

    /// Four numbers from an address of any alignment.
    ///
    /// # Safety
    ///
    /// They are valid for reads.
    unsafe fn load(from: *const f32) -> Self;

    /// One number in every lane.
    ///
    /// # Safety
    ///
    /// It is valid for reads.
    unsafe fn load_splat(from: *const f32) -> Self;

    /// Four numbers in IEEE 754 binary16, widened: exact.
    ///
    /// # Safety
    ///
    /// They are valid for reads.
    unsafe fn load_f16(from: *const u16) -> Self;

    /// Four numbers in bfloat16, widened: exact.
    ///
    /// # Safety
    ///
    /// They are valid for reads.
    unsafe fn load_bf16(from: *const u16) -> Self;

    /// Writes four numbers to an address of any alignment.
    ///
    /// # Safety
    ///
    /// They are valid for writes.
    unsafe fn store(self, to: *mut f32);

    /// `self + b`
    fn add(self, b: Self) -> Self;

    /// `self * b`
    fn mul(self, b: Self) -> Self;

    /// `self * b + c`, rounded once where the machine fuses both (the relaxed variant, usually), else twice.
    fn mul_add(self, b: Self, c: Self) -> Self;

    /// Four rows as four columns.
    fn transpose(rows: [Self; 4]) -> [Self; 4];

    /// Exact.
    fn widen(self) -> Self::Wide;

    /// `x * factor + self`, computed in `f64` and rounded once.
    fn narrow(self, x: Self::Wide, factor: f64) -> Self;

    /// `a + b`
    fn add_wide(a: Self::Wide, b: Self::Wide) -> Self::Wide;

    /// Four `f64`.
    ///
    /// # Safety
    ///
    /// They are valid for reads.
    unsafe fn load_wide(from: *const f64) -> Self::Wide;

    /// Writes four `f64`.
    ///
    /// # Safety
    ///
    /// They are valid for writes.
    unsafe fn store_wide(x: Self::Wide, to: *mut f64);
}

/// A number in IEEE 754 binary16, widened: exact.
#[inline(always)]
#[must_use]
pub fn widen_f16(bits: u16) -> f32 {
    let bits = u32::from(bits);
    let (sign, magnitude) = ((bits & 0x8000) << 16, bits & 0x7fff);
    // Also of subnormal numbers: the factor moves the exponent to its place.
    let scaled = f32::from_bits(magnitude << 13) * f32::from_bits(0x7780_0000);
    let infinite = if magnitude >= 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(scaled.to_bits() | infinite | sign)
}

/// A number in bfloat16, widened: exact.
#[inline(always)]
#[must_use]
pub fn widen_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}
