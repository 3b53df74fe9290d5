//! Translators in Python, on a mount and behind a stock client: the examples of each style, and translators that go wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use serde_json::Value as Json;

use crate::support::{
    KilnMount, KilnServer, Scratch, StockClient, free_port, kiln, run, shell, signal, text, wait_for,
};

/// Where the examples are.
fn examples(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python/examples").join(folder)
}

/// A brick, a translator on it, and what leads to a client.
struct Stage {
    scratch: Scratch,
    volfile: PathBuf,
    port: u16,
}

impl Stage {
    /// `options` are those of the translator's layer. With `served`, clients of the network are let in.
    fn new(options: &str, served: bool) -> Self {
        let scratch = Scratch::new();
        // What makes it a brick; a volfile does not.
        KilnMount::new(&scratch.brick(), &scratch.mnt()).stop();
        let (volfile, port) = (scratch.join("python.vol"), free_port());
        let stage = Self { scratch, volfile, port };
        stage.write(options, served);
        stage
    }

    /// With a module of this text.
    fn of_module(code: &str, options: &str) -> Self {
        let stage = Self::new("", false);
        fs::write(stage.scratch.join("mine.py"), code).unwrap();
        stage.write_mine(options);
        stage
    }

    fn write_mine(&self, options: &str) {
        let path = self.scratch.path().display();
        self.write(&format!(" option module-name mine\n option search-path {path}\n{options}"), false);
    }

    fn write(&self, options: &str, served: bool) {
        let mut text = format!(
            "volume posix\n type storage/posix\n option directory {}\nend-volume\n\
             volume python\n type features/glupy\n{options} subvolumes posix\nend-volume\n",
            self.scratch.brick().display()
        );
        if served {
            text.push_str(
                "volume server\n type protocol/server\n option auth.addr.python.allow *\n subvolumes python\nend-volume\n",
            );
        }
        fs::write(&self.volfile, text).unwrap();
    }

    fn mount(&self) -> KilnMount {
        KilnMount::with(&self.scratch.mnt(), |command| {
            command.args(["--entry-timeout", "0", "--negative-timeout", "0", "--attr-timeout", "0"]);
            command.arg("--volfile").arg(&self.volfile);
        })
    }

    fn socket(&self) -> PathBuf {
        self.scratch.mnt().with_extension("sock")
    }

    fn mnt(&self) -> PathBuf {
        self.scratch.mnt()
    }

    /// What the translator's layer tells.
    fn stats(&self) -> Json {
        layer_of(&run(kiln().args(["stats", "--json", "--socket"]).arg(self.socket())))
    }

    fn dump(&self) -> String {
        run(kiln().args(["dump", "--socket"]).arg(self.socket()))
    }
}

fn layer_of(stats: &str) -> Json {
    let stats: Json = serde_json::from_str(stats).unwrap();
    let layers = stats["layers"].as_array().unwrap();
    layers.iter().find(|layer| layer["type"] == "features/glupy").map(|layer| layer["stats"].clone()).unwrap()
}

/// What a shell does on a mount with any example on it, whatever that remembers.
const EVERYDAY: &str = r#"
    ! test -e new
    ! test -e new
    echo one >new
    test -e new
    echo two >>new
    test $(wc -l <new) = 2
    mkdir dir
    ! test -e dir/sub
    mv new dir/moved
    ln dir/moved dir/second
    ls -l dir | grep -q second
    stat dir/moved >/dev/null
    rm dir/moved dir/second
    rmdir dir
    test -z "$(ls)"
"#;

/// What glupy's own demonstration of a cache bears: names come by `create` alone.
const CREATED: &str = r#"
    ! test -e new
    ! test -e new
    echo one >new
    test -e new
    echo two >>new
    test $(wc -l <new) = 2
    ls -l | grep -q new
    rm new
    ! test -e new
    test -z "$(ls)"
"#;

