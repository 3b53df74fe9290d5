//! Options, declared once per translator: the declaration gives validation, defaults, `--help`, reference documentation, and
//! live reconfiguration.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::types::Gfid;

/// What an option's text must look like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OptionKind {
    /// `on`/`off`, `yes`/`no`, `true`/`false`, `enable`/`disable`, `1`/`0`.
    Bool,
    /// A whole number in this range.
    Int(i64, i64),
    /// A floating-point number in this range.
    Double(f64, f64),
    /// Bytes with an optional unit (`KB`, `MB`, `GB`, `TB`, `PB`; powers of 1024), in this range.
    Size(u64, u64),
    /// 0..100 with an optional `%`.
    Percent,
    /// A number below 100 (or with `%`) is a percentage, anything else bytes as in `Size`.
    PercentOrSize,
    /// Seconds, or a number with `ms`, `s`, `sec`, `min`, `hr`, `days`; in this range of seconds.
    Time(u64, u64),
    /// Permission bits in octal, up to this.
    Octal(u32),
    /// One of these words.
    Enum(&'static [&'static str]),
    /// A UUID.
    Uuid,
    /// A user or group id; -1 means "none".
    Id,
    /// A path.
    Path,
    /// Anything.
    Str,
}

/// How Kiln treats an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It has its effect.
    Real,
    /// It is accepted, so that stock volfiles load, and the log says that it has no effect, and why.
    Ignored(&'static str),
}

/// The declaration of one option.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// Its key in a volfile. A `*` stands for any text (`auth.addr.*.allow`).
    pub name: &'static str,
    /// Form of the value.
    pub kind: OptionKind,
    /// The text that counts when the volfile has none; `None` for options without default.
    pub default: Option<&'static str>,
    /// Whether a running brick takes a new value.
    pub reconfigurable: bool,
    /// Whether it does anything.
    pub support: Support,
    /// One sentence.
    pub about: &'static str,
}

impl OptionSpec {
    /// An option that a running brick can change.
    #[must_use]
    pub const fn new(
        name: &'static str,
        kind: OptionKind,
        default: &'static str,
        about: &'static str,
    ) -> Self {
        Self { name, kind, default: Some(default), reconfigurable: true, support: Support::Real, about }
    }

    /// The same, fixed at start.
    #[must_use]
    pub const fn fixed(mut self) -> Self {
        self.reconfigurable = false;
        self
    }

    /// The same, without a default.
    #[must_use]
    pub const fn no_default(mut self) -> Self {
        self.default = None;
        self
    }

    /// The same, accepted without effect, for this reason.
    #[must_use]
    pub const fn ignored(mut self, why: &'static str) -> Self {
        self.support = Support::Ignored(why);
        self
    }

    /// Whether `key` is this option.
    #[must_use]
    pub fn matches(&self, key: &str) -> bool {
        match self.name.split_once('*') {
            None => self.name == key,
            Some((head, tail)) => {
                key.len() > head.len() + tail.len() && key.starts_with(head) && key.ends_with(tail)
            }
        }
    }

    /// Whether `text` is a value of this option; the error is a sentence about what is wrong and what is right.
    ///
    /// # Errors
    /// When it is not.
    pub fn validate(&self, text: &str) -> Result<(), String> {
        self.kind
            .validate(text)
            .map_err(|wanted| format!("`{text}` is no value for `{}`: {wanted}", self.name))
    }
}

impl OptionKind {
    /// What a value of this kind looks like, for messages and reference pages.
    #[must_use]
    pub fn wanted(&self) -> String {
        match self {
            Self::Bool => "on or off".into(),
            Self::Int(min, max) if *max == i64::MAX => format!("a whole number, at least {min}"),
            Self::Int(min, max) => format!("a whole number from {min} to {max}"),
            Self::Double(min, max) => format!("a number from {min} to {max}"),
            Self::Size(min, max) if *max == u64::MAX => format!("a size such as 128KB, at least {min} bytes"),
            Self::Size(min, max) => format!("a size such as 128KB, from {min} to {max} bytes"),
            Self::Percent => "a percentage from 0 to 100".into(),
            Self::PercentOrSize => "a percentage from 0 to 100 or a size such as 10GB".into(),
            Self::Time(min, max) if *max == u64::MAX => {
                format!("a time such as 10 or 500ms, at least {min} seconds")
            }
            Self::Time(min, max) => format!("a time such as 10 or 500ms, from {min} to {max} seconds"),
            Self::Octal(max) => format!("permission bits in octal, from 0 to {max:04o}"),
            Self::Enum(words) => format!("one of {}", words.join(", ")),
            Self::Uuid => "a UUID such as 5b0f4ad7-3c1e-4d52-9c5c-0a1b2c3d4e5f".into(),
            Self::Id => "a user or group id, or -1".into(),
            Self::Path => "a path".into(),
            Self::Str => "any text".into(),
        }
    }

