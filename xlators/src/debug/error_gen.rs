//! `debug/error-gen`: makes some fops fail, so that what handles failures can be tested.

use std::cell::Cell;
use std::rc::Rc;

use kiln_uring::{Core, Errno};

use super::fop_list;
use crate::call::Call;
use crate::errno;
use crate::fop::{Fop, FopSet, reply, request};
use crate::graph::Next;
use crate::options::{OptionKind, OptionSpec, Options};
use crate::translator::{
    Children, Fops, InstanceContext, PrepareContext, Shared, Translator, TranslatorType, Wound,
};

/// `debug/error-gen`.
pub static TYPE: TranslatorType = TranslatorType {
    name: "debug/error-gen",
    about: "Makes some fops fail",
    children: Children::One,
    options: OPTIONS,
    prepare,
    instance,
    renew: TranslatorType::nothing_to_renew,
    merge_stats: TranslatorType::no_stats,
};

const ENABLE: &str = "Comma-separated fops that may fail; empty means all.";

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("failure", OptionKind::Percent, "0", "How many of the enabled fops fail."),
    OptionSpec::new(
        "error-no",
        OptionKind::Str,
        "",
        "The errno, by name, or GF_ERROR_SHORT_WRITE to write half; without it one that the fop can return is drawn.",
    ),
    OptionSpec::new(
        "random-failure",
        OptionKind::Bool,
        "off",
        "Fail once in 3 to 44 fops, whatever `failure` says.",
    ),
    OptionSpec::new("enable", OptionKind::Str, "", ENABLE),
    OptionSpec::new(
        "error-fops",
        OptionKind::Str,
        "",
        "Another name of `enable`, which counts when both are set.",
    ),
];

/// What happens to a fop that has been drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// It is answered with this.
    Errno(Errno),
    /// A `writev` writes only half; other fops pass.
    ShortWrite,
}

impl Failure {
    fn parse(name: &str) -> Result<Self, String> {
        if name == "GF_ERROR_SHORT_WRITE" {
            return Ok(Self::ShortWrite);
        }
        errno::from_name(name).map(Self::Errno).ok_or_else(|| {
            let near =
                errno::names().min_by_key(|known| strsim::osa_distance(known, &name.to_ascii_uppercase()));
            format!("`{name}` is no errno; the nearest is `{}`", near.unwrap_or("EIO"))
        })
    }
}

#[derive(Clone, Copy)]
struct Settings {
    percentage: f64,
    failure: Option<Failure>,
    random: bool,
    enabled: FopSet,
}

impl Settings {
    fn new(options: &Options) -> Result<Self, String> {
        let list = ["enable", "error-fops"]
            .into_iter()
            .filter_map(|key| options.text(key))
            .find(|text| !text.is_empty());
        let name = options.text("error-no").unwrap_or_default().trim();
        Ok(Self {
            percentage: options.double("failure"),
            failure: if name.is_empty() { None } else { Some(Failure::parse(name)?) },
            random: options.bool("random-failure"),
            enabled: fop_list::parse_or_all(list.unwrap_or_default())?,
        })
    }
}

fn prepare(context: &PrepareContext<'_>) -> Result<Shared, String> {
    Settings::new(context.options)?;
    TranslatorType::nothing_shared(context)
}

/// The layer on one core.
pub struct ErrorGen {
    next: Next,
    core: Core,
    settings: Cell<Settings>,
    /// With `random-failure`: fops until the next failure.
    countdown: Cell<u64>,
}

fn instance(mut context: InstanceContext<'_>) -> Result<Rc<dyn Translator>, String> {
    let settings = Cell::new(Settings::new(context.options)?);
    let countdown = Cell::new(interval(context.core));
    Ok(Rc::new(ErrorGen { next: context.below(), core: context.core.clone(), settings, countdown }))
}

/// Length of the next run of `random-failure`, its failure included: 3 to 44 fops, as GlusterFS draws it.
fn interval(core: &Core) -> u64 {
    3 + core.random_u64() % 42
}

impl ErrorGen {
    /// Whether and how this fop fails.
    fn draw(&self, fop: Fop) -> Option<Failure> {
        let Settings { percentage, failure, random, enabled } = self.settings.get();
        if !enabled.contains(fop) {
            return None;
        }
        let fails = if random { self.count_down() } else { super::chance(&self.core, percentage) };
        fails.then(|| failure.unwrap_or_else(|| self.pick(fop)))
    }

    fn count_down(&self) -> bool {
        let left = self.countdown.get() - 1;
        self.countdown.set(if left == 0 { interval(&self.core) } else { left });
        left == 0
    }

