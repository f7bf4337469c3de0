//! Random jobs for another build of the kernel, and the verdict on what it has made of them: test/numerics/differential.test.ts.
//!
//! ```text
//! differential make SEED COUNT                    writes the jobs, as they are to lie in that build's memory
//! differential judge SEED COUNT bits < results    whether the results have the bits of the scalar kernel
//! differential judge SEED COUNT contract < ...    or at least keep the contract: a fused sum has other bits
//! ```

#[path = "../tests/common/mod.rs"]
mod common;

use common::Random;
use common::any::{Given, Image, Plan};
use std::io::{Read, Write};
use xent_kernel::row::SEGMENT;
use xent_kernel::vector::Scalar;

/// Where a job lies: behind the module's own constants.
const BASE: usize = 4096;

fn plans(seed: u64, count: usize) -> impl Iterator<Item = Plan> {
    let mut random = Random(seed);
    (0..count).map(move |i| {
        let plan = Plan::random(&mut random);
        // Now and then more than one segment.
        let classes = if i % 64 == 63 { SEGMENT + random.below(300) } else { plan.classes };
        let distances = [0.0, 1e-4, 0.1, 3.0, 60.0];
        let teacher = (i % 6 == 5).then(|| distances[i / 6 % 5]);
        Plan { classes, teacher, ..plan }
    })
}

fn make(given: &Given) -> Vec<u8> {
    let image = Image::of(given);
    let bytes = image.to_wasm(BASE);
    let segments = if image.record == 0 { 0 } else { given.classes.div_ceil(SEGMENT) };
    let header = [bytes.len(), image.scratch, image.record, given.rows, segments];
    header.iter().flat_map(|&x| (x as u32).to_le_bytes()).chain(bytes).collect()
}

fn judge(given: &Given, results: &mut impl Read, exactly: bool) -> Result<(), String> {
    let mut image = Image::of(given);
    let mut bytes = image.to_wasm(BASE);
    results.read_exact(&mut bytes).map_err(|error| error.to_string())?;
    image.take_wasm(&bytes);
    let output = image.output(given);
    if !image.is_intact(given) {
        return Err("something was written that is no output".into());
    }
    if exactly && output.bits() != given.compute::<Scalar>(&[]).bits() {
        return Err(format!("{output:?}, and of the scalar kernel {:?}", given.compute::<Scalar>(&[])));
    }
    given.verdict(&output)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize| arguments.get(i).and_then(|x| x.parse().ok()).expect("a seed and a count");
    let (seed, count): (u64, u64) = (number(1), number(2));
    let (mut input, mut output) = (Vec::new(), std::io::stdout().lock());
    if arguments[0] == "judge" {
        std::io::stdin().read_to_end(&mut input).expect("results");
    }
    let mut input = &input[..];
    for plan in plans(seed, count as usize) {
        let given = plan.given();
        if arguments[0] == "make" {
            output.write_all(&make(&given)).expect("somebody who reads");
        } else if let Err(what) = judge(&given, &mut input, arguments[3] == "bits") {
            eprintln!("{what}\n{plan:?}");
            std::process::exit(1);
        }
    }
}
