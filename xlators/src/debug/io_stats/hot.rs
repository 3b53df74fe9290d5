//! Which files and directories are used most at present, estimated from a sample of the fops.
//!
//! Every fop passes the [`Gate`], which costs a decrement and lets one of many through: all of them while a core has little
//! to do, every 64th when it is busy. What it lets through is counted in two [`Sketch`]es with the weight of those that were
//! not. Counts fade with a half-life of [`HALF_LIFE`], so that the list shows the present and not the past.

use std::cell::Cell;
use std::time::Duration;

use kiln_uring::Instant;
use serde_json::{Value as Json, json};

use crate::types::Gfid;

/// Objects that a sketch tells apart. Whatever has more than one in so many of all (weighted) uses is sure to be among them.
const LIMIT: usize = 64;
/// After this long a use counts half.
const HALF_LIFE: Duration = Duration::from_secs(5);
/// The sparsest sample that is chosen by itself.
const SPARSEST: u32 = 64;
/// Samples per second that a core may take before it takes fewer.
const SAMPLES_PER_SECOND: f64 = 4000.0;
/// Samples after which the rate is judged anew, at the latest.
const JUDGED_AFTER: u32 = 256;
/// Time after which the rate is judged anew, at the next sample.
const JUDGED_WITHIN: Duration = Duration::from_millis(250);
/// Objects of each kind in a report.
const REPORTED: usize = 32;

/// Decides which fops are looked at.
pub(super) struct Gate {
    left: Cell<u32>,
    every: Cell<u32>,
    /// As the option says; 0 is by itself.
    fixed: Cell<u32>,
    random: Cell<u32>,
    samples: Cell<u32>,
    judged: Cell<Instant>,
}

impl Gate {
    pub(super) fn new(now: Instant, seed: u64) -> Self {
        Self {
            left: Cell::new(0),
            every: Cell::new(1),
            fixed: Cell::new(0),
            // Of a generator that must not start at zero.
            random: Cell::new(seed as u32 | 1),
            samples: Cell::new(0),
            judged: Cell::new(now),
        }
    }

    /// Takes one of `every` fops, or as many as the rate allows with 0.
    pub(super) fn fix(&self, every: u32) {
        self.fixed.set(every);
        if every > 0 {
            self.every.set(every);
        }
        self.left.set(0);
    }

    /// One of how many fops is taken at present.
    pub(super) fn every(&self) -> u32 {
        self.every.get()
    }

    /// A fop comes by. Whether it is one of the sample.
    #[inline]
    pub(super) fn opens(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.wrapping_sub(1));
        left == 0
    }

    /// For how many fops the one counts that was just let through; sets out for the next.
    #[cold]
    pub(super) fn weight(&self, now: Instant) -> u32 {
        let weight = self.every.get();
        let (samples, passed) = (self.samples.get() + 1, now - self.judged.get());
        self.samples.set(samples);
        if samples >= JUDGED_AFTER || passed >= JUDGED_WITHIN {
            if self.fixed.get() == 0 {
                let rate = f64::from(samples) * f64::from(weight) / passed.as_secs_f64().max(1e-6);
                self.every.set(((rate / SAMPLES_PER_SECOND) as u32).next_power_of_two().clamp(1, SPARSEST));
            }
            self.samples.set(0);
            self.judged.set(now);
        }
        // Anywhere from 1 to twice as far, so that a load with a rhythm does not always show the same of its fops.
        let gap = self.random() % (2 * self.every.get() - 1);
        self.left.set(gap);
        weight
    }

    /// Marsaglia's xorshift.
    fn random(&self) -> u32 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.random.set(x);
        x
    }
}

/// What is done with an object.
#[derive(Clone, Copy)]
pub(super) enum Deed {
    /// A file is read.
    Read,
    /// Its contents are changed.
    Write,
    /// It is opened or made.
    Open,
    /// It is looked up, or its attributes are asked for; of a directory, also the lookups of names in it.
    Look,
    /// A directory is listed.
    List,
    /// A name in it is made, moved or removed.
    Change,
}

const DEEDS: [&str; 6] = ["read", "write", "open", "look", "list", "change"];

#[derive(Clone, Copy)]
struct Entry {
    gfid: Gfid,
    /// Weight of its uses since it is known, and what it may have had before.
    total: f64,
    deeds: [f64; DEEDS.len()],
    read: f64,
    written: f64,
}

impl Entry {
    fn scale(&mut self, factor: f64) {
        self.total *= factor;
        self.deeds.iter_mut().for_each(|deed| *deed *= factor);
        self.read *= factor;
        self.written *= factor;
    }

    fn absorb(&mut self, other: &Self) {
        self.total += other.total;
        self.deeds.iter_mut().zip(other.deeds).for_each(|(mine, theirs)| *mine += theirs);
        self.read += other.read;
        self.written += other.written;
    }

