//! Results for people.

use std::fmt::Write as _;

use crate::load::results::{Operation, Results};
use crate::units::{bytes, nanos, rate};

/// Some lines of text.
pub fn table(results: &Results) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut out, results);
    out
}

fn write(out: &mut String, results: &Results) -> std::fmt::Result {
    writeln!(
        out,
        "{:<14}{:>10}{:>11}{:>10}{:>10}{:>10}{:>10}{:>10}{:>8}",
        "operation", "count", "per second", "p50", "p90", "p99", "p99.9", "max", "errors"
    )?;
    results.operations.iter().try_for_each(|operation| row(out, operation))?;
    let total = &results.total;
    write!(out, "{} operations in {:.1} s: {} per second", total.count, results.seconds, rate(total.rate))?;
    if total.bytes > 0 {
        write!(out, ", {}/s", bytes(total.bytes_per_second as u64))?;
    }
    if total.entries > 0 {
        write!(out, ", {} names", total.entries)?;
    }
    writeln!(out)?;
    if let Some(brick) = &results.brick {
        writeln!(
            out,
            "process {}: {} of CPU per operation ({:.2} s in all), {} resident, {} at most",
            brick.pid,
            nanos(brick.cpu_ns_per_op as u64),
            brick.cpu_seconds,
            bytes(brick.rss_bytes),
            bytes(brick.rss_peak_bytes)
        )?;
    }
    writeln!(
        out,
        "the load itself: {} of CPU per operation ({:.2} s in all)",
        nanos(results.own.cpu_ns_per_op as u64),
        results.own.cpu_seconds
    )?;
    if let Some(verify) = &results.verify {
        writeln!(out, "verified: {} blocks, {} wrong", verify.blocks, verify.wrong)?;
    }
    if total.not_begun > 0 {
        writeln!(
            out,
            "the target did not keep up: {} operations were due that could not begin before the end; \
             a larger --depth lets more of them begin",
            total.not_begun
        )?;
    }
    Ok(())
}

fn row(out: &mut String, operation: &Operation) -> std::fmt::Result {
    let latency = &operation.latency_ns;
    let times = if operation.count > 0 {
        [latency.p50, latency.p90, latency.p99, latency.p99_9, latency.max].map(nanos)
    } else {
        [const { String::new() }; 5]
    };
    let [p50, p90, p99, p99_9, max] = times;
    writeln!(
        out,
        "{:<14}{:>10}{:>11}{p50:>10}{p90:>10}{p99:>10}{p99_9:>10}{max:>10}{:>8}",
        operation.name,
        operation.count,
        rate(operation.rate),
        operation.errors
    )
}
