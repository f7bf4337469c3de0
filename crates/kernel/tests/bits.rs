//! The very bits of the results, for a fixed set of inputs: a constant that moves by one last place, which no bound would show,
//! shows here. tests/bits.txt has the bits that were last meant: `npm run pin` writes it.

mod common;
use common::any::{Plan, Special};
use common::{Mode, Random};
use std::fmt::Write;
use xent_kernel::exp::{self, Centred, Direct, ExpWide, Polynomial, Range, Reduction};
use xent_kernel::job::logits_type;
use xent_kernel::log1p::log1p;
use xent_kernel::scratch::Scratch;
use xent_kernel::vector::{Element, FACTORS, Fused, Pair, Scalar, Single, Vector, Wide};
use xent_kernel::{row, scratch, short, softcap};

const PINNED: &str = include_str!("bits.txt");

/// Of words, one after the other.
struct Hash(u64);

impl Hash {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    fn number(&mut self, x: f64) {
        self.add(if x.is_nan() { f64::NAN.to_bits() } else { x.to_bits() });
    }
}

fn of_plans<V: Single>(number: usize, mut plan: impl FnMut(&mut Random) -> Plan) -> u64 {
    let (mut random, mut hash) = (Random(21), Hash::new());
    for _ in 0..number {
        for bits in plan(&mut random).given().compute::<V>(&[]).bits() {
            hash.add(bits);
        }
    }
    hash.0
}

fn of_function(number: usize, mut f: impl FnMut(&mut Random) -> f64) -> u64 {
    let (mut random, mut hash) = (Random(22), Hash::new());
    for _ in 0..number {
        hash.number(f(&mut random));
    }
    hash.0
}

/// Of the shape of a plan, without any option.
fn plain(random: &mut Random, classes: &[usize]) -> Plan {
    let classes = classes[random.below(classes.len())];
    let plan = Plan::random(random);
    Plan {
        classes,
        logits_type: logits_type::F32,
        inner: 1,
        class_gap: 0,
        row_gap: 0,
        soft: false,
        class_weights: false,
        sample_weights: false,
        smoothing: 0.0,
        z_loss: 0.0,
        softcap: 0.0,
        temperature: 1.0,
        segments: false,
        ..plan
    }
}

/// Terms of logits around one, at a temperature.
fn terms<V: Vector, R: Reduction<V>>(anchor: f64, temperature: f64) -> u64 {
    let memory = vec![0.0f64; size_of::<Scratch>().div_ceil(8)];
    // SAFETY: as large as a scratch area, whose bytes may have any value, and aligned to 8.
    let scratch = unsafe { &*memory.as_ptr().cast::<Scratch>() };
    let range = Range::of::<V::Element>();
    scratch.set_range(range.constants(V::Element::DOUBLE, temperature));
    scratch.shift.set(range.shift(Range::power_of(anchor / temperature)));
    scratch.centre.set(V::Element::from_f64(anchor).to_f64());
    let (reduction, polynomial) = (R::load(scratch), Polynomial::<V>::load());
    let splat = |x: f64| V::splat(V::Element::from_f64(x));
    of_function(1_000_000, |random| {
        let x = anchor + temperature * 40.0 * f64::from(random.unit());
        reduction.term(&polynomial, splat(x), splat(0.0)).0.lane(0).to_f64()
    })
}

fn of_vector<V: Single>(name: &str, all: &mut String) {
    let mut pin = |what: &str, hash: u64| writeln!(all, "{name}, {what}: {hash:016x}").unwrap();
    pin("terms, direct", terms::<V, Direct<V, false, false>>(3.25, 1.0));
    pin("terms, tempered", terms::<V, Direct<V, true, false>>(-30.0, 0.7));
    pin("terms, centred", terms::<V, Centred<V>>(1000.3, 1.0));
    pin("terms of f64", terms::<V::Double, Direct<V::Double, true, false>>(1000.3, 1.3));
    let narrow: Vec<usize> = (1..=20).chain([33, 64, 100, 255, 256]).collect();
    pin("few classes", of_plans::<V>(600, |random| plain(random, &narrow)));
    let many = [257, 258, 259, 260, 287, 288, 289, 300, 511, 1030];
    pin("many classes", of_plans::<V>(120, |random| plain(random, &many)));
    pin(
        "in segments",
        of_plans::<V>(12, |random| Plan {
            rows: 2,
            segments: true,
            ..plain(random, &[257, 8191, 8192, 8193, 16_385, 20_001])
        }),
    );
    pin(
        "far from zero",
        of_plans::<V>(150, |random| {
            let offset = [-3e38, -1e8, 353.0, 65_000.0, 3e38][random.below(5)];
            let spread = [8.0, 200.0, 1000.0][random.below(3)];
            Plan { offset, spread, ..plain(random, &[2, 3, 7, 16, 100, 300]) }
        }),
    );
    pin("any job", of_plans::<V>(600, Plan::random));
    for (what, of) in
        [("f32", logits_type::F32), ("f64", logits_type::F64), ("f16", logits_type::F16), ("bf16", logits_type::BF16)]
    {
        pin(
            &format!("options, {what}"),
            of_plans::<V>(200, |random| Plan {
                logits_type: of,
                mode: Mode::Gradient,
                special: Special::Nothing,
                invalid: false,
                softcap: [0.0, 30.0][random.below(2)],
                temperature: [1.0, 2.5][random.below(2)],
                smoothing: [0.0, 0.1][random.below(2)],
                z_loss: [0.0, 1e-4][random.below(2)],
                class_weights: random.below(2) == 0,
                ..Plan::random(random)
            }),
        );
    }
}

