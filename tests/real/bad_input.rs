//! Bad input gets a clear error and leaves everything as it was.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::{Image, KilnMount, Scratch, StockMount, kiln, run, shell, text};

/// Runs `kiln mount` and insists that it refuses, saying all of `words`.
#[track_caller]
fn refused(arguments: impl FnOnce(&mut Command), words: &[&str]) {
    let mut command = kiln();
    command.arg("mount");
    arguments(&mut command);
    let output = command.output().unwrap();
    let said = text(&output);
    assert!(!output.status.success(), "it was not refused: {said}");
    assert!(!said.contains("panicked"), "{said}");
    for word in words {
        assert!(said.contains(word), "nothing about `{word}` in: {said}");
    }
}

fn brick_at(brick: &Path, mnt: &Path) -> impl FnOnce(&mut Command) {
    let (brick, mnt) = (brick.to_owned(), mnt.to_owned());
    move |command| _ = command.arg("--brick").arg(brick).arg(mnt)
}

#[test]
fn bricks_that_are_none() {
    let scratch = Scratch::new();
    refused(brick_at(&scratch.join("missing"), &scratch.mnt()), &["missing", "does not exist"]);
    fs::write(scratch.join("file"), "").unwrap();
    refused(brick_at(&scratch.join("file"), &scratch.mnt()), &["not a directory"]);
    refused(brick_at(Path::new("/proc"), &scratch.mnt()), &["/proc"]);
    // Inside of a brick.
    let mount = KilnMount::new(&scratch.brick(), &scratch.mnt());
    fs::create_dir(scratch.mnt().join("inside")).unwrap();
    mount.stop();
    refused(brick_at(&scratch.brick().join("inside"), &scratch.mnt()), &["inside a brick"]);
}

#[test]
fn bricks_in_use() {
    let scratch = Scratch::new();
    let other = scratch.join("other");
    fs::create_dir(&other).unwrap();
    let mount = KilnMount::new(&scratch.brick(), &scratch.mnt());
    refused(brick_at(&scratch.brick(), &other), &["in use", "Kiln"]);
    mount.stop();
    let stock = StockMount::new(&scratch, &scratch.brick(), &scratch.mnt());
    refused(brick_at(&scratch.brick(), &other), &["in use", "glusterfsd"]);
    stock.stop();
}

#[test]
fn bricks_of_another_volume() {
    let scratch = Scratch::new();
    let volfile = scratch.join("brick.vol");
    let write = |id: &str| {
        let directory = scratch.brick();
        fs::write(
            &volfile,
            format!(
                "volume p\n type storage/posix\n option directory {}\n option volume-id {id}\nend-volume\n",
                directory.display()
            ),
        )
        .unwrap();
    };
    let mount = |command: &mut Command| _ = command.arg("--volfile").arg(&volfile).arg(scratch.mnt());
    write("11111111-2222-4333-8444-555555555555");
    refused(mount, &["volume-id", "11111111-2222-4333-8444-555555555555"]);
    run(Command::new("setfattr")
        .args(["-n", "trusted.glusterfs.volume-id", "-v", "0x99999999222243338444555555555555"])
        .arg(scratch.brick()));
    refused(mount, &["belongs to volume 99999999-2222-4333-8444-555555555555"]);
    write("99999999-2222-4333-8444-555555555555");
    KilnMount::with(&scratch.mnt(), |command| _ = command.arg("--volfile").arg(&volfile)).stop();
}

#[test]
fn mount_points_that_are_none() {
    let scratch = Scratch::new();
    refused(brick_at(&scratch.brick(), &scratch.join("missing")), &["missing", "does not exist"]);
    fs::write(scratch.join("file"), "").unwrap();
    refused(brick_at(&scratch.brick(), &scratch.join("file")), &["not a directory"]);
}

#[test]
fn volfiles_with_mistakes() {
    let scratch = Scratch::new();
    let volfile = scratch.join("bad.vol");
    fs::write(&volfile, "volume p\n type storage/posx\n option directory /x\nend-volume\n").unwrap();
    refused(
        |command| _ = command.arg("--volfile").arg(&volfile).arg(scratch.mnt()),
        &["bad.vol:2", "storage/posx", "storage/posix"],
    );
    fs::write(&volfile, "volume p\n type storage/posix\n option directroy /x\nend-volume\n").unwrap();
    refused(
        |command| _ = command.arg("--volfile").arg(&volfile).arg(scratch.mnt()),
        &["bad.vol:3", "directroy", "directory"],
    );
}

#[test]
fn full_disks() {
    let scratch = Scratch::new();
    let image = Image::ext4(&scratch, "small", 24);
    let brick = image.path().join("brick");
    fs::create_dir(&brick).unwrap();
    let mount = KilnMount::new(&brick, &scratch.mnt());
    let mnt = scratch.mnt();
    // Until nothing fits any more, bytes and then inodes.
    let mut failed = None;
    for index in 0..100_000 {
        if let Err(error) = fs::write(mnt.join(format!("f{index}")), vec![7_u8; 3000]) {
            failed = Some(error);
            break;
        }
    }
    assert_eq!(failed.unwrap().raw_os_error(), Some(28), "ENOSPC");
    let _ = shell(
        &mnt,
        "for i in $(seq 2000); do mkdir d$i 2>/dev/null || true; ln -s x s$i 2>/dev/null || true; : > e$i 2>/dev/null || true; done",
    );
    assert_eq!(shell(&mnt, "cat f0 | tr -d '\\007' | wc -c").trim(), "0");
    shell(&mnt, "rm f1 f2 f3; ls > /dev/null");
    mount.stop();
    run(kiln().arg("check").arg(&brick));
}

