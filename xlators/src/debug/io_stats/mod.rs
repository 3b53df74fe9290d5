//! `debug/io-stats`: counts and times the fops that pass.
//!
//! Each core counts for itself, without locks: hits and errors of every fop, a histogram of its latencies, bytes moved and
//! the sizes of the requests that moved them, calls in flight, and lists of the most used and the fastest objects. A report
//! merges the cores; its cumulative part counts from the start, its interval part from the last
//! [`Control::close_interval`], which is how `gluster volume profile` reads them. What is used most at present, for `kiln top`, is
//! estimated from a sample ([`hot`]).
//!
//! With `count-fop-hits` and `latency-measurement` off (GlusterFS's default) only bytes, request sizes and open files are
//! counted, and all other fops go straight on.

mod control;
mod fd_stats;
mod hot;
mod report;
#[cfg(test)]
mod tests;
mod top;
mod window;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use kiln_uring::{Core, Errno, Instant};

pub use self::control::Control;
use self::fd_stats::FdStats;
use self::hot::{Deed, Gate, Hot};
use self::report::{Snapshot, TopList, Tops};
use self::window::Window;
use crate::call::Call;
use crate::fd::FdRef;
use crate::fop::{Fop, FopSet, reply, request};
use crate::graph::{LayerId, Next};
use crate::options::{OptionKind, OptionSpec, Options};
use crate::translator::{
    Children, Fops, InstanceContext, PrepareContext, Shared, Translator, TranslatorType, Wound,
};
use crate::types::{Gfid, IaType, Iatt};

/// `debug/io-stats`.
pub static TYPE: TranslatorType = TranslatorType {
    name: "debug/io-stats",
    about: "Counts and times fops",
    children: Children::One,
    options: OPTIONS,
    prepare,
    instance,
    renew: TranslatorType::nothing_to_renew,
    merge_stats: report::merge,
};

const LEVELS: OptionKind =
    OptionKind::Enum(&["DEBUG", "WARNING", "ERROR", "INFO", "CRITICAL", "NONE", "TRACE"]);
const LOGGING: &str = "the command line decides how the process logs";
const DUMPS: &str = "statistics are read with `kiln stats`, which needs no dump files";
const SAMPLES: &str = "samples are counted at once, none is kept";
const THREADS: &str = "fops run on the cores, not on a pool of threads";

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("count-fop-hits", OptionKind::Bool, "off", "Whether fops and their errors are counted."),
    OptionSpec::new(
        "latency-measurement",
        OptionKind::Bool,
        "off",
        "Whether the latencies of fops are measured.",
    ),
    OptionSpec::new(
        "dump-fd-stats",
        OptionKind::Bool,
        "off",
        "Whether a closed descriptor's traffic is logged.",
    ),
    OptionSpec::new("unique-id", OptionKind::Str, "/no/such/path", "Names the brick in reports."),
    OptionSpec::new("volume-id", OptionKind::Str, "", "Names the volume in reports."),
    OptionSpec::new("ios-dump-interval", OptionKind::Int(0, 3600), "0", "Seconds between dumps.")
        .ignored(DUMPS),
    OptionSpec::new(
        "ios-dump-format",
        OptionKind::Enum(&["text", "json", "dict", "samples"]),
        "json",
        "Format of the dumps.",
    )
    .ignored(DUMPS),
    OptionSpec::new(
        "ios-sample-interval",
        OptionKind::Int(0, 65_535),
        "0",
        "One of how many fops is looked at for the hottest files; 0 is as many as cost next to nothing.",
    ),
    OptionSpec::new(
        "ios-sample-buf-size",
        OptionKind::Int(1024, 1_048_576),
        "65535",
        "Samples that are kept.",
    )
    .ignored(SAMPLES),
    OptionSpec::new(
        "ios-dnscache-ttl-sec",
        OptionKind::Int(1, 259_200),
        "86400",
        "Age of cached host names in samples.",
    )
    .ignored(SAMPLES),
    OptionSpec::new("log-level", LEVELS, "INFO", "What is logged.").ignored(LOGGING),
    OptionSpec::new("sys-log-level", LEVELS, "CRITICAL", "What goes to syslog.").ignored(LOGGING),
    OptionSpec::new("logger", OptionKind::Enum(&["gluster-log", "syslog"]), "gluster-log", "Where logs go.")
        .ignored(LOGGING),
    OptionSpec::new(
        "log-format",
        OptionKind::Enum(&["no-msg-id", "with-msg-id"]),
        "with-msg-id",
        "Form of log lines.",
    )
    .ignored(LOGGING),
    OptionSpec::new("log-buf-size", OptionKind::Int(0, 20), "5", "Repeated messages that are held back.")
        .ignored(LOGGING),
    OptionSpec::new("log-flush-timeout", OptionKind::Time(30, 300), "120", "How long they are held back.")
        .ignored(LOGGING),
    OptionSpec::new("client-*", OptionKind::Str, "", "For clients.").no_default().ignored("this is a brick"),
    OptionSpec::new("brick-*", OptionKind::Str, "", "GlusterFS's command line checks its input with these.")
        .no_default()
        .ignored("the option without `brick-` counts"),
    OptionSpec::new("global-threading", OptionKind::Bool, "off", "One pool of threads for all.")
        .ignored(THREADS),
    OptionSpec::new("threads", OptionKind::Int(0, i64::MAX), "16", "Size of that pool.").ignored(THREADS),
];

