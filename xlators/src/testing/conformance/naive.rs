//! `testing/naive-cache`: the simplest correct cache of absent names, and what becomes of it when parts are left out.
//!
//! One table behind a lock for all cores. The options switch off what a correct cache needs, one by one, to see that the
//! conformance test notices.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_uring::Errno;

use crate::call::Call;
use crate::error::FopResult;
use crate::fop::{reply, request};
use crate::graph::Next;
use crate::intercept;
use crate::options::{OptionKind, OptionSpec};
use crate::translator::{Children, InstanceContext, PrepareContext, Shared, Translator, TranslatorType};
use crate::types::{Gfid, Loc, Name, Xdata};

const fn part(name: &'static str, about: &'static str) -> OptionSpec {
    OptionSpec::new(name, OptionKind::Bool, "on", about).fixed()
}

/// `testing/naive-cache`.
pub static TYPE: TranslatorType = TranslatorType {
    name: "testing/naive-cache",
    about: "Remembers absent names behind one lock",
    children: Children::One,
    options: &[
        part("fence", "Whether a lookup that overlaps a create stores nothing."),
        part("early", "Whether a name is forgotten before it is made, too."),
        part("rename", "Whether a rename makes a name."),
        part("link", "Whether a link makes a name."),
        part("mknod", "Whether a mknod makes a name."),
        part("newfile", "Whether a setxattr may make a name."),
        part("failed", "Whether a fop that fails may have made a name."),
        part("shared", "Whether all cores have one table."),
        part("death", "Whether a removed directory is forgotten."),
    ],
    prepare,
    instance,
    renew: TranslatorType::nothing_to_renew,
    merge_stats: TranslatorType::no_stats,
};

type Entry = (Gfid, Name);

#[derive(Debug, Default)]
struct Table {
    absent: HashSet<Entry>,
    /// How often names may have been made in a directory.
    turns: HashMap<Gfid, u64>,
    under_way: HashMap<Gfid, u32>,
}

fn prepare(_: &PrepareContext<'_>) -> Result<Shared, String> {
    Ok(Arc::new(Mutex::new(Table::default())))
}

#[derive(Debug)]
struct Naive {
    next: Next,
    table: Arc<Mutex<Table>>,
    has: HashSet<&'static str>,
}

fn instance(mut context: InstanceContext<'_>) -> Result<Rc<dyn Translator>, String> {
    let has: HashSet<&'static str> =
        TYPE.options.iter().map(|part| part.name).filter(|part| context.options.bool(part)).collect();
    let shared = context.shared::<Mutex<Table>>()?;
    let table = if has.contains("shared") { shared } else { Arc::default() };
    Ok(Rc::new(Naive { next: context.below(), table, has }))
}

/// A fop under way that may make names in a directory. Given up, it is under way for ever.
struct Making<'a> {
    cache: &'a Naive,
    entry: Option<Entry>,
    directory: Gfid,
}

impl Naive {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, part: &str) -> bool {
        self.has.contains(part)
    }

    fn forget(&self, directory: Gfid, entry: Option<&Entry>) {
        let mut table = self.table();
        *table.turns.entry(directory).or_default() += 1;
        match entry {
            Some(entry) => _ = table.absent.remove(entry),
            None => table.absent.retain(|(parent, _)| *parent != directory),
        }
    }

    fn begin(&self, loc: &Loc) -> Making<'_> {
        let entry = loc.name.clone().map(|name| (loc.parent, name));
        let directory = if entry.is_some() { loc.parent } else { loc.gfid };
        *self.table().under_way.entry(directory).or_default() += 1;
        if self.has("early") {
            self.forget(directory, entry.as_ref());
        }
        Making { cache: self, entry, directory }
    }

    /// What a lookup remembers: nothing while a name is being made.
    fn ticket(&self, directory: Gfid) -> Option<u64> {
        let table = self.table();
        let quiet = table.under_way.get(&directory).is_none_or(|count| *count == 0);
        (quiet || !self.has("fence")).then(|| table.turns.get(&directory).copied().unwrap_or(0))
    }
}

