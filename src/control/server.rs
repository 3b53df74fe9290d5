//! The brick's end of the control socket. Plain threads that never touch a core's state: they ask the cores and wait.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::gather::Source;
use super::protocol::{Answer, Ask, MAX_REQUEST, Request};

/// How long a client may take to send its request, and to take each piece of the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Most connections at a time.
const MAX_CONNECTIONS: usize = 16;

/// Serves `listener` until the process ends.
///
/// # Errors
/// When no thread is to be had.
pub fn start(listener: UnixListener, source: Arc<Source>) -> std::io::Result<()> {
    thread::Builder::new().name("kiln-control".into()).spawn(move || accept(&listener, &source))?;
    Ok(())
}

fn accept(listener: &UnixListener, source: &Arc<Source>) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the control socket cannot take a connection");
                // Out of descriptors, mostly: give others time to close some.
                thread::sleep(Duration::from_millis(200));
                continue;
            }
        };
        let slot = Slot::take(&open);
        if slot.is_none() {
            let _ = write_line(&stream, &Answer::<()>::Error("too many connections, try again".into()));
            continue;
        }
        let source = Arc::clone(source);
        let served = thread::Builder::new().name("kiln-control-1".into()).spawn(move || {
            serve(&stream, &source);
            drop(slot);
        });
        if let Err(error) = served {
            tracing::warn!(%error, "no thread for a control connection");
        }
    }
}

/// One of [`MAX_CONNECTIONS`].
pub struct Slot(Arc<AtomicUsize>);

impl Slot {
    /// One of them, if there is one left.
    pub fn take(open: &Arc<AtomicUsize>) -> Option<Self> {
        let slot = Self(Arc::clone(open));
        // Dropping the slot gives the number back in either case.
        (open.fetch_add(1, Ordering::AcqRel) < MAX_CONNECTIONS).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn serve(stream: &UnixStream, source: &Source) {
    // A client that hangs up is no event worth a log line.
    let _ = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
    let _ = match read_request(stream) {
        Ok(Ask::Stats) => write_line(stream, &Answer::Ok(source.stats_with_paths())),
        Ok(Ask::Clients) => write_line(stream, &Answer::Ok(source.clients())),
        Ok(Ask::Dump) => write_line(stream, &Answer::Ok(source.dump())),
        Err(reason) => write_line(stream, &Answer::<()>::Error(reason)),
    };
}

fn read_request(stream: &UnixStream) -> Result<Ask, String> {
    let mut line = Vec::new();
    BufReader::new(stream.take(MAX_REQUEST))
        .read_until(b'\n', &mut line)
        .map_err(|error| format!("the request did not arrive: {error}"))?;
    if line.last() != Some(&b'\n') && line.len() as u64 == MAX_REQUEST {
        return Err(format!("the request is longer than {MAX_REQUEST} bytes"));
    }
    serde_json::from_slice(&line).map(|request: Request| request.ask).map_err(|error| {
        format!("not a request such as {{\"ask\": \"stats\"}}, \"clients\" or \"dump\": {error}")
    })
}

fn write_line<T: Serialize>(mut stream: &UnixStream, answer: &Answer<T>) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    stream.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(bytes: &[u8]) -> Result<Ask, String> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(bytes).unwrap();
        drop(theirs);
        read_request(&ours)
    }

    #[test]
    fn garbage_is_answered_with_a_sentence() {
        assert_eq!(ask(b"{\"ask\":\"dump\"}\n").unwrap(), Ask::Dump);
        assert_eq!(ask(b"{\"ask\":\"dump\"}").unwrap(), Ask::Dump);
        for bad in [&b""[..], b"\n", b"\xff\xfe\n", b"{\"ask\":1}\n", b"GET / HTTP/1.0\n"] {
            assert!(ask(bad).unwrap_err().starts_with("not a request"), "{bad:?}");
        }
        assert!(ask(&[b'x'; 10_000]).unwrap_err().contains("longer than"));
    }

    #[test]
    fn connections_are_counted() {
        let open = Arc::new(AtomicUsize::new(0));
        let slots: Vec<_> = (0..MAX_CONNECTIONS).map(|_| Slot::take(&open).unwrap()).collect();
        assert!(Slot::take(&open).is_none());
        drop(slots);
        assert_eq!(open.load(Ordering::Acquire), 0);
    }
}
