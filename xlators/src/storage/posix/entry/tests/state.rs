//! Everything that a brick holds, as text: names, handles, links, attributes.

use std::ffi::CString;
use std::fmt::Write as _;
use std::sync::Arc;

use kiln_uring::sys::{File, How, OpenFlags, Sys, XattrTarget};

/// The brick at `path`, one line per name and per handle. Times and the housekeeping of a running process are left out.
pub(super) fn of(sys: &Arc<dyn Sys>, path: &str) -> Vec<String> {
    let mut lines = Vec::new();
    walk(sys, path, "", &mut lines);
    lines.sort();
    lines
}

fn walk(sys: &Arc<dyn Sys>, path: &str, shown: &str, lines: &mut Vec<String>) {
    let text = CString::new(path).unwrap();
    let fd = sys.openat2(libc::AT_FDCWD, &text, How::new(OpenFlags::DIRECTORY)).unwrap();
    let dir = File::new(Arc::clone(sys), fd);
    let mut offset = 0;
    loop {
        let entries = sys.read_dir(dir.fd(), offset, 65536).unwrap();
        let Some(last) = entries.last() else { break };
        offset = last.offset;
        for entry in entries {
            let name = entry.name.to_str().unwrap();
            if matches!(name, "." | ".." | "kiln-intents") {
                continue;
            }
            let stat = sys.stat_at(dir.fd(), &entry.name).unwrap();
            let shown = format!("{shown}/{name}");
            let housekeeping =
                shown.starts_with("/.glusterfs") && stat.is_dir() && !shown.contains("landfill/");
            if !housekeeping {
                lines.push(describe(sys, &dir, &entry.name, &shown));
            }
            if stat.is_dir() {
                walk(sys, &format!("{path}/{name}"), &shown, lines);
            }
        }
    }
}

fn describe(sys: &Arc<dyn Sys>, dir: &File, name: &CString, shown: &str) -> String {
    let stat = sys.stat_at(dir.fd(), name).unwrap();
    let mut line =
        format!("{shown} mode {:o} owner {}:{} links {}", stat.mode, stat.uid, stat.gid, stat.nlink);
    if stat.is_symlink() {
        let target = sys.readlink_at(dir.fd(), name).unwrap();
        write!(line, " -> {}", String::from_utf8_lossy(&target)).unwrap();
    }
    if stat.is_file() {
        write!(line, " size {}", stat.size).unwrap();
    }
    if stat.rdev_major + stat.rdev_minor > 0 {
        write!(line, " device {},{}", stat.rdev_major, stat.rdev_minor).unwrap();
    }
    let target = XattrTarget::At(dir.fd(), name);
    let mut keys = vec![0; 65536];
    let len = sys.listxattr(target, &mut keys).unwrap();
    let mut keys: Vec<&[u8]> = keys[..len].split(|byte| *byte == 0).filter(|key| !key.is_empty()).collect();
    keys.sort_unstable();
    for key in keys {
        let key = CString::new(key).unwrap();
        let mut value = vec![0; 65536];
        let len = sys.getxattr(target, &key, &mut value).unwrap();
        let value = &value[..len];
        write!(line, " {}=", key.to_str().unwrap()).unwrap();
        match std::str::from_utf8(value) {
            Ok(text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => line.push_str(text),
            _ => value.iter().for_each(|byte| write!(line, "{byte:02x}").unwrap()),
        }
    }
    line
}
