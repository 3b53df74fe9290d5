//! xattrop, fxattrop: arithmetic on extended attributes, atomic per object.
//!
//! Replication counts in them what bricks miss, erasure coding its versions and sizes, sharding the size of the whole. So all keys of
//! one call are read, computed and written while nobody else changes the object, and nothing is written before every key
//! has been found good. Source: GlusterFS v10.3, `_posix_handle_xattr_keyvalue_pair` in `posix-inode-fd-ops.c`.

use std::ffi::CStr;
use std::sync::Arc;

use kiln_uring::sys::XattrFlags;
use kiln_uring::{Class, Errno, SysResult};

use super::names;
use super::subject::{Given, Subject};
use crate::call::Call;
use crate::error::FopResult;
use crate::fop::request::XattropOp;
use crate::fop::{reply, request};
use crate::keys;
use crate::storage::posix::{Brick, Posix};
use crate::types::{Dict, Key, Value, Xdata};

/// Longest value of an extended attribute.
const LONGEST: usize = 65_536;

impl Posix {
    pub(in crate::storage::posix) async fn serve_xattrop(
        &self,
        _: &Call,
        req: request::Xattrop,
    ) -> FopResult<reply::Xattrs> {
        self.xattr_operation(Given::Loc(req.loc), req.op, req.dict, req.xdata).await
    }

    pub(in crate::storage::posix) async fn serve_fxattrop(
        &self,
        _: &Call,
        req: request::Fxattrop,
    ) -> FopResult<reply::Xattrs> {
        self.xattr_operation(Given::Fd(req.fd), req.op, req.dict, req.xdata).await
    }

    async fn xattr_operation(
        &self,
        given: Given,
        op: XattropOp,
        dict: Dict,
        xdata: Xdata,
    ) -> FopResult<reply::Xattrs> {
        let job = move |brick: &Arc<Brick>, of: &Subject| {
            let dict = operate(brick, of, op, &dict)?;
            Ok(reply::Xattrs { dict, xdata: answer(brick, of, &xdata)? })
        };
        self.on_locked_subject(Class::AttrChange, given, job).await
    }
}

/// Computes all keys, then writes those that change.
fn operate(brick: &Brick, of: &Subject, op: XattropOp, request: &Dict) -> SysResult<Dict> {
    let target = of.target(brick);
    let mut outcomes = Vec::with_capacity(request.len());
    for (name, value) in request.iter() {
        names::check_xattrop(name)?;
        let asked = value.as_bytes().ok_or(Errno::INVAL)?;
        let old = read(brick, of, name, result_len(op, asked.len()))?;
        outcomes.push((name, compute(op, old.as_deref(), asked)));
    }
    let mut reply = Dict::new();
    for (name, outcome) in outcomes {
        if let Some(write) = &outcome.write {
            brick.sys.setxattr(target, name, write, XattrFlags::empty())?;
        }
        if let Some(told) = outcome.told {
            reply.set(Key::Owned(name.to_owned()), Value::Bin(told));
        }
    }
    Ok(reply)
}

