//! From text to words.
//!
//! The rules are those of GlusterFS: line structure means nothing; a word ends at white space, at a quote, or at a
//! backslash; `#` starts a comment only where a word could start. GlusterFS also runs whatever stands between back-ticks
//! as a shell command. Kiln does not, and says so.

use super::{Diagnostic, Span};

/// What a word means to the parser. Quoted words are never keywords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Volume,
    Type,
    Option,
    Subvolumes,
    EndVolume,
    Word,
    /// After the last word; its span is the place where the file ends.
    End,
}

impl Kind {
    /// The keyword that `word` is, if it is one.
    pub(super) fn of(word: &str) -> Self {
        match word {
            "volume" => Self::Volume,
            "type" => Self::Type,
            "option" => Self::Option,
            "subvolumes" | "subvolumeS" => Self::Subvolumes,
            "end-volume" => Self::EndVolume,
            _ => Self::Word,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    /// Quotes and escapes resolved.
    pub text: String,
    pub quoted: bool,
    pub span: Span,
}

/// All words of `text`, the last of kind [`Kind::End`], and what could not be read. A bad piece is reported once and
/// skipped.
pub(super) fn lex(text: &str) -> (Vec<Token>, Vec<Diagnostic>) {
    let mut lexer =
        Lexer { chars: text.chars().peekable(), line: 1, column: 1, tokens: Vec::new(), errors: Vec::new() };
    lexer.run();
    (lexer.tokens, lexer.errors)
}

struct Lexer<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
    column: usize,
    tokens: Vec<Token>,
    errors: Vec<Diagnostic>,
}

impl Lexer<'_> {
    fn run(&mut self) {
        while let Some(&next) = self.chars.peek() {
            match next {
                ' ' | '\t' | '\r' | '\n' => _ = self.take(),
                '#' => self.comment(),
                '"' => self.quoted(),
                '\\' => self.stray_backslash(),
                _ => self.word(),
            }
        }
        self.push(Kind::End, String::new(), false, self.here(0));
    }

    fn take(&mut self) -> Option<char> {
        let taken = self.chars.next()?;
        if taken == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(taken)
    }

    /// The next character, when it belongs to an unquoted word.
    fn take_word_char(&mut self) -> Option<char> {
        let next = *self.chars.peek()?;
        if matches!(next, ' ' | '\t' | '\r' | '\n' | '"' | '\\') { None } else { self.take() }
    }

    const fn here(&self, len: usize) -> Span {
        Span { line: self.line, column: self.column, len }
    }

    fn push(&mut self, kind: Kind, text: String, quoted: bool, span: Span) {
        self.tokens.push(Token { kind, text, quoted, span });
    }

    fn comment(&mut self) {
        while self.chars.peek().is_some_and(|next| *next != '\n') {
            self.take();
        }
    }

    fn word(&mut self) {
        let mut span = self.here(0);
        let mut text = String::new();
        while let Some(next) = self.take_word_char() {
            text.push(next);
            span.len += 1;
        }
        self.refuse_bad_characters(&text, span);
        self.push(Kind::of(&text), text, false, span);
    }

    fn quoted(&mut self) {
        let mut span = self.here(1);
        let mut text = String::new();
        // Back-ticks that a backslash precedes are not commands for GlusterFS either.
        let mut literal = String::new();
        self.take();
        loop {
            let Some(next) = self.take() else {
                let help = "write a `\"` where the text ends; inside the quotes, `\\\"` stands for a quote";
                self.errors.push(
                    Diagnostic::error(Span { len: 1, ..span }, "this quote is never closed")
                        .label("opened here")
                        .help(help),
                );
                break;
            };
            span.len += 1;
            match next {
                '"' => break,
                '\n' => {}
                '\\' => {
                    if let Some(escaped) = self.take() {
                        span.len += 1;
                        text.push(escaped);
                        literal.extend((escaped == '\0').then_some(escaped));
                    }
                }
                other => {
                    text.push(other);
                    literal.push(other);
                }
            }
        }
        self.refuse_bad_characters(&literal, span);
        self.push(Kind::Word, text, true, span);
    }

    fn stray_backslash(&mut self) {
        let span = self.here(1);
        self.take();
        self.errors.push(
            Diagnostic::error(span, "a backslash stands outside of quotes")
                .help("put the whole word into quotes and write `\\\\` for each backslash in it"),
        );
    }

    fn refuse_bad_characters(&mut self, text: &str, span: Span) {
        if text.contains('`') {
            self.errors.push(
                Diagnostic::error(span, "back-ticks are not supported")
                    .label("GlusterFS would run a shell command here")
                    .help("write the command's output into the volfile; in a quoted word, \\` stands for a back-tick"),
            );
        }
        if text.contains('\0') {
            self.errors
                .push(Diagnostic::error(span, "a word cannot contain a NUL character").help("remove it"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<(Kind, String)> {
        let (tokens, errors) = lex(text);
        assert_eq!(errors, []);
        tokens
            .into_iter()
            .filter(|token| token.kind != Kind::End)
            .map(|token| (token.kind, token.text))
            .collect()
    }

    #[test]
    fn keywords_are_whole_unquoted_words() {
        let kinds: Vec<Kind> =
            words("volume volumes subvolumes subvolumeS Volume \"volume\" volume-id end-volume end-volume#x")
                .into_iter()
                .map(|(kind, _)| kind)
                .collect();
        use Kind::{EndVolume, Subvolumes, Volume, Word};
        assert_eq!(kinds, [Volume, Word, Subvolumes, Subvolumes, Word, Word, Word, EndVolume, Word]);
    }

    #[test]
    fn quotes_escapes_and_comments() {
        let texts: Vec<String> = words("a#b #c\n# d\n\"e\nf\\\"\\\\\\n \"g\"\" \"\\`\"")
            .into_iter()
            .map(|(_, text)| text)
            .collect();
        assert_eq!(texts, ["a#b", "ef\"\\n ", "g", "", "`"]);
    }

    #[test]
    fn places_count_characters() {
        let (tokens, _) = lex("é \"ü\"\r\n\tx");
        let places: Vec<_> =
            tokens.iter().map(|token| (token.span.line, token.span.column, token.span.len)).collect();
        assert_eq!(places, [(1, 1, 1), (1, 3, 3), (2, 2, 1), (2, 3, 0)]);
    }

    #[test]
    fn what_cannot_be_read_is_reported_and_skipped() {
        let (tokens, errors) = lex("a\\b `date` \"`x`\" \"\\`\" \0 \"open");
        assert_eq!(errors.len(), 5, "{errors:#?}");
        assert_eq!(tokens.len(), 8);
        assert_eq!(errors[4].span, Span { line: 1, column: 25, len: 1 });
    }
}
