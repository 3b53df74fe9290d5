"""What measurements of a brick need: a place for it, its process, stock clients, mounts, and the CPU time of its threads."""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

import volfile

KILN = os.environ.get("KILN", "target/release/kiln")
PORT = 49152
STOCK_PORT = 49153
BARE_PORT = 49154
VOLUME_PORT = 49155
# Where libgfapi asks for the volfiles of clients.
SPEC_PORT = 24007
NOT_KEPT = ("--entry-timeout=0", "--negative-timeout=0")


class Failed(Exception):
    """Something that was started did not do what it is for."""


def wait_for(what, done, process=None, log=None):
    """Waits for at most 20 seconds until `done()`."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if done():
            return
        if process is not None and process.poll() is not None:
            break
        time.sleep(0.01)
    raise Failed(f"{what} did not come\n{log.read_text(errors='replace') if log else ''}")


def listens(port):
    """Whether somebody listens at the port."""
    want = f":{port:04X} 00000000:0000 0A"
    return any(want in line for line in pathlib.Path("/proc/net/tcp").read_text().splitlines())


@dataclasses.dataclass(frozen=True)
class Brick:
    """A process that serves a directory."""

    name: str
    pid: int
    port: int
    directory: pathlib.Path

    @property
    def target(self):
        """As `kiln load` is told of it."""
        return f"127.0.0.1:{self.port}/brick"


class Rig:
    """A temporary directory, `data` in it for bricks (a tmpfs, or the directory that was given), and the processes that were
    started."""

    def __init__(self, data=None):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="kiln-rig-"))
        self._tmpfs = data is None
        if self._tmpfs:
            self.data = self.dir / "data"
            self.data.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=90%,nr_inodes=0", "kiln-rig", self.data], check=True)
        else:
            self.data = pathlib.Path(tempfile.mkdtemp(prefix="kiln-rig-", dir=data))
        (self.data / "brick").mkdir()
        self._count = 0

    def close(self):
        """Removes everything."""
        if self._tmpfs:
            subprocess.run(["umount", "-l", self.data], check=False)
        else:
            subprocess.run(["rm", "-rf", "--one-file-system", self.data], check=False)
        subprocess.run(["rm", "-rf", "--one-file-system", self.dir], check=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @contextlib.contextmanager
    def process(self, name, *command, cpus=None):
        """Runs a command, on these CPUs if told so; ends it with SIGTERM."""
        self._count += 1
        log = self.dir / f"{name}-{self._count}.log"
        if cpus:
            command = ("taskset", "--cpu-list", ",".join(map(str, cpus)), *command)
        with log.open("w") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, cwd="/")
        try:
            yield process, log
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @contextlib.contextmanager
    def mounted(self, name, command):
        """Runs a command that mounts at the path that comes last: that path and the process."""
        self._count += 1
        point = self.dir / f"mnt-{self._count}"
        point.mkdir()
        try:
            with self.process(name, *command, point) as (process, log):
                wait_for(f"the mount of {name}", point.is_mount, process, log)
                yield point, process.pid
        finally:
            subprocess.run(["umount", "-l", point], check=False, stderr=subprocess.DEVNULL)

    @contextlib.contextmanager
    def kiln_mount(self, *arguments):
        """`kiln mount`: the mount point and the process."""
        with self.mounted("kiln", [KILN, "mount", "--control-socket", self.socket, *arguments]) as both:
            yield both

    @contextlib.contextmanager
    def kiln_serve(self, *arguments, port=PORT, cpus=None):
        """`kiln serve`: the process."""
        listen = ("--listen", f"127.0.0.1:{port}")
        more = os.environ.get("KILN_ARGS", "").split()
        command = (KILN, "serve", "--control-socket", self.socket, *listen, *arguments, *more)
        with self.process("kiln", *command, cpus=cpus) as (process, log):
            wait_for("kiln serve", lambda: listens(port), process, log)
            yield process.pid

    @contextlib.contextmanager
    def kiln(self, directory="kiln", *arguments, cpus=None, **storage):
        """Kiln over a directory of its own, with the volfile that `stock` has too."""
        path, place = self._volfile("kiln", directory, PORT, storage)
        with self.kiln_serve("--volfile", path, *arguments, cpus=cpus) as pid:
            yield Brick("kiln", pid, PORT, place)

    @contextlib.contextmanager
    def stock(self, directory="stock", cpus=None, **storage):
        """glusterfsd over a directory of its own."""
        path, place = self._volfile("stock", directory, STOCK_PORT, storage)
        with self._glusterfsd("stock", path, STOCK_PORT, cpus) as pid:
            yield Brick("stock", pid, STOCK_PORT, place)

    @contextlib.contextmanager
    def stock_of_volume(self, directory="volume"):
        """glusterfsd as glusterd starts it, over a directory of its own."""
        place = self.data / directory
        (place / ".glusterfs" / "indices").mkdir(parents=True)
        path = self.dir / f"glusterd-{directory}.vol"
        path.write_text(volfile.brick(place, VOLUME_PORT, volfile.VOLUME_LAYERS, **volfile.VOLUME_STORAGE))
        with self._glusterfsd("glusterd", path, VOLUME_PORT) as pid:
            yield Brick("glusterd", pid, VOLUME_PORT, place)

    @contextlib.contextmanager
    def _glusterfsd(self, name, path, port, cpus=None):
        # It writes the file of its pid into a directory that need not be there.
        files = ("-l", self.dir / f"{name}.log", "-p", self.dir / f"{name}.pid")
        with self.process(name, "glusterfsd", "-N", "-f", path, *files, cpus=cpus) as (process, log):
            wait_for("glusterfsd", lambda: listens(port), process, log)
            yield process.pid

    def _volfile(self, name, directory, port, storage):
        place = self.data / directory
        place.mkdir(exist_ok=True)
        path = self.dir / f"{name}-{directory}.vol"
        path.write_text(volfile.brick(place, port, **storage))
        return path, place

    @contextlib.contextmanager
    def gfapi_volumes(self, *bricks):
        """Answers libgfapi: each brick is a volume of its name."""
        for brick in bricks:
            (self.dir / f"volume-{brick.name}").write_text(volfile.client(brick.port, brick.name))
        server = pathlib.Path(__file__).with_name("getspec.py")
        with self.process("getspec", "python3", server, "127.0.0.1", str(SPEC_PORT), self.dir) as (process, log):
            wait_for("the server of volfiles", lambda: listens(SPEC_PORT), process, log)
            yield

    @contextlib.contextmanager
    def stock_mount(self, *arguments, port=PORT):
        """A mount of the stock client."""
        path = self.dir / f"client-{port}.vol"
        path.write_text(volfile.client(port))
        command = ["glusterfs", "-N", "-f", path, "-l", self.dir / f"client-{port}.log", *NOT_KEPT, *arguments]
        with self.mounted("glusterfs", command) as (point, _):
            yield point

    @property
    def socket(self):
        """Of the brick's control."""
        return self.dir / "control.sock"

    def ask(self, *arguments):
        """What a command about the running brick says, as JSON."""
        done = subprocess.run(
            [KILN, *arguments, "--json", "--socket", self.socket], check=True, capture_output=True, text=True
        )
        return json.loads(done.stdout)

    def layer(self, name):
        """The statistics of a layer of the running brick."""
        return next(layer["stats"] for layer in self.ask("stats")["layers"] if layer["name"] == name)


def cpu_ns(pid):
    """CPU time of a process's threads: all of them, and the Python thread."""
    total = python = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            spent = int((task / "schedstat").read_text().split()[0])
            total += spent
            if (task / "comm").read_text().strip() == "kiln-python":
                python += spent
    return total, python


def memory(pid):
    """Resident memory of a process in bytes: now, and the most it ever was."""
    fields = {}
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        fields[name] = value
    return int(fields["VmRSS"].split()[0]) * 1024, int(fields["VmHWM"].split()[0]) * 1024


def anonymous(pid):
    """What of the resident memory is the process's own, and not of files such as its program, in bytes."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon"))
