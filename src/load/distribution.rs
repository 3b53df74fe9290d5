//! Which of many things comes next: uniform, skewed, or one after the other.

use std::cell::Cell;
use std::rc::Rc;
use std::str::FromStr;

/// Random numbers: SplitMix64, whose every seed gives a good sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Random(u64);

impl Random {
    /// The sequence of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The sequence of part `index` of what has `seed`.
    pub const fn part(seed: u64, index: u64) -> Self {
        let mut mixed = Self(seed ^ index.wrapping_mul(0xd134_2543_de82_ef95));
        Self(mixed.next())
    }

    /// A seed that no other process has.
    pub fn seed_from_system() -> u64 {
        let mut bytes = [0; 8];
        // The pool is filled long before anybody measures; and uniqueness is all that is asked for.
        match rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()) {
            Ok(8) => u64::from_ne_bytes(bytes),
            _ => {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                now.map_or(0, |now| now.as_nanos() as u64) ^ u64::from(std::process::id()) << 40
            }
        }
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is at least one.
    pub const fn below(&mut self, limit: u64) -> u64 {
        ((self.next() as u128 * limit as u128) >> 64) as u64
    }

    /// A number from zero to below one.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// How things are chosen, as the command line says it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Distribution {
    /// All alike.
    #[default]
    Uniform,
    /// The thing of rank k as often as 1/k^exponent.
    Zipf {
        /// More than 0, at most 10.
        exponent: f64,
    },
    /// Some percent of the things get some percent of the use.
    Hot {
        /// Percent of the set, 1 to 99.
        set: u8,
        /// Percent of the use, 1 to 100.
        of_use: u8,
    },
    /// One after the other, from the start again after the end.
    Sequential,
}

impl Distribution {
    /// What can be said, for messages.
    pub const FORMS: &str =
        "uniform, zipf, zipf:EXPONENT, hot, hot:PERCENT_OF_SET:PERCENT_OF_USE, or sequential";
}

impl FromStr for Distribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("one of {}", Self::FORMS);
        let mut parts = text.split(':');
        let this = match (parts.next(), parts.next(), parts.next()) {
            (Some("uniform"), None, None) => Self::Uniform,
            (Some("sequential"), None, None) => Self::Sequential,
            (Some("zipf"), None, None) => Self::Zipf { exponent: 0.99 },
            (Some("zipf"), Some(exponent), None) => {
                let exponent = exponent.parse().map_err(|_| wrong())?;
                if !(exponent > 0.0 && exponent <= 10.0) {
                    return Err("an exponent of more than 0 and at most 10".to_owned());
                }
                Self::Zipf { exponent }
            }
            (Some("hot"), None, None) => Self::Hot { set: 20, of_use: 80 },
            (Some("hot"), Some(set), Some(of_use)) => {
                let (set, of_use) = (set.parse().map_err(|_| wrong())?, of_use.parse().map_err(|_| wrong())?);
                if !(1..=99).contains(&set) || !(1..=100).contains(&of_use) {
                    return Err("1 to 99 percent of the set, and 1 to 100 percent of the use".to_owned());
                }
                Self::Hot { set, of_use }
            }
            _ => return Err(wrong()),
        };
        if parts.next().is_some() { Err(wrong()) } else { Ok(this) }
    }
}

impl std::fmt::Display for Distribution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uniform => write!(f, "uniform"),
            Self::Zipf { exponent } => write!(f, "zipf:{exponent}"),
            Self::Hot { set, of_use } => write!(f, "hot:{set}:{of_use}"),
            Self::Sequential => write!(f, "sequential"),
        }
    }
}

/// Chooses among a number of things. Clones choose on their own, but go on together where it is one after the other.
#[derive(Clone, Debug)]
pub struct Chooser {
    kind: Kind,
    len: u64,
}

#[derive(Clone, Debug)]
enum Kind {
    Uniform,
    Zipf(Zipf),
    Hot { hot: u64, of_use: u64 },
    Sequential(Rc<Cell<u64>>),
}

impl Chooser {
    /// Among `len` things, of which there is at least one. What goes one after the other begins at `start`.
    pub fn new(distribution: Distribution, len: u64, start: u64) -> Self {
        let len = len.max(1);
        let kind = match distribution {
            Distribution::Uniform => Kind::Uniform,
            Distribution::Zipf { exponent } => Kind::Zipf(Zipf::new(len, exponent)),
            Distribution::Hot { set, of_use } => {
                let hot = (u128::from(len) * u128::from(set) / 100).max(1) as u64;
                Kind::Hot { hot: hot.min(len), of_use: of_use.into() }
            }
            Distribution::Sequential => Kind::Sequential(Rc::new(Cell::new(start % len))),
        };
        Self { kind, len }
    }

    /// The next one.
    pub fn choose(&self, random: &mut Random) -> u64 {
        match &self.kind {
            Kind::Uniform => random.below(self.len),
            Kind::Zipf(zipf) => zipf.choose(random),
            Kind::Hot { hot, of_use } => {
                if random.below(100) < *of_use || *hot == self.len {
                    random.below(*hot)
                } else {
                    hot + random.below(self.len - hot)
                }
            }
            Kind::Sequential(next) => {
                let this = next.get();
                next.set((this + 1) % self.len);
                this
            }
        }
    }
}

