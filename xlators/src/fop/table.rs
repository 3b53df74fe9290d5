//! The one table of GlusterFS's file operations.
//!
//! Each row has the variant, the method's name, the number (`glusterfs_fop_t` of GlusterFS 10 and 11), what it does to the
//! volume, what it is about, its arguments and its reply. Everything that exists once per fop is made from it through
//! [`for_each_fop!`](crate::for_each_fop): the enum, the request structs, the translator trait, the linking of graphs,
//! statistics, generators of errors and delays.

/// Calls the macro `$callback` with the table. With more tokens after a comma, `$callback` gets them first, in brackets.
#[macro_export]
macro_rules! for_each_fop {
    ($($callback:ident)::+ $(, $($extra:tt)*)?) => {
        $($callback)::+! {
            $([$($extra)*])?
            /// Attributes of an object.
            Stat stat 1 Query Loc (loc: Loc) -> Attr;
            /// Target of a symbolic link, at most `size` bytes of it.
            Readlink readlink 2 Query Loc (loc: Loc, size: u32) -> Readlink;
            /// Makes a regular file, fifo, socket or device; `mode` has the type bits, `rdev` is `major << 32 | minor`.
            Mknod mknod 3 Change Loc (loc: Loc, mode: u32, rdev: u64, umask: u32) -> Made;
            /// Makes a directory.
            Mkdir mkdir 4 Change Loc (loc: Loc, mode: u32, umask: u32) -> Made;
            /// Removes a name of a non-directory.
            Unlink unlink 5 Change Loc (loc: Loc, flags: u32) -> Removed;
            /// Removes a directory; with flag bit 0 its contents too.
            Rmdir rmdir 6 Change Loc (loc: Loc, flags: u32) -> Removed;
            /// Makes a symbolic link.
            Symlink symlink 7 Change Loc (target: std::ffi::CString, loc: Loc, umask: u32) -> Made;
            /// Moves a name; `flags` are the kernel's `RENAME_*`.
            Rename rename 8 Change Loc (old: Loc, new: Loc, flags: u32) -> Renamed;
            /// Gives the object `old` one more name.
            Link link 9 Change Loc (old: Loc, new: Loc) -> Made;
            /// Sets the length of a file.
            Truncate truncate 10 Change Loc (loc: Loc, offset: u64) -> Changed;
            /// Opens a file; `flags` are `O_*`.
            Open open 11 Open Loc (loc: Loc, flags: u32, fd: FdRef) -> Done;
            /// Reads up to `size` bytes.
            Readv readv 12 Query Fd (fd: FdRef, size: u32, offset: u64, flags: u32) -> Read;
            /// Writes `data`.
            Writev writev 13 Change Fd (fd: FdRef, data: Buf, offset: u64, flags: u32) -> Written;
            /// Space and inodes of the volume.
            Statfs statfs 14 Query Loc (loc: Loc) -> Statfs;
            /// A descriptor is being closed by one of its holders: its locks go.
            Flush flush 15 Query Fd (fd: FdRef) -> Done;
            /// Data (and metadata, unless `data_only`) to stable storage.
            Fsync fsync 16 Query Fd (fd: FdRef, data_only: bool) -> Changed;
            /// Sets extended attributes.
            Setxattr setxattr 17 Change Loc (loc: Loc, dict: Dict, flags: u32) -> Done;
            /// One extended attribute, or all without a name.
            Getxattr getxattr 18 Query Loc (loc: Loc, name: Option<Key>) -> Xattrs;
            /// Removes an extended attribute.
            Removexattr removexattr 19 Change Loc (loc: Loc, name: Key) -> Done;
            /// Opens a directory.
            Opendir opendir 20 Query Loc (loc: Loc, fd: FdRef) -> Done;
            /// Entries of a directory to stable storage.
            Fsyncdir fsyncdir 21 Query Fd (fd: FdRef, data_only: bool) -> Done;
            /// Whether the caller may; `mask` is `R_OK | W_OK | X_OK`.
            Access access 22 Query Loc (loc: Loc, mask: u32) -> Done;
            /// Makes (or, without `O_EXCL`, opens) a regular file.
            Create create 23 Change Loc (loc: Loc, flags: u32, mode: u32, umask: u32, fd: FdRef) -> Made;
            /// Sets the length of an open file.
            Ftruncate ftruncate 24 Change Fd (fd: FdRef, offset: u64) -> Changed;
            /// Attributes of an open object.
            Fstat fstat 25 Query Fd (fd: FdRef) -> Attr;
            /// POSIX and flock locks.
            Lk lk 26 Lock Fd (fd: FdRef, cmd: LkCmd, flock: Flock) -> Lk;
            /// Finds an entry by name, or an object by gfid.
            Lookup lookup 27 Query Loc (loc: Loc) -> Lookup;
            /// Entries of a directory.
            Readdir readdir 28 Query Fd (fd: FdRef, size: u32, offset: u64) -> Entries;
            /// Internal byte-range lock in a domain.
            Inodelk inodelk 29 Lock Loc (loc: Loc, domain: String, cmd: LkCmd, flock: Flock) -> Done;
            /// The same through a descriptor.
            Finodelk finodelk 30 Lock Fd (fd: FdRef, domain: String, cmd: LkCmd, flock: Flock) -> Done;
            /// Internal lock on a name (or all names) of a directory in a domain.
            Entrylk entrylk 31 Lock Loc (loc: Loc, domain: String, name: Option<Name>, cmd: EntrylkCmd, kind: LockType) -> Done;
            /// The same through a descriptor.
            Fentrylk fentrylk 32 Lock Fd (fd: FdRef, domain: String, name: Option<Name>, cmd: EntrylkCmd, kind: LockType) -> Done;
            /// Atomic arithmetic on extended attributes.
            Xattrop xattrop 33 Change Loc (loc: Loc, op: XattropOp, dict: Dict) -> Xattrs;
            /// The same through a descriptor.
            Fxattrop fxattrop 34 Change Fd (fd: FdRef, op: XattropOp, dict: Dict) -> Xattrs;
            /// Extended attributes of an open object.
            Fgetxattr fgetxattr 35 Query Fd (fd: FdRef, name: Option<Key>) -> Xattrs;
            /// Sets extended attributes of an open object.
            Fsetxattr fsetxattr 36 Change Fd (fd: FdRef, dict: Dict, flags: u32) -> Done;
            /// Checksums of a block.
            Rchecksum rchecksum 37 Query Fd (fd: FdRef, offset: u64, len: u32) -> Rchecksum;
            /// Changes mode, owner, times.
            Setattr setattr 38 Change Loc (loc: Loc, attr: SetAttr) -> Changed;
            /// The same through a descriptor.
            Fsetattr fsetattr 39 Change Fd (fd: FdRef, attr: SetAttr) -> Changed;
            /// Entries of a directory with their attributes.
            Readdirp readdirp 40 Query Fd (fd: FdRef, size: u32, offset: u64) -> Entries;
            /// Removes an extended attribute of an open object.
            Fremovexattr fremovexattr 45 Change Fd (fd: FdRef, name: Key) -> Done;
            /// Reserves space; `mode` bit 0 keeps the size.
            Fallocate fallocate 46 Change Fd (fd: FdRef, mode: u32, offset: u64, len: u64) -> Changed;
            /// Punches a hole.
            Discard discard 47 Change Fd (fd: FdRef, offset: u64, len: u64) -> Changed;
            /// Makes a range read as zeros.
            Zerofill zerofill 48 Change Fd (fd: FdRef, offset: u64, len: u64) -> Changed;
            /// A message to translators.
            Ipc ipc 49 Lock None (op: i32) -> Done;
            /// Next data or hole.
            Seek seek 50 Query Fd (fd: FdRef, offset: u64, what: SeekWhat) -> Seek;
            /// Grants, removes or reads a lease.
            Lease lease 51 Lock Loc (loc: Loc, lease: LeaseSpec) -> Leased;
            /// All locks of a file, for migration.
            Getactivelk getactivelk 53 Lock Loc (loc: Loc) -> ActiveLocks;
            /// Sets migrated locks.
            Setactivelk setactivelk 54 Lock Loc (loc: Loc, locks: Vec<ActiveLock>) -> Done;
            /// Creates a file with contents and xattrs in one step.
            Put put 55 Change Loc (loc: Loc, mode: u32, umask: u32, flags: u32, data: Buf, offset: u64, xattrs: Dict) -> Made;
            /// Makes an object without a name.
            Icreate icreate 56 Change Loc (loc: Loc, mode: u32) -> Attr;
            /// Gives the object of `icreate` its name.
            Namelink namelink 57 Change Loc (loc: Loc) -> Removed;
            /// Copies a range between two files of the brick.
            CopyFileRange copy_file_range 58 Change Fd (fd_in: FdRef, offset_in: u64, fd: FdRef, offset: u64, len: u64, flags: u32) -> Copied;
        }
    };
}

