//! The operations that are counted.

/// Makes [`Kind`] from a list of variants and names.
macro_rules! kinds {
    ($($(#[$meta:meta])* $kind:ident $name:literal,)*) => {
        /// What is counted and timed on its own. Whole operations of a workload have its name, in small letters; the calls
        /// that a compound one is made of have the names of fops, in capitals.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $($(#[$meta])* $kind,)*
        }

        impl Kind {
            /// All, in the order of reports.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// Its name in reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// One block.
    Read "read",
    /// One block.
    Write "write",
    /// One block, then a sync.
    FsyncWrite "fsync-write",
    /// Data to stable storage.
    Fsync "fsync",
    /// A name that is there.
    Lookup "lookup",
    /// A name that is not.
    LookupMiss "lookup-miss",
    /// Attributes.
    Stat "stat",
    /// A new file with one block.
    Create "create",
    /// The same, and its end.
    CreateUnlink "create-unlink",
    /// The end of a name.
    Unlink "unlink",
    /// Another name.
    Rename "rename",
    /// All of a directory.
    Readdirp "readdirp",
    /// Set and read one.
    Xattr "xattr",
    /// A directory with a few small files: made, listed, read, removed.
    SmallFiles "small-files",
    /// Part.
    PartLookup "LOOKUP",
    /// Part.
    PartCreate "CREATE",
    /// Part.
    PartOpen "OPEN",
    /// Part.
    PartRead "READ",
    /// Part.
    PartWrite "WRITE",
    /// Part.
    PartFsync "FSYNC",
    /// Part: FLUSH and RELEASE of a brick.
    PartClose "CLOSE",
    /// Part.
    PartUnlink "UNLINK",
    /// Part.
    PartMkdir "MKDIR",
    /// Part.
    PartRmdir "RMDIR",
    /// Part.
    PartReaddirp "READDIRP",
    /// Part.
    PartSetxattr "SETXATTR",
    /// Part.
    PartGetxattr "GETXATTR",
}

impl Kind {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Whether it is an operation of a workload, and no part of one.
    pub fn is_whole(self) -> bool {
        !self.name().starts_with(|first: char| first.is_ascii_uppercase())
    }
}
