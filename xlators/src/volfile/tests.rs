//! The reader as a whole, against a small set of translators.

use std::rc::Rc;

use proptest::prelude::*;

use super::check::check_against;
use super::{Node, OptionLine, Report, Severity, Spanned, Volfile, parse, read, show};
use crate::options::{OptionKind, OptionSpec};
use crate::translator::{Children, InstanceContext, Translator, TranslatorType};

fn no_instance(_: InstanceContext<'_>) -> Result<Rc<dyn Translator>, String> {
    Err("only checked here".into())
}

const fn kind(name: &'static str, children: Children, options: &'static [OptionSpec]) -> TranslatorType {
    TranslatorType {
        name,
        about: "",
        children,
        options,
        prepare: TranslatorType::nothing_shared,
        instance: no_instance,
        renew: TranslatorType::nothing_to_renew,
        merge_stats: TranslatorType::no_stats,
    }
}

static POSIX: TranslatorType = kind(
    "storage/posix",
    Children::None,
    &[
        OptionSpec::new("directory", OptionKind::Path, "", "").no_default(),
        OptionSpec::new("linux-aio", OptionKind::Bool, "off", "").ignored("io_uring is always used"),
        OptionSpec::new(
            "batch-fsync-mode",
            OptionKind::Enum(&["none", "syncfs", "reverse-fsync"]),
            "none",
            "",
        ),
    ],
);
static STATS: TranslatorType = kind("debug/io-stats", Children::One, &[]);
static CLUSTER: TranslatorType = kind("cluster/distribute", Children::Many, &[]);

fn checked(text: &str) -> Report {
    let (volfile, mut findings) = parse(text);
    findings.extend(check_against(&volfile, &[&POSIX, &STATS, &CLUSTER]));
    Report::new("v", text, findings)
}

/// Severity, line, offending text, message, and suggestion of every finding.
fn findings(text: &str) -> Vec<(Severity, usize, String, String, String)> {
    checked(text)
        .diagnostics
        .into_iter()
        .map(|d| (d.severity, d.span.line, d.offending, d.message, d.suggestion.unwrap_or_default()))
        .collect()
}

