//! Statistics of a brick: its space, its health, and what it keeps open.

use std::any::Any;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::Brick;

/// What one core hands in.
pub(super) struct Snapshot {
    pub brick: Arc<Brick>,
    /// Descriptors of directories in the core's cache.
    pub directories: usize,
    /// Descriptors that anonymous fops use.
    pub anonymous: usize,
}

/// See [`TranslatorType::merge_stats`](crate::translator::TranslatorType::merge_stats). Asks the file system for its space,
/// which may block: not for cores.
pub(super) fn merge(parts: Vec<Box<dyn Any + Send>>) -> Json {
    let parts: Vec<Box<Snapshot>> = parts.into_iter().filter_map(|part| part.downcast().ok()).collect();
    let Some(first) = parts.first() else { return Json::Null };
    let brick = &first.brick;
    let mut report = json!({
        "brick": brick.path,
        "healthy": brick.failure().is_none(),
        "full": brick.is_full(),
        "objects_open": brick.opens.objects(),
        "directories_cached": parts.iter().map(|part| part.directories).sum::<usize>(),
        "files_open_for_anonymous_fops": parts.iter().map(|part| part.anonymous).sum::<usize>(),
    });
    if let Some(reason) = brick.failure() {
        // Its file system may hang, and would take whoever asks along.
        report["failure"] = reason.into();
    } else if let Ok(found) = brick.sys.statfs(brick.root.fd()) {
        let unit = if found.frsize == 0 { found.bsize } else { found.frsize };
        let bytes = |blocks: u64| blocks.saturating_mul(unit);
        report["space"] = json!({
            "bytes": bytes(found.blocks),
            "free_bytes": bytes(found.bfree),
            "available_bytes": bytes(found.bavail),
            "inodes": found.files,
            "free_inodes": found.ffree,
        });
    }
    report
}