/// The fops that are looked at even when nothing is counted: for bytes, request sizes and open files.
const ALWAYS: FopSet = FopSet::EMPTY.with(Fop::Readv).with(Fop::Writev).with(Fop::Open).with(Fop::Create);

fn prepare(context: &PrepareContext<'_>) -> Result<Shared, String> {
    Ok(Arc::new(Control::new(context.sys)))
}

#[derive(Clone)]
struct Settings {
    hits: bool,
    latency: bool,
    descriptors: bool,
    sample: u32,
    unique_id: String,
    volume_id: String,
}

impl Settings {
    fn new(options: &Options) -> Self {
        let text = |key| options.text(key).unwrap_or_default().to_owned();
        Self {
            hits: options.bool("count-fop-hits"),
            latency: options.bool("latency-measurement"),
            descriptors: options.bool("dump-fd-stats"),
            sample: u32::try_from(options.int("ios-sample-interval")).unwrap_or(0),
            unique_id: text("unique-id"),
            volume_id: text("volume-id"),
        }
    }
}

/// What a core has counted.
#[derive(Default)]
struct Counters {
    /// The epoch, the interval and the clearings of the [`Control`] that it is up to date with.
    epoch: u64,
    interval: u64,
    clears: u64,
    top_clears: u64,
    past: Window,
    last: Window,
    current: Window,
    tops: Tops,
}

/// The layer on one core.
pub struct IoStats {
    next: Next,
    core: Core,
    layer: LayerId,
    control: Arc<Control>,
    settings: RefCell<Settings>,
    hits: Cell<bool>,
    latency: Cell<bool>,
    descriptors: Cell<bool>,
    counters: RefCell<Counters>,
    gate: Gate,
    hot: RefCell<Hot>,
    in_flight: [Cell<u32>; Fop::COUNT],
}

fn instance(mut context: InstanceContext<'_>) -> Result<Rc<dyn Translator>, String> {
    let control = context.shared::<Control>()?;
    let periods = control.periods();
    let counters = Counters {
        epoch: control.epoch(),
        interval: periods.interval,
        clears: periods.clears,
        top_clears: periods.top_clears,
        ..Counters::default()
    };
    let now = context.core.now();
    let layer = IoStats {
        core: context.core.clone(),
        layer: context.layer,
        control,
        settings: RefCell::new(Settings::new(context.options)),
        hits: Cell::default(),
        latency: Cell::default(),
        descriptors: Cell::default(),
        counters: RefCell::new(counters),
        gate: Gate::new(now, context.core.random_u64()),
        hot: RefCell::new(Hot::new(now)),
        in_flight: std::array::from_fn(|_| Cell::default()),
        next: context.below(),
    };
    layer.reconfigure(context.options)?;
    Ok(Rc::new(layer))
}

/// A fop that was chosen to stand for many.
#[derive(Clone, Copy)]
struct Sample {
    now: Instant,
    /// For how many.
    weight: u32,
}

impl Sample {
    #[cold]
    fn file(self, stats: &IoStats, gfid: Gfid, deed: Deed, bytes: u64) {
        stats.hot.borrow_mut().files.count(self.now, gfid, deed, self.weight, bytes);
    }

    #[cold]
    fn directory(self, stats: &IoStats, gfid: Gfid, deed: Deed) {
        stats.hot.borrow_mut().directories.count(self.now, gfid, deed, self.weight, 0);
    }

    /// For what shows only in the reply what it is.
    #[cold]
    fn found(self, stats: &IoStats, iatt: &Iatt, deed: Deed) {
        if iatt.kind == IaType::Directory {
            self.directory(stats, iatt.gfid, deed);
        } else {
            self.file(stats, iatt.gfid, deed, 0);
        }
    }
}

