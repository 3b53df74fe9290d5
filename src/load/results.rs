//! What came out, as JSON says it. The form is part of the interface: scripts read it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use hdrhistogram::Histogram;
use kiln_uring::Errno;
use serde::Serialize;

use super::config::{Plan, TargetInfo};
use super::crew::Seen;
use super::kinds::Kind;
use super::machine::Machine;
use super::process::Memory;
use super::recorder::{Interval, Tally};
use super::workloads::Checked;

/// Version of the form.
const VERSION: u32 = 1;

/// Everything about a load.
#[derive(Debug, Serialize)]
pub struct Results {
    /// Version of the form.
    pub kiln_load: u32,
    /// Of Kiln.
    pub version: &'static str,
    /// When it ended.
    pub date: String,
    /// Where it ran.
    pub machine: Machine,
    /// On what.
    pub target: TargetInfo,
    /// What was done.
    pub workload: WorkloadInfo,
    /// Before it counted.
    pub warmup_seconds: f64,
    /// While it counted.
    pub seconds: f64,
    /// By kind.
    pub operations: Vec<Operation>,
    /// All whole operations.
    pub total: Total,
    /// What was checked, if that was asked for.
    pub verify: Option<Verify>,
    /// The process that served, if it is known.
    pub brick: Option<BrickUse>,
    /// The load itself.
    #[serde(rename = "self")]
    pub own: OwnUse,
    /// The times, for HDR logs.
    #[serde(skip)]
    pub intervals: Vec<Interval>,
    /// When it began to count.
    #[serde(skip)]
    pub began: SystemTime,
}

/// What was done.
#[derive(Debug, Serialize)]
pub struct WorkloadInfo {
    name: String,
    block: usize,
    depth: usize,
    connections: usize,
    threads: usize,
    files: u64,
    file_size: u64,
    entries: u64,
    distribution: String,
    #[serde(rename = "loop")]
    pace: &'static str,
    rate: Option<f64>,
    seed: u64,
    verify: bool,
    direct: bool,
}

impl From<&Plan> for WorkloadInfo {
    fn from(plan: &Plan) -> Self {
        Self {
            name: plan.workload.name(),
            block: plan.block,
            depth: plan.depth,
            connections: plan.connections,
            threads: plan.threads,
            files: plan.files,
            file_size: plan.file_size,
            entries: plan.entries,
            distribution: plan.distribution.to_string(),
            pace: if plan.rate.is_some() { "open" } else { "closed" },
            rate: plan.rate,
            seed: plan.seed,
            verify: plan.verify,
            direct: plan.direct,
        }
    }
}

/// Operations of one kind.
#[derive(Debug, Serialize)]
pub struct Operation {
    /// Of which.
    pub name: &'static str,
    /// Whether it is an operation of the workload, and not part of one.
    #[serde(skip)]
    pub whole: bool,
    /// Went well.
    pub count: u64,
    /// Failed.
    pub errors: u64,
    /// By errno.
    pub error_counts: BTreeMap<String, u64>,
    /// Moved.
    pub bytes: u64,
    /// Per second.
    pub rate: f64,
    /// Of those that went well.
    pub latency_ns: Latency,
}

/// Nanoseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Latency {
    /// Shortest.
    pub min: u64,
    /// On average.
    pub mean: f64,
    /// Half of all took no longer.
    pub p50: u64,
    /// 90 % of all took no longer.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p99_9: u64,
    /// 99.99 %.
    pub p99_99: u64,
    /// Longest.
    pub max: u64,
}

