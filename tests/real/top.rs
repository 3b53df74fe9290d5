//! `kiln top` beside a brick that is busy, one that goes and comes back, and in a terminal.

use std::fs;
use std::io::BufReader;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize as _;
use serde_json::Value as Json;

use crate::support::{KilnMount, KilnServer, Scratch, free_port, kiln, run};

/// A frame of `kiln top --once --json`.
fn frame(socket: &Path) -> Json {
    let text = run(kiln().args(["top", "--once", "--json", "--interval", "0.5", "--socket"]).arg(socket));
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_file_that_is_read_is_the_hottest() {
    let scratch = Scratch::new();
    let mount = KilnMount::with(&scratch.mnt(), |command| {
        command.arg("--brick").arg(scratch.brick()).arg("--direct-io");
    });
    fs::create_dir_all(scratch.mnt().join("deep/down")).unwrap();
    fs::write(scratch.mnt().join("deep/cold"), "x").unwrap();
    let hot = scratch.mnt().join("deep/down/hot file");
    fs::write(&hot, vec![7; 4096]).unwrap();
    let done = AtomicBool::new(false);
    let shown = std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = fs::File::open(&hot).unwrap();
            while !done.load(Ordering::Relaxed) {
                assert_eq!(file.read_at(&mut [0; 4096], 0).unwrap(), 4096);
            }
        });
        let shown = std::panic::catch_unwind(|| {
            let socket = scratch.mnt().with_extension("sock");
            let text = run(kiln().args(["top", "--once", "--interval", "0.2", "--socket"]).arg(&socket));
            (frame(&socket), text)
        });
        done.store(true, Ordering::Relaxed);
        shown
    });
    let (frame, text) = shown.unwrap();
    let brick = &frame["bricks"][0];
    let file = &brick["files"][0];
    assert_eq!(file["path"], "/deep/down/hot file", "{frame:#}");
    let rate = |json: &Json| json.as_f64().unwrap_or(0.0);
    assert!(rate(&file["read_per_s"]) > 0.0 && rate(&file["bytes_read_per_s"]) > 0.0, "{frame:#}");
    let read = brick["fops"].as_array().unwrap().iter().find(|fop| fop["fop"] == "readv").unwrap();
    let (p50, p999) = (rate(&read["latency"]["p50"]), rate(&read["latency"]["p999"]));
    assert!(rate(&read["per_s"]) > 0.0 && p50 > 0.0 && p999 >= p50, "{read:#}");
    assert!(rate(&brick["resident_bytes"]) > 1e6 && rate(&brick["cpus"]) > 0.0, "{frame:#}");
    assert!(!brick["cores"].as_array().unwrap().is_empty() && brick["clients"].is_null(), "{frame:#}");
    assert!(text.contains("readv") && text.contains("/deep/down/hot file"), "{text}");
    mount.stop();
}

#[test]
fn a_brick_that_goes_and_comes_back_is_followed() {
    let scratch = Scratch::new();
    let port = free_port();
    let start = || KilnServer::at(&scratch, port, |command| _ = command.arg("--brick").arg(scratch.brick()));
    let server = start();
    let mut top = kiln()
        .args(["top", "--json", "--interval", "0.1", "--socket"])
        .arg(server.socket())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut frames = serde_json::Deserializer::from_reader(BufReader::new(top.stdout.take().unwrap()));
    let mut until = |what: &str, holds: fn(&Json) -> bool| {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let frame = Json::deserialize(&mut frames).unwrap();
            if holds(&frame["bricks"][0]) {
                return;
            }
            assert!(Instant::now() < end, "{what} does not come: {frame:#}");
        }
    };
    let up = |brick: &Json| brick.get("gone").is_none() && brick["uptime_s"].is_number();
    until("the brick", up);
    server.kill();
    until("its end", |brick| brick["gone"].is_string());
    let server = start();
    until("its return", up);
    server.stop();
    until("its second end", |brick| brick["gone"].is_string());
    top.kill().unwrap();
    top.wait().unwrap();
    // Nobody there at all is an error, and says so.
    let output =
        kiln().args(["top", "--once", "--interval", "0.1", "--socket"]).arg(scratch.join("x.sock")).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", crate::support::text(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("GONE"), "{}", crate::support::text(&output));
}

/// Runs `kiln top` in a terminal of its own: waits for each word, then presses the keys after it. While a word does not come the
/// terminal is resized, so that all is drawn anew and not only what has changed; not together with keys, which may then wait
/// for the next one.
const TERMINAL: &str = r#"
import fcntl, os, pty, select, struct, sys, termios, time
steps = [("fops/s", b"?"), ("longer", b"\x1b"), ("hottest", b"d"), ("changes", b"q")]
pid, tty = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    os.execv(sys.argv[1], sys.argv[1:])
end = time.time() + 60
def some():
    assert time.time() < end, seen
    if not select.select([tty], [], [], 0.3)[0]:
        return b""
    return os.read(tty, 65536)
columns = 100
for word, keys in steps:
    seen, looked = b"", 0
    while word.encode() not in seen:
        got = some()
        seen, looked = seen + got, looked + 1
        if not got or looked % 20 == 0:
            columns = 201 - columns
            fcntl.ioctl(tty, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    while some():
        pass
    os.write(tty, keys)
seen = b""
try:
    while b"\x1b[?1049l" not in seen:
        seen += some()
    while True:
        some()
except OSError:
    pass
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
assert status == 0, status
# A window that is closed takes it along.
pid, tty = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    os.execv(sys.argv[1], sys.argv[1:])
seen = b""
while b"\x1b[?1049h" not in seen:
    seen += some()
os.close(tty)
while os.waitpid(pid, os.WNOHANG)[0] == 0:
    assert time.time() < end, "it outlives its terminal"
    time.sleep(0.05)
"#;

#[test]
fn keys_work_in_a_terminal_and_it_is_left_in_order() {
    let scratch = Scratch::new();
    let server = KilnServer::new(&scratch, &scratch.brick());
    let kiln = kiln();
    run(Command::new("/usr/bin/python3")
        .args(["-c", TERMINAL])
        .arg(kiln.get_program())
        .args(["top", "--interval", "2", "--socket"])
        .arg(server.socket()));
    server.stop();
}
