//! `kiln serve`, and stock clients of it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::kiln::{is_mounted, kiln, signal};
use super::{Scratch, wait_for};

/// A port that nobody listens at now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A `kiln serve` in the foreground; ended when dropped.
pub struct KilnServer {
    child: Child,
    log: PathBuf,
    socket: PathBuf,
    pub port: u16,
}

impl KilnServer {
    /// Serves `brick` as volume `vol` at a free port of the loopback.
    pub fn new(scratch: &Scratch, brick: &Path) -> Self {
        Self::at(scratch, free_port(), |command| _ = command.arg("--brick").arg(brick))
    }

    /// Serves at `port` with other arguments.
    pub fn at(scratch: &Scratch, port: u16, arguments: impl FnOnce(&mut Command)) -> Self {
        let log = scratch.join(&format!("kiln-serve-{port}.log"));
        let socket = scratch.join(&format!("kiln-serve-{port}.sock"));
        let out = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let before = std::fs::metadata(&log).unwrap().len();
        let mut command = kiln();
        command.args(["serve", "--name", "vol", "--listen", &format!("127.0.0.1:{port}")]);
        command.arg("--control-socket").arg(&socket);
        arguments(&mut command);
        let child =
            command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap();
        let mut server = Self { child, log, socket, port };
        let mut ended = None;
        wait_for("kiln to serve", Duration::from_secs(30), || {
            ended = server.child.try_wait().unwrap();
            ended.is_some()
                || server.log().get(before as usize..).is_some_and(|log| log.contains("serving after"))
        });
        assert!(ended.is_none(), "kiln serve ended with {ended:?}:\n{}", server.log());
        server
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Answer of its control socket.
    pub fn dump(&self) -> String {
        super::run(kiln().args(["dump", "--json", "--socket"]).arg(&self.socket))
    }

    /// Where its control socket is.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What `kiln stats` says.
    pub fn stats(&self, args: &[&str]) -> String {
        super::run(kiln().arg("stats").args(args).arg("--socket").arg(&self.socket))
    }

    /// Resident memory in KiB.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// CPU that it has used so far.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // Its user and its system time come after the name, in hundredths of a second.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Stops it as an operator would, and insists on a clean end.
    pub fn stop(self) {
        signal(self.pid(), "TERM");
        self.ends();
    }

    /// Insists on a clean end after a signal that was sent.
    pub fn ends(mut self) {
        let mut status = None;
        wait_for("kiln to end", Duration::from_secs(40), || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(status.unwrap().success(), "kiln ended with {status:?}:\n{}", self.log());
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for KilnServer {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            eprintln!("--- log of kiln ---\n{}", log.get(log.len().saturating_sub(4000)..).unwrap_or(&log));
        }
    }
}

/// What becomes of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It works.
    Mounted,
    /// The client has given up for good.
    Ended,
    /// The client goes on trying.
    Trying,
}

/// A stock FUSE client; ended when dropped.
pub struct StockClient {
    child: Child,
    mnt: PathBuf,
    log: PathBuf,
}

impl StockClient {
    /// Mounts volume `vol` of the server at `port`, as `mount -t glusterfs` does.
    pub fn of_volume(scratch: &Scratch, port: u16, name: &str) -> Self {
        let server = ["--volfile-server=127.0.0.1".into(), format!("--volfile-server-port={port}")];
        Self::start(scratch, name, |command| _ = command.args(server).arg("--volfile-id=vol"))
    }

    /// Mounts a directory of volume `vol`, as `mount -t glusterfs HOST:/vol/directory` does.
    pub fn of_directory(scratch: &Scratch, port: u16, name: &str, directory: &str) -> Self {
        Self::start(scratch, name, Self::directory(port, directory))
    }

    fn directory(port: u16, directory: &str) -> impl FnOnce(&mut Command) {
        let server = ["--volfile-server=127.0.0.1".into(), format!("--volfile-server-port={port}")];
        let of = ["--volfile-id=vol".into(), format!("--subdir-mount={directory}")];
        move |command| _ = command.args(server).args(of)
    }

    /// The same, when the mount is expected to fail: what the client logged until it ended.
    pub fn refused_directory(scratch: &Scratch, port: u16, name: &str, directory: &str) -> String {
        let mut client = Self::spawn(scratch, name.to_owned(), Self::directory(port, directory));
        wait_for("the client to give up", Duration::from_secs(30), || {
            client.child.try_wait().unwrap().is_some()
        });
        client.log()
    }

    /// Mounts by a volfile of its own that has nothing but the protocol.
    pub fn of_volfile(scratch: &Scratch, name: &str, options: &str) -> Self {
        let (client, volfile) = Self::prepare(scratch, name, options);
        Self::wait(Self::spawn(scratch, client, |command| _ = command.arg("-f").arg(volfile)))
    }

    /// Mounts with the layers of the volfile that `kiln serve` hands out, and `brick` at `port`: whoever serves it.
    pub fn of_graph(scratch: &Scratch, name: &str, brick: &Path, port: u16) -> Self {
        let volfile = scratch.join(&format!("{name}.vol"));
        std::fs::write(&volfile, volume_graph(brick, port)).unwrap();
        Self::start(scratch, name, |command| _ = command.arg("-f").arg(volfile))
    }

