//! What is wrong with a volfile, where, and what to write instead.

use std::fmt::{self, Write as _};

use super::Span;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing: the volfile loads and does what it says.
    Note,
    /// The volfile loads, but hardly does what was meant.
    Warning,
    /// The volfile does not load.
    Error,
}

impl Severity {
    const fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// The ANSI colour that terminals show it in.
    const fn colour(self) -> &'static str {
        match self {
            Self::Note => "\x1b[1;36m",
            Self::Warning => "\x1b[1;33m",
            Self::Error => "\x1b[1;31m",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Where; line 0 when it is about the file as a whole.
    pub span: Span,
    /// One sentence.
    pub message: String,
    /// A few words under the offending text; may be empty.
    pub label: String,
    /// The text of the file that it is about, cut to its first line; empty when it is about the file as a whole.
    pub offending: String,
    /// What to do about it.
    pub suggestion: Option<String>,
}

impl Diagnostic {
    /// A finding without label and suggestion.
    #[must_use]
    pub fn new(severity: Severity, span: Span, message: impl Into<String>) -> Self {
        Self {
            severity,
            span,
            message: message.into(),
            label: String::new(),
            offending: String::new(),
            suggestion: None,
        }
    }

    /// An error.
    #[must_use]
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, span, message)
    }

    /// A warning.
    #[must_use]
    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, span, message)
    }

    /// A note.
    #[must_use]
    pub fn note(span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, span, message)
    }

    /// The same with words under the offending text.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn help(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }
}

/// All findings about one file, in the order of their places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The file's name, as the operator gave it.
    pub file: String,
    /// Its text.
    pub source: String,
    /// The findings.
    pub diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// Sorts the findings by place and takes over the offending text of each from the source.
    #[must_use]
    pub fn new(file: impl Into<String>, source: impl Into<String>, mut diagnostics: Vec<Diagnostic>) -> Self {
        let source = source.into();
        let lines: Vec<&str> = source.lines().collect();
        diagnostics.sort_by_key(|diagnostic| (diagnostic.span, std::cmp::Reverse(diagnostic.severity)));
        for diagnostic in &mut diagnostics {
            let line =
                diagnostic.span.line.checked_sub(1).and_then(|index| lines.get(index)).copied().unwrap_or("");
            diagnostic.offending = text_at(line, diagnostic.span);
        }
        Self { file: file.into(), source, diagnostics }
    }

    /// Whether the volfile cannot be loaded.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// How many findings of that severity there are.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }

    /// The findings as text, each with the line it is about, followed by a line that counts them; empty without findings.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        let lines: Vec<&str> = self.source.lines().collect();
        let mut out = String::new();
        for diagnostic in &self.diagnostics {
            // Writing to a string cannot fail.
            let _ = self.render_one(&mut out, diagnostic, &lines, style);
        }
        if !self.diagnostics.is_empty() {
            let counts: Vec<String> = [Severity::Error, Severity::Warning, Severity::Note]
                .into_iter()
                .map(|severity| (self.count(severity), severity.word()))
                .filter(|(count, _)| *count > 0)
                .map(|(count, word)| format!("{count} {word}{}", if count == 1 { "" } else { "s" }))
                .collect();
            let _ = writeln!(out, "{}: {}", self.file, counts.join(", "));
        }
        out
    }

    fn render_one(
        &self,
        out: &mut String,
        diagnostic: &Diagnostic,
        lines: &[&str],
        style: Style,
    ) -> fmt::Result {
        let (accent, bold, blue, reset) = match style {
            Style::Plain => ("", "", "", ""),
            Style::Colour => (diagnostic.severity.colour(), "\x1b[1m", "\x1b[1;34m", "\x1b[0m"),
        };
        let Diagnostic { severity, span, .. } = diagnostic;
        writeln!(out, "{accent}{}{reset}{bold}: {}{reset}", severity.word(), printable(&diagnostic.message))?;
        if span.line == 0 {
            writeln!(out, " {blue}-->{reset} {}", self.file)?;
            if let Some(help) = &diagnostic.suggestion {
                writeln!(out, "  {blue}={reset} {bold}help{reset}: {}", printable(help))?;
            }
            return writeln!(out);
        }
        let number = span.line.to_string();
        let gutter = " ".repeat(number.len());
        let line = lines.get(span.line - 1).copied().unwrap_or("");
        let before = span.column.saturating_sub(1);
        // At the end of a line there is nothing to underline but the place itself.
        let room = line.chars().count().saturating_sub(before).max(1);
        let carets = "^".repeat(span.len.clamp(1, room));
        let space = if diagnostic.label.is_empty() { "" } else { " " };
        writeln!(out, "{gutter}{blue}-->{reset} {}:{}:{}", self.file, span.line, span.column)?;
        writeln!(out, "{gutter} {blue}|{reset}")?;
        let shown = printable(line);
        let (gap, shown) = if shown.trim().is_empty() { ("", "") } else { (" ", shown.trim_end()) };
        writeln!(out, "{blue}{number} |{reset}{gap}{shown}")?;
        writeln!(
            out,
            "{gutter} {blue}|{reset} {}{accent}{carets}{space}{}{reset}",
            " ".repeat(before),
            printable(&diagnostic.label)
        )?;
        if let Some(help) = &diagnostic.suggestion {
            writeln!(out, "{gutter} {blue}={reset} {bold}help{reset}: {}", printable(help))?;
        }
        writeln!(out)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Style::Plain))
    }
}

/// Whether findings are rendered for a terminal that shows colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Text only.
    #[default]
    Plain,
    /// With ANSI colours.
    Colour,
}

/// Every character as exactly one that moves the cursor by one place: a tab becomes a blank, and a volfile cannot send
/// control sequences to the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

fn text_at(line: &str, span: Span) -> String {
    line.chars().skip(span.column.saturating_sub(1)).take(span.len).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_points_at_its_text() {
        let span = Span { line: 2, column: 9, len: 12 };
        let finding = Diagnostic::error(span, "there is no translator `storage/posx`")
            .label("unknown translator")
            .help("did you mean `storage/posix`?");
        let report = Report::new("a.vol", "volume a\n\t\t type storage/posx\n", vec![finding]);
        assert_eq!(report.diagnostics[0].offending, "storage/posx");
        assert_eq!(
            report.to_string(),
            "error: there is no translator `storage/posx`\n \
             --> a.vol:2:9\n  \
             |\n\
             2 |    type storage/posx\n  \
             |         ^^^^^^^^^^^^ unknown translator\n  \
             = help: did you mean `storage/posix`?\n\n\
             a.vol: 1 error\n"
        );
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let report = Report::new(
            "a",
            "\x1b[31m",
            vec![Diagnostic::error(Span { line: 1, column: 1, len: 9 }, "\x07")],
        );
        assert!(!report.to_string().contains(['\x1b', '\x07']));
    }
}
