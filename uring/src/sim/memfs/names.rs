//! Calls that change directories, and those that read them.

use super::inode::{Body, COOKIE_STEP, ROOT, dirent_kind};
use super::state::State;
use super::tree::{Record, Seed};
use super::walk::{Last, PATH_MAX, Spot, Walk};
use crate::sys::{AtFlags, DirEntry, Errno, RawFd, RenameFlags, Resolve, SysResult};

/// Most names of one file, and most subdirectories of a directory, as on ext4.
const LINK_MAX: u32 = 65_000;

impl State {
    /// A directory that was removed takes no new names.
    pub fn may_create(&self, dir: u64) -> SysResult<()> {
        if self.meta(dir)?.nlink == 0 { Err(Errno::NOENT) } else { Ok(()) }
    }

    /// Where a new name goes: EEXIST when it is taken.
    fn new_spot(&mut self, dir: RawFd, path: &[u8], for_dir: bool) -> SysResult<(u64, Vec<u8>)> {
        let mut walk = Walk::new(self, dir, path, Resolve::empty())?;
        let spot = walk.parent(self)?;
        let Last::Name(name) = &spot.last else { return Err(Errno::EXIST) };
        if walk.last(self, &spot)?.is_some() {
            return Err(Errno::EXIST);
        }
        if spot.slash && !for_dir {
            return Err(Errno::NOENT);
        }
        self.may_create(spot.dir)?;
        Ok((spot.dir, name.clone()))
    }

    /// What a path names, its last component not followed.
    pub fn at(&mut self, dir: RawFd, path: &[u8]) -> SysResult<u64> {
        Walk::new(self, dir, path, Resolve::empty())?.resolve(self, false)
    }

    pub fn mkdir(&mut self, dir: RawFd, path: &[u8], mode: u32) -> SysResult<()> {
        let (dir, name) = self.new_spot(dir, path, true)?;
        if self.meta(dir)?.nlink >= LINK_MAX {
            return Err(Errno::MLINK);
        }
        let mode = libc::S_IFDIR | (mode & 0o1777);
        let ino = self.create(dir, mode, 0, Seed::Dir(dir), 2)?;
        self.enter(dir, &name, ino)?;
        self.update(dir, |m| m.nlink += 1)?;
        self.touch_content(dir)
    }

    pub fn mknod(&mut self, dir: RawFd, path: &[u8], mode: u32, rdev: u64) -> SysResult<()> {
        let (kind, seed) = match mode & libc::S_IFMT {
            0 | libc::S_IFREG => (libc::S_IFREG, Seed::File),
            libc::S_IFDIR => return Err(Errno::PERM),
            kind @ (libc::S_IFIFO | libc::S_IFSOCK | libc::S_IFCHR | libc::S_IFBLK) => (kind, Seed::Special),
            _ => return Err(Errno::INVAL),
        };
        let rdev = if matches!(kind, libc::S_IFCHR | libc::S_IFBLK) { rdev } else { 0 };
        let (dir, name) = self.new_spot(dir, path, false)?;
        let ino = self.create(dir, kind | (mode & 0o7777), rdev, seed, 1)?;
        self.enter(dir, &name, ino)?;
        self.touch_content(dir)
    }

    pub fn symlink(&mut self, target: &[u8], dir: RawFd, path: &[u8]) -> SysResult<()> {
        if target.is_empty() {
            return Err(Errno::NOENT);
        }
        if target.len() >= PATH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let (dir, name) = self.new_spot(dir, path, false)?;
        let ino = self.create(dir, libc::S_IFLNK | 0o777, 0, Seed::Symlink(target.to_vec()), 1)?;
        self.enter(dir, &name, ino)?;
        self.touch_content(dir)
    }

    pub fn link(&mut self, old_dir: RawFd, old: &[u8], new_dir: RawFd, new: &[u8]) -> SysResult<()> {
        let ino = self.at(old_dir, old)?;
        self.link_inode(ino, new_dir, new)
    }

    pub fn link_fd(&mut self, fd: RawFd, new_dir: RawFd, new: &[u8]) -> SysResult<()> {
        let ino = self.open_file(fd)?.ino;
        self.link_inode(ino, new_dir, new)
    }

    fn link_inode(&mut self, ino: u64, new_dir: RawFd, new: &[u8]) -> SysResult<()> {
        let (dir, name) = self.new_spot(new_dir, new, false)?;
        let meta = self.meta(ino)?;
        if meta.kind() == libc::S_IFDIR {
            return Err(Errno::PERM);
        }
        if meta.nlink == 0 && !meta.linkable {
            return Err(Errno::NOENT);
        }
        if meta.nlink >= LINK_MAX {
            return Err(Errno::MLINK);
        }
        self.enter(dir, &name, ino)?;
        let now = self.now;
        self.update(ino, |m| {
            m.nlink += 1;
            m.linkable = false;
            m.ctime = now;
        })?;
        self.touch_content(dir)
    }

