//! Stock GlusterFS clients on `kiln serve`.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{KilnServer, Scratch, StockClient, free_port, kiln, run, shell, signal};

/// What a shell does, on a mount.
pub fn session(mnt: &Path) {
    shell(
        mnt,
        r#"
        mkdir -p a/b/c; echo hello > a/b/c/file; cp -a a copy; diff -r a copy
        mv copy/b/c/file copy/moved; test ! -e copy/b/c/file; cat copy/moved | grep hello > /dev/null
        ln copy/moved hard; test "$(stat -c %h hard)" = 2; rm copy/moved; test "$(stat -c %h hard)" = 1
        ln -s hard soft; test "$(readlink soft)" = hard; test "$(cat soft)" = hello
        seq 300 | xargs -P4 -I{} sh -c 'echo {} > many-{}'; test "$(ls | grep -c many-)" = 300
        find . -name 'many-*' -delete; test "$(ls -A | wc -l)" = 4
        dd if=/dev/urandom of=big bs=1M count=20 status=none; sum=$(md5sum < big)
        cp big big2; cmp big big2; test "$(md5sum < big2)" = "$sum"
        truncate -s 5M big; test "$(stat -c %s big)" = 5242880; cmp -n 5242880 big big2
        setfattr -n user.a -v 1 big; test "$(getfattr --only-values -n user.a big)" = 1; setfattr -x user.a big
        ! getfattr -n user.a big 2>/dev/null
        setfacl -m u:1000:rwx big; getfacl -pn big | grep 'user:1000:rwx' > /dev/null
        chmod 640 big; chown 5:6 big; touch -d 2001-02-03 big; test "$(stat -c %a:%u:%g:%Y big)" = 640:5:6:981158400
        mkfifo fifo; mknod device c 1 3; test "$(stat -c %t:%T device)" = 1:3
        fallocate -l 1M space; fallocate -p -o 0 -l 64K space; test "$(stat -c %s space)" = 1048576
        flock big true; df . > /dev/null; sync -f .
        tar cf - . | tar tf - > /dev/null; rm -rf -- *; test -z "$(ls -A)"
        "#,
    );
}

#[test]
fn a_shell_session_by_volume_name() {
    let scratch = Scratch::new();
    let server = KilnServer::new(&scratch, &scratch.brick());
    let client = StockClient::of_volume(&scratch, server.port, "mnt-a");
    session(client.mnt());
    let dump = server.dump();
    assert!(
        dump.contains("\"process\"") && dump.contains("\"lookup\""),
        "clients are not in the dump: {dump}"
    );
    drop(client);
    server.stop();
    run(kiln().arg("check").arg(scratch.brick()));
}

#[test]
fn a_shell_session_with_the_bare_protocol_over_ipv6_and_a_unix_socket() {
    let scratch = Scratch::new();
    let (port, path) = (free_port(), scratch.join("brick.sock"));
    let server = KilnServer::at(&scratch, free_port(), |command| {
        command.arg("--brick").arg(scratch.brick());
        command.arg("--listen").arg(format!("[::1]:{port}")).arg("--listen").arg(&path);
    });
    let brick = scratch.brick();
    let options = format!(
        " option transport-type tcp\n option transport.address-family inet6\n option remote-host ::1\n \
         option remote-port {port}\n option remote-subvolume {}\n",
        brick.display()
    );
    let client = StockClient::of_volfile(&scratch, "mnt-v6", &options);
    session(client.mnt());
    let options = format!(
        "  option transport-type unix\n option transport.address-family unix\n option remote-host localhost\n \
         option transport.socket.connect-path {}\n option remote-subvolume {}\n",
        path.display(),
        brick.display()
    );
    let other = StockClient::of_volfile(&scratch, "mnt-unix", &options);
    session(other.mnt());
    drop((client, other));
    server.stop();
    assert!(!path.exists(), "the socket is left behind");
}

