//! What a check has found.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::types::Gfid;

/// Most findings that are kept one by one; all are counted.
pub const MOST_FINDINGS: usize = 10_000;

/// Declares the kinds with what the summary calls them.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident: $words:literal,)*) => {
        /// What can be wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            /// In words, for a number of them.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self { $(Self::$kind => $words,)* }
            }
        }
    };
}

kinds! {
    /// The root has no gfid or not the root's, or no handle.
    Root: "wrong gfid or handle of the root",
    /// A directory that every brick has is missing.
    Housekeeping: "missing housekeeping directory",
    /// Permissions of `.glusterfs` that let others in.
    Mode: "unsafe permissions",
    /// An entry without `trusted.gfid`. Mended with a random one; on a replicated volume a lookup by a client is the better
    /// way, which gives it the same on all bricks.
    NoGfid: "without gfid",
    /// A `trusted.gfid` that is null or not 16 bytes. Never mended.
    BadGfid: "with a damaged gfid",
    /// Two objects with one gfid. Never mended: nobody can tell which is the right one.
    Duplicate: "with the gfid of another object",
    /// An object without handle.
    NoHandle: "without handle",
    /// A handle that is, or leads to, something else.
    WrongHandle: "with a wrong handle",
    /// A name without `trusted.gfid2path`.
    NoPath: "without gfid2path",
    /// A `trusted.gfid2path` with the right key and a wrong value.
    WrongPath: "with a wrong gfid2path",
    /// A `trusted.gfid2path` of a name that is not the object's.
    StalePath: "with a stale gfid2path",
    /// A handle of an object without a name.
    OrphanHandle: "orphan handles",
    /// A handle of a directory that is not there.
    DanglingHandle: "dangling handles of directories",
    /// Something among the handles that is none. Never mended.
    Junk: "strangers among the handles",
    /// More links than names and a handle. Never mended: the others are outside of the brick, or where it does not look.
    Links: "with links from elsewhere",
    /// Something in `unlink/`.
    Parked: "left in unlink/",
    /// A temporary name of an operation that did not end.
    Leftover: "left by unfinished operations",
    /// Another file system is mounted inside the brick.
    OtherFileSystem: "covered by another file system",
    /// It cannot be looked at.
    Unreadable: "unreadable",
    /// A note: something waits in `landfill/` for its deletion.
    Landfill: "landfill not empty",
    /// A note: the last process did not stop in good order.
    NotStopped: "not stopped in good order",
}

impl Kind {
    /// Nothing is wrong with it; it is only good to know.
    #[must_use]
    pub const fn is_note(self) -> bool {
        matches!(self, Self::Landfill | Self::NotStopped)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which kind of thing.
    pub kind: Kind,
    /// Where, relative to the brick; see [`Escaped`].
    pub path: String,
    /// The object's gfid, where it is known.
    #[serde(serialize_with = "gfid_text")]
    pub gfid: Option<Gfid>,
    /// What is wrong, in a sentence.
    pub what: String,
    /// Whether it is in order now.
    pub repaired: bool,
}

/// How many findings of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// All.
    pub found: u64,
    /// Those that are in order now.
    pub repaired: u64,
}

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// The brick, as given.
    pub brick: String,
    /// Whether repairs were wanted.
    pub repair: bool,
    /// Objects with a name, the root included.
    pub objects: u64,
    /// Of these, directories.
    pub directories: u64,
    /// Regular files.
    pub files: u64,
    /// Symbolic links, fifos, sockets, devices.
    pub other: u64,
    /// Names of what is no directory.
    pub names: u64,
    /// Handles, the root's included.
    pub handles: u64,
    /// Sizes of all regular files together.
    pub bytes: u64,
    /// Objects in `landfill/`.
    pub thrown_away: u64,
    /// How many findings of each kind.
    pub tallies: BTreeMap<Kind, Tally>,
    /// The findings, the first [`MOST_FINDINGS`] of them.
    pub findings: Vec<Finding>,
    /// How long it took.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub elapsed: Duration,
}

impl CheckReport {
    pub(super) fn new(brick: &Path, repair: bool) -> Self {
        Self {
            brick: Escaped(brick.as_os_str().as_bytes()).to_string(),
            repair,
            objects: 0,
            directories: 0,
            files: 0,
            other: 0,
            names: 0,
            handles: 0,
            bytes: 0,
            thrown_away: 0,
            tallies: BTreeMap::new(),
            findings: Vec::new(),
            elapsed: Duration::ZERO,
        }
    }

    pub(super) fn add(&mut self, kind: Kind, path: &[u8], gfid: Option<Gfid>, what: String, repaired: bool) {
        let tally = self.tallies.entry(kind).or_default();
        tally.found += 1;
        tally.repaired += u64::from(repaired);
        if self.findings.len() < MOST_FINDINGS {
            let path = if path.is_empty() { ".".into() } else { Escaped(path).to_string() };
            self.findings.push(Finding { kind, path, gfid, what, repaired });
        }
    }

