//! A brick of the size of a thumbnail: directories, names, and objects that only exist, each fop at one moment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_uring::Errno;
use kiln_uring::sys::RenameFlags;

use super::ledger::Ledger;
use crate::types::{Gfid, IaType, Iatt, Name};

#[derive(Clone, Copy, Debug)]
struct Object {
    kind: IaType,
    links: u32,
    /// Of a directory.
    parent: Gfid,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<Gfid, Object>,
    names: BTreeMap<(Gfid, Name), Gfid>,
    directories: Vec<Gfid>,
    made: u64,
    lookups: u64,
}

/// The brick. Its changes are in its ledger.
#[derive(Debug)]
pub struct Tree {
    state: Mutex<State>,
    ledger: Arc<Ledger>,
}

/// What a fop that makes a name finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusive {
    /// A name that is there is an error.
    Yes,
    /// It is opened.
    No,
}

impl Default for Tree {
    fn default() -> Self {
        let state = Mutex::new(State::default());
        let tree = Self { state, ledger: Arc::default() };
        tree.begin();
        tree
    }
}

impl Tree {
    fn begin(&self) {
        let mut state = self.state();
        let object = Object { kind: IaType::Directory, links: 2, parent: Gfid::ROOT };
        state.objects.insert(Gfid::ROOT, object);
        state.directories.push(Gfid::ROOT);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was true when.
    pub const fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// All directories that there have ever been.
    pub fn directories(&self) -> Vec<Gfid> {
        self.state().directories.clone()
    }

    /// How many lookups of clients have come.
    pub fn lookups(&self) -> u64 {
        self.state().lookups
    }

    /// One more has come.
    pub fn count_lookup(&self) {
        self.state().lookups += 1;
    }

    /// The object at a name.
    pub fn look(&self, parent: Gfid, name: &Name) -> Result<Iatt, Errno> {
        let state = self.state();
        state.alive(parent)?;
        let gfid = *state.names.get(&(parent, name.clone())).ok_or(Errno::NOENT)?;
        Ok(state.iatt(gfid))
    }

    /// What a name leads to, for clients that have to know it: no fop.
    pub fn look_aside(&self, parent: Gfid, name: &Name) -> Option<Gfid> {
        self.state().names.get(&(parent, name.clone())).copied()
    }

    /// An object by its gfid.
    pub fn stat(&self, gfid: Gfid) -> Result<Iatt, Errno> {
        let state = self.state();
        if state.objects.contains_key(&gfid) { Ok(state.iatt(gfid)) } else { Err(Errno::NOENT) }
    }

    /// Makes an object without a name.
    pub fn make_nameless(&self, kind: IaType) -> Iatt {
        let mut state = self.state();
        let gfid = state.make(kind, Gfid::NULL);
        state.iatt(gfid)
    }

    /// Makes an object with a name.
    pub fn make(&self, parent: Gfid, name: &Name, kind: IaType, exclusive: Exclusive) -> Result<Iatt, Errno> {
        let mut state = self.state();
        state.alive(parent)?;
        if let Some(gfid) = state.names.get(&(parent, name.clone())) {
            let iatt = state.iatt(*gfid);
            return match exclusive {
                Exclusive::No if !iatt.is_dir() => Ok(iatt),
                _ => Err(Errno::EXIST),
            };
        }
        let gfid = state.make(kind, parent);
        state.set(&self.ledger, parent, name, Some(gfid));
        Ok(state.iatt(gfid))
    }

    /// Gives an object that is no directory one more name.
    pub fn link(&self, gfid: Gfid, parent: Gfid, name: &Name) -> Result<Iatt, Errno> {
        let mut state = self.state();
        state.alive(parent)?;
        match state.objects.get(&gfid) {
            None => return Err(Errno::STALE),
            Some(object) if object.kind == IaType::Directory => return Err(Errno::PERM),
            Some(_) => {}
        }
        if state.names.contains_key(&(parent, name.clone())) {
            return Err(Errno::EXIST);
        }
        state.set(&self.ledger, parent, name, Some(gfid));
        Ok(state.iatt(gfid))
    }

    /// Removes a name of a file.
    pub fn unlink(&self, parent: Gfid, name: &Name) -> Result<(), Errno> {
        let mut state = self.state();
        state.alive(parent)?;
        let gfid = *state.names.get(&(parent, name.clone())).ok_or(Errno::NOENT)?;
        if state.is_dir(gfid) {
            return Err(Errno::ISDIR);
        }
        state.set(&self.ledger, parent, name, None);
        Ok(())
    }

    /// Removes an empty directory.
    pub fn rmdir(&self, parent: Gfid, name: &Name) -> Result<(), Errno> {
        let mut state = self.state();
        state.alive(parent)?;
        let gfid = *state.names.get(&(parent, name.clone())).ok_or(Errno::NOENT)?;
        state.may_replace_directory(gfid)?;
        state.set(&self.ledger, parent, name, None);
        state.bury(&self.ledger, gfid);
        Ok(())
    }

    /// Moves a name as `renameat2(2)` does; `flags` are none, `NOREPLACE` or `EXCHANGE`.
    pub fn rename(&self, old: (Gfid, &Name), new: (Gfid, &Name), flags: RenameFlags) -> Result<Iatt, Errno> {
        let mut state = self.state();
        state.alive(old.0)?;
        state.alive(new.0)?;
        let from = *state.names.get(&(old.0, old.1.clone())).ok_or(Errno::NOENT)?;
        let victim = state.names.get(&(new.0, new.1.clone())).copied();
        if state.is_within(new.0, from) || victim.is_some_and(|victim| state.is_within(old.0, victim)) {
            return Err(Errno::INVAL);
        }
        if flags.contains(RenameFlags::EXCHANGE) {
            let victim = victim.ok_or(Errno::NOENT)?;
            state.set(&self.ledger, new.0, new.1, Some(from));
            state.set(&self.ledger, old.0, old.1, Some(victim));
            return Ok(state.iatt(from));
        }
        if let Some(victim) = victim {
            if flags.contains(RenameFlags::NOREPLACE) {
                return Err(Errno::EXIST);
            }
            if victim == from {
                // Two names of one object: both stay.
                return Ok(state.iatt(from));
            }
            match (state.is_dir(from), state.is_dir(victim)) {
                (false, true) => return Err(Errno::ISDIR),
                (true, _) => state.may_replace_directory(victim)?,
                (false, false) => {}
            }
        }
        state.set(&self.ledger, new.0, new.1, Some(from));
        if let Some(victim) = victim.filter(|victim| state.is_dir(*victim)) {
            state.bury(&self.ledger, victim);
        }
        state.set(&self.ledger, old.0, old.1, None);
        Ok(state.iatt(from))
    }

    /// The names of a directory.
    pub fn list(&self, directory: Gfid) -> Result<Vec<(Name, Iatt)>, Errno> {
        let state = self.state();
        state.alive(directory)?;
        let its = state.names.iter().filter(|((parent, _), _)| *parent == directory);
        Ok(its.map(|((_, name), gfid)| (name.clone(), state.iatt(*gfid))).collect())
    }
}

impl State {
    fn alive(&self, directory: Gfid) -> Result<(), Errno> {
        if self.is_dir(directory) { Ok(()) } else { Err(Errno::STALE) }
    }

