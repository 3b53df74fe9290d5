//! Everything but fops: the programs there are, the ping, SETVOLUME, volfiles, ports.

use std::net::IpAddr;
use std::rc::Rc;

use kiln_uring::Errno;
use kiln_uring::net::Address;

use super::auth::{self, Visitor};
use super::connection::{Bound, Connection};
use super::door::Brick;
use super::presence;
use super::volfile;
use crate::call::CallSpec;
use crate::fop::{Fop, request};
use crate::protocol::rpc::message::Accept;
use crate::protocol::rpc::programs::{PlainRsp, dump, fops, handshake, portmap};
use crate::protocol::xdr::{LegacyDict, Reader, Wire, XdrError};
use crate::types::{Gfid, Loc, Name, Xdata};

/// A reply, or how the call was refused.
type Answered = Result<(), Accept>;

impl From<XdrError> for Accept {
    fn from(_: XdrError) -> Self {
        Self::GarbageArguments
    }
}

/// GF-DUMP.
pub(super) fn serve_dump(to: &Rc<Connection>, xid: u32, procedure: u32, arguments: &[u8]) -> Answered {
    match procedure {
        dump::DUMP => {
            let _ = dump::DumpReq::get(&mut Reader::new(arguments))?;
            let program = |name: &'static str, number: u32, version: u32| dump::Program {
                name: name.as_bytes(),
                number: number.into(),
                version: version.into(),
            };
            let mut programs = vec![
                program("GlusterFS 4.x v1", fops::PROGRAM, fops::VERSION),
                program("GF-DUMP", dump::PROGRAM, dump::VERSION),
                program("GlusterFS Handshake", handshake::PROGRAM, handshake::VERSION),
            ];
            // A client that sees this asks for the port of its brick, and goes there instead of mounting from here.
            if to.door.shared.serving().is_some_and(|serving| volfile::is_management(serving, &to.local)) {
                programs.push(program("Gluster Portmap", portmap::PROGRAM, portmap::VERSION));
            }
            to.outbox.reply(xid, &dump::DumpRsp { programs, ..dump::DumpRsp::default() }, None);
        }
        dump::PING => to.outbox.reply(xid, &PlainRsp::default(), None),
        _ => return Err(Accept::ProcedureUnavailable),
    }
    Ok(())
}

/// GlusterFS Handshake.
pub(super) async fn serve_handshake(
    to: &Rc<Connection>,
    xid: u32,
    procedure: u32,
    arguments: &[u8],
) -> Answered {
    let from = &mut Reader::new(arguments);
    match procedure {
        0 | handshake::PING => to.outbox.reply(xid, &PlainRsp::default(), None),
        handshake::SETVOLUME => set_volume(to, xid, handshake::SetvolumeReq::get(from)?.dict).await,
        handshake::GETSPEC => get_spec(to, xid, handshake::GetspecReq::get(from)?.key),
        handshake::SET_LK_VER => {
            let lk_ver = handshake::SetLkVerReq::get(from)?.lk_ver;
            to.outbox.reply(xid, &handshake::SetLkVerRsp { lk_ver, ..Default::default() }, None);
        }
        handshake::GET_VOLUME_INFO => volume_info(to, xid, handshake::VolumeInfoReq::get(from)?.dict),
        _ => return Err(Accept::ProcedureUnavailable),
    }
    Ok(())
}

/// Gluster Portmap.
pub(super) fn serve_portmap(to: &Rc<Connection>, xid: u32, procedure: u32, arguments: &[u8]) -> Answered {
    if procedure != portmap::PORT_BY_BRICK {
        return Err(Accept::ProcedureUnavailable);
    }
    let wanted = portmap::PortByBrickReq::get(&mut Reader::new(arguments))?.brick;
    let wanted = wanted.strip_suffix(b"\0").unwrap_or(wanted);
    let known = to.door.bricks.iter().any(|brick| brick.name.as_bytes() == wanted);
    let port = to.door.shared.serving().and_then(|serving| volfile::brick_port(serving, &to.local));
    let answer = match port {
        Some(port) if known => portmap::PortByBrickRsp { status: 1, port: port.into(), ..Default::default() },
        _ => portmap::PortByBrickRsp { op_ret: -1, ..Default::default() },
    };
    to.outbox.reply(xid, &answer, None);
    Ok(())
}

