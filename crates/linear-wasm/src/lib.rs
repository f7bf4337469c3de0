//! The exports of the WebAssembly module of `xent/linear`: numbers in, results in memory. All logic is in `xent-linear`.

#![no_std]

use xent_linear::product::Product;
use xent_linear::vector::F32x4;

/// Computes the items from `begin` to `end` of the product at `product`, with scratch memory of the caller's own at `scratch`.
#[unsafe(no_mangle)]
pub extern "C" fn run(product: usize, scratch: usize, begin: u32, end: u32) {
    // SAFETY: TypeScript owns the memory and vouches for the record (packages/xent/src/linear/product.ts).
    unsafe { (*core::ptr::with_exposed_provenance::<Product>(product)).run::<F32x4>(scratch, begin, end) }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}
