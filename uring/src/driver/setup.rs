//! Making a ring, and saying in words what is missing when it cannot be made.

use std::io;
use std::sync::Arc;

use io_uring::squeue::Entry128;
use io_uring::{Builder, Probe, opcode};

use super::Uring;
use crate::buf::Arena;

/// The oldest kernel whose features suffice.
pub(crate) const MINIMUM: &str = "5.19";

/// Most bytes that the kernel takes as one registered buffer.
const MOST_REGISTERED: usize = 1 << 30;

/// Opcodes that Kiln cannot do without, and the kernels that brought them.
const REQUIRED: &[(u8, &str, &str)] = &[
    (opcode::PollAdd::CODE, "IORING_OP_POLL_ADD", "5.1"),
    (opcode::Fsync::CODE, "IORING_OP_FSYNC", "5.1"),
    (opcode::ReadFixed::CODE, "IORING_OP_READ_FIXED", "5.1"),
    (opcode::WriteFixed::CODE, "IORING_OP_WRITE_FIXED", "5.1"),
    (opcode::SendMsg::CODE, "IORING_OP_SENDMSG", "5.3"),
    (opcode::Accept::CODE, "IORING_OP_ACCEPT", "5.5"),
    (opcode::Connect::CODE, "IORING_OP_CONNECT", "5.5"),
    (opcode::AsyncCancel::CODE, "IORING_OP_ASYNC_CANCEL", "5.5"),
    (opcode::Read::CODE, "IORING_OP_READ", "5.6"),
    (opcode::Write::CODE, "IORING_OP_WRITE", "5.6"),
    (opcode::Send::CODE, "IORING_OP_SEND", "5.6"),
    (opcode::Recv::CODE, "IORING_OP_RECV", "5.6"),
    (opcode::OpenAt2::CODE, "IORING_OP_OPENAT2", "5.6"),
];

/// Why an engine did not start. Each message says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The administrator switched io_uring off.
    #[error(
        "io_uring is switched off on this machine (sysctl kernel.io_uring_disabled is {value}); \
         switch it on with `sysctl -w kernel.io_uring_disabled=0`{}",
        if *.value == 1 { ", or run as root or in the group named by kernel.io_uring_group" } else { "" }
    )]
    Disabled {
        /// 1: for unprivileged processes; 2: for everybody.
        value: u32,
    },
    /// Something between this process and the kernel forbids the system call.
    #[error(
        "this process may not use io_uring: the kernel allows it (kernel.io_uring_disabled is 0), so a seccomp filter or a \
         security module forbids it; in a container allow io_uring_setup, io_uring_enter and io_uring_register in its \
         seccomp profile"
    )]
    Forbidden,
    /// No such system call.
    #[error(
        "this kernel ({release}) has no io_uring; Kiln needs Linux {MINIMUM} or newer, built with CONFIG_IO_URING \
         (and, in a sandbox, a runtime that passes io_uring on)"
    )]
    NoUring {
        /// The running kernel.
        release: String,
    },
    /// The kernel's io_uring lacks something.
    #[error(
        "io_uring of this kernel ({release}) lacks {missing}, which came with Linux {since}; install Linux {MINIMUM} or newer"
    )]
    TooOld {
        /// The feature or opcode.
        missing: &'static str,
        /// The version that brought it.
        since: &'static str,
        /// The running kernel.
        release: String,
    },
    /// The limit on locked memory.
    #[error(
        "out of locked memory: {step} needs {wanted} bytes, and the limit (RLIMIT_MEMLOCK) is {limit}; raise it \
         (`ulimit -l unlimited`, or LimitMEMLOCK=infinity in the systemd unit), run with CAP_IPC_LOCK, or make the \
         registered buffers smaller"
    )]
    LockedMemory {
        /// What was being done.
        step: Step,
        /// Bytes that it needs.
        wanted: usize,
        /// The limit in bytes, in words.
        limit: String,
    },
    /// No descriptors left.
    #[error(
        "too many open files for {step}: raise the limit (`ulimit -n`, or LimitNOFILE= in the systemd unit)"
    )]
    TooManyFiles {
        /// What was being done.
        step: Step,
    },
    /// A parameter outside what the kernel takes.
    #[error(
        "the kernel refused {step} as invalid: check the size of the ring and of the buffer pool (at most 1 GiB of buffers per core)"
    )]
    Refused {
        /// What was being done.
        step: Step,
    },
    /// A core could not be bound to its CPU.
    #[error(
        "core {core} cannot be pinned to CPU {cpu}: {source}; check the CPU set of the process (taskset, cgroup cpuset)"
    )]
    Pin {
        /// The core.
        core: usize,
        /// The CPU.
        cpu: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// No thread to be had.
    #[error(
        "cannot start a thread for core {core}: {source}; check the limit on processes (`ulimit -u`, TasksMax=)"
    )]
    Thread {
        /// The core.
        core: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// More cores than this library can number.
    #[error("too many cores in this process: lower the number of cores")]
    TooManyCores,
    /// The initial work of a core failed.
    #[error("{source}")]
    Init {
        /// The core.
        core: usize,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The initial work of a core ended without an answer.
    #[error("the start of core {core} panicked; the log has the message")]
    InitPanicked {
        /// The core.
        core: usize,
    },
    /// Anything else.
    #[error("{step} failed: {source}")]
    Other {
        /// What was being done.
        step: Step,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What was being done when set-up failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `io_uring_setup` and the mapping of its queues.
    Create,
    /// Asking for the opcodes.
    Probe,
    /// Registering the buffer pool.
    Buffers,
    /// The eventfd that wakes a core.
    Bell,
    /// Reading the set of CPUs.
    Cpus,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Create => "creating the ring",
            Self::Probe => "asking the ring for its opcodes",
            Self::Buffers => "registering the buffer pool with the ring",
            Self::Bell => "creating an eventfd",
            Self::Cpus => "reading the CPU set of the process",
        })
    }
}

