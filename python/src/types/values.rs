//! The classes of plain values: locations, attributes, locks, callers.

use kiln_uring::sys::{StatFs, Timespec};
use kiln_xlators::call::Caller;
use kiln_xlators::fop::request::{LeaseSpec, SetAttr, SetAttrValid};
use kiln_xlators::types::{
    ActiveLock, Flock, Gfid, IaType, Iatt, Loc, LockOwner, LockType, MdataTimes, Name,
};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use super::field::{Field, wrong_type};
use super::record::record;

record! {
    /// A location: an object by its gfid, an entry by its directory's gfid and its name, or both. With a name the entry is
    /// meant, and `gfid` is a hint.
    "Loc" LocValue(Loc) [] {
        gfid = gfid: Gfid,
        parent = parent: Gfid,
        name = name: Option<Name>,
    }
    default Loc::default();
    shared {
        /// The object itself.
        #[staticmethod]
        fn object(gfid: &Bound<'_, PyAny>) -> PyResult<Self> {
            Ok(Self(Loc::object(Gfid::from_py(gfid)?)))
        }

        /// The entry `name` of the directory `parent`.
        #[staticmethod]
        fn entry(parent: &Bound<'_, PyAny>, name: &Bound<'_, PyAny>) -> PyResult<Self> {
            Ok(Self(Loc::entry(Gfid::from_py(parent)?, Name::from_py(name)?)))
        }

        /// Whether it is the volume's root.
        #[getter]
        fn is_root(&self) -> bool {
            self.0.is_root()
        }

        fn __str__(&self) -> String {
            self.0.to_string()
        }
    }
}

record! {
    /// Attributes of an object. Times are nanoseconds since the epoch.
    "Iatt" IattValue(Iatt) [*,] {
        gfid = gfid: Gfid,
        r#type = kind: IaType,
        prot = prot: u32,
        nlink = nlink: u32,
        uid = uid: u32,
        gid = gid: u32,
        dev = dev: u64,
        rdev = rdev: u64,
        size = size: u64,
        blocks = blocks: u64,
        blksize = blksize: u32,
        atime = atime: Timespec,
        mtime = mtime: Timespec,
        ctime = ctime: Timespec,
    }
    default Iatt::default();
    shared {
        /// Type and permission bits together, as `st_mode`.
        #[getter]
        fn mode(&self) -> u32 {
            self.0.mode()
        }

        /// The inode number that clients see, derived from the gfid.
        #[getter]
        fn ino(&self) -> u64 {
            self.0.ino()
        }

        /// Whether it is a directory.
        #[getter]
        fn is_directory(&self) -> bool {
            self.0.is_dir()
        }

        /// Whether it is a regular file.
        #[getter]
        fn is_regular(&self) -> bool {
            self.0.is_regular()
        }

        /// Whether there is an object: the iatt of a failed or absent object is empty.
        fn __bool__(&self) -> bool {
            self.0.kind != IaType::Invalid
        }
    }
}

record! {
    /// New attributes of an object; `valid` (flags of `SetAttrValid`) tells which count.
    "SetAttr" SetAttrValue(SetAttr) [] {
        valid = valid: SetAttrValid,
        prot = prot: u32,
        uid = uid: u32,
        gid = gid: u32,
        atime = atime: Timespec,
        mtime = mtime: Timespec,
        ctime = ctime: Timespec,
    }
    default SetAttr::default();
    shared {}
}

record! {
    /// A byte range with its owner; a length of 0 reaches to the end of the file.
    "Flock" FlockValue(Flock) [] {
        r#type = kind: LockType,
        start = start: i64,
        len = len: i64,
        pid = pid: i32,
        owner = owner: LockOwner,
    }
    default Flock::default();
    shared {}
}

record! {
    /// A lock with the client that holds it.
    "ActiveLock" ActiveLockValue(ActiveLock) [] {
        flock = flock: Flock,
        client = client: String,
        flags = flags: u32,
    }
    default ActiveLock { flock: Flock::default(), client: String::new(), flags: 0 };
    shared {}
}

record! {
    /// A lease: `cmd` 1 get, 2 set, 3 unlock; `kind` 1 read, 2 write; `id` its owner in 16 bytes.
    "Lease" LeaseValue(LeaseSpec) [] {
        cmd = cmd: u32,
        kind = kind: u32,
        id = id: [u8; 16],
        flags = flags: u32,
    }
    default LeaseSpec::default();
    shared {}
}

