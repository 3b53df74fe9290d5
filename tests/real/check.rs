//! `kiln check` on bricks that stock made, whole and damaged.

use std::path::Path;
use std::process::Output;

use crate::support::{KilnMount, Scratch, StockMount, kiln, shell, text};

fn check(brick: &Path, args: &[&str]) -> Output {
    kiln().arg("check").args(args).arg(brick).output().unwrap()
}

#[track_caller]
fn assert_clean(brick: &Path) {
    let output = check(brick, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).ends_with("clean\n"), "{}", text(&output));
}

/// A stopped brick with every kind of object, made by stock from its first system call on.
fn stock_brick(scratch: &Scratch) {
    let stock = StockMount::new(scratch, &scratch.brick(), &scratch.mnt());
    shell(
        &scratch.mnt(),
        r#"
        mkdir -p deep/er/still; echo hello > file; ln file link1; ln file deep/link2; : > victim
        ln -s /nowhere symlink; ln symlink deep/hard-symlink; mkfifo fifo; mknod char c 1 3; mknod block b 7 0
        perl -MSocket -e 'socket(S,PF_UNIX,SOCK_STREAM,0); bind(S,sockaddr_un("sock")) or die $!'
        for name in 'with space' 'new
line' 'имя' "$(printf 'n%.0s' $(seq 255))" '.glusterfs'; do echo "$name" > "deep/$name"; done
        mv deep/er moved; mv link1 moved/renamed; echo x > over; mv over victim; rm symlink
        mkdir gone; echo g > gone/g; rm -r gone
        "#,
    );
    stock.stop();
}

#[test]
fn a_brick_that_stock_made_is_clean() {
    let scratch = Scratch::new();
    stock_brick(&scratch);
    assert_clean(&scratch.brick());
    let output = check(&scratch.brick(), &["--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["findings"].as_array().unwrap().len(), 0, "{report:#}");
    let count = |key: &str| report[key].as_u64().unwrap();
    // The root, deep, moved, moved/still; file, victim, five names; the hard-linked symlink, fifo, two devices, a socket.
    assert_eq!((count("directories"), count("files"), count("other")), (4, 7, 5), "{report:#}");
    assert_eq!((count("objects"), count("handles"), count("names")), (16, 16, 14), "{report:#}");
}

#[test]
fn damage_is_found_repaired_and_stock_is_content() {
    let scratch = Scratch::new();
    stock_brick(&scratch);
    let brick = scratch.brick();
    shell(
        &brick,
        r#"
        handle() { local g; g=$(getfattr --only-values -h -n trusted.gfid "$1" | xxd -p); echo .glusterfs/${g:0:2}/${g:2:2}/${g:0:8}-${g:8:4}-${g:12:4}-${g:16:4}-${g:20:12}; }
        rm "$(handle fifo)"                     # no handle
        mv moved deep/moved                     # a wrong handle of a directory
        rm victim                               # an orphan handle
        rmdir deep/moved/still                  # a dangling one
        echo new > new                          # no gfid
        ln file file2                           # no path
        setfattr -h -n trusted.gfid2path.0000000000000000 -v x char
        "#,
    );
    let output = check(&brick, &["--json"]);
    assert_eq!(output.status.code(), Some(9), "{}", text(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let kinds = report["tallies"].as_object().unwrap();
    let wanted =
        ["no-gfid", "no-handle", "wrong-handle", "no-path", "stale-path", "orphan-handle", "dangling-handle"];
    for kind in wanted {
        assert_eq!(kinds[kind]["found"], 1, "{kind}: {report:#}");
    }
    assert_eq!(kinds.len(), wanted.len(), "{report:#}");
    let output = check(&brick, &["--repair"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_clean(&brick);
    let stock = StockMount::new(&scratch, &brick, &scratch.mnt());
    shell(
        &scratch.mnt(),
        r#"
        [ "$(cat new)" = new ]; [ "$(cat file2)" = hello ]; [ "$(cat deep/moved/renamed)" = hello ]
        [ "$(stat -c %h file)" = 4 ]; echo more >> new; mv new deep/moved/new; rm fifo; mkdir deep/moved/still
        "#,
    );
    stock.stop();
    assert_clean(&brick);
}

#[test]
fn what_is_in_service_or_no_brick_is_refused() {
    let scratch = Scratch::new();
    let (brick, mnt) = (scratch.brick(), scratch.mnt());
    let refused = |why: &str| {
        let output = check(&brick, &["--repair"]);
        assert_eq!(output.status.code(), Some(4), "{}", text(&output));
        assert!(text(&output).contains(why), "{}", text(&output));
    };
    refused("not a brick");
    let mount = KilnMount::new(&brick, &mnt);
    refused("in use by another Kiln process");
    mount.stop();
    assert_clean(&brick);
    let stock = StockMount::new(&scratch, &brick, &mnt);
    refused("in use by glusterfsd");
    stock.stop();
    assert_clean(&brick);
}
