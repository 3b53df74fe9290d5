//! `gfx_dict`: the typed dictionary of the 4.x programs.

use std::borrow::Cow;
use std::ffi::CStr;

use kiln_uring::sys::Timespec;

use super::{IATT_SIZE, Reader, Wire, Writer, XdrError, padded};
use crate::types::dict::{Key, Value};
use crate::types::{Dict, Gfid, Iatt, MdataTimes, Xdata};

/// Most pairs of one dictionary. Clients send a few dozen; listing an object's xattrs may take some hundred.
pub const MAX_PAIRS: usize = 4096;

/// `gfx_mdata_iatt` in bytes.
pub const MDATA_SIZE: usize = 36;

/// The union's discriminants (`gf_dict_data_type_t`).
mod code {
    pub const STR_OLD: i32 = 1;
    pub const INT: i32 = 2;
    pub const UINT: i32 = 3;
    pub const DOUBLE: i32 = 4;
    pub const STR: i32 = 5;
    pub const PTR: i32 = 6;
    pub const GFUUID: i32 = 7;
    pub const IATT: i32 = 8;
    pub const MDATA: i32 = 9;
}

/// Bytes of the pairs, which is what `xdr_size` tells.
fn pairs_size(dict: &Dict) -> usize {
    dict.iter().map(|(key, value)| 4 + padded(key.count_bytes() + 1) + value.size()).sum()
}

/// Text with its NUL, or something else.
fn text_or_bytes(bytes: &[u8]) -> Value {
    match CStr::from_bytes_with_nul(bytes).map(CStr::to_str) {
        Ok(Ok(text)) => Value::Str(text.into()),
        _ => Value::Bin(bytes.into()),
    }
}

impl Wire<'_> for Value {
    fn size(&self) -> usize {
        4 + match self {
            Self::Int(_) | Self::Uint(_) | Self::Double(_) => 8,
            Self::Str(text) => 4 + padded(text.len() + 1),
            Self::Bin(bytes) => 4 + padded(bytes.len()),
            Self::Gfid(_) => 16,
            Self::Iatt(_) => IATT_SIZE,
            Self::Mdata(_) => MDATA_SIZE,
        }
    }

    fn put(&self, to: &mut Writer<'_>) {
        match self {
            Self::Int(number) => {
                code::INT.put(to);
                number.put(to);
            }
            Self::Uint(number) => {
                code::UINT.put(to);
                number.put(to);
            }
            Self::Double(number) => {
                code::DOUBLE.put(to);
                number.put(to);
            }
            Self::Str(text) => {
                code::STR.put(to);
                to.len(text.len() + 1);
                to.raw(text.as_bytes());
                to.raw(&[0]);
                to.pad(text.len() + 1);
            }
            Self::Bin(bytes) => {
                code::PTR.put(to);
                to.opaque(bytes);
            }
            Self::Gfid(gfid) => {
                code::GFUUID.put(to);
                gfid.put(to);
            }
            Self::Iatt(iatt) => {
                code::IATT.put(to);
                iatt.put(to);
            }
            Self::Mdata(times) => {
                code::MDATA.put(to);
                times.put(to);
            }
        }
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, XdrError> {
        Ok(match i32::get(from)? {
            code::STR_OLD | code::STR => text_or_bytes(from.opaque()?),
            code::INT => Self::Int(Wire::get(from)?),
            code::UINT => Self::Uint(Wire::get(from)?),
            code::DOUBLE => Self::Double(Wire::get(from)?),
            code::PTR => Self::Bin(from.opaque()?.into()),
            code::GFUUID => Self::Gfid(Gfid::get(from)?),
            code::IATT => Self::Iatt(Box::new(Iatt::get(from)?)),
            code::MDATA => Self::Mdata(Box::new(MdataTimes::get(from)?)),
            _ => return Err(XdrError::Value),
        })
    }
}

impl Wire<'_> for MdataTimes {
    fn size(&self) -> usize {
        MDATA_SIZE
    }

    fn put(&self, to: &mut Writer<'_>) {
        let times = [self.atime, self.mtime, self.ctime];
        times.iter().for_each(|time| time.sec.put(to));
        times.iter().for_each(|time| time.nsec.put(to));
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, XdrError> {
        let mut times = [Timespec::default(); 3];
        for time in &mut times {
            time.sec = i64::get(from)?;
        }
        for time in &mut times {
            time.nsec = u32::get(from)?;
        }
        let [atime, mtime, ctime] = times;
        Ok(Self { ctime, mtime, atime })
    }
}

/// A key without its NUL; what follows an earlier NUL is cut, as C does.
fn key(bytes: &[u8]) -> Result<Key, XdrError> {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let owned = std::ffi::CString::new(text).map_err(|_| XdrError::Value)?;
    Ok(Cow::Owned(owned))
}

