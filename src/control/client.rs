//! The commands' end of the control socket.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::place;
use super::protocol::{Answer, Ask, MAX_ANSWER, Request};
use crate::cli::TargetArgs;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// How long a brick may take for an answer; it gives up on silent cores long before.
const PATIENCE: Duration = Duration::from_secs(30);

/// The socket of the brick that the command line means.
pub fn target(args: &TargetArgs) -> Outcome<PathBuf> {
    if let Some(socket) = &args.socket {
        return Ok(socket.clone());
    }
    if let Some(name) = &args.name {
        return place::socket_of(name);
    }
    let mut running = place::all();
    match (running.pop(), running.as_slice()) {
        (Some(only), []) => Ok(only),
        (None, _) => Err(Failure::new(
            Exit::Control,
            format!("no brick runs here (none in {})", place::directory().display()),
        )
        .next("Start one with `kiln mount`, or give its control socket with --socket.")),
        (Some(last), others) => {
            let names: Vec<_> =
                others.iter().chain([&last]).filter_map(|path| path.file_stem()?.to_str()).collect();
            Err(Failure::new(Exit::Control, format!("several bricks run here: {}", names.join(", ")))
                .next("Say which with --name."))
        }
    }
}

/// Asks and waits for the answer.
pub fn ask<T: DeserializeOwned>(socket: &Path, request: Ask) -> Outcome<T> {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        Failure::new(Exit::Control, format!("no answer from the brick at {}", socket.display()))
            .because(error)
    };
    let stream = UnixStream::connect(socket).map_err(|error| {
        failed(&error).next(match error.kind() {
            std::io::ErrorKind::NotFound => {
                "No brick of that name runs here; `kiln stats` without --name finds the only one."
            }
            std::io::ErrorKind::ConnectionRefused => "The brick that made this socket is gone.",
            std::io::ErrorKind::PermissionDenied => "Ask as the user who runs the brick, or as root.",
            _ => "Is it a control socket of `kiln mount`?",
        })
    })?;
    let answer = exchange(&stream, request).map_err(|error| failed(&error))?;
    match serde_json::from_slice(&answer) {
        Ok(Answer::Ok(answer)) => Ok(answer),
        Ok(Answer::Error(reason)) => {
            Err(Failure::new(Exit::Control, format!("the brick at {} refused", socket.display()))
                .reason(reason))
        }
        Err(error) => Err(failed(&error).next("Is the brick of another version of Kiln?")),
    }
}

fn exchange(mut stream: &UnixStream, request: Ask) -> std::io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(&Request { ask: request })?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(MAX_ANSWER)).read_until(b'\n', &mut answer)?;
    if answer.is_empty() {
        return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "it hung up without an answer"));
    }
    Ok(answer)
}
