//! As much of HTTP as a scraper needs: one request per connection, GET or HEAD, a whole answer. Plain threads, as for the
//! control socket; nothing of what comes is kept beyond its connection, and each has a few seconds.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{families, text};
use crate::control::gather::Source;
use crate::control::server::Slot;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// How long a scraper has for its request, and as long again for taking the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest head of a request, in bytes.
const MAX_HEAD: usize = 8192;

/// How long a page is good for other scrapers, so that nobody can make the cores busy by asking.
const FRESH: Duration = Duration::from_millis(200);

/// Listens at an address of `--metrics`.
pub fn bind(address: SocketAddr) -> Outcome<TcpListener> {
    TcpListener::bind(address).map_err(|error| {
        Failure::new(Exit::Listen, format!("cannot listen for scrapers at {address}"))
            .because(&error)
            .next("Give another address with --metrics; `ss -ltnp` shows who uses which.")
    })
}

/// Serves `listener` until the process ends.
///
/// # Errors
/// When no thread is to be had.
pub fn start(listener: TcpListener, source: Arc<Source>) -> std::io::Result<()> {
    let address = listener.local_addr()?;
    let pages =
        Arc::new(Pages { source: Box::new(move || families::page(&source.stats())), last: Mutex::default() });
    thread::Builder::new().name("kiln-metrics".into()).spawn(move || accept(&listener, &pages))?;
    tracing::info!("metrics at http://{address}/metrics");
    Ok(())
}

/// Where pages come from.
struct Pages {
    source: Box<dyn Fn() -> String + Send + Sync>,
    last: Mutex<Option<(Instant, Arc<str>)>>,
}

impl Pages {
    /// A page, not older than [`FRESH`]. Whoever asks while another one is made waits for that.
    fn get(&self) -> Arc<str> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made, page)) = &*last
            && made.elapsed() < FRESH
        {
            return Arc::clone(page);
        }
        let page: Arc<str> = (self.source)().into();
        *last = Some((Instant::now(), Arc::clone(&page)));
        page
    }
}

fn accept(listener: &TcpListener, pages: &Arc<Pages>) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a scraper's connection cannot be taken");
                // Out of descriptors, mostly: give others time to close some.
                thread::sleep(Duration::from_millis(200));
                continue;
            }
        };
        // Whoever comes while there are too many is closed without a word, and tries again at the next round.
        let Some(slot) = Slot::take(&open) else { continue };
        let pages = Arc::clone(pages);
        let served = thread::Builder::new().name("kiln-metrics-1".into()).spawn(move || {
            serve(stream, &pages);
            drop(slot);
        });
        if let Err(error) = served {
            tracing::warn!(%error, "no thread for a scraper");
        }
    }
}

/// An answer.
struct Answer {
    status: &'static str,
    kind: &'static str,
    body: Arc<str>,
}

impl Answer {
    fn short(status: &'static str, body: &str) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: body.into() }
    }
}

fn serve(mut stream: TcpStream, pages: &Pages) {
    let head = read_head(&mut stream, Instant::now() + PATIENCE);
    let (answer, with_body) = match &head {
        Ok(head) => (answer(head, pages), !head.starts_with(b"HEAD ")),
        Err(status) => (Answer::short(status, "The request is not understood.\n"), true),
    };
    let Answer { status, kind, body } = answer;
    let mut reply = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n",
        body.len()
    );
    if status.starts_with("405") {
        reply.push_str("Allow: GET, HEAD\r\n");
    }
    reply.push_str("\r\n");
    if with_body {
        reply.push_str(&body);
    }
    // A scraper that hangs up is no event worth a log line.
    let _ = write_by(&mut stream, reply.as_bytes(), Instant::now() + PATIENCE);
    let _ = stream.shutdown(std::net::Shutdown::Write);
}