    fn is_dir(&self, gfid: Gfid) -> bool {
        self.objects.get(&gfid).is_some_and(|object| object.kind == IaType::Directory)
    }

    fn iatt(&self, gfid: Gfid) -> Iatt {
        let Some(object) = self.objects.get(&gfid) else { return Iatt::default() };
        Iatt { gfid, kind: object.kind, nlink: object.links, prot: 0o755, ..Iatt::default() }
    }

    fn make(&mut self, kind: IaType, parent: Gfid) -> Gfid {
        self.made += 1;
        let mut bytes = [0xc0; 16];
        bytes[8..].copy_from_slice(&self.made.to_be_bytes());
        let gfid = Gfid::from_bytes(bytes);
        let links = if kind == IaType::Directory { 2 } else { 0 };
        self.objects.insert(gfid, Object { kind, links, parent });
        if kind == IaType::Directory {
            self.directories.push(gfid);
        }
        gfid
    }

    /// Changes what a name leads to, with the links of both objects.
    fn set(&mut self, ledger: &Ledger, parent: Gfid, name: &Name, leads_to: Option<Gfid>) {
        let key = (parent, name.clone());
        let before = match leads_to {
            Some(gfid) => self.names.insert(key, gfid),
            None => self.names.remove(&key),
        };
        ledger.write(parent, name, leads_to);
        for (gfid, more) in [(before, false), (leads_to, true)] {
            let Some(object) = gfid.and_then(|gfid| self.objects.get_mut(&gfid)) else { continue };
            match (object.kind, more) {
                (IaType::Directory, true) => object.parent = parent,
                (IaType::Directory, false) => {}
                (_, true) => object.links += 1,
                (_, false) => object.links = object.links.saturating_sub(1),
            }
        }
    }