/// The examples: folder, module, and what is done on them.
const EXAMPLES: &[(&str, &str, &str)] = &[
    (".", "hello", EVERYDAY),
    (".", "trace", EVERYDAY),
    (".", "negative", EVERYDAY),
    (".", "negative_batch", EVERYDAY),
    ("glupy", "helloworld", EVERYDAY),
    ("glupy", "debug-trace", EVERYDAY),
    ("glupy", "negative", CREATED),
    ("article", "negative", CREATED),
];

fn example(folder: &str, module: &str) -> String {
    format!(" option module-name {module}\n option search-path {}\n", examples(folder).display())
}

#[test]
fn the_examples_run_on_a_mount() {
    for (folder, module, script) in EXAMPLES {
        let stage = Stage::new(&example(folder, module), false);
        let mount = stage.mount();
        shell(&stage.mnt(), script);
        let stats = stage.stats();
        let calls = stats["requests"]["calls"].as_u64().unwrap();
        assert!(calls > 10, "{folder}/{module} was called {calls} times");
        assert_eq!(stats["requests"]["broken"], 0, "{folder}/{module}: {stats}\n{}", mount.log());
        mount.stop();
    }
}

/// Options of a stock client.
fn remote(port: u16) -> String {
    format!(
        " option transport-type tcp\n option remote-host 127.0.0.1\n option remote-port {port}\n \
         option remote-subvolume python\n"
    )
}

#[test]
fn the_examples_run_behind_a_stock_client() {
    for (folder, module, script) in EXAMPLES {
        let stage = Stage::new(&example(folder, module), true);
        let server = KilnServer::at(&stage.scratch, stage.port, |command| {
            _ = command.arg("--volfile").arg(&stage.volfile);
        });
        let client = StockClient::of_volfile(&stage.scratch, "client", &remote(stage.port));
        shell(client.mnt(), script);
        let stats = layer_of(&server.stats(&["--json"]));
        assert!(stats["requests"]["calls"].as_u64().unwrap() > 10, "{folder}/{module}: {stats}");
        assert_eq!(stats["requests"]["broken"], 0, "{folder}/{module}: {stats}\n{}", server.log());
        drop(client);
        server.stop();
    }
}

#[test]
fn a_translator_that_cannot_be_loaded_keeps_the_brick_from_starting() {
    let bad = [
        ("import no_such_module_at_all", "No module named 'no_such_module_at_all'"),
        ("x = 1", "defines no translator"),
        (
            "import kiln\nclass T(kiln.Translator):\n    def __init__(self):\n        raise ValueError('no way')\n",
            "no way",
        ),
        (
            "import kiln\nclass T(kiln.Translator):\n    def init(self):\n        import sys; sys.exit(3)\n",
            "SystemExit",
        ),
        ("import kiln\nclass T(kiln.Translator):\n    def loookup(self, ctx, loc, xdata): pass\n", "lookup"),
        ("def broken(:\n", "SyntaxError"),
    ];
    for (code, why) in bad {
        let stage = Stage::of_module(code, "");
        let output =
            kiln().args(["mount", "--volfile"]).arg(&stage.volfile).arg(stage.mnt()).output().unwrap();
        assert!(!output.status.success(), "{code}");
        assert!(text(&output).contains(why), "{code}: {}", text(&output));
    }
    let stage = Stage::new(" option module-name nowhere_to_be_found\n", false);
    let output = kiln().args(["mount", "--volfile"]).arg(&stage.volfile).arg(stage.mnt()).output().unwrap();
    assert!(text(&output).contains("there is no module `nowhere_to_be_found`"), "{}", text(&output));
}

/// Each name makes another mistake.
const MISTAKES: &str = r"
import os, sys, threading, time
import kiln
from kiln import LATER, PASS, Failure, reply, request

