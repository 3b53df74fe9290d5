//! `testing/names`: a [`Tree`] as a leaf that takes its time, and does what it was told even when nobody waits any more.

use std::ffi::{CStr, CString};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kiln_uring::sys::{OpenFlags, RenameFlags};
use kiln_uring::{Class, Core, Errno, Warmth};

use super::tree::{Exclusive, Tree};
use crate::error::{FopError, FopResult};
use crate::fop::{Fop, reply};
use crate::graph::Next;
use crate::intercept;
use crate::translator::{Children, InstanceContext, Translator, TranslatorType};
use crate::types::{Gfid, IaType, Iatt, Loc, Name, Xdata};

/// Virtual attribute of a directory: makes an entry in it. Where the name is in the value, after ids, a gfid in text and the
/// mode, `features/gfid-access` tells.
pub const NEWFILE: &CStr = c"glusterfs.gfid.newfile";
/// Bytes before the name.
pub const NEWFILE_HEAD: usize = 4 + 4 + 37 + 4;

/// `testing/names`.
pub static TYPE: TranslatorType = TranslatorType {
    name: "testing/names",
    about: "Names in memory, with delays",
    children: Children::None,
    options: &[],
    prepare: |_| Ok(Arc::new(Tree::default())),
    instance: |mut context: InstanceContext<'_>| {
        let tree = context.shared::<Tree>()?;
        Ok(Rc::new(Names { next: context.below(), core: context.core.clone(), tree }))
    },
    renew: TranslatorType::nothing_to_renew,
    merge_stats: TranslatorType::no_stats,
};

struct Names {
    next: Next,
    core: Core,
    tree: Arc<Tree>,
}

impl Names {
    fn chance(&self, one_in: u64) -> bool {
        self.core.random_u64().is_multiple_of(one_in)
    }

    async fn pause(&self) {
        match self.core.random_u64() % 4 {
            0 => {}
            1 => self.core.yield_now().await,
            _ => {
                let nanos = self.core.random_u64() % 30_000;
                self.core.sleep(Duration::from_nanos(nanos)).await;
            }
        }
    }

    /// What a fop does, on the core or on a helper thread, where it is done even if the client is gone, and after which an
    /// error may still come.
    async fn act<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Tree) -> Result<T, Errno> + Send + 'static,
    ) -> FopResult<T> {
        self.pause().await;
        if self.chance(32) {
            return Err(Errno::IO.into());
        }
        let warmth = if self.chance(2) { Warmth::Cold } else { Warmth::Warm };
        let tree = Arc::clone(&self.tree);
        let answer = self.core.run(Class::MetadataRead, warmth, move |_| act(&tree)).await;
        self.pause().await;
        match answer {
            Ok(_) if self.chance(32) => Err(Errno::IO.into()),
            answer => answer.map_err(FopError::new),
        }
    }

    async fn make(&self, loc: Loc, kind: IaType, exclusive: Exclusive) -> FopResult<reply::Made> {
        let name = loc.name.ok_or(Errno::INVAL)?;
        let iatt = self.act(move |tree| tree.make(loc.parent, &name, kind, exclusive)).await?;
        Ok(reply::Made { iatt, ..reply::Made::default() })
    }

    async fn list(&self, directory: Gfid) -> FopResult<reply::Entries> {
        let names = self.act(move |tree| tree.list(directory)).await?;
        let entry = |(number, (name, iatt)): (usize, (Name, Iatt))| reply::Entry {
            name: CString::from(name.as_c_str()),
            ino: iatt.ino(),
            offset: number as u64 + 1,
            kind: iatt.kind.to_dirent(),
            iatt,
            xdata: Xdata::NONE,
        };
        let entries = names.into_iter().enumerate().map(entry).collect();
        Ok(reply::Entries { entries, eof: true, xdata: Xdata::NONE })
    }
}