    fn validate(&self, text: &str) -> Result<(), String> {
        let fits = match *self {
            Self::Bool => parse_bool(text).is_some(),
            Self::Int(min, max) => text.trim().parse().is_ok_and(|value: i64| (min..=max).contains(&value)),
            Self::Double(min, max) => {
                text.trim().parse().is_ok_and(|value: f64| (min..=max).contains(&value))
            }
            Self::Size(min, max) => parse_size(text).is_some_and(|value| (min..=max).contains(&value)),
            Self::Percent => parse_percent(text).is_some(),
            Self::PercentOrSize => PercentOrSize::parse(text).is_some(),
            Self::Time(min, max) => parse_time(text)
                .is_some_and(|value| value >= Duration::from_secs(min) && value <= Duration::from_secs(max)),
            Self::Octal(max) => parse_octal(text).is_some_and(|value| value <= max),
            Self::Enum(words) => words.contains(&text),
            Self::Uuid => text.parse::<Gfid>().is_ok(),
            Self::Id => {
                text.trim().parse().is_ok_and(|value: i64| (-1..=i64::from(u32::MAX - 1)).contains(&value))
            }
            Self::Path => !text.is_empty(),
            Self::Str => true,
        };
        if fits { Ok(()) } else { Err(format!("it must be {}", self.wanted())) }
    }
}

/// A share of the file system, or an absolute amount.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PercentOrSize {
    /// Percent, 0..=100.
    Percent(f64),
    /// Bytes.
    Bytes(u64),
}

impl PercentOrSize {
    fn parse(text: &str) -> Option<Self> {
        if let Some(percent) = parse_percent(text)
            && (text.contains('%') || percent < 100.0)
        {
            return Some(Self::Percent(percent));
        }
        parse_size(text).map(Self::Bytes)
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "yes" | "true" | "enable" | "1" => Some(true),
        "off" | "no" | "false" | "disable" | "0" => Some(false),
        _ => None,
    }
}

fn parse_percent(text: &str) -> Option<f64> {
    let text = text.trim();
    let number: f64 = text.strip_suffix('%').unwrap_or(text).parse().ok()?;
    (0.0..=100.0).contains(&number).then_some(number)
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    (text[..at].trim(), text[at..].trim())
}

fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text);
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" => 10,
        "M" | "MB" => 20,
        "G" | "GB" => 30,
        "T" | "TB" => 40,
        "P" | "PB" => 50,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift);
    }
    let value = number.parse::<f64>().ok()? * (1_u64 << shift) as f64;
    (value >= 0.0 && value < u64::MAX as f64).then_some(value as u64)
}

