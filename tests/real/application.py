"""An application for tests: application.py MOUNT STATUS STOP

Works in MOUNT until the file STOP is there, tries again what fails, and writes what it has seen to the file STATUS.
A process of its own, as whoever starts a brick must not have files open that wait for it: an exec closes them.
"""
import json, os, struct, sys, threading, time

mnt, status, stop = sys.argv[1:]
BLOCK, READ = 4096, 64
seen = {"rounds": {}, "errors": {}, "longest": 0.0, "broken": ""}
lock = threading.Lock()


def block(file, number):
    return struct.pack("<Q", number << 8 | file) * (BLOCK // 8)


def at(name):
    return os.path.join(mnt, name)


def write(index):
    fd = os.open(at(f"file-{index}"), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)

    def work(number, attempt):
        os.pwrite(fd, block(index, number), number * BLOCK)
        os.fdatasync(fd)

    return work


def read(number, attempt):
    where = number * 7 % READ
    fd = os.open(at("read"), os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        assert os.pread(fd, BLOCK, where * BLOCK) == block(9, where), "another block was read"
    finally:
        os.close(fd)


def look(number, attempt):
    assert os.stat(at("read")).st_size == READ * BLOCK
    assert "read" in os.listdir(mnt)
    os.statvfs(mnt)


def change(number, attempt):
    # Another name each time: nobody can know what became of an attempt that failed.
    old, new, dir = (at(f"{name}-{number}-{attempt}") for name in ("old", "new", "dir"))
    fd = os.open(old, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.write(fd, b"content")
    finally:
        os.close(fd)
    os.rename(old, new)
    os.chmod(new, 0o600)
    os.unlink(new)
    os.mkdir(dir)
    os.rmdir(dir)


def drop(number, attempt):
    # Written and closed, not synced.
    time.sleep(0.005)
    with open(at(f"dropped-{number}"), "wb", buffering=0) as file:
        file.write(block(8, number))


def repeat(name, work):
    number = 0
    try:
        while not os.path.exists(stop):
            began, attempt = time.monotonic(), 0
            while True:
                try:
                    work(number, attempt)
                    break
                except OSError as error:
                    with lock:
                        seen["errors"].setdefault(name, []).append(error.errno)
                    attempt += 1
                    time.sleep(0.02)
            number += 1
            with lock:
                seen["longest"] = max(seen["longest"], time.monotonic() - began)
                seen["rounds"][name] = number
    except Exception as error:
        seen["broken"] += f"{name}: {error!r}; "


def report():
    with lock:
        text = json.dumps(seen)
    with open(status + ".new", "w") as file:
        file.write(text)
    os.rename(status + ".new", status)


with open(at("read"), "wb") as file:
    for number in range(READ):
        file.write(block(9, number))
    file.flush()
    os.fsync(file.fileno())
works = {f"write-{index}": write(index) for index in range(3)}
works |= {"read": read, "look": look, "change": change, "drop": drop}
threads = [threading.Thread(target=repeat, args=each) for each in works.items()]
for thread in threads:
    thread.start()
while any(thread.is_alive() for thread in threads):
    report()
    time.sleep(0.05)
report()