/// The only finding's line, offending text, message and suggestion.
fn only(text: &str) -> (usize, String, String, String) {
    let mut found = findings(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    let (_, line, offending, message, help) = found.remove(0);
    (line, offending, message, help)
}

const GOOD: &str = "volume p\n type storage/posix\n option directory /b\nend-volume\n";

#[test]
fn a_good_volfile_has_no_findings() {
    assert_eq!(findings(GOOD), []);
    assert_eq!(findings(&format!("{GOOD}volume s type debug/io-stats subvolumes p end-volume")), []);
}

#[test]
fn sections_come_in_any_of_the_allowed_orders() {
    for body in [
        "subvolumes p",
        "option a b subvolumes p",
        "subvolumes p option a b",
        "option a b subvolumes p option c d",
        "option a b option c d",
    ] {
        let (volfile, findings) = parse(&format!("{GOOD}volume s type t {body} end-volume"));
        assert_eq!(findings, [], "{body}");
        assert_eq!(volfile.nodes.len(), 2);
    }
}

#[test]
fn nearest_names_are_suggested() {
    let (line, offending, message, help) = only("volume p\n type storage/posx\n option x y\nend-volume\n");
    assert_eq!((line, offending.as_str()), (2, "storage/posx"));
    assert_eq!(message, "there is no translator `storage/posx`");
    assert_eq!(help, "did you mean `storage/posix`?");
    assert_eq!(only("volume p type posix option x y end-volume").3, "did you mean `storage/posix`?");
    assert!(only("volume p type a option x y end-volume").3.contains("cluster/distribute"));

    let (_, offending, message, help) = only("volume p type storage/posix option directry /b end-volume");
    assert_eq!(offending, "directry");
    assert_eq!(message, "`storage/posix` has no option `directry`");
    assert_eq!(help, "did you mean `directory`?");

    let (_, _, message, help) = only(&format!("{GOOD}volume s type debug/io-stats subvolumes q end-volume"));
    assert_eq!(message, "there is no node `q`");
    assert_eq!(help, "did you mean `p`?");
}

#[test]
fn values_are_checked() {
    let (_, offending, message, help) =
        only("volume p type storage/posix option directory /b option batch-fsync-mode syncf end-volume");
    assert_eq!(offending, "syncf");
    assert!(message.contains("one of none, syncfs, reverse-fsync"), "{message}");
    assert_eq!(help, "did you mean `syncfs`?");

    let found = findings("volume p type storage/posix option linux-aio on end-volume");
    assert_eq!((found.len(), found[0].0), (1, Severity::Note));
    assert!(found[0].3.contains("io_uring is always used"));

    let found = findings("volume p type storage/posix option directory /a\noption directory /b end-volume");
    assert_eq!((found.len(), found[0].0, found[0].1), (1, Severity::Warning, 2));
}

#[test]
fn the_shape_of_the_graph_is_checked() {
    let (line, _, message, _) =
        only(&format!("{GOOD}{GOOD}").replace("end-volume\nvolume", "end-volume\n\nvolume"));
    assert_eq!((line, message.as_str()), (6, "there are two nodes named `p`"));

    let found = findings("volume s type debug/io-stats subvolumes s end-volume");
    assert_eq!(found[0].3, "node `s` stands on itself");

    let (_, _, message, help) = only(&format!(
        "volume s type debug/io-stats subvolumes p end-volume {GOOD}
        volume t type cluster/distribute subvolumes s p end-volume"
    ));
    assert_eq!(message, "subvolume `p` is defined below this node");
    assert_eq!(help, "move the block of `p` above the block of `s`");

    let (_, offending, message, _) =
        only(&format!("{GOOD}volume q type storage/posix subvolumes p end-volume"));
    assert_eq!(
        (offending.as_str(), message.as_str()),
        ("p", "`storage/posix` stands on no subvolume, and `q` has 1")
    );
    let found = findings("volume s type debug/io-stats option a b end-volume");
    let messages: Vec<&str> = found.iter().map(|finding| finding.3.as_str()).collect();
    assert_eq!(
        messages,
        [
            "`debug/io-stats` stands on exactly one subvolume, and `s` has none",
            "`debug/io-stats` has no option `a`"
        ]
    );

    let (_, offending, message, _) =
        only(&format!("{GOOD}volume q type storage/posix option directory /c end-volume"));
    assert_eq!((offending.as_str(), message.as_str()), ("p", "nothing leads to node `p` from the top, `q`"));
}

#[test]
fn all_mistakes_are_found_in_one_run() {
    let found = findings(
        "valume a\nvolume b\n typ storage/posix\n option x\nend-volume\nvolume c\n type storage/posix\n option directory a b\n \
         type t\n subvolumes\n subvolumes d\nvolume e type nonsense\n",
    );
    let messages: Vec<(usize, &str)> =
        found.iter().map(|(_, line, _, message, _)| (*line, message.as_str())).collect();
    for expected in [
        (1, "expected `volume`, found `valume`"),
        (3, "expected `type` of node `b`, found `typ`"),
        (5, "expected a value for option `x`, found the keyword `end-volume`"),
        (6, "node `c` has no `end-volume`"),
        (8, "expected `option`, `subvolumes` or `end-volume`, found `b`"),
        (9, "node `c` has more than one `type`"),
        (10, "`subvolumes` names no node, found the keyword `subvolumes` after it"),
        (11, "a node has at most one `subvolumes` line"),
        (11, "there is no node `d`"),
        (12, "node `e` has no `end-volume`"),
        (12, "there is no translator `nonsense`"),
    ] {
        assert!(messages.contains(&expected), "{expected:?} is not among {messages:#?}");
    }
}

#[test]
fn an_empty_file_is_an_error() {
    for text in ["", "\n# nothing\n"] {
        let report = checked(text);
        assert!(report.has_errors());
        assert!(report.to_string().starts_with("error: the volfile describes no node\n --> v\n"), "{report}");
    }
}

#[test]
fn keywords_as_values_need_quotes() {
    let (_, offending, message, help) = only("volume p type storage/posix option directory type end-volume");
    assert_eq!(offending, "type");
    assert_eq!(message, "expected a value for option `directory`, found the keyword `type`");
    assert_eq!(help, "a word that is also a keyword needs quotes: `\"type\"`");
}

#[test]
fn pictures_show_every_node_and_what_is_not_default() {
    let text = format!(
        "{GOOD}volume q type storage/posix option directory \"/<&>\" end-volume
         volume d type cluster/distribute subvolumes p q end-volume volume s type debug/io-stats subvolumes d end-volume"
    );
    let (volfile, _) = parse(&text);
    assert_eq!(
        show::text(&volfile),
        "s  (debug/io-stats)\n│\nd  (cluster/distribute)\n│\n├── p  (storage/posix)\n│      directory  /b\n│\n\
         └── q  (storage/posix)\n       directory  /<&>\n"
    );
    let dot = show::dot(&volfile);
    assert!(
        dot.contains("n3 -> n2") && dot.contains("n2 -> n0") && dot.contains("directory = /b\\l"),
        "{dot}"
    );
    let svg = show::svg(&volfile);
    assert!(svg.contains("/&lt;&amp;&gt;") && svg.matches("class=\"box\"").count() == 4, "{svg}");
    assert_eq!(svg.matches("class=\"edge\"").count(), 3);
}

/// `count` nodes that each stand on the one before and on the first.
fn ladder(count: usize) -> String {
    let step = |i: usize| format!("volume n{i} type cluster/distribute subvolumes n{} p end-volume\n", i - 1);
    format!("{GOOD}volume n0 type debug/io-stats subvolumes p end-volume\n")
        + &(1..count).map(step).collect::<String>()
}

#[test]
fn endless_graphs_are_refused_and_drawn_all_the_same() {
    assert_eq!(findings(&ladder(127)), []);
    let (line, offending, message, _) = only(&ladder(2000));
    assert_eq!((line, offending.as_str()), (132, "n127"));
    assert_eq!(message, "there are more than 128 layers below each other");
    let (volfile, _) = parse(&ladder(2000));
    assert!(show::text(&volfile).contains("too deep to be drawn"));
    assert_eq!(show::svg(&volfile).matches("class=\"box\"").count(), 2001);
    assert!(show::dot(&volfile).len() > 2000);
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z/#.-]{1,8}",
        "[a-z \"\\\\#`\n\t\r]{0,6}",
        Just("volume".to_owned()),
        Just("end-volume".to_owned()),
        any::<String>().prop_map(|text| text.replace('\0', "")),
    ]
}

