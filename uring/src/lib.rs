//! Kiln's per-core reactor and the kernel behind it, real or simulated.

mod buf;
mod data;
mod driver;
mod engine;
mod handle;
mod helper;
mod join;
mod local;
mod mailbox;
mod oneshot;
mod op;
pub mod placement;
mod reactor;
pub mod sim;
mod step;
pub mod sys;
mod task;
mod time;
mod timer;

pub use buf::{ALIGN, Buf};
pub use data::DataMode;
pub use driver::{SetupError, Step};
pub use engine::{CoreLost, Drained, Engine, EngineConfig};
pub use handle::Core;
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
