//! The enumerations: real `enum.IntEnum` classes, whose members are made once.

use kiln_xlators::fop::request::{SeekWhat, SetAttrValid, XattropOp};
use kiln_xlators::types::{EntrylkCmd, IaType, LkCmd, LockType};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};

use super::field::{Field, wrong_type};
use super::held::Held;

/// One enumeration of the module.
pub struct EnumInfo {
    /// Its name.
    pub name: &'static str,
    /// Names and numbers of its members.
    pub members: &'static [(&'static str, u32)],
    class: fn(Python<'_>) -> PyResult<Py<PyAny>>,
}

fn make_class(
    py: Python<'_>,
    base: &str,
    name: &str,
    about: &str,
    members: &[(&str, u32)],
) -> PyResult<Py<PyAny>> {
    let keywords = PyDict::new(py);
    keywords.set_item("module", "kiln")?;
    keywords.set_item("qualname", name)?;
    let pairs = PyTuple::new(py, members.iter().copied())?;
    let class = py.import("enum")?.getattr(base)?.call((name, pairs), Some(&keywords))?;
    class.setattr("__doc__", about.trim())?;
    Ok(class.unbind())
}

/// The class and its members by their number.
struct Members {
    class: Py<PyAny>,
    by_number: Vec<Py<PyAny>>,
}

macro_rules! int_enums {
    ($(#[doc = $doc:literal] $type:ident { $($member:ident = $variant:ident = $number:literal,)* })*) => {
        /// All of them.
        pub const ENUMS: &[EnumInfo] = &[$(EnumInfo {
            name: stringify!($type),
            members: &[$((stringify!($member), $number)),*],
            class: |py| Ok(<$type as IntEnum>::members(py)?.class.clone_ref(py)),
        }),*];

        $(
            impl IntEnum for $type {
                fn members(py: Python<'_>) -> PyResult<&'static Members> {
                    static MEMBERS: PyOnceLock<Members> = PyOnceLock::new();
                    MEMBERS.get_or_try_init(py, || {
                        let names = [$((stringify!($member), $number)),*];
                        let class = make_class(py, "IntEnum", stringify!($type), $doc, &names)?;
                        let by_number = vec![$(class.getattr(py, stringify!($member))?),*];
                        Ok(Members { class, by_number })
                    })
                }
            }

            impl Field for $type {
                const GIVES: &'static str = stringify!($type);
                const TAKES: &'static str = "int";

                fn to_py<'py>(
                    &self,
                    py: Python<'py>,
                    _: impl FnOnce() -> Held<Self>,
                ) -> PyResult<Bound<'py, PyAny>> {
                    let number: usize = match self {
                        $(Self::$variant => $number,)*
                    };
                    Ok(Self::members(py)?.by_number[number].bind(py).clone())
                }

                fn from_py(value: &Bound<'_, PyAny>) -> PyResult<Self> {
                    let number: i64 = value.extract().map_err(|_| wrong_type(stringify!($type), value))?;
                    match number {
                        $($number => Ok(Self::$variant),)*
                        _ => Err(PyValueError::new_err(
                            format!("{number} is no {}", stringify!($type)),
                        )),
                    }
                }

                fn again(&self) -> Self {
                    *self
                }
            }
        )*
    };
}