/// What decides between routines that agree where they meet, or only is compared with.
fn thresholds() -> u64 {
    let mut hash = Hash::new();
    for range in [Range::of::<f32>(), Range::of::<f64>()] {
        for x in [range.max_shift, range.too_large, range.label.0, range.label.1, range.ratio] {
            hash.number(x);
        }
    }
    for x in [exp::MAX_ERROR, FACTORS.start, FACTORS.end] {
        hash.number(x);
    }
    for x in [short::max_classes(false), short::max_classes(true), row::SEGMENT, scratch::TILE, scratch::ROWS] {
        hash.add(x as u64);
    }
    hash.0
}

/// The numbers of a source as they are written. Some no result shows: what a last place of theirs moves is below the last place
/// of whatever it is added to, or is rounded to an integer. They matter nevertheless.
fn numbers(source: &str) -> u64 {
    let mut hash = Hash::new();
    let code = source.lines().map(|line| line.split("//").next().unwrap_or(""));
    for token in code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && !"._:-".contains(c))) {
        let is_number = token.starts_with(|c: char| c == '-' || c.is_ascii_digit()) && token.contains('.');
        if is_number || token.contains("consts::") {
            token.bytes().for_each(|byte| hash.add(u64::from(byte)));
        }
    }
    hash.0
}

fn now() -> String {
    let mut all = String::from(
        "# Written by `npm run pin` (see CONTRIBUTING.md). Hashes of results by crates/kernel/tests/bits.rs.\n",
    );
    of_vector::<Scalar>("plain", &mut all);
    of_vector::<Fused>("fused", &mut all);
    let sources = [
        ("exp", include_str!("../src/exp.rs")),
        ("exp/wide", include_str!("../src/exp/wide.rs")),
        ("log1p", include_str!("../src/log1p.rs")),
        ("softcap/wide", include_str!("../src/softcap/wide.rs")),
        ("softcap/table", include_str!("../src/softcap/table.rs")),
    ];
    for (name, source) in sources {
        writeln!(all, "numbers of {name}.rs: {:016x}", numbers(source)).unwrap();
    }
    writeln!(all, "thresholds: {:016x}", thresholds()).unwrap();
    let mut pin = |what: &str, hash: u64| writeln!(all, "f64, {what}: {hash:016x}").unwrap();
    let wide = |random: &mut Random| f64::from(random.unit()) + 2f64.powi(-30) * f64::from(random.unit());
    let pair = <[f64; 2]>::splat;
    pin(
        "exp",
        of_function(40_000, |random| ExpWide::load::<f32>(3.0).at::<f32>(pair(600.0 * wide(random))).to_array()[0]),
    );
    pin(
        "log1p of a quotient",
        of_function(40_000, |random| {
            let (a, b) = (wide(random).abs() * 2f64.powi(random.below(60) as i32 - 30), wide(random).abs() + 1e-3);
            log1p::<_, f32>(pair(a), pair(b), pair(a + b)).to_array()[0]
        }),
    );
    pin(
        "log1p around its switch",
        of_function(2_000, |random| {
            let b = wide(random).abs() + 1e-3;
            let a = f64::from_bits((0.4 * b).to_bits() + random.below(5) as u64 - 2);
            log1p::<_, f32>(pair(a), pair(b), pair(a + b)).to_array()[0]
        }),
    );
    pin("exp, double", of_function(40_000, |random| exp::exp::<[f64; 2]>(600.0 * wide(random))));
    pin(
        "log1p, double",
        of_function(40_000, |random| {
            let (a, b) = (wide(random).abs() * 2f64.powi(random.below(60) as i32 - 30), wide(random).abs() + 1e-3);
            log1p::<_, f64>(pair(a), pair(b), pair(a + b)).to_array()[0]
        }),
    );
    for (what, part) in [("tanh", 0), ("slope of tanh", 1)] {
        pin(
            what,
            of_function(40_000, |random| {
                let x = pair(wide(random) * [0.01, 1.0, 25.0, 60.0][random.below(4)]);
                let (y, slope) = softcap::cap::<_, f64>(x, pair(1.0), pair(1.0));
                if part == 0 { y.to_array()[0] } else { slope.to_array()[0] }
            }),
        );
    }
    all
}

#[test]
fn every_bit_is_what_it_was() {
    let now = now();
    if std::env::var_os("XENT_PIN").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bits.txt"), &now).unwrap();
        return;
    }
    let moved: Vec<_> = now.lines().zip(PINNED.lines()).filter(|(now, pinned)| now != pinned).collect();
    assert!(
        moved.is_empty() && now.lines().count() == PINNED.lines().count(),
        "other bits than pinned; if they are meant to be: npm run pin. {moved:#?}"
    );
}
