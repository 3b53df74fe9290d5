//! A picture of a directory tree: everything about every object that must not change when another brick serves it.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What a tree looks like.
#[derive(Debug, PartialEq, Eq)]
pub struct Tree(BTreeMap<PathBuf, Object>);

#[derive(Debug, PartialEq, Eq)]
struct Object {
    mode: u32,
    uid: u32,
    gid: u32,
    nlink: u64,
    rdev: u64,
    size: Option<u64>,
    mtime: (i64, i64),
    content: Option<u64>,
    target: Option<PathBuf>,
    /// First path with the same inode: which names are links of each other.
    same_as: PathBuf,
    xattrs: BTreeMap<OsString, Vec<u8>>,
}

impl Tree {
    /// Looks at everything below `root`, `.glusterfs` at the root apart.
    pub fn of(root: &Path) -> Self {
        let mut objects = BTreeMap::new();
        let mut inodes = HashMap::new();
        let mut todo = vec![PathBuf::new()];
        while let Some(relative) = todo.pop() {
            let path = root.join(&relative);
            let meta = std::fs::symlink_metadata(&path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            if meta.is_dir() {
                for entry in std::fs::read_dir(&path).unwrap() {
                    let name = entry.unwrap().file_name();
                    if !(relative.as_os_str().is_empty() && name == ".glusterfs") {
                        todo.push(relative.join(name));
                    }
                }
                // Directories first, so that "same_as" does not depend on the order of the directory.
                todo.sort_by(|a, b| b.cmp(a));
            }
            let same_as = inodes.entry(meta.ino()).or_insert_with(|| relative.clone()).clone();
            let is_file = meta.is_file();
            let special = meta.file_type().is_block_device() || meta.file_type().is_char_device();
            let object = Object {
                mode: meta.mode(),
                uid: meta.uid(),
                gid: meta.gid(),
                nlink: meta.nlink(),
                rdev: if special { meta.rdev() } else { 0 },
                size: is_file.then_some(meta.len()),
                mtime: (meta.mtime(), meta.mtime_nsec()),
                content: is_file.then(|| hash(&std::fs::read(&path).unwrap())),
                target: meta.is_symlink().then(|| std::fs::read_link(&path).unwrap()),
                same_as,
                xattrs: xattrs(&path),
            };
            objects.insert(relative, object);
        }
        Self(objects)
    }

    /// How many objects it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Insists that `other` looks the same, and tells the differences.
    #[track_caller]
    pub fn assert_same(&self, other: &Self, what: &str) {
        let mut differences = Vec::new();
        for (path, object) in &self.0 {
            match other.0.get(path) {
                None => differences.push(format!("{} is missing", path.display())),
                Some(found) if found != object => {
                    differences.push(format!("{}:\n  {object:?}\n  {found:?}", path.display()));
                }
                Some(_) => {}
            }
        }
        differences.extend(
            other
                .0
                .keys()
                .filter(|path| !self.0.contains_key(*path))
                .map(|path| format!("{} is new", path.display())),
        );
        assert!(
            differences.is_empty(),
            "{what}: {} differences\n{}",
            differences.len(),
            differences.join("\n")
        );
    }
}

fn hash(bytes: &[u8]) -> u64 {
    use std::hash::Hasher;
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// All extended attributes of a path, symbolic links not followed. Through `getfattr`, as a user sees them; its output
/// names one per line, values in hex.
fn xattrs(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let output = std::process::Command::new("getfattr")
        .args(["-h", "-d", "-m", ".", "-e", "hex", "--absolute-names"])
        .arg(path)
        .output()
        .expect("getfattr, of Debian's package attr");
    let mut found = BTreeMap::new();
    for line in output.stdout.split(|byte| *byte == b'\n') {
        let Some(at) = line.windows(3).position(|window| window == b"=0x") else { continue };
        found.insert(std::ffi::OsStr::from_bytes(&line[..at]).to_owned(), line[at + 3..].to_vec());
    }
    found
}
