//! The check as a background task of a running brick, after the machine lost power: nobody knows then what was under way.
//!
//! It goes in small steps with pauses between them, so that fops hardly notice it. Until it has come to its end, the intents
//! say so, and a brick that is stopped before begins again.

use std::sync::Arc;
use std::time::Duration;

use kiln_uring::{Class, Core, Warmth};

use super::handles::Handles;
use super::names::Names;
use super::{CheckReport, Inspector};
use crate::storage::posix::Brick;

/// Entries that are looked at in one go.
const BATCH: usize = 256;

/// Rest after a batch: with it at most about 20 000 entries per second are looked at.
const PAUSE: Duration = Duration::from_millis(10);

/// The walks of one scrub.
#[derive(Debug)]
struct Scrub {
    inspector: Inspector,
    names: Names,
    handles: Handles,
}

impl Scrub {
    fn new(brick: &Arc<Brick>) -> Self {
        let mut inspector = Inspector::online(Arc::clone(brick));
        // Without it no directory is found by its gfid.
        inspector.root();
        Self { names: Names::new(brick), handles: Handles::new(), inspector }
    }

    /// Looks at the next entries. False at the end.
    fn step(&mut self) -> bool {
        (0..BATCH).all(|_| self.names.step(&mut self.inspector) || self.handles.step(&mut self.inspector))
    }
}

/// Scrubs the brick, to the end or until the engine stops.
pub async fn run(core: Core, brick: Arc<Brick>) {
    tracing::warn!(brick = %brick.path.display(), "the brick was not stopped in good order; scrubbing it in the background");
    let mut scrub = Scrub::new(&brick);
    loop {
        let job = move |_: &dyn kiln_uring::Sys| {
            let more = scrub.step();
            (scrub, more)
        };
        let (next, more) = core.run(Class::Background, Warmth::Cold, job).await;
        scrub = next;
        if !more {
            break;
        }
        if core.shutting_down() {
            return;
        }
        core.sleep(PAUSE).await;
    }
    brick.intents.scrubbed();
    let CheckReport { directories, names, handles, total, repaired, .. } = scrub.inspector.report;
    tracing::info!(directories, names, handles, found = total, repaired, "scrubbed the brick");
}
