"""The machine and what runs on it, as every report begins."""

import os
import pathlib
import subprocess
import time


def _first_line(*command):
    """What a program says of its version, or None where it is not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0].strip() if lines else None


def _read(path):
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError:
        return ""


def describe(kiln=None, programs=("glusterfsd", "fio")):
    """Everything that a reader of figures wants to know of where they come from."""
    cpuinfo = _read("/proc/cpuinfo").splitlines()
    fields = {}
    for line in cpuinfo:
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    memory = next((line for line in _read("/proc/meminfo").splitlines() if line.startswith("MemTotal")), "MemTotal: 0 kB")
    system = os.uname()
    governor = _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    versions = {program: _first_line(program, "--version") for program in programs}
    if kiln:
        versions["kiln"] = _first_line(kiln, "--version")
    return {
        "kernel": f"{system.sysname} {system.release}",
        "cpu": fields.get("model name", system.machine),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": int(memory.split()[1]) * 1024,
        "virtual": "hypervisor" in fields.get("flags", "").split(),
        "governor": governor or None,
        # How TCP paces what is sent is a part of what a request costs, on the loopback interface too.
        "congestion_control": _read("/proc/sys/net/ipv4/tcp_congestion_control") or None,
        "load_average": os.getloadavg()[0],
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "programs": {name: version for name, version in versions.items() if version},
    }


def lines(machine, where=None):
    """The same in two or three lines for people."""
    size = f"{machine['memory_bytes'] / 2**30:.0f} GiB"
    virtual = "virtual CPUs" if machine["virtual"] else "cores"
    about = f"{machine['cpu']}, {machine['cores']} {virtual}, {size}, {machine['kernel']}"
    about += f", governor {machine['governor']}" if machine["governor"] else ""
    # Results that were kept before this was noted do not have it.
    about += f", TCP by {machine['congestion_control']}" if machine.get("congestion_control") else ""
    yield about
    yield f"{machine['date']}, load average at the start {machine['load_average']:.2f}" + (f"; {where}" if where else "")
    if machine["programs"]:
        yield "; ".join(f"{version}" for version in machine["programs"].values())


def one_line(machine):
    """The machine and the day, for tables that want no more."""
    return f"{machine['kernel']}, {machine['cores']} cores, {machine['cpu']}, {machine['date'].split()[0]}"
