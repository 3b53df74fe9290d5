//! Who calls: the credentials of a call.

use kiln_uring::sys::Timespec;

use crate::protocol::xdr::{Reader, Wire, Writer, XdrError};

/// Nobody in particular.
pub const AUTH_NULL: u32 = 0;
/// What 4.x clients send before they know the server's programs.
pub const AUTH_GLUSTERFS_V2: u32 = 390_039;
/// What they send from then on.
pub const AUTH_GLUSTERFS_V3: u32 = 390_040;

/// Most bytes of a credential (`GF_MAX_AUTH_BYTES`), whose sender has to leave groups out.
pub const MAX_BYTES: usize = 400;

/// Supplementary groups, still in the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Groups<'a>(&'a [u8]);

impl<'a> Groups<'a> {
    /// From words in the order of the wire.
    #[must_use]
    pub const fn from_bytes(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// One after the other.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        self.0.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word))
    }
}

/// What a credential says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credential<'a> {
    /// Process; negative for GlusterFS's internal clients.
    pub pid: i32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Groups<'a>,
    /// Owner of locks.
    pub owner: &'a [u8],
    /// Which times the caller sets (`MDATA_*`); version 3 only.
    pub flags: u32,
    /// The caller's time; version 3 only.
    pub time: Timespec,
}

impl<'a> Credential<'a> {
    /// Reads the body of a credential. A flavour that is not known is nobody in particular, as with stock servers.
    ///
    /// # Errors
    /// A body that is not of its flavour.
    pub fn parse(flavor: u32, body: &'a [u8]) -> Result<Self, XdrError> {
        if body.len() > MAX_BYTES {
            return Err(XdrError::Many);
        }
        if !matches!(flavor, AUTH_GLUSTERFS_V2 | AUTH_GLUSTERFS_V3) {
            return Ok(Self::default());
        }
        let from = &mut Reader::new(body);
        let mut this =
            Self { pid: Wire::get(from)?, uid: Wire::get(from)?, gid: Wire::get(from)?, ..Self::default() };
        if flavor == AUTH_GLUSTERFS_V3 {
            this.flags = Wire::get(from)?;
            this.time.nsec = Wire::get(from)?;
            this.time.sec = Wire::get(from)?;
        }
        let groups = u32::get(from)? as usize;
        this.groups = Groups(from.take(groups.saturating_mul(4))?);
        this.owner = from.opaque()?;
        Ok(this)
    }

    /// The body of version 3.
    #[must_use]
    pub fn to_v3(&self) -> Vec<u8> {
        let mut out = vec![0; 32 + self.groups.0.len() + self.owner.size()];
        let to = &mut Writer::new(&mut out);
        [self.pid.cast_unsigned(), self.uid, self.gid, self.flags, self.time.nsec]
            .iter()
            .for_each(|word| word.put(to));
        self.time.sec.put(to);
        to.len(self.groups.iter().len());
        to.raw(self.groups.0);
        self.owner.put(to);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nobody_and_nonsense() {
        assert_eq!(Credential::parse(AUTH_NULL, &[]), Ok(Credential::default()));
        assert_eq!(Credential::parse(77, &[1, 2, 3]), Ok(Credential::default()));
        assert_eq!(Credential::parse(AUTH_GLUSTERFS_V2, &[0; 8]), Err(XdrError::Short));
        let mut many_groups = [0; 32];
        many_groups[12] = 0xff;
        assert_eq!(Credential::parse(AUTH_GLUSTERFS_V2, &many_groups), Err(XdrError::Short));
        assert_eq!(Credential::parse(AUTH_GLUSTERFS_V3, &[0; 404]), Err(XdrError::Many));
    }

    proptest! {
        #[test]
        fn round_trips(
            pid: i32, uid: u32, gid: u32, flags: u32, sec: i64, nsec: u32,
            groups in prop::collection::vec(any::<[u8; 4]>(), 0..30), owner in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let groups = groups.concat();
            let sent = Credential {
                pid, uid, gid, flags, time: Timespec { sec, nsec }, groups: Groups(&groups), owner: &owner,
            };
            let body = sent.to_v3();
            prop_assert_eq!(Credential::parse(AUTH_GLUSTERFS_V3, &body).unwrap(), sent);
        }
    }
}
