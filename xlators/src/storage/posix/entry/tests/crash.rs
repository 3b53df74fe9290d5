//! Killed after any system call, out of space at any, without power at any moment: the fop has happened or it has not, and
//! the brick is whole after the next start.

use std::sync::Arc;

use kiln_uring::Errno;
use kiln_uring::sim::MemFs;
use kiln_uring::sys::Sys;

use super::mortal::{Fate, Mortal};
use super::scenes::{self, Scene};
use super::state;
use crate::storage::posix::check::check_path;
use crate::storage::posix::testkit::{BRICK, Kit};

/// Options of a brick.
type Options = &'static [(&'static str, &'static str)];

/// With all that a brick may keep about names.
const EVERYTHING: Options = &[("update-link-count-parent", "on")];

/// A brick in a scene, up to the fop.
struct Stage {
    fs: Arc<MemFs>,
    mortal: Arc<Mortal>,
    kit: Kit,
    fds: Vec<crate::fd::FdRef>,
}

impl Stage {
    fn set(scene: &Scene, options: Options) -> Self {
        let fs = MemFs::with_seed(1);
        fs.mkdir_at(libc::AT_FDCWD, c"/brick", 0o755).unwrap();
        let mortal = Mortal::new(fs.clone());
        let kit = Kit::on(1, mortal.clone(), BRICK, options);
        let sys: Arc<dyn Sys> = fs.clone();
        let fds = kit.run(async |client| (scene.before)(client, sys).await);
        Self { fs, mortal, kit, fds }
    }

    fn play(&self, scene: &Scene) -> Result<(), Errno> {
        scenes::errno(self.kit.run(async |client| (scene.fop)(client).await))
    }

    /// The process ends here, however.
    fn end(self) -> Arc<MemFs> {
        let Self { fs, mortal, kit, fds } = self;
        drop((fds, kit));
        mortal.bury();
        fs
    }
}

fn start_and_stop(fs: &Arc<MemFs>, options: Options) {
    Kit::on_fs(2, fs, options).stop();
}

fn state(fs: &Arc<MemFs>) -> Vec<String> {
    let sys: Arc<dyn Sys> = fs.clone();
    state::of(&sys, BRICK)
}

fn assert_clean(fs: &Arc<MemFs>, when: &str) {
    let sys: Arc<dyn Sys> = fs.clone();
    let report = check_path(&sys, BRICK.as_ref(), false).unwrap();
    assert!(report.is_clean(), "{when}: {:#?}\n{:#?}", report.findings, state(fs));
}

/// The states before and after, and how many calls the fop makes.
fn outcomes(scene: &Scene, restart: bool, options: Options) -> (Vec<String>, Vec<String>, u64) {
    let stage = Stage::set(scene, options);
    let before = stage.end();
    if restart {
        start_and_stop(&before, options);
    }
    let stage = Stage::set(scene, options);
    stage.mortal.doom(1_000_000, Fate::Killed);
    stage.play(scene).unwrap_or_else(|errno| panic!("{}: {errno}", scene.name));
    let calls = stage.mortal.made();
    let after = stage.end();
    if restart {
        start_and_stop(&after, options);
        assert_clean_unless(&after, scene.name, steals(scene));
    }
    (state(&before), state(&after), calls)
}

/// Some scenes begin with a brick that is not whole, and mend it.
fn heals(scene: &Scene) -> bool {
    scene.name.starts_with("lookup")
}

#[test]
fn killed_after_any_call() {
    for scene in scenes::all().into_iter().chain(scenes::with_open_files()) {
        let (before, after, calls) = outcomes(&scene, true, EVERYTHING);
        let (before, after) = (without_times(&before), without_times(&after));
        assert!(calls > 2, "{}: {calls} calls", scene.name);
        for call in 0..=calls {
            let when = format!("{}, killed after {call} of {calls} calls", scene.name);
            let stage = Stage::set(&scene, EVERYTHING);
            stage.mortal.doom(call, Fate::Killed);
            let result = stage.play(&scene);
            let fs = stage.end();
            start_and_stop(&fs, EVERYTHING);
            let now = without_times(&state(&fs));
            let steal = steals(&scene);
            if now != before || !heals(&scene) {
                assert_clean_unless(&fs, &when, steal);
            }
            assert!(
                now == before || now == after || steal,
                "{when}: {result:?}\nnow {now:#?}\nbefore {before:#?}\nafter {after:#?}"
            );
            // A lookup that cannot make a directory's handle answers all the same.
            if result.is_ok() && !heals(&scene) {
                assert_eq!(now, after, "{when}: it was reported to have happened");
            }
        }
    }
}