    /// One of the failures that the fop can have.
    fn pick(&self, fop: Fop) -> Failure {
        let choices = plausible(fop);
        // Writes have one more choice.
        let count = choices.len() + usize::from(fop == Fop::Writev);
        let index = (self.core.random_u64() % count as u64) as usize;
        choices.get(index).map_or(Failure::ShortWrite, |errno| Failure::Errno(*errno))
    }
}

/// Errnos that callers of the fop must expect (the manual pages of the system calls behind it).
fn plausible(fop: Fop) -> &'static [Errno] {
    use Errno as E;
    match fop {
        Fop::Lookup | Fop::Stat | Fop::Readlink | Fop::Access | Fop::Statfs => {
            &[E::ACCESS, E::NAMETOOLONG, E::NOENT, E::NOMEM, E::NOTDIR, E::IO]
        }
        Fop::Mknod | Fop::Mkdir | Fop::Symlink | Fop::Put | Fop::Icreate | Fop::Namelink => &[
            E::ACCESS,
            E::EXIST,
            E::NAMETOOLONG,
            E::NOENT,
            E::NOMEM,
            E::NOSPC,
            E::NOTDIR,
            E::PERM,
            E::ROFS,
            E::IO,
        ],
        Fop::Unlink | Fop::Rmdir => &[
            E::ACCESS,
            E::BUSY,
            E::IO,
            E::ISDIR,
            E::NOENT,
            E::NOTEMPTY,
            E::NOMEM,
            E::NOTDIR,
            E::PERM,
            E::ROFS,
        ],
        Fop::Rename | Fop::Link => &[
            E::ACCESS,
            E::BUSY,
            E::EXIST,
            E::INVAL,
            E::MLINK,
            E::NOENT,
            E::NOMEM,
            E::NOSPC,
            E::NOTDIR,
            E::XDEV,
        ],
        Fop::Create | Fop::Open | Fop::Opendir => {
            &[E::ACCESS, E::EXIST, E::ISDIR, E::MFILE, E::NFILE, E::NAMETOOLONG, E::NODEV, E::NOENT, E::NOMEM]
        }
        Fop::Truncate | Fop::Ftruncate | Fop::Fallocate | Fop::Discard | Fop::Zerofill => {
            &[E::ACCESS, E::FBIG, E::INTR, E::INVAL, E::IO, E::ISDIR, E::NOENT, E::NOSPC]
        }
        Fop::Readv | Fop::Seek | Fop::Rchecksum => &[E::INVAL, E::BADF, E::IO, E::ISDIR],
        Fop::Writev | Fop::CopyFileRange => &[E::INVAL, E::BADF, E::IO, E::NOSPC, E::DQUOT, E::FBIG],
        Fop::Flush | Fop::Fsync | Fop::Fsyncdir => &[E::BADF, E::IO, E::ROFS, E::INVAL],
        Fop::Readdir | Fop::Readdirp => &[E::INVAL, E::ACCESS, E::BADF, E::NOENT, E::IO],
        Fop::Setxattr | Fop::Fsetxattr | Fop::Xattrop | Fop::Fxattrop => {
            &[E::ACCESS, E::INTR, E::NAMETOOLONG, E::NOSPC, E::IO]
        }
        Fop::Getxattr | Fop::Fgetxattr | Fop::Removexattr | Fop::Fremovexattr => {
            &[E::ACCESS, E::INTR, E::NAMETOOLONG, E::NODATA, E::IO]
        }
        Fop::Setattr | Fop::Fsetattr | Fop::Fstat => {
            &[E::ACCESS, E::IO, E::NOENT, E::NOMEM, E::NOTDIR, E::PERM, E::ROFS]
        }
        Fop::Lk | Fop::Inodelk | Fop::Finodelk | Fop::Entrylk | Fop::Fentrylk => {
            &[E::ACCESS, E::AGAIN, E::INTR, E::NOENT, E::NOLCK]
        }
        Fop::Ipc | Fop::Lease | Fop::Getactivelk | Fop::Setactivelk => &[E::INVAL, E::NOMEM, E::OPNOTSUPP],
    }
}

/// Cuts the data of a `writev` to half; leaves other fops alone.
macro_rules! shorten {
    (Writev $req:ident) => {
        $req.data.truncate($req.data.len().div_ceil(2))
    };
    ($other:ident $req:ident) => {
        ()
    };
}

