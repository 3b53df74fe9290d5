//! What is sent: memory that stays in place until the kernel is done with it.

use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::buf::Buf;

/// A piece of a message.
#[derive(Debug)]
pub enum Part {
    /// A buffer with its present contents.
    Buf(Buf),
    /// Bytes of the program itself.
    Static(&'static [u8]),
    /// A stretch of bytes that others hold too. The range is cut to what there is.
    Shared(Arc<[u8]>, Range<usize>),
}

impl Deref for Part {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Buf(buf) => buf,
            Self::Static(bytes) => bytes,
            Self::Shared(bytes, range) => {
                let end = range.end.min(bytes.len());
                bytes.get(range.start..end).unwrap_or_default()
            }
        }
    }
}

impl From<Buf> for Part {
    fn from(buf: Buf) -> Self {
        Self::Buf(buf)
    }
}

impl From<&'static [u8]> for Part {
    fn from(bytes: &'static [u8]) -> Self {
        Self::Static(bytes)
    }
}

impl From<Arc<[u8]>> for Part {
    fn from(bytes: Arc<[u8]>) -> Self {
        let all = 0..bytes.len();
        Self::Shared(bytes, all)
    }
}

/// Bytes of all parts.
pub(crate) fn total(parts: &[Part]) -> usize {
    parts.iter().map(|part| part.len()).sum()
}

/// The non-empty stretches that remain after the first `done` bytes.
pub(crate) fn rest(parts: &[Part], mut done: usize) -> impl Iterator<Item = &[u8]> {
    parts.iter().filter_map(move |part| {
        let skip = done.min(part.len());
        done -= skip;
        Some(&part[skip..]).filter(|rest| !rest.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_left_out_wherever_it_ends() {
        let parts = [
            Part::from(Buf::from_slice(b"abc")),
            Part::from(&b""[..]),
            Part::Shared(Arc::from(&b"xdefgx"[..]), 1..5),
            Part::Shared(Arc::from(&b"hi"[..]), 0..100),
            Part::Shared(Arc::from(&b"nothing"[..]), 50..60),
        ];
        let whole = b"abcdefghi";
        assert_eq!(total(&parts), whole.len());
        for done in 0..=whole.len() + 1 {
            let left: Vec<u8> = rest(&parts, done).flatten().copied().collect();
            assert_eq!(left, whole[done.min(whole.len())..], "after {done}");
            assert!(rest(&parts, done).all(|stretch| !stretch.is_empty()));
        }
    }
}
