//! What happens to a running brick: signals, the end of its mount, a layer that fails.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Stop in order.
    Stop(&'static str),
    /// Read the volfile again, open the log file again.
    Reload,
    /// Somebody has unmounted it.
    Unmounted,
    /// A layer cannot serve any more, with the reason.
    Failed(String),
}

/// Catches signals from now on, on a thread of its own. A second request to stop ends the process at once, whatever the
/// first one waits for.
pub fn catch() -> Outcome<(Sender<Event>, Receiver<Event>)> {
    let failed =
        |error: std::io::Error| Failure::new(Exit::General, "signals cannot be caught").because(&error);
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(failed)?;
    let (sender, receiver) = channel();
    let events = sender.clone();
    let watch = move || {
        let mut stopping = false;
        for signal in signals.forever() {
            let event = match signal {
                SIGHUP => Event::Reload,
                SIGINT => Event::Stop("SIGINT"),
                _ => Event::Stop("SIGTERM"),
            };
            if event != Event::Reload && std::mem::replace(&mut stopping, true) {
                tracing::warn!("a second signal: the brick stops at once");
                super::abandon_mount();
                Exit::CutOff.now();
            }
            // The main thread is the only receiver; without it there is nobody left to tell.
            let _ = events.send(event);
        }
    };
    thread::Builder::new().name("kiln-signals".into()).spawn(watch).map_err(failed)?;
    Ok((sender, receiver))
}
