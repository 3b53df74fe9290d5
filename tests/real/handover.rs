//! One brick directory, served in turn by Kiln, stock `glusterfsd`, and Kiln again: nothing changes hands but the process.

use std::path::Path;

use crate::support::{KilnMount, Scratch, StockMount, Tree, kiln, run, shell};

/// Every kind of object, with everything that can hang on it.
fn populate(mnt: &Path, prefix: &str) {
    shell(
        mnt,
        &format!(
            r#"
            mkdir -p {prefix}/deep/er/still; cd {prefix}
            echo hello > file; head -c 300000 /dev/urandom > big; : > empty
            truncate -s 10M sparse; printf x | dd of=sparse bs=1 seek=5000000 conv=notrunc status=none
            ln file link1; ln file deep/link2; ln big deep/er/big
            ln -s file symlink; ln -s /nowhere/at/all dangling; ln symlink hard-symlink
            mkfifo fifo; mknod char c 1 3; mknod block b 7 0
            perl -MSocket -e 'socket(S,PF_UNIX,SOCK_STREAM,0); bind(S,sockaddr_un("sock")) or die $!'
            mkdir names
            for name in 'with space' "quo'te" 'new
line' 'имя' '名前' 'نام' '🦀' "$(printf 'n%.0s' $(seq 255))" '-dash' '.hidden' '.glusterfs'; do echo "$name" > "names/$name"; done
            chmod 4755 file; chmod 2770 deep; chmod 1777 deep/er; chown 1000:1001 big; chown -h 12:34 symlink
            setfattr -n user.plain -v value file; setfattr -n user.binary -v 0x00ff00 big; setfattr -n user.dir -v d deep
            setfattr -n trusted.mine -v t file; setfattr -n security.test -v s file
            setfacl -m u:1234:rwx,g:4321:r-x file; setfacl -d -m u:1234:rw- deep; setfacl -m m::r-x deep
            touch deep/inherits; mkdir deep/inherits-dir
            touch -d '2001-02-03 04:05:06.789' file; touch -h -d '1969-12-31 23:00:00' dangling
            mkdir moved; echo m > moved/m; mv moved deep/moved; mv deep/moved/m deep/moved/n
            mkdir gone; echo g > gone/g; rm -r gone; echo over > a; echo old > b; mv a b
            "#
        ),
    );
}

/// Changes some of what is there, as another brick process left it.
fn change(mnt: &Path, prefix: &str, word: &str) {
    shell(
        mnt,
        &format!(
            r#"
            cd {prefix}
            echo {word} >> file; mv link1 renamed-{word}; ln renamed-{word} link1; rm renamed-{word}
            mv deep/er deep/{word}; mkdir deep/er; mv deep/{word} deep/er/{word}; mv deep/er/{word}/* deep/er/; rmdir deep/er/{word}
            setfattr -n user.by -v {word} file; chmod 0640 empty; echo {word} > new-{word}; ln -s {word} sym-{word}
            "#
        ),
    );
}

fn check(brick: &Path) {
    run(kiln().arg("check").arg(brick));
}

#[test]
fn kiln_then_stock_then_kiln() {
    let scratch = Scratch::new();
    let (brick, mnt) = (scratch.brick(), scratch.mnt());

    let kiln = KilnMount::new(&brick, &mnt);
    populate(&mnt, "by-kiln");
    let seen_by_kiln = Tree::of(&mnt);
    kiln.stop();
    check(&brick);
    let on_disk = Tree::of(&brick);
    assert!(on_disk.len() > 30);

    let stock = StockMount::new(&scratch, &brick, &mnt);
    Tree::of(&mnt).assert_same(&seen_by_kiln, "stock sees what Kiln wrote");
    stock.stop();
    Tree::of(&brick).assert_same(&on_disk, "stock only looked");

    let stock = StockMount::new(&scratch, &brick, &mnt);
    populate(&mnt, "by-stock");
    change(&mnt, "by-kiln", "stock");
    let seen_by_stock = Tree::of(&mnt);
    stock.stop();
    let on_disk = Tree::of(&brick);
    check(&brick);

    let kiln = KilnMount::new(&brick, &mnt);
    Tree::of(&mnt).assert_same(&seen_by_stock, "Kiln sees what stock wrote");
    kiln.stop();
    Tree::of(&brick).assert_same(&on_disk, "Kiln only looked");

    let kiln = KilnMount::new(&brick, &mnt);
    change(&mnt, "by-stock", "kiln");
    change(&mnt, "by-kiln", "kiln");
    let seen_by_kiln = Tree::of(&mnt);
    kiln.stop();
    check(&brick);
    let stock = StockMount::new(&scratch, &brick, &mnt);
    Tree::of(&mnt).assert_same(&seen_by_kiln, "stock sees what Kiln changed");
    stock.stop();
}

/// The same commands through Kiln and through stock leave the same on disk, gfids and times apart.
#[test]
fn both_leave_the_same_on_disk() {
    let scratch = Scratch::new();
    let picture = |name: &str, stock: bool| {
        let brick = scratch.join(name);
        std::fs::create_dir(&brick).unwrap();
        if stock {
            let mount = StockMount::new(&scratch, &brick, &scratch.mnt());
            populate(&scratch.mnt(), "t");
            mount.stop();
        } else {
            let mount = KilnMount::new(&brick, &scratch.mnt());
            populate(&scratch.mnt(), "t");
            mount.stop();
        }
        shape(&brick)
    };
    let (stock, kiln) = (picture("stock-brick", true), picture("kiln-brick", false));
    assert_eq!(kiln, stock);
}

/// Everything on a brick that does not depend on random gfids: for each path its mode, owner, links, and the names of its
/// attributes; and how many handles of which kind there are.
fn shape(brick: &Path) -> String {
    // A mount without a volfile gives a new brick a volume id, as `gluster volume create` does; a lone glusterfsd does not.
    let _ = std::process::Command::new("setfattr")
        .args(["-x", "trusted.glusterfs.volume-id"])
        .arg(brick)
        .output();
    shell(
        brick,
        r#"
        find . -path ./.glusterfs -prune -o -printf '%p %M %U:%G %n %y %l\n' | sort
        find . -path ./.glusterfs -prune -o -print0 | sort -z | while IFS= read -r -d '' path; do
            getfattr -h -d -m . --absolute-names "$path" 2>/dev/null | sed -n 's/=.*//p' \
                | sed -E 's/(gfid2path)\..*/\1/' | grep -v '^#' | sort | tr '\n' ' '; echo
        done
        find .glusterfs -regextype posix-extended -regex '.*/[0-9a-f]{8}-.*' -printf '%M %n %y\n' | sort | uniq -c
        "#,
    )
}