/// Two directories with one gfid are what replicate makes on purpose, and no check likes.
fn steals(scene: &Scene) -> bool {
    scene.name == "mkdir of a gfid that exists"
}

fn assert_clean_unless(fs: &Arc<MemFs>, when: &str, excused: bool) {
    if !excused {
        assert_clean(fs, when);
    }
}

#[test]
fn out_of_space_at_any_call() {
    for scene in scenes::all() {
        let (before, after, calls) = outcomes(&scene, false, &[]);
        {
            let errno = Errno::NOSPC;
            for call in 0..=calls {
                let when = format!("{}, {errno} at change {call}", scene.name);
                let stage = Stage::set(&scene, &[]);
                stage.mortal.doom(call, Fate::FailsOnce(errno));
                let result = stage.play(&scene);
                stage.mortal.pardon();
                let fs = stage.end();
                // Without a start in between: nothing may wait for one.
                let now = state(&fs);
                match result {
                    // Once the directory in its place is gone there is no way back; a lookup makes the handle.
                    Ok(()) if scene.name == "rename a directory over an empty one" => {}
                    Ok(()) if heals(&scene) => {}
                    Ok(()) => {
                        assert!(is_nearly(&now, &after), "{when}: worked\nnow {now:#?}\nafter {after:#?}")
                    }
                    // A lookup that cannot make a handle says so, and has given the gfid.
                    Err(_) if heals(&scene) => {}
                    Err(error) => {
                        assert_eq!(error, errno, "{when}");
                        assert_eq!(now, before, "{when}");
                    }
                }
            }
        }
    }
}

/// The same but for the caller's times, and a `gfid2path` that a rename could not store: both are only logged.
fn is_nearly(now: &[String], wanted: &[String]) -> bool {
    without(&without_times(now), "trusted.gfid2path") == without(&without_times(wanted), "trusted.gfid2path")
}

/// A parent's times move after the names: the last step, and the only one that may be missing.
fn without_times(lines: &[String]) -> Vec<String> {
    without(lines, "trusted.glusterfs.mdata")
}

fn without(lines: &[String], key: &str) -> Vec<String> {
    let strip =
        |line: &String| line.split(' ').filter(|word| !word.starts_with(key)).collect::<Vec<_>>().join(" ");
    lines.iter().map(strip).collect()
}

#[test]
fn without_power_at_any_moment() {
    for scene in scenes::all() {
        if heals(&scene) || steals(&scene) {
            continue;
        }
        let calls = outcomes(&scene, true, &[]).2;
        for call in 0..=calls {
            let stage = Stage::set(&scene, &[]);
            // What was there before is on disk; of the fop the file system keeps a part.
            let root = stage.kit.brick();
            root.sys.syncfs(root.root.fd()).unwrap();
            drop(root);
            stage.mortal.doom(call, Fate::Killed);
            let _ = stage.play(&scene);
            let fs = stage.end();
            for seed in 0..4 {
                let when = format!("{}, power lost after {call} of {calls} calls, seed {seed}", scene.name);
                let fs = fs.crash(seed);
                fs.advance(std::time::Duration::from_secs(60));
                let kit = Kit::on_fs(3, &fs, &[]);
                assert!(!kit.brick().intents.is_trusted(), "{when}");
                kit.run(async |client| {
                    client.graph.start();
                    while !kit.brick().intents.is_trusted() {
                        client.core().sleep(std::time::Duration::from_millis(5)).await;
                    }
                });
                kit.stop();
                assert_clean(&fs, &when);
            }
        }
    }
}
