//! The terminal of the live view.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};

use super::app::App;
use super::args::TopArgs;
use super::draw;
use super::poll::{self, Pace, Told};
use crate::control::place;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// How long keys are waited for before the bricks' answers are looked at again.
const GLANCE: Duration = Duration::from_millis(100);
/// How often new bricks are looked for.
const SCAN: Duration = Duration::from_secs(1);

/// Shows the bricks until a key or a signal ends it.
pub fn run(args: &TopArgs, sockets: &[PathBuf]) -> Outcome {
    let failed = |error: io::Error| {
        Failure::new(Exit::General, "the terminal cannot be used")
            .because(&error)
            .next("`kiln top --once` prints a frame of text.")
    };
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stopped)).map_err(failed)?;
    }
    // It also sees to it that a panic leaves the terminal in order.
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let pace = Pace::new(Duration::from_secs_f64(args.interval));
    let done = watch(&mut terminal, args, sockets, &pace, &stopped);
    pace.end();
    ratatui::restore();
    done.map_err(failed)
}

/// Reads keys in a thread of its own: when the terminal is gone, what reads from it may never come back, and the signal that
/// tells so must end the process all the same.
fn listen() -> io::Result<mpsc::Receiver<io::Result<Event>>> {
    let (sender, events) = mpsc::channel();
    let listener = move || {
        loop {
            let event = event::read();
            let failed = event.is_err();
            if sender.send(event).is_err() || failed {
                return;
            }
        }
    };
    thread::Builder::new().name("kiln-top-keys".into()).spawn(listener)?;
    Ok(events)
}

fn watch(
    terminal: &mut DefaultTerminal,
    args: &TopArgs,
    sockets: &[PathBuf],
    pace: &Arc<Pace>,
    stopped: &AtomicBool,
) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel::<Told>();
    let events = listen()?;
    let mut app = App::new(sockets, args.orders, pace.get());
    for socket in sockets {
        poll::start(socket.clone(), Arc::clone(pace), sender.clone())?;
    }
    let mut scanned = Instant::now();
    let mut changed = true;
    while !app.over && !stopped.load(Ordering::Relaxed) {
        if args.all && scanned.elapsed() >= SCAN {
            scanned = Instant::now();
            for socket in place::all() {
                if !app.knows(&socket) {
                    app.add(&socket);
                    poll::start(socket, Arc::clone(pace), sender.clone())?;
                }
            }
        }
        for told in receiver.try_iter() {
            app.told(told);
            changed = true;
        }
        if std::mem::take(&mut changed) {
            terminal.draw(|frame| draw::draw(frame, &app))?;
        }
        match events.recv_timeout(GLANCE) {
            Ok(event) => {
                if let Event::Key(key) = event? {
                    app.key(key);
                    pace.set(app.interval);
                }
                changed = true;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
    Ok(())
}
