//! Answers to what a request's xdata asks about an object.
//!
//! A key that is no question of its own is an `fnmatch(3)` pattern over the names of the extended attributes that the object has.
//! Nothing is ever an error: what cannot be answered is left out. Source: GlusterFS v10.3, `posix_xattr_fill` in
//! `posix-helpers.c`.

use std::ffi::CStr;
use std::sync::Arc;

use kiln_uring::sys::{How, OpenFlags, RawFd, ReadFlags, XattrTarget};
use kiln_uring::{Errno, File, Sys, SysResult, Warmth};

use super::fnmatch::{fnmatch, is_pattern};
use super::{names, paths, raw, virtual_keys};
use crate::keys;
use crate::storage::posix::{Attrs, Brick};
use crate::types::{Dict, Gfid, Name, Value, Xdata};

/// Longest content that is told: what stock's quick-read asks for at most.
const CONTENT_MAX: u64 = 1 << 20;

/// The namespaces of extended attributes; a key in none of them cannot be the name of one.
const NAMESPACES: [&[u8]; 4] = [b"trusted.", b"user.", b"system.", b"security."];

/// The object that the questions are about.
#[derive(Clone, Copy, Debug)]
pub struct Filled<'a> {
    /// Who it is.
    pub gfid: Gfid,
    /// Its attributes.
    pub attrs: &'a Attrs,
    /// Where its extended attributes are.
    pub target: XattrTarget<'a>,
    /// Warm: the job may run on a core, which must not wait for a disk, so only contents in the page cache are told.
    pub warmth: Warmth,
    /// Its parent and name, where the fop knows them.
    pub parent: Option<(Gfid, &'a Name)>,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// Not for the brick: another layer answers, or it is no question.
    NotOurs,
    /// All of a small file.
    Content,
    OpenFds,
    ActiveFds,
    AncestryPath,
    /// The request's value comes back.
    Echo,
    Size,
    AclText(&'static CStr),
    /// Every extended attribute.
    ListXattr,
    /// One extended attribute.
    Name,
    /// Those whose names match.
    Pattern,
}

const QUESTIONS: &[(&CStr, Question)] = &[
    (keys::GFID_REQ, Question::NotOurs),
    (keys::INTERNAL_FOP, Question::NotOurs),
    (keys::ENTRYLK_COUNT, Question::NotOurs),
    (keys::INODELK_COUNT, Question::NotOurs),
    (keys::INODELK_DOM_COUNT, Question::NotOurs),
    (keys::POSIXLK_COUNT, Question::NotOurs),
    (keys::PARENT_ENTRYLK, Question::NotOurs),
    (keys::GFIDLESS_LOOKUP, Question::NotOurs),
    (keys::CONTENT, Question::Content),
    (keys::OPEN_FD_COUNT, Question::OpenFds),
    (keys::OPEN_ACTIVE_FD_COUNT, Question::ActiveFds),
    (keys::ANCESTRY_PATH, Question::AncestryPath),
    (keys::REQUEST_LINK_COUNT, Question::Echo),
    (keys::GET_SIZE, Question::Size),
    (keys::ACL_TEXT, Question::AclText(keys::ACL_ACCESS)),
    (keys::ACL_TEXT_DEFAULT, Question::AclText(keys::ACL_DEFAULT)),
    (keys::LIST_XATTR, Question::ListXattr),
];

impl Question {
    fn of(key: &CStr) -> Self {
        let bytes = key.to_bytes();
        // Most keys are names of extended attributes, and none of those is in the table.
        if NAMESPACES.iter().any(|namespace| bytes.starts_with(namespace)) {
            return if is_pattern(bytes) { Self::Pattern } else { Self::Name };
        }
        match QUESTIONS.iter().find(|(known, _)| *known == key) {
            Some((_, question)) => *question,
            None if is_pattern(bytes) => Self::Pattern,
            None => Self::NotOurs,
        }
    }
}

/// The dictionary of the reply: none when the request had none.
#[must_use]
pub fn answer(brick: &Arc<Brick>, of: &Filled<'_>, request: &Xdata) -> Xdata {
    match request.dict() {
        None => Xdata::NONE,
        Some(request) => Xdata::new(fill(brick, of, request)),
    }
}

fn fill(brick: &Arc<Brick>, of: &Filled<'_>, request: &Dict) -> Dict {
    let (mut single, mut several) = (false, false);
    for (key, _) in request.iter() {
        match Question::of(key) {
            Question::Name => several |= std::mem::replace(&mut single, true),
            Question::Pattern | Question::ListXattr => several = true,
            _ => {}
        }
    }
    // One name is asked for directly. For more of them the list comes first, as most of them do not exist.
    let list = if several { raw::list(&*brick.sys, of.target).unwrap_or_default() } else { Vec::new() };
    let mut reply = Dict::new();
    let mut all = false;
    for (key, value) in request.iter() {
        let answer = match Question::of(key) {
            Question::NotOurs => None,
            Question::Content => value.as_u64().and_then(|most| content(brick, of, most)),
            Question::OpenFds => Some(Value::Uint(brick.opens.get(of.gfid).total.into())),
            Question::ActiveFds => Some(Value::Uint(brick.opens.get(of.gfid).active.into())),
            Question::AncestryPath => ancestry(brick, of),
            Question::Echo => Some(value.clone()),
            Question::Size => of.attrs.stat.is_file().then_some(Value::Uint(of.attrs.stat.size)),
            Question::AclText(stored) => {
                virtual_keys::acl_text(brick, of.target, &of.attrs.stat, stored).ok().map(Value::Str)
            }
            Question::ListXattr => {
                all = true;
                None
            }
            Question::Name if several && !raw::split(&list).any(|name| name == key) => None,
            Question::Name => stored(brick, of, key),
            Question::Pattern => {
                let matches = |name: &&CStr| fnmatch(key.to_bytes(), name.to_bytes());
                add(brick, of, raw::split(&list).filter(matches), &mut reply);
                None
            }
        };
        if let Some(answer) = answer {
            reply.set(key.to_owned(), answer);
        }
    }
    if all {
        add(brick, of, raw::split(&list).filter(|name| names::is_copied(name)), &mut reply);
    }
    reply
}

fn stored(brick: &Brick, of: &Filled<'_>, name: &CStr) -> Option<Value> {
    raw::value(&*brick.sys, of.target, name).ok().map(Value::Bin)
}

fn add<'a>(brick: &Brick, of: &Filled<'_>, names: impl Iterator<Item = &'a CStr>, reply: &mut Dict) {
    for name in names {
        if !reply.contains(name)
            && let Some(value) = stored(brick, of, name)
        {
            reply.set(name.to_owned(), value);
        }
    }
}