/// Zipf's law without a table, by rejection-inversion (Hörmann and Derflinger, 1996): the area under the curve that is hit
/// tells the rank, and the few hits between the curve and the steps are thrown again.
#[derive(Clone, Debug)]
struct Zipf {
    len: f64,
    exponent: f64,
    /// The integral up to the first half step, less the height of the first step.
    low: f64,
    /// The integral up to the end.
    high: f64,
    /// How near to its rank a hit needs no further look.
    near: f64,
}

impl Zipf {
    fn new(len: u64, exponent: f64) -> Self {
        let len = len as f64;
        let low = integral(1.5, exponent) - 1.0;
        let high = integral(len + 0.5, exponent);
        let near = 2.0 - inverse(integral(2.5, exponent) - 2.0_f64.powf(-exponent), exponent);
        Self { len, exponent, low, high, near }
    }

    fn choose(&self, random: &mut Random) -> u64 {
        loop {
            let at = self.high + random.unit() * (self.low - self.high);
            let x = inverse(at, self.exponent);
            let rank = x.round().clamp(1.0, self.len);
            if rank - x <= self.near || at >= integral(rank + 0.5, self.exponent) - rank.powf(-self.exponent)
            {
                return rank as u64 - 1;
            }
        }
    }
}

/// The integral of x^-exponent from 1 to x.
fn integral(x: f64, exponent: f64) -> f64 {
    let log = x.ln();
    let power = (1.0 - exponent) * log;
    // (e^p - 1) / p, also where p is nearly zero.
    log * if power.abs() > 1e-8 { power.exp_m1() / power } else { 1.0 + power / 2.0 }
}

fn inverse(area: f64, exponent: f64) -> f64 {
    let power = (area * (1.0 - exponent)).max(-1.0);
    let log = if power.abs() > 1e-8 { power.ln_1p() / power } else { 1.0 - power / 2.0 };
    (log * area).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_distribution() -> impl Strategy<Value = Distribution> {
        prop_oneof![
            Just(Distribution::Uniform),
            Just(Distribution::Sequential),
            (0.01_f64..4.0).prop_map(|exponent| Distribution::Zipf { exponent }),
            (1_u8..=99, 1_u8..=100).prop_map(|(set, of_use)| Distribution::Hot { set, of_use }),
        ]
    }

    proptest! {
        #[test]
        fn every_choice_is_one_of_the_things(
            distribution in any_distribution(), len in prop_oneof![1_u64..50, 1_u64..1 << 40], seed: u64,
        ) {
            let chooser = Chooser::new(distribution, len, seed);
            let mut random = Random::new(seed);
            for _ in 0..200 {
                prop_assert!(chooser.choose(&mut random) < len);
            }
        }

        #[test]
        fn what_is_said_is_read_again(distribution in any_distribution()) {
            prop_assert_eq!(distribution.to_string().parse(), Ok(distribution));
        }

        #[test]
        fn seeds_decide_everything(seed: u64, part: u64) {
            let sequence = || {
                let mut random = Random::part(seed, part);
                [random.next(), random.below(7), random.next()]
            };
            prop_assert_eq!(sequence(), sequence());
        }

        /// The frequency of the first ranks is that of the law, within what chance allows.
        #[test]
        fn zipf_follows_its_law(exponent in 0.3_f64..2.5, len in 5_u64..2000, seed: u64) {
            const DRAWS: u32 = 20_000;
            let chooser = Chooser::new(Distribution::Zipf { exponent }, len, 0);
            let mut random = Random::new(seed);
            let mut counts = [0_u32; 3];
            for _ in 0..DRAWS {
                if let Some(count) = counts.get_mut(chooser.choose(&mut random) as usize) {
                    *count += 1;
                }
            }
            let all: f64 = (1..=len).map(|rank| (rank as f64).powf(-exponent)).sum();
            for (index, count) in counts.into_iter().enumerate() {
                let share = ((index + 1) as f64).powf(-exponent) / all;
                let (expected, found) = (share * f64::from(DRAWS), f64::from(count));
                let deviation = (expected * (1.0 - share)).sqrt().max(1.0);
                prop_assert!((found - expected).abs() < 7.0 * deviation, "rank {} has {found}, not {expected}", index + 1);
            }
        }
    }

    #[test]
    fn the_hot_set_is_hot_and_sequences_go_around() {
        let hot = Chooser::new(Distribution::Hot { set: 10, of_use: 90 }, 1000, 0);
        let mut random = Random::new(1);
        let hits = (0..10_000).filter(|_| hot.choose(&mut random) < 100).count();
        assert!((8700..9300).contains(&hits), "{hits}");
        let sequence = Chooser::new(Distribution::Sequential, 3, 2);
        let other = sequence.clone();
        let found = [&sequence, &other, &sequence, &other].map(|chooser| chooser.choose(&mut random));
        assert_eq!(found, [2, 0, 1, 2]);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "zip",
            "zipf:0",
            "zipf:x",
            "zipf:1:2",
            "hot:1",
            "hot:0:50",
            "hot:20:101",
            "uniform:1",
            "hot:1:2:3",
        ] {
            assert!(text.parse::<Distribution>().is_err(), "{text}");
        }
        assert_eq!("hot".parse(), Ok(Distribution::Hot { set: 20, of_use: 80 }));
    }
}
