//! Whether the reserve is reached, every five seconds.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kiln_uring::{Class, Core, Warmth};

use crate::storage::posix::Brick;
use crate::storage::posix::statfs::is_full;

const INTERVAL: Duration = Duration::from_secs(5);

/// Checks until the core shuts down.
pub async fn run(core: Core, brick: Arc<Brick>) {
    loop {
        let at = Arc::clone(&brick);
        core.run(Class::Background, Warmth::Cold, move |_| check(&at)).await;
        if !super::sleep(&core, INTERVAL).await {
            return;
        }
    }
}

/// Looks at the file system and notes the result. One that cannot be looked at keeps the last: the health check will tell.
pub fn check(brick: &Brick) {
    let statfs = match brick.sys.statfs(brick.root.fd()) {
        Ok(statfs) => statfs,
        Err(errno) => {
            return tracing::warn!(brick = %brick.path.display(), %errno, "cannot tell how full it is");
        }
    };
    let full = is_full(&statfs, brick.settings().reserve);
    if brick.full.swap(full, Ordering::Relaxed) != full {
        let brick = brick.path.display();
        if full {
            tracing::warn!(%brick, "the reserve is reached: no new files and no growth until there is more space");
        } else {
            tracing::info!(%brick, "there is space again");
        }
    }
}
