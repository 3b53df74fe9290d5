//! getxattr, fgetxattr: one extended attribute, or all of them with their values.

use std::ffi::CStr;
use std::sync::Arc;

use kiln_uring::{Class, Errno, SysResult};

use super::subject::{Given, Subject};
use super::{names, raw, virtual_keys};
use crate::call::Call;
use crate::error::FopResult;
use crate::fop::{reply, request};
use crate::storage::posix::{Brick, Posix};
use crate::types::{Dict, Key, Value, Xdata};

impl Posix {
    pub(in crate::storage::posix) async fn serve_getxattr(
        &self,
        call: &Call,
        req: request::Getxattr,
    ) -> FopResult<reply::Xattrs> {
        self.get_xattr(call, Given::Loc(req.loc), req.name, req.xdata).await
    }

    pub(in crate::storage::posix) async fn serve_fgetxattr(
        &self,
        call: &Call,
        req: request::Fgetxattr,
    ) -> FopResult<reply::Xattrs> {
        self.get_xattr(call, Given::Fd(req.fd), req.name, req.xdata).await
    }

    async fn get_xattr(
        &self,
        call: &Call,
        given: Given,
        name: Option<Key>,
        xdata: Xdata,
    ) -> FopResult<reply::Xattrs> {
        let pid = call.caller().pid;
        // An empty name asks for all, like none.
        let name = name.filter(|name| !name.is_empty());
        if name.as_ref().is_some_and(|name| !names::may_get(name, pid)) {
            return Err(Errno::NODATA.into());
        }
        let virtual_key = name.as_ref().and_then(|name| virtual_keys::find(name));
        let class = virtual_key.map_or(Class::MetadataRead, |key| key.class);
        let job = move |brick: &Arc<Brick>, of: &Subject| {
            let dict = match (name, virtual_key) {
                (None, _) => all(brick, of, pid)?,
                (Some(name), Some(key)) => {
                    let value = (key.answer)(brick, of, &name)?;
                    Dict::from_iter([(name, value)])
                }
                (Some(name), None) => one(brick, of, name)?,
            };
            Ok(reply::Xattrs { dict, xdata: of.answer(brick, &xdata)? })
        };
        self.on_subject(class, given, job).await
    }
}

fn one(brick: &Brick, of: &Subject, name: Key) -> SysResult<Dict> {
    let value = raw::value(&*brick.sys, of.target(brick), &name)?;
    if names::is_withheld(&name) {
        return Ok(Dict::new());
    }
    Ok(Dict::from_iter([(name, Value::Bin(value))]))
}

fn all(brick: &Brick, of: &Subject, pid: i32) -> SysResult<Dict> {
    let target = of.target(brick);
    let list = raw::list(&*brick.sys, target)?;
    let mut dict = Dict::new();
    let listed = |name: &&CStr| names::is_listed(name, pid);
    for name in raw::split(&list).filter(listed) {
        match raw::value(&*brick.sys, target, name) {
            Ok(value) => dict.set(name.to_owned(), Value::Bin(value)),
            // Removed meanwhile, or listed by a file system that does not give it out.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(dict)
}
