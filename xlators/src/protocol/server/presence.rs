//! What clients hear of the brick's coming and going, so that those who can wait lose no request.
//!
//! A client whose connection ends answers with `ENOTCONN` whatever is unanswered, also what it has sent while the end was on
//! its way. So it hears beforehand that its brick is down, as a stock brick tells it when its disk has failed. Layers of a client
//! that can wait (`features/quiesce`) or turn elsewhere (`cluster/replicate`) then send nothing more; the server goes on
//! answering until nothing comes any more, and only then ends the connection, on which nothing is under way.

use std::rc::Rc;
use std::time::Duration;

use super::connection::Connection;
use super::signal::race;
use crate::protocol::rpc::programs::callback;

/// How long nothing has to come before an end: a way to the client and back, and a moment for it.
const QUIET: Duration = Duration::from_millis(100);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// How long a client is served on that does not mind. Nobody misses anything meanwhile.
const LONGEST: Duration = Duration::from_secs(2);
/// When a client that lets applications wait hears again that its brick is there: when all that has waited is on its way for
/// long.
const AGAIN: Duration = Duration::from_secs(10);
/// How often, from then on, it is looked at whether it has something under way, before it hears so anyhow.
const LOOKS: usize = 50;

/// Ends a connection because the server stops, within about `patience`.
pub(super) async fn farewell(connection: Rc<Connection>, patience: Duration) {
    if connection.bound.get().is_some() {
        connection.call_back(callback::CHILD_DOWN, &());
        until_quiet(&connection, patience.min(LONGEST)).await;
    }
    connection.finish("the server stops");
}

async fn until_quiet(connection: &Connection, longest: Duration) {
    let core = &connection.door.core;
    let began = core.now();
    let (mut last, mut since) = (connection.stats.received.get(), began);
    while core.now() - began < longest && core.now() - since < QUIET && !connection.end.is_set() {
        core.sleep(LOOK).await;
        let received = connection.stats.received.get();
        if received != last || connection.is_busy() {
            (last, since) = (received, core.now());
        }
    }
}

/// Tells a client that lets applications wait once more that its brick is there.
///
/// Such a client lets requests through once it has opened its files again. A request that comes at that very moment can miss
/// it, and waits for the next time that `features/quiesce` hears that the brick is there: without this, until the next restart.
/// It must not hear so while it still opens files, which it does all at once.
pub(super) async fn remind(connection: Rc<Connection>) {
    let core = connection.door.core.clone();
    let waited = race(connection.end.wait(), async {
        core.sleep(AGAIN).await;
        for _ in 0..LOOKS {
            if !connection.is_busy() {
                break;
            }
            core.sleep(LOOK).await;
        }
    });
    if waited.await.is_err() {
        connection.call_back(callback::CHILD_UP, &());
    }
}
