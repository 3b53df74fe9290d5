//! What a brick may be called, when nobody says it exactly.
//!
//! Bricks do not tell their names to strangers. Those of this machine can be asked of the command line of their process.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use kiln_xlators::volfile;

/// The name to try when nothing is known.
const USUAL: &str = "brick";

/// Names to try, the likeliest first: variants of the one that was given, or what the process `pid` serves.
pub fn candidates(given: Option<&str>, pid: Option<u32>) -> Vec<String> {
    match given {
        Some(name) if name.starts_with('/') => vec![name.to_owned()],
        // Bricks have the names of their directories mostly.
        Some(name) if name.contains('/') => vec![format!("/{name}"), name.to_owned()],
        Some(name) => vec![name.to_owned(), format!("/{name}")],
        None => {
            let mut all = pid.map(served_by).unwrap_or_default();
            all.push(USUAL.to_owned());
            all
        }
    }
}

/// The bricks that the command line of a process names.
fn served_by(pid: u32) -> Vec<String> {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return Vec::new() };
    let args: Vec<&OsStr> = line.split(|byte| *byte == 0).map(OsStr::from_bytes).collect();
    let dir = PathBuf::from(format!("/proc/{pid}/cwd"));
    let mut names = Vec::new();
    // `kiln serve --brick`, `glusterfsd --brick-name` as glusterd starts it, and a volfile for either.
    for name in ["--brick-name", "--brick"] {
        names.extend(value(&args, name).map(|value| value.to_string_lossy().into_owned()));
    }
    for name in ["--volfile", "-f"] {
        names.extend(value(&args, name).into_iter().flat_map(|file| subvolumes(&dir.join(file))));
    }
    names
}

/// The value of an option, beside it or after an equals sign.
fn value(args: &[&OsStr], name: &str) -> Option<PathBuf> {
    args.iter().enumerate().find_map(|(at, arg)| {
        let rest = arg.as_bytes().strip_prefix(name.as_bytes())?;
        match rest.split_first() {
            None => args.get(at + 1).map(PathBuf::from),
            Some((b'=', value)) => Some(PathBuf::from(OsStr::from_bytes(value))),
            Some(_) => None,
        }
    })
}

/// What the server of a volfile serves.
fn subvolumes(file: &Path) -> Vec<String> {
    let Ok((volfile, _)) = volfile::load(file) else { return Vec::new() };
    let server = volfile.nodes.iter().rev().find(|node| node.kind.text == "protocol/server");
    server.into_iter().flat_map(|node| &node.subvolumes).map(|brick| brick.text.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_comes_first() {
        assert_eq!(candidates(Some("/srv/b"), None), ["/srv/b"]);
        assert_eq!(candidates(Some("srv/b"), None), ["/srv/b", "srv/b"]);
        assert_eq!(candidates(Some("b"), None), ["b", "/b"]);
        assert_eq!(candidates(None, None), ["brick"]);
        assert_eq!(candidates(None, Some(std::process::id())), ["brick"]);
    }

    #[test]
    fn options_are_found_in_both_forms() {
        let args = |line: &'static str| line.split(' ').map(OsStr::new).collect::<Vec<_>>();
        let found = |line, name| value(&args(line), name).map(|path| path.display().to_string());
        assert_eq!(found("kiln serve --brick /srv/b", "--brick"), Some("/srv/b".into()));
        assert_eq!(found("glusterfsd --brick-name /srv/b", "--brick"), None);
        assert_eq!(found("glusterfsd --volfile=/x.vol -N", "--volfile"), Some("/x.vol".into()));
        assert_eq!(found("glusterfsd -N -f", "-f"), None);
    }

    #[test]
    fn volfiles_name_what_is_served() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.vol");
        let text = "volume p\n type storage/posix\n option directory /srv\nend-volume\n\
                    volume s\n type protocol/server\n subvolumes p\nend-volume\n";
        std::fs::write(&file, text).unwrap();
        assert_eq!(subvolumes(&file), ["p"]);
        assert!(subvolumes(&dir.path().join("missing")).is_empty());
    }
}
