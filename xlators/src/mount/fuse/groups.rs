//! The supplementary groups of callers.
//!
//! A FUSE request names user, group and thread of its caller, but not the other groups; those are in `/proc/TID/status`.
//! What is kept is the open file of each thread and not its groups, because a thread can change them at any time (a test
//! suite that plays several users does so thousands of times a second): every answer is read afresh. When a thread ends,
//! its open file answers `ESRCH` even if the number is in use again.

use std::fs::File;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

/// Threads whose file stays open.
const KEPT: NonZeroUsize = NonZeroUsize::new(64).expect("not 0");

/// Reads groups.
#[derive(Debug)]
pub(super) struct GroupReader {
    files: Mutex<LruCache<u32, Arc<File>>>,
}

impl GroupReader {
    pub(super) fn new() -> Self {
        Self { files: Mutex::new(LruCache::new(KEPT)) }
    }

    /// The supplementary groups of thread `tid`; none when it is gone or hidden from this process.
    pub(super) fn of(&self, tid: u32) -> Box<[u32]> {
        // 0 is a thread of another PID namespace.
        if tid == 0 {
            return Box::default();
        }
        let known = self.files.lock().unwrap_or_else(PoisonError::into_inner).get(&tid).cloned();
        if let Some(status) = known.and_then(|file| read(&file)) {
            return parse(&status);
        }
        let Ok(file) = File::open(format!("/proc/{tid}/status")) else { return Box::default() };
        let groups = read(&file).map(|status| parse(&status)).unwrap_or_default();
        self.files.lock().unwrap_or_else(PoisonError::into_inner).put(tid, Arc::new(file));
        groups
    }
}

fn read(file: &File) -> Option<Vec<u8>> {
    let mut status = vec![0; 4096];
    let mut len = 0;
    loop {
        match file.read_at(&mut status[len..], len as u64) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(err) if err.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return None,
        }
        if len < 4096 {
            break;
        }
        // A thread may be in 65536 groups.
        status.resize(len * 2, 0);
    }
    status.truncate(len);
    Some(status)
}

fn parse(status: &[u8]) -> Box<[u32]> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Groups:"));
    let numbers = line.unwrap_or_default().split(u8::is_ascii_whitespace);
    numbers.filter_map(|number| std::str::from_utf8(number).ok()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_found() {
        assert_eq!(*parse(b"Name:\tx\nGroups:\t4 24 1000 \nNStgid:\t1\n"), [4, 24, 1000]);
        assert!(parse(b"Groups:\t \n").is_empty() && parse(b"").is_empty());
    }

    #[test]
    fn own_groups_are_read_and_dead_threads_have_none() {
        let reader = GroupReader::new();
        let own = std::process::id();
        let expected = parse(&std::fs::read("/proc/self/status").unwrap());
        assert_eq!(reader.of(own), expected);
        assert_eq!(reader.of(own), expected);
        assert!(reader.of(0).is_empty());
        assert!(reader.of(u32::MAX).is_empty());
    }

    #[test]
    fn a_kept_file_of_a_dead_process_is_not_believed() {
        let reader = GroupReader::new();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let _ = reader.of(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        let kept = reader.files.lock().unwrap().get(&child.id()).cloned().unwrap();
        assert!(read(&kept).is_none());
        assert!(reader.of(child.id()).is_empty());
    }
}
