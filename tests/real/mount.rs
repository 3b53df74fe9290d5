//! What applications do on a mount.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::support::{Image, KilnMount, Scratch, kiln, run, shell};

#[test]
fn a_shell_session() {
    let scratch = Scratch::new();
    session_on(&scratch, &scratch.brick());
}

#[test]
fn a_shell_session_on_a_brick_in_memory() {
    let scratch = Scratch::new();
    let memory = Image::tmpfs(&scratch, "memory", 256);
    session_on(&scratch, memory.path());
}

fn session_on(scratch: &Scratch, brick: &Path) {
    let mount = KilnMount::new(brick, &scratch.mnt());
    shell(
        &scratch.mnt(),
        r#"
        mkdir -p a/b/c; echo hello > a/b/c/file; cp -a a copy; diff -r a copy
        mv copy/b/c/file copy/moved; test ! -e copy/b/c/file; cat copy/moved | grep hello > /dev/null
        ln copy/moved hard; test "$(stat -c %h hard)" = 2; rm copy/moved; test "$(stat -c %h hard)" = 1
        ln -s hard soft; test "$(readlink soft)" = hard; test "$(cat soft)" = hello
        seq 1000 | xargs -P4 -I{} sh -c 'echo {} > many-{}'; test "$(ls | grep -c many-)" = 1000
        find . -name 'many-*' -delete; test "$(ls -A | wc -l)" = 4
        dd if=/dev/urandom of=big bs=1M count=20 status=none; sum=$(md5sum < big)
        cp big big2; cmp big big2; test "$(md5sum < big2)" = "$sum"
        truncate -s 5M big; test "$(stat -c %s big)" = 5242880; cmp -n 5242880 big big2
        tar cf - . | tar tf - > /dev/null; rm -rf -- *; test -z "$(ls -A)"
        "#,
    );
    mount.stop();
    run(kiln().arg("check").arg(brick));
}

#[test]
fn data_calls() {
    let scratch = Scratch::new();
    let mount = KilnMount::new(&scratch.brick(), &scratch.mnt());
    let path = scratch.mnt().join("file");
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    file.write_all_at(b"end", 1 << 20).unwrap();
    assert_eq!(file.metadata().unwrap().len(), (1 << 20) + 3);
    let mut hole = [1; 4096];
    file.read_exact_at(&mut hole, 8192).unwrap();
    assert_eq!(hole, [0; 4096]);
    shell(
        &scratch.mnt(),
        "fallocate -l 3M -n file; test $(stat -c %s file) = 1048579; fallocate -p -o 0 -l 4096 file; fallocate -z -o 4096 -l 4096 file",
    );
    // Data after the hole.
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut appender = OpenOptions::new().append(true).open(&path).unwrap();
    appender.write_all(b" of file").unwrap();
    let mut tail = String::new();
    file.seek(SeekFrom::Start(1 << 20)).unwrap();
    file.read_to_string(&mut tail).unwrap();
    assert_eq!(tail, "end of file");
    file.sync_all().unwrap();
    // Unlinked and still there.
    fs::remove_file(&path).unwrap();
    file.write_all_at(b"x", 0).unwrap();
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    drop((file, appender));
    mount.stop();
    assert_eq!(fs::read_dir(scratch.brick().join(".glusterfs/unlink")).unwrap().count(), 0);
}

