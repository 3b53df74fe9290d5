//! The one table that says how an operation reaches the kernel, and why.
//!
//! Figures are CPU time per operation on the development machine (Linux 6.18, two virtual CPUs): good to 20 %, their
//! ratios to 10 %. "Punted" means that the ring hands the operation to a kernel worker thread; 5 µs when the worker shares
//! the core's CPU (0.9 µs in a batch of 32), about 40 µs when it has to wake another CPU.

/// Where an operation runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A plain system call on the core itself.
    Inline,
    /// A submission to the core's ring.
    Ring,
    /// A system call on a helper thread that shares the core's CPU.
    Helper,
}

/// What the caller knows of the object's presence in the kernel's caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Warmth {
    /// It was touched recently, or a `RESOLVE_CACHED` probe found it.
    Warm,
    /// It may have to be read from disk.
    Cold,
}

/// Kinds of operations, as far as the place where they run is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // `Row::name` and `Row::reason` of TABLE say it, in one place.
pub enum Class {
    MetadataRead,
    FdMetadata,
    Open,
    Close,
    EntryChange,
    AttrChange,
    LargeFree,
    ReadDir,
    BufferedRead,
    DirectRead,
    BufferedWrite,
    LargeWrite,
    DirectWrite,
    Sync,
    Scan,
    Background,
}

/// One row of [`TABLE`].
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The kind of operation.
    pub class: Class,
    /// What belongs to it, in the words of the system calls.
    pub name: &'static str,
    /// Where it runs when the object is known to be in memory.
    pub warm: Place,
    /// Where it runs when it may have to wait for the disk.
    pub cold: Place,
    /// Why, with the measurement.
    pub reason: &'static str,
}

/// Longest buffered write that runs inline, in bytes: a copy of 64 KiB takes 3–19 µs, and a longer one stalls the core.
pub const INLINE_WRITE_MAX: usize = 128 * 1024;

use Place::{Helper, Inline, Ring};

/// The table, in the order of [`Class`].
pub const TABLE: &[Row] = &[
    Row {
        class: Class::MetadataRead,
        name: "statx, getxattr, readlink, access by name",
        warm: Inline,
        cold: Helper,
        reason: "inline 0.7–2 µs; punted 2.4–7 µs on the same CPU and 42 µs on another, even from cache; a miss blocks for 0.3 ms, at the tail 12 ms",
    },
    Row {
        class: Class::FdMetadata,
        name: "fstat, fgetxattr, flistxattr, fstatfs of an open file",
        warm: Inline,
        cold: Inline,
        reason: "0.5–1.1 µs; the descriptor pins the inode, and small xattrs live in it",
    },
    Row {
        class: Class::Open,
        name: "openat2 without O_CREAT",
        warm: Inline,
        cold: Helper,
        reason: "1.5 µs inline and in a ring batch alike; the ring tries RESOLVE_CACHED and punts on a miss, which a helper does for the same price",
    },
    Row {
        class: Class::Close,
        name: "close of a file that keeps its name",
        warm: Inline,
        cold: Inline,
        reason: "0.8 µs, against 1.3 µs through the ring; the last close of an unlinked file is LargeFree",
    },
    Row {
        class: Class::EntryChange,
        name: "create, mknod, mkdir, symlink, link, rename, unlink, rmdir",
        warm: Inline,
        cold: Helper,
        reason: "10–26 µs inline; the ring always punts and adds 1–2 µs batched on the same CPU, 30–45 µs singly on another; a busy journal gives p99 0.3 ms",
    },
    Row {
        class: Class::AttrChange,
        name: "chmod, chown, utimens, setxattr, removexattr",
        warm: Inline,
        cold: Helper,
        reason: "2–4 µs inline; no opcode for most, and the ring punts setxattr at 7.7 µs batched",
    },
    Row {
        class: Class::LargeFree,
        name: "unlink, truncate, punch and fallocate of large files; last close of an unlinked file",
        warm: Helper,
        cold: Helper,
        reason: "work grows with the number of extents: 10 µs for 4 KiB, milliseconds for gigabytes",
    },
    Row {
        class: Class::ReadDir,
        name: "getdents64 of 8–16 KiB",
        warm: Inline,
        cold: Helper,
        reason: "0.1–0.3 ms per 1024 entries; no opcode",
    },
    Row {
        class: Class::BufferedRead,
        name: "preadv2(RWF_NOWAIT), then READ in the ring",
        warm: Inline,
        cold: Ring,
        reason: "0.8–1.1 µs for 4 KiB from the page cache, the cheapest call there is; a miss has already started the read, and the ring waits for it without a worker (5 µs at depth 32)",
    },
    Row {
        class: Class::DirectRead,
        name: "read with O_DIRECT",
        warm: Ring,
        cold: Ring,
        reason: "14 000 to 54 000–70 000 operations per second from depth 1 to 32, CPU 32 to 6 µs; registered buffers save 15 % at 4 KiB, 60 % at 1 MiB",
    },
    Row {
        class: Class::BufferedWrite,
        name: "pwrite up to 128 KiB",
        warm: Inline,
        cold: Inline,
        reason: "1.2–4.2 µs for 4 KiB; the ring always punts on ext4 (6.4 µs batched, 69 µs singly), and NOWAIT writes fail there",
    },
    Row {
        class: Class::LargeWrite,
        name: "pwrite beyond 128 KiB",
        warm: Ring,
        cold: Ring,
        reason: "the copy alone is 57 µs and more per MiB and would stall the core; a kernel worker on the same CPU makes it preemptible for 5 µs",
    },
    Row {
        class: Class::DirectWrite,
        name: "write with O_DIRECT",
        warm: Ring,
        cold: Ring,
        reason: "32 to 4.2–5.8 µs of CPU from depth 1 to 32; no punt on ext4",
    },
    Row {
        class: Class::Sync,
        name: "fsync, fdatasync",
        warm: Ring,
        cold: Ring,
        reason: "0.2–0.85 ms each, never inline; 32 in flight take 0.22 ms per file instead of 0.80 ms",
    },
    Row {
        class: Class::Scan,
        name: "lseek(SEEK_DATA/HOLE), copy_file_range, checksums of ranges, syncfs",
        warm: Helper,
        cold: Helper,
        reason: "no opcode, and no bound on the work",
    },
    Row {
        class: Class::Background,
        name: "health check, walks, clean-up",
        warm: Helper,
        cold: Helper,
        reason: "nobody waits for it, and it may meet a sick disk",
    },
];

/// Where an operation of this class runs.
#[must_use]
pub const fn place(class: Class, warmth: Warmth) -> Place {
    let row = &TABLE[class as usize];
    match warmth {
        Warmth::Warm => row.warm,
        Warmth::Cold => row.cold,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_classes() {
        assert_eq!(TABLE.len(), Class::Background as usize + 1);
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.class as usize, index, "{:?}", row.class);
            assert!(row.reason.len() > 20 && !row.name.is_empty());
        }
    }

    #[test]
    fn nothing_that_waits_for_the_disk_runs_inline() {
        for class in [Class::MetadataRead, Class::EntryChange, Class::Sync, Class::ReadDir, Class::LargeFree]
        {
            assert_ne!(place(class, Warmth::Cold), Inline, "{class:?}");
        }
        assert_eq!(place(Class::MetadataRead, Warmth::Warm), Inline);
        assert_eq!(place(Class::Sync, Warmth::Warm), Ring);
    }
}
