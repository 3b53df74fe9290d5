//! Objects that the kernel has forgotten, on their way to the layers.
//!
//! Every layer on every core hears of each (`Graph::forget`), but nobody waits for it: they are gathered for a moment, so
//! that removing a million files does not mean a million hops to every core.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::door;
use super::front::Front;
use crate::types::Gfid;

/// How long they are gathered.
const PAUSE: Duration = Duration::from_millis(20);
/// Most that are gathered before the layers hear of them at once.
const MOST: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Forgets {
    waiting: Mutex<Vec<Gfid>>,
}

impl Forgets {
    /// Adds one; answers whether delivery has to be arranged for (by `arrange`), and whether at once.
    fn add(&self, gfid: Gfid) -> Option<Urgency> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(gfid);
        match waiting.len() {
            1 => Some(Urgency::Soon),
            len if len % MOST == 0 => Some(Urgency::Now),
            _ => None,
        }
    }

    fn take(&self) -> Vec<Gfid> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Urgency {
    Soon,
    Now,
}

/// The kernel takes back `count` of what it was told of a node.
pub(super) fn forget(front: &Arc<Front>, node: u64, count: u64) {
    let Some(gfid) = front.nodes.forget(node, count) else { return };
    match front.forgets.add(gfid) {
        None => {}
        Some(Urgency::Now) => deliver(front),
        Some(Urgency::Soon) => {
            let later = Arc::clone(front);
            // A core that has stopped has no layers to tell.
            let _ = front.lanes.remote(0).post(move |core| {
                let clock = core.clone();
                core.spawn(async move {
                    clock.sleep(PAUSE).await;
                    deliver(&later);
                });
            });
        }
    }
}

/// Tells every layer on every core.
pub(super) fn deliver(front: &Arc<Front>) {
    let mut gone = front.forgets.take();
    // The kernel may have found some again meanwhile.
    gone.retain(|gfid| !front.nodes.contains(*gfid));
    if gone.is_empty() {
        return;
    }
    let gone: Arc<[Gfid]> = gone.into();
    for lane in 0..front.lanes.len() {
        let gone = Arc::clone(&gone);
        let _ = front.lanes.remote(lane).post(move |_| {
            if let Some(graph) = door::installed() {
                gone.iter().for_each(|gfid| graph.forget(*gfid));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivery_is_arranged_once_per_batch() {
        let forgets = Forgets::default();
        let arranged: Vec<_> = (0..MOST).filter_map(|_| forgets.add(Gfid::ROOT)).collect();
        assert_eq!(arranged, [Urgency::Soon, Urgency::Now]);
        assert_eq!(forgets.take().len(), MOST);
        assert_eq!(forgets.add(Gfid::ROOT), Some(Urgency::Soon));
    }
}