/// The head of a request, or the status of the refusal.
fn read_head(stream: &mut TcpStream, end: Instant) -> Result<Vec<u8>, &'static str> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return Err("408 Request Timeout");
        }
        match stream.read(&mut piece) {
            Ok(0) => return Err("400 Bad Request"),
            Ok(n) => head.extend_from_slice(&piece[..n]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err("408 Request Timeout"),
        }
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            return Ok(head);
        }
        if head.len() >= MAX_HEAD {
            return Err("431 Request Header Fields Too Large");
        }
    }
}

fn answer(head: &[u8], pages: &Pages) -> Answer {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = std::str::from_utf8(line).unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Answer::short("400 Bad Request", "The request is not understood.\n");
    };
    if !version.starts_with("HTTP/1.") {
        return Answer::short("505 HTTP Version Not Supported", "Ask by HTTP/1.1.\n");
    }
    if !matches!(method, "GET" | "HEAD") {
        return Answer::short("405 Method Not Allowed", "There is nothing here but to be read.\n");
    }
    match target.split('?').next() {
        Some("/metrics") => Answer { status: "200 OK", kind: text::CONTENT_TYPE, body: pages.get() },
        Some("/") => Answer::short("200 OK", "Kiln's metrics are at /metrics.\n"),
        _ => Answer::short("404 Not Found", "Kiln's metrics are at /metrics.\n"),
    }
}

fn write_by(stream: &mut TcpStream, mut bytes: &[u8], end: Instant) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_write_timeout(Some(left))?;
        match stream.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    /// What a server answers to these bytes, and how many pages it has made.
    fn exchange(bytes: &[u8]) -> (String, usize) {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&made);
        let source = move || {
            counter.fetch_add(1, Ordering::Relaxed);
            "# EOF\n".to_owned()
        };
        let pages = Arc::new(Pages { source: Box::new(source), last: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        let server = thread::spawn(move || serve(theirs, &pages));
        // It may have refused before all is written.
        let _ = ours.write_all(bytes);
        let _ = ours.shutdown(std::net::Shutdown::Write);
        let mut reply = Vec::new();
        let _ = ours.read_to_end(&mut reply);
        server.join().unwrap();
        (String::from_utf8(reply).unwrap(), made.load(Ordering::Relaxed))
    }

    #[test]
    fn scrapers_get_a_page() {
        let (reply, made) = exchange(b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n");
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.ends_with("\r\n\r\n# EOF\n"), "{reply}");
        assert!(reply.contains(text::CONTENT_TYPE) && reply.contains("Content-Length: 6\r\n"), "{reply}");
        assert_eq!(made, 1);
        let (reply, _) = exchange(b"HEAD /metrics HTTP/1.0\r\n\r\n");
        assert!(reply.contains("Content-Length: 6\r\n") && reply.ends_with("\r\n\r\n"), "{reply}");
    }

    #[test]
    fn everything_else_is_refused() {
        for (bytes, status) in [
            (&b"GET /etc/passwd HTTP/1.1\r\n\r\n"[..], "404"),
            (b"POST /metrics HTTP/1.1\r\n\r\n", "405"),
            (b"GET /metrics\r\n\r\n", "400"),
            (b"GET /metrics HTTP/2.0\r\n\r\n", "505"),
            (b"\xff\xfe\r\n\r\n", "400"),
            (b"GET /metrics HTTP/1.1\r\n", "400"),
            (b"", "400"),
        ] {
            let (reply, made) = exchange(bytes);
            assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes:?}: {reply}");
            assert_eq!(made, 0);
        }
        assert!(exchange(&[b'x'; MAX_HEAD]).0.starts_with("HTTP/1.1 431 "));
    }

    #[test]
    fn pages_are_shared_for_a_moment() {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&made);
        let source = move || counter.fetch_add(1, Ordering::Relaxed).to_string();
        let pages = Pages { source: Box::new(source), last: Mutex::default() };
        assert_eq!((&*pages.get(), &*pages.get()), ("0", "0"));
        thread::sleep(FRESH);
        assert_eq!(&*pages.get(), "1");
    }
}
