//! Locks of applications on a mount whose graph keeps them: the kernel asks the brick, not itself.

use std::fs;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::support::{KilnMount, Scratch, kiln, run, shell};

/// A brick with `features/locks` and the layers above it that a stock volfile has and that concern locks.
fn mount(scratch: &Scratch) -> KilnMount {
    let brick = scratch.brick();
    // The volfile names a brick that has been one before.
    KilnMount::new(&brick, &scratch.mnt()).stop();
    let volfile = scratch.join("brick.vol");
    let text = format!(
        "volume posix\n type storage/posix\n option directory {}\nend-volume\n\
         volume locks\n type features/locks\n option mandatory-locking off\n subvolumes posix\nend-volume\n\
         volume upcall\n type features/upcall\n option cache-invalidation on\n subvolumes locks\nend-volume\n\
         volume io-threads\n type performance/io-threads\n subvolumes upcall\nend-volume\n\
         volume barrier\n type features/barrier\n subvolumes io-threads\nend-volume\n\
         volume stats\n type debug/io-stats\n option count-fop-hits on\n subvolumes barrier\nend-volume\n",
        brick.display()
    );
    fs::write(&volfile, text).unwrap();
    KilnMount::with(&scratch.mnt(), |command| _ = command.args(["--cores", "2", "--volfile"]).arg(&volfile))
}

/// Two processes, each with its own descriptor, on several files (so that several cores own them).
const PROCESSES: &str = r#"
import fcntl, os, signal, struct, sys, time

def child(work):
    pid = os.fork()
    if pid == 0:
        try:
            work(); os._exit(0)
        except BaseException as error:
            print("child:", repr(error), file=sys.stderr); os._exit(1)
    return pid

def join(pid):
    assert os.waitpid(pid, 0)[1] == 0

def busy(lock):
    try:
        lock()
    except OSError as error:
        assert error.errno in (11, 13), error
        return True
    return False

def posix(f, kind, length=0, start=0):
    return lambda: fcntl.lockf(f, kind if kind == fcntl.LOCK_UN else kind | fcntl.LOCK_NB, length, start)

def whole(f, kind):
    return lambda: fcntl.flock(f, kind | fcntl.LOCK_NB)

def holder(f, start, length):
    asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, start, length, 0)
    kind, _, start, length, pid = struct.unpack("hhqqi4x", fcntl.fcntl(f, fcntl.F_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else (kind, start, length)

EX, SH, UN = fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_UN
for number in range(8):
    path = f"file-{number}"
    f = open(path, "w+b")
    f.write(b"x" * 100); f.flush()

    # Byte ranges exclude another process, split, and are told.
    posix(f, EX, 10, 5)()
    posix(f, UN, 2, 8)()
    def other():
        g = open(path, "r+b")
        assert busy(posix(g, SH, 1, 7)) and busy(posix(g, EX, 1, 10))
        posix(g, EX, 2, 8)()
        posix(g, EX, 0, 15)()
        assert holder(g, 0, 100) == (fcntl.F_WRLCK, 5, 3), holder(g, 0, 100)
        assert holder(g, 8, 2) is None
    join(child(other))

    # Another descriptor of the file, closed: POSIX drops the process's locks with it.
    open(path, "r+b").close()
    def free():
        posix(open(path, "r+b"), EX)()
    join(child(free))

    # Flocks belong to the descriptor.
    whole(f, SH)()
    def shared():
        g = open(path, "r+b")
        assert busy(whole(g, EX))
        whole(g, SH)()
    join(child(shared))
    whole(f, EX)()
    h = open(path, "r+b")
    assert busy(whole(h, SH))
    h.close()
    assert busy(whole(open(path, "r+b"), SH))
    whole(f, UN)()
    join(child(lambda: whole(open(path, "r+b"), EX)()))

    # Who waits gets the lock when it is released, and when its holder is killed.
    r, w = os.pipe()
    def hold():
        g = open(path, "r+b"); fcntl.lockf(g, EX); os.write(w, b"!"); time.sleep(1000)
    victim = child(hold)
    os.read(r, 1)
    waiter = child(lambda: fcntl.lockf(open(path, "r+b"), EX))
    time.sleep(0.05)
    assert os.waitpid(waiter, os.WNOHANG) == (0, 0)
    # One more, who is killed while it waits: it ends at once, and nothing of it is left.
    impatient = child(lambda: fcntl.lockf(open(path, "r+b"), EX))
    time.sleep(0.05)
    os.kill(impatient, signal.SIGKILL); os.waitpid(impatient, 0)
    os.kill(victim, signal.SIGKILL); os.waitpid(victim, 0)
    join(waiter)
    join(child(free))
    f.close()

# A counter that many processes raise, each time under the lock of its file.
open("counter", "w").write("0")
def count():
    for _ in range(50):
        with open("counter", "r+") as c:
            fcntl.lockf(c, EX)
            value = int(os.pread(c.fileno(), 20, 0))
            os.pwrite(c.fileno(), b"%d" % (value + 1), 0)
            fcntl.lockf(c, UN)
for pid in [child(count) for _ in range(6)]:
    join(pid)
assert open("counter").read() == "300", open("counter").read()
"#;

#[test]
fn processes_exclude_each_other() {
    let scratch = Scratch::new();
    let mount = mount(&scratch);
    let script = scratch.join("processes.py");
    fs::write(&script, PROCESSES).unwrap();
    shell(&scratch.mnt(), &format!("timeout 100 python3 {}", script.display()));
    let socket = scratch.mnt().with_extension("sock");
    let fops = run(kiln().args(["stats", "--json", "--socket"]).arg(&socket));
    assert!(fops.contains("\"lk\""), "the kernel kept the locks to itself");
    mount.stop();
}

#[test]
fn a_dump_names_the_holder_and_an_administrator_clears_it() {
    let scratch = Scratch::new();
    let mount = mount(&scratch);
    let socket = scratch.mnt().with_extension("sock");
    let dump = || run(kiln().args(["dump", "--socket"]).arg(&socket));
    fs::write(scratch.mnt().join("file"), "x").unwrap();
    let path = scratch.mnt().join("file");
    let file = fs::File::open(&path).unwrap();
    flock(&file, FlockOperation::LockShared).unwrap();
    let held = dump();
    assert!(held.contains("posixlk.posixlk[0](ACTIVE)") && held.contains("type=READ"), "{held}");
    assert!(!try_exclusive(&path));
    // In one call: getfattr asks for the size first, and that clears them already.
    let ask = "import os; print(os.getxattr('file', 'glusterfs.clrlk.tposix.kall').decode())";
    let cleared = shell(&scratch.mnt(), &format!("python3 -c \"{ask}\""));
    assert!(cleared.trim_end().ends_with("/brick/: posix blocked locks=0 granted locks=1"), "{cleared}");
    assert!(try_exclusive(&path));
    drop(file);
    assert!(!dump().contains("posixlk.posixlk"), "a lock is left behind");
    mount.stop();
}

fn try_exclusive(path: &Path) -> bool {
    flock(fs::File::open(path).unwrap(), FlockOperation::NonBlockingLockExclusive).is_ok()
}