fn parse_time(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text);
    let seconds = match unit {
        "" | "s" | "sec" | "secs" => 1.0,
        "ms" => 0.001,
        "us" => 0.000_001,
        "m" | "min" => 60.0,
        "h" | "hr" => 3600.0,
        "d" | "days" => 86_400.0,
        "w" | "wk" => 604_800.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

fn parse_octal(text: &str) -> Option<u32> {
    u32::from_str_radix(text.trim().trim_start_matches("0o"), 8).ok()
}

/// The values of one node's options: what the volfile says, the declared defaults for the rest. Every text in here has been
/// validated, so that a getter for a declared option cannot fail for a user's mistake; asking for an undeclared one is a
/// bug, and answers as if it were unset.
#[derive(Clone, Debug, Default)]
pub struct Options {
    specs: &'static [OptionSpec],
    set: BTreeMap<String, String>,
}

impl Options {
    /// Checks `pairs` against the declarations.
    ///
    /// # Errors
    /// One sentence per unknown key or bad value; `check` of [`crate::volfile`] gives them their places in the file.
    pub fn new(
        specs: &'static [OptionSpec],
        pairs: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<String>> {
        let mut options = Self { specs, set: BTreeMap::new() };
        let mut errors = Vec::new();
        for (key, value) in pairs {
            match options.spec(&key) {
                None => errors.push(format!("there is no option `{key}`")),
                Some(spec) => match spec.validate(&value) {
                    Err(error) => errors.push(error),
                    Ok(()) => _ = options.set.insert(key, value),
                },
            }
        }
        if errors.is_empty() { Ok(options) } else { Err(errors) }
    }

    /// The declaration of `key`.
    #[must_use]
    pub fn spec(&self, key: &str) -> Option<&'static OptionSpec> {
        self.specs.iter().find(|spec| spec.matches(key))
    }

    /// All declarations.
    #[must_use]
    pub const fn specs(&self) -> &'static [OptionSpec] {
        self.specs
    }

    /// The pairs that the volfile set.
    pub fn explicit(&self) -> impl Iterator<Item = (&str, &str)> {
        self.set.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The text of `key`: set, or default.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.set.get(key) {
            Some(value) => Some(value),
            None => {
                debug_assert!(self.spec(key).is_some(), "option `{key}` is not declared");
                self.spec(key)?.default
            }
        }
    }

    /// A `Bool`.
    #[must_use]
    pub fn bool(&self, key: &str) -> bool {
        self.text(key).and_then(parse_bool).unwrap_or(false)
    }

    /// An `Int`.
    #[must_use]
    pub fn int(&self, key: &str) -> i64 {
        self.text(key).and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// A `Double` or a `Percent`.
    #[must_use]
    pub fn double(&self, key: &str) -> f64 {
        self.text(key).and_then(|text| text.trim().trim_end_matches('%').parse().ok()).unwrap_or(0.0)
    }

    /// A `Size`, in bytes.
    #[must_use]
    pub fn size(&self, key: &str) -> u64 {
        self.text(key).and_then(parse_size).unwrap_or(0)
    }

    /// A `PercentOrSize`.
    #[must_use]
    pub fn percent_or_size(&self, key: &str) -> PercentOrSize {
        self.text(key).and_then(PercentOrSize::parse).unwrap_or(PercentOrSize::Bytes(0))
    }

    /// A `Time`.
    #[must_use]
    pub fn time(&self, key: &str) -> Duration {
        self.text(key).and_then(parse_time).unwrap_or_default()
    }

    /// An `Octal`.
    #[must_use]
    pub fn octal(&self, key: &str) -> u32 {
        self.text(key).and_then(parse_octal).unwrap_or(0)
    }

    /// A `Uuid`.
    #[must_use]
    pub fn uuid(&self, key: &str) -> Option<Gfid> {
        self.text(key)?.parse().ok()
    }

    /// An `Id`; `None` for -1.
    #[must_use]
    pub fn id(&self, key: &str) -> Option<u32> {
        self.text(key)?.trim().parse().ok()
    }

    /// The keys whose text differs from `old`'s.
    pub fn changed_from<'a>(&'a self, old: &'a Self) -> impl Iterator<Item = &'a str> {
        let keys: std::collections::BTreeSet<&str> =
            self.set.keys().chain(old.set.keys()).map(String::as_str).collect();
        keys.into_iter().filter(|key| self.text(key) != old.text(key))
    }

    /// The pairs that are accepted without effect, with the reason, where the value is not the default.
    pub fn without_effect(&self) -> impl Iterator<Item = (&str, &str, &'static str)> {
        self.explicit().filter_map(|(key, value)| match self.spec(key)? {
            OptionSpec { support: Support::Ignored(why), default, .. } if *default != Some(value) => {
                Some((key, value, *why))
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECS: &[OptionSpec] = &[
        OptionSpec::new("cache", OptionKind::Bool, "on", ""),
        OptionSpec::new("size", OptionKind::Size(1, 1 << 40), "1MB", ""),
        OptionSpec::new("reserve", OptionKind::PercentOrSize, "1", ""),
        OptionSpec::new("wait", OptionKind::Time(0, 60), "10", ""),
        OptionSpec::new("mask", OptionKind::Octal(0o777), "0777", ""),
        OptionSpec::new("auth.*.allow", OptionKind::Str, "", "").no_default(),
        OptionSpec::new("aio", OptionKind::Bool, "off", "").ignored("io_uring is always used"),
    ];

    fn options(pairs: &[(&str, &str)]) -> Result<Options, Vec<String>> {
        Options::new(SPECS, pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())))
    }

    #[test]
    fn defaults_and_values() {
        let options =
            options(&[("size", "2.5KB"), ("wait", "500ms"), ("auth./b.allow", "*"), ("reserve", "10GB")])
                .unwrap();
        assert!(options.bool("cache"));
        assert_eq!(options.size("size"), 2560);
        assert_eq!(options.time("wait"), Duration::from_millis(500));
        assert_eq!(options.octal("mask"), 0o777);
        assert_eq!(options.percent_or_size("reserve"), PercentOrSize::Bytes(10 << 30));
        assert_eq!(options.text("auth./b.allow"), Some("*"));
    }

    #[test]
    fn wrong_ones_are_all_reported() {
        let errors = options(&[("size", "lots"), ("nonsense", "1"), ("wait", "2min")]).unwrap_err();
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert!(errors[0].contains("from 1 to"), "{errors:?}");
    }

    #[test]
    fn changes_and_options_without_effect() {
        let old = options(&[("cache", "off")]).unwrap();
        let new = options(&[("wait", "10"), ("aio", "on")]).unwrap();
        assert_eq!(new.changed_from(&old).collect::<Vec<_>>(), ["aio", "cache"]);
        assert_eq!(new.without_effect().count(), 1);
    }
}
