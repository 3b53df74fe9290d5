//! `kiln volfile`: every mistake with its place, in exactly these words.

mod support;

use support::kiln;

const GOOD: &str = "\
volume posix
    type storage/posix
    option directory /srv/brick
end-volume

volume stats
    type debug/io-stats
    subvolumes posix
end-volume
";

/// `check` of a file with this text: status, stdout, stderr.
fn check(text: &str) -> (i32, String, String) {
    let dir = tempfile::tempdir().expect("the test's own files and processes work");
    std::fs::write(dir.path().join("b.vol"), text).expect("the test's own files and processes work");
    let ran = kiln(dir.path(), &["volfile", "check", "b.vol"]);
    (ran.status, ran.stdout, ran.stderr)
}

fn findings(text: &str) -> String {
    let (status, stdout, stderr) = check(text);
    assert_eq!((status, stdout.as_str()), (3, ""), "{stderr}");
    stderr
}

#[test]
fn a_good_file_is_called_good() {
    assert_eq!(check(GOOD), (0, "b.vol: good, 2 nodes\n".into(), String::new()));
}

#[test]
fn unknown_translators_and_options_get_the_nearest_name() {
    assert_eq!(
        findings("volume p\n    type storage/posx\nend-volume\n"),
        "\
warning: node `p` has neither options nor subvolumes
 --> b.vol:1:8
  |
1 | volume p
  |        ^
  = help: Kiln accepts this, GlusterFS takes it for a syntax error

error: there is no translator `storage/posx`
 --> b.vol:2:10
  |
2 |     type storage/posx
  |          ^^^^^^^^^^^^ unknown translator
  = help: did you mean `storage/posix`?

b.vol: 1 error, 1 warning
"
    );
    assert_eq!(
        findings(&GOOD.replace("directory", "directry")),
        "\
error: `storage/posix` has no option `directry`
 --> b.vol:3:12
  |
3 |     option directry /srv/brick
  |            ^^^^^^^^
  = help: did you mean `directory`?

b.vol: 1 error
"
    );
}

#[test]
fn bad_values_say_what_a_good_one_is() {
    assert_eq!(
        findings(&GOOD.replace("/srv/brick", "/srv/brick\n    option batch-fsync-mode syncf")),
        "\
error: `syncf` is no value for `batch-fsync-mode`: it must be one of none, syncfs, syncfs-single-fsync, \
syncfs-reverse-fsync, reverse-fsync
 --> b.vol:4:29
  |
4 |     option batch-fsync-mode syncf
  |                             ^^^^^
  = help: did you mean `syncfs`?

b.vol: 1 error
"
    );
}

#[test]
fn the_graph_must_hang_together() {
    assert_eq!(
        findings(&GOOD.replace("subvolumes posix", "subvolumes posx")),
        "\
error: there is no node `posx`
 --> b.vol:8:16
  |
8 |     subvolumes posx
  |                ^^^^
  = help: did you mean `posix`?

b.vol: 1 error
"
    );
}

#[test]
fn syntax_errors_are_all_found() {
    assert_eq!(
        findings(
            "volume p\n    type storage/posix\n    option directory /a b\n    option o-direct `uname`\nvolume q\n"
        ),
        "\
error: node `p` has no `end-volume`
 --> b.vol:1:8
  |
1 | volume p
  |        ^ this block is never closed
  = help: write `end-volume` on a line of its own after the last option of the node

error: expected `option`, `subvolumes` or `end-volume`, found `b`
 --> b.vol:3:25
  |
3 |     option directory /a b
  |                         ^ one word too many
  = help: a value with blanks needs quotes: `option directory \"/a …\"`

error: back-ticks are not supported
 --> b.vol:4:21
  |
4 |     option o-direct `uname`
  |                     ^^^^^^^ GlusterFS would run a shell command here
  = help: write the command's output into the volfile; in a quoted word, \\` stands for a back-tick

error: node `q` has no `end-volume`
 --> b.vol:5:8
  |
5 | volume q
  |        ^ this block is never closed
  = help: write `end-volume` on a line of its own after the last option of the node

error: expected `type` of node `q`, found the end of the file
 --> b.vol:6:1
  |
6 |
  | ^
  = help: the line after `volume NAME` is `type TRANSLATOR`, such as `type storage/posix`

b.vol: 5 errors
"
    );
}

#[test]
fn several_files_are_checked_and_missing_ones_told() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("good.vol"), GOOD).unwrap();
    std::fs::write(dir.path().join("bytes.vol"), b"volume \xff\n").unwrap();
    let ran = kiln(dir.path(), &["volfile", "check", "good.vol", "none.vol", "bytes.vol"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (3, "good.vol: good, 2 nodes\n"));
    assert!(
        ran.stderr.starts_with("kiln: none.vol cannot be read\n  because No such file"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("error: the file is not UTF-8 text from here on\n --> bytes.vol:1:8\n"),
        "{}",
        ran.stderr
    );
}

#[test]
fn warnings_alone_are_no_failure() {
    let (status, stdout, stderr) = check(&GOOD.replace("/srv/brick", "/a\n    option directory /b"));
    assert_eq!((status, stdout.as_str()), (0, ""));
    assert!(stderr.contains("warning: option `directory` is given twice\n --> b.vol:4:12\n"), "{stderr}");
    assert!(stderr.contains("this value replaces `/a` of line 3"), "{stderr}");
}

#[test]
fn graphs_are_drawn_in_three_forms() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("b.vol"), GOOD).unwrap();
    let show = |args: &[&str]| {
        let ran = kiln(dir.path(), &[&["volfile", "show", "b.vol"], args].concat());
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
        ran.stdout
    };
    assert_eq!(show(&[]), "stats  (debug/io-stats)\n│\nposix  (storage/posix)\n   directory  /srv/brick\n");
    assert!(show(&["--format", "dot"]).contains("n1 -> n0;"));
    assert_eq!(show(&["-o", "b.svg"]), "");
    let svg = std::fs::read_to_string(dir.path().join("b.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains(">/srv/brick</text>"), "{svg}");
}

#[test]
fn options_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let all = kiln(dir.path(), &["volfile", "options"]);
    assert!(
        all.stdout.contains("storage/posix ") && all.stdout.contains("debug/io-stats "),
        "{}",
        all.stdout
    );
    let posix = kiln(dir.path(), &["volfile", "options", "storage/posix"]).stdout;
    assert!(
        posix
            .contains("option directory\n    The brick: the directory that is exported.\n    Value: a path."),
        "{posix}"
    );
    let none = kiln(dir.path(), &["volfile", "options", "storage/nothing"]);
    assert_eq!(
        (none.status, none.stderr.lines().next()),
        (2, Some("kiln: there is no translator `storage/nothing`"))
    );
}
