//! `kiln top`

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use crate::cli::TargetArgs;
use crate::control::{client, place};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::top::args::TopArgs;
use crate::top::brick::Brick;
use crate::top::{live, plain, poll};

/// Shows frames, or the live view.
pub fn run(args: &TopArgs) -> Outcome {
    let sockets = targets(args)?;
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let count = if args.once { Some(1) } else { args.batch };
    if count.is_some() || args.json || dumb || !std::io::stdout().is_terminal() {
        return frames(args, &sockets, count);
    }
    live::run(args, &sockets)
}

/// The sockets that the command line means.
fn targets(args: &TopArgs) -> Outcome<Vec<PathBuf>> {
    let mut sockets = args.socket.clone();
    for name in &args.name {
        sockets.push(place::socket_of(name)?);
    }
    if sockets.is_empty() {
        sockets = place::all();
        if sockets.is_empty() && !args.all {
            // It says why there is none.
            sockets.push(client::target(&TargetArgs { name: None, socket: None })?);
        }
    }
    // One that is named twice counts once.
    let mut seen = Vec::new();
    sockets.retain(|socket| {
        !seen.contains(socket) && {
            seen.push(socket.clone());
            true
        }
    });
    Ok(sockets)
}

/// So many frames, each after an interval; without a number, until nobody reads them.
fn frames(args: &TopArgs, sockets: &[PathBuf], count: Option<u64>) -> Outcome {
    let mut bricks: Vec<Brick> = sockets.iter().map(|socket| Brick::new(socket)).collect();
    let interval = Duration::from_secs_f64(args.interval);
    let mut shown = 0;
    let mut first = true;
    while count.is_none_or(|count| shown < count) {
        let began = Instant::now();
        if args.all {
            for socket in place::all() {
                if !bricks.iter().any(|brick| brick.socket == socket) {
                    bricks.push(Brick::new(&socket));
                }
            }
        }
        let sockets: Vec<PathBuf> = bricks.iter().map(|brick| brick.socket.clone()).collect();
        for ((_, answer), brick) in poll::round(&sockets).into_iter().zip(&mut bricks) {
            brick.told(answer);
        }
        // The first look has no interval before it.
        if !std::mem::take(&mut first) {
            show(args, &bricks)?;
            shown += 1;
        }
        if count.is_none_or(|count| shown < count) {
            std::thread::sleep(interval.saturating_sub(began.elapsed()));
        }
    }
    if !bricks.is_empty() && bricks.iter().all(|brick| brick.gone.is_some()) {
        return Err(Failure::new(Exit::Control, "no brick answers"));
    }
    Ok(())
}

fn show(args: &TopArgs, bricks: &[Brick]) -> Outcome {
    if args.json {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        return super::print_json(&json!({ "time": time.as_secs_f64(), "bricks": bricks }));
    }
    super::print(&plain::frame(bricks, args.orders))
}
