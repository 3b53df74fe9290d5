//! Tools that try to break file systems. `KILN_TEST_SECONDS=600` runs them for ten minutes together; the default is short.

use std::path::Path;
use std::process::Command;

use crate::support::{KilnMount, KilnServer, Scratch, StockClient, duration, kiln, run, shell};

#[test]
fn fio_reads_back_what_it_wrote() {
    let scratch = Scratch::new();
    let mount = KilnMount::new(&scratch.brick(), &scratch.mnt());
    let seconds = duration(24).as_secs() / 12;
    for (name, rw, direct) in [
        ("randwrite", "randwrite", 0),
        ("write", "write", 0),
        ("randwrite-direct", "randwrite", 1),
        ("write-direct", "write", 1),
    ] {
        run(Command::new("fio")
            // It leaves the state of its verification where it runs.
            .current_dir(scratch.path())
            .args([
                "--verify=crc32c",
                "--verify_fatal=1",
                "--do_verify=1",
                "--ioengine=psync",
                "--bs=4k-128k",
                "--bsrange=4k-128k",
            ])
            .args(["--numjobs=4", "--size=24m", "--time_based", "--group_reporting", "--output-format=terse"])
            .arg(format!("--runtime={}", seconds.max(1)))
            .arg(format!("--name={name}"))
            .arg(format!("--rw={rw}"))
            .arg(format!("--direct={direct}"))
            .arg(format!("--directory={}", scratch.mnt().display())));
        shell(&scratch.mnt(), "rm -f -- *");
    }
    mount.stop();
    run(kiln().arg("check").arg(scratch.brick()));
}

/// Stressors of `stress-ng` that are about files.
const STRESSORS: [&str; 34] = [
    "dentry",
    "dir",
    "fallocate",
    "fiemap",
    "filename",
    "fstat",
    "hdd",
    "link",
    "open",
    "rename",
    "seek",
    "symlink",
    "sync-file",
    "utime",
    "xattr",
    "chmod",
    "chown",
    "copy-file",
    "dirdeep",
    "dup",
    "flock",
    "fcntl",
    "getdent",
    "lease",
    "locka",
    "lockofd",
    "iomix",
    "lockf",
    "mknod",
    "readahead",
    "sendfile",
    "touch",
    "unlink",
    "verity",
];

/// Runs them one after the other in `mnt`, but for those in `without`.
fn stress(mnt: &Path, without: &[&str]) {
    let seconds = (duration(40).as_secs() / 40).max(1);
    let known =
        String::from_utf8(Command::new("stress-ng").arg("--stressors").output().unwrap().stdout).unwrap();
    for stressor in STRESSORS.into_iter().filter(|stressor| {
        !without.contains(stressor) && known.split_whitespace().any(|word| word == *stressor)
    }) {
        run(Command::new("stress-ng")
            .args([
                &format!("--{stressor}"),
                "2",
                "--timeout",
                &format!("{seconds}s"),
                "--verify",
                "--oomable",
                "--temp-path",
            ])
            .arg(mnt));
    }
}

#[test]
fn stress_ng_file_stressors() {
    let scratch = Scratch::new();
    let mount = KilnMount::new(&scratch.brick(), &scratch.mnt());
    stress(&scratch.mnt(), &[]);
    mount.stop();
    run(kiln().arg("check").arg(scratch.brick()));
}

#[test]
fn dbench_and_stress_ng_on_two_stock_mounts() {
    let scratch = Scratch::new();
    let server = KilnServer::new(&scratch, &scratch.brick());
    let bare = StockClient::of_brick(&scratch, "bare", &scratch.brick(), server.port);
    let volume = StockClient::of_volume(&scratch, server.port, "volume");
    let seconds = (duration(20).as_secs() / 2).max(1);
    for client in [&bare, &volume] {
        let dir = client.mnt().join("dbench");
        std::fs::create_dir(&dir).unwrap();
        let said = run(Command::new("dbench").args(["4", "-t", &seconds.to_string(), "-D"]).arg(&dir));
        let throughput =
            said.lines().find(|line| line.starts_with("Throughput")).unwrap_or_else(|| panic!("{said}"));
        println!("{}: {throughput}", client.mnt().display());
        std::fs::remove_dir_all(&dir).unwrap();
    }
    // GlusterFS's client 10.3 stands still when two locks are interrupted at the moment in which they are granted, with its
    // own brick as well: each of its two threads waits for what the other one would receive. These interrupt many at their end.
    stress(volume.mnt(), &["flock", "fcntl", "lockf", "locka", "lockofd"]);
    drop((bare, volume));
    server.stop();
    run(kiln().arg("check").arg(scratch.brick()));
}

/// A real source tree: the C headers of the system and a small program built with them, in parallel, again and again.
#[test]
fn untar_compile_delete() {
    let scratch = Scratch::new();
    let mount = KilnMount::new(&scratch.brick(), &scratch.mnt());
    shell(
        scratch.path(),
        "mkdir include && cp -rL /usr/include/{linux,x86_64-linux-gnu,asm-generic} include/ 2>/dev/null || true; cp -L /usr/include/*.h include/ && tar -cf tree.tar include",
    );
    shell(
        scratch.path(),
        "printf '#include <stdio.h>\\n#include <stdlib.h>\\n#include <math.h>\\nint main(void){printf(\"%%f\\\\n\",sqrt(2));return 0;}\\n' > main.c",
    );
    let until = std::time::Instant::now() + duration(15);
    let mut rounds = 0;
    while rounds == 0 || std::time::Instant::now() < until {
        rounds += 1;
        let workers: Vec<_> = (0..3)
            .map(|worker| {
                let (tar, main, source, dir) = (scratch.join("tree.tar"), scratch.join("main.c"), scratch.join("include"), scratch.mnt().join(format!("w{worker}")));
                std::thread::spawn(move || {
                    std::fs::create_dir(&dir).unwrap();
                    shell(
                        &dir,
                        &format!(
                            r#"
                            tar xf {tar} && cp {main} main.c
                            gcc -nostdinc -isystem include -isystem include/x86_64-linux-gnu -isystem "$(gcc -print-file-name=include)" main.c -o main -lm
                            test "$(./main)" = 1.414214
                            diff -r include {source}
                            rm -r include main main.c
                            "#,
                            tar = tar.display(),
                            main = main.display(),
                            source = source.display()
                        ),
                    );
                    std::fs::remove_dir(&dir).unwrap();
                })
            })
            .collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    }
    println!("{rounds} rounds");
    mount.stop();
    run(kiln().arg("check").arg(scratch.brick()));
}