    /// Mounts with nothing above the protocol, and `brick` at `port`: whoever serves it.
    pub fn of_brick(scratch: &Scratch, name: &str, brick: &Path, port: u16) -> Self {
        let options = format!(
            " option transport-type tcp\n option remote-host 127.0.0.1\n option remote-port {port}\n \
             option remote-subvolume {}\n",
            brick.display()
        );
        Self::of_volfile(scratch, name, &options)
    }

    /// The same, when the mount is expected to fail: what the client logged until it ended or `limit` was over.
    pub fn refused(scratch: &Scratch, name: &str, options: &str, limit: Duration) -> (bool, String) {
        let (name, volfile) = Self::prepare(scratch, name, options);
        let mut client = Self::spawn(scratch, name, |command| _ = command.arg("-f").arg(volfile));
        let start = std::time::Instant::now();
        let mut ended = false;
        while !ended && start.elapsed() < limit {
            ended = client.child.try_wait().unwrap().is_some();
            std::thread::sleep(Duration::from_millis(50));
        }
        (ended, client.log())
    }

    /// What becomes of a mount within `limit`, and what the client logged.
    pub fn fate(scratch: &Scratch, name: &str, options: &str, limit: Duration) -> (Fate, String) {
        let (name, volfile) = Self::prepare(scratch, name, options);
        let mut client = Self::spawn(scratch, name, |command| _ = command.arg("-f").arg(volfile));
        let start = std::time::Instant::now();
        let mut fate = Fate::Trying;
        while fate == Fate::Trying && start.elapsed() < limit {
            let works = || {
                let mark = client.mnt().join(".fate");
                let script = "timeout 2 touch \"$0\" && timeout 2 rm \"$0\"";
                let made = || Command::new("sh").args(["-c", script]).arg(&mark).output();
                // Also afterwards: the directory below a mount that goes away takes everything.
                is_mounted(client.mnt())
                    && made().is_ok_and(|output| output.status.success())
                    && is_mounted(client.mnt())
            };
            if works() {
                fate = Fate::Mounted;
            } else if client.child.try_wait().unwrap().is_some() {
                fate = Fate::Ended;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        (fate, client.log())
    }

    fn prepare(scratch: &Scratch, name: &str, options: &str) -> (String, PathBuf) {
        let volfile = scratch.join(&format!("{name}.vol"));
        let text = format!("volume client\n type protocol/client\n{options}end-volume\n");
        std::fs::write(&volfile, text).unwrap();
        (name.to_owned(), volfile)
    }

    fn start(scratch: &Scratch, name: &str, arguments: impl FnOnce(&mut Command)) -> Self {
        Self::wait(Self::spawn(scratch, name.to_owned(), arguments))
    }

    fn spawn(scratch: &Scratch, name: String, arguments: impl FnOnce(&mut Command)) -> Self {
        let mnt = scratch.join(&name);
        std::fs::create_dir_all(&mnt).unwrap();
        let log = scratch.join(&format!("{name}.log"));
        let mut command = Command::new("glusterfs");
        command.args(["-N", "--acl", "-l"]).arg(&log);
        arguments(&mut command);
        let child = command.arg(&mnt).stdin(Stdio::null()).spawn().unwrap();
        Self { child, mnt, log }
    }

    fn wait(self) -> Self {
        wait_for("the stock mount", Duration::from_secs(30), || {
            // A mount whose server does not answer keeps whoever looks at it.
            is_mounted(&self.mnt)
                && Command::new("timeout")
                    .args(["2", "ls"])
                    .arg(&self.mnt)
                    .output()
                    .is_ok_and(|o| o.status.success())
        });
        self
    }

    pub fn mnt(&self) -> &Path {
        &self.mnt
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// `kill -9`
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let _ = Command::new("umount").arg("-l").arg(&self.mnt).output();
    }
}

impl Drop for StockClient {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // It may wait for a brick that is gone, and whoever unmounts it with it.
            let _ = self.child.kill();
        }
        if is_mounted(&self.mnt)
            && !Command::new("umount").arg(&self.mnt).output().is_ok_and(|o| o.status.success())
        {
            let _ = Command::new("umount").arg("-l").arg(&self.mnt).output();
        }
        signal(self.child.id(), "TERM");
        for _ in 0..300 {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            eprintln!(
                "--- log of the client ---\n{}",
                log.get(log.len().saturating_sub(3000)..).unwrap_or(&log)
            );
        }
    }
}

/// The client's side of a volume of one brick, with the layers that a generated volfile has.
fn volume_graph(brick: &Path, port: u16) -> String {
    let mut graph = format!(
        "volume client\n type protocol/client\n option transport-type tcp\n option remote-host 127.0.0.1\n \
         option remote-port {port}\n option remote-subvolume {}\n option ping-timeout 42\n option send-gids true\n\
         end-volume\n",
        brick.display()
    );
    let mut below = "client";
    for (name, kind, options) in [
        ("utime", "features/utime", " option noatime on\n"),
        ("write-behind", "performance/write-behind", ""),
        ("open-behind", "performance/open-behind", ""),
        ("quick-read", "performance/quick-read", ""),
        ("md-cache", "performance/md-cache", " option cache-posix-acl true\n"),
        ("vol", "debug/io-stats", " option count-fop-hits off\n option latency-measurement off\n"),
    ] {
        graph += &format!("volume {name}\n type {kind}\n{options} subvolumes {below}\nend-volume\n");
        below = name;
    }
    graph
}
