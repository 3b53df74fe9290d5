//! `kiln python run`: exit statuses and messages. Recordings of real mounts are played in the tests with mounts.

mod support;

use std::fs;
use std::path::Path;

use support::{Ran, kiln};

/// Two lookups of a name that is not there.
const TRACE: &str = r#"{"at":0.1,"caller":{"uid":0,"gid":0,"client":0},"request":{"Lookup":[{"Loc":[{"base64":"AAAAAAAAAAAAAAAAAAAAAA=="},{"base64":"AAAAAAAAAAAAAAAAAAAAAQ=="},{"bytes":"none"}]},{"dict":[]}]},"answer":{"Failure":[2,{"dict":[]},null]}}
{"at":0.2,"caller":{"uid":0,"gid":0,"client":0},"request":{"Lookup":[{"Loc":[{"base64":"AAAAAAAAAAAAAAAAAAAAAA=="},{"base64":"AAAAAAAAAAAAAAAAAAAAAQ=="},{"bytes":"none"}]},{"dict":[]}]},"answer":{"Failure":[2,{"dict":[]},null]}}
"#;

const MODULE: &str = "
import kiln
from kiln import Failure, Option

class One(kiln.Translator):
    options = (Option('errno', int, default=0, maximum=100),)

    def lookup(self, ctx, loc, xdata):
        self.counter('lookups').add()
        self.log.info('asked for %r', loc.name)
        return Failure(self.options['errno']) if self.options['errno'] else None

class Two(kiln.Translator):
    def lookup(self, ctx, loc, xdata):
        print('standard output')
        raise KeyError('oops')
";

fn place() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("trace"), TRACE).expect("a temporary directory");
    fs::write(dir.path().join("mine.py"), MODULE).expect("a temporary directory");
    dir
}

fn run(dir: &Path, args: &[&str]) -> Ran {
    kiln(dir, &[&["python", "run"], args].concat())
}

#[test]
fn a_recording_is_played() {
    let dir = place();
    let ran = run(dir.path(), &["./mine.py", "--replay", "trace", "--class-name", "One"]);
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains("2 operations in ") && ran.stdout.contains("2 answered as recorded, 0 otherwise")
    );
    assert!(ran.stdout.contains("counter lookups: 2\n"), "{}", ran.stdout);
    assert!(ran.stderr.contains("asked for b'none'"), "{}", ran.stderr);
    let args = ["--option", "errno=5", "--log-level", "error", "--search-path", "."];
    let ran = run(dir.path(), &[&["mine", "--replay", "trace", "--class-name", "One"], &args[..]].concat());
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert!(ran.stdout.contains("0 answered as recorded, 2 otherwise, 2 not passed on"), "{}", ran.stdout);
    assert!(ran.stdout.contains("line 1: ") && ran.stdout.contains("was Failure"), "{}", ran.stdout);
}

#[test]
fn faults_have_a_status_of_their_own() {
    let dir = place();
    let ran = run(dir.path(), &["./mine.py", "--replay", "trace", "--class-name", "Two"]);
    assert_eq!(ran.status, 9, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.starts_with("standard output\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("fault, 2 times: KeyError"), "{}", ran.stdout);
    assert_eq!(ran.stderr.matches("raise KeyError('oops')").count(), 1, "{}", ran.stderr);
}

#[test]
fn what_cannot_be_played_says_why() {
    let dir = place();
    fs::write(dir.path().join("broken"), "{}\n").unwrap();
    for (args, status, why) in [
        (&["./mine.py", "--replay", "trace"][..], 4, "defines several translators (One, Two)"),
        (&["./mine.py", "--replay", "trace", "--class-name", "Three"], 4, "no class `Three`"),
        (&["./none.py", "--replay", "trace"], 4, "no module `none`"),
        (&["./mine.py", "--replay", "trace", "--class-name", "One", "--option", "errno=101"], 4, "errno"),
        (&["./mine.py", "--replay", "trace", "--class-name", "One", "--option", "other=1"], 4, "other"),
        (&["./mine.py", "--replay", "none"], 1, "No such file"),
        (&["./mine.py", "--replay", "broken"], 1, "broken, line 1: KeyError: 'request'"),
        (&["./mine.py", "--replay", "trace", "--log-level", "kiln=loud"], 2, "no log level"),
        (&["./mine.py"], 2, "--replay"),
        (&["./mine.py", "--replay", "trace", "--option", "errno"], 2, "with `=` between them"),
    ] {
        let ran = run(dir.path(), args);
        assert_eq!((ran.status, ran.stdout.as_str()), (status, ""), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(why), "{args:?}: {}", ran.stderr);
    }
}