    fn errors(&self) -> impl Iterator<Item = &Tally> {
        self.tallies.iter().filter(|(kind, _)| !kind.is_note()).map(|(_, tally)| tally)
    }

    /// How many things were wrong, notes apart.
    #[must_use]
    pub fn found(&self) -> u64 {
        self.errors().map(|tally| tally.found).sum()
    }

    /// How many of them are in order now.
    #[must_use]
    pub fn repaired(&self) -> u64 {
        self.errors().map(|tally| tally.repaired).sum()
    }

    /// Whether nothing is wrong (any more). Notes do not count.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.found() == self.repaired()
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let total: u64 = self.tallies.values().map(|tally| tally.found).sum();
        let left_out = total - self.findings.len() as u64;
        if left_out > 0 {
            writeln!(f, "… and {left_out} more")?;
        }
        if !self.findings.is_empty() {
            writeln!(f)?;
        }
        for (kind, Tally { found, repaired }) in &self.tallies {
            let words = kind.words();
            match (kind.is_note(), *repaired) {
                (true, _) => writeln!(f, "{found:>9}  {words} (a note)")?,
                (false, 0) => writeln!(f, "{found:>9}  {words}")?,
                (false, repaired) if repaired == *found => writeln!(f, "{found:>9}  {words}, repaired")?,
                (false, repaired) => writeln!(f, "{found:>9}  {words}, {repaired} of them repaired")?,
            }
        }
        let Self { brick, objects, directories, files, other, names, handles, bytes, .. } = self;
        writeln!(
            f,
            "{brick}: {objects} objects ({directories} directories, {files} files of {bytes} bytes, {other} others), \
             {names} names, {handles} handles; {:.1} s",
            self.elapsed.as_secs_f64()
        )?;
        match (self.found(), self.found() - self.repaired()) {
            (0, _) => write!(f, "clean"),
            (found, 0) => write!(f, "{found} repaired, clean now"),
            (found, left) if left == found => write!(f, "{found} found"),
            (found, left) => write!(f, "{found} found, {left} left"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, gfid, what, repaired, .. } = self;
        write!(f, "{path}: {what}")?;
        if let Some(gfid) = gfid.filter(|gfid| !path.ends_with(&gfid.to_string())) {
            write!(f, " ({gfid})")?;
        }
        if *repaired { write!(f, " [repaired]") } else { Ok(()) }
    }
}

/// Bytes as text that a terminal can take and that can be turned back: what is not printable UTF-8 becomes `\xHH`, a
/// backslash two.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |f: &mut fmt::Formatter<'_>, bytes: &[u8]| {
            bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
        };
        for chunk in self.0.utf8_chunks() {
            for letter in chunk.valid().chars() {
                match letter {
                    '\\' => f.write_str("\\\\")?,
                    letter if letter.is_control() || is_invisible(letter) => {
                        hex(f, letter.encode_utf8(&mut [0; 4]).as_bytes())?;
                    }
                    letter => write!(f, "{letter}")?,
                }
            }
            hex(f, chunk.invalid())?;
        }
        Ok(())
    }
}

/// Characters that make a terminal show something else than is there: zero width, line separators, changes of direction.
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn gfid_text<S: Serializer>(gfid: &Option<Gfid>, serializer: S) -> Result<S::Ok, S::Error> {
    match gfid {
        Some(gfid) => serializer.collect_str(gfid),
        None => serializer.serialize_none(),
    }
}

fn seconds<S: Serializer>(elapsed: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_can_be_printed_and_told_apart() {
        let text = |bytes: &[u8]| Escaped(bytes).to_string();
        assert_eq!(text("имя 🦀/a b".as_bytes()), "имя 🦀/a b");
        assert_eq!(text(b"new\nline\x1b[2J"), "new\\x0aline\\x1b[2J");
        assert_eq!(text(b"\xff\\xff"), "\\xff\\\\xff");
        assert_eq!(text("a\u{202e}b".as_bytes()), "a\\xe2\\x80\\xaeb");
    }

    #[test]
    fn findings_are_capped_and_counted() {
        let mut report = CheckReport::new(Path::new("/b"), true);
        for n in 0..MOST_FINDINGS as u64 + 5 {
            report.add(Kind::NoHandle, b"x", None, String::new(), n % 2 == 0);
        }
        report.add(Kind::Landfill, b"landfill", None, String::new(), false);
        assert_eq!(report.findings.len(), MOST_FINDINGS);
        assert_eq!((report.found(), report.repaired()), (10_005, 5003));
        assert!(!report.is_clean());
        assert!(report.to_string().contains("… and 6 more"), "{report}");
    }
}
