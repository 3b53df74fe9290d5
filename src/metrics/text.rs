//! The text format of OpenMetrics 1.0.

use std::fmt::{Display, Write as _};

/// What a scraper is told that this is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Kind of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows, until the process ends or somebody clears it. Its samples end in `_total`.
    Counter,
    /// Counts by upper bound.
    Histogram,
    /// Says something in its labels; its samples end in `_info`.
    Info,
}

/// Name and description of a family. A name ends in its unit, where it has one.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Without the suffixes of samples.
    pub name: &'static str,
    /// See [`Kind`].
    pub kind: Kind,
    /// `seconds`, `bytes`, or nothing.
    pub unit: &'static str,
    /// One sentence.
    pub help: &'static str,
}

/// A page that is being written.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
    family: Option<Family>,
    started: bool,
}

impl Page {
    /// Begins a family. One without samples leaves nothing.
    pub fn family(&mut self, family: Family) {
        self.family = Some(family);
        self.started = false;
    }

    fn head(&mut self) {
        let Some(Family { name, kind, unit, help }) = self.family else { return };
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
            Kind::Info => "info",
        };
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(self.text, "# TYPE {name} {kind}");
        if !unit.is_empty() {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.text, "# HELP {name} {}", escaped(help));
    }

    /// A value of the family that was begun.
    pub fn value(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let suffix = match self.family.map(|family| family.kind) {
            Some(Kind::Counter) => "_total",
            Some(Kind::Info) => "_info",
            _ => "",
        };
        self.sample(suffix, labels, value);
    }

    /// A histogram: counts by ascending upper bounds in seconds and one more for what is beyond, and the sum in seconds.
    pub fn histogram(&mut self, labels: &[(&str, &str)], bounds: &[f64], counts: &[u64], sum: f64) {
        let mut so_far = 0;
        let ends = bounds.iter().map(|bound| float(*bound)).chain([String::from("+Inf")]);
        for (end, count) in ends.zip(counts) {
            so_far += count;
            self.sample("_bucket", &[labels, &[("le", &end)]].concat(), so_far);
        }
        self.sample("_count", labels, so_far);
        self.sample("_sum", labels, float(sum));
    }

    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        self.head();
        let Some(Family { name, .. }) = self.family else { return };
        let _ = write!(self.text, "{name}{suffix}");
        for (index, (label, text)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{label}=\"{}\"", escaped(text));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    /// The whole page.
    pub fn finish(mut self) -> String {
        self.text.push_str("# EOF\n");
        self.text
    }
}

/// A number as bounds are written everywhere: `1.0`, `0.0001`, `2.5e-05`.
pub fn float(value: f64) -> String {
    let text = format!("{value:?}");
    match text.split_once("e-") {
        Some((digits, exponent)) => format!("{digits}e-{exponent:0>2}"),
        None => text,
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_as_the_standard_wants_them() {
        let mut page = Page::default();
        page.family(Family { name: "a_bytes", kind: Kind::Counter, unit: "bytes", help: "Bytes." });
        page.value(&[("l", "x\"\\\n"), ("m", "é")], 5);
        page.value(&[], 6);
        page.family(Family { name: "nothing", kind: Kind::Gauge, unit: "", help: "" });
        page.family(Family { name: "h_seconds", kind: Kind::Histogram, unit: "seconds", help: "H." });
        page.histogram(&[("f", "g")], &[0.000_025, 1.0], &[1, 2, 3], 4.5);
        assert_eq!(
            page.finish(),
            "# TYPE a_bytes counter\n# UNIT a_bytes bytes\n# HELP a_bytes Bytes.\n\
             a_bytes_total{l=\"x\\\"\\\\\\n\",m=\"é\"} 5\na_bytes_total 6\n\
             # TYPE h_seconds histogram\n# UNIT h_seconds seconds\n# HELP h_seconds H.\n\
             h_seconds_bucket{f=\"g\",le=\"2.5e-05\"} 1\nh_seconds_bucket{f=\"g\",le=\"1.0\"} 3\n\
             h_seconds_bucket{f=\"g\",le=\"+Inf\"} 6\nh_seconds_count{f=\"g\"} 6\nh_seconds_sum{f=\"g\"} 4.5\n# EOF\n"
        );
    }
}