/// A refusal of SETVOLUME: the errno, and the sentence that the client prints.
type Refused = (Errno, String);

async fn set_volume(to: &Rc<Connection>, xid: u32, dict: &[u8]) {
    let mut answer = LegacyDict::new();
    let result = match LegacyDict::parse(dict) {
        Ok(request) => bind(to, &request).await,
        Err(_) => Err((Errno::INVAL, "the request does not decode".to_owned())),
    };
    let (op_ret, op_errno) = match result {
        Ok(()) => {
            answer.set_text("ERROR", "Success");
            answer.set_text("process-uuid", &to.door.shared.uuid);
            answer.set_text("child_up", "1");
            answer.set_text("clnt-lk-version", "0");
            answer.set_text("transport-ptr", &to.client.to_string());
            if let Some(id) = to.bound.get().and_then(|bound| bound.brick.volume_id.as_ref()) {
                answer.set_text("volume-id", id);
            }
            (0, 0)
        }
        Err((errno, text)) => {
            to.door.tally.refused_handshake();
            tracing::warn!(client = %to.peer, "a handshake is refused: {text}");
            answer.set_text("ERROR", &text);
            (-1, errno.raw_os_error())
        }
    };
    let dict = answer.to_bytes();
    to.outbox.reply(xid, &handshake::SetvolumeRsp { op_ret, op_errno, dict: &dict }, None);
}

/// Binds the connection to the brick that is asked for, if its client may use it.
async fn bind(to: &Rc<Connection>, request: &LegacyDict) -> Result<(), Refused> {
    let missing = |key: &str| (Errno::INVAL, format!("No {key} in the request"));
    let process = request.text("process-uuid").ok_or_else(|| missing("process-uuid"))?;
    let name = request.text("remote-subvolume").ok_or_else(|| missing("remote-subvolume"))?;
    // Only this program's numbers mean the same to both; clients of 11.x are not asked for it, and may leave it out.
    if let Some(version) = request.text("fops-version")
        && version != fops::PROGRAM.to_string()
    {
        let text = format!("version mismatch: client({version}), server({})", fops::PROGRAM);
        return Err((Errno::INVAL, text));
    }
    let brick = to.door.brick(name).ok_or_else(|| (Errno::NOENT, "Brick not found".to_owned()))?;
    let settings = to.door.shared.settings();
    let certified = to.identity.as_ref().map(|identity| identity.name.as_str());
    if certified.is_none() && settings.tls.is_some() && matches!(to.local, Address::Ip(_)) {
        let text = "connections to the brick have to be encrypted, and this one is not".to_owned();
        return Err((Errno::ACCESS, text));
    }
    let directory = request.text("subdir-mount").unwrap_or("/");
    let visitor = Visitor { peer: &to.peer, brick: name, directory, certified, request };
    let hosts = addresses(to, auth::hosts(&settings.options, &visitor)).await?;
    if !auth::admits(&settings.options, &visitor, &hosts) {
        return Err((Errno::ACCESS, "Authentication failed".to_owned()));
    }
    if let (Some(wanted), Some(mine)) = (request.text("volume-id"), &brick.volume_id)
        && !wanted.eq_ignore_ascii_case(mine)
    {
        return Err((Errno::INVAL, format!("Volume-ID mismatch: the brick belongs to {mine}")));
    }
    let root = find(to, brick, directory).await.map_err(|errno| {
        let text = format!("subdirectory for mount \"{}\" is not found", printable(directory));
        (errno, text)
    })?;
    let bound = Bound {
        brick: Rc::clone(brick),
        root,
        directory: printable(directory),
        process: printable(process),
        version: printable(request.text("client-version").unwrap_or("unknown")),
    };
    let (process, version) = (bound.process.clone(), bound.version.clone());
    if let Err(again) = to.bound.set(bound) {
        // The same again is the same; another brick would leave descriptors of the first one behind.
        let same = |bound: &Bound| Rc::ptr_eq(&bound.brick, &again.brick) && bound.root == again.root;
        let same = to.bound.get().is_some_and(same);
        return if same {
            Ok(())
        } else {
            Err((Errno::INVAL, "the connection has a brick already".to_owned()))
        };
    }
    to.outbox.set_root(root);
    to.seat.settle();
    tracing::info!(client = %to.peer, brick = name, directory, "accepted {process} (version {version})");
    if request.get(volfile::PAUSE).is_some() {
        to.door.core.spawn(presence::remind(Rc::clone(to)));
    }
    Ok(())
}