/// What a fop does to the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing changes.
    Query,
    /// Something on the brick changes.
    Change,
    /// Opens: whether it changes anything depends on the flags.
    Open,
    /// Only state in memory changes (locks, leases, messages).
    Lock,
}

/// What a fop's first argument names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A location.
    Loc,
    /// An open descriptor.
    Fd,
    /// Nothing.
    None,
}

/// One row of the table, for those who list fops rather than call them.
#[derive(Clone, Copy, Debug)]
pub struct FopInfo {
    /// The fop.
    pub fop: Fop,
    /// Its lower-case name, as logs and options spell it.
    pub name: &'static str,
    /// What it does.
    pub access: Access,
    /// What it is about.
    pub subject: Subject,
    /// Names and types of its arguments, in order, without xdata.
    pub args: &'static [(&'static str, &'static str)],
    /// Name of its reply type in [`crate::fop::reply`].
    pub reply: &'static str,
    /// First line of its documentation.
    pub about: &'static str,
}

macro_rules! define_fops {
    ($(#[doc = $doc:literal] $variant:ident $method:ident $number:literal $access:ident $subject:ident
        ($($arg:ident : $type:ty),*) -> $reply:ident;)*) => {
        /// A file operation. The discriminant is dense; [`Fop::number`] is GlusterFS's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Fop {
            $(#[doc = $doc] $variant,)*
        }

        impl Fop {
            /// All rows, in the order of the discriminants.
            pub const TABLE: &'static [FopInfo] = &[$(FopInfo {
                fop: Fop::$variant,
                name: stringify!($method),
                access: Access::$access,
                subject: Subject::$subject,
                args: &[$((stringify!($arg), stringify!($type))),*],
                reply: stringify!($reply),
                about: $doc,
            }),*];

            /// How many there are.
            pub const COUNT: usize = Self::TABLE.len();

            /// All of them.
            pub const ALL: [Fop; Self::COUNT] = [$(Fop::$variant),*];

            /// GlusterFS's number (`glusterfs_fop_t`), which statistics and statedumps use.
            #[must_use]
            pub const fn number(self) -> u32 {
                match self {
                    $(Fop::$variant => $number,)*
                }
            }
        }
    };
}

crate::for_each_fop!(define_fops);

impl Fop {
    /// Its row of the table.
    #[must_use]
    pub const fn info(self) -> &'static FopInfo {
        &Self::TABLE[self as usize]
    }

    /// Its lower-case name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.info().name
    }

    /// The fop of that name, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|row| row.name.eq_ignore_ascii_case(name)).map(|row| row.fop)
    }
}

impl std::fmt::Display for Fop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_names_are_found() {
        let mut numbers: Vec<u32> = Fop::ALL.iter().map(|fop| fop.number()).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), Fop::COUNT);
        for fop in Fop::ALL {
            assert_eq!(Fop::from_name(&fop.name().to_uppercase()), Some(fop));
            assert_eq!(Fop::TABLE[fop as usize].fop, fop);
        }
        assert_eq!((Fop::Lookup.number(), Fop::Writev.number(), Fop::CopyFileRange.number()), (27, 13, 58));
    }
}
