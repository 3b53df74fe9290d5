//! One module per command.

pub mod check;
pub mod clients;
pub mod dump;
pub mod generate;
pub mod load;
pub mod mount;
pub mod options;
pub mod python;
pub mod serve;
pub mod stats;
pub mod table;
pub mod top;
pub mod volfile;

use std::io::{self, Write as _};

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// Prints on standard output. A reader that hangs up (`| head`) is no failure.
pub fn print(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::new(Exit::General, "standard output cannot be written").because(&error)),
    }
}

/// Prints as indented JSON.
pub fn print_json(value: &impl serde::Serialize) -> Outcome {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| {
        Failure::new(Exit::General, "the answer cannot be written as JSON").because(&error)
    })?;
    text.push('\n');
    print(&text)
}