/// The addresses of the hosts that the rules name.
async fn addresses(to: &Rc<Connection>, hosts: Vec<String>) -> Result<Vec<(String, Rc<[IpAddr]>)>, Refused> {
    let mut known = Vec::with_capacity(hosts.len());
    for host in hosts {
        let addresses = to.door.names.addresses(&to.door.core, &host).await.map_err(|()| {
            // Not EACCES, at which clients give up for good.
            let text = format!("the address of {host}, which the rules name, is not known yet; try again");
            (Errno::AGAIN, text)
        })?;
        known.push((host, addresses));
    }
    Ok(known)
}

/// The directory at a path of the brick.
async fn find(to: &Rc<Connection>, brick: &Brick, path: &str) -> Result<Gfid, Errno> {
    let mut gfid = Gfid::ROOT;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let name = Name::new(name.as_bytes()).map_err(|_| Errno::NOENT)?;
        let call = to.door.graph.begin(CallSpec::internal(Fop::Lookup, gfid));
        let request = request::Lookup { loc: Loc::entry(gfid, name), xdata: Xdata::NONE };
        let found = brick.next.lookup(&call, request).await.map_err(|error| error.errno)?.iatt;
        if !found.is_dir() || found.gfid.is_null() {
            return Err(Errno::NOENT);
        }
        gfid = found.gfid;
    }
    Ok(gfid)
}

/// Longest name of a client that is remembered; stock ones have about 120 bytes.
const LONGEST_NAME: usize = 512;

/// What a client says of itself, fit for logs and tables.
fn printable(text: &str) -> String {
    let seen = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(LONGEST_NAME).map(seen).collect()
}

fn get_spec(to: &Rc<Connection>, xid: u32, key: &[u8]) {
    let spec = to.door.shared.serving().and_then(|serving| {
        let volume = volfile::volume_name(key)?;
        let encrypted = to.door.shared.settings().tls.is_some();
        volfile::client_volfile(serving, volume, &to.local, encrypted)
    });
    // What asks for volfiles asks for nothing else but pings.
    to.seat.set_light(to.bound.get().is_none());
    let answer = match &spec {
        Some(spec) => handshake::GetspecRsp {
            op_ret: i32::try_from(spec.len()).unwrap_or(i32::MAX),
            spec: spec.as_bytes(),
            ..Default::default()
        },
        None => {
            tracing::warn!(client = %to.peer, "there is no volume {}", key.escape_ascii());
            let op_errno = Errno::NOENT.raw_os_error();
            handshake::GetspecRsp { op_ret: -1, op_errno, ..Default::default() }
        }
    };
    to.outbox.reply(xid, &answer, None);
}

fn volume_info(to: &Rc<Connection>, xid: u32, dict: &[u8]) {
    let id = LegacyDict::parse(dict).ok().and_then(|request| {
        let volume = volfile::volume_name(request.get("volname")?)?;
        let serving = to.door.shared.serving()?;
        to.door.brick(volfile::brick_of(serving, volume)?)?.volume_id.clone()
    });
    let mut answer = LegacyDict::new();
    let op_ret = match id {
        Some(id) => {
            answer.set_text("volume_id", &id);
            0
        }
        None => -1,
    };
    let op_errno = if op_ret == 0 { 0 } else { Errno::NOENT.raw_os_error() };
    let dict = answer.to_bytes();
    to.outbox.reply(xid, &handshake::VolumeInfoRsp { op_ret, op_errno, errstr: b"", dict: &dict }, None);
}