#[test]
fn names() {
    let scratch = Scratch::new();
    let mount = KilnMount::new(&scratch.brick(), &scratch.mnt());
    let mnt = scratch.mnt();
    let errno = |result: std::io::Result<()>| result.unwrap_err().raw_os_error().unwrap();
    assert_eq!(errno(fs::create_dir(mnt.join(".glusterfs"))), 1, "EPERM");
    assert_eq!(errno(fs::write(mnt.join(".glusterfs"), "")), 1, "EPERM");
    assert_eq!(errno(fs::metadata(mnt.join(".glusterfs")).map(drop)), 1, "EPERM");
    assert!(fs::read_dir(&mnt).unwrap().all(|entry| entry.unwrap().file_name() != ".glusterfs"));
    fs::create_dir(mnt.join("deeper")).unwrap();
    fs::write(mnt.join("deeper/.glusterfs"), "an ordinary name here").unwrap();
    fs::write(mnt.join("n".repeat(255)), "long").unwrap();
    assert_eq!(errno(fs::write(mnt.join("n".repeat(256)), "")), 36, "ENAMETOOLONG");
    // A symbolic link out of the brick is followed by the client's kernel, never by the brick.
    std::os::unix::fs::symlink("/etc", mnt.join("out")).unwrap();
    fs::create_dir(scratch.join("outside")).unwrap();
    fs::write(scratch.join("outside/secret"), "s").unwrap();
    fs::rename(scratch.brick().join("deeper"), scratch.join("outside/deeper")).unwrap();
    std::os::unix::fs::symlink(scratch.join("outside"), scratch.brick().join("deeper")).unwrap();
    assert!(fs::read(mnt.join("deeper/secret")).is_err() || fs::read_link(mnt.join("deeper")).is_ok());
    mount.stop();
}

#[test]
fn damage_stays_where_it_is() {
    let scratch = Scratch::new();
    let mount = KilnMount::new(&scratch.brick(), &scratch.mnt());
    shell(
        &scratch.mnt(),
        "echo good > good; mkdir bad-dir other-dir; echo bad > bad-file; echo inner > bad-dir/inner",
    );
    mount.stop();
    // Gfid of the wrong length; a directory's handle that leads out of the brick.
    let brick = scratch.brick();
    run(Command::new("setfattr").args(["-n", "trusted.gfid", "-v", "0x1234"]).arg(brick.join("bad-file")));
    let gfid = shell(&brick, "getfattr -n trusted.gfid -e hex --only-values bad-dir 2>/dev/null | xxd -p");
    let gfid = gfid.trim();
    let uuid = format!("{}-{}-{}-{}-{}", &gfid[..8], &gfid[8..12], &gfid[12..16], &gfid[16..20], &gfid[20..]);
    let handle = brick.join(".glusterfs").join(&gfid[..2]).join(&gfid[2..4]).join(uuid);
    fs::remove_file(&handle).unwrap();
    std::os::unix::fs::symlink("../../../../outside", &handle).unwrap();
    let report = kiln().arg("check").arg(&brick).output().unwrap();
    assert!(!report.status.success(), "check saw no damage: {}", text(&report));
    let mount = KilnMount::new(&brick, &scratch.mnt());
    let mnt = scratch.mnt();
    let code = fs::read(mnt.join("bad-file")).unwrap_err().raw_os_error();
    assert!(matches!(code, Some(5 | 116)), "EIO or ESTALE, not {code:?}");
    assert_eq!(fs::read_to_string(mnt.join("good")).unwrap(), "good\n");
    fs::write(mnt.join("other-dir/new"), "works").unwrap();
    // A lookup by name heals the handle, as stock does.
    assert_eq!(fs::read_to_string(mnt.join("bad-dir/inner")).unwrap(), "inner\n");
    mount.stop();
}

#[test]
fn ordinary_users_get_what_the_modes_allow() {
    let scratch = Scratch::new();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mount = KilnMount::new(&scratch.brick(), &scratch.mnt());
    shell(
        &scratch.mnt(),
        r#"
        chmod 755 .; echo secret > secret; chmod 600 secret; mkdir open; chmod 777 open; mkdir closed; chmod 700 closed
        as() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
        ! as cat secret 2>/dev/null; as touch open/mine; test "$(stat -c %u:%g open/mine)" = 65534:65534
        ! as touch closed/x 2>/dev/null; ! as rm secret 2>/dev/null; ! as chown 0 open/mine 2>/dev/null
        setfacl -m u:65534:r secret; as cat secret > /dev/null
        "#,
    );
    mount.stop();
}
