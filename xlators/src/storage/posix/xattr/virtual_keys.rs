//! Extended attributes that no file system stores: the brick makes their values up when they are asked for by name.
//!
//! Source: GlusterFS v10.3, `posix_getxattr` in `posix-inode-fd-ops.c`. The types of the values are stock's. Where stock looks into
//! its inode table for a path, Kiln goes by the handles.

use std::ffi::CStr;
use std::sync::Arc;

use kiln_uring::sys::{Stat, XattrTarget};
use kiln_uring::{Class, Errno, SysResult};

use super::acl_text::Acl;
use super::subject::Subject;
use super::{paths, raw};
use crate::keys;
use crate::storage::posix::Brick;
use crate::storage::posix::brick::DOT_GLUSTERFS;
use crate::storage::posix::handle::HandlePath;
use crate::storage::posix::readdir::reopen;
use crate::types::{IaType, Value};

/// Bytes of directory records per system call.
const SCAN_BUDGET: usize = 64 * 1024;

type Answer = fn(&Arc<Brick>, &Subject, &CStr) -> SysResult<Value>;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct VirtualKey {
    name: &'static CStr,
    /// Whether it is the name's start only.
    prefix: bool,
    /// What it takes.
    pub class: Class,
    /// The value for an object; the whole name is passed.
    pub answer: Answer,
}

const fn exactly(name: &'static CStr, class: Class, answer: Answer) -> VirtualKey {
    VirtualKey { name, prefix: false, class, answer }
}

const fn starting(name: &'static CStr, class: Class, answer: Answer) -> VirtualKey {
    VirtualKey { name, prefix: true, class, answer }
}

const TABLE: &[VirtualKey] = &[
    exactly(keys::PATHINFO, Class::Background, pathinfo),
    exactly(keys::PATHINFO_USER, Class::Background, pathinfo),
    exactly(keys::NODE_UUID, Class::FdMetadata, node_uuid),
    exactly(keys::LIST_NODE_UUIDS, Class::FdMetadata, node_uuid),
    exactly(keys::GFID_TO_PATH, Class::Background, path),
    exactly(keys::GFID_TO_ALL_PATHS, Class::Background, all_paths),
    exactly(keys::ANCESTRY_PATH, Class::Background, ancestry),
    starting(keys::REAL_FILENAME_PREFIX, Class::Scan, real_filename),
    exactly(keys::OPEN_FD_COUNT, Class::FdMetadata, is_open),
    exactly(keys::ACL_TEXT, Class::MetadataRead, acl),
    exactly(keys::ACL_TEXT_DEFAULT, Class::MetadataRead, default_acl),
    // features/index answers them when it is in the graph.
    starting(keys::XATTROP_INDEX_PREFIX, Class::FdMetadata, absent),
];

/// The virtual key of that name.
#[must_use]
pub fn find(name: &CStr) -> Option<&'static VirtualKey> {
    let bytes = name.to_bytes();
    TABLE
        .iter()
        .find(|row| if row.prefix { bytes.starts_with(row.name.to_bytes()) } else { row.name == name })
}

/// Text, where it is; a path may be any bytes.
#[must_use]
pub fn text(bytes: Vec<u8>) -> Value {
    String::from_utf8(bytes).map_or_else(|error| Value::Bin(error.into_bytes()), Value::Str)
}

fn absent(_: &Arc<Brick>, _: &Subject, _: &CStr) -> SysResult<Value> {
    Err(Errno::NODATA)
}

/// `<POSIX(/bricks/b1):host:/bricks/b1/dir/file>`: which brick of which server has it, and where.
fn pathinfo(brick: &Arc<Brick>, of: &Subject, _: &CStr) -> SysResult<Value> {
    let settings = brick.settings();
    let host = match (&settings.glusterd_uuid, &settings.hostname) {
        (Some(uuid), _) if settings.node_uuid_pathinfo => uuid,
        (_, Some(hostname)) => hostname,
        (_, None) => &brick.host,
    };
    let base = brick.path.as_os_str().as_encoded_bytes();
    let mut value = b"<POSIX(".to_vec();
    value.extend_from_slice(base);
    value.extend_from_slice(b"):");
    value.extend_from_slice(host.as_bytes());
    value.push(b':');
    value.extend_from_slice(base);
    match one_path(brick, of) {
        Ok(path) => value.extend_from_slice(&path),
        // Its handle is a path as well.
        Err(_) => {
            value.push(b'/');
            value.extend_from_slice(DOT_GLUSTERFS.to_bytes());
            value.push(b'/');
            value.extend_from_slice(HandlePath::new(of.gfid).as_c_str().to_bytes());
        }
    }
    value.push(b'>');
    Ok(text(value))
}

