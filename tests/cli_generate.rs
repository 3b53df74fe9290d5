//! `--help`, completions, man pages.

mod support;

use support::kiln;

/// The commands that `--help` lists, below its own line.
fn commands(help: &str) -> Vec<String> {
    let lines =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    names.map(ToOwned::to_owned).collect()
}

#[test]
fn help_names_every_command_and_each_has_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let help = kiln(dir.path(), &["--help"]);
    assert_eq!(help.status, 0);
    let commands = commands(&help.stdout);
    for command in ["mount", "volfile", "stats", "dump", "completions", "man"] {
        assert!(commands.iter().any(|name| name == command), "{command} is missing in:\n{}", help.stdout);
    }
    for command in commands {
        let own = kiln(dir.path(), &[&command, "--help"]);
        assert_eq!((own.status, own.stderr.as_str()), (0, ""));
        assert!(own.stdout.contains(&format!("Usage: kiln {command}")), "{}", own.stdout);
    }
    let mount = kiln(dir.path(), &["mount", "--help"]).stdout;
    for part in ["Examples:\n  kiln mount --brick", "Signals:\n", "Exit status:\n   0  all is well"] {
        assert!(mount.contains(part), "{part:?} is missing in:\n{mount}");
    }
    assert!(!mount.contains("--detached"), "an internal flag is shown");
}

#[test]
fn a_wrong_command_line_has_status_two() {
    let dir = tempfile::tempdir().unwrap();
    for args in [&["mont"][..], &["mount", "/mnt"], &["volfile", "check"], &["stats", "--watch", "0"]] {
        let ran = kiln(dir.path(), args);
        assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{args:?}: {}", ran.stderr);
    }
    assert!(kiln(dir.path(), &["mont"]).stderr.contains("'mount'"), "no suggestion");
}

#[test]
fn every_shell_gets_a_script() {
    let dir = tempfile::tempdir().unwrap();
    for (shell, mark) in [
        ("bash", "complete -F _kiln"),
        ("zsh", "#compdef kiln"),
        ("fish", "complete -c kiln"),
        ("elvish", "edit:completion"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let ran = kiln(dir.path(), &["completions", shell]);
        assert_eq!(ran.status, 0);
        assert!(ran.stdout.contains(mark) && ran.stdout.contains("read-only"), "{shell}:\n{}", ran.stdout);
    }
}

#[test]
fn there_is_a_page_per_command() {
    let dir = tempfile::tempdir().unwrap();
    let ran = kiln(dir.path(), &["man", "pages"]);
    assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""));
    let mut pages: Vec<String> = std::fs::read_dir(dir.path().join("pages"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    let mut expected: Vec<String> = commands(&kiln(dir.path(), &["--help"]).stdout)
        .iter()
        .map(|command| format!("kiln-{command}.1"))
        .collect();
    expected.extend(["check", "options", "show"].map(|command| format!("kiln-volfile-{command}.1")));
    expected.push("kiln-python-run.1".into());
    expected.push("kiln.1".into());
    expected.sort();
    assert_eq!(pages, expected);
    let mount = std::fs::read_to_string(dir.path().join("pages/kiln-mount.1")).unwrap();
    for part in
        [".TH kiln-mount 1", ".SH \"EXAMPLES\"\n.nf\n  kiln mount \\-\\-brick", ".SH \"EXIT STATUS\"\n"]
    {
        assert!(mount.contains(part), "{part:?} is missing in:\n{mount}");
    }
    assert!(kiln(dir.path(), &["man"]).stdout.contains(".TH kiln 1"));
}
