"""Is this server set up so that its drives are what limits a brick? Then the measurements on a directory of it."""

import argparse
import dataclasses
import os
import pathlib
import platform
import re
import resource
import subprocess
import sys

SCRIPTS = pathlib.Path(__file__).resolve().parents[1]
ABOUT = """Looks at what a brick on NVMe drives depends on: the drives' scheduler, queues and interrupts, the processors' governor and
idle states, the file system's options, and limits. Nothing is changed: what could be better is told, with the command that sets
it until the next boot. Then compare.sh, latency.sh and scale.sh run with their bricks in the directory, and one page is made of
them."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that was looked at; `verdict` is ok, set (should be changed), look (may be wanted so) or unknown."""

    what: str
    found: str
    verdict: str = "ok"
    advice: str = ""


def read(path):
    """A file of /sys or /proc, or None."""
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError:
        return None


def chosen(text):
    """Of `[none] mq-deadline kyber`, the one in brackets; without brackets, all of it."""
    found = re.search(r"\[([^]]+)\]", text)
    return found.group(1) if found else text


def expect(what, found, good, advice, verdict="set"):
    """A check of one value; `good` decides."""
    if found is None:
        return Check(what, "not there", "unknown")
    return Check(what, found) if good(found) else Check(what, found, verdict, advice)


def drives(directory):
    """The whole drives below a directory's file system, and that file system's source, type and options."""
    found = subprocess.run(
        ["findmnt", "-n", "-o", "SOURCE,FSTYPE,OPTIONS", "-T", directory], capture_output=True, text=True, check=False
    ).stdout.split(maxsplit=2)
    source, kind, options = [*found, "", "", ""][:3]
    source = source.partition("[")[0]
    if not source.startswith("/dev/"):
        return [], source, kind, options
    listed = subprocess.run(["lsblk", "-n", "-s", "-l", "-o", "NAME,TYPE", source], capture_output=True, text=True, check=False)
    rows = [line.split() for line in listed.stdout.splitlines()]
    names = [row[0] for row in rows if len(row) == 2 and row[1] in ("disk", "loop")]
    return list(dict.fromkeys(names)), source, kind, options


def of_drive(name, cores, sys_root=pathlib.Path("/sys")):
    """What is set for one drive."""
    queue = sys_root / "block" / name / "queue"
    at = f"/sys/block/{name}/queue"
    yield expect(
        f"{name}: kind", "NVMe" if name.startswith("nvme") else name, lambda kind: kind == "NVMe", "not an NVMe drive: figures are this drive's", "look"
    )
    scheduler = read(queue / "scheduler")
    yield expect(
        f"{name}: scheduler",
        scheduler and chosen(scheduler),
        lambda value: value == "none",
        f"echo none > {at}/scheduler    # a scheduler costs a lock per request and gains nothing on NVMe",
    )
    queues = sys_root / "block" / name / "mq"
    count = len(list(queues.iterdir())) if queues.is_dir() else None
    yield expect(
        f"{name}: hardware queues",
        None if count is None else str(count),
        lambda value: int(value) >= cores,
        f"fewer queues than the {cores} cores: cores share locks; a property of the drive or of the virtual machine",
        "look",
    )
    yield expect(
        f"{name}: requests per queue", read(queue / "nr_requests"), lambda value: int(value) >= 256, f"echo 1023 > {at}/nr_requests", "look"
    )
    yield expect(
        f"{name}: completions go to the CPU that asked",
        read(queue / "rq_affinity"),
        lambda value: value in ("1", "2"),
        f"echo 2 > {at}/rq_affinity",
    )
    throttle = read(queue / "wbt_lat_usec")
    if throttle not in (None, ""):
        yield expect(
            f"{name}: writeback throttling", throttle, lambda value: value == "0", f"echo 0 > {at}/wbt_lat_usec    # holds writes back", "look"
        )
    yield expect(f"{name}: merges", read(queue / "nomerges"), lambda value: value != "", "", "look")
    polling = read(queue / "io_poll")
    if polling is not None:
        told = "poll queues are there" if polling == "1" else "no poll queues"
        advice = f"boot with nvme.poll_queues={cores} to try polled I/O; without it completions are interrupts, which is the usual way"
        yield Check(f"{name}: polling", told, "ok" if polling == "1" else "look", "" if polling == "1" else advice)
    yield expect(f"{name}: write cache", read(queue / "write_cache"), bool, "", "look")


def of_interrupts(text, cores):
    """Where the interrupts of NVMe queues go, by /proc/interrupts."""
    served = [0] * cores
    lines = [line for line in text.splitlines() if re.search(r"\bnvme\d+q[1-9]", line)]
    for line in lines:
        for number, count in enumerate(line.split()[1 : cores + 1]):
            served[number] += int(count) if count.isdigit() else 0
    if not lines:
        return Check("interrupts of NVMe queues", "none found", "unknown")
    busy = sum(1 for count in served if count)
    told = f"{len(lines)} vectors, on {busy} of {cores} CPUs so far"
    spread = busy >= min(len(lines), cores) * 0.75 or sum(served) < 1000
    advice = "cat /proc/irq/*/effective_affinity_list; the kernel spreads them by itself unless the drive was given few vectors"
    return Check("interrupts of NVMe queues", told, "ok" if spread else "look", "" if spread else advice)