class Mistakes(kiln.Translator):
    def init(self):
        self.kept = []

    def lookup(self, ctx, loc, xdata):
        name = loc.name or b''
        if name == b'raises':
            return 1 / 0
        if name == b'errno':
            raise PermissionError(13, 'not you')
        if name == b'nonsense':
            return 'what?'
        if name == b'wrong-reply':
            return request.Stat(loc)
        if name == b'exits':
            sys.exit(5)
        if name == b'never':
            return LATER
        if name == b'twice':
            ctx.finish(Failure(2))
            return Failure(2)
        if name == b'later':
            threading.Timer(0.05, lambda: ctx.finish(Failure(117))).start()
            return LATER
        if name == b'sleeps':
            time.sleep(1.5)
        if name == b'loops':
            while True:
                pass
        if name == b'keeps':
            self.kept.append((ctx, loc, xdata))
        return None
";

#[test]
fn a_handler_that_goes_wrong_fails_its_request_alone() {
    let stage = Stage::of_module(MISTAKES, " option time-limit 500ms\n");
    let mount = stage.mount();
    let mnt = stage.mnt();
    fs::write(mnt.join("good"), "good").unwrap();
    let errno = |name: &str| fs::metadata(mnt.join(name)).unwrap_err().raw_os_error().unwrap();
    for (name, wanted) in [
        ("raises", Errno::IO),
        ("errno", Errno::ACCESS),
        ("nonsense", Errno::IO),
        ("wrong-reply", Errno::IO),
        ("exits", Errno::IO),
        ("twice", Errno::IO),
        ("later", Errno::UCLEAN),
        ("never", Errno::TIMEDOUT),
        ("sleeps", Errno::TIMEDOUT),
        ("loops", Errno::TIMEDOUT),
        ("keeps", Errno::NOENT),
    ] {
        let start = Instant::now();
        assert_eq!(errno(name), wanted.raw_os_error(), "{name}\n{}", mount.log());
        assert!(start.elapsed() < Duration::from_secs(3), "{name} took {:?}", start.elapsed());
        // The others go on, if not through Python while that is stuck.
        wait_for("a lookup to pass", Duration::from_secs(5), || {
            fs::read_to_string(mnt.join("good")).is_ok_and(|text| text == "good")
        });
    }
    let log = mount.log();
    assert!(log.contains("ZeroDivisionError") && log.contains("mine.py"), "{log}");
    let stats = stage.stats();
    assert_eq!(stats["requests"]["stuck"], 2, "{stats}");
    mount.stop();
}

#[test]
fn a_stuck_translator_is_named_with_its_stack_and_holds_nobody_else_up() {
    let code = "import time\nimport kiln\nclass Stuck(kiln.Translator):\n    \
                def mkdir(self, ctx, loc, mode, umask, xdata):\n        time.sleep(3)\n";
    let stage = Stage::of_module(code, " option time-limit 300ms\n option on-failure pass\n");
    let mount = stage.mount();
    let mnt = stage.mnt();
    let start = Instant::now();
    fs::create_dir(mnt.join("made-all-the-same")).unwrap();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let dump = stage.dump();
    assert!(dump.contains("time.sleep(3)") && dump.contains("python"), "{dump}");
    let start = Instant::now();
    shell(&mnt, "echo data >file; test \"$(cat file)\" = data");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    mount.stop();
}

#[test]
fn options_reach_the_translator_while_it_runs() {
    let code = "import kiln\nclass Gate(kiln.Translator):\n    \
                options = (kiln.Option('shut', bool, default=False, reconfigurable=True, description='refuse'),)\n    \
                def mkdir(self, ctx, loc, mode, umask, xdata):\n        \
                if self.options['shut']: raise PermissionError(1, 'shut')\n";
    let stage = Stage::of_module(code, " option option.shut off\n");
    let mount = stage.mount();
    fs::create_dir(stage.mnt().join("before")).unwrap();
    stage.write_mine(" option option.shut on\n");
    signal(mount.pid(), "HUP");
    let trial = stage.mnt().join("trial");
    wait_for("the option", Duration::from_secs(10), || {
        fs::create_dir(&trial).is_err() || fs::remove_dir(&trial).is_err()
    });
    // One that is refused changes nothing.
    stage.write_mine(" option option.shut perhaps\n");
    signal(mount.pid(), "HUP");
    wait_for("the refusal", Duration::from_secs(10), || mount.log().contains("perhaps"));
    assert!(fs::create_dir(stage.mnt().join("y")).is_err());
    mount.stop();
}

