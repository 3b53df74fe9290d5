//! The FUSE protocol's bytes, and nothing of what they mean.
//!
//! The structs and numbers are those of the kernel's interface (`include/uapi/linux/fuse.h`, protocol 7.31 and later). `fuser`
//! has them too, but keeps its parser to itself, and its session reads `/dev/fuse` on threads of its own; see
//! [`super`](super) for why the cores do that here.

mod abi;
mod listing;
mod reply;
mod request;

pub(super) use abi::{Attr, FileLock, Kstatfs};
pub(super) use listing::{Listing, Space};
pub(super) use reply::{EntryOut, Reply};
pub(super) use request::{Header, Operation, SetattrIn, When};