/// The value, if there is one.
///
/// # Errors
/// `ERANGE` when it is longer than `most`.
fn read(brick: &Brick, of: &Subject, name: &CStr, most: usize) -> SysResult<Option<Vec<u8>>> {
    if most > LONGEST {
        return Err(Errno::TOOBIG);
    }
    // One byte more, because an empty buffer would ask for the length only.
    let mut old = vec![0; most + 1];
    match brick.sys.getxattr(of.target(brick), name, &mut old) {
        Ok(len) if len > most => Err(Errno::RANGE),
        Ok(len) => {
            old.truncate(len);
            Ok(Some(old))
        }
        Err(Errno::NODATA) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// What an operation does to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    /// The value to store; `None` when it stays as it is.
    write: Option<Vec<u8>>,
    /// The value of the reply; `None` when the key is left out.
    told: Option<Vec<u8>>,
}

/// The length of the value, for a request of `asked` bytes.
const fn result_len(op: XattropOp, asked: usize) -> usize {
    match op {
        XattropOp::AddArrayWithDefault | XattropOp::AddArray64WithDefault => asked / 2,
        _ => asked,
    }
}

/// The operation. `old` is not longer than the result.
fn compute(op: XattropOp, old: Option<&[u8]>, asked: &[u8]) -> Outcome {
    let len = result_len(op, asked.len());
    // What is absent, or shorter, counts as zeros.
    let mut now = old.unwrap_or_default().to_vec();
    now.resize(len, 0);
    if op == XattropOp::GetAndSet {
        let told = old.is_some().then_some(now);
        return Outcome { write: (old != Some(asked)).then(|| asked.to_vec()), told };
    }
    // All zeros ask for the value and never make it, whatever the operation.
    if asked.iter().all(|byte| *byte == 0) {
        return Outcome { write: None, told: Some(now) };
    }
    let defaults = &asked[len..];
    match op {
        XattropOp::AddArray => each(&mut now, asked, add32),
        XattropOp::AddArray64 => each(&mut now, asked, add64),
        XattropOp::OrArray => each(&mut now, asked, or),
        XattropOp::AndArray => each(&mut now, asked, and),
        XattropOp::AddArrayWithDefault => {
            each(&mut now, defaults, |now: [u8; 4], default| if now == [0; 4] { default } else { now });
            each(&mut now, asked, add32);
        }
        XattropOp::AddArray64WithDefault => {
            each(&mut now, defaults, |now: [u8; 8], default| if now == [0; 8] { default } else { now });
            each(&mut now, asked, add64);
        }
        XattropOp::GetAndSet => {}
    }
    Outcome { write: (old != Some(now.as_slice())).then(|| now.clone()), told: Some(now) }
}

/// Applies `change` to each whole element of `now` with the element of `asked` at its place; a rest stays.
fn each<const N: usize>(now: &mut [u8], asked: &[u8], change: impl Fn([u8; N], [u8; N]) -> [u8; N]) {
    let (now, _) = now.as_chunks_mut::<N>();
    let (asked, _) = asked.as_chunks::<N>();
    for (now, asked) in now.iter_mut().zip(asked) {
        *now = change(*now, *asked);
    }
}

fn add32(now: [u8; 4], asked: [u8; 4]) -> [u8; 4] {
    u32::from_be_bytes(now).wrapping_add(u32::from_be_bytes(asked)).to_be_bytes()
}

fn add64(now: [u8; 8], asked: [u8; 8]) -> [u8; 8] {
    u64::from_be_bytes(now).wrapping_add(u64::from_be_bytes(asked)).to_be_bytes()
}

fn or(now: [u8; 4], asked: [u8; 4]) -> [u8; 4] {
    (u32::from_be_bytes(now) | u32::from_be_bytes(asked)).to_be_bytes()
}

fn and(now: [u8; 4], asked: [u8; 4]) -> [u8; 4] {
    (u32::from_be_bytes(now) & u32::from_be_bytes(asked)).to_be_bytes()
}

fn answer(brick: &Arc<Brick>, of: &Subject, request: &Xdata) -> SysResult<Xdata> {
    let mut reply = of.answer(brick, request)?;
    if request.contains(keys::MODE_IN_XATTR) {
        let stat = of.stat(brick)?;
        if stat.is_file() {
            reply.make().set(keys::MODE_IN_XATTR, Value::Int(stat.mode.into()));
        }
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPS: [XattropOp; 7] = [
        XattropOp::AddArray,
        XattropOp::AddArray64,
        XattropOp::OrArray,
        XattropOp::AndArray,
        XattropOp::GetAndSet,
        XattropOp::AddArrayWithDefault,
        XattropOp::AddArray64WithDefault,
    ];

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn stored(value: Vec<u8>) -> Outcome {
        Outcome { write: Some(value.clone()), told: Some(value) }
    }

    /// A pending mark of replication: data 2, metadata 1, entry 0.
    #[test]
    fn pending_counts() {
        let mark = words(&[2, 1, 0]);
        assert_eq!(mark, [0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(compute(XattropOp::AddArray, None, &mark), stored(mark.clone()));
        assert_eq!(compute(XattropOp::AddArray, Some(&mark), &words(&[1, 0, 7])), stored(words(&[3, 1, 7])));
        // Back to zero: it stays, as zeros.
        let undo = words(&[u32::MAX - 1, u32::MAX, 0]);
        assert_eq!(compute(XattropOp::AddArray, Some(&mark), &undo), stored(words(&[0, 0, 0])));
    }

    #[test]
    fn erasure_codes_versions_and_sizes() {
        let version = [0_u64, 1].map(u64::to_be_bytes).concat();
        assert_eq!(compute(XattropOp::AddArray64, None, &version), stored(version.clone()));
        let less = (-4096_i64).to_be_bytes();
        let size = 0x1_0000_0000_u64.to_be_bytes();
        assert_eq!(
            compute(XattropOp::AddArray64, Some(&size), &less),
            stored(0xffff_f000_u64.to_be_bytes().to_vec())
        );
    }

    #[test]
    fn bits() {
        let old = words(&[0b1100, 0xf0]);
        assert_eq!(
            compute(XattropOp::OrArray, Some(&old), &words(&[0b0011, 0])),
            stored(words(&[0b1111, 0xf0]))
        );
        assert_eq!(
            compute(XattropOp::AndArray, Some(&old), &words(&[0b0100, 0xff])),
            stored(words(&[0b0100, 0xf0]))
        );
        // Nothing changes, nothing is written.
        let same = compute(XattropOp::OrArray, Some(&old), &words(&[0b0100, 0]));
        assert_eq!(same, Outcome { write: None, told: Some(old) });
    }

    #[test]
    fn the_old_value_is_told_before_it_is_replaced() {
        let first = compute(XattropOp::GetAndSet, None, b"new");
        assert_eq!(first, Outcome { write: Some(b"new".into()), told: None });
        let second = compute(XattropOp::GetAndSet, Some(b"o"), b"new");
        assert_eq!(second, Outcome { write: Some(b"new".into()), told: Some(b"o\0\0".into()) });
    }

    #[test]
    fn defaults_are_for_what_is_zero() {
        let asked = words(&[1, 1, 100, 200]);
        assert_eq!(compute(XattropOp::AddArrayWithDefault, None, &asked), stored(words(&[101, 201])));
        let old = words(&[0, 5]);
        assert_eq!(compute(XattropOp::AddArrayWithDefault, Some(&old), &asked), stored(words(&[101, 6])));
        let asked = [3_u64, 4].map(u64::to_be_bytes).concat();
        assert_eq!(
            compute(XattropOp::AddArray64WithDefault, None, &asked),
            stored(7_u64.to_be_bytes().to_vec())
        );
    }

    proptest! {
        #[test]
        fn zeros_read(old in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)), op in 0..7_usize, extra in 0..9_usize) {
            let op = OPS[op];
            prop_assume!(op != XattropOp::GetAndSet);
            let len = old.as_ref().map_or(0, Vec::len) + extra;
            let asked = vec![0; if result_len(op, 2) == 1 { len * 2 } else { len }];
            let outcome = compute(op, old.as_deref(), &asked);
            prop_assert_eq!(outcome.write, None);
            let mut told = old.unwrap_or_default();
            told.resize(len, 0);
            prop_assert_eq!(outcome.told, Some(told));
        }

        #[test]
        fn sums_do_not_depend_on_the_order(a in prop::collection::vec(any::<u32>(), 3), b in prop::collection::vec(any::<u32>(), 3)) {
            let add = |old: &[u8], asked: &[u8]| compute(XattropOp::AddArray, Some(old), asked).told.unwrap();
            let zero = words(&[0; 3]);
            let (a, b) = (words(&a), words(&b));
            prop_assert_eq!(add(&add(&zero, &a), &b), add(&add(&zero, &b), &a));
        }

        #[test]
        fn adding_matches_the_integers(a: [i64; 2], b: [i64; 2]) {
            let bytes = |numbers: [i64; 2]| numbers.map(i64::to_be_bytes).concat();
            let told = compute(XattropOp::AddArray64, Some(&bytes(a)), &bytes(b)).told.unwrap();
            prop_assert_eq!(told, bytes([a[0].wrapping_add(b[0]), a[1].wrapping_add(b[1])]));
        }

        #[test]
        fn any_request(old in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)), asked in prop::collection::vec(any::<u8>(), 0..80), op in 0..7_usize) {
            let op = OPS[op];
            let len = result_len(op, asked.len());
            prop_assume!(old.as_ref().is_none_or(|old| old.len() <= len));
            let outcome = compute(op, old.as_deref(), &asked);
            for value in [outcome.write, outcome.told].into_iter().flatten() {
                prop_assert_eq!(value.len(), len);
            }
        }
    }
}