impl Making<'_> {
    fn end<T>(self, answer: &FopResult<T>) {
        if let Some(count) = self.cache.table().under_way.get_mut(&self.directory) {
            *count -= 1;
        }
        if answer.is_ok() || self.cache.has("failed") {
            self.cache.forget(self.directory, self.entry.as_ref());
        }
    }
}

/// A fop that makes a name, if the cache knows that.
macro_rules! make {
    ($s:ident, $call:ident, $req:ident, $method:ident, $loc:expr, $known:expr) => {{
        if !$known {
            return $s.next.$method($call, $req).await;
        }
        let making = $s.begin(&$loc);
        let answer = $s.next.$method($call, $req).await;
        making.end(&answer);
        answer
    }};
}

intercept! {
    impl Fops for Naive {
        async fn lookup(&self, call, req) {
            let Some(name) = req.loc.name.clone() else { return self.next.lookup(call, req).await };
            let entry = (req.loc.parent, name);
            if self.table().absent.contains(&entry) {
                return Err(Errno::NOENT.into());
            }
            let ticket = self.ticket(entry.0);
            let answer: FopResult<reply::Lookup> = self.next.lookup(call, req).await;
            match &answer {
                Err(error) if error.errno == Errno::NOENT && ticket.is_some() => {
                    if ticket == self.ticket(entry.0) || !self.has("fence") {
                        self.table().absent.insert(entry);
                    }
                }
                Ok(_) => _ = self.table().absent.remove(&entry),
                Err(_) => {}
            }
            answer
        }
        async fn create(&self, call, req) { make!(self, call, req, create, req.loc, true) }
        async fn mknod(&self, call, req) { make!(self, call, req, mknod, req.loc, self.has("mknod")) }
        async fn mkdir(&self, call, req) { make!(self, call, req, mkdir, req.loc, true) }
        async fn symlink(&self, call, req) { make!(self, call, req, symlink, req.loc, true) }
        async fn put(&self, call, req) { make!(self, call, req, put, req.loc, true) }
        async fn namelink(&self, call, req) { make!(self, call, req, namelink, req.loc, true) }
        async fn setxattr(&self, call, req) { make!(self, call, req, setxattr, req.loc, self.has("newfile")) }
        async fn link(&self, call, req) { make!(self, call, req, link, req.new, self.has("link")) }
        async fn rename(&self, call, req) {
            if !self.has("rename") {
                return self.next.rename(call, req).await;
            }
            let victim = self.directory(call, &req.new).await?;
            let victim = victim.map(|gfid| self.begin(&Loc::object(gfid)));
            // Both names: it may be an exchange.
            let both = [self.begin(&req.new), self.begin(&req.old)];
            let answer = self.next.rename(call, req).await;
            both.into_iter().chain(victim).for_each(|making| making.end(&answer));
            if self.has("death") && !answer.as_ref().is_ok_and(|renamed| !renamed.iatt.is_dir()) {
                self.forget_all();
            }
            answer
        }
        async fn rmdir(&self, call, req) {
            let victim = self.directory(call, &req.loc).await?;
            let victim = victim.map(|gfid| self.begin(&Loc::object(gfid)));
            let answer = self.next.rmdir(call, req).await;
            victim.into_iter().for_each(|making| making.end(&answer));
            if self.has("death") {
                self.forget_all();
            }
            answer
        }
    }
}

impl Naive {
    /// The directory that a name leads to; without an answer nothing is removed.
    async fn directory(&self, call: &Call, loc: &Loc) -> FopResult<Option<Gfid>> {
        if !self.has("death") {
            return Ok(None);
        }
        match self.next.lookup(call, request::Lookup { loc: loc.clone(), xdata: Xdata::NONE }).await {
            Ok(found) => Ok(found.iatt.is_dir().then_some(found.iatt.gfid)),
            Err(error) if error.errno == Errno::NOENT => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn forget_all(&self) {
        let mut table = self.table();
        table.turns.values_mut().for_each(|turns| *turns += 1);
        table.absent.clear();
    }
}

impl Translator for Naive {}