    fn may_replace_directory(&self, gfid: Gfid) -> Result<(), Errno> {
        if !self.is_dir(gfid) {
            return Err(Errno::NOTDIR);
        }
        if self.names.keys().any(|(parent, _)| *parent == gfid) { Err(Errno::NOTEMPTY) } else { Ok(()) }
    }

    fn bury(&mut self, ledger: &Ledger, directory: Gfid) {
        self.objects.remove(&directory);
        ledger.bury(directory);
    }

    /// Whether `directory` is `ancestor`, or below it.
    fn is_within(&self, directory: Gfid, ancestor: Gfid) -> bool {
        let mut at = directory;
        loop {
            if at == ancestor {
                return true;
            }
            match self.objects.get(&at) {
                Some(object) if !at.is_root() => at = object.parent,
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn renames_are_those_of_a_file_system() {
        let tree = Tree::default();
        let (x, y, z) = (name("x"), name("y"), name("z"));
        let root = Gfid::ROOT;
        let file = tree.make(root, &x, IaType::Regular, Exclusive::Yes).unwrap().gfid;
        tree.link(file, root, &y).unwrap();
        // Two names of one file: both stay.
        tree.rename((root, &x), (root, &y), RenameFlags::empty()).unwrap();
        assert_eq!(tree.look(root, &x).unwrap().nlink, 2);
        let dir = tree.make(root, &z, IaType::Directory, Exclusive::Yes).unwrap().gfid;
        assert_eq!(tree.rename((root, &x), (root, &z), RenameFlags::empty()).unwrap_err(), Errno::ISDIR);
        assert_eq!(tree.rename((root, &z), (dir, &x), RenameFlags::empty()).unwrap_err(), Errno::INVAL);
        assert_eq!(tree.rename((root, &x), (root, &y), RenameFlags::NOREPLACE).unwrap_err(), Errno::EXIST);
        tree.rename((root, &x), (dir, &x), RenameFlags::empty()).unwrap();
        assert_eq!(tree.rmdir(root, &z).unwrap_err(), Errno::NOTEMPTY);
        tree.rename((root, &y), (root, &z), RenameFlags::EXCHANGE).unwrap();
        assert!(tree.look(root, &y).unwrap().is_dir());
        tree.unlink(dir, &x).unwrap();
        let other = tree.make(root, &x, IaType::Directory, Exclusive::Yes).unwrap().gfid;
        tree.rename((root, &x), (root, &y), RenameFlags::empty()).unwrap();
        assert_eq!(tree.look(root, &y).unwrap().gfid, other);
        assert_eq!(tree.look(dir, &x).unwrap_err(), Errno::STALE);
        assert!(tree.ledger().death_of(dir).is_some());
    }
}
