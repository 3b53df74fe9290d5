//! A volfile from disk.

use std::path::Path;

use super::{Diagnostic, Report, Severity, Span, Volfile, check, parse};

/// Longest volfile that is read, in bytes; the largest that glusterd writes is some hundred KB.
pub const MAX_LEN: u64 = 16 << 20;

/// Reads and checks a text; `file` is its name in the findings. The volfile may be used only if
/// [`Report::has_errors`] is false.
#[must_use]
pub fn read(file: &str, text: &str) -> (Volfile, Report) {
    let (volfile, mut findings) = parse(text);
    let mistakes: Vec<Span> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| finding.span)
        .collect();
    // What a syntax error has damaged is not blamed a second time, nor is what only seems odd because of it.
    let is_new = |finding: &Diagnostic| {
        mistakes.is_empty() || (finding.severity == Severity::Error && !mistakes.contains(&finding.span))
    };
    findings.extend(check(&volfile).into_iter().filter(is_new));
    (volfile, Report::new(file, text, findings))
}

/// The same for bytes, which need not be UTF-8.
#[must_use]
pub fn read_bytes(file: &str, bytes: &[u8]) -> (Volfile, Report) {
    match std::str::from_utf8(bytes) {
        Ok(text) => read(file, text),
        Err(error) => {
            let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let line_start = before.rfind('\n').map_or(0, |at| at + 1);
            let span = Span {
                line: before.matches('\n').count() + 1,
                column: before[line_start..].chars().count() + 1,
                len: 1,
            };
            let finding = Diagnostic::error(span, "the file is not UTF-8 text from here on")
                .help("is it a volfile? If it is, convert it: `iconv -f LATIN1 -t UTF-8`");
            (Volfile::default(), Report::new(file, String::from_utf8_lossy(bytes), vec![finding]))
        }
    }
}

/// Reads and checks a file.
///
/// # Errors
/// When it cannot be read or is longer than [`MAX_LEN`].
pub fn load(path: &Path) -> std::io::Result<(Volfile, Report)> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_LEN + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_LEN {
        let reason = format!("it is longer than {} MiB and surely no volfile", MAX_LEN >> 20);
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, reason));
    }
    Ok(read_bytes(&path.display().to_string(), &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_placed() {
        let (_, report) = read_bytes("x", b"volume a\n\xc3\xa4 \xe4");
        assert_eq!(report.diagnostics[0].span, Span { line: 2, column: 3, len: 1 });
        assert!(report.has_errors());
    }
}
