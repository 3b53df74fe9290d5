//! Numbers as people read them.

use std::time::Duration;

/// Nanoseconds with a unit and three significant digits: `850ns`, `1.25ms`, `12.0s`.
pub fn nanos(ns: u64) -> String {
    const UNITS: &[(f64, &str)] = &[(1e9, "s"), (1e6, "ms"), (1e3, "µs")];
    let value = ns as f64;
    match UNITS.iter().find(|(size, _)| value >= *size) {
        Some((size, unit)) => format!("{}{unit}", three_digits(value / size)),
        None => format!("{ns}ns"),
    }
}

/// Bytes with a binary unit: `512B`, `4.00KiB`, `1.50GiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: &[&str] = &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let power = ((63 - bytes.leading_zeros()) / 10) as usize;
    format!("{}{}", three_digits(bytes as f64 / (1_u64 << (10 * power)) as f64), UNITS[power])
}

/// A rate: `0`, `12.5`, `1250`, `48.2k`.
pub fn rate(per_second: f64) -> String {
    match per_second {
        zero if zero <= 0.0 => "0".into(),
        small if small < 10_000.0 => three_digits(small),
        thousands if thousands < 10_000_000.0 => format!("{}k", three_digits(thousands / 1e3)),
        millions => format!("{}M", three_digits(millions / 1e6)),
    }
}

/// A duration in the two largest units: `3d 4h`, `5m 6s`, `12s`.
pub fn long(duration: Duration) -> String {
    let s = duration.as_secs();
    match s {
        86_400.. => format!("{}d {}h", s / 86_400, s % 86_400 / 3600),
        3600.. => format!("{}h {}m", s / 3600, s % 3600 / 60),
        60.. => format!("{}m {}s", s / 60, s % 60),
        _ => format!("{s}s"),
    }
}

fn three_digits(value: f64) -> String {
    let decimals = match value {
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_times_and_rates() {
        assert_eq!(
            [nanos(0), nanos(999), nanos(1250), nanos(12_000_000_000)],
            ["0ns", "999ns", "1.25µs", "12.0s"]
        );
        assert_eq!(
            [bytes(0), bytes(1023), bytes(4096), bytes(u64::MAX)],
            ["0B", "1023B", "4.00KiB", "16.0EiB"]
        );
        assert_eq!([rate(0.0), rate(0.5), rate(1250.0), rate(48_200.0)], ["0", "0.50", "1250", "48.2k"]);
        assert_eq!([long(Duration::from_secs(59)), long(Duration::from_secs(90_000))], ["59s", "1d 1h"]);
    }
}
