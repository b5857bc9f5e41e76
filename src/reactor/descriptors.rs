//! Duplicates of descriptors, and room for them.

use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Another descriptor for what `descriptor` stands for, which stays its owner's.
pub fn duplicate(descriptor: RawFd) -> io::Result<OwnedFd> {
    let copy = duplicate_from(descriptor, 0)?;
    #[cfg(target_os = "linux")]
    table::make_room(copy.as_raw_fd());
    Ok(copy)
}

/// As [`duplicate`], with the first free number that is not below `least`.
fn duplicate_from(descriptor: RawFd, least: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the call takes no pointers and refuses what is not an open descriptor.
    let copy = unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, least) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// The process's table of descriptors. Linux doubles it when it is full, and in a process with threads it waits each time
/// until no processor can use the old one any more: some milliseconds, in which the loop stands still. So it is asked for
/// more at a time.
#[cfg(target_os = "linux")]
mod table {
    use std::os::fd::RawFd;
    use std::sync::atomic::{AtomicI32, Ordering};

    use super::duplicate_from;

    /// How many descriptors the table has room for at first.
    const FIRST: RawFd = 64;
    /// So many times larger it becomes.
    const GROWTH: RawFd = 16;

    /// How many it has room for, at least. It belongs to the process, like the table.
    static ROOM: AtomicI32 = AtomicI32::new(FIRST);

    /// Enlarges the table when `newest`, a descriptor that was just made, is in its last quarter.
    pub fn make_room(newest: RawFd) {
        let room = ROOM.load(Ordering::Relaxed);
        if newest < room / 4 * 3 {
            return;
        }
        let limit = limit();
        let larger = room.max(newest).saturating_mul(GROWTH).min(limit);
        // No table is larger than the limit, so that is all there will ever be.
        let known = if larger == limit { RawFd::MAX } else { larger };
        let order = Ordering::Relaxed;
        let is_ours = ROOM.compare_exchange(room, known, order, order).is_ok();
        if is_ours {
            // If it fails, the table grows as it would without us.
            let _ = duplicate_from(newest, larger.saturating_sub(1));
        }
    }

    /// How many descriptors the process may have.
    fn limit() -> RawFd {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: the pointer is that of a structure which outlives the call.
        let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
        if result < 0 {
            return 0;
        }
        RawFd::try_from(limit.rlim_cur).unwrap_or(RawFd::MAX)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::{AsRawFd, OwnedFd};

    use super::duplicate;

    /// How many descriptors the table has room for.
    fn room() -> usize {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
        line.unwrap().trim().parse().unwrap()
    }

    #[test]
    fn the_table_grows_in_large_steps() {
        let file = File::open("/dev/null").unwrap();
        let mut copies: Vec<OwnedFd> = vec![file.into()];
        let mut rooms = vec![room()];
        for _ in 0..800 {
            let last = copies.last().unwrap().as_raw_fd();
            copies.push(duplicate(last).unwrap());
            if *rooms.last().unwrap() != room() {
                rooms.push(room());
            }
        }
        assert!(*rooms.last().unwrap() >= 1024, "{rooms:?}");
        // It may have been 256 before: another test makes descriptors, too.
        let steps = rooms.windows(2);
        assert!(steps.into_iter().all(|it| it[1] >= 4 * it[0]), "{rooms:?}");
    }
}
