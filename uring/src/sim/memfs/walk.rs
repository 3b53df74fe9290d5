//! Path resolution, by the rules of `openat2(2)` and `path_resolution(7)`. The caller is root: nothing is forbidden.

use super::inode::{Body, ROOT};
use super::state::State;
use crate::sys::{Errno, RawFd, Resolve, SysResult};

/// Symbolic links followed in one walk before it fails with ELOOP.
const MAX_LINKS: u32 = 40;
/// Longest name.
pub const NAME_MAX: usize = 255;
/// Longest path with its NUL.
pub const PATH_MAX: usize = 4096;

/// The last component of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Last {
    Name(Vec<u8>),
    Dot,
    DotDot,
    /// There is none: the path is `/`.
    Root,
}

/// Where a path leads, up to its last component.
#[derive(Debug)]
pub struct Spot {
    pub dir: u64,
    pub last: Last,
    /// Slashes follow the last component.
    pub slash: bool,
}

/// A walk in progress.
#[derive(Debug)]
pub struct Walk {
    /// What is left to resolve.
    rest: Vec<u8>,
    /// Where it is resolved from.
    at: u64,
    /// Where `..` ends.
    root: u64,
    resolve: Resolve,
    links: u32,
}

impl Walk {
    /// Starts at a directory descriptor, or at the root for `AT_FDCWD` and absolute paths.
    pub fn new(state: &State, dir: RawFd, path: &[u8], resolve: Resolve) -> SysResult<Self> {
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        if path.len() >= PATH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let absolute = path.starts_with(b"/");
        let beneath = resolve.contains(Resolve::BENEATH);
        let at = if dir == libc::AT_FDCWD || (absolute && !beneath) {
            ROOT
        } else {
            let ino = state.open_file(dir)?.ino;
            if !state.meta(ino).is_ok_and(|m| m.kind() == libc::S_IFDIR) {
                return Err(Errno::NOTDIR);
            }
            ino
        };
        Ok(Self { rest: path.to_vec(), at, root: if beneath { at } else { ROOT }, resolve, links: 0 })
    }

    /// Resolves all but the last component.
    pub fn parent(&mut self, state: &mut State) -> SysResult<Spot> {
        loop {
            if self.rest.starts_with(b"/") {
                if self.resolve.contains(Resolve::BENEATH) {
                    return Err(Errno::XDEV);
                }
                self.at = ROOT;
            }
            let rest = self.rest.trim_prefix_slashes();
            let end = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
            let (name, tail) = rest.split_at(end);
            let after = tail.trim_prefix_slashes();
            if name.is_empty() {
                return Ok(Spot { dir: self.at, last: Last::Root, slash: true });
            }
            if after.is_empty() {
                let last = match name {
                    b"." => Last::Dot,
                    b".." => Last::DotDot,
                    _ => Last::Name(name.to_vec()),
                };
                return Ok(Spot { dir: self.at, last, slash: !tail.is_empty() });
            }
            let (name, after) = (name.to_vec(), after.to_vec());
            let next = match name.as_slice() {
                b"." => self.at,
                b".." => self.up(state, self.at)?,
                _ => self.child(state, self.at, &name)?.ok_or(Errno::NOENT)?,
            };
            match &state.inode(next)?.body {
                Body::Symlink(_) => self.follow(state, next, Some(&after))?,
                Body::Dir(_) => {
                    self.at = next;
                    self.rest = after;
                }
                _ => return Err(Errno::NOTDIR),
            }
        }
    }

    /// What the last component of `spot` names; `None` when there is no such name.
    pub fn last(&self, state: &mut State, spot: &Spot) -> SysResult<Option<u64>> {
        match &spot.last {
            Last::Name(name) => self.child(state, spot.dir, name),
            Last::Dot | Last::Root => Ok(Some(spot.dir)),
            Last::DotDot => self.up(state, spot.dir).map(Some),
        }
    }

    /// Resolves everything. A symbolic link at the end is followed when told to or when slashes come after it.
    pub fn resolve(&mut self, state: &mut State, follow: bool) -> SysResult<u64> {
        loop {
            let spot = self.parent(state)?;
            let ino = self.last(state, &spot)?.ok_or(Errno::NOENT)?;
            match &state.inode(ino)?.body {
                Body::Symlink(_) if follow || spot.slash => self.follow_last(state, &spot, ino)?,
                Body::Dir(_) => return Ok(ino),
                _ if spot.slash => return Err(Errno::NOTDIR),
                _ => return Ok(ino),
            }
        }
    }

    /// Goes on behind the symbolic link that `spot` ends in.
    pub fn follow_last(&mut self, state: &mut State, spot: &Spot, link: u64) -> SysResult<()> {
        self.at = spot.dir;
        self.follow(state, link, spot.slash.then_some(b"".as_slice()))
    }

    fn follow(&mut self, state: &mut State, link: u64, after: Option<&[u8]>) -> SysResult<()> {
        self.links += 1;
        if self.resolve.contains(Resolve::NO_SYMLINKS) || self.links > MAX_LINKS {
            return Err(Errno::LOOP);
        }
        state.touch_access(link)?;
        let Body::Symlink(target) = &state.inode(link)?.body else { return Err(Errno::IO) };
        let mut rest = target.clone();
        if let Some(after) = after {
            rest.push(b'/');
            rest.extend_from_slice(after);
        }
        self.rest = rest;
        Ok(())
    }

    fn up(&self, state: &State, dir: u64) -> SysResult<u64> {
        if dir == self.root {
            return if self.resolve.contains(Resolve::BENEATH) { Err(Errno::XDEV) } else { Ok(dir) };
        }
        let parent = state.live.dir(dir)?.parent;
        // The parent of a removed directory may be gone as well.
        if state.live.inodes.contains_key(&parent) { Ok(parent) } else { Err(Errno::NOENT) }
    }

    fn child(&self, state: &mut State, dir: u64, name: &[u8]) -> SysResult<Option<u64>> {
        if name.len() > NAME_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let found = state.live.dir(dir)?.names.get(name).map(|entry| entry.ino);
        if let Some(ino) = found {
            if !self.resolve.contains(Resolve::CACHED) {
                state.cold_names.remove(&ino);
            } else if state.cold_names.contains(&ino) {
                return Err(Errno::AGAIN);
            }
        }
        Ok(found)
    }
}

trait Slashes {
    fn trim_prefix_slashes(&self) -> &[u8];
}

impl Slashes for [u8] {
    fn trim_prefix_slashes(&self) -> &[u8] {
        let start = self.iter().position(|&b| b != b'/').unwrap_or(self.len());
        self.get(start..).unwrap_or_default()
    }
}