impl From<&Histogram<u64>> for Latency {
    fn from(times: &Histogram<u64>) -> Self {
        if times.is_empty() {
            return Self::default();
        }
        let at = |quantile| times.value_at_quantile(quantile);
        Self {
            min: times.min(),
            mean: times.mean(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: times.max(),
        }
    }
}

/// All whole operations.
#[derive(Debug, Default, Serialize)]
pub struct Total {
    /// Went well.
    pub count: u64,
    /// Failed.
    pub errors: u64,
    /// Moved.
    pub bytes: u64,
    /// Per second.
    pub rate: f64,
    /// Per second.
    pub bytes_per_second: f64,
    /// Names that were listed.
    pub entries: u64,
    /// Due in an open loop, but nobody was free to begin them before the end.
    pub not_begun: u64,
}

/// What was checked.
#[derive(Debug, Serialize)]
pub struct Verify {
    /// Blocks.
    pub blocks: u64,
    /// Those that were not what was written.
    pub wrong: u64,
    /// What is wrong with the first.
    pub first_wrong: Option<String>,
}

impl From<Checked> for Verify {
    fn from(checked: Checked) -> Self {
        Self { blocks: checked.blocks, wrong: checked.wrong, first_wrong: checked.first_wrong }
    }
}

/// What the process used that served.
#[derive(Debug, Serialize)]
pub struct BrickUse {
    /// Which.
    pub pid: u32,
    /// While it counted.
    pub cpu_seconds: f64,
    /// Of those.
    pub cpu_ns_per_op: f64,
    /// In the end.
    pub rss_bytes: u64,
    /// When it began to count.
    pub rss_start_bytes: u64,
    /// Most ever.
    pub rss_peak_bytes: u64,
}

/// What the load used.
#[derive(Debug, Serialize)]
pub struct OwnUse {
    /// While it counted.
    pub cpu_seconds: f64,
    /// Of those.
    pub cpu_ns_per_op: f64,
}

/// What the kernel said of processes at the beginning and at the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Use {
    /// The brick's process and its CPU time, in nanoseconds.
    pub brick: Option<(u32, u64)>,
    /// Its memory.
    pub memory: Memory,
    /// Our CPU time, in nanoseconds.
    pub own: u64,
}

/// The name of an errno: `ENOENT`.
fn errno_name(number: i32) -> String {
    let text = format!("{:?}", Errno::from_raw_os_error(number));
    let known = NAMES.iter().find(|(named, _)| *named == number);
    known.map_or(text, |(_, name)| (*name).to_owned())
}

/// Names of the errnos that bricks answer with.
const NAMES: &[(i32, &str)] = &[
    (1, "EPERM"),
    (2, "ENOENT"),
    (4, "EINTR"),
    (5, "EIO"),
    (9, "EBADF"),
    (11, "EAGAIN"),
    (12, "ENOMEM"),
    (13, "EACCES"),
    (16, "EBUSY"),
    (17, "EEXIST"),
    (20, "ENOTDIR"),
    (21, "EISDIR"),
    (22, "EINVAL"),
    (23, "ENFILE"),
    (24, "EMFILE"),
    (27, "EFBIG"),
    (28, "ENOSPC"),
    (30, "EROFS"),
    (31, "EMLINK"),
    (36, "ENAMETOOLONG"),
    (39, "ENOTEMPTY"),
    (61, "ENODATA"),
    (95, "EOPNOTSUPP"),
    (107, "ENOTCONN"),
    (110, "ETIMEDOUT"),
    (116, "ESTALE"),
    (122, "EDQUOT"),
];

/// Gathers what threads have seen.
#[derive(Debug, Default)]
pub struct Gathered {
    tallies: Vec<Option<Tally>>,
    intervals: Vec<Interval>,
    listed: u64,
    not_begun: u64,
}

impl Gathered {
    /// Adds what one thread has seen.
    pub fn add(&mut self, seen: Seen) {
        self.tallies.resize(Kind::COUNT, None);
        for (all, one) in self.tallies.iter_mut().zip(seen.tallies) {
            if let Some(one) = one {
                all.get_or_insert_default().add(&one);
            }
        }
        self.intervals.extend(seen.intervals);
        self.listed += seen.listed;
        self.not_begun += seen.not_begun;
    }