/// What an error is judged by.
pub(crate) struct Facts {
    /// `kernel.io_uring_disabled`, where it exists (Linux 6.6).
    pub(crate) disabled: Option<u32>,
    pub(crate) release: String,
    /// `RLIMIT_MEMLOCK` in bytes; `None` is no limit.
    pub(crate) memlock: Option<u64>,
    /// Bytes that the step locks.
    pub(crate) wanted: usize,
}

impl Facts {
    pub(crate) fn gather(wanted: usize) -> Self {
        let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
        let uname = rustix::system::uname();
        Self {
            disabled: sysctl.and_then(|text| text.trim().parse().ok()),
            release: uname.release().to_string_lossy().into_owned(),
            memlock: rustix::process::getrlimit(rustix::process::Resource::Memlock).current,
            wanted,
        }
    }
}

/// The meaning of an error of `step`.
pub(crate) fn explain(step: Step, error: io::Error, facts: Facts) -> SetupError {
    match (error.raw_os_error(), step) {
        (Some(libc::EPERM | libc::EACCES), Step::Create | Step::Probe | Step::Buffers) => {
            match facts.disabled {
                Some(value @ 1..) => SetupError::Disabled { value },
                _ => SetupError::Forbidden,
            }
        }
        (Some(libc::ENOSYS), _) => SetupError::NoUring { release: facts.release },
        (Some(libc::EINVAL), Step::Probe) => {
            SetupError::TooOld { missing: "IORING_REGISTER_PROBE", since: "5.6", release: facts.release }
        }
        // Sizes are clamped by the kernel, so it is a flag that it does not know.
        (Some(libc::EINVAL), Step::Create) => {
            SetupError::TooOld { missing: "IORING_SETUP_SQE128", since: MINIMUM, release: facts.release }
        }
        (Some(libc::EINVAL | libc::EFAULT | libc::EOVERFLOW), Step::Create | Step::Buffers) => {
            SetupError::Refused { step }
        }
        (Some(libc::ENOMEM), Step::Create | Step::Buffers) => SetupError::LockedMemory {
            step,
            wanted: facts.wanted,
            limit: facts.memlock.map_or_else(|| "unlimited".to_owned(), |limit| format!("{limit} bytes")),
        },
        (Some(libc::EMFILE | libc::ENFILE), _) => SetupError::TooManyFiles { step },
        _ => SetupError::Other { step, source: error },
    }
}

/// What the kernel's answer at set-up must contain.
fn check_features(has: [bool; 3], release: &str) -> Result<(), SetupError> {
    const NEEDED: [(&str, &str); 3] = [
        ("IORING_FEAT_NODROP", "5.5"),
        ("IORING_FEAT_SUBMIT_STABLE", "5.5"),
        ("IORING_FEAT_EXT_ARG (a wait with a time limit)", "5.11"),
    ];
    match NEEDED.iter().zip(has).find(|(_, has)| !has) {
        None => Ok(()),
        Some((&(missing, since), _)) => {
            Err(SetupError::TooOld { missing, since, release: release.to_owned() })
        }
    }
}

fn check_opcodes(has: impl Fn(u8) -> bool, release: &str) -> Result<(), SetupError> {
    match REQUIRED.iter().find(|(code, _, _)| !has(*code)) {
        None => Ok(()),
        Some(&(_, missing, since)) => Err(SetupError::TooOld { missing, since, release: release.to_owned() }),
    }
}

/// The flags to try, best first: an older kernel refuses those that it does not know.
fn build(entries: u32) -> io::Result<Uring> {
    // Linux 6.1: completions are worked off only when this thread asks for them.
    let best = build_with(entries, |builder| {
        builder.setup_single_issuer().setup_defer_taskrun();
    });
    match best {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => build_with(entries, |_| {}),
        built => built,
    }
}

fn build_with(entries: u32, more: impl FnOnce(&mut Builder<Entry128>)) -> io::Result<Uring> {
    let mut builder = Uring::builder();
    builder.dontfork().setup_clamp().setup_cqsize(entries.saturating_mul(4));
    // Linux 5.19: no interrupt of this thread for a completion.
    builder.setup_coop_taskrun().setup_taskrun_flag().setup_submit_all();
    more(&mut builder);
    builder.build(entries)
}

