//! Going into the background.
//!
//! The process that the operator started runs itself a second time, in a session of its own, with a pipe as standard output;
//! it ends when the second one has written that it is mounted, or has ended. Nothing is forked with threads running, and
//! whatever goes wrong before the mount is there is printed on the operator's terminal and becomes the exit status.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// What the child says when it serves.
const READY: &str = "mounted";

/// Runs in the operator's process: starts the daemon and waits until it serves. The working directory stays, so that
/// relative paths mean the same to the child.
pub fn launch() -> Outcome {
    let failed =
        |error: &std::io::Error| Failure::new(Exit::General, "the daemon does not start").because(error);
    let program = std::env::current_exe().map_err(|error| failed(&error))?;
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut child = Command::new(program)
        .arg("--detached")
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error))?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        // A child that dies closes the pipe; its exit status tells more than the error here.
        let _ = BufReader::new(stdout).read_line(&mut line);
    }
    if line.trim_end() == READY {
        return Ok(());
    }
    let status = child.wait().map_err(|error| failed(&error))?;
    match status.code() {
        // It has printed why.
        Some(code) => std::process::exit(if code == 0 { i32::from(Exit::General as u8) } else { code }),
        None => Err(Failure::new(Exit::General, format!("the daemon ended before it was mounted: {status}"))),
    }
}

/// Runs in the child, first of all: away from the operator's terminal and its signals.
pub fn detach() {
    if let Err(error) = rustix::process::setsid() {
        tracing::debug!(%error, "the daemon is a session leader already");
    }
}

/// Runs in the child once it serves: lets the parent go, and lets go of its terminal and directory.
///
/// # Errors
/// When the parent is gone: whoever wanted the daemon has given up.
pub fn ready() -> Outcome {
    let failed =
        |error: std::io::Error| Failure::new(Exit::General, "nobody waits for this daemon").because(&error);
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{READY}").and_then(|()| stdout.flush()).map_err(failed)?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").map_err(failed)?;
    let errno = |errno: rustix::io::Errno| failed(errno.into());
    rustix::stdio::dup2_stdin(&null).map_err(errno)?;
    rustix::stdio::dup2_stdout(&null).map_err(errno)?;
    rustix::stdio::dup2_stderr(&null).map_err(errno)?;
    std::env::set_current_dir("/").map_err(failed)
}
