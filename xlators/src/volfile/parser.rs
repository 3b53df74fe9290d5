//! From words to nodes. A mistake is reported and the parser goes on at the next keyword, so that one run finds them all.

use super::lexer::{Kind, Token, lex};
use super::suggest::nearest;
use super::{Diagnostic, Node, OptionLine, Span, Spanned, Volfile};

const KEYWORDS: &[&str] = &["volume", "type", "option", "subvolumes", "end-volume"];

/// Reads a volfile. The nodes are what could be understood; they describe the file only when no finding is an error. A node
/// whose name or translator could not be read has an empty text there.
#[must_use]
pub fn parse(text: &str) -> (Volfile, Vec<Diagnostic>) {
    let (tokens, errors) = lex(text);
    let mut parser = Parser { tokens, at: 0, findings: errors, nodes: Vec::new() };
    parser.file();
    (Volfile { nodes: parser.nodes }, parser.findings)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    findings: Vec<Diagnostic>,
    nodes: Vec<Node>,
}

impl Parser {
    fn file(&mut self) {
        loop {
            match self.peek() {
                Kind::End => break,
                Kind::Volume => self.node(),
                _ => {
                    let what = self.describe();
                    let finding = Diagnostic::error(self.span(), format!("expected `volume`, found {what}"));
                    let finding = match self.keyword_meant(&["volume"]) {
                        Some(keyword) => finding.help(format!("did you mean `{keyword}`?")),
                        None => finding.help("a volfile is a row of `volume NAME` … `end-volume` blocks"),
                    };
                    self.findings.push(finding);
                    self.skip_until(&[Kind::Volume]);
                }
            }
        }
        if self.nodes.is_empty() && self.findings.is_empty() {
            let finding = Diagnostic::error(Span::default(), "the volfile describes no node")
                .help("a brick needs at least `volume NAME`, `type storage/posix`, `option directory DIR`, `end-volume`");
            self.findings.push(finding);
        }
    }

    fn node(&mut self) {
        let opening = self.advance().span;
        let name = self.word("a name after `volume`");
        let named = name.as_ref().map_or_else(|| "this node".into(), |name| format!("node `{}`", name.text));
        let kind = match self.peek() {
            Kind::Type => {
                self.advance();
                self.word("a translator after `type`, such as `storage/posix`")
            }
            _ => {
                self.expected_type(&named);
                None
            }
        };
        let place = name.as_ref().map_or(opening, |name| name.span);
        let empty = |span| Spanned { text: String::new(), span };
        let mut node = Node {
            name: name.unwrap_or_else(|| empty(opening)),
            kind: kind.unwrap_or_else(|| empty(place)),
            options: Vec::new(),
            subvolumes: Vec::new(),
        };
        let mut subvolumes_line = None;
        let mut said_something = false;
        let closed = loop {
            match self.peek() {
                Kind::Option => self.option(&mut node),
                Kind::Subvolumes => self.subvolumes(&mut node, &mut subvolumes_line),
                Kind::EndVolume => {
                    self.advance();
                    break true;
                }
                Kind::Volume | Kind::End => break false,
                Kind::Type => {
                    let finding = Diagnostic::error(self.span(), format!("{named} has more than one `type`"))
                        .help("`type` stands once, right after `volume NAME`");
                    self.findings.push(finding);
                    self.advance();
                    self.skip_words();
                }
                Kind::Word => self.stray_word(&node),
            }
            said_something = true;
        };
        if !closed {
            let finding = Diagnostic::error(place, format!("{named} has no `end-volume`"))
                .label("this block is never closed")
                .help("write `end-volume` on a line of its own after the last option of the node");
            self.findings.push(finding);
        } else if !said_something {
            let finding = Diagnostic::warning(place, format!("{named} has neither options nor subvolumes"))
                .help("Kiln accepts this, GlusterFS takes it for a syntax error");
            self.findings.push(finding);
        }
        self.nodes.push(node);
    }

    fn expected_type(&mut self, named: &str) {
        let what = self.describe();
        let finding = Diagnostic::error(self.span(), format!("expected `type` of {named}, found {what}"));
        let finding = match self.keyword_meant(&["type"]) {
            Some(keyword) => finding.help(format!("did you mean `{keyword}`?")),
            None => finding
                .help("the line after `volume NAME` is `type TRANSLATOR`, such as `type storage/posix`"),
        };
        self.findings.push(finding);
        self.skip_words();
    }

