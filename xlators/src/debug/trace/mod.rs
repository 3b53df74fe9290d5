//! `debug/trace`: writes down each fop on its way down and its answer on its way up.
//!
//! With `log-file` on, lines go to the log under the target `kiln::trace`; with `log-history` on, the last ones stay in
//! memory, and a statedump shows them. With both off, which is GlusterFS's default, fops go straight on.

mod summary;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use kiln_uring::sys::Timespec;
use kiln_uring::{Core, Instant};
use serde_json::{Value as Json, json};
use tracing::Level;

use super::fop_list;
use crate::call::Call;
use crate::fop::{Fop, FopSet, reply, request};
use crate::graph::Next;
use crate::options::{OptionKind, OptionSpec, Options};
use crate::translator::{
    Children, Fops, InstanceContext, PrepareContext, Shared, Translator, TranslatorType, Wound,
};

/// `debug/trace`.
pub static TYPE: TranslatorType = TranslatorType {
    name: "debug/trace",
    about: "Writes down fops and their answers",
    children: Children::One,
    options: OPTIONS,
    prepare,
    instance,
    renew: TranslatorType::nothing_to_renew,
    merge_stats: TranslatorType::no_stats,
};

const LEVELS: OptionKind = OptionKind::Enum(&["TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]);

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("log-file", OptionKind::Bool, "no", "Whether fops go to the log."),
    OptionSpec::new("log-history", OptionKind::Bool, "no", "Whether the last fops are kept for a statedump."),
    OptionSpec::new("history-size", OptionKind::Size(1, 1 << 20), "1024", "How many lines each core keeps."),
    OptionSpec::new("include-ops", OptionKind::Str, "", "Comma-separated fops to trace; empty means all."),
    OptionSpec::new("include", OptionKind::Str, "", "More of `include-ops`."),
    OptionSpec::new("exclude-ops", OptionKind::Str, "", "Comma-separated fops not to trace."),
    OptionSpec::new("exclude", OptionKind::Str, "", "More of `exclude-ops`."),
    OptionSpec::new("force-log-level", LEVELS, "INFO", "Level of the lines in the log."),
];

#[derive(Clone, Copy)]
struct Settings {
    traced: FopSet,
    log: Option<Level>,
    history: usize,
}

impl Settings {
    fn new(options: &Options) -> Result<Self, String> {
        let listed = |keys: [&str; 2]| {
            let texts: Vec<&str> = keys.iter().filter_map(|key| options.text(key)).collect();
            fop_list::parse(&texts.join(","))
        };
        let (included, excluded) = (listed(["include-ops", "include"])?, listed(["exclude-ops", "exclude"])?);
        let level = match options.text("force-log-level").unwrap_or_default() {
            "TRACE" => Level::TRACE,
            "DEBUG" => Level::DEBUG,
            "WARNING" => Level::WARN,
            "ERROR" | "CRITICAL" => Level::ERROR,
            _ => Level::INFO,
        };
        let kept = usize::try_from(options.size("history-size")).unwrap_or(usize::MAX);
        Ok(Self {
            traced: Fop::ALL
                .into_iter()
                .filter(|fop| (included.is_empty() || included.contains(*fop)) && !excluded.contains(*fop))
                .collect(),
            log: options.bool("log-file").then_some(level),
            history: if options.bool("log-history") { kept } else { 0 },
        })
    }

    const fn traces(&self, fop: Fop) -> bool {
        (self.log.is_some() || self.history > 0) && self.traced.contains(fop)
    }
}

fn prepare(context: &PrepareContext<'_>) -> Result<Shared, String> {
    Settings::new(context.options)?;
    TranslatorType::nothing_shared(context)
}

/// A line of the history.
struct Record {
    at: Timespec,
    unique: u64,
    text: String,
}

/// The layer on one core.
pub struct Trace {
    next: Next,
    core: Core,
    name: String,
    settings: Cell<Settings>,
    history: RefCell<VecDeque<Record>>,
}

fn instance(mut context: InstanceContext<'_>) -> Result<Rc<dyn Translator>, String> {
    Ok(Rc::new(Trace {
        core: context.core.clone(),
        name: context.name.to_owned(),
        settings: Cell::new(Settings::new(context.options)?),
        history: RefCell::default(),
        next: context.below(),
    }))
}

/// An event of the level that is only known now.
macro_rules! log_at {
    ($level:expr, $($fields:tt)*) => {
        match $level {
            Level::ERROR => tracing::error!(target: "kiln::trace", $($fields)*),
            Level::WARN => tracing::warn!(target: "kiln::trace", $($fields)*),
            Level::INFO => tracing::info!(target: "kiln::trace", $($fields)*),
            Level::DEBUG => tracing::debug!(target: "kiln::trace", $($fields)*),
            Level::TRACE => tracing::trace!(target: "kiln::trace", $($fields)*),
        }
    };
}

impl Trace {
    fn down<R: request::Describe>(&self, call: &Call, req: &R) -> Instant {
        let text = summary::request(req);
        if let Some(level) = self.settings.get().log {
            let caller = call.caller();
            log_at!(
                level,
                layer = self.name,
                unique = call.unique(),
                uid = caller.uid,
                gid = caller.gid,
                pid = caller.pid,
                "{text}"
            );
        }
        self.keep(call, text);
        self.core.now()
    }

    fn up<R: summary::Summary>(
        &self,
        call: &Call,
        fop: Fop,
        wound: Instant,
        answer: &Result<R, crate::error::FopError>,
    ) {
        let text = summary::answer(answer);
        let took = self.core.now() - wound;
        if let Some(level) = self.settings.get().log {
            let microseconds = took.as_nanos() as f64 / 1000.0;
            log_at!(level, layer = self.name, unique = call.unique(), microseconds, "{fop}: {text}");
        }
        self.keep(call, format!("{fop} after {took:?}: {text}"));
    }

    fn keep(&self, call: &Call, text: String) {
        let limit = self.settings.get().history;
        let mut history = self.history.borrow_mut();
        while history.len() >= limit.max(1) {
            history.pop_front();
        }
        if limit > 0 {
            history.push_back(Record { at: self.core.realtime(), unique: call.unique(), text });
        }
    }
}

macro_rules! methods {
    ($(#[doc = $doc:literal] $variant:ident $method:ident $number:literal $access:ident $subject:ident
        ($($arg:ident : $type:ty),*) -> $reply:ident;)*) => {
        impl Fops for Trace {
            fn next(&self) -> &Next {
                &self.next
            }

            fn intercepts(&self) -> FopSet {
                FopSet::ALL
            }

            $(
                fn $method<'a>(&'a self, call: &'a Call, req: request::$variant) -> Wound<'a, reply::$reply> {
                    if !self.settings.get().traces(Fop::$variant) {
                        return self.next.$method(call, req);
                    }
                    Wound::new(call, async move {
                        let wound = self.down(call, &req);
                        let answer = self.next.$method(call, req).await;
                        self.up(call, Fop::$variant, wound, &answer);
                        answer
                    })
                }
            )*
        }
    };
}

crate::for_each_fop!(methods);

impl Translator for Trace {
    fn reconfigure(&self, options: &Options) -> Result<(), String> {
        let settings = Settings::new(options)?;
        let mut history = self.history.borrow_mut();
        let surplus = history.len().saturating_sub(settings.history);
        history.drain(..surplus);
        self.settings.set(settings);
        Ok(())
    }

    fn statedump(&self) -> Json {
        if self.settings.get().history == 0 {
            return Json::Null;
        }
        let history = self.history.borrow();
        let lines = history.iter().map(|record| {
            json!({
                "at": record.at.sec as f64 + f64::from(record.at.nsec) / 1e9,
                "unique": record.unique,
                "text": record.text,
            })
        });
        json!({ "history": lines.collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::sync::{Arc, Mutex};

    use kiln_uring::Errno;
    use kiln_uring::sim::Sim;
    use tracing::field::{Field, Visit};
    use tracing::span;

    use super::*;
    use crate::testing::{Rig, entry, user};
    use crate::types::{Gfid, Loc, Xdata};

    /// Collects events as text.
    #[derive(Clone, Default)]
    struct Collector(Arc<Mutex<Vec<String>>>);

    impl tracing::Subscriber for Collector {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            metadata.target() == "kiln::trace"
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            struct Text(String);

            impl Visit for Text {
                fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                    let _ = write!(self.0, " {}={value:?}", field.name());
                }
            }

            let mut text = Text(event.metadata().level().to_string());
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    async fn use_it(rig: &Rig) {
        let call = rig.call(Fop::Lookup, user(5));
        let req = request::Lookup { loc: entry(Gfid::ROOT, "missing"), xdata: Xdata::NONE };
        assert_eq!(rig.top().lookup(&call, req).await.unwrap_err().errno, Errno::NOENT);
        let req = request::Stat { loc: Loc::object(Gfid::ROOT), xdata: Xdata::NONE };
        rig.top().stat(&call, req).await.unwrap();
    }

    fn traced(options: &[(&str, &str)]) -> (Vec<String>, Json) {
        let collector = Collector::default();
        let dump = tracing::subscriber::with_default(collector.clone(), || {
            Sim::new(1).run(async |core| {
                let rig = Rig::new(&core, &[(TYPE.name, options)]);
                use_it(&rig).await;
                rig.graph.layers()[1].statedump()
            })
        });
        (std::mem::take(&mut *collector.0.lock().unwrap()), dump)
    }

    #[test]
    fn the_log_has_requests_and_answers() {
        let (lines, dump) = traced(&[("log-file", "yes")]);
        assert_eq!(lines.len(), 4, "{lines:?}");
        for (line, parts) in lines.iter().zip([
            &["INFO", "lookup", "missing", "unique=7", "uid=5", "debug/trace"][..],
            &["INFO", "lookup: ENOENT", "unique=7", "microseconds="],
            &["stat"],
            &["stat: ", "Directory 0755"],
        ]) {
            assert!(parts.iter().all(|part| line.contains(part)), "{line} lacks one of {parts:?}");
        }
        assert_eq!(dump, Json::Null);
    }

    #[test]
    fn lists_choose_and_levels_are_obeyed() {
        let options: &[(&str, &str)] = &[
            ("log-file", "on"),
            ("include-ops", "LOOKUP,STAT"),
            ("exclude", "stat"),
            ("force-log-level", "WARNING"),
        ];
        let (lines, _) = traced(options);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines.iter().all(|line| line.starts_with("WARN") && line.contains("lookup")), "{lines:?}");
        assert!(traced(&[]).0.is_empty());
    }

    #[test]
    fn the_history_keeps_the_last_lines() {
        let (lines, dump) = traced(&[("log-history", "on"), ("history-size", "3")]);
        assert!(lines.is_empty());
        let history = dump["history"].as_array().unwrap();
        assert_eq!(history.len(), 3);
        assert!(history[0]["text"].as_str().unwrap().starts_with("lookup after"), "{history:?}");
        assert!(history[2]["text"].as_str().unwrap().starts_with("stat after"), "{history:?}");
        assert_eq!(history[0]["unique"], 7);
    }

    #[test]
    fn a_smaller_history_forgets_the_oldest() {
        Sim::new(1).run(async |core| {
            let rig = Rig::new(&core, &[(TYPE.name, &[("log-history", "on")])]);
            use_it(&rig).await;
            let length = || rig.graph.layers()[1].statedump()["history"].as_array().map(Vec::len);
            assert_eq!(length(), Some(4));
            rig.reconfigure(&[(TYPE.name, &[("log-history", "on"), ("history-size", "2")])]).unwrap();
            assert_eq!(length(), Some(2));
            assert!(rig.reconfigure(&[(TYPE.name, &[("include-ops", "nonsense")])]).is_err());
            let kept = rig.blueprint.layers()[1].options();
            assert_eq!(kept.text("history-size"), Some("2"), "the old options are not in force");
        });
    }
}
