"""fio: its jobs are in perf-scripts/fio."""

import json
import os
import pathlib
import subprocess

from rig import Failed

JOBS = pathlib.Path(__file__).resolve().parents[1] / "fio"


def job(file, section, **environment):
    """The command of one section of a file of jobs; the file takes the rest from its environment."""
    words = ["env", *(f"{name}={value}" for name, value in environment.items())]
    return [*words, "fio", "--output-format=json", *(["--readonly"] if file == "raw.fio" else []), f"--section={section}", JOBS / file]


def raw(path, seconds):
    """What the disk gives without a brick."""
    return job("raw.fio", "randread", FILE=path, TIME=f"{seconds * 1000:.0f}ms")


def start(words, directory):
    """Starts it."""
    pipe = subprocess.PIPE
    return subprocess.Popen(words, cwd=directory, stdout=pipe, stderr=pipe, text=True, env=os.environ)


def result(process):
    """Waits for it: what it says of its job."""
    out, errors = process.communicate()
    if process.returncode != 0 or "{" not in out:
        raise Failed(f"{' '.join(map(str, process.args))}\n{out[-2000:]}{errors[-2000:]}")
    return json.loads(out[out.index("{") :])["jobs"][0]


def run(words, directory="/tmp"):
    """Both."""
    return result(start(words, directory))


def side(job_result):
    """The half that did something: reads or writes."""
    return max((job_result["read"], job_result["write"]), key=lambda half: half["total_ios"])


def rate(job_result):
    """Operations per second."""
    return side(job_result)["iops"]


def count(job_result):
    """Operations."""
    return side(job_result)["total_ios"]