macro_rules! methods {
    ($(#[doc = $doc:literal] $variant:ident $method:ident $number:literal $access:ident $subject:ident
        ($($arg:ident : $type:ty),*) -> $reply:ident;)*) => {
        impl Fops for ErrorGen {
            fn next(&self) -> &Next {
                &self.next
            }

            fn intercepts(&self) -> FopSet {
                FopSet::ALL
            }

            $(
                #[allow(unused_mut, reason = "only writev is changed on its way")]
                fn $method<'a>(&'a self, call: &'a Call, mut req: request::$variant) -> Wound<'a, reply::$reply> {
                    match self.draw(Fop::$variant) {
                        Some(Failure::Errno(errno)) => {
                            tracing::debug!(fop = %Fop::$variant, %errno, "failed on purpose");
                            return Wound::ready(call, Err(errno.into()));
                        }
                        Some(Failure::ShortWrite) => shorten!($variant req),
                        None => {}
                    }
                    self.next.$method(call, req)
                }
            )*
        }
    };
}

crate::for_each_fop!(methods);

impl Translator for ErrorGen {
    fn reconfigure(&self, options: &Options) -> Result<(), String> {
        self.settings.set(Settings::new(options)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kiln_uring::Buf;
    use kiln_uring::sim::Sim;

    use super::*;
    use crate::fd::Fd;
    use crate::testing::{Rig, gfid, user};
    use crate::types::{Gfid, Loc, Xdata};

    const LAYER: &str = "debug/error-gen";

    async fn stat(rig: &Rig) -> Option<Errno> {
        let call = rig.call(Fop::Stat, user(1));
        let req = request::Stat { loc: Loc::object(Gfid::ROOT), xdata: Xdata::NONE };
        rig.top().stat(&call, req).await.err().map(|error| error.errno)
    }

    #[test]
    fn nothing_fails_by_default() {
        Sim::new(1).run(async |core| {
            let rig = Rig::new(&core, &[(LAYER, &[])]);
            for _ in 0..200 {
                assert_eq!(stat(&rig).await, None);
            }
        });
    }

    #[test]
    fn the_named_errno_as_often_as_asked_for() {
        Sim::new(2).run(async |core| {
            let options: &[(&str, &str)] = &[("failure", "30"), ("error-no", "ENOTDIR"), ("enable", "stat")];
            let rig = Rig::new(&core, &[(LAYER, options)]);
            let mut failed = 0;
            for _ in 0..1000 {
                let errno = stat(&rig).await;
                assert!(matches!(errno, None | Some(Errno::NOTDIR)), "{errno:?}");
                failed += usize::from(errno.is_some());
            }
            assert!((230..370).contains(&failed), "{failed} of 1000");
            assert_eq!(rig.brick.take_fops().len(), 1000 - failed, "failed fops go no further");

            rig.reconfigure(&[(LAYER, &[("failure", "100"), ("error-fops", "mkdir")])]).unwrap();
            assert_eq!(stat(&rig).await, None, "not enabled");
            rig.reconfigure(&[(LAYER, &[("failure", "100")])]).unwrap();
            for _ in 0..100 {
                let errno = stat(&rig).await.expect("all fail");
                assert!(plausible(Fop::Stat).contains(&errno), "{errno:?}");
            }
        });
    }

    #[test]
    fn random_failure_ignores_the_percentage() {
        Sim::new(3).run(async |core| {
            let rig = Rig::new(&core, &[(LAYER, &[("random-failure", "on")])]);
            let mut run = 0;
            for _ in 0..2000 {
                run += 1;
                if stat(&rig).await.is_some() {
                    assert!((3..=44).contains(&run), "after {run}");
                    run = 0;
                }
            }
            assert!(run <= 44);
        });
    }

    #[test]
    fn a_short_write_writes_half() {
        Sim::new(4).run(async |core| {
            let options: &[(&str, &str)] = &[("failure", "100"), ("error-no", "GF_ERROR_SHORT_WRITE")];
            let rig = Rig::new(&core, &[(LAYER, options)]);
            let call = rig.call(Fop::Writev, user(1));
            for (len, written) in [(100, 50), (1, 1), (0, 0)] {
                let (fd, data) = (Fd::file(gfid(2), 1, 1), Buf::from_slice(&vec![7; len]));
                let req = request::Writev { fd, data, offset: 0, flags: 0, xdata: Xdata::NONE };
                assert_eq!(rig.top().writev(&call, req).await.unwrap().count, written);
            }
            assert_eq!(stat(&rig).await, None);
        });
    }

    #[test]
    fn every_fop_has_failures_and_wrong_names_are_refused() {
        assert!(Fop::ALL.iter().all(|fop| !plausible(*fop).is_empty()));
        Sim::new(5).run(async |core| {
            let error = Rig::try_new(&core, &[(LAYER, &[("error-no", "ENOTDIRR")])]).map(drop).unwrap_err();
            assert!(error.reason.contains("`ENOTDIR`"), "{error}");
            assert!(Rig::try_new(&core, &[(LAYER, &[("failure", "101")])]).is_err());
        });
    }
}