/// The pairs and their number, behind `xdr_size`. `None` for the dictionary that is none.
fn get_pairs(from: &mut Reader<'_>) -> Result<Option<Dict>, XdrError> {
    let _size = u32::get(from)?;
    let count = i32::get(from)?;
    let pairs = u32::get(from)? as usize;
    if pairs > MAX_PAIRS {
        return Err(XdrError::Many);
    }
    let mut dict = Dict::new();
    for _ in 0..pairs {
        let key = key(from.opaque()?)?;
        dict.set(key, Value::get(from)?);
    }
    Ok((count >= 0).then_some(dict))
}

fn put_pairs(dict: &Dict, to: &mut Writer<'_>) {
    to.len(pairs_size(dict));
    to.len(dict.len());
    to.len(dict.len());
    for (key, value) in dict.iter() {
        to.opaque(key.to_bytes_with_nul());
        value.put(to);
    }
}

/// A dictionary that must be there; one that is not reads as empty.
impl Wire<'_> for Dict {
    fn size(&self) -> usize {
        12 + pairs_size(self)
    }

    fn put(&self, to: &mut Writer<'_>) {
        put_pairs(self, to);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, XdrError> {
        get_pairs(from).map(Option::unwrap_or_default)
    }
}

/// A dictionary or none, which is told from an empty one.
impl Wire<'_> for Xdata {
    fn size(&self) -> usize {
        12 + self.dict().map_or(0, pairs_size)
    }

    fn put(&self, to: &mut Writer<'_>) {
        match self.dict() {
            Some(dict) => put_pairs(dict, to),
            None => [0, -1, 0].iter().for_each(|word: &i32| word.put(to)),
        }
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, XdrError> {
        Ok(get_pairs(from)?.map_or(Self::NONE, Self::new))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::to_vec;
    use super::*;
    use proptest::prelude::*;

    /// Any dictionary that survives the wire: keys are not empty only by custom, text has no NUL.
    pub(crate) fn any_dict() -> impl Strategy<Value = Dict> {
        let value = prop_oneof![
            any::<i64>().prop_map(Value::Int),
            any::<u64>().prop_map(Value::Uint),
            (-1e300..1e300).prop_map(Value::Double),
            "[^\0]{0,20}".prop_map(Value::Str),
            // Text that came with its NUL is text, so binaries end otherwise here.
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bin),
            any::<[u8; 16]>().prop_map(|bytes| Value::Gfid(Gfid::from_bytes(bytes))),
            any::<u64>().prop_map(|size| Value::Iatt(Box::new(Iatt { size, ..Iatt::default() }))),
            any::<(i64, u32)>().prop_map(|(sec, nsec)| {
                let time = Timespec { sec, nsec };
                Value::Mdata(Box::new(MdataTimes { ctime: time, mtime: Timespec::default(), atime: time }))
            }),
        ];
        prop::collection::vec(("[a-z.]{1,12}", value), 0..6).prop_map(|pairs| {
            pairs
                .into_iter()
                .map(|(key, value)| (Key::Owned(std::ffi::CString::new(key).unwrap()), value))
                .collect()
        })
    }

    #[test]
    fn the_example_of_the_reference() {
        let dict = Dict::from_iter([(c"gfid-req", Value::Gfid(Gfid::ROOT))]);
        let wire = to_vec(&dict);
        let head = [0, 0, 0, 0x24, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9];
        assert_eq!(wire[..16], head);
        assert_eq!(&wire[16..28], b"gfid-req\0\0\0\0");
        assert_eq!(wire[28..32], [0, 0, 0, 7]);
        assert_eq!(wire.len(), 48);
    }

    #[test]
    fn none_differs_from_empty_and_lies_are_refused() {
        let none = to_vec(&Xdata::NONE);
        assert_eq!(none, [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        assert!(<Xdata as Wire>::get(&mut Reader::new(&none)).unwrap().is_none());
        assert!(!<Xdata as Wire>::get(&mut Reader::new(&[0; 12])).unwrap().is_none());
        let many = [&[0; 4][..], &[0x7f, 0xff, 0xff, 0xff], &[0x7f, 0xff, 0xff, 0xff]].concat();
        assert_eq!(<Xdata as Wire>::get(&mut Reader::new(&many)), Err(XdrError::Many));
        let mut unknown = to_vec(&Dict::from_iter([(c"k", Value::Int(1))]));
        unknown[23] = 11;
        assert_eq!(<Dict as Wire>::get(&mut Reader::new(&unknown)), Err(XdrError::Value));
    }

    proptest! {
        #[test]
        fn dictionaries_round_trip(dict in any_dict()) {
            let wire = to_vec(&dict);
            prop_assert_eq!(wire.len(), dict.size());
            prop_assert_eq!(u32::from_be_bytes(wire[..4].try_into().unwrap()) as usize, wire.len() - 12);
            prop_assert_eq!(<Dict as Wire>::get(&mut Reader::new(&wire)).unwrap(), dict);
        }

        #[test]
        fn any_bytes_are_a_dictionary_or_refused(bytes: Vec<u8>) {
            let _ = <Xdata as Wire>::get(&mut Reader::new(&bytes));
        }
    }
}
