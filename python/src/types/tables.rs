//! The tables of fops and replies for generators of type stubs and for the host.

use std::collections::BTreeMap;

use kiln_xlators::fop::Fop;
use kiln_xlators::fop::reply::REPLIES;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::enums::{ENUMS, SETATTR_VALID};
use super::record::FieldInfo;
use super::{dirent, values};

/// `FOPS`: `(name, number, [(argument, type)…], reply, about, access, subject)` per fop; `REPLIES`: `[(field, type)…]` by the
/// reply's name; `TYPES`: what an attribute gives and what a constructor takes, by the type's name in the other two;
/// `RECORDS`: `(field, gives, takes)` of the plain values; `ENUMS`: members with numbers.
///
/// # Errors
/// What Python raises.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let fops = Fop::TABLE.iter().map(|row| {
        let args = row.args.to_vec();
        let about = row.about.trim();
        let number = row.fop.number();
        (row.name, number, args, row.reply, about, format!("{:?}", row.access), format!("{:?}", row.subject))
    });
    module.add("FOPS", PyList::new(py, fops.collect::<Vec<_>>())?)?;

    let replies = PyDict::new(py);
    for row in REPLIES {
        replies.set_item(row.name, row.fields.to_vec())?;
    }
    module.add("REPLIES", replies)?;

    let all = super::request::ARGUMENT_TYPES.iter().chain(super::reply::FIELD_TYPES);
    let types: BTreeMap<_, _> = all.map(|(name, gives, takes)| (*name, (*gives, *takes))).collect();
    module.add("TYPES", types)?;

    let records: [(&str, &[FieldInfo]); 10] = [
        ("Loc", values::LocValue::FIELDS),
        ("Iatt", values::IattValue::FIELDS),
        ("SetAttr", values::SetAttrValue::FIELDS),
        ("Flock", values::FlockValue::FIELDS),
        ("ActiveLock", values::ActiveLockValue::FIELDS),
        ("Lease", values::LeaseValue::FIELDS),
        ("StatFs", values::StatFsValue::FIELDS),
        ("MdataTimes", values::MdataTimesValue::FIELDS),
        ("Caller", values::CallerValue::FIELDS),
        ("Dirent", dirent::FIELDS),
    ];
    let fields = PyDict::new(py);
    for (name, rows) in records {
        fields.set_item(name, rows.to_vec())?;
    }
    module.add("RECORDS", fields)?;

    let enums = PyDict::new(py);
    for info in ENUMS {
        enums.set_item(info.name, info.members.to_vec())?;
    }
    enums.set_item("SetAttrValid", SETATTR_VALID.to_vec())?;
    module.add("ENUMS", enums)
}