record! {
    /// Space and inodes; blocks are counted in `frsize` bytes.
    "StatFs" StatFsValue(StatFs) [*,] {
        r#type = kind: u64,
        bsize = bsize: u64,
        frsize = frsize: u64,
        blocks = blocks: u64,
        bfree = bfree: u64,
        bavail = bavail: u64,
        files = files: u64,
        ffree = ffree: u64,
        favail = favail: u64,
        fsid = fsid: u64,
        flags = flags: u64,
        namemax = namemax: u64,
    }
    default StatFs::default();
    shared {}
}

record! {
    /// Times for `trusted.glusterfs.mdata`, in nanoseconds: a value of a `Dict`.
    "MdataTimes" MdataTimesValue(MdataTimes) [*,] {
        ctime = ctime: Timespec,
        mtime = mtime: Timespec,
        atime = atime: Timespec,
    }
    default MdataTimes::default();
    shared {}
}

record! {
    /// Who asks. `pid` is negative for GlusterFS's internal clients; `client` is the connection or mount.
    "Caller" CallerValue(Caller) [*,] {
        uid = uid: u32,
        gid = gid: u32,
        groups = groups: Box<[u32]>,
        pid = pid: i32,
        lock_owner = lock_owner: LockOwner,
        client = client: u64,
    }
    default Caller::default();
    shared {
        /// Whether it is one of GlusterFS's internal clients (self-heal, rebalance).
        #[getter]
        fn is_internal(&self) -> bool {
            self.0.is_internal()
        }

        /// Whether the caller is in that group.
        fn in_group(&self, gid: u32) -> bool {
            self.0.in_group(gid)
        }
    }
}

impl From<&Caller> for CallerValue {
    fn from(caller: &Caller) -> Self {
        Self(caller.clone())
    }
}

/// All locks of a file.
impl Field for Vec<ActiveLock> {
    const GIVES: &'static str = "tuple[ActiveLock, ...]";
    const TAKES: &'static str = "Iterable[ActiveLock]";

    fn to_py<'py>(
        &self,
        py: Python<'py>,
        _: impl FnOnce() -> super::held::Held<Self>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let locks = self.iter().map(|lock| Bound::new(py, ActiveLockValue(lock.clone())));
        Ok(PyTuple::new(py, locks.collect::<PyResult<Vec<_>>>()?)?.into_any())
    }

    fn from_py(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        value.try_iter()?.map(|lock| ActiveLock::from_py(&lock?)).collect()
    }

    fn again(&self) -> Self {
        self.clone()
    }
}

/// A gfid as text: `5b0f4ad7-3c1e-4d52-9c5c-0a1b2c3d4e5f`.
#[pyfunction]
fn gfid_text<'py>(py: Python<'py>, gfid: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    Ok(PyString::new(py, &Gfid::from_py(gfid)?.to_string()))
}

/// The gfid that a text names, in either case.
#[pyfunction]
fn gfid_bytes<'py>(py: Python<'py>, text: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let text = text.cast::<PyString>().map_err(|_| wrong_type("str", text))?;
    let gfid: Gfid = text
        .to_str()?
        .parse()
        .map_err(|error| pyo3::exceptions::PyValueError::new_err(format!("{text}: {error}")))?;
    Ok(PyBytes::new(py, gfid.as_bytes()))
}

/// Adds the classes, the functions on gfids, and the gfids that have a name.
///
/// # Errors
/// What Python raises.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add_class::<LocValue>()?;
    module.add_class::<IattValue>()?;
    module.add_class::<SetAttrValue>()?;
    module.add_class::<FlockValue>()?;
    module.add_class::<ActiveLockValue>()?;
    module.add_class::<LeaseValue>()?;
    module.add_class::<StatFsValue>()?;
    module.add_class::<MdataTimesValue>()?;
    module.add_class::<CallerValue>()?;
    module.add("ROOT", PyBytes::new(py, Gfid::ROOT.as_bytes()))?;
    module.add("NULL", PyBytes::new(py, Gfid::NULL.as_bytes()))?;
    module.add_function(wrap_pyfunction!(gfid_text, module)?)?;
    module.add_function(wrap_pyfunction!(gfid_bytes, module)?)
}
