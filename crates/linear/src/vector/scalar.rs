use super::{Vector, widen_bf16, widen_f16};

/// An array, with the bits of the variant without fused operations.
#[derive(Clone, Copy)]
pub struct Scalar([f32; 4]);

#[inline(always)]
fn each(f: impl FnMut(usize) -> f32) -> Scalar {
    Scalar(core::array::from_fn(f))
}

impl Vector for Scalar {
    type Wide = [f64; 4];

    fn splat(x: f32) -> Self {
        Self([x; 4])
    }

    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's obligation.
        unsafe { Self(from.cast::<[f32; 4]>().read_unaligned()) }
    }

    unsafe fn load_splat(from: *const f32) -> Self {
        // SAFETY: the caller's obligation.
        unsafe { Self([from.read_unaligned(); 4]) }
    }

    unsafe fn load_f16(from: *const u16) -> Self {
        // SAFETY: the caller's obligation.
        unsafe { Self(from.cast::<[u16; 4]>().read_unaligned().map(widen_f16)) }
    }

    unsafe fn load_bf16(from: *const u16) -> Self {
        // SAFETY: the caller's obligation.
        unsafe { Self(from.cast::<[u16; 4]>().read_unaligned().map(widen_bf16)) }
    }

    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's obligation.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
    }

    fn add(self, b: Self) -> Self {
        each(|i| self.0[i] + b.0[i])
    }

    fn mul(self, b: Self) -> Self {
        each(|i| self.0[i] * b.0[i])
    }

    fn mul_add(self, b: Self, c: Self) -> Self {
        each(|i| self.0[i] * b.0[i] + c.0[i])
    }

    fn transpose(rows: [Self; 4]) -> [Self; 4] {
        core::array::from_fn(|j| each(|i| rows[i].0[j]))
    }

    fn widen(self) -> [f64; 4] {
        self.0.map(f64::from)
    }

    fn narrow(self, x: [f64; 4], factor: f64) -> Self {
        each(|i| (x[i] * factor + f64::from(self.0[i])) as f32)
    }

    fn add_wide(a: [f64; 4], b: [f64; 4]) -> [f64; 4] {
        core::array::from_fn(|i| a[i] + b[i])
    }

    unsafe fn load_wide(from: *const f64) -> [f64; 4] {
        // SAFETY: the caller's obligation.
        unsafe { from.cast::<[f64; 4]>().read_unaligned() }
    }

    unsafe fn store_wide(x: [f64; 4], to: *mut f64) {
        // SAFETY: the caller's obligation.
        unsafe { to.cast::<[f64; 4]>().write_unaligned(x) }
    }
}
