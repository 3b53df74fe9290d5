//! The operations of the load, and in what proportion they come.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Files that a worker keeps, so that reads and stats have something to find.
const FILES: usize = 64;

/// Bytes of one read or write.
const BLOCK: usize = 4096;

/// Blocks of one file.
const BLOCKS: u64 = 64;

/// One operation of the mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// 4 KiB at a random place.
    Read,
    /// 4 KiB at a random place.
    Write,
    /// Attributes by path.
    Stat,
    /// A new file of 4 KiB.
    Create,
    /// Removes such a file.
    Unlink,
    /// Moves a file.
    Rename,
    /// Lists the directory.
    Readdir,
    /// A file's data to stable storage.
    Fsync,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Read,
        Self::Write,
        Self::Stat,
        Self::Create,
        Self::Unlink,
        Self::Rename,
        Self::Readdir,
        Self::Fsync,
    ];

    /// Percent of the mix; together 100.
    const fn share(self) -> u64 {
        match self {
            Self::Read => 35,
            Self::Write => 20,
            Self::Stat => 25,
            Self::Create | Self::Unlink => 7,
            Self::Rename => 3,
            Self::Readdir => 2,
            Self::Fsync => 1,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Stat => "stat",
            Self::Create => "create",
            Self::Unlink => "unlink",
            Self::Rename => "rename",
            Self::Readdir => "readdir",
            Self::Fsync => "fsync",
        }
    }
}

/// One thread of the load.
pub struct Worker {
    dir: PathBuf,
    files: Vec<File>,
    /// Names of files beyond the kept ones, newest last.
    extra: Vec<PathBuf>,
    made: u64,
    random: u64,
}

impl Worker {
    /// Makes the directory and its files.
    pub fn new(dir: &Path, seed: u64) -> io::Result<Self> {
        fs::create_dir(dir)?;
        let mut files = Vec::with_capacity(FILES);
        for index in 0..FILES {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .open(dir.join(format!("kept-{index}")))?;
            file.write_all_at(&vec![index as u8; BLOCK * BLOCKS as usize], 0)?;
            files.push(file);
        }
        Ok(Self {
            dir: dir.into(),
            files,
            extra: Vec::new(),
            made: 0,
            random: seed.wrapping_mul(2).wrapping_add(1),
        })
    }

    /// The next operation.
    pub fn draw(&mut self) -> Operation {
        let mut at = self.below(100);
        for operation in Operation::ALL {
            if at < operation.share() {
                return operation;
            }
            at -= operation.share();
        }
        Operation::Stat
    }

    /// Does it.
    pub fn perform(&mut self, operation: Operation) -> io::Result<()> {
        let which = self.below(FILES as u64) as usize;
        let offset = self.below(BLOCKS) * BLOCK as u64;
        let mut block = [which as u8; BLOCK];
        match operation {
            Operation::Read => self.files[which].read_exact_at(&mut block, offset),
            Operation::Write => self.files[which].write_all_at(&block, offset),
            Operation::Stat => fs::metadata(self.dir.join(format!("kept-{which}"))).map(drop),
            Operation::Create => self.create(),
            Operation::Unlink => fs::remove_file(self.take_extra()?),
            Operation::Rename => {
                let old = self.take_extra()?;
                self.made += 1;
                let new = self.dir.join(format!("moved-{}", self.made));
                fs::rename(old, &new)?;
                self.extra.push(new);
                Ok(())
            }
            Operation::Readdir => fs::read_dir(&self.dir)?.try_for_each(|entry| entry.map(drop)),
            Operation::Fsync => self.files[which].sync_data(),
        }
    }

    fn create(&mut self) -> io::Result<()> {
        self.made += 1;
        let path = self.dir.join(format!("new-{}", self.made));
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        self.extra.push(path);
        file.write_all_at(&[0; BLOCK], 0)
    }

    /// A file that may go, made when there is none.
    fn take_extra(&mut self) -> io::Result<PathBuf> {
        if self.extra.is_empty() {
            self.create()?;
        }
        self.extra.pop().ok_or_else(|| io::Error::other("the file just made is missing"))
    }

    /// A number below `limit`: xorshift, which is random enough to spread operations.
    fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_a_hundred_percent() {
        assert_eq!(Operation::ALL.iter().map(|operation| operation.share()).sum::<u64>(), 100);
    }
}