    pub fn unlink(&mut self, dir: RawFd, path: &[u8], flags: AtFlags) -> SysResult<()> {
        if !AtFlags::all().contains(flags) {
            return Err(Errno::INVAL);
        }
        let rmdir = flags.contains(AtFlags::REMOVEDIR);
        let mut walk = Walk::new(self, dir, path, Resolve::empty())?;
        let spot = walk.parent(self)?;
        let name = match &spot.last {
            Last::Name(name) => name,
            _ if !rmdir => return Err(Errno::ISDIR),
            Last::Dot => return Err(Errno::INVAL),
            Last::DotDot => return Err(Errno::NOTEMPTY),
            Last::Root => return Err(Errno::BUSY),
        };
        let ino = walk.last(self, &spot)?.ok_or(Errno::NOENT)?;
        match &self.inode(ino)?.body {
            Body::Dir(_) if !rmdir => return Err(Errno::ISDIR),
            Body::Dir(body) if !body.names.is_empty() => return Err(Errno::NOTEMPTY),
            Body::Dir(_) => {}
            _ if rmdir || spot.slash => return Err(Errno::NOTDIR),
            _ => {}
        }
        self.change(Record::Leave { dir: spot.dir, name: name.clone() });
        self.touch_content(spot.dir)?;
        self.drop_name(ino, spot.dir)
    }

    /// An object lost a name in `dir`; the directory entry is already gone or points elsewhere.
    fn drop_name(&mut self, ino: u64, dir: u64) -> SysResult<()> {
        let now = self.now;
        if self.meta(ino)?.kind() == libc::S_IFDIR {
            self.update(ino, |m| (m.nlink, m.ctime) = (0, now))?;
            self.update(dir, |m| m.nlink = m.nlink.saturating_sub(1))?;
        } else {
            self.update(ino, |m| (m.nlink, m.ctime) = (m.nlink.saturating_sub(1), now))?;
        }
        self.free_if_unused(ino);
        Ok(())
    }

    pub fn rename(
        &mut self,
        old_dir: RawFd,
        old: &[u8],
        new_dir: RawFd,
        new: &[u8],
        flags: RenameFlags,
    ) -> SysResult<()> {
        let exchange = flags.contains(RenameFlags::EXCHANGE);
        let keep = flags.contains(RenameFlags::NOREPLACE);
        let whiteout = flags.contains(RenameFlags::WHITEOUT);
        if !RenameFlags::all().contains(flags) || (exchange && (keep || whiteout)) {
            return Err(Errno::INVAL);
        }
        let mut old_walk = Walk::new(self, old_dir, old, Resolve::empty())?;
        let from = old_walk.parent(self)?;
        let mut new_walk = Walk::new(self, new_dir, new, Resolve::empty())?;
        let to = new_walk.parent(self)?;
        let Last::Name(from_name) = &from.last else { return Err(Errno::BUSY) };
        let Last::Name(to_name) = &to.last else { return Err(if keep { Errno::EXIST } else { Errno::BUSY }) };
        let source = old_walk.last(self, &from)?.ok_or(Errno::NOENT)?;
        let victim = new_walk.last(self, &to)?;
        if keep && victim.is_some() {
            return Err(Errno::EXIST);
        }
        if exchange && victim.is_none() {
            return Err(Errno::NOENT);
        }
        self.check_rename(&from, &to, source, victim, exchange)?;
        if victim == Some(source) {
            return Ok(());
        }
        let source_is_dir = self.meta(source)?.kind() == libc::S_IFDIR;
        let now = self.now;
        if let Some(victim) = victim.filter(|_| exchange) {
            let victim_is_dir = self.meta(victim)?.kind() == libc::S_IFDIR;
            self.enter(to.dir, to_name, source)?;
            self.enter(from.dir, from_name, victim)?;
            self.settle(source, source_is_dir, from.dir, to.dir)?;
            self.settle(victim, victim_is_dir, to.dir, from.dir)?;
            self.touch_change(victim)?;
        } else {
            if source_is_dir && from.dir != to.dir && self.meta(to.dir)?.nlink >= LINK_MAX {
                return Err(Errno::MLINK);
            }
            let hole = match whiteout {
                true => Some(self.create(from.dir, libc::S_IFCHR, 0, Seed::Special, 1)?),
                false => None,
            };
            self.enter(to.dir, to_name, source)?;
            match hole {
                Some(hole) => self.enter(from.dir, from_name, hole)?,
                None => self.change(Record::Leave { dir: from.dir, name: from_name.clone() }),
            }
            self.settle(source, source_is_dir, from.dir, to.dir)?;
            if let Some(victim) = victim {
                self.drop_name(victim, to.dir)?;
            }
        }
        self.update(source, |m| m.ctime = now)?;
        self.touch_content(from.dir)?;
        self.touch_content(to.dir)
    }