/// What a successful fop did, as far as it is counted.
enum Effect {
    Other,
    Opened(Gfid),
    OpenedDirectory(Gfid),
    Listed(Gfid),
    Read(Gfid, usize),
    Wrote(Gfid, usize),
}

/// A fop under way. Dropped unfinished (its client is gone) it counts as nothing.
struct Running<'a> {
    stats: &'a IoStats,
    fop: Fop,
    started: Option<Instant>,
}

impl<'a> Running<'a> {
    fn begin(stats: &'a IoStats, fop: Fop) -> Self {
        let gauge = &stats.in_flight[fop as usize];
        gauge.set(gauge.get() + 1);
        Self { stats, fop, started: stats.latency.get().then(|| stats.core.now()) }
    }

    fn finish(self, outcome: Result<Effect, Errno>, fd: Option<&FdRef>) {
        let nanos = self
            .started
            .map(|started| u64::try_from((self.stats.core.now() - started).as_nanos()).unwrap_or(u64::MAX));
        self.stats.count(self.fop, nanos, outcome, fd);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let gauge = &self.stats.in_flight[self.fop as usize];
        gauge.set(gauge.get() - 1);
    }
}

impl IoStats {
    /// Whether this fop is looked at.
    fn watches(&self, fop: Fop) -> bool {
        ALWAYS.contains(fop) || self.hits.get() || self.latency.get()
    }

    /// The sample that this fop is, if it is one.
    #[inline]
    fn sample(&self) -> Option<Sample> {
        if self.gate.opens() { self.draw() } else { None }
    }

    #[cold]
    fn draw(&self) -> Option<Sample> {
        let now = self.core.now();
        let weight = self.gate.weight(now);
        self.hits.get().then_some(Sample { now, weight })
    }

    fn count(&self, fop: Fop, nanos: Option<u64>, outcome: Result<Effect, Errno>, fd: Option<&FdRef>) {
        let mut counters = self.counters.borrow_mut();
        let counters = &mut *counters;
        counters.catch_up(&self.control);
        let window = &mut counters.current;
        let hits = self.hits.get();
        if hits {
            window.fop(fop).hits += 1;
        }
        if let Some(nanos) = nanos {
            window.fop(fop).took(nanos);
        }
        let effect = match outcome {
            Ok(effect) => effect,
            Err(errno) => {
                if hits {
                    window.fop(fop).fail(errno, 1);
                }
                return;
            }
        };
        let (list, gfid) = match effect {
            Effect::Other => return,
            Effect::OpenedDirectory(gfid) => (TopList::Opendir, gfid),
            Effect::Listed(gfid) => (TopList::Readdir, gfid),
            Effect::Opened(gfid) => {
                self.control.opened();
                if let Some(fd) = fd {
                    FdStats::begin(fd, self.layer, self.core.now());
                }
                (TopList::Open, gfid)
            }
            Effect::Read(gfid, bytes) => {
                window.read.add(bytes);
                if let Some(nanos) = nanos {
                    counters.tops.fastest_read.record(gfid, rate(bytes, nanos), || self.core.realtime());
                }
                if let Some(fd) = fd {
                    FdStats::read(fd, self.layer, bytes);
                }
                (TopList::Read, gfid)
            }
            Effect::Wrote(gfid, bytes) => {
                window.written.add(bytes);
                if let Some(nanos) = nanos {
                    counters.tops.fastest_write.record(gfid, rate(bytes, nanos), || self.core.realtime());
                }
                if let Some(fd) = fd {
                    FdStats::wrote(fd, self.layer, bytes);
                }
                (TopList::Write, gfid)
            }
        };
        if hits && !gfid.is_null() {
            counters.tops.list(list).count(gfid);
        }
    }

    /// The counters, brought up to date.
    fn caught_up(&self) -> std::cell::RefMut<'_, Counters> {
        let mut counters = self.counters.borrow_mut();
        counters.catch_up(&self.control);
        counters
    }
}

/// Bytes per microsecond.
fn rate(bytes: usize, nanos: u64) -> f64 {
    bytes as f64 * 1000.0 / nanos.max(1) as f64
}

impl Counters {
    /// Takes over what has changed since the last time: an interval that ended, or a clearing.
    #[inline]
    fn catch_up(&mut self, control: &Control) {
        let epoch = control.epoch();
        if epoch != self.epoch {
            self.change(epoch, control);
        }
    }

