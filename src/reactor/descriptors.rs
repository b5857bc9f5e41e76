//! Duplicates of descriptors, and room for them.

use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Makes duplicates of descriptors, with room for them in the process's table in time.
#[derive(Debug, Default)]
pub struct Descriptors {
    #[cfg(target_os = "linux")]
    table: table::Table,
}

impl Descriptors {
    /// Another descriptor for what `descriptor` stands for, which stays its owner's.
    pub fn duplicate(&self, descriptor: RawFd) -> io::Result<OwnedFd> {
        let copy = duplicate_from(descriptor, 0)?;
        #[cfg(target_os = "linux")]
        self.table.make_room(copy.as_raw_fd());
        Ok(copy)
    }
}

/// A duplicate with the first free number that is not below `least`.
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
    use std::cell::Cell;
    use std::os::fd::RawFd;

    use super::duplicate_from;

    /// How many descriptors the table has room for at first.
    const FIRST: RawFd = 64;
    /// So many times larger it becomes.
    const GROWTH: RawFd = 16;

    /// As much of the table as one environment knows; others may have made it larger.
    #[derive(Debug)]
    pub struct Table {
        /// How many it has room for, at least.
        room: Cell<RawFd>,
    }

    impl Default for Table {
        fn default() -> Self {
            let room = Cell::new(FIRST);
            Self { room }
        }
    }

    impl Table {
        /// Enlarges the table when `newest`, a descriptor that was just made, is in its last quarter.
        pub fn make_room(&self, newest: RawFd) {
            let room = self.room.get();
            if newest < room / 4 * 3 {
                return;
            }
            let wanted = room.max(newest).saturating_mul(GROWTH);
            let larger = limit().map_or(room, |limit| wanted.min(limit));
            if larger > room {
                self.room.set(larger);
                // If it fails, the table grows as it would without us.
                let _ = duplicate_from(newest, larger.saturating_sub(1));
            }
        }
    }

    /// How many descriptors the process may have.
    fn limit() -> Option<RawFd> {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: the pointer is that of a structure which outlives the call.
        let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
        (result == 0).then(|| RawFd::try_from(limit.rlim_cur).unwrap_or(RawFd::MAX))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::{AsRawFd, OwnedFd};

    use super::Descriptors;

    /// How many descriptors the table has room for.
    fn room() -> usize {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
        line.unwrap().trim().parse().unwrap()
    }

    #[test]
    fn the_table_grows_long_before_it_is_full() {
        let descriptors = Descriptors::default();
        let file = File::open("/dev/null").unwrap();
        let mut copies: Vec<OwnedFd> = vec![file.into()];
        for _ in 0..100 {
            let last = copies.last().unwrap().as_raw_fd();
            copies.push(descriptors.duplicate(last).unwrap());
        }
        assert!(room() >= 1024, "{}", room());
    }
}
