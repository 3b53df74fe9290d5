//! A brick, over the protocol of GlusterFS's clients.

use std::cell::Cell;
use std::ffi::CStr;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use kiln_uring::Errno;
use kiln_xlators::keys;
use kiln_xlators::protocol::rpc::errno;
use kiln_xlators::protocol::rpc::programs::fops::{self, procedure};
use kiln_xlators::protocol::xdr::Wire;
use kiln_xlators::types::dict::Value;
use kiln_xlators::types::{Dict, Gfid, Xdata};

use super::{Content, Done, Found, OpError, OpenHow, Session, Target};
use crate::load::blocks::{self, Stamp, Verdict};
use crate::load::client::{Answer, Connection, Expect, Setup};
use crate::load::distribution::Random;

/// Open flags of the wire.
const READ_WRITE: u32 = 2;
const CREATE_EXCLUSIVE: u32 = 0o300;
const DIRECT: u32 = 0o40000;

/// Bytes of entries that are asked for at once, as FUSE clients do.
const LISTING: u32 = 128 << 10;
/// "Nothing follows", with a listing that went well.
const END: i32 = 2;

/// Makes connections to a brick.
pub struct BrickTarget {
    /// To which.
    pub setup: Setup,
    /// The name under which it accepts us, once it has.
    pub name: Arc<OnceLock<String>>,
}

impl Target for BrickTarget {
    type Session = BrickSession;

    fn connect(&self) -> Result<BrickSession, String> {
        let mut setup = self.setup.clone();
        if let Some(name) = self.name.get() {
            setup.bricks = vec![name.clone()];
        }
        let connection = Connection::open(&setup)?;
        // It is the same for all connections.
        let _ = self.name.set(connection.brick().to_owned());
        let seed = Random::seed_from_system();
        Ok(BrickSession { connection, gfids: Cell::new(Random::new(seed)) })
    }
}

/// One connection.
pub struct BrickSession {
    connection: Rc<Connection>,
    /// Where gfids of new objects come from, which are the client's to choose.
    gfids: Cell<Random>,
}

/// A file that the brick has open for us.
pub struct BrickFile {
    gfid: Gfid,
    fd: i64,
}

impl BrickSession {
    async fn call<'a>(&self, procedure: u32, arguments: &impl Wire<'a>, expect: Expect) -> Done<Answer> {
        went_well(self.connection.call(procedure, arguments, expect).await?)
    }

    /// A dictionary with the gfid of a new object.
    fn new_gfid(&self) -> Xdata {
        let mut random = self.gfids.get();
        let (high, low) = (random.next().to_ne_bytes(), random.next().to_ne_bytes());
        self.gfids.set(random);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&high);
        bytes[8..].copy_from_slice(&low);
        Xdata::new(Dict::from_iter([(keys::GFID_REQ, Value::Gfid(Gfid::from_random(bytes)))]))
    }

    async fn release(&self, file: &BrickFile, procedure: u32) -> Done {
        let BrickFile { gfid, fd } = *file;
        let request = fops::ReleaseReq { gfid, fd, xdata: Xdata::NONE };
        self.call(procedure, &request, Expect::Common).await.map(drop)
    }
}

fn went_well(answer: Answer) -> Done<Answer> {
    if answer.ret < 0 { Err(OpError::Errno(errno::from_wire(answer.errno))) } else { Ok(answer) }
}

fn flags(how: OpenHow) -> u32 {
    if how.direct { READ_WRITE | DIRECT } else { READ_WRITE }
}

impl Session for BrickSession {
    type Node = Gfid;
    type File = BrickFile;
    type Listing = BrickFile;

    fn root(&self) -> Gfid {
        Gfid::ROOT
    }

    async fn lookup(&self, dir: &Gfid, name: &str) -> Done<Found<Gfid>> {
        let request = fops::LookupReq { pargfid: *dir, bname: name.as_bytes(), ..Default::default() };
        let answer = self.call(procedure::LOOKUP, &request, Expect::Changed).await?;
        Ok(Found { node: answer.gfid, size: answer.size })
    }

    async fn stat(&self, node: &Gfid) -> Done {
        let request = fops::StatReq { gfid: *node, xdata: Xdata::NONE };
        self.call(procedure::STAT, &request, Expect::Attributes).await.map(drop)
    }

    async fn make_dir(&self, dir: &Gfid, name: &str) -> Done<Gfid> {
        let (bname, xdata) = (name.as_bytes(), self.new_gfid());
        let request = fops::MkdirReq { pargfid: *dir, mode: 0o755, umask: 0o022, bname, xdata };
        Ok(self.call(procedure::MKDIR, &request, Expect::Made).await?.gfid)
    }

    async fn remove_dir(&self, dir: &Gfid, name: &str) -> Done {
        let request = fops::RmdirReq { pargfid: *dir, bname: name.as_bytes(), ..Default::default() };
        self.call(procedure::RMDIR, &request, Expect::Changed).await.map(drop)
    }