    fn seen(&self) -> f64 {
        self.deeds.iter().sum()
    }
}

/// The objects that are used most: *space-saving* (Metwally, Agrawal and El Abbadi, 2005) with *forward decay* (Cormode,
/// Shkapenyuk, Srivastava and Xu, 2009): instead of making all counts smaller, later uses count more.
#[derive(Clone)]
pub(super) struct Sketch {
    entries: Vec<Entry>,
    began: Instant,
    /// When a use counted 1.
    landmark: Instant,
}

/// How many half-lives.
fn half_lives(time: Duration) -> f64 {
    time.as_secs_f64() / HALF_LIFE.as_secs_f64()
}

impl Sketch {
    pub(super) fn new(now: Instant) -> Self {
        Self { entries: Vec::new(), began: now, landmark: now }
    }

    /// A use of `gfid`, which stands for `weight` of them, and moves `bytes`.
    pub(super) fn count(&mut self, now: Instant, gfid: Gfid, deed: Deed, weight: u32, bytes: u64) {
        if gfid.is_null() {
            return;
        }
        let weight = f64::from(weight) * self.worth(now);
        let place = match self.entries.iter().position(|entry| entry.gfid == gfid) {
            Some(place) => place,
            None => self.newcomer(gfid),
        };
        let entry = &mut self.entries[place];
        entry.total += weight;
        entry.deeds[deed as usize] += weight;
        match deed {
            Deed::Read => entry.read += weight * bytes as f64,
            Deed::Write => entry.written += weight * bytes as f64,
            _ => {}
        }
    }

    /// What a use counts now.
    fn worth(&mut self, now: Instant) -> f64 {
        let age = half_lives(now - self.landmark);
        if age < 32.0 {
            return age.exp2();
        }
        // Before numbers get too large, and whatever the length of the pause was.
        let factor = (-age).exp2();
        self.entries.iter_mut().for_each(|entry| entry.scale(factor));
        self.entries.retain(|entry| entry.total > 1e-6);
        self.landmark = now;
        1.0
    }

    fn newcomer(&mut self, gfid: Gfid) -> usize {
        let fresh = |total| Entry { gfid, total, deeds: [0.0; DEEDS.len()], read: 0.0, written: 0.0 };
        if self.entries.len() < LIMIT {
            self.entries.push(fresh(0.0));
            return self.entries.len() - 1;
        }
        let least = self.entries.iter().enumerate().min_by(|(_, a), (_, b)| a.total.total_cmp(&b.total));
        let (place, inherited) = least.map_or((0, 0.0), |(place, entry)| (place, entry.total));
        self.entries[place] = fresh(inherited);
        place
    }

    /// The entries, as uses per second at present.
    fn rates(&self, now: Instant) -> impl Iterator<Item = Entry> {
        // A steady use has this many seconds' worth in its count, fewer when counting has only begun.
        let whole = HALF_LIFE.as_secs_f64() / std::f64::consts::LN_2;
        let seconds = whole * (1.0 - (-half_lives(now - self.began)).exp2());
        let factor = (-half_lives(now - self.landmark)).exp2() / seconds.max(0.05);
        self.entries.iter().map(move |entry| {
            let mut entry = *entry;
            entry.scale(factor);
            entry
        })
    }

    /// The sketches of several cores as one list, the most used first.
    fn merge<'a>(sketches: impl Iterator<Item = &'a Self>, now: Instant) -> Vec<Entry> {
        let mut sums = hashbrown::HashMap::<Gfid, Entry>::new();
        for entry in sketches.flat_map(|sketch| sketch.rates(now)) {
            sums.entry(entry.gfid).and_modify(|sum| sum.absorb(&entry)).or_insert(entry);
        }
        // Less than one use in the last minute is not hot.
        let mut all: Vec<_> = sums.into_values().filter(|entry| entry.seen() > 1.0 / 60.0).collect();
        all.sort_unstable_by(|a, b| b.seen().total_cmp(&a.seen()).then_with(|| a.gfid.cmp(&b.gfid)));
        all.truncate(REPORTED);
        all
    }
}

/// What one core knows.
#[derive(Clone)]
pub(super) struct Hot {
    pub files: Sketch,
    pub directories: Sketch,
}

impl Hot {
    pub(super) fn new(now: Instant) -> Self {
        Self { files: Sketch::new(now), directories: Sketch::new(now) }
    }
}

