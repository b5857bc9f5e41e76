//! Where the generator and the server run.
//!
//! With one message in flight, the two never have work at the same time. The scheduler may then put
//! both on one processor, where waking up costs little, or on two, where it costs several times as
//! much; which it does is a matter of luck. A run that is to be compared must not leave it to that.

use std::fs;
use std::mem::{self, MaybeUninit};

use crate::Outcome;

/// Keeps this process on one processor, and the server's threads on all others.
pub fn keep_apart(server: libc::pid_t) -> Outcome<()> {
    let allowed = allowed_processors()?;
    let [others @ .., own] = allowed.as_slice() else {
        return Ok(());
    };
    if others.is_empty() {
        return Err("keeping the generator and the server apart takes two processors".into());
    }
    restrict(0, &[*own])?;
    for task in fs::read_dir(format!("/proc/{server}/task"))? {
        if let Some(thread) = task?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        {
            restrict(thread, others)?;
        }
    }
    Ok(())
}

fn allowed_processors() -> Outcome<Vec<usize>> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: the pointer and the size describe `set`.
    let result = unsafe { libc::sched_getaffinity(0, mem::size_of_val(&set), set.as_mut_ptr()) };
    if result != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: a set of bits is valid whatever its bits are, and it was zeroed at the start.
    let set = unsafe { set.assume_init() };
    // SAFETY: only numbers within the set are asked for.
    let is_set = |processor: &usize| unsafe { libc::CPU_ISSET(*processor, &set) };
    Ok((0..libc::CPU_SETSIZE as usize).filter(is_set).collect())
}

fn restrict(thread: libc::pid_t, processors: &[usize]) -> Outcome<()> {
    // SAFETY: a set of bits is valid when all are zero.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    for &processor in processors {
        // SAFETY: the numbers come from a set of the same size.
        unsafe { libc::CPU_SET(processor, &mut set) };
    }
    // SAFETY: the pointer and the size describe `set`, which the kernel only reads.
    let result = unsafe { libc::sched_setaffinity(thread, mem::size_of_val(&set), &set) };
    if result != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(())
}
