"""What measurements of a brick need: its process, a stock client, mounts, and the CPU time of its threads."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

KILN = os.environ.get("KILN", "target/release/kiln")
PORT = 49152
NOT_KEPT = ("--entry-timeout=0", "--negative-timeout=0")


def machine():
    """The machine and the day, for the first line of a report."""
    model = [line for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = model[0].split(":")[1].strip() if model else "unknown"
    system = os.uname()
    return f"{system.sysname} {system.release}, {os.cpu_count()} cores, {name}, {time.strftime('%Y-%m-%d')}, tmpfs"


def wait_for(what, done, process=None, log=None):
    """Waits for at most 10 seconds until `done()`."""
    for _ in range(1000):
        if done():
            return
        if process is not None and process.poll() is not None:
            break
        time.sleep(0.01)
    raise SystemExit(f"{what} did not come\n{log.read_text() if log else ''}")


def listens(port):
    """Whether somebody listens at the port."""
    want = f":{port:04X} 00000000:0000 0A"
    return any(want in line for line in pathlib.Path("/proc/net/tcp").read_text().splitlines())


def volume(name, kind, below=None, **options):
    """One layer of a volfile; underscores in names of options stand for dashes."""
    lines = [f"volume {name}", f"    type {kind}"]
    lines += [f"    option {key.replace('_', '-')} {value}" for key, value in options.items()]
    lines += [f"    subvolumes {below}"] if below else []
    return "\n".join([*lines, "end-volume", ""])


def brick_volfile(directory, cache, served, late=0):
    """A brick with `cache` (the text of a volume `cache` on `posix`, or nothing) directly above the storage, whose lookups
    take `late` microseconds longer."""
    text, below = volume("disk" if late else "posix", "storage/posix", directory=directory), "posix"
    if late:
        delay = {"enable": "lookup", "delay_percentage": "100%", "delay_duration": late}
        text += volume("posix", "debug/delay-gen", "disk", **delay)
    if cache:
        text, below = text + cache, "cache"
    for name, kind in (("access", "features/access-control"), ("locks", "features/locks"), ("brick", "debug/io-stats")):
        text, below = text + volume(name, kind, below), name
    if served:
        text += volume("server", "protocol/server", "brick", **{"auth.addr.brick.allow": "*"})
    return text


CLIENT = volume(
    "client", "protocol/client", remote_host="127.0.0.1", remote_port=PORT, remote_subvolume="brick", transport_type="tcp"
)


class Rig:
    """A temporary directory with a tmpfs `data` in it, and the processes that were started."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="kiln-rig-"))
        self.data = self.dir / "data"
        self.data.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "kiln-rig", self.data], check=True)
        (self.data / "brick").mkdir()
        self._mounts = 0

    def close(self):
        """Removes everything."""
        subprocess.run(["umount", "-l", self.data], check=False)
        subprocess.run(["rm", "-rf", "--one-file-system", self.dir], check=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @contextlib.contextmanager
    def process(self, name, *command):
        """Runs a command; ends it with SIGTERM."""
        log = self.dir / f"{name}.log"
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
    def _mounted(self, name, command):
        self._mounts += 1
        point = self.dir / f"mnt-{self._mounts}"
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
        with self._mounted("kiln", [KILN, "mount", "--control-socket", self.socket, *arguments]) as both:
            yield both

    @contextlib.contextmanager
    def kiln_serve(self, *arguments):
        """`kiln serve`: the process."""
        listen = ("--listen", f"127.0.0.1:{PORT}")
        command = (KILN, "serve", "--control-socket", self.socket, *listen, *arguments)
        with self.process("kiln", *command) as (process, log):
            wait_for("kiln serve", lambda: listens(PORT), process, log)
            yield process.pid

    @contextlib.contextmanager
    def stock_mount(self, *arguments):
        """A mount of the stock client."""
        path = self.dir / "client.vol"
        path.write_text(CLIENT)
        command = ["glusterfs", "-N", "-f", path, "-l", self.dir / "client.log", *NOT_KEPT, *arguments]
        with self._mounted("glusterfs", command) as (point, _):
            yield point

    @property
    def socket(self):
        """Of the brick's control."""
        return self.dir / "control.sock"

    def kiln(self, *arguments):
        """What a command about the running brick says, as JSON."""
        done = subprocess.run(
            [KILN, *arguments, "--json", "--socket", self.socket], check=True, capture_output=True, text=True
        )
        return json.loads(done.stdout)

    def layer(self, name):
        """The statistics of a layer of the running brick."""
        return next(layer["stats"] for layer in self.kiln("stats")["layers"] if layer["name"] == name)


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