    /// The result.
    pub fn into_results(self, run: Run<'_>) -> Results {
        let Run { plan, machine, target, date, began, seconds, before, after, checked } = run;
        let per_second = |number: u64| if seconds > 0.0 { number as f64 / seconds } else { 0.0 };
        let operations: Vec<Operation> = Kind::ALL
            .iter()
            .zip(self.tallies)
            .filter_map(|(kind, tally)| Some((kind, tally?)))
            .map(|(kind, tally)| Operation {
                name: kind.name(),
                whole: kind.is_whole(),
                count: tally.count,
                errors: tally.errors,
                error_counts: tally
                    .by_errno
                    .iter()
                    .map(|(errno, count)| (errno_name(*errno), *count))
                    .collect(),
                bytes: tally.bytes,
                rate: per_second(tally.count),
                latency_ns: Latency::from(&tally.times),
            })
            .collect();
        let mut total = Total { entries: self.listed, not_begun: self.not_begun, ..Total::default() };
        for operation in operations.iter().filter(|operation| operation.whole) {
            total.count += operation.count;
            total.errors += operation.errors;
            total.bytes += operation.bytes;
        }
        total.rate = per_second(total.count);
        total.bytes_per_second = per_second(total.bytes);
        let per_op = |ns: u64| if total.count > 0 { ns as f64 / total.count as f64 } else { 0.0 };
        let brick = before.brick.zip(after.brick).map(|((pid, began), (_, ended))| {
            let used = ended.saturating_sub(began);
            BrickUse {
                pid,
                cpu_seconds: used as f64 / 1e9,
                cpu_ns_per_op: per_op(used),
                rss_bytes: after.memory.resident,
                rss_start_bytes: before.memory.resident,
                rss_peak_bytes: after.memory.peak,
            }
        });
        let own = after.own.saturating_sub(before.own);
        Results {
            kiln_load: VERSION,
            version: env!("CARGO_PKG_VERSION"),
            date,
            machine,
            target,
            workload: WorkloadInfo::from(plan),
            warmup_seconds: plan.warmup.as_secs_f64(),
            seconds,
            operations,
            brick,
            own: OwnUse { cpu_seconds: own as f64 / 1e9, cpu_ns_per_op: per_op(own) },
            verify: checked.map(Verify::from),
            total,
            intervals: self.intervals,
            began,
        }
    }
}

/// What is known of a load besides what threads have seen.
pub struct Run<'p> {
    /// What was done.
    pub plan: &'p Plan,
    /// Where.
    pub machine: Machine,
    /// On what.
    pub target: TargetInfo,
    /// When it ended.
    pub date: String,
    /// When it began to count.
    pub began: SystemTime,
    /// How long it counted.
    pub seconds: f64,
    /// When it began to count.
    pub before: Use,
    /// When it ended.
    pub after: Use,
    /// What was checked.
    pub checked: Option<Checked>,
}

impl Results {
    /// Why the exit status cannot be 0: operations that failed, or wrong contents.
    pub fn complaint(&self) -> Option<String> {
        let mut sentences = Vec::new();
        if let Some(verify) = self.verify.as_ref().filter(|verify| verify.wrong > 0) {
            let first = verify.first_wrong.as_deref().unwrap_or("unknown");
            sentences
                .push(format!("{} of {} blocks are wrong; the first: {first}", verify.wrong, verify.blocks));
        }
        if self.total.errors > 0 {
            let kinds = self.operations.iter().filter(|operation| operation.whole);
            let which: Vec<String> = kinds
                .flat_map(|operation| {
                    let name = operation.name;
                    operation
                        .error_counts
                        .iter()
                        .map(move |(errno, count)| format!("{count} × {name} {errno}"))
                })
                .collect();
            sentences.push(format!("{} operations failed: {}", self.total.errors, which.join(", ")));
        }
        (!sentences.is_empty()).then(|| sentences.join("; "))
    }
}