fn ancestry(brick: &Brick, of: &Filled<'_>) -> Option<Value> {
    let path = paths::one(brick, of.gfid, of.target, of.attrs.stat.is_dir(), of.parent).ok()?;
    Some(virtual_keys::text(path))
}

/// The whole file, when it is a regular one of at most `most` bytes and does not change meanwhile. On a core it must be in the
/// page cache too: the answer is a favour to the client, for which no core waits for a disk.
fn content(brick: &Brick, of: &Filled<'_>, most: u64) -> Option<Value> {
    let stat = &of.attrs.stat;
    if !stat.is_file() || stat.size > most.min(CONTENT_MAX) {
        return None;
    }
    let size = usize::try_from(stat.size).ok()?;
    if size == 0 {
        return Some(Value::Bin(Vec::new()));
    }
    let bytes = match of.target {
        XattrTarget::Fd(fd) => read(&*brick.sys, fd, size, of.warmth),
        XattrTarget::At(dir, path) => {
            let how = How::new(OpenFlags::NOFOLLOW | OpenFlags::NONBLOCK);
            let fd = brick.sys.openat2(dir, path, how).ok()?;
            let file = File::new(Arc::clone(&brick.sys), fd);
            read(&*brick.sys, file.fd(), size, of.warmth)
        }
    };
    bytes.ok().flatten().map(Value::Bin)
}

/// Exactly `size` bytes, when the file has exactly that many.
fn read(sys: &dyn Sys, fd: RawFd, size: usize, warmth: Warmth) -> SysResult<Option<Vec<u8>>> {
    // One byte more tells a file that has grown.
    let mut bytes = vec![0; size + 1];
    let mut filled = 0;
    let mut flags = if warmth == Warmth::Warm { ReadFlags::NOWAIT } else { ReadFlags::empty() };
    while filled <= size {
        match sys.pread(fd, &mut bytes[filled..], filled as u64, flags) {
            Ok(0) => break,
            Ok(len) => filled += len,
            // File systems in memory, which never wait.
            Err(Errno::OPNOTSUPP) if !flags.is_empty() => flags = ReadFlags::empty(),
            Err(errno) => return Err(errno),
        }
    }
    bytes.truncate(size);
    Ok((filled == size).then_some(bytes))
}
