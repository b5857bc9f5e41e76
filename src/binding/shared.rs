//! Memory that JavaScript allocated once and shares with this side for good.

use std::cell::Cell;
use std::ptr;

use napi::sys;

use crate::binding::raw::{check, memory_of, slice, Fault, Outcome};

/// The elements of a typed array. Either it never leaves `lib/`, so that nobody detaches it, or it is looked at with
/// [`Shared::is_in_place`] before it is used.
pub struct Shared<T> {
    data: Cell<*mut T>,
    length: Cell<usize>,
    reference: Cell<sys::napi_ref>,
}

impl<T> Default for Shared<T> {
    /// No memory yet.
    fn default() -> Self {
        Self {
            data: Cell::new(ptr::null_mut()),
            length: Cell::new(0),
            reference: Cell::new(ptr::null_mut()),
        }
    }
}

/// An element type of a typed array.
pub trait Element: Copy {
    /// Node-API's number of the array's type.
    const ARRAY: sys::napi_typedarray_type;
}

impl Element for i32 {
    const ARRAY: sys::napi_typedarray_type = sys::TypedarrayType::int32_array;
}

impl Element for f64 {
    const ARRAY: sys::napi_typedarray_type = sys::TypedarrayType::float64_array;
}

impl<T> Shared<T> {
    fn keep(
        env: sys::napi_env,
        value: sys::napi_value,
        data: *mut T,
        length: usize,
    ) -> Outcome<Self> {
        let mut reference = ptr::null_mut();
        // SAFETY: a strong reference to a live value; it keeps the memory alive until `replace` or the environment's
        // end.
        let status = unsafe { sys::napi_create_reference(env, value, 1, &mut reference) };
        check(status, "cannot keep the array")?;
        Ok(Self {
            data: Cell::new(data),
            length: Cell::new(length),
            reference: Cell::new(reference),
        })
    }

    /// How many elements there are.
    pub fn length(&self) -> usize {
        self.length.get()
    }

    /// Gives the array up: it is empty from here on.
    pub fn release(&self, env: sys::napi_env) {
        self.become_like(env, &Self::default());
    }

    fn become_like(&self, env: sys::napi_env, other: &Self) {
        self.data.set(other.data.get());
        self.length.set(other.length.get());
        let old = self.reference.replace(other.reference.get());
        if !old.is_null() {
            // SAFETY: the old reference is deleted once, after its last use.
            unsafe { sys::napi_delete_reference(env, old) };
        }
    }
}

impl<T: Element> Shared<T> {
    /// Takes an array.
    pub fn adopt(env: sys::napi_env, value: sys::napi_value) -> Outcome<Self> {
        let (mut kind, mut length, mut data) = (0, 0, ptr::null_mut());
        // SAFETY: `value` belongs to the current call; unwanted results are null pointers.
        let status = unsafe {
            sys::napi_get_typedarray_info(
                env,
                value,
                &mut kind,
                &mut length,
                &mut data,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        check(status, "expected a typed array")?;
        if kind != T::ARRAY {
            return Err(Fault::Type("expected another typed array"));
        }
        Self::keep(env, value, data.cast(), length)
    }

    /// Has an array made, in the place of this one.
    pub fn make(&self, env: sys::napi_env, length: usize) -> Outcome<sys::napi_value> {
        let (mut memory, mut data, mut value) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        let size = length.saturating_mul(size_of::<T>());
        // SAFETY: all pointers are valid for the call.
        let status = unsafe { sys::napi_create_arraybuffer(env, size, &mut data, &mut memory) };
        check(status, "cannot make the array")?;
        // SAFETY: the memory was just made, as large as the array.
        let status =
            unsafe { sys::napi_create_typedarray(env, T::ARRAY, length, memory, 0, &mut value) };
        check(status, "cannot make the array")?;
        self.replace(env, value)?;
        Ok(value)
    }

    /// The array itself, if there is one.
    pub fn value(&self, env: sys::napi_env) -> Outcome<Option<sys::napi_value>> {
        if self.reference.get().is_null() {
            return Ok(None);
        }
        let mut value = ptr::null_mut();
        // SAFETY: the reference is strong and not deleted while it is kept here.
        let status =
            unsafe { sys::napi_get_reference_value(env, self.reference.get(), &mut value) };
        check(status, "the array is gone").map(|()| Some(value))
    }

    /// Takes another array in the place of this one.
    pub fn replace(&self, env: sys::napi_env, value: sys::napi_value) -> Outcome<()> {
        self.become_like(env, &Self::adopt(env, value)?);
        Ok(())
    }
}

impl<T: Copy> Shared<T> {
    /// The element at `index`.
    pub fn get(&self, index: usize) -> Option<T> {
        // SAFETY: the index lies inside the array, whose memory the reference keeps alive. It is used on this thread
        // only.
        (index < self.length.get()).then(|| unsafe { self.data.get().add(index).read() })
    }

    /// Sets the element at `index`, if there is one.
    pub fn set(&self, index: usize, value: T) {
        if index < self.length.get() {
            // SAFETY: as in `get`.
            unsafe { self.data.get().add(index).write(value) };
        }
    }

    /// Sets the elements from `index` on, if all of them lie inside.
    pub fn write(&self, index: usize, values: &[T]) {
        let fits = index
            .checked_add(values.len())
            .is_some_and(|end| end <= self.length.get());
        if fits {
            // SAFETY: the range lies inside the array; the rest is as in `get`.
            unsafe {
                ptr::copy_nonoverlapping(values.as_ptr(), self.data.get().add(index), values.len());
            }
        }
    }
}

impl Shared<u8> {
    /// Takes a Buffer.
    pub fn adopt_bytes(env: sys::napi_env, value: sys::napi_value) -> Outcome<Self> {
        let (data, length) = memory_of(env, value)?;
        Self::keep(env, value, data, length)
    }

    /// Whether the Buffer still has its memory.
    pub fn is_in_place(&self, env: sys::napi_env) -> bool {
        if self.reference.get().is_null() {
            return false;
        }
        let mut scope = ptr::null_mut();
        // SAFETY: on the thread of `env`; the scope bounds the handle made in it.
        unsafe {
            if sys::napi_open_handle_scope(env, &mut scope) != sys::Status::napi_ok {
                return false;
            }
            let mut value = ptr::null_mut();
            sys::napi_get_reference_value(env, self.reference.get(), &mut value);
            let memory = memory_of(env, value);
            sys::napi_close_handle_scope(env, scope);
            matches!(memory, Ok(memory) if memory == (self.data.get(), self.length.get()))
        }
    }

    /// Takes the array for empty from here on.
    pub fn forget(&self) {
        self.length.set(0);
    }

    /// Takes another Buffer in the place of this one.
    pub fn replace_bytes(&self, env: sys::napi_env, value: sys::napi_value) -> Outcome<()> {
        self.become_like(env, &Self::adopt_bytes(env, value)?);
        Ok(())
    }

    /// The bytes.
    ///
    /// # Safety
    /// While the slice is alive, no JavaScript runs and no other slice of it is made.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn bytes(&self) -> &mut [u8] {
        // SAFETY: the reference keeps the memory alive; the rest is passed on to the caller.
        unsafe { slice(self.data.get(), self.length.get()) }
    }
}
