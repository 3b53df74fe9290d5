//! The workloads: what each needs, and what one operation of it is.

mod fileset;
mod small_files;
mod worker;

pub use fileset::{FileSet, Opened, steps};
pub use worker::{Checked, Shared, Worker};

use clap::ValueEnum;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Reads, writes, stats, and some of all the others
    Mixed,
    /// Read a block
    Read,
    /// Write a block
    Write,
    /// Read or write a block, as often the one as the other
    ReadWrite,
    /// Write a block and wait until it is stable
    FsyncWrite,
    /// Look up a name that is there
    Lookup,
    /// Look up a name that is not
    LookupMiss,
    /// Ask for attributes
    Stat,
    /// Make a file, write a block, close it; the files stay until the end
    Create,
    /// Make a file, write a block, close it, remove it
    CreateUnlink,
    /// Remove a file; ends when all --files are gone
    Unlink,
    /// Rename a file
    Rename,
    /// List a directory of --entries names with their attributes
    Readdirp,
    /// Set an extended attribute and read it
    Xattr,
    /// Make a directory and eight files of one block in it, list and read them, remove all
    SmallFiles,
}

/// What has to be there before a workload begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Files with data.
    pub data: bool,
    /// A directory of names.
    pub names: bool,
    /// Those looked up before.
    pub nodes: bool,
    /// That directory, open.
    pub listing: bool,
    /// A file for each worker to move, or many to remove.
    pub own: bool,
}

impl Workload {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What it needs.
    pub const fn needs(self) -> Needs {
        let none = Needs { data: false, names: false, nodes: false, listing: false, own: false };
        match self {
            Self::Mixed => Needs { data: true, names: true, nodes: true, listing: true, ..none },
            Self::Read | Self::Write | Self::ReadWrite | Self::FsyncWrite => Needs { data: true, ..none },
            Self::Lookup | Self::LookupMiss => Needs { names: true, ..none },
            Self::Readdirp => Needs { names: true, listing: true, ..none },
            Self::Stat | Self::Xattr => Needs { names: true, nodes: true, ..none },
            Self::Unlink | Self::Rename => Needs { own: true, ..none },
            Self::Create | Self::CreateUnlink | Self::SmallFiles => none,
        }
    }

    /// Whether it writes or reads blocks, which can be verified.
    pub const fn has_blocks(self) -> bool {
        match self {
            Self::Mixed
            | Self::Read
            | Self::Write
            | Self::ReadWrite
            | Self::FsyncWrite
            | Self::Create
            | Self::CreateUnlink
            | Self::SmallFiles => true,
            Self::Lookup
            | Self::LookupMiss
            | Self::Stat
            | Self::Unlink
            | Self::Rename
            | Self::Readdirp
            | Self::Xattr => false,
        }
    }

    /// How many files there are when nobody says.
    pub const fn usual_files(self) -> u64 {
        match self {
            Self::Unlink => 20_000,
            _ => 4,
        }
    }
}

/// How often each operation comes in [`Workload::Mixed`], in percent.
pub const MIX: [(Workload, u64); 9] = [
    (Workload::Read, 35),
    (Workload::Write, 20),
    (Workload::Stat, 25),
    (Workload::Create, 7),
    (Workload::Unlink, 7),
    (Workload::Rename, 3),
    (Workload::Readdirp, 1),
    (Workload::Xattr, 1),
    (Workload::FsyncWrite, 1),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_is_a_hundred_percent() {
        assert_eq!(MIX.iter().map(|(_, share)| share).sum::<u64>(), 100);
    }

    #[test]
    fn names_are_those_of_the_command_line() {
        assert_eq!(Workload::CreateUnlink.name(), "create-unlink");
        assert_eq!(Workload::value_variants().len(), 15);
    }
}
