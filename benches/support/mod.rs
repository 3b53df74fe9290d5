//! What the benches share: file systems to measure on, an engine with a graph, and the process's CPU clock.

#![allow(dead_code, reason = "each bench uses its part")]

use std::cell::RefCell;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use kiln_uring::{Core, Engine, EngineConfig, Linux, Sys};
use kiln_xlators::fd::FdRef;
use kiln_xlators::graph::{Blueprint, Graph};
use kiln_xlators::volfile::{Node, Volfile};

/// CPU time that the process spends in `work`, all threads together.
pub fn cpu_time(work: impl FnOnce()) -> Duration {
    let start = process_cpu();
    work();
    process_cpu() - start
}

fn process_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// Two ways of doing the same, row by row, for a table at the end.
#[derive(Default)]
pub struct Table(Vec<(String, [Vec<f64>; 2])>);

impl Table {
    /// Notes that `n` operations of `row` took so long the first (0) or the second (1) way. Gives the time back.
    pub fn noted(&mut self, row: &str, side: usize, n: u64, took: Duration) -> Duration {
        if self.0.last().is_none_or(|(name, _)| name != row) {
            self.0.push((row.to_owned(), Default::default()));
        }
        if let Some((_, sides)) = self.0.last_mut() {
            sides[side].push(took.as_secs_f64() * 1e6 / n.max(1) as f64);
        }
        took
    }

    /// The medians and their ratios.
    pub fn print(mut self, sides: [&str; 2], what: &str) {
        println!("\n{:<24}{:>14}{:>16}{:>8}", what, sides[0], sides[1], "ratio");
        for (name, sides) in &mut self.0 {
            let [a, b] = sides.each_mut().map(|samples| {
                samples.sort_by(f64::total_cmp);
                samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
            });
            println!("{name:<24}{a:>11.2} µs{b:>13.2} µs{:>8.2}", a / b);
        }
    }
}

/// A file system made for the run.
pub struct FileSystem {
    name: &'static str,
    dir: PathBuf,
}

impl FileSystem {
    /// In memory.
    pub fn tmpfs() -> Self {
        Self::mounted("tmpfs", |dir| {
            command("mount", &["-t", "tmpfs", "kiln-bench", &text(&dir.join("fs"))]);
        })
    }

    /// Journaled, in a loop image.
    pub fn ext4() -> Self {
        Self::mounted("ext4", |dir| {
            let image = dir.join("image");
            std::fs::File::create(&image).and_then(|file| file.set_len(2 << 30)).expect("an image");
            command("mkfs.ext4", &["-q", "-F", "-O", "has_journal", &text(&image)]);
            command("mount", &["-o", "loop", &text(&image), &text(&dir.join("fs"))]);
        })
    }

    fn mounted(name: &'static str, mount: impl FnOnce(&Path)) -> Self {
        let dir = std::env::temp_dir().join(format!("kiln-bench-{name}-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("fs")).expect("a directory");
        mount(&dir);
        std::fs::create_dir(dir.join("fs/brick")).expect("a brick");
        Self { name, dir }
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.dir.join("fs")
    }

    /// Its kind.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("utf-8").to_owned()
}

fn command(program: &str, arguments: &[&str]) {
    let status =
        Command::new(program).args(arguments).status().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(status.success(), "{program} {arguments:?}: {status} (the benches need root)");
}

thread_local! {
    static GRAPH: RefCell<Option<Rc<Graph>>> = const { RefCell::new(None) };
    static KEPT: RefCell<Option<FdRef>> = const { RefCell::new(None) };
}

/// Keeps a descriptor on the core between two runs.
pub fn keep(fd: FdRef) {
    KEPT.set(Some(fd));
}

/// The descriptor that was kept.
pub fn kept() -> FdRef {
    KEPT.with_borrow(|fd| fd.clone()).expect("a descriptor was kept")
}

/// An engine with one core, and a graph on it.
pub struct Bench {
    engine: Option<Engine>,
}

impl Bench {
    /// Only `storage/posix` over `brick`.
    pub fn posix(brick: &Path) -> Self {
        Self::graph(&Volfile {
            nodes: vec![Node::new("posix", "storage/posix", &[("directory", &text(brick))], &[])],
        })
    }

    /// Any graph.
    pub fn graph(volfile: &Volfile) -> Self {
        let sys: Arc<dyn Sys> = Linux::new();
        let blueprint = Blueprint::new(volfile, &sys, 1).expect("a graph");
        let config = EngineConfig { cores: 1, ..EngineConfig::default() };
        let engine = Engine::start(config, sys, move |core: Core| {
            let blueprint = Arc::clone(&blueprint);
            async move {
                let graph = Graph::new(&blueprint, &core)?;
                GRAPH.set(Some(graph));
                Ok::<(), kiln_xlators::graph::GraphError>(())
            }
        })
        .expect("an engine");
        Self { engine: Some(engine) }
    }

    /// Runs `work` for `n` operations on the core; the CPU time it took.
    pub fn run<Fut: Future<Output = ()> + 'static>(
        &self,
        n: u64,
        work: impl FnOnce(Rc<Graph>, u64) -> Fut + Send + 'static,
    ) -> Duration {
        let (sender, receiver) = mpsc::channel();
        let job = move |core: &Core| {
            let graph = GRAPH.with_borrow(|graph| graph.clone()).expect("a graph on the core");
            core.spawn(async move {
                let start = process_cpu();
                work(graph, n).await;
                let _ = sender.send(process_cpu() - start);
            });
        };
        self.engine.as_ref().expect("it runs").remotes()[0].post(job).expect("the core takes it");
        receiver.recv().expect("the core answers")
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take() {
            let clear = |_: &Core| {
                KEPT.set(None);
                GRAPH.set(None);
            };
            let _ = engine.remotes()[0].post(clear);
            let _ = engine.shutdown(Duration::from_secs(5));
        }
    }
}