    async fn create(&self, dir: &Gfid, name: &str, how: OpenHow) -> Done<BrickFile> {
        let request = fops::CreateReq {
            pargfid: *dir,
            flags: flags(how) | CREATE_EXCLUSIVE,
            mode: 0o644,
            umask: 0o022,
            bname: name.as_bytes(),
            xdata: self.new_gfid(),
        };
        let answer = self.call(procedure::CREATE, &request, Expect::Created).await?;
        Ok(BrickFile { gfid: answer.gfid, fd: answer.fd })
    }

    async fn open(&self, node: &Gfid, how: OpenHow) -> Done<BrickFile> {
        let request = fops::OpenReq { gfid: *node, flags: flags(how), xdata: Xdata::NONE };
        let answer = self.call(procedure::OPEN, &request, Expect::Opened).await?;
        Ok(BrickFile { gfid: *node, fd: answer.fd })
    }

    async fn close(&self, file: BrickFile) -> Done {
        let BrickFile { gfid, fd } = file;
        let request = fops::FlushReq { gfid, fd, xdata: Xdata::NONE };
        self.call(procedure::FLUSH, &request, Expect::Common).await?;
        self.release(&file, procedure::RELEASE).await
    }

    async fn read(
        &self,
        file: &BrickFile,
        offset: u64,
        len: usize,
        check: Option<Stamp>,
    ) -> Done<(usize, Verdict)> {
        let BrickFile { gfid, fd } = *file;
        let request = fops::ReadReq { gfid, fd, offset, size: len as u32, flag: 0, xdata: Xdata::NONE };
        let answer = self.call(procedure::READ, &request, Expect::Data(check)).await?;
        Ok((answer.ret.unsigned_abs() as usize, answer.verdict))
    }

    async fn write(&self, file: &BrickFile, offset: u64, len: usize, content: Content<'_>) -> Done {
        let BrickFile { gfid, fd } = *file;
        let request = fops::WriteReq { gfid, fd, offset, size: len as u32, flag: 0, xdata: Xdata::NONE };
        let answer = self
            .connection
            .call_with(procedure::WRITE, &request, Expect::Changed, len, |room| {
                if let Some(stamp) = content {
                    blocks::fill(room, stamp);
                }
            })
            .await?;
        if went_well(answer)?.ret.unsigned_abs() as usize == len {
            Ok(())
        } else {
            Err(OpError::Errno(Errno::IO))
        }
    }

    async fn sync(&self, file: &BrickFile) -> Done {
        let BrickFile { gfid, fd } = *file;
        let request = fops::FsyncReq { gfid, fd, data: 1, xdata: Xdata::NONE };
        self.call(procedure::FSYNC, &request, Expect::Changed).await.map(drop)
    }

    async fn unlink(&self, dir: &Gfid, name: &str) -> Done {
        let request = fops::UnlinkReq { pargfid: *dir, bname: name.as_bytes(), ..Default::default() };
        self.call(procedure::UNLINK, &request, Expect::Changed).await.map(drop)
    }

    async fn rename(&self, dir: &Gfid, old: &str, new: &str) -> Done {
        let request = fops::RenameReq {
            oldgfid: *dir,
            newgfid: *dir,
            oldbname: old.as_bytes(),
            newbname: new.as_bytes(),
            xdata: Xdata::NONE,
        };
        self.call(procedure::RENAME, &request, Expect::Renamed).await.map(drop)
    }

    async fn open_dir(&self, dir: &Gfid) -> Done<BrickFile> {
        let request = fops::OpendirReq { gfid: *dir, xdata: Xdata::NONE };
        let answer = self.call(procedure::OPENDIR, &request, Expect::Opened).await?;
        Ok(BrickFile { gfid: *dir, fd: answer.fd })
    }

    async fn list(&self, listing: &BrickFile) -> Done<u64> {
        let BrickFile { gfid, fd } = *listing;
        let (mut names, mut offset) = (0, 0);
        loop {
            let request = fops::ReaddirpReq { gfid, fd, offset, size: LISTING, xdata: Xdata::NONE };
            let answer = self.call(procedure::READDIRP, &request, Expect::Entries).await?;
            names += answer.size;
            if answer.ret == 0 || answer.errno == END {
                return Ok(names);
            }
            offset = answer.next;
        }
    }

    async fn close_dir(&self, listing: BrickFile) -> Done {
        self.release(&listing, procedure::RELEASEDIR).await
    }

    async fn set_xattr(&self, node: &Gfid, name: &'static CStr, value: &[u8]) -> Done {
        let dict = Xdata::new(Dict::from_iter([(name, Value::Bin(value.into()))]));
        let request = fops::SetxattrReq { gfid: *node, flags: 0, dict, xdata: Xdata::NONE };
        self.call(procedure::SETXATTR, &request, Expect::Common).await.map(drop)
    }

    async fn get_xattr(&self, node: &Gfid, name: &'static CStr) -> Done {
        let name = name.to_bytes();
        let request = fops::GetxattrReq { gfid: *node, namelen: name.len() as u32, name, xdata: Xdata::NONE };
        self.call(procedure::GETXATTR, &request, Expect::Xattrs).await.map(drop)
    }

    fn end(&self) {
        self.connection.close();
    }
}
