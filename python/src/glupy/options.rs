//! The options of `features/glupy`.

use std::time::Duration;

use kiln_uring::Errno;
use kiln_xlators::options::{OptionKind, OptionSpec, Options};

/// What happens to a request that a handler did not treat as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It goes on as if there were no handler.
    Pass,
    /// It fails.
    Error,
    /// It goes on, and so do all that follow: the layer does nothing until it is reconfigured.
    Disable,
}

impl Policy {
    fn of(word: &str) -> Self {
        match word {
            "pass" => Self::Pass,
            "disable" => Self::Disable,
            _ => Self::Error,
        }
    }
}

/// Most requests of one core that may wait for Python, over all layers.
pub(super) const QUEUE: usize = 4096;

const POLICIES: OptionKind = OptionKind::Enum(&["pass", "error", "disable"]);

pub(super) static OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("module-name", OptionKind::Str, "", "The Python module that has the translator.")
        .no_default()
        .fixed(),
    OptionSpec::new(
        "class-name",
        OptionKind::Str,
        "",
        "The class in the module; needed only when it has several translators.",
    )
    .no_default()
    .fixed(),
    OptionSpec::new(
        "search-path",
        OptionKind::Str,
        "",
        "Directories that are searched for the module before Python's own, with colons between them.",
    )
    .no_default()
    .fixed(),
    OptionSpec::new(
        "time-limit",
        OptionKind::Time(0, 86_400),
        "1",
        "How long a request waits for a handler, queue included; then `on-failure` decides. 0 waits for ever.",
    ),
    OptionSpec::new(
        "queue-limit",
        OptionKind::Int(1, QUEUE as i64),
        "1024",
        "Requests of one core that may wait for this layer's handlers; `on-overload` decides about the others.",
    ),
    OptionSpec::new(
        "batch-limit",
        OptionKind::Int(1, QUEUE as i64),
        "256",
        "Most requests that a batch handler gets in one call.",
    ),
    OptionSpec::new(
        "on-failure",
        POLICIES,
        "error",
        "What happens to a request whose handler raised something else than an OSError, answered nonsense, or took too \
         long: it passes on, it fails, or it passes on and the layer is disabled.",
    ),
    OptionSpec::new("on-overload", POLICIES, "error", "What happens to a request that finds the queue full."),
    OptionSpec::new("option.*", OptionKind::Str, "", "An option of the Python translator.").no_default(),
];

/// The limits and policies of one layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Config {
    pub limit: Option<Duration>,
    pub queue: usize,
    pub batch: usize,
    pub on_failure: Policy,
    pub on_overload: Policy,
}

impl Config {
    pub(super) fn new(options: &Options) -> Self {
        let count = |key| usize::try_from(options.int(key)).unwrap_or(1).max(1);
        let limit = options.time("time-limit");
        Self {
            limit: (!limit.is_zero()).then_some(limit),
            queue: count("queue-limit"),
            batch: count("batch-limit"),
            on_failure: Policy::of(options.text("on-failure").unwrap_or_default()),
            on_overload: Policy::of(options.text("on-overload").unwrap_or_default()),
        }
    }
}

/// Options of the Python translator: those that begin with `option.`, without that.
pub(super) fn of_translator(options: &Options) -> Vec<(String, String)> {
    let named =
        |(key, value): (&str, &str)| Some((key.strip_prefix("option.")?.to_owned(), value.to_owned()));
    options.explicit().filter_map(named).collect()
}

/// For a request that found the queue full and may not pass.
pub(super) const OVERLOADED: Errno = Errno::AGAIN;
/// For a request whose time limit passed.
pub(super) const TOO_LATE: Errno = Errno::TIMEDOUT;
/// For a request whose handler is broken.
pub(super) const BROKEN: Errno = Errno::IO;
