//! The exports of the WebAssembly module: numbers in, results in memory. All logic is in `xent-kernel`.

#![no_std]

use core::alloc::{GlobalAlloc, Layout};
use wasm_bindgen::prelude::wasm_bindgen;
use xent_kernel::job::{Job, Step};
use xent_kernel::vector::F32x4;

/// Computes the rows from `begin` to `end` of the job at `job`. No other thread may use the scratch memory at `scratch`.
#[wasm_bindgen]
pub fn run(job: usize, scratch: usize, begin: u32, end: u32) {
    // SAFETY: TypeScript owns the memory and vouches for the record (packages/xent/src/abi.ts).
    unsafe { (*core::ptr::with_exposed_provenance::<Job>(job)).run::<F32x4>(scratch, begin, end) }
}

/// Finds the largest logit of a segment of a row with soft targets. `record` is the record that the threads of this row share.
#[wasm_bindgen]
pub fn find_segment(job: usize, scratch: usize, record: usize, row: u32, segment: usize) {
    step(job, scratch, record, row, Step::Find, segment);
}

/// Sums a segment of a row of the job at `job`, with soft targets once the largest logits of all segments are found.
#[wasm_bindgen]
pub fn sum_segment(job: usize, scratch: usize, record: usize, row: u32, segment: usize) {
    step(job, scratch, record, row, Step::Sum, segment);
}

/// Computes the loss of a row after all of its segments are summed. Returns 0 if the row must be computed as a whole instead.
#[wasm_bindgen]
pub fn finish_row(job: usize, scratch: usize, record: usize, row: u32) -> u32 {
    step(job, scratch, record, row, Step::Finish, 0)
}

/// Writes the gradient of a segment, after the loss of its row.
#[wasm_bindgen]
pub fn write_segment(job: usize, scratch: usize, record: usize, row: u32, segment: usize) {
    step(job, scratch, record, row, Step::Write, segment);
}

#[inline(always)]
fn step(job: usize, scratch: usize, record: usize, row: u32, step: Step, segment: usize) -> u32 {
    // SAFETY: as above; TypeScript gives each step to one thread, in their order.
    unsafe { (*core::ptr::with_exposed_provenance::<Job>(job)).step::<F32x4>(step, segment, scratch, record, row) }
}

/// Writes the sum of the losses of the rows from `begin` to `end`, and the number of correct predictions, into the job.
#[wasm_bindgen]
pub fn reduce(job: usize, begin: u32, end: u32) {
    // SAFETY: as above, and only one thread reduces.
    unsafe { (*core::ptr::with_exposed_provenance_mut::<Job>(job)).reduce::<F32x4>(begin, end) }
}

/// wasm-bindgen requires an allocator. The kernel allocates nothing, so this one always fails.
struct NoHeap;

// SAFETY: null is a valid result of every request.
unsafe impl GlobalAlloc for NoHeap {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static HEAP: NoHeap = NoHeap;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}
