//! The peer: a stock `glusterfsd` with a stock FUSE client on top, without a `glusterd`.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::kiln::{is_mounted, signal};
use super::serve::free_port;
use super::{Scratch, wait_for};

/// A brick served by `glusterfsd`; ended when dropped.
pub struct StockServer {
    child: Child,
}

impl StockServer {
    /// Serves `brick` at `port` of the loopback, by the name of its directory as `glusterd` names bricks.
    pub fn new(scratch: &Scratch, brick: &Path, port: u16) -> Self {
        Self::of_volfile(scratch, &server_graph(brick, port), port)
    }

    /// Serves what the text of a volfile says.
    pub fn of_volfile(scratch: &Scratch, text: &str, port: u16) -> Self {
        let volfile = scratch.join("stock-brick.vol");
        std::fs::write(&volfile, text).unwrap();
        let child = Command::new("glusterfsd")
            .args(["-N", "-l"])
            .arg(scratch.join("stock-brick.log"))
            .arg("-f")
            .arg(&volfile)
            .arg("--pid-file")
            .arg(scratch.join("stock.pid"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child };
        wait_for("glusterfsd to listen", Duration::from_secs(20), || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        server
    }

    /// Ends it and waits for it.
    pub fn stop(mut self) {
        end(&mut self.child);
    }
}

impl Drop for StockServer {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    if child.try_wait().is_ok_and(|status| status.is_some()) {
        return;
    }
    signal(child.id(), "TERM");
    for _ in 0..500 {
        if child.try_wait().is_ok_and(|status| status.is_some()) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// A brick served by `glusterfsd` and mounted by `glusterfs`; both end when dropped.
pub struct StockMount {
    server: StockServer,
    client: Child,
    mnt: PathBuf,
}

impl StockMount {
    /// Serves `brick` and mounts it at `mnt`; logs and volfiles go to `scratch`.
    pub fn new(scratch: &Scratch, brick: &Path, mnt: &Path) -> Self {
        let port = free_port();
        let server = StockServer::new(scratch, brick, port);
        let client_volfile = scratch.join("stock-client.vol");
        std::fs::write(&client_volfile, client_graph(brick, port)).unwrap();
        let client = Command::new("glusterfs")
            .args(["-N", "--acl", "-l"])
            .arg(scratch.join("stock-client.log"))
            .arg("-f")
            .arg(&client_volfile)
            .arg(mnt)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mount = Self { server, client, mnt: mnt.to_owned() };
        wait_for("the stock mount", Duration::from_secs(20), || {
            is_mounted(mnt) && std::fs::read_dir(mnt).is_ok()
        });
        mount
    }

    /// Ends both and waits for them.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = Command::new("umount").arg(&self.mnt).output();
        let _ = Command::new("umount").arg("-l").arg(&self.mnt).output();
        end(&mut self.client);
        end(&mut self.server.child);
    }
}

impl Drop for StockMount {
    fn drop(&mut self) {
        self.end();
    }
}

fn server_graph(brick: &Path, port: u16) -> String {
    let directory = brick.display();
    format!(
        "volume posix\n type storage/posix\n option directory {directory}\nend-volume\n\
         volume access\n type features/access-control\n subvolumes posix\nend-volume\n\
         volume locks\n type features/locks\n subvolumes access\nend-volume\n\
         volume {directory}\n type debug/io-stats\n subvolumes locks\nend-volume\n\
         volume server\n type protocol/server\n option transport-type tcp\n\
         option transport.socket.bind-address 127.0.0.1\n option transport.socket.listen-port {port}\n\
         option auth.addr.{directory}.allow *\n subvolumes {directory}\nend-volume\n"
    )
}

fn client_graph(brick: &Path, port: u16) -> String {
    format!(
        "volume client\n type protocol/client\n option transport-type tcp\n option remote-host 127.0.0.1\n\
         option remote-port {port}\n option remote-subvolume {}\nend-volume\n",
        brick.display()
    )
}
