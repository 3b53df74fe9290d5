"""What nvme.sh makes of /sys and /proc."""

import nvme


def verdicts(checks):
    return {check.what: check.verdict for check in checks}


def test_a_drive_that_is_set_up_and_one_that_is_not(tmp_path):
    for name, scheduler in (("nvme0n1", "[none] mq-deadline"), ("sda", "none [mq-deadline]")):
        queue = tmp_path / "block" / name / "queue"
        queue.mkdir(parents=True)
        (queue / "scheduler").write_text(scheduler + "\n")
        (queue / "nr_requests").write_text("1023")
        (queue / "rq_affinity").write_text("1")
        for number in range(4):
            (tmp_path / "block" / name / "mq" / str(number)).mkdir(parents=True)
    good = verdicts(nvme.of_drive("nvme0n1", 4, tmp_path))
    assert good["nvme0n1: scheduler"] == "ok" and good["nvme0n1: hardware queues"] == "ok" and "set" not in good.values()
    bad = verdicts(nvme.of_drive("sda", 8, tmp_path))
    assert bad["sda: scheduler"] == "set" and bad["sda: kind"] == "look" and bad["sda: hardware queues"] == "look"


def test_governor(tmp_path):
    place = tmp_path / "devices/system/cpu/cpu0/cpufreq"
    place.mkdir(parents=True)
    (place / "scaling_governor").write_text("powersave")
    assert verdicts(nvme.of_processors(tmp_path))["governor"] == "set"
    (place / "scaling_governor").write_text("performance")
    assert verdicts(nvme.of_processors(tmp_path))["governor"] == "ok"


def test_interrupts_of_queues():
    head = "           CPU0       CPU1\n"
    spread = head + " 30:  9000  0  PCI-MSIX nvme0q1\n 31:  0  9000  PCI-MSIX nvme0q2\n"
    assert nvme.of_interrupts(spread, 2).verdict == "ok"
    heaped = head + " 30:  9000  0  PCI-MSIX nvme0q1\n 31:  9000  0  PCI-MSIX nvme0q2\n"
    assert nvme.of_interrupts(heaped, 2).verdict == "look"
    assert nvme.of_interrupts(head + " 29: 5 0 PCI-MSIX nvme0q0\n", 2).verdict == "unknown"