fn node_uuid(brick: &Arc<Brick>, _: &Subject, _: &CStr) -> SysResult<Value> {
    brick.settings().glusterd_uuid.clone().map(Value::Str).ok_or(Errno::NODATA)
}

fn one_path(brick: &Arc<Brick>, of: &Subject) -> SysResult<Vec<u8>> {
    let is_dir = of.stat(brick)?.is_dir();
    paths::one(brick, of.gfid, of.target(brick), is_dir, of.entry())
}

/// A path, or `<gfid:…>` for what has none.
fn path(brick: &Arc<Brick>, of: &Subject, _: &CStr) -> SysResult<Value> {
    Ok(one_path(brick, of).map_or_else(|_| Value::Str(format!("<gfid:{}>", of.gfid)), text))
}

/// All paths, between separators: text for a directory and bytes for anything else, as in stock.
fn all_paths(brick: &Arc<Brick>, of: &Subject, _: &CStr) -> SysResult<Value> {
    let settings = brick.settings();
    if !settings.gfid2path {
        return Err(Errno::NODATA);
    }
    let is_dir = of.stat(brick)?.is_dir();
    let paths = paths::all(brick, of.gfid, of.target(brick), is_dir).map_err(missing)?;
    let joined = paths.join(settings.gfid2path_separator.as_bytes());
    Ok(if is_dir { text(joined) } else { Value::Bin(joined) })
}

fn ancestry(brick: &Arc<Brick>, of: &Subject, _: &CStr) -> SysResult<Value> {
    one_path(brick, of).map(text).map_err(|_| Errno::NODATA)
}

/// A chain of handles that ends nowhere.
fn missing(errno: Errno) -> Errno {
    match errno {
        Errno::NOENT | Errno::STALE | Errno::LOOP => Errno::NODATA,
        other => other,
    }
}

/// The spelling of a name of the directory that differs from the asked one in the case of ASCII letters at most.
fn real_filename(brick: &Arc<Brick>, of: &Subject, name: &CStr) -> SysResult<Value> {
    let dir = of.directory().ok_or(Errno::NOTDIR)?;
    let wanted = name.to_bytes().strip_prefix(keys::REAL_FILENAME_PREFIX.to_bytes()).unwrap_or_default();
    // With a position of its own: that of the other descriptor belongs to those who list the directory.
    let own = reopen(brick, dir)?;
    let mut offset = 0;
    loop {
        let records = brick.sys.read_dir(own.fd(), offset, SCAN_BUDGET)?;
        let Some(last) = records.last() else { return Err(Errno::NODATA) };
        offset = last.offset;
        let hidden = |name: &CStr| of.gfid.is_root() && name == DOT_GLUSTERFS;
        let found = records
            .into_iter()
            .find(|record| record.name.as_bytes().eq_ignore_ascii_case(wanted) && !hidden(&record.name));
        if let Some(found) = found {
            return Ok(text(found.name.into_bytes()));
        }
    }
}

fn is_open(brick: &Arc<Brick>, of: &Subject, _: &CStr) -> SysResult<Value> {
    Ok(Value::Uint(u64::from(brick.opens.get(of.gfid).total > 0)))
}

fn acl(brick: &Arc<Brick>, of: &Subject, _: &CStr) -> SysResult<Value> {
    let stat = of.stat(brick)?;
    acl_text(brick, of.target(brick), &stat, keys::ACL_ACCESS).map(Value::Str)
}

fn default_acl(brick: &Arc<Brick>, of: &Subject, _: &CStr) -> SysResult<Value> {
    let stat = of.stat(brick)?;
    acl_text(brick, of.target(brick), &stat, keys::ACL_DEFAULT).map(Value::Str)
}

/// The text of an object's ACL: without an access list what the mode says, without a default list nothing.
///
/// # Errors
/// `EOPNOTSUPP` for a symbolic link, `EACCES` for the default list of what is no directory (as libacl has it), `EIO` for
/// a list that is damaged, and those of `getxattr(2)`.
pub fn acl_text(brick: &Brick, target: XattrTarget<'_>, stat: &Stat, key: &CStr) -> SysResult<String> {
    let kind = IaType::from_mode(stat.mode);
    if kind == IaType::Symlink {
        return Err(Errno::OPNOTSUPP);
    }
    let is_default = key == keys::ACL_DEFAULT;
    if is_default && kind != IaType::Directory {
        return Err(Errno::ACCESS);
    }
    let acl = match raw::value(&*brick.sys, target, key) {
        Ok(value) => Acl::from_binary(&value).map_err(|_| Errno::IO)?,
        Err(Errno::NODATA) if is_default => Acl::default(),
        Err(Errno::NODATA) => Acl::from_mode(stat.mode),
        Err(errno) => return Err(errno),
    };
    Ok(acl.to_text())
}