    #[cold]
    fn change(&mut self, epoch: u64, control: &Control) {
        let periods = control.periods();
        if periods.top_clears != self.top_clears {
            self.tops = Tops::default();
        }
        if periods.clears != self.clears {
            (self.past, self.last, self.current) = (Window::default(), Window::default(), Window::default());
        } else if periods.interval != self.interval {
            let ended = std::mem::take(&mut self.current);
            self.past.absorb(&ended);
            // A core that was idle for a whole interval has nothing from the last one.
            self.last = if periods.interval == self.interval + 1 { ended } else { Window::default() };
        }
        let (interval, clears, top_clears) = (periods.interval, periods.clears, periods.top_clears);
        (self.epoch, self.interval, self.clears, self.top_clears) = (epoch, interval, clears, top_clears);
    }
}

/// The descriptor of a fop whose traffic is counted by descriptor.
macro_rules! descriptor {
    (Open $req:ident) => {
        Some(&$req.fd)
    };
    (Create $req:ident) => {
        Some(&$req.fd)
    };
    (Readv $req:ident) => {
        Some(&$req.fd)
    };
    (Writev $req:ident) => {
        Some(&$req.fd)
    };
    ($other:ident $req:ident) => {
        None::<&FdRef>
    };
}

/// The object of a fop that is listed by object, as far as the request tells it.
macro_rules! object {
    (Open $req:ident) => {
        $req.fd.gfid()
    };
    (Opendir $req:ident) => {
        $req.fd.gfid()
    };
    (Readdir $req:ident) => {
        $req.fd.gfid()
    };
    (Readdirp $req:ident) => {
        $req.fd.gfid()
    };
    (Readv $req:ident) => {
        $req.fd.gfid()
    };
    (Writev $req:ident) => {
        $req.fd.gfid()
    };
    ($other:ident $req:ident) => {
        Gfid::NULL
    };
}

/// What the fop did.
macro_rules! effect {
    (Open $object:ident $reply:ident) => {
        Effect::Opened($object)
    };
    (Create $object:ident $reply:ident) => {
        Effect::Opened($reply.iatt.gfid)
    };
    (Opendir $object:ident $reply:ident) => {
        Effect::OpenedDirectory($object)
    };
    (Readdir $object:ident $reply:ident) => {
        Effect::Listed($object)
    };
    (Readdirp $object:ident $reply:ident) => {
        Effect::Listed($object)
    };
    (Readv $object:ident $reply:ident) => {
        Effect::Read($object, $reply.data.len())
    };
    (Writev $object:ident $reply:ident) => {
        Effect::Wrote($object, $reply.count)
    };
    ($other:ident $object:ident $reply:ident) => {
        Effect::Other
    };
}

/// What the request of a sampled fop tells of hot objects.
macro_rules! asked {
    (Readv $sample:ident $stats:ident $req:ident) => {
        $sample.file($stats, $req.fd.gfid(), Deed::Read, u64::from($req.size))
    };
    (Writev $sample:ident $stats:ident $req:ident) => {
        $sample.file($stats, $req.fd.gfid(), Deed::Write, $req.data.len() as u64)
    };
    (Open $sample:ident $stats:ident $req:ident) => {
        $sample.file($stats, $req.fd.gfid(), Deed::Open, 0)
    };
    (Opendir $sample:ident $stats:ident $req:ident) => {
        $sample.directory($stats, $req.fd.gfid(), Deed::List)
    };
    (Readdir $sample:ident $stats:ident $req:ident) => {
        $sample.directory($stats, $req.fd.gfid(), Deed::List)
    };
    (Readdirp $sample:ident $stats:ident $req:ident) => {
        $sample.directory($stats, $req.fd.gfid(), Deed::List)
    };
    (Lookup $sample:ident $stats:ident $req:ident) => {
        $sample.directory($stats, $req.loc.parent, Deed::Look)
    };
    (Rename $sample:ident $stats:ident $req:ident) => {{
        $sample.directory($stats, $req.old.parent, Deed::Change);
        if $req.old.parent != $req.new.parent {
            $sample.directory($stats, $req.new.parent, Deed::Change);
        }
    }};
    (Link $sample:ident $stats:ident $req:ident) => {
        $sample.directory($stats, $req.new.parent, Deed::Change)
    };
    (Create $sample:ident $stats:ident $req:ident) => { asked!(change $sample $stats $req) };
    (Mknod $sample:ident $stats:ident $req:ident) => { asked!(change $sample $stats $req) };
    (Mkdir $sample:ident $stats:ident $req:ident) => { asked!(change $sample $stats $req) };
    (Symlink $sample:ident $stats:ident $req:ident) => { asked!(change $sample $stats $req) };
    (Unlink $sample:ident $stats:ident $req:ident) => { asked!(change $sample $stats $req) };
    (Rmdir $sample:ident $stats:ident $req:ident) => { asked!(change $sample $stats $req) };
    (Put $sample:ident $stats:ident $req:ident) => { asked!(change $sample $stats $req) };
    (change $sample:ident $stats:ident $req:ident) => {
        $sample.directory($stats, $req.loc.parent, Deed::Change)
    };
    ($other:ident $sample:ident $stats:ident $req:ident) => {};
}