fn node() -> impl Strategy<Value = Node> {
    (word(), word(), prop::collection::vec((word(), word()), 0..4), prop::collection::vec(word(), 0..3))
        .prop_map(|(name, kind, options, subvolumes)| Node {
            name: Spanned::synthetic(name),
            kind: Spanned::synthetic(kind),
            options: options
                .into_iter()
                .map(|(key, value)| OptionLine {
                    key: Spanned::synthetic(key),
                    value: Spanned::synthetic(value),
                })
                .collect(),
            subvolumes: subvolumes.into_iter().map(Spanned::synthetic).collect(),
        })
}

fn without_places(volfile: &Volfile) -> Volfile {
    let word = |word: &Spanned| Spanned::synthetic(&*word.text);
    let option = |line: &OptionLine| OptionLine { key: word(&line.key), value: word(&line.value) };
    let node = |node: &Node| Node {
        name: word(&node.name),
        kind: word(&node.kind),
        options: node.options.iter().map(option).collect(),
        subvolumes: node.subvolumes.iter().map(word).collect(),
    };
    Volfile { nodes: volfile.nodes.iter().map(node).collect() }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_but_never_panics(text: String) {
        let (volfile, report) = read("any", &text);
        let _ = report.to_string();
        let _ = (show::text(&volfile), show::dot(&volfile), show::svg(&volfile));
    }

    #[test]
    fn any_row_of_words_is_read_or_refused(words in prop::collection::vec(
        prop_oneof![
            Just("volume"), Just("type"), Just("option"), Just("subvolumes"), Just("end-volume"), Just("a"), Just("b"),
            Just("storage/posix"), Just("\""), Just("#"), Just("\n"), Just("\\"), Just("debug/io-stats"),
        ], 0..40)) {
        let text = words.join(" ");
        let report = checked(&text);
        for finding in &report.diagnostics {
            prop_assert!(finding.span.line <= text.lines().count() + 1);
            prop_assert!(!finding.message.is_empty());
        }
        let (volfile, _) = parse(&text);
        let _ = (report.to_string(), show::text(&volfile), show::dot(&volfile), show::svg(&volfile));
    }

    #[test]
    fn what_is_printed_reads_the_same(nodes in prop::collection::vec(node(), 1..5)) {
        let volfile = Volfile { nodes };
        let text = volfile.to_string();
        let (again, findings) = parse(&text);
        prop_assert!(findings.iter().all(|finding| finding.severity != Severity::Error), "{text}\n{findings:#?}");
        prop_assert_eq!(without_places(&again), volfile, "{}", text);
    }
}
