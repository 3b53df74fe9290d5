//! `kiln mount`, `kiln stats`, `kiln dump`: what is refused, and the life of a brick. Those that mount need root and
//! /dev/fuse, and say so when they have neither.

mod support;

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::{Ran, command, kiln, ran};
use tempfile::TempDir;

/// A directory with a brick `b`, a mount point `m`, and a volfile of them both.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("the test's own files and processes work");
        std::fs::create_dir(dir.path().join("b")).expect("the test's own files and processes work");
        std::fs::create_dir(dir.path().join("m")).expect("the test's own files and processes work");
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write_volfile(&self, read_only: &str) {
        let text = format!(
            "volume p\n type storage/posix\n option directory {}\nend-volume\nvolume r\n type features/read-only\n \
             option read-only {read_only}\n subvolumes p\nend-volume\nvolume s\n type debug/io-stats\n \
             option count-fop-hits on\n subvolumes r\nend-volume\n",
            self.path("b").display()
        );
        std::fs::write(self.path("v.vol"), text).expect("the test's own files and processes work");
    }

    fn kiln(&self, args: &[&str]) -> Ran {
        kiln(self.dir.path(), args)
    }

    /// `kiln mount` with a control socket of its own.
    fn mount(&self, args: &[&str]) -> Ran {
        self.kiln(&[&["mount", "--control-socket", "c.sock"], args].concat())
    }

    /// The same in the background, once it is mounted.
    fn serve(&self, args: &[&str]) -> Served {
        let args = [&["mount", "--control-socket", "c.sock", "--cores", "1"], args].concat();
        let child = command(self.dir.path(), &args)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the test's own files and processes work");
        let served = Served { child: Some(child) };
        served.wait_for("the control socket answers", || {
            self.kiln(&["stats", "--socket", "c.sock"]).status == 0
        });
        served
    }
}

impl Drop for Place {
    /// Whatever a failed test has left mounted.
    fn drop(&mut self) {
        if is_mounted(&self.path("m")) {
            let _ = kiln_uring::host::unmount(&self.path("m"), true);
        }
    }
}

/// A brick in the foreground of its own process.
struct Served {
    child: Option<Child>,
}