/// What its reply tells.
macro_rules! told {
    (Lookup $sample:ident $stats:ident $reply:ident) => {
        $sample.found($stats, &$reply.iatt, Deed::Look)
    };
    (Stat $sample:ident $stats:ident $reply:ident) => {
        $sample.found($stats, &$reply.iatt, Deed::Look)
    };
    (Fstat $sample:ident $stats:ident $reply:ident) => {
        $sample.found($stats, &$reply.iatt, Deed::Look)
    };
    (Create $sample:ident $stats:ident $reply:ident) => {
        $sample.found($stats, &$reply.iatt, Deed::Open)
    };
    ($other:ident $sample:ident $stats:ident $reply:ident) => {};
}

macro_rules! methods {
    ($(#[doc = $doc:literal] $variant:ident $method:ident $number:literal $access:ident $subject:ident
        ($($arg:ident : $type:ty),*) -> $reply:ident;)*) => {
        impl Fops for IoStats {
            fn next(&self) -> &Next {
                &self.next
            }

            fn intercepts(&self) -> FopSet {
                FopSet::ALL
            }

            $(
                #[allow(unused_variables, reason = "most fops have no object and no effect that counts")]
                fn $method<'a>(&'a self, call: &'a Call, req: request::$variant) -> Wound<'a, reply::$reply> {
                    if !self.watches(Fop::$variant) {
                        return self.next.$method(call, req);
                    }
                    Wound::new(call, async move {
                        let object = object!($variant req);
                        let sample = self.sample();
                        if let Some(sample) = sample {
                            asked!($variant sample self req);
                        }
                        let fd = descriptor!($variant req).filter(|_| self.descriptors.get()).cloned();
                        let running = Running::begin(self, Fop::$variant);
                        let answer = self.next.$method(call, req).await;
                        if let (Some(sample), Ok(reply)) = (sample, &answer) {
                            told!($variant sample self reply);
                        }
                        let outcome = match &answer {
                            Ok(reply) => Ok(effect!($variant object reply)),
                            Err(error) => Err(error.errno),
                        };
                        running.finish(outcome, fd.as_ref());
                        answer
                    })
                }
            )*
        }
    };
}

crate::for_each_fop!(methods);

impl Translator for IoStats {
    fn reconfigure(&self, options: &Options) -> Result<(), String> {
        let settings = Settings::new(options);
        self.hits.set(settings.hits);
        self.latency.set(settings.latency);
        self.descriptors.set(settings.descriptors);
        self.gate.fix(settings.sample);
        *self.settings.borrow_mut() = settings;
        Ok(())
    }

    fn release(&self, fd: &FdRef) {
        let mut counters = self.caught_up();
        if fd.is_directory() {
            counters.current.releasedirs += u64::from(self.hits.get());
            return;
        }
        counters.current.releases += u64::from(self.hits.get());
        if !fd.is_anonymous() {
            self.control.closed();
        }
        FdStats::log(fd, self.layer, self.core.now());
    }

    fn forget(&self, _: Gfid) {
        if self.hits.get() {
            self.caught_up().current.forgets += 1;
        }
    }

    fn stats(&self) -> Option<Box<dyn Any + Send>> {
        let counters = self.caught_up();
        let settings = self.settings.borrow();
        Some(Box::new(Snapshot {
            control: Arc::clone(&self.control),
            unique_id: settings.unique_id.clone(),
            volume_id: settings.volume_id.clone(),
            latency_measurement: settings.latency,
            count_fop_hits: settings.hits,
            in_flight: self.in_flight.iter().map(Cell::get).collect(),
            past: counters.past.clone(),
            last: counters.last.clone(),
            current: counters.current.clone(),
            tops: counters.tops.clone(),
            hot: self.hot.borrow().clone(),
            sampled: self.gate.every(),
        }))
    }
}