#[test]
fn attributes_and_acls() {
    let scratch = Scratch::new();
    let mount = KilnMount::new(&scratch.brick(), &scratch.mnt());
    shell(
        &scratch.mnt(),
        r#"
        touch file; mkdir dir
        setfattr -n user.a -v 1 file; setfattr -n user.b -v "$(printf 'v%.0s' $(seq 3000))" file
        test "$(getfattr --only-values -n user.a file)" = 1; test "$(getfattr --only-values -n user.b file | wc -c)" = 3000
        setfattr -x user.a file; ! getfattr -n user.a file 2>/dev/null
        test "$(getfattr -d -m - file | grep -c '^trusted.gfid')" = 0
        setfacl -m u:1000:rwx file; getfacl -pn file | grep 'user:1000:rwx' > /dev/null
        setfacl -d -m g:2000:rx dir; touch dir/child; getfacl -pn dir/child | grep 'group:2000:r-x' > /dev/null
        umask 077; touch private; test "$(stat -c %a private)" = 600; mkdir private-dir; test "$(stat -c %a private-dir)" = 700
        chmod 6755 file; test "$(stat -c %a file)" = 6775 -o "$(stat -c %a file)" = 6755
        flock file true; python3 - <<'PY'
import fcntl, os
f = open("file", "r+b"); fcntl.lockf(f, fcntl.LOCK_EX, 10, 0)
pid = os.fork()
if pid == 0:
    g = open("file", "r+b")
    try:
        fcntl.lockf(g, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 5); os._exit(1)
    except OSError:
        fcntl.lockf(g, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 20); os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
fd = os.open("file", os.O_RDWR); os.ftruncate(fd, 0); os.pwrite(fd, b"x" * 10, 100000)
assert os.lseek(fd, 0, os.SEEK_DATA) > 0 and os.lseek(fd, 0, os.SEEK_HOLE) == 0
out = os.open("copy", os.O_RDWR | os.O_CREAT); assert os.copy_file_range(fd, out, 10, 100000, 0) == 10
assert os.pread(out, 10, 0) == b"x" * 10
PY
        "#,
    );
    mount.stop();
}

#[test]
fn large_directories_are_listed_once() {
    let scratch = Scratch::new();
    let mount = KilnMount::new(&scratch.brick(), &scratch.mnt());
    let dir = scratch.mnt().join("many");
    fs::create_dir(&dir).unwrap();
    for index in 0..5000 {
        fs::File::create(dir.join(format!("entry-{index:05}"))).unwrap();
    }
    let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 5000);
    // Deleting while reading misses nothing.
    fs::remove_dir_all(&dir).unwrap();
    mount.stop();
}

#[test]
fn statistics_and_dumps() {
    let scratch = Scratch::new();
    let mount = KilnMount::new(&scratch.brick(), &scratch.mnt());
    fs::write(scratch.mnt().join("file"), "x").unwrap();
    let socket = scratch.mnt().with_extension("sock");
    let stats = run(kiln().args(["stats", "--json", "--socket"]).arg(&socket));
    assert!(stats.contains("\"writev\"") && stats.contains("\"create\""), "{stats}");
    let dump = run(kiln().args(["dump", "--socket"]).arg(&socket));
    assert!(dump.contains("storage/posix"), "{dump}");
    mount.stop();
    assert!(!socket.exists(), "the control socket is left behind");
}

#[test]
fn a_signal_ends_a_wait_but_not_a_change() {
    let scratch = Scratch::new();
    let brick = scratch.brick();
    // What makes it a brick; the volfile below does not.
    KilnMount::new(&brick, &scratch.mnt()).stop();
    let volfile = scratch.join("slow.vol");
    let text = format!(
        "volume p\n type storage/posix\n option directory {}\nend-volume\n\
         volume slow\n type debug/delay-gen\n option delay-percentage 100\n option delay-duration 6000000\n \
         option enable readlink,mkdir\n subvolumes p\nend-volume\n",
        brick.display()
    );
    fs::write(&volfile, text).unwrap();
    let mount = KilnMount::with(&scratch.mnt(), |command| _ = command.arg("--volfile").arg(&volfile));
    std::os::unix::fs::symlink("target", scratch.mnt().join("link")).unwrap();
    let start = std::time::Instant::now();
    shell(&scratch.mnt(), "! timeout -s KILL 0.5 readlink link");
    assert!(start.elapsed().as_secs() < 5, "the reader waited on");
    // The directory is made, and its maker hears of it, signal or not.
    let start = std::time::Instant::now();
    shell(&scratch.mnt(), "timeout -s INT 0.5 mkdir made || true; test -d made");
    assert!(start.elapsed().as_secs() >= 5, "the change was given up");
    mount.stop();
}