impl Served {
    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("the test's own files and processes work");
    }

    fn wait_for(&self, what: &str, mut done: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !done() {
            assert!(Instant::now() < end, "{what}: not within 20 seconds");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its end.
    fn end(mut self) -> Ran {
        ran(self
            .child
            .take()
            .expect("it runs")
            .wait_with_output()
            .expect("the test's own files and processes work"))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn is_mounted(path: &Path) -> bool {
    kiln_uring::host::mounted_on(&path.canonicalize().unwrap_or_else(|_| path.into())).is_some()
}

/// Whether this machine lets tests mount.
fn can_mount() -> bool {
    let can = rustix::process::geteuid().is_root() && Path::new("/dev/fuse").exists();
    if !can {
        eprintln!("not tested: mounting needs root and /dev/fuse");
    }
    can
}

/// Status, first line, and last line of what went wrong.
fn refusal(ran: &Ran) -> (i32, &str, &str) {
    (ran.status, ran.stderr.lines().next().unwrap_or(""), ran.stderr.lines().last().unwrap_or(""))
}

#[test]
fn what_is_no_brick_is_refused() {
    let place = Place::new();
    let at = |name: &str| place.path(name).display().to_string();

    let missing = place.mount(&["--brick", "none", "m"]);
    let (status, first, last) = refusal(&missing);
    assert_eq!((status, first), (4, format!("kiln: the brick {} does not exist", at("none")).as_str()));
    assert!(last.contains(&format!("mkdir -p {}", at("none"))), "{last}");

    std::fs::write(place.path("file"), "").unwrap();
    let file = place.mount(&["--brick", "file", "m"]);
    assert_eq!(refusal(&file).0, 4);
    assert!(file.stderr.contains("is not a directory"), "{}", file.stderr);

    std::fs::write(place.path("b/file"), "").unwrap();
    let full = place.mount(&["--brick", "b", "m"]);
    let (status, first, last) = refusal(&full);
    assert_eq!(
        (status, first),
        (4, format!("kiln: {} is not empty and was never a brick", at("b")).as_str())
    );
    assert!(last.contains("With --init it becomes a brick"), "{last}");
    assert_eq!(std::fs::read_dir(place.path("b")).unwrap().count(), 1, "the directory was changed");
}

#[test]
fn what_is_no_mount_point_is_refused_and_the_brick_stays_as_it_was() {
    let place = Place::new();
    std::fs::create_dir(place.path("b/inside")).unwrap();
    let at = |name: &str| {
        place.path(name).canonicalize().unwrap_or_else(|_| place.path(name)).display().to_string()
    };
    for (mountpoint, reason) in [
        ("b/inside", format!("the mount point {} is inside the brick {}", at("b/inside"), at("b"))),
        ("b", format!("the mount point {} is the brick {}", at("b"), at("b"))),
        (".", format!("the mount point {} contains the brick {}", at("."), at("b"))),
        ("none", format!("mount point {} does not exist", at("none"))),
        ("/proc", "mount point /proc is busy".into()),
    ] {
        let ran = place.mount(&["--brick", "b", "--init", mountpoint]);
        assert_eq!(ran.status, 6, "{mountpoint}: {}", ran.stderr);
        assert!(ran.stderr.contains(&reason), "{mountpoint}: {}", ran.stderr);
    }
    assert_eq!(std::fs::read_dir(place.path("b")).unwrap().count(), 1, "the brick was changed");
    let leftovers: Vec<_> =
        std::fs::read_dir(place.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!leftovers.iter().any(|name| name.to_string_lossy().starts_with("c.")), "{leftovers:?}");
}

#[test]
fn bad_volfiles_names_and_levels_are_refused() {
    let place = Place::new();
    std::fs::write(place.path("v.vol"), "volume p\n type storage/posx\n option a b\nend-volume\n").unwrap();
    let volfile = place.mount(&["--volfile", "v.vol", "m"]);
    assert_eq!(volfile.status, 3);
    assert!(volfile.stderr.contains("did you mean `storage/posix`?"), "{}", volfile.stderr);
    assert_eq!(place.mount(&["--volfile", "none.vol", "m"]).status, 3);
    assert_eq!(place.mount(&["--brick", "b", "--name", "a/b", "m"]).status, 2);
    let level = place.mount(&["--brick", "b", "--log-level", "kiln=loud", "m"]);
    assert_eq!(level.status, 2, "{}", level.stderr);
    assert!(level.stderr.contains("Use error, warn, info, debug or trace"), "{}", level.stderr);
}

#[test]
fn without_a_brick_there_are_no_answers() {
    let place = Place::new();
    for command in ["stats", "dump"] {
        let ran = place.kiln(&[command, "--socket", "c.sock"]);
        let (status, first, _) = refusal(&ran);
        assert_eq!((status, first), (7, "kiln: no answer from the brick at c.sock"));
        assert_eq!(ran.stdout, "");
    }
    // Somebody else's socket, who hangs up.
    let listener = std::os::unix::net::UnixListener::bind(place.path("c.sock")).unwrap();
    let hang_up = std::thread::spawn(move || drop(listener.accept()));
    assert_eq!(place.kiln(&["stats", "--socket", "c.sock"]).status, 7);
    hang_up.join().unwrap();
}

#[test]
fn a_daemon_serves_answers_and_ends() {
    if !can_mount() {
        return;
    }
    let place = Place::new();
    let started = place.mount(&[
        "--brick",
        "b",
        "--cores",
        "2",
        "--daemon",
        "--log-file",
        "k.log",
        "--log-format",
        "json",
        "m",
    ]);
    assert_eq!((started.status, started.stdout.as_str(), started.stderr.as_str()), (0, "", ""));
    assert!(is_mounted(&place.path("m")));
    assert!(std::fs::metadata(place.path("m")).unwrap().is_dir());

    let second = place.mount(&["--brick", "b", "m"]);
    assert_eq!(second.status, 7);
    assert!(
        second.stderr.starts_with("kiln: a brick named `c` is running already (process "),
        "{}",
        second.stderr
    );
    let elsewhere = place.kiln(&["mount", "--control-socket", "d.sock", "--brick", "b", "."]);
    assert_eq!(elsewhere.status, 6, "{}", elsewhere.stderr);

    let stats = place.kiln(&["stats", "--socket", "c.sock"]);
    assert!(stats.stdout.contains("brick-io-stats (debug/io-stats)\n  fop "), "{}", stats.stdout);
    let stats: serde_json::Value =
        serde_json::from_str(&place.kiln(&["stats", "--socket", "c.sock", "--json"]).stdout).unwrap();
    assert_eq!(stats["about"]["cores"], 2);
    assert_eq!(stats["about"]["silent_cores"], serde_json::Value::Null);
    let dump: serde_json::Value =
        serde_json::from_str(&place.kiln(&["dump", "--socket", "c.sock", "--json"]).stdout).unwrap();
    assert_eq!(dump["cores"].as_array().map(Vec::len), Some(2));
    let kinds: Vec<_> =
        dump["layers"].as_array().unwrap().iter().map(|layer| layer["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["debug/io-stats", "features/access-control", "storage/posix"]);
    assert!(place.kiln(&["dump", "--socket", "c.sock"]).stdout.contains("no request in flight"));

    let mut garbage = UnixStream::connect(place.path("c.sock")).unwrap();
    garbage.write_all(b"\xff{}[]\n").unwrap();
    let answer = std::io::read_to_string(garbage).unwrap();
    assert!(answer.starts_with("{\"error\":\"not a request"), "{answer}");

    kiln_uring::host::unmount(&place.path("m"), false).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while place.path("c.lock").exists() {
        assert!(Instant::now() < end, "it does not end after the unmount");
        std::thread::sleep(Duration::from_millis(20));
    }
    let log = std::fs::read_to_string(place.path("k.log")).unwrap();
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(last["message"], "stopped", "{log}");
}

#[test]
fn a_daemon_that_fails_hands_its_status_on() {
    if !can_mount() {
        return;
    }
    let place = Place::new();
    let ran = place.mount(&["--brick", "none", "--daemon", "--log-file", "k.log", "m"]);
    assert_eq!(ran.status, 4);
    assert!(ran.stderr.contains("does not exist"), "{}", ran.stderr);
}

#[test]
fn signals_reload_and_stop() {
    if !can_mount() {
        return;
    }
    let place = Place::new();
    place.write_volfile("off");
    let served = place.serve(&["--volfile", "v.vol", "m"]);
    let new_file = place.path("m/new");
    let is_read_only = || {
        std::fs::write(&new_file, "")
            .is_err_and(|error| error.kind() == std::io::ErrorKind::ReadOnlyFilesystem)
    };
    assert!(!is_read_only());
    place.write_volfile("on");
    served.signal(Signal::HUP);
    served.wait_for("the brick is read-only", is_read_only);

    // A bad one is told and changes nothing.
    std::fs::write(place.path("v.vol"), "volume").unwrap();
    served.signal(Signal::HUP);
    std::thread::sleep(Duration::from_millis(200));
    assert!(is_read_only());

    served.signal(Signal::TERM);
    let ended = served.end();
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("v.vol is not taken over, and the old options stay in force: it has errors"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.trim_end().ends_with("stopped"), "{}", ended.stderr);
    assert!(!is_mounted(&place.path("m")));
    assert!(!place.path("c.sock").exists() && !place.path("c.lock").exists());
}

#[test]
fn after_a_kill_the_same_command_works_again() {
    if !can_mount() {
        return;
    }
    let place = Place::new();
    place.serve(&["--brick", "b", "m"]).signal(Signal::KILL);
    assert!(place.path("c.sock").exists(), "a killed brick leaves its socket");
    let served = place.serve(&["--brick", "b", "m"]);
    assert!(std::fs::metadata(place.path("m")).unwrap().is_dir());
    served.signal(Signal::INT);
    let ended = served.end();
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("is the mount of a Kiln that is gone: clearing it"), "{}", ended.stderr);
}

#[test]
fn a_brick_whose_directory_is_gone_ends_the_process() {
    if !can_mount() {
        return;
    }
    let place = Place::new();
    let volfile = format!(
        "volume p\n type storage/posix\n option directory {}\n option health-check-interval 1\nend-volume\n",
        place.path("b").display()
    );
    // The brick is made by a first start; a volfile's brick must be one.
    let first = place.serve(&["--brick", "b", "m"]);
    first.signal(Signal::TERM);
    assert_eq!(first.end().status, 0);
    std::fs::write(place.path("v.vol"), volfile).expect("the test's own files and processes work");
    let served = place.serve(&["--volfile", "v.vol", "--failure-grace", "1", "m"]);
    std::fs::rename(place.path("b"), place.path("elsewhere"))
        .expect("the test's own files and processes work");
    let ended = served.end();
    assert_eq!(ended.status, 4, "{}", ended.stderr);
    assert!(ended.stderr.contains("kiln: the brick has failed"), "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot reach the brick"), "{}", ended.stderr);
    assert!(!is_mounted(&place.path("m")));
}