def of_processors(sys_root=pathlib.Path("/sys")):
    """Governor, idle states, threads of a core."""
    cpu = sys_root / "devices/system/cpu"
    governors = {read(path) for path in cpu.glob("cpu*/cpufreq/scaling_governor")}
    yield expect(
        "governor",
        ", ".join(sorted(filter(None, governors))) or None,
        lambda value: value == "performance",
        "cpupower frequency-set -g performance",
    )
    deepest = max((int(read(path) or 0) for path in cpu.glob("cpu0/cpuidle/state*/latency")), default=None)
    yield expect(
        "deepest idle state",
        None if deepest is None else f"{deepest} µs to leave",
        lambda value: int(value.split()[0]) <= 20,
        "cpupower idle-set -D 20    # no state that takes more than 20 µs to leave: latencies at small loads are of that size",
        "look",
    )
    threads = read(cpu / "smt/active")
    if threads is not None:
        yield Check("threads per core", "several" if threads == "1" else "one", "look" if threads == "1" else "ok", "with --cores, count whole cores" if threads == "1" else "")
    mitigated = [path.name for path in (cpu / "vulnerabilities").glob("*") if (read(path) or "").startswith("Mitigation")]
    yield Check("mitigations", f"{len(mitigated)} active", "look" if mitigated else "ok", "they make system calls dearer, on both sides" if mitigated else "")
    clock = read(sys_root / "devices/system/clocksource/clocksource0/current_clocksource")
    yield expect("clock", clock, lambda value: value in ("tsc", "kvm-clock", "arch_sys_counter"), "boot with tsc=reliable, if the processor's is")


def of_system(options, kind):
    """Kernel, limits, memory, file system."""
    release = platform.release()
    numbers = tuple(int(part) for part in re.findall(r"\d+", release)[:2])
    yield expect("kernel", release, lambda _: numbers >= (6, 1), "Kiln's ring uses what Linux 6.1 has, and more with 6.12", "look")
    yield expect("io_uring", read("/proc/sys/kernel/io_uring_disabled") or "0", lambda value: value == "0", "sysctl kernel.io_uring_disabled=0")
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    yield expect("open files of a process, at most", str(files), lambda value: int(value) >= 65_536 or int(value) < 0, "ulimit -Hn 1048576, or LimitNOFILE=1048576 in the service")
    yield expect("connections that may wait", read("/proc/sys/net/core/somaxconn"), lambda value: int(value) >= 4096, "sysctl net.core.somaxconn=4096")
    pages = read("/sys/kernel/mm/transparent_hugepage/enabled")
    yield expect("transparent huge pages", pages and chosen(pages), lambda value: value in ("madvise", "always"), "", "look")
    balanced = read("/proc/sys/kernel/numa_balancing")
    if balanced not in (None, "0"):
        yield Check("NUMA balancing", "on", "look", "sysctl kernel.numa_balancing=0    # pages that move are pauses")
    yield expect("file system", kind, lambda value: value in ("xfs", "ext4"), "bricks belong on xfs or ext4; O_DIRECT is not everywhere", "look")
    atime = "noatime" if "noatime" in options else "relatime" if "relatime" in options else "strictatime"
    yield expect("times of reads", atime, lambda value: value != "strictatime", "mount -o remount,noatime", "look")


def look(directory):
    """All checks, as an iterable."""
    cores = os.cpu_count() or 1
    names, source, kind, options = drives(directory)
    if not names:
        yield Check("drive", f"{source or 'none'}: no block device is below {directory}", "look", "choose a directory on the drive")
    for name in names:
        yield from of_drive(name, cores)
    if any(name.startswith("nvme") for name in names):
        yield of_interrupts(read("/proc/interrupts") or "", cores)
    yield from of_processors()
    yield from of_system(options, kind)


def tell(checks):
    """Prints them; how many should be changed."""
    signs = {"ok": "ok  ", "set": "SET ", "look": "look", "unknown": " ?  "}
    for check in checks:
        print(f"{signs[check.verdict]}  {check.what}: {check.found}")
        if check.advice:
            print(f"          {check.advice}")
    return sum(check.verdict == "set" for check in checks)


def main():
    parse = argparse.ArgumentParser(prog="perf-scripts/nvme.sh", description=ABOUT, allow_abbrev=False)
    parse.add_argument("dir", type=pathlib.Path, metavar="DIR", help="an empty directory on the drive; what is made in it is removed")
    parse.add_argument("--check", action="store_true", help="only look")
    parse.add_argument("--quick", action="store_true", help="the quick mode of each script")
    parse.add_argument("--cached", action="store_true", help="let the page cache serve reads; otherwise they are O_DIRECT")
    parse.add_argument("--out", type=pathlib.Path, default=pathlib.Path("perf-results/nvme"), metavar="DIR", help="[default: perf-results/nvme]")
    args = parse.parse_args()
    if not args.dir.is_dir():
        raise SystemExit(f"{args.dir} is no directory")
    checks = list(look(args.dir))
    wrong = tell(checks)
    print(f"\n{wrong} to set" if wrong else "\nnothing to set")
    if args.check:
        return
    common = ["--dir", args.dir, *([] if args.cached else ["--direct"]), *(["--quick"] if args.quick else [])]
    done = []
    for script in ("compare", "latency", "scale"):
        out = args.out / script
        more = ["--disk", args.dir] if script == "compare" else []
        print(f"\n== {script}.sh", flush=True)
        if subprocess.run([SCRIPTS / f"{script}.sh", *common, *more, "--out", out], check=False).returncode:
            print(f"{script}.sh failed", file=sys.stderr)
            continue
        done.append(out)
    if done:
        subprocess.run([SCRIPTS / "report.sh", *done, "--out", args.out / "report.html", "--title", "Kiln on NVMe"], check=True)
    if len(done) < 3:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
