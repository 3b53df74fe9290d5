//! A request or a reply of whichever fop, for layers that treat all fops alike and hand them on as values: to another
//! thread, to a recording, to Python.

use std::ffi::CString;

use kiln_uring::Buf;

use super::{Fop, reply, request};
use crate::call::Call;
use crate::error::FopResult;
use crate::fd::FdRef;
use crate::graph::Next;
use crate::types::{ActiveLock, Dict, EntrylkCmd, Flock, Key, LkCmd, Loc, LockType, Name, Xdata};

macro_rules! define_any {
    ($(#[doc = $doc:literal] $variant:ident $method:ident $number:literal $access:ident $subject:ident
        ($($arg:ident : $type:ty),*) -> $reply:ident;)*) => {
        /// The arguments of a fop, and which fop it is.
        #[derive(Debug)]
        #[allow(clippy::large_enum_variant, reason = "requests move once, and a box for each would cost an allocation")]
        pub enum AnyRequest {
            $(#[doc = $doc] $variant(request::$variant),)*
        }

        /// The reply of a fop, and which fop it answers.
        #[derive(Debug)]
        #[allow(clippy::large_enum_variant, reason = "as for requests")]
        pub enum AnyReply {
            $(#[doc = $doc] $variant(reply::$reply),)*
        }

        impl AnyRequest {
            /// Which fop it is.
            #[must_use]
            pub const fn fop(&self) -> Fop {
                match self {
                    $(Self::$variant(_) => Fop::$variant,)*
                }
            }

            /// The same request once more. Data is copied, descriptors are shared.
            #[must_use]
            pub fn duplicate(&self) -> Self {
                match self {
                    $(Self::$variant(request) => Self::$variant(request::$variant {
                        $($arg: request.$arg.duplicate(),)*
                        xdata: request.xdata.clone(),
                    }),)*
                }
            }
        }

        impl AnyReply {
            /// Which fop it answers.
            #[must_use]
            pub const fn fop(&self) -> Fop {
                match self {
                    $(Self::$variant(_) => Fop::$variant,)*
                }
            }

            /// The same reply once more. Data is copied.
            #[must_use]
            pub fn duplicate(&self) -> Self {
                match self {
                    $(Self::$variant(reply) => Self::$variant(reply.duplicate()),)*
                }
            }
        }

        $(
            #[allow(clippy::result_large_err, reason = "the error is the value itself, given back")]
            impl FopOf for request::$variant {
                const FOP: Fop = Fop::$variant;
                type Reply = reply::$reply;

                fn wrap(self) -> AnyRequest {
                    AnyRequest::$variant(self)
                }

                fn unwrap(request: AnyRequest) -> Result<Self, AnyRequest> {
                    match request {
                        AnyRequest::$variant(request) => Ok(request),
                        other => Err(other),
                    }
                }

                fn wrap_reply(reply: reply::$reply) -> AnyReply {
                    AnyReply::$variant(reply)
                }

                fn unwrap_reply(reply: AnyReply) -> Result<reply::$reply, AnyReply> {
                    match reply {
                        AnyReply::$variant(reply) => Ok(reply),
                        other => Err(other),
                    }
                }
            }
        )*

        /// Winds whichever fop it is.
        ///
        /// # Errors
        /// What the layers below answer.
        pub async fn wind(next: &Next, call: &Call, request: AnyRequest) -> FopResult<AnyReply> {
            match request {
                $(AnyRequest::$variant(request) => next.$method(call, request).await.map(AnyReply::$variant),)*
            }
        }
    };
}

/// From the request of one fop to [`AnyRequest`] and [`AnyReply`], and back.
#[allow(clippy::result_large_err, reason = "the error is the value itself, given back")]
pub trait FopOf: Sized {
    /// The fop.
    const FOP: Fop;
    /// Its reply.
    type Reply;

    /// The request as any request.
    fn wrap(self) -> AnyRequest;

    /// The request again.
    ///
    /// # Errors
    /// The same, if it is of another fop.
    fn unwrap(request: AnyRequest) -> Result<Self, AnyRequest>;

    /// The reply as any reply.
    fn wrap_reply(reply: Self::Reply) -> AnyReply;

    /// The reply again.
    ///
    /// # Errors
    /// The same, if it is of another fop.
    fn unwrap_reply(reply: AnyReply) -> Result<Self::Reply, AnyReply>;
}

crate::for_each_fop!(define_any);

/// A second one of an argument or a reply, whatever that costs; only data has a price.
trait Duplicate {
    fn duplicate(&self) -> Self;
}

impl Duplicate for Buf {
    fn duplicate(&self) -> Self {
        Self::from_slice(self)
    }
}

impl Duplicate for reply::Read {
    fn duplicate(&self) -> Self {
        let Self { data, eof, iatt, xdata } = self;
        Self { data: data.duplicate(), eof: *eof, iatt: *iatt, xdata: xdata.clone() }
    }
}

macro_rules! cloned {
    ($($type:ty),* $(,)?) => {
        $(impl Duplicate for $type {
            fn duplicate(&self) -> Self {
                self.clone()
            }
        })*
    };
}

cloned! {
    Loc, Dict, Flock, FdRef, CString, String, Key, LkCmd, LockType, EntrylkCmd, Option<Key>, Option<Name>, Vec<ActiveLock>,
    u32, u64, i32, bool, request::SetAttr, request::XattropOp, request::SeekWhat, request::LeaseSpec, Xdata,
    reply::Attr, reply::Lookup, reply::Readlink, reply::Made, reply::Removed, reply::Renamed, reply::Changed,
    reply::Written, reply::Done, reply::Xattrs, reply::Entries, reply::Statfs, reply::Lk, reply::Rchecksum, reply::Seek,
    reply::Leased, reply::ActiveLocks, reply::Copied,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fd::Fd;
    use crate::types::Gfid;

    #[test]
    fn a_duplicate_is_equal_and_shares_no_data() {
        let data = Buf::from_slice(b"data");
        let fd = Fd::file(Gfid::ROOT, 0, 1);
        let request = request::Writev { fd, data, offset: 3, flags: 0, xdata: Xdata::NONE }.wrap();
        let twin = request.duplicate();
        assert_eq!(format!("{request:?}"), format!("{twin:?}"));
        let (first, second) = (request::Writev::unwrap(request), request::Writev::unwrap(twin));
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_ne!(first.data.as_ptr(), second.data.as_ptr());
        assert_eq!(&first.data[..], b"data");
        assert_eq!(second.wrap().fop(), Fop::Writev);
    }

    #[test]
    fn a_reply_is_unwrapped_as_what_it_is() {
        let reply = request::Stat::wrap_reply(reply::Attr::default());
        let reply = request::Lookup::unwrap_reply(reply).unwrap_err();
        assert_eq!(request::Stat::unwrap_reply(reply.duplicate()).unwrap(), reply::Attr::default());
    }
}