    fn check_rename(
        &self,
        from: &Spot,
        to: &Spot,
        source: u64,
        victim: Option<u64>,
        exchange: bool,
    ) -> SysResult<()> {
        let source_is_dir = self.meta(source)?.kind() == libc::S_IFDIR;
        let victim_dir = match victim {
            Some(victim) => match &self.inode(victim)?.body {
                Body::Dir(body) => Some(body),
                _ => None,
            },
            None => None,
        };
        if exchange && victim_dir.is_none() && to.slash {
            return Err(Errno::NOTDIR);
        }
        if !source_is_dir && (from.slash || (!exchange && to.slash)) {
            return Err(Errno::NOTDIR);
        }
        if source_is_dir && self.is_below(to.dir, source)? {
            return Err(Errno::INVAL);
        }
        if let Some(victim) = victim
            && self.is_below(from.dir, victim)?
        {
            return Err(if exchange { Errno::INVAL } else { Errno::NOTEMPTY });
        }
        if victim == Some(source) {
            return Ok(());
        }
        if victim.is_none() {
            self.may_create(to.dir)?;
        } else if !exchange {
            match victim_dir {
                None if source_is_dir => return Err(Errno::NOTDIR),
                Some(_) if !source_is_dir => return Err(Errno::ISDIR),
                Some(body) if !body.names.is_empty() => return Err(Errno::NOTEMPTY),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether directory `dir` is `ancestor` or lies somewhere below it.
    fn is_below(&self, mut dir: u64, ancestor: u64) -> SysResult<bool> {
        loop {
            if dir == ancestor {
                return Ok(true);
            }
            // A removed directory has no way up any more that matters.
            if dir == ROOT || !self.live.inodes.contains_key(&dir) {
                return Ok(false);
            }
            dir = self.live.dir(dir)?.parent;
        }
    }

    /// After a move: the `..` of a directory, and the links of both parents that it counts in.
    fn settle(&mut self, ino: u64, is_dir: bool, from: u64, to: u64) -> SysResult<()> {
        if is_dir && from != to {
            self.change(Record::Moved { dir: ino, parent: to });
            self.update(from, |m| m.nlink = m.nlink.saturating_sub(1))?;
            self.update(to, |m| m.nlink += 1)?;
        }
        Ok(())
    }

    pub fn readlink(&mut self, dir: RawFd, path: &[u8]) -> SysResult<Vec<u8>> {
        let by_descriptor = path.is_empty();
        let ino = if by_descriptor { self.open_file(dir)?.ino } else { self.at(dir, path)? };
        let Body::Symlink(target) = &self.inode(ino)?.body else {
            return Err(if by_descriptor { Errno::NOENT } else { Errno::INVAL });
        };
        let target = target.clone();
        self.touch_access(ino)?;
        Ok(target)
    }

    pub fn read_dir(&mut self, fd: RawFd, offset: u64, budget: usize) -> SysResult<Vec<DirEntry>> {
        let open = self.real_file(fd)?;
        if self.meta(open.ino)?.kind() == libc::S_IFIFO {
            return Err(Errno::SPIPE);
        }
        let body = self.live.dir(open.ino)?;
        if i64::try_from(offset).is_err() {
            return Err(Errno::INVAL);
        }
        if self.meta(open.ino)?.nlink == 0 {
            return Err(Errno::NOENT);
        }
        let dots = [(COOKIE_STEP, b".".to_vec(), open.ino), (2 * COOKIE_STEP, b"..".to_vec(), body.parent)];
        let names = body.positions.range(offset.saturating_add(1)..).filter_map(|(&cookie, name)| {
            body.names.get(name).map(|entry| (cookie, name.clone(), entry.ino))
        });
        let mut room = budget;
        let mut found = Vec::new();
        for (cookie, name, ino) in dots.into_iter().filter(|dot| dot.0 > offset).chain(names) {
            // The size of a kernel record: 19 bytes, the name, its NUL, rounded up to 8.
            let record = (20 + name.len()).next_multiple_of(8);
            if record > room && !found.is_empty() {
                break;
            }
            room = room.saturating_sub(record);
            let kind = self.meta(ino).map_or(libc::DT_UNKNOWN, |m| dirent_kind(m.mode));
            let name = std::ffi::CString::new(name).map_err(|_| Errno::IO)?;
            found.push(DirEntry { name, ino, offset: cookie, kind });
        }
        self.touch_access(open.ino)?;
        Ok(found)
    }
}
