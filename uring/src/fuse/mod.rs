//! The server's end of a FUSE connection, on the cores themselves.
//!
//! Two ways lead from the kernel to a core, and one connection can use both:
//!
//! - [`Device`]: `/dev/fuse`, read and written by plain system calls that never wait; the core's ring tells when there is
//!   something to read ([`Core::fuse_readable`](crate::Core::fuse_readable)). Every kernel has it.
//! - [`Slot`]: an entry of the kernel's per-CPU queues (FUSE over io_uring, Linux 6.14, where the administrator has set
//!   `/sys/module/fuse/parameters/enable_uring`). One submission answers a request and waits for the next, on the CPU
//!   where the caller runs.
//!
//! What the bytes mean is the front door's business. The layout of a slot and the commands follow
//! `include/uapi/linux/fuse.h` of Linux 6.14.

mod device;
mod slot;

pub use device::Device;
pub use slot::{HEADER_LEN, Slot, queues};
