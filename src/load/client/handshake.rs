//! The first calls of a connection: what the peer speaks, and which brick we want.
//!
//! They are made before the runtime has the socket, one after the other.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};

use kiln_uring::Errno;
use kiln_xlators::protocol::rpc::credential::Credential;
use kiln_xlators::protocol::rpc::errno;
use kiln_xlators::protocol::rpc::message::{Reply, call_record};
use kiln_xlators::protocol::rpc::programs::{dump, fops, handshake, portmap};
use kiln_xlators::protocol::rpc::record::{MARK, Mark};
use kiln_xlators::protocol::xdr::{LegacyDict, Reader, Wire};

use super::connection::Setup;

/// What a program's number is answered to in DUMP.
const DUMP_ID: u64 = 0xcaed;
/// Longest reply of a handshake that is believed.
const LONGEST: usize = 1 << 20;

/// Binds the connection to a brick, whose name is returned.
///
/// # Errors
/// A sentence for the operator.
pub fn bind(stream: &UnixStream, setup: &Setup) -> Result<String, String> {
    let said = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => format!(
            "what listens at {} did not answer within {} s; is it a brick?",
            setup.peer,
            setup.timeout.as_secs_f64()
        ),
        _ => format!("what listens at {} hung up: {error}; is it a brick?", setup.peer),
    };
    stream.set_read_timeout(Some(setup.timeout)).map_err(said)?;
    let mut talk = Talk { stream, xid: 1 };
    let programs = talk
        .call((dump::PROGRAM, dump::VERSION, dump::DUMP), None, &dump::DumpReq { gfs_id: DUMP_ID })
        .map_err(said)?;
    let programs = body::<dump::DumpRsp<'_>>(&programs).ok_or_else(|| strange(setup))?.programs;
    let speaks = |number: u32, version: u32| {
        programs.iter().any(|known| (known.number, known.version) == (u64::from(number), u64::from(version)))
    };
    if !speaks(fops::PROGRAM, fops::VERSION) {
        let what = if speaks(portmap::PROGRAM, portmap::VERSION) {
            "a management daemon; its bricks have ports of their own, which `gluster volume status` tells"
        } else {
            "no brick that speaks the protocol of GlusterFS 4 and later"
        };
        return Err(format!("what listens at {} is {what}", setup.peer));
    }
    drop(programs);
    let mut refusal = String::new();
    for name in &setup.bricks {
        match talk.set_volume(setup, name).map_err(said)? {
            Ok(()) => {
                // The runtime waits as long as it likes.
                stream.set_read_timeout(None).map_err(said)?;
                return Ok(name.clone());
            }
            // What was refused for another reason than its name tells more.
            Err((errno, text)) if refusal.is_empty() || errno != Errno::NOENT => refusal = text,
            Err(_) => {}
        }
    }
    let tried = setup.bricks.join(" or ");
    Err(format!("{} refused the connection to brick {tried}: {refusal}", setup.peer))
}

fn strange(setup: &Setup) -> String {
    format!("what listens at {} answers, but not as a brick does", setup.peer)
}

/// The body of an accepted reply.
fn body<'a, T: Wire<'a>>(record: &'a [u8]) -> Option<T> {
    let reply = Reply::parse(record).ok().filter(|reply| reply.accept == Some(0))?;
    T::get(&mut Reader::new(record.get(reply.body..)?)).ok()
}

struct Talk<'s> {
    stream: &'s UnixStream,
    xid: u32,
}

impl Talk<'_> {
    fn call<'a>(
        &mut self,
        what: (u32, u32, u32),
        credential: Option<&Credential<'_>>,
        arguments: &impl Wire<'a>,
    ) -> std::io::Result<Vec<u8>> {
        self.xid += 1;
        self.stream.write_all(&call_record(self.xid, what, credential, arguments))?;
        loop {
            let mut mark = [0; MARK];
            self.stream.read_exact(&mut mark)?;
            let mark = Mark::parse(mark);
            if mark.len > LONGEST || !mark.last {
                return Err(std::io::Error::other("it does not speak RPC"));
            }
            let mut record = vec![0; mark.len];
            self.stream.read_exact(&mut record)?;
            // Callbacks may come in between.
            if Reply::parse(&record).is_ok_and(|reply| reply.xid == self.xid) {
                return Ok(record);
            }
        }
    }

    /// Asks for a brick; the inner error is the brick's refusal.
    fn set_volume(&mut self, setup: &Setup, name: &str) -> std::io::Result<Result<(), (Errno, String)>> {
        /// Tells the connections of a process apart: a stock brick takes those of one name for one client.
        static CONNECTIONS: AtomicU32 = AtomicU32::new(0);
        let number = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let mut dict = LegacyDict::new();
        dict.set_text("remote-subvolume", name);
        dict.set_text("process-uuid", &format!("kiln-load-PID:{process}-CONNECTION:{number}-RECON_NO:-0"));
        dict.set_text("process-name", "kiln-load");
        dict.set_text("client-version", env!("CARGO_PKG_VERSION"));
        dict.set_text("fops-version", &fops::PROGRAM.to_string());
        dict.set_text("opversion", "100000");
        dict.set_text("clnt-lk-version", "1");
        if let Some((user, password)) = &setup.login {
            dict.set_text("username", user);
            dict.set_text("password", password);
        }
        let bytes = dict.to_bytes();
        let what = (handshake::PROGRAM, handshake::VERSION, handshake::SETVOLUME);
        let credential = Credential { pid: process.cast_signed(), ..Credential::default() };
        let record = self.call(what, Some(&credential), &handshake::SetvolumeReq { dict: &bytes })?;
        let Some(answer) = body::<handshake::SetvolumeRsp<'_>>(&record) else {
            return Ok(Err((Errno::PROTO, "the call was not accepted".to_owned())));
        };
        if answer.op_ret == 0 {
            return Ok(Ok(()));
        }
        let said = LegacyDict::parse(answer.dict).ok();
        let text = said.as_ref().and_then(|said| said.text("ERROR")).unwrap_or("no reason given");
        let errno: Errno = errno::from_wire(answer.op_errno);
        Ok(Err((errno, format!("{text} ({errno})"))))
    }
}
