//! Logs: for people when stderr is a terminal, JSON on request, to a file that can be rotated.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::cli::{LogArgs, LogFormat};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// Where log lines go; [`Log::reopen`] follows a rotation.
#[derive(Clone, Debug)]
pub struct Log {
    file: Option<(PathBuf, Arc<Mutex<File>>)>,
}

impl Log {
    /// Starts logging, to `file` or else to stderr.
    pub fn start(args: &LogArgs, file: Option<PathBuf>) -> Outcome<Self> {
        let filter = EnvFilter::try_new(&args.log_level).map_err(|error| {
            Failure::new(Exit::Usage, format!("`{}` is no log level", args.log_level))
                .because(&error)
                .next("Use error, warn, info, debug or trace, or directives such as `info,kiln_uring=debug`.")
        })?;
        let log = Self {
            file: match file {
                None => None,
                Some(path) => {
                    let file = open(&path).map_err(|error| {
                        Failure::new(
                            Exit::General,
                            format!("the log file {} cannot be opened", path.display()),
                        )
                        .because(&error)
                        .next("Give another with --log-file.")
                    })?;
                    Some((path, Arc::new(Mutex::new(file))))
                }
            },
        };
        let colours =
            log.file.is_none() && io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let builder =
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(log.clone()).with_ansi(colours);
        let started = match args.log_format {
            LogFormat::Human => builder.try_init(),
            LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
        };
        started.map_err(|error| Failure::new(Exit::General, "logging does not start").because(&*error))?;
        Ok(log)
    }

    /// Opens the log file anew, after logrotate has renamed the old one.
    pub fn reopen(&self) {
        let Some((path, file)) = &self.file else { return };
        match open(path) {
            Ok(new) => *file.lock().unwrap_or_else(PoisonError::into_inner) = new,
            Err(error) => tracing::error!(%error, "the log file {} cannot be opened again", path.display()),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// One line on its way out.
pub enum Line {
    Stderr(io::Stderr),
    File(Arc<Mutex<File>>),
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stderr(stderr) => stderr.write(bytes),
            Self::File(file) => file.lock().unwrap_or_else(PoisonError::into_inner).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        match &self.file {
            None => Line::Stderr(io::stderr()),
            Some((_, file)) => Line::File(Arc::clone(file)),
        }
    }
}

/// Panics go to the log. The engine drops the task that panicked and goes on; see [`crate::boot`] for what
/// happens when it cannot.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        let place = info
            .location()
            .map_or_else(String::new, |place| format!(" at {}:{}", place.file(), place.line()));
        let payload = info.payload();
        let message = payload.downcast_ref::<&str>().copied();
        let message =
            message.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        let trace = std::backtrace::Backtrace::capture();
        tracing::error!(thread = thread.name().unwrap_or("unnamed"), "panic{place}: {message}\n{trace}");
    }));
}
