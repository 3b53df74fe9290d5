//! File data as Python sees it: a read-only `memoryview` of the engine's buffer, without a copy.
//!
//! The view belongs to a [`DataValue`], which keeps the request or reply, and with it the buffer, alive for as long as any
//! view does. Nobody writes to a buffer that is shared: the engine has handed the request or reply out as an [`Arc`].
//!
//! [`Arc`]: std::sync::Arc

use std::ffi::c_int;

use kiln_uring::Buf;
use pyo3::buffer::PyBuffer;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

use super::field::{Field, wrong_type};
use super::held::Held;

/// The bytes of a request or reply, for those who want a buffer.
#[pyclass(frozen, module = "kiln", name = "Data")]
#[derive(Debug)]
pub struct DataValue(Held<Buf>);

#[pymethods]
impl DataValue {
    fn __len__(&self) -> usize {
        self.0.get().len()
    }

    // SAFETY: Python calls it with a view that it may fill in, as the slot's contract says.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let bytes: &[u8] = slf.get().0.get();
        let len = ffi::Py_ssize_t::try_from(bytes.len())?;
        let address = bytes.as_ptr().cast_mut().cast();
        // SAFETY: the bytes stay where they are and unchanged while `slf` lives, which the view keeps alive: the object is
        // frozen, owns (a share of) the Buf, and a Buf never moves its memory. The view is marked read-only, so Python does
        // not write through the pointer, and a request for a writable view is refused. No release is needed: the view
        // holds nothing but the reference to `slf`.
        let filled = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), address, len, 1, flags) };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

impl Field for Buf {
    const GIVES: &'static str = "memoryview";
    const TAKES: &'static str = "Buffer";

    fn to_py<'py>(&self, py: Python<'py>, hold: impl FnOnce() -> Held<Self>) -> PyResult<Bound<'py, PyAny>> {
        let data = Bound::new(py, DataValue(hold()))?;
        Ok(PyMemoryView::from(data.as_any())?.into_any())
    }

    fn from_py(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = value.cast::<PyBytes>() {
            return Ok(Self::from_slice(bytes.as_bytes()));
        }
        let py = value.py();
        let buffer = match PyBuffer::<u8>::get(value) {
            Ok(buffer) => buffer,
            // A buffer of other elements, such as an array of integers: its bytes count.
            Err(_) => PyMemoryView::from(value)
                .and_then(|view| PyBuffer::get(&view.call_method1("cast", ("B",))?))
                .map_err(|_| wrong_type("bytes or another contiguous buffer", value))?,
        };
        let mut data = Self::heap(buffer.len_bytes());
        buffer.copy_to_slice(py, &mut data)?;
        Ok(data)
    }

    fn again(&self) -> Self {
        Self::from_slice(self)
    }
}