intercept! {
    impl Fops for Names {
        async fn lookup(&self, call, req) {
            if call.fop() == Fop::Lookup {
                self.tree.count_lookup();
            }
            let Loc { gfid, parent, name } = req.loc;
            let iatt = self
                .act(move |tree| match name {
                    Some(name) => tree.look(parent, &name),
                    None => tree.stat(gfid),
                })
                .await?;
            Ok(reply::Lookup { iatt, ..reply::Lookup::default() })
        }
        async fn create(&self, _call, req) {
            let exclusive = OpenFlags::from_bits_retain(req.flags).contains(OpenFlags::EXCL);
            let exclusive = if exclusive { Exclusive::Yes } else { Exclusive::No };
            let made = self.make(req.loc, IaType::Regular, exclusive).await?;
            req.fd.bind(made.iatt.gfid);
            Ok(made)
        }
        async fn mknod(&self, _call, req) { self.make(req.loc, IaType::from_mode(req.mode), Exclusive::Yes).await }
        async fn mkdir(&self, _call, req) { self.make(req.loc, IaType::Directory, Exclusive::Yes).await }
        async fn symlink(&self, _call, req) { self.make(req.loc, IaType::Symlink, Exclusive::Yes).await }
        async fn put(&self, _call, req) { self.make(req.loc, IaType::Regular, Exclusive::No).await }
        async fn icreate(&self, _call, req) {
            let iatt = self.act(move |tree| Ok(tree.make_nameless(IaType::from_mode(req.mode)))).await?;
            Ok(reply::Attr { iatt, xdata: Xdata::NONE })
        }
        async fn namelink(&self, _call, req) {
            let name = req.loc.name.ok_or(Errno::INVAL)?;
            self.act(move |tree| tree.link(req.loc.gfid, req.loc.parent, &name)).await?;
            Ok(reply::Removed::default())
        }
        async fn link(&self, _call, req) {
            let name = req.new.name.ok_or(Errno::INVAL)?;
            let iatt = self.act(move |tree| tree.link(req.old.gfid, req.new.parent, &name)).await?;
            Ok(reply::Made { iatt, ..reply::Made::default() })
        }
        async fn rename(&self, _call, req) {
            let (old, new) = (req.old.name.ok_or(Errno::INVAL)?, req.new.name.ok_or(Errno::INVAL)?);
            let (from, to) = (req.old.parent, req.new.parent);
            let flags = RenameFlags::from_bits_retain(req.flags);
            let iatt = self.act(move |tree| tree.rename((from, &old), (to, &new), flags)).await?;
            Ok(reply::Renamed { iatt, ..reply::Renamed::default() })
        }
        async fn unlink(&self, _call, req) {
            let name = req.loc.name.ok_or(Errno::INVAL)?;
            self.act(move |tree| tree.unlink(req.loc.parent, &name)).await?;
            Ok(reply::Removed::default())
        }
        async fn rmdir(&self, _call, req) {
            let name = req.loc.name.ok_or(Errno::INVAL)?;
            self.act(move |tree| tree.rmdir(req.loc.parent, &name)).await?;
            Ok(reply::Removed::default())
        }
        async fn setxattr(&self, _call, req) {
            let value = req.dict.get(NEWFILE).and_then(|value| value.as_bytes()).ok_or(Errno::NOTSUP)?;
            let rest = value.get(NEWFILE_HEAD..).ok_or(Errno::INVAL)?;
            let name = CStr::from_bytes_until_nul(rest).map_err(|_| Errno::INVAL)?;
            let name = Name::new(name.to_bytes())?;
            let parent = req.loc.gfid;
            self.act(move |tree| tree.make(parent, &name, IaType::Regular, Exclusive::Yes)).await?;
            Ok(reply::Done::default())
        }
        async fn readdir(&self, _call, req) { self.list(req.fd.gfid()).await }
        async fn readdirp(&self, _call, req) { self.list(req.fd.gfid()).await }
    }
}

impl Translator for Names {}