#[test]
fn policies_pass_and_disable() {
    let code = "import kiln\nclass Bad(kiln.Translator):\n    \
                def mkdir(self, ctx, loc, mode, umask, xdata): raise RuntimeError('bug')\n";
    let stage = Stage::of_module(code, " option on-failure disable\n");
    let mount = stage.mount();
    for name in ["a", "b", "c"] {
        fs::create_dir(stage.mnt().join(name)).unwrap();
    }
    let stats = stage.stats();
    assert_eq!((&stats["disabled"], &stats["requests"]["broken"]), (&Json::Bool(true), &1.into()), "{stats}");
    mount.stop();
}

#[test]
fn what_is_recorded_on_a_mount_is_played_without_one() {
    let stage = Stage::new("", false);
    let trace = stage.scratch.join("trace.jsonl");
    stage
        .write(&format!(" option module-name kiln.record\n option option.file {}\n", trace.display()), false);
    let mount = stage.mount();
    shell(&stage.mnt(), EVERYDAY);
    shell(
        &stage.mnt(),
        "head -c 300000 /dev/urandom >data; cmp data data; setfattr -n user.a -v b data; truncate -s 5 data",
    );
    mount.stop();
    let play = |module: &str| {
        let path = format!("{}:{}", examples(".").display(), examples("glupy").display());
        run(kiln()
            .args(["python", "run", module, "--search-path", &path, "--log-level", "warn", "--replay"])
            .arg(&trace))
    };
    for module in ["hello", "helloworld", "negative", "negative_batch", "negative_correct"] {
        let report = play(module);
        let spared = !report.contains(", 0 not passed on");
        assert!(report.contains(", 0 otherwise"), "{module}: {report}");
        assert_eq!(spared, module.starts_with("negative"), "{module}: {report}");
    }
}

/// Keeps all data for ever.
const KEEPS: &str = "
import kiln
class Keeps(kiln.Translator):
    def init(self):
        self.kept, self.replies = [], []
    def writev(self, ctx, fd, data, offset, flags, xdata):
        self.kept.append(data)
    def readv_reply(self, ctx, reply):
        self.replies.append(reply)
    def statedump(self):
        first = any(bytes(data[:6]) == b'first\\n' for data in self.kept)
        zeros = sum(len(data) for data in self.kept if not any(data[::512]))
        return {'text': f'{first} {zeros} {len(self.replies) > 0}'}
";

/// Writes and reads more than the engine has set aside, in pieces of several sizes.
const MUCH: &str = "
    head -c 4096 <(yes first) >small
    dd if=/dev/zero of=large bs=128k count=800 oflag=direct status=none
    dd if=/dev/zero of=many bs=4k count=3000 oflag=direct status=none
    dd if=large bs=128k iflag=direct status=none | cmp -n 104857600 - /dev/zero
    test $(stat -c %s many) = 12288000
";

/// What `KEEPS` tells after `MUCH`.
const KEPT: &str = "True 117145600 True";

#[test]
fn what_a_translator_keeps_leaves_the_engine_enough() {
    let stage = Stage::of_module(KEEPS, "");
    let mount = stage.mount();
    shell(&stage.mnt(), MUCH);
    let dump = stage.dump();
    assert!(dump.contains(KEPT), "{dump}");
    mount.stop();

    let path = stage.scratch.path().display();
    stage.write(&format!(" option module-name mine\n option search-path {path}\n"), true);
    let server = KilnServer::at(&stage.scratch, stage.port, |command| {
        _ = command.arg("--volfile").arg(&stage.volfile);
    });
    let client = StockClient::of_volfile(&stage.scratch, "client", &remote(stage.port));
    shell(client.mnt(), &format!("rm -f *\n{MUCH}"));
    let dump = server.dump();
    assert!(dump.contains(KEPT), "{dump}");
    drop(client);
    server.stop();
}
