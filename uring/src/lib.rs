//! Kiln's per-core reactor and the kernel behind it, real or simulated.
//!
//! An [`Engine`] runs one pinned thread per core. Each has its own io_uring, tasks, timers, buffers and helper threads, and
//! hands all of that out through one handle, [`Core`]; a [`Remote`] is a core's address for other threads. Nothing above
//! this crate makes a system call, reads a clock or draws a random number except through a `Core`, so the same code runs
//! under a [`sim::Sim`]: virtual time, an in-memory file system, and every interleaving and fault decided by one seed.
//!
//! | module | subject |
//! | --- | --- |
//! | `reactor` | the loop of a core |
//! | `patience` | whether a core that wakes takes its CPU at once |
//! | `step`, `task`, `local` | running one task; the slab of tasks and their wakers; which core is here |
//! | `op`, `driver` | operations under way and who performs them: ring or simulation |
//! | [`placement`] | the table: inline, ring or helper, and why |
//! | `data` | the awaitables for files |
//! | [`net`] | stream sockets |
//! | `buf` | aligned, registered, pooled memory |
//! | `mailbox`, `oneshot` | work and answers between cores and threads |
//! | [`fuse`] | the server's end of a FUSE connection |
//! | `engine` | start, pinning, shutdown |
//! | [`sys`] | the seam to the kernel |
//! | [`sim`] | the simulated machine |
//!
//! `unsafe` is confined to `buf`, `driver`, `fuse`, the waker in `task`, and `sys`.

mod buf;
mod data;
mod driver;
mod engine;
pub mod fuse;
mod handle;
mod helper;
pub mod host;
mod join;
mod local;
mod mailbox;
pub mod net;
mod oneshot;
mod op;
mod patience;
pub mod placement;
mod reactor;
mod settling;
pub mod sim;
mod step;
pub mod sys;
mod task;
mod time;
mod timer;
mod under_way;

pub use buf::{ALIGN, Buf};
pub use data::DataMode;
pub use driver::{SetupError, Step};
pub use engine::{CoreLost, Drained, Engine, EngineConfig};
pub use handle::{Core, Vitals};
pub use join::{Elapsed, JoinHandle};
pub use mailbox::{Closed, Remote};
pub use placement::{Class, Place, Warmth};
pub use sys::linux::Linux;
pub use sys::{
    AtFlags, DirEntry, Errno, File, How, NO_ID, OpenFlags, RawFd, ReadFlags, RenameFlags, Resolve, SeekFrom,
    SharedWords, Stat, StatFs, Sys, SysResult, TimeSet, Timespec, XattrFlags, XattrTarget,
};
pub use task::TaskId;
pub use time::Instant;
pub use under_way::UnderWay;