/// An enumeration with its Python class.
trait IntEnum {
    fn members(py: Python<'_>) -> PyResult<&'static Members>;
}

// The numbers count from 0 without a gap: they index the members. They are those of the wire (`ia_type_t`, `gf_lk_cmds_t`,
// `entrylk_cmd`, `gf_xattrop_flags_t`, `gf_seek_what_t`).
int_enums! {
    /// What kind of object it is.
    IaType {
        INVALID = Invalid = 0,
        REGULAR = Regular = 1,
        DIRECTORY = Directory = 2,
        SYMLINK = Symlink = 3,
        BLOCK = Block = 4,
        CHARACTER = Character = 5,
        FIFO = Fifo = 6,
        SOCKET = Socket = 7,
    }
    /// Kind of a lock.
    LockType {
        READ = Read = 0,
        WRITE = Write = 1,
        UNLOCK = Unlock = 2,
    }
    /// What an `lk` does.
    LkCmd {
        GET = Get = 0,
        SET = Set = 1,
        SET_WAIT = SetWait = 2,
        RESERVE = Reserve = 3,
        RESERVE_WAIT = ReserveWait = 4,
        UNRESERVE = Unreserve = 5,
        GET_FD = GetFd = 6,
    }
    /// What an `entrylk` does.
    EntrylkCmd {
        LOCK = Lock = 0,
        UNLOCK = Unlock = 1,
        TRY_LOCK = TryLock = 2,
    }
    /// What `xattrop` does with each key; arrays are big-endian.
    XattropOp {
        ADD_ARRAY = AddArray = 0,
        ADD_ARRAY_64 = AddArray64 = 1,
        OR_ARRAY = OrArray = 2,
        AND_ARRAY = AndArray = 3,
        GET_AND_SET = GetAndSet = 4,
        ADD_ARRAY_WITH_DEFAULT = AddArrayWithDefault = 5,
        ADD_ARRAY_64_WITH_DEFAULT = AddArray64WithDefault = 6,
    }
    /// What `seek` looks for.
    SeekWhat {
        DATA = Data = 0,
        HOLE = Hole = 1,
    }
}

/// The flags of a `SetAttr` with their numbers.
pub const SETATTR_VALID: &[(&str, u32)] = &[
    ("MODE", SetAttrValid::MODE.bits()),
    ("UID", SetAttrValid::UID.bits()),
    ("GID", SetAttrValid::GID.bits()),
    ("SIZE", SetAttrValid::SIZE.bits()),
    ("ATIME", SetAttrValid::ATIME.bits()),
    ("MTIME", SetAttrValid::MTIME.bits()),
    ("CTIME", SetAttrValid::CTIME.bits()),
    ("ATIME_NOW", SetAttrValid::ATIME_NOW.bits()),
    ("MTIME_NOW", SetAttrValid::MTIME_NOW.bits()),
];

/// GlusterFS's names of the members of `IaType`.
pub const IA_NAMES: &[(&str, IaType)] = &[
    ("IA_INVAL", IaType::Invalid),
    ("IA_IFREG", IaType::Regular),
    ("IA_IFDIR", IaType::Directory),
    ("IA_IFLNK", IaType::Symlink),
    ("IA_IFBLK", IaType::Block),
    ("IA_IFCHR", IaType::Character),
    ("IA_IFIFO", IaType::Fifo),
    ("IA_IFSOCK", IaType::Socket),
];

/// What a `Dirent`'s `kind` may be.
pub const DT_NAMES: &[(&str, IaType)] = &[
    ("DT_UNKNOWN", IaType::Invalid),
    ("DT_REG", IaType::Regular),
    ("DT_DIR", IaType::Directory),
    ("DT_LNK", IaType::Symlink),
    ("DT_BLK", IaType::Block),
    ("DT_CHR", IaType::Character),
    ("DT_FIFO", IaType::Fifo),
    ("DT_SOCK", IaType::Socket),
];

/// Adds the classes and the constants to the module.
///
/// # Errors
/// What Python raises.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    for info in ENUMS {
        module.add(info.name, (info.class)(py)?)?;
    }
    for (name, kind) in IA_NAMES {
        module.add(*name, kind.to_py(py, || Held::Own(*kind))?)?;
    }
    for (name, kind) in DT_NAMES {
        module.add(*name, kind.to_dirent())?;
    }
    module.add(
        "SetAttrValid",
        make_class(py, "IntFlag", "SetAttrValid", "Which fields of a SetAttr count.", SETATTR_VALID)?,
    )
}
