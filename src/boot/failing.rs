//! What becomes of a brick whose graph has failed: its disk is sick, or its directory is gone.
//!
//! Every fop fails meanwhile, and nothing heals it. As the stock brick does, the process waits for some time (`--failure-grace`,
//! 30 seconds), in which an operator can look at it with `kiln dump`, and then stops in order; when that takes as long
//! again, because something hangs in the kernel, it ends as it stands.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use kiln_uring::Core;

use super::cores::{self, Cores};
use super::signals::Event;
use crate::exit::Exit;
use crate::failure::Failure;

/// How often the graph is asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long the orderly end of a failed brick may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks the graph of the first core from now on, which is where the layers' checks run, until it has failed or is gone.
pub fn watch(cores: &Cores, events: Sender<Event>) {
    let job = |core: &Core| {
        let core = core.clone();
        core.clone().spawn(async move {
            loop {
                core.sleep(INTERVAL).await;
                match cores::with_graph(|graph| graph.failure()) {
                    Some(None) => {}
                    Some(Some(reason)) => {
                        // The main thread listens until the end begins.
                        let _ = events.send(Event::Failed(reason));
                        return;
                    }
                    None => return,
                }
            }
        });
    };
    let posted = cores.remotes().first().is_some_and(|first| first.post(job).is_ok());
    if !posted {
        tracing::error!("nobody watches the brick's health: the first core takes no jobs");
    }
}

/// The events of a running brick, and what is left of the grace of one that has failed.
pub struct Inbox {
    events: Receiver<Event>,
    grace: Duration,
    failed: Option<(String, Instant)>,
}

impl Inbox {
    /// Of a brick that has not failed.
    pub const fn new(events: Receiver<Event>, grace: Duration) -> Self {
        Self { events, grace, failed: None }
    }

    /// The next event that is the caller's; `None` when a failed brick's time is over.
    pub fn next(&mut self) -> Option<Event> {
        loop {
            let event = match &self.failed {
                None => self.events.recv().ok()?,
                Some((_, end)) => {
                    match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                        Ok(event) => event,
                        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
                    }
                }
            };
            let Event::Failed(reason) = event else { return Some(event) };
            tracing::error!("{reason}; the process ends in {} s", self.grace.as_secs());
            self.failed.get_or_insert((reason, Instant::now() + self.grace));
        }
    }

    /// How the process ends because the brick has failed, if it has. From now on it does not live much longer, whatever its end
    /// waits for.
    pub fn failure(self) -> Option<Failure> {
        let (reason, _) = self.failed?;
        let force = || {
            std::thread::sleep(PATIENCE);
            tracing::error!("the failed brick does not come to its end: it is cut off");
            super::abandon_mount();
            Exit::Brick.now();
        };
        if let Err(error) = std::thread::Builder::new().name("kiln-force".into()).spawn(force) {
            tracing::warn!(%error, "nobody ends the process if its orderly end hangs");
        }
        let failure = Failure::new(Exit::Brick, "the brick has failed").reason(reason);
        Some(failure.next(
            "Look at the disk and at the kernel's log, then `kiln check` the brick and start it again.",
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_failed_brick_has_its_grace_and_no_more() {
        let (sender, events) = channel();
        let mut inbox = Inbox::new(events, Duration::from_millis(300));
        let start = Instant::now();
        for event in [Event::Failed("gone".into()), Event::Reload, Event::Failed("again".into())] {
            sender.send(event).unwrap();
        }
        assert_eq!(inbox.next(), Some(Event::Reload));
        assert_eq!(inbox.next(), None);
        assert!(start.elapsed() >= Duration::from_millis(300));
        let text = inbox.failure().unwrap().to_string();
        assert!(text.contains("gone") && !text.contains("again"), "{text}");
    }

    #[test]
    fn a_stopped_brick_has_not_failed() {
        let (sender, events) = channel();
        let mut inbox = Inbox::new(events, Duration::ZERO);
        sender.send(Event::Unmounted).unwrap();
        assert_eq!(inbox.next(), Some(Event::Unmounted));
        assert!(inbox.failure().is_none());
    }
}
