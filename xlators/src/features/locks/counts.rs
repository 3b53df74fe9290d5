//! Counts of locks that clients ask for in the xdata of any fop.
//!
//! The keys are taken out of the request, and the answers, always `INT`, put into the reply of a fop that succeeded. Counted
//! are the locks of the object of a descriptor or of a lookup; otherwise those of the parent.

use std::sync::Arc;

use super::Locks;
use super::state::domain::Domain;
use super::state::object::{Kind, Object};
use crate::keys;
use crate::types::{Dict, Gfid, Key, Name, Value, Xdata};

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    inode: bool,
    entry: bool,
    posix: bool,
    parent: bool,
    domain: Option<String>,
    domains: Vec<(Key, String)>,
}

/// About what.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// Whose locks are counted; null for nobody's. Of two the one with more counts.
    pub objects: [Gfid; 2],
    /// The directory and the name, if the fop has them.
    pub entry: Option<(Gfid, Name)>,
}

fn is_count(key: &std::ffi::CStr) -> bool {
    key.to_bytes().starts_with(b"glusterfs.")
        && ([
            keys::INODELK_COUNT,
            keys::ENTRYLK_COUNT,
            keys::POSIXLK_COUNT,
            keys::PARENT_ENTRYLK,
            keys::INODELK_DOM_COUNT,
            keys::MULTI_DOM_LK_COUNT,
        ]
        .contains(&key)
            || key.to_bytes().starts_with(keys::INODELK_DOM_PREFIX.to_bytes()))
}

impl Asked {
    /// Whether the request asks for any.
    #[must_use]
    pub fn is_in(xdata: &Xdata) -> bool {
        xdata.dict().is_some_and(|dict| dict.iter().any(|(key, _)| is_count(key)))
    }

    /// Takes the keys out of a request.
    #[must_use]
    pub fn take(xdata: &mut Xdata) -> Self {
        let mut asked = Self::default();
        if xdata.is_none() {
            return asked;
        }
        asked.inode = xdata.remove(keys::INODELK_COUNT).is_some();
        asked.entry = xdata.remove(keys::ENTRYLK_COUNT).is_some();
        asked.posix = xdata.remove(keys::POSIXLK_COUNT).is_some();
        asked.parent = xdata.remove(keys::PARENT_ENTRYLK).is_some();
        let domain = xdata.remove(keys::INODELK_DOM_COUNT);
        asked.domain = domain.and_then(|domain| domain.as_str().map(str::to_owned));
        if xdata.remove(keys::MULTI_DOM_LK_COUNT).is_some() {
            let prefix = keys::INODELK_DOM_PREFIX.to_bytes();
            xdata.make().retain(|key, _| {
                let Some(domain) = key.to_bytes().strip_prefix(prefix) else { return true };
                asked.domains.push((key.to_owned().into(), String::from_utf8_lossy(domain).into_owned()));
                false
            });
        }
        asked
    }

    fn counts_objects(&self) -> bool {
        self.inode || self.entry || self.posix || self.domain.is_some() || !self.domains.is_empty()
    }
}

/// Which answers, with the counts.
type Tally = Vec<(Key, i64)>;

fn tally(asked: &Asked, object: Option<&Object>) -> Tally {
    let count = |kind| object.map_or(0, |object| object.count(kind)) as i64;
    let of_domain = |name: &str| {
        let domains = object.map_or(&[][..], |object| &object.inode);
        domains.iter().find(|domain| *domain.name == *name).map_or(0, Domain::len) as i64
    };
    let mut tally = Tally::new();
    if asked.entry {
        tally.push((keys::ENTRYLK_COUNT.into(), count(Kind::Entry)));
    }
    // One domain is answered under the key of all, and both may be asked for; the domain's count then stays.
    match &asked.domain {
        Some(domain) => tally.push((keys::INODELK_COUNT.into(), of_domain(domain))),
        None if asked.inode => tally.push((keys::INODELK_COUNT.into(), count(Kind::Inode))),
        None => {}
    }
    if asked.posix {
        tally.push((keys::POSIXLK_COUNT.into(), count(Kind::Posix)));
    }
    tally.extend(asked.domains.iter().map(|(key, domain)| (key.clone(), of_domain(domain))));
    tally
}

impl Locks {
    async fn tally(&self, asked: &Arc<Asked>, gfid: Gfid) -> Tally {
        let kinds = [(Kind::Posix, asked.posix), (Kind::Entry, asked.entry), (Kind::Inode, true)].into_iter();
        if !kinds.filter(|(_, wanted)| *wanted).any(|(kind, _)| self.presence().may_have(gfid, kind)) {
            return tally(asked, None);
        }
        let wanted = Arc::clone(asked);
        let job = move |home: &super::home::Home, _: &_| tally(&wanted, home.table().borrow().get(gfid));
        self.owners().ask(gfid, job).await.unwrap_or_else(|_| tally(asked, None))
    }

    async fn holds_name(&self, parent: Gfid, name: &Name) -> bool {
        if !self.presence().may_have(parent, Kind::Entry) {
            return false;
        }
        let name = name.clone();
        let held = self.owners().ask(parent, move |home, _| {
            home.table().borrow().get(parent).is_some_and(|object| object.holds_name(name.as_bytes()))
        });
        held.await.unwrap_or(false)
    }

    /// The answers to what was asked, into the dictionary of the reply.
    pub(super) async fn answer(&self, asked: &Arc<Asked>, subject: &Subject, reply: &mut Dict) {
        if asked.parent
            && let Some((parent, name)) = &subject.entry
        {
            let held = self.holds_name(*parent, name).await;
            reply.set(keys::PARENT_ENTRYLK, Value::Int(held.into()));
        }
        if !asked.counts_objects() {
            return;
        }
        let mut most = Tally::new();
        for gfid in subject.objects.into_iter().filter(|gfid| !gfid.is_null()) {
            let tally = self.tally(asked, gfid).await;
            if most.is_empty() {
                most = tally;
            } else {
                most.iter_mut().zip(tally).for_each(|((_, most), (_, count))| *most = count.max(*most));
            }
        }
        most.into_iter().for_each(|(key, count)| reply.set(key, Value::Int(count)));
    }
}
