//! `kiln completions` and `kiln man`

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use crate::cli::Cli;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// Prints a completion script.
pub fn completions(shell: clap_complete::Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kiln", &mut script);
    super::print(&String::from_utf8_lossy(&script))
}

/// Writes all man pages into `dir`, or the main page to standard output.
pub fn man(dir: Option<&Path>) -> Outcome {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    match dir {
        None => {
            let page = page(&command).map_err(|error| {
                Failure::new(Exit::General, "the man page cannot be made").because(&error)
            })?;
            super::print(&page)
        }
        Some(dir) => {
            std::fs::create_dir_all(dir).and_then(|()| write_pages(&command, dir)).map_err(|error| {
                let what = format!("the man pages cannot be written to {}", dir.display());
                Failure::new(Exit::General, what).because(&error)
            })
        }
    }
}

fn write_pages(command: &Command, dir: &Path) -> io::Result<()> {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        write_pages(sub, dir)?;
    }
    std::fs::write(dir.join(format!("{}.1", name_of(command))), page(command)?)
}

/// `kiln-volfile-check` for `kiln volfile check`.
fn name_of(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page(command: &Command) -> io::Result<String> {
    let man = Man::new(command.clone()).source(concat!("kiln ", env!("CARGO_PKG_VERSION")));
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut out)?;
    }
    let mut page = String::from_utf8_lossy(&out).into_owned();
    let more = command.get_after_long_help().or_else(|| command.get_after_help());
    if let Some(more) = more {
        page.push_str(&sections(&more.to_string()));
    }
    Ok(page)
}

/// The text after the options as sections of a page: `Examples:` becomes `EXAMPLES`, its lines stay as they are.
fn sections(text: &str) -> String {
    let mut out = String::new();
    for block in text.split("\n\n") {
        let (heading, body) = match block.split_once(":\n") {
            Some((heading, body)) if !heading.contains('\n') => (heading.to_uppercase(), body),
            _ => ("NOTES".into(), block),
        };
        let body: Vec<String> = body.lines().map(roff_line).collect();
        // Writing to a string cannot fail.
        let _ = write!(out, ".SH \"{heading}\"\n.nf\n{}\n.fi\n", body.join("\n"));
    }
    out
}

fn roff_line(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_keep_their_lines() {
        assert_eq!(
            sections("Examples:\n  a --b\n  .c\n\nMore is said\nelsewhere: there."),
            ".SH \"EXAMPLES\"\n.nf\n  a \\-\\-b\n  .c\n.fi\n.SH \"NOTES\"\n.nf\nMore is said\nelsewhere: there.\n.fi\n"
        );
        assert_eq!(roff_line(".x\\"), "\\&.x\\e");
    }
}
