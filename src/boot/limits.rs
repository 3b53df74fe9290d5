//! Resource limits: as high as the process may set them.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the soft limits that a brick runs into: descriptors (one per open file and more in caches), locked memory (rings and
/// their buffers).
pub fn raise() {
    for (resource, name, wanted) in
        [(Resource::Nofile, "open files", 1 << 20), (Resource::Memlock, "locked memory", u64::MAX)]
    {
        let now = getrlimit(resource);
        let mut limit = now;
        // Root may go beyond the hard limit; others go up to it.
        let enough = now.maximum.is_none_or(|hard| hard >= wanted);
        if !enough && rustix::process::geteuid().is_root() {
            limit.maximum = (wanted != u64::MAX).then_some(wanted);
            limit.current = limit.maximum;
            if setrlimit(resource, limit).is_ok() {
                continue;
            }
        }
        limit = now;
        limit.current = now.maximum;
        if limit != now
            && let Err(error) = setrlimit(resource, limit)
        {
            tracing::debug!(%error, "the limit on {name} cannot be raised");
        }
    }
}

/// Descriptors that this process may have; `None` is no limit.
pub fn descriptors() -> Option<usize> {
    let limit = getrlimit(Resource::Nofile).current?;
    Some(usize::try_from(limit).unwrap_or(usize::MAX))
}
