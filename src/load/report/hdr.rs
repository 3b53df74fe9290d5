//! Results as an HDR log: the histogram of each second and operation, compressed, as HdrHistogram's tools read it.

use std::io::{self, Write};
use std::time::Duration;

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::load::results::Results;

/// What values are divided by for the column of maxima: it is in milliseconds, the histograms in nanoseconds.
const TO_MILLISECONDS: f64 = 1e6;

/// Writes the log.
///
/// # Errors
/// The file cannot be written, or a histogram not be encoded.
pub fn log(results: &Results, to: &mut impl Write) -> io::Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    let comment = format!("kiln load {}: {}, nanoseconds", results.version, results.date);
    builder.add_comment(&comment).with_start_time(results.began).with_base_time(results.began);
    builder.with_max_value_divisor(TO_MILLISECONDS);
    let mut writer = builder.begin_log_with(to, &mut serializer)?;
    let mut intervals: Vec<_> = results.intervals.iter().collect();
    intervals.sort_by_key(|interval| (interval.index, interval.kind as usize));
    // Threads have seen the same second, each on its own.
    let same = |a: &&crate::load::recorder::Interval, b: &&crate::load::recorder::Interval| {
        (a.index, a.kind) == (b.index, b.kind)
    };
    for group in intervals.chunk_by(|a, b| same(a, b)) {
        let Some((first, others)) = group.split_first() else { continue };
        let mut times = first.times.clone();
        others.iter().try_for_each(|other| times.add(&other.times)).map_err(io::Error::other)?;
        let start = Duration::from_secs(first.index);
        let len = Duration::from_secs(1).min(Duration::from_secs_f64(results.seconds).saturating_sub(start));
        writer
            .write_histogram(&times, start, len, Tag::new(first.kind.name()))
            .map_err(|error| io::Error::other(format!("a histogram cannot be encoded: {error:?}")))?;
    }
    Ok(())
}