#[test]
fn two_clients_see_each_other_and_exclude_each_other() {
    let scratch = Scratch::new();
    let server = KilnServer::new(&scratch, &scratch.brick());
    let one = StockClient::of_volume(&scratch, server.port, "mnt-1");
    let two = StockClient::of_volume(&scratch, server.port, "mnt-2");
    fs::write(one.mnt().join("file"), vec![b'x'; 100]).unwrap();
    assert_eq!(fs::read(two.mnt().join("file")).unwrap(), vec![b'x'; 100]);
    let script = r#"
import fcntl, os, sys, time
a, b = open(sys.argv[1] + "/file", "r+b"), open(sys.argv[2] + "/file", "r+b")
fcntl.lockf(a, fcntl.LOCK_EX, 10, 0)
try:
    fcntl.lockf(b, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 5); sys.exit("two holders")
except OSError:
    pass
fcntl.lockf(b, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 20)
pid = os.fork()
if pid == 0:
    # A child does not inherit locks: this waits for the parent's.
    c = open(sys.argv[2] + "/file", "r+b")
    start = time.time(); fcntl.lockf(c, fcntl.LOCK_EX, 5, 5)
    os._exit(0 if time.time() - start > 0.4 else 1)
time.sleep(0.7); fcntl.lockf(a, fcntl.LOCK_UN, 10, 0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;
    run(Command::new("python3").args(["-c", script]).args([one.mnt(), two.mnt()]));
    // A client that goes takes its locks along.
    let holder = r#"
import fcntl, sys, time
f = open(sys.argv[1] + "/file", "r+b"); fcntl.lockf(f, fcntl.LOCK_EX, 10, 0); print("held", flush=True); time.sleep(60)
"#;
    let mut child = Command::new("python3")
        .args(["-c", holder])
        .arg(one.mnt())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert_eq!(line, "held\n");
    let taker = r#"
import fcntl, sys
f = open(sys.argv[1] + "/file", "r+b"); fcntl.lockf(f, fcntl.LOCK_EX | int(sys.argv[2]), 10, 0)
"#;
    let take = |nonblocking: &str| {
        Command::new("timeout")
            .args(["20", "python3", "-c", taker])
            .arg(two.mnt())
            .arg(nonblocking)
            .output()
            .unwrap()
    };
    assert!(!take("4").status.success(), "LOCK_NB although the other client holds it");
    let waiting = thread::scope(|scope| {
        let waiting = scope.spawn(|| take("0"));
        thread::sleep(Duration::from_millis(300));
        // The client dies with its lock.
        one.kill();
        waiting.join().unwrap()
    });
    assert!(waiting.status.success(), "{waiting:?}");
    let _ = child.kill();
    let _ = child.wait();
    drop(two);
    server.stop();
}

#[test]
fn gfapi_and_qemu() {
    let scratch = Scratch::new();
    let server = KilnServer::new(&scratch, &scratch.brick());
    let image = format!("gluster://127.0.0.1:{}/vol/image.qcow2", server.port);
    run(Command::new("qemu-img").args(["create", "-f", "qcow2", &image, "64M"]));
    let raw = scratch.join("raw");
    fs::write(&raw, (0..8_u32 << 20).map(|byte| (byte >> 3) as u8).collect::<Vec<_>>()).unwrap();
    let copy = format!("gluster://127.0.0.1:{}/vol/copy", server.port);
    run(Command::new("qemu-img").args(["convert", "-f", "raw", "-O", "raw"]).arg(&raw).arg(&copy));
    run(Command::new("qemu-img").args(["compare", "-f", "raw", "-F", "raw"]).arg(&raw).arg(&copy));
    assert_eq!(fs::read(scratch.brick().join("copy")).unwrap(), fs::read(&raw).unwrap());
    server.stop();
}

/// Runs a script where nobody else listens: libgfapi's fio goes to GlusterFS's own port.
fn in_own_network(dir: &Path, script: &str) -> String {
    let script = format!("ip link set lo up\n{script}");
    run(Command::new("unshare")
        .args(["--net", "bash", "-euo", "pipefail", "-c", &script])
        .current_dir(dir)
        .env("KILN", env!("CARGO_BIN_EXE_kiln")))
}

#[test]
fn fio_by_gfapi_on_the_standard_port() {
    let scratch = Scratch::new();
    in_own_network(
        scratch.path(),
        r#"
        "$KILN" serve --brick brick --name vol --listen 24007 --listen 49152 --control-socket x.sock > kiln.log 2>&1 & pid=$!
        trap 'kill -9 $pid 2>/dev/null || true' EXIT
        for _ in $(seq 100); do grep -q 'serving after' kiln.log && break; sleep 0.1; done
        common="--volume=vol --brick=127.0.0.1 --size=16m --bs=4k --verify=crc32c --verify_fatal=1"
        timeout 100 fio --name=job --ioengine=gfapi $common --rw=randwrite > fio1.log 2>&1 || { cat fio1.log; exit 1; }
        timeout 100 fio --name=job --ioengine=gfapi_async $common --iodepth=16 --rw=randwrite > fio2.log 2>&1 || { cat fio2.log; exit 1; }
        timeout 100 fio --name=job --ioengine=gfapi_async $common --iodepth=16 --rw=randrw --bs=64k > fio3.log 2>&1 || { cat fio3.log; exit 1; }
        grep -q 'err= 0' fio1.log; grep -q 'err= 0' fio2.log; grep -q 'err= 0' fio3.log
        kill $pid; wait $pid
        "#,
    );
    run(kiln().arg("check").arg(scratch.brick()));
}

#[test]
fn who_may_is_decided_as_by_glusterfsd() {
    let scratch = Scratch::new();
    let port = free_port();
    let graph = |rules: &str| {
        format!(
            "volume posix\n type storage/posix\n option directory {}\nend-volume\n\
             volume brick\n type features/locks\n subvolumes posix\nend-volume\n\
             volume server\n type protocol/server\n{rules} subvolumes brick\nend-volume\n",
            scratch.brick().display()
        )
    };
    let volfile = scratch.join("server.vol");
    let serve = |rules: &str| {
        fs::write(&volfile, graph(rules)).unwrap();
        KilnServer::at(&scratch, port, |command| _ = command.arg("--volfile").arg(&volfile))
    };
    let client = |more: &str| {
        format!(
            " option transport-type tcp\n option remote-host 127.0.0.1\n option remote-port {port}\n \
             option remote-subvolume brick\n{more}"
        )
    };
    let limit = Duration::from_secs(20);
    // A password.
    let rules = " option auth.login.brick.allow ann\n option auth.login.ann.password secret\n";
    let server = serve(rules);
    let right = StockClient::of_volfile(
        &scratch,
        "right",
        &client(" option username ann\n option password secret\n"),
    );
    fs::write(right.mnt().join("x"), "x").unwrap();
    drop(right);
    for (name, more) in [("wrong", " option username ann\n option password guess\n"), ("none", "")] {
        let (ended, log) = StockClient::refused(&scratch, name, &client(more), limit);
        assert!(ended && log.contains("Authentication failed"), "{name}: {log}");
    }
    server.stop();
    // An address.
    let server = serve(" option auth.addr.brick.allow *\n option auth.addr.brick.reject 127.0.0.*\n");
    let (ended, log) = StockClient::refused(&scratch, "address", &client(""), limit);
    assert!(ended && log.contains("Authentication failed"), "{log}");
    server.stop();
    // Another brick: the client goes on trying.
    let server = serve(" option auth.addr.brick.allow *\n");
    let other = client("").replace("remote-subvolume brick", "remote-subvolume other");
    let (ended, log) = StockClient::refused(&scratch, "other", &other, Duration::from_secs(5));
    assert!(!ended && log.contains("Brick not found"), "{log}");
    assert!(server.log().contains("a handshake is refused: Brick not found"));
    server.stop();
}

#[test]
fn an_address_in_use_is_told() {
    let scratch = Scratch::new();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let output = kiln()
        .args(["serve", "--listen", &address, "--control-socket"])
        .arg(scratch.join("x.sock"))
        .arg("--brick")
        .arg(scratch.brick())
        .output()
        .unwrap();
    let text = crate::support::text(&output);
    assert_eq!(output.status.code(), Some(10), "{text}");
    assert!(text.contains("cannot listen at") && text.contains("in use"), "{text}");
}

#[test]
fn a_stopping_server_answers_what_it_has() {
    let scratch = Scratch::new();
    let server = KilnServer::new(&scratch, &scratch.brick());
    // One that does not wait for its brick.
    let client = StockClient::of_brick(&scratch, "mnt-a", &scratch.brick(), server.port);
    let mut file = fs::File::create(client.mnt().join("file")).unwrap();
    file.write_all(&vec![7; 4 << 20]).unwrap();
    let began = Instant::now();
    let syncing = thread::spawn(move || file.sync_all());
    thread::sleep(Duration::from_millis(5));
    signal(server.pid(), "TERM");
    // Either it was answered in time or the connection was closed first; never a hang.
    let _ = syncing.join().unwrap();
    assert!(began.elapsed() < Duration::from_secs(30));
    server.ends();
    drop(client);
}

#[test]
fn a_directory_is_mounted_on_its_own() {
    let scratch = Scratch::new();
    let server = KilnServer::new(&scratch, &scratch.brick());
    let whole = StockClient::of_volume(&scratch, server.port, "whole");
    shell(
        whole.mnt(),
        "mkdir -p sub/deep/er secret && echo 1 > secret/x && echo 2 > sub/deep/f && ln -s .. sub/deep/up",
    );
    let part = StockClient::of_directory(&scratch, server.port, "part", "/sub/deep");
    let said = shell(
        part.mnt(),
        r#"
        ls -a | tr '\n' ' '
        test "$(stat -c %i .)" = 1
        cat f; mkdir a a/b; echo 3 > a/b/c; mv a/b/c top; mv er a/; ls a/er/..; echo 4 >> f; ln f g; rm g
        test ! -e secret -a ! -e deep
        setfattr -n user.x -v y . && getfattr -n user.x --only-values .
        python3 -c "import os; d = os.open('a/er', os.O_DIRECTORY); print(sorted(os.listdir(d)), os.stat('..', dir_fd=d).st_ino != 0)"
        touch -d @5 . && test "$(stat -c %Y .)" = 5
        "#,
    );
    assert!(said.starts_with(". .. er f up 2"), "{said}");
    let seen = shell(whole.mnt(), "cat sub/deep/top sub/deep/f; stat -c %Y sub/deep; ls sub/deep/a");
    assert_eq!(seen, "3\n2\n4\n5\nb\ner\n");
    assert!(
        server.stats(&["--clients", "--json"]).contains("fuse") && server.dump().contains("\"/sub/deep\"")
    );
    drop(part);
    // What is not there, and what is no directory.
    for (name, path) in [("missing", "/sub/none"), ("file", "/sub/deep/f")] {
        let log = StockClient::refused_directory(&scratch, server.port, name, path);
        assert!(log.contains("is not found"), "{log}");
    }
    drop(whole);
    server.stop();
    run(kiln().arg("check").arg(scratch.brick()));
}