/// The report: rates are uses and bytes per second, estimates all of them. `every` is that of the busiest core.
pub(super) fn report<'a>(cores: impl Iterator<Item = &'a Hot> + Clone, every: u32, now: Instant) -> Json {
    let digits = |rate: f64| (rate * 100.0).round() / 100.0;
    let list = |entries: Vec<Entry>| -> Json {
        let entries = entries.iter().map(|entry| {
            let mut told = json!({ "gfid": entry.gfid.to_string(), "per_s": digits(entry.seen()) });
            for (name, rate) in DEEDS.iter().zip(entry.deeds).filter(|(_, rate)| *rate > 0.0) {
                told[format!("{name}_per_s")] = digits(rate).into();
            }
            for (name, rate) in [("bytes_read_per_s", entry.read), ("bytes_written_per_s", entry.written)] {
                if rate > 0.0 {
                    told[name] = rate.round().into();
                }
            }
            told
        });
        entries.collect()
    };
    json!({
        "half_life_s": HALF_LIFE.as_secs_f64(),
        "one_in": every,
        "files": list(Sketch::merge(cores.clone().map(|hot| &hot.files), now)),
        "directories": list(Sketch::merge(cores.map(|hot| &hot.directories), now)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gfid(number: u32) -> Gfid {
        let mut bytes = [7; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        Gfid::from_bytes(bytes)
    }

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn all_fops_count_while_there_are_few_and_one_in_64_when_there_are_many() {
        let gate = Gate::new(at(0), 5);
        for (per_ms, expected) in [(1, 1), (1000, 64), (1, 1)] {
            let start = gate.judged.get().as_nanos() / 1_000_000;
            let (mut fops, mut weights) = (0_u32, 0_u32);
            for fop in 0..2000 * per_ms {
                let now = at(start + 1 + fop / per_ms);
                // The first half is for getting used to the rate.
                let counts = fop > 1000 * per_ms;
                fops += u32::from(counts);
                if gate.opens() {
                    let weight = gate.weight(now);
                    weights += if counts { weight } else { 0 };
                }
            }
            assert_eq!(gate.every(), expected);
            let share = f64::from(weights) / f64::from(fops);
            assert!((0.95..1.05).contains(&share), "{share} of {fops} at one in {expected}");
        }
        gate.fix(10);
        let taken = (0..100_000).filter(|_| gate.opens() && gate.weight(at(1)) == 10).count();
        assert!((9500..10_500).contains(&taken), "{taken}");
    }

    #[test]
    fn rates_are_those_of_the_present() {
        let mut sketch = Sketch::new(at(0));
        // 100 reads a second of 4 KiB for a minute, then nothing but 10 writes a second of another for half a minute.
        for step in 0..6000 {
            sketch.count(at(step * 10), gfid(1), Deed::Read, 1, 4096);
        }
        let now = Sketch::merge([&sketch].into_iter(), at(60_000));
        assert!((99.0..101.0).contains(&now[0].deeds[0]), "{}", now[0].deeds[0]);
        assert!((4096.0 * 99.0..4096.0 * 101.0).contains(&now[0].read));
        for step in 0..300 {
            sketch.count(at(60_000 + step * 100), gfid(2), Deed::Write, 1, 1);
        }
        let now = Sketch::merge([&sketch, &sketch].into_iter(), at(90_000));
        assert_eq!(now[0].gfid, gfid(2));
        assert!((19.0..21.0).contains(&now[0].deeds[1]), "{}", now[0].deeds[1]);
        assert!((2.5..4.0).contains(&now[1].deeds[0]), "{}", now[1].deeds[0]);
        // After a pause of days nothing is left, and nothing is infinite.
        sketch.count(at(1 << 40), gfid(3), Deed::Open, 64, 0);
        let now = Sketch::merge([&sketch].into_iter(), at((1 << 40) + 1));
        assert_eq!(now.iter().map(|entry| entry.gfid).collect::<Vec<_>>(), [gfid(3)]);
        assert!(now[0].seen().is_finite());
    }

    #[test]
    fn a_rate_is_right_soon_after_the_start() {
        let mut sketch = Sketch::new(at(0));
        for step in 0..500 {
            sketch.count(at(step), gfid(1), Deed::Read, 1, 0);
        }
        let now = Sketch::merge([&sketch].into_iter(), at(500));
        assert!((960.0..1040.0).contains(&now[0].seen()), "{}", now[0].seen());
        assert!(Sketch::merge([&sketch].into_iter(), at(0))[0].seen().is_finite());
    }

    #[test]
    fn what_is_hot_stays_among_many_that_are_not() {
        let mut sketch = Sketch::new(at(0));
        for step in 0..100_000_u32 {
            let hot = step % 10 == 0;
            sketch.count(at(u64::from(step) / 10), gfid(if hot { 1 } else { step }), Deed::Look, 1, 0);
        }
        assert_eq!(sketch.entries.len(), LIMIT);
        let now = Sketch::merge([&sketch].into_iter(), at(10_000));
        assert_eq!(now[0].gfid, gfid(1));
        assert!((980.0..1020.0).contains(&now[0].seen()), "{}", now[0].seen());
    }
}
