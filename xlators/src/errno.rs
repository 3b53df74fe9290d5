//! Names of errnos, for options, statistics and logs.

use kiln_uring::Errno;

macro_rules! errnos {
    ($($constant:ident $name:literal)*) => {
        const NAMES: &[(Errno, &str)] = &[$((Errno::$constant, $name)),*];
    };
}

errnos! {
    PERM "EPERM" NOENT "ENOENT" INTR "EINTR" IO "EIO" NXIO "ENXIO" TOOBIG "E2BIG" BADF "EBADF" AGAIN "EAGAIN"
    NOMEM "ENOMEM" ACCESS "EACCES" FAULT "EFAULT" BUSY "EBUSY" EXIST "EEXIST" XDEV "EXDEV" NODEV "ENODEV"
    NOTDIR "ENOTDIR" ISDIR "EISDIR" INVAL "EINVAL" NFILE "ENFILE" MFILE "EMFILE" TXTBSY "ETXTBSY" FBIG "EFBIG"
    NOSPC "ENOSPC" SPIPE "ESPIPE" ROFS "EROFS" MLINK "EMLINK" RANGE "ERANGE" DEADLK "EDEADLK"
    NAMETOOLONG "ENAMETOOLONG" NOLCK "ENOLCK" NOSYS "ENOSYS" NOTEMPTY "ENOTEMPTY" LOOP "ELOOP" NODATA "ENODATA"
    TIME "ETIME" REMOTE "EREMOTE" PROTO "EPROTO" BADMSG "EBADMSG" OVERFLOW "EOVERFLOW" ILSEQ "EILSEQ"
    USERS "EUSERS" OPNOTSUPP "EOPNOTSUPP" NOBUFS "ENOBUFS" NOTCONN "ENOTCONN" TIMEDOUT "ETIMEDOUT"
    HOSTDOWN "EHOSTDOWN" ALREADY "EALREADY" INPROGRESS "EINPROGRESS" STALE "ESTALE" UCLEAN "EUCLEAN"
    REMOTEIO "EREMOTEIO" DQUOT "EDQUOT" CANCELED "ECANCELED" OWNERDEAD "EOWNERDEAD"
}

/// The errno's name, such as `ENOENT`; `None` for one that no file operation returns.
#[must_use]
pub fn name(errno: Errno) -> Option<&'static str> {
    NAMES.iter().find(|(known, _)| *known == errno).map(|(_, name)| *name)
}

/// The errno of that name.
#[must_use]
pub fn from_name(name: &str) -> Option<Errno> {
    NAMES.iter().find(|(_, known)| *known == name).map(|(errno, _)| *errno)
}

/// All known names, for suggestions.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(_, name)| *name)
}

/// The errno's name, or its number where it has none here.
#[must_use]
pub fn label(errno: Errno) -> String {
    name(errno).map_or_else(|| errno.raw_os_error().to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        let mut seen: Vec<_> = names().collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), NAMES.len());
        for name in seen {
            assert_eq!(super::name(from_name(name).unwrap()), Some(name));
        }
        assert_eq!(from_name("ENOENT"), Some(Errno::NOENT));
        assert_eq!(label(Errno::from_raw_os_error(4000)), "4000");
    }
}
