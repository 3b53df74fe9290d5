//! Who asks the bricks: a thread for each, so that one that hangs holds up no other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use crate::control::client;
use crate::control::protocol::{Ask, Stats};

/// Between the first two looks, so that there is something to see soon.
const FIRST: Duration = Duration::from_millis(300);
/// How soon an asker notices that the interval has become shorter, or that nobody listens any more.
const STEP: Duration = Duration::from_millis(50);

/// An answer, or why there is none, of the brick at this socket.
pub type Told = (PathBuf, Result<Stats, String>);

/// Asks once.
pub fn ask(socket: &Path) -> Result<Stats, String> {
    client::ask(socket, Ask::Stats).map_err(|failure| {
        // Its lines as one, without who says it.
        let text = failure.to_string();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        lines.join(" ").trim_start_matches("kiln: ").to_owned()
    })
}

/// Asks all at once, and waits for all.
pub fn round(sockets: &[PathBuf]) -> Vec<Told> {
    thread::scope(|scope| {
        let asked: Vec<_> = sockets.iter().map(|socket| (socket, scope.spawn(move || ask(socket)))).collect();
        asked
            .into_iter()
            .map(|(socket, asked)| {
                (socket.clone(), asked.join().unwrap_or_else(|_| Err("the asker died".into())))
            })
            .collect()
    })
}

/// What the askers share.
#[derive(Debug)]
pub struct Pace {
    millis: AtomicU64,
    over: AtomicBool,
}

impl Pace {
    pub fn new(interval: Duration) -> Arc<Self> {
        let pace = Self { millis: AtomicU64::new(0), over: AtomicBool::new(false) };
        pace.set(interval);
        Arc::new(pace)
    }

    pub fn set(&self, interval: Duration) {
        self.millis.store(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn get(&self) -> Duration {
        Duration::from_millis(self.millis.load(Ordering::Relaxed))
    }

    /// The askers may go.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Asks again and again, until `sender` has no receiver or the end comes.
///
/// # Errors
/// When no thread is to be had.
pub fn start(socket: PathBuf, pace: Arc<Pace>, sender: Sender<Told>) -> std::io::Result<()> {
    let asker = move || {
        let mut asked = 0;
        while !pace.over.load(Ordering::Relaxed) {
            let began = Instant::now();
            if sender.send((socket.clone(), ask(&socket))).is_err() {
                return;
            }
            asked += 1;
            let wait = || if asked == 1 { pace.get().min(FIRST) } else { pace.get() };
            while began.elapsed() < wait() && !pace.over.load(Ordering::Relaxed) {
                thread::sleep(STEP.min(wait().saturating_sub(began.elapsed())));
            }
        }
    };
    thread::Builder::new().name("kiln-top-ask".into()).spawn(asker).map(drop)
}
