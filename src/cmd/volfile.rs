//! `kiln volfile check` and `kiln volfile show`

use std::path::{Path, PathBuf};

use kiln_xlators::volfile::{self, Severity, show as picture};

use crate::boot;
use crate::cli::PictureFormat;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// Prints every finding about every file.
pub fn check(files: &[PathBuf]) -> Outcome {
    let mut bad = 0;
    for file in files {
        match volfile::load(file) {
            Err(error) => {
                Failure::new(Exit::Volfile, format!("{} cannot be read", file.display()))
                    .because(&error)
                    .print();
                bad += 1;
            }
            Ok((volfile, report)) => {
                boot::print_findings(&report);
                if report.has_errors() {
                    bad += 1;
                } else if report.count(Severity::Warning) == 0 {
                    let nodes = volfile.nodes.len();
                    super::print(&format!(
                        "{}: good, {nodes} node{}\n",
                        file.display(),
                        if nodes == 1 { "" } else { "s" }
                    ))?;
                }
            }
        }
    }
    // The findings have been printed; only the status is left to tell.
    if bad > 0 { Err(Failure::new(Exit::Volfile, "")) } else { Ok(()) }
}

/// Draws a graph.
pub fn show(file: &Path, format: Option<PictureFormat>, output: Option<&Path>) -> Outcome {
    let (volfile, report) = volfile::load(file).map_err(|error| {
        Failure::new(Exit::Volfile, format!("the volfile {} cannot be read", file.display())).because(&error)
    })?;
    // A volfile with mistakes can be drawn as far as it was understood, which helps to find them.
    boot::print_findings(&report);
    if volfile.nodes.is_empty() {
        return Err(Failure::new(Exit::Volfile, format!("{} describes no graph", file.display())));
    }
    let text = match format.unwrap_or_else(|| format_of(output)) {
        PictureFormat::Text => picture::text(&volfile),
        PictureFormat::Dot => picture::dot(&volfile),
        PictureFormat::Svg => picture::svg(&volfile),
    };
    match output {
        None => super::print(&text),
        Some(path) => std::fs::write(path, text).map_err(|error| {
            Failure::new(Exit::General, format!("{} cannot be written", path.display())).because(&error)
        }),
    }
}

fn format_of(output: Option<&Path>) -> PictureFormat {
    match output.and_then(Path::extension).and_then(|extension| extension.to_str()) {
        Some("svg") => PictureFormat::Svg,
        Some("dot" | "gv") => PictureFormat::Dot,
        _ => PictureFormat::Text,
    }
}