/// Refuses a pool that the kernel would refuse too, but only after all of it was allocated and pinned.
pub(crate) const fn check_pool(bytes: usize) -> Result<(), SetupError> {
    if bytes > MOST_REGISTERED { Err(SetupError::Refused { step: Step::Buffers }) } else { Ok(()) }
}

/// Makes a ring for the calling thread, with at most `workers` kernel workers for files.
/// Also gives the opcodes that the kernel has, as bits.
pub(crate) fn create(entries: u32, workers: u32) -> Result<(Uring, u128), SetupError> {
    let explained = |step, wanted| move |error| explain(step, error, Facts::gather(wanted));
    let ring_bytes = entries as usize * (128 + 4 * 16);
    let ring = build(entries.max(1)).map_err(explained(Step::Create, ring_bytes))?;
    let release = Facts::gather(0).release;
    let params = ring.params();
    check_features(
        [params.is_feature_nodrop(), params.is_feature_submit_stable(), params.is_feature_ext_arg()],
        &release,
    )?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(explained(Step::Probe, 0))?;
    check_opcodes(|code| probe.is_supported(code), &release)?;
    let opcodes = (0..128_u8).filter(|&code| probe.is_supported(code)).fold(0, |all, code| all | 1 << code);
    // Linux 5.15; without it the kernel's own limit holds.
    let _ = ring.submitter().register_iowq_max_workers(&mut [workers, workers]);
    Ok((ring, opcodes))
}

/// Makes `arena` the ring's buffer 0, which locks all of its memory.
pub(crate) fn register(ring: &Uring, arena: &Arc<Arena>) -> Result<(), SetupError> {
    let whole = libc::iovec { iov_base: arena.base().as_ptr().cast(), iov_len: arena.size() };
    // SAFETY: the ring's owner keeps the arena at least as long as the ring, and every operation on it holds a Buf that
    // keeps it too.
    unsafe { ring.submitter().register_buffers(&[whole]) }
        .map_err(|error| explain(Step::Buffers, error, Facts::gather(arena.size())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(disabled: Option<u32>) -> Facts {
        Facts { disabled, release: "5.10.0-test".into(), memlock: Some(65536), wanted: 1 << 20 }
    }

    fn message(step: Step, errno: i32, disabled: Option<u32>) -> String {
        explain(step, io::Error::from_raw_os_error(errno), facts(disabled)).to_string()
    }

    #[test]
    fn each_errno_gets_a_message_that_says_what_to_do() {
        let table: &[(Step, i32, Option<u32>, &[&str])] = &[
            (
                Step::Create,
                libc::EPERM,
                Some(2),
                &["kernel.io_uring_disabled is 2", "sysctl -w kernel.io_uring_disabled=0"],
            ),
            (Step::Create, libc::EPERM, Some(1), &["kernel.io_uring_disabled is 1", "kernel.io_uring_group"]),
            (Step::Create, libc::EPERM, Some(0), &["seccomp"]),
            (Step::Create, libc::EPERM, None, &["seccomp"]),
            (Step::Create, libc::ENOSYS, None, &["5.10.0-test", "CONFIG_IO_URING", MINIMUM]),
            (Step::Create, libc::EINVAL, None, &["IORING_SETUP_SQE128", MINIMUM, "5.10.0-test"]),
            (Step::Probe, libc::EINVAL, None, &["IORING_REGISTER_PROBE", "5.6", "5.10.0-test"]),
            (
                Step::Buffers,
                libc::ENOMEM,
                None,
                &["RLIMIT_MEMLOCK", "ulimit -l", "65536 bytes", "1048576 bytes"],
            ),
            (Step::Create, libc::ENOMEM, None, &["creating the ring", "ulimit -l"]),
            (Step::Create, libc::EMFILE, None, &["ulimit -n"]),
            (Step::Bell, libc::EMFILE, None, &["eventfd", "ulimit -n"]),
            (Step::Buffers, libc::EINVAL, None, &["1 GiB"]),
            (Step::Create, libc::EIO, None, &["creating the ring failed", "os error 5"]),
        ];
        for (step, errno, disabled, wanted) in table {
            let text = message(*step, *errno, *disabled);
            for part in *wanted {
                assert!(text.contains(part), "{text:?} should contain {part:?}");
            }
        }
    }

    #[test]
    fn a_missing_feature_is_named_with_its_kernel() {
        let text = check_features([true, true, false], "5.10.7").unwrap_err().to_string();
        assert!(text.contains("EXT_ARG") && text.contains("5.11") && text.contains("5.10.7"), "{text}");
        assert!(check_features([true; 3], "6.1").is_ok());
        let lacks = opcode::OpenAt2::CODE;
        let text = check_opcodes(|code| code != lacks, "5.4.0").unwrap_err().to_string();
        assert!(
            text.contains("IORING_OP_OPENAT2") && text.contains("5.6") && text.contains("5.4.0"),
            "{text}"
        );
    }
}