    fn option(&mut self, node: &mut Node) {
        self.advance();
        let Some(key) = self.word("a key after `option`") else { return };
        let Some(value) = self.word(&format!("a value for option `{}`", key.text)) else { return };
        node.options.push(OptionLine { key, value });
    }

    fn subvolumes(&mut self, node: &mut Node, first: &mut Option<Span>) {
        let span = self.advance().span;
        let mut names = Vec::new();
        while self.peek() == Kind::Word {
            let token = self.advance();
            names.push(Spanned { text: token.text, span: token.span });
        }
        if names.is_empty() {
            let what = self.describe();
            let finding =
                Diagnostic::error(span, format!("`subvolumes` names no node, found {what} after it"))
                    .help("name the nodes below this one, or remove the line");
            self.findings.push(finding);
        }
        if let Some(first) = *first {
            let finding = Diagnostic::error(span, "a node has at most one `subvolumes` line")
                .label(format!("the first one is on line {}", first.line))
                .help("name all subvolumes on one line, separated by blanks");
            self.findings.push(finding);
        } else {
            *first = Some(span);
        }
        node.subvolumes.append(&mut names);
    }

    /// A word inside a node where a keyword must stand.
    fn stray_word(&mut self, node: &Node) {
        let what = self.describe();
        let expected = "expected `option`, `subvolumes` or `end-volume`";
        let finding = Diagnostic::error(self.span(), format!("{expected}, found {what}"));
        let same_line = |span: Span| span.line == self.span().line;
        let finding = match (self.keyword_meant(&["option", "subvolumes", "end-volume"]), node.options.last())
        {
            (_, Some(option)) if same_line(option.value.span) => {
                finding.label("one word too many").help(format!(
                    "a value with blanks needs quotes: `option {} \"{} …\"`",
                    option.key.text, option.value.text
                ))
            }
            (Some(keyword), _) => finding.help(format!("did you mean `{keyword}`?")),
            _ => finding,
        };
        self.findings.push(finding);
        self.skip_words();
    }

    /// The next word, which `wanted` describes.
    fn word(&mut self, wanted: &str) -> Option<Spanned> {
        if self.peek() == Kind::Word {
            let token = self.advance();
            return Some(Spanned { text: token.text, span: token.span });
        }
        let what = self.describe();
        let finding = Diagnostic::error(self.span(), format!("expected {wanted}, found {what}"));
        let finding = if self.peek() == Kind::End {
            finding
        } else {
            finding.help(format!("a word that is also a keyword needs quotes: `\"{}\"`", self.token().text))
        };
        self.findings.push(finding);
        // On the line of what it belongs to it was meant as the word; the next line starts something else.
        let misused = !matches!(self.peek(), Kind::End | Kind::EndVolume | Kind::Volume);
        if misused && self.at > 0 && self.tokens[self.at - 1].span.line == self.span().line {
            self.advance();
        }
        None
    }

    /// The keyword that was probably meant by the word here: the same in another case, or one typing mistake away.
    fn keyword_meant(&self, candidates: &[&'static str]) -> Option<&'static str> {
        let token = self.token();
        if token.quoted {
            return None;
        }
        nearest(&token.text.to_lowercase(), KEYWORDS.iter().copied())
            .filter(|keyword| candidates.contains(keyword))
    }

    fn describe(&self) -> String {
        let token = self.token();
        match token.kind {
            Kind::End => "the end of the file".into(),
            Kind::Word => format!("`{}`", token.text),
            _ => format!("the keyword `{}`", token.text),
        }
    }

    fn token(&self) -> &Token {
        // The last token is of kind `End` and is never passed.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn peek(&self) -> Kind {
        self.token().kind
    }

    fn span(&self) -> Span {
        self.token().span
    }

    fn advance(&mut self) -> Token {
        let token = self.token().clone();
        if token.kind != Kind::End {
            self.at += 1;
        }
        token
    }

    fn skip_words(&mut self) {
        while self.peek() == Kind::Word {
            self.advance();
        }
    }

    fn skip_until(&mut self, kinds: &[Kind]) {
        while self.peek() != Kind::End && !kinds.contains(&self.peek()) {
            self.advance();
        }
    }
}
