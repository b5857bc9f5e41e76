//! Connections that are read and written on I/O threads.
//!
//! The thread that uses the connections hands over frames to be sent, many in one [`Batch`]. It is notified (by the *bell*)
//! when connections have news: bytes that arrived, progress in writing, an end, an error. Where the order of things
//! matters it acts itself, under the connection's lock: it sends, pauses, takes back. So it never waits for an answer.

mod postponed;
mod ready;
mod remote;
#[cfg(test)]
mod tests;
mod worker;

use std::io::{self, IoSlice};
use std::mem;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

#[cfg(doc)]
use super::CHUNK;
use super::{Connection, LastCopy, Reads};
use ready::Ready;
pub use remote::{Ending, News, Progress, Remote};
use remote::{Reading, Until};
pub use worker::Batch;
use worker::Worker;

/// What [`Threads::pump`] has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pumped {
    /// As much as there was room for.
    More,
    /// All there was.
    All,
    /// Nothing, or an end, or no more than may be read now.
    Nothing,
}

/// What Node's sockets do here, which depends on its version.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    /// Whether a connection that is reset before what was read of it is taken ends as if it had ended well.
    pub resets_are_ends: bool,
    /// With so many bytes a stream that is paused has enough.
    pub enough: usize,
}

/// A set of I/O threads. They end when it is dropped.
pub struct Threads {
    workers: Vec<(Arc<Worker>, Option<JoinHandle<()>>)>,
    ready: Arc<Ready>,
    habits: Habits,
}

impl Threads {
    /// Starts `count` threads. `bell` is called on one of them, or on the thread that uses this, when there is news.
    pub fn start(
        count: usize,
        habits: Habits,
        bell: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let ready = Arc::new(Ready::new(bell));
        let mut threads = Self {
            workers: Vec::with_capacity(count),
            ready,
            habits,
        };
        for index in 0..count.max(1) {
            let (worker, poll) = Worker::new(Arc::clone(&threads.ready))?;
            let worker = Arc::new(worker);
            let its_own = Arc::clone(&worker);
            let handle = thread::Builder::new()
                .name(format!("oxws-io-{index}"))
                .spawn(move || its_own.run(poll))?;
            threads.workers.push((worker, Some(handle)));
        }
        Ok(threads)
    }

    /// How many threads there are.
    pub fn count(&self) -> usize {
        self.workers.len()
    }

    /// Which thread has connection `id`.
    pub fn thread_of(&self, id: usize) -> usize {
        id % self.workers.len().max(1)
    }

    fn worker(&self, id: usize) -> &Worker {
        &self.workers[self.thread_of(id)].0
    }

    /// Gives a connection to a thread, which begins to read.
    pub fn open(
        &self,
        id: usize,
        serial: u64,
        masked: bool,
        connection: Connection,
    ) -> io::Result<Arc<Remote>> {
        let ready = Arc::clone(&self.ready);
        let worker = self.workers.get(self.thread_of(id));
        let worker = worker.map_or_else(Weak::new, |(it, _)| Arc::downgrade(it));
        let remote = Remote::new(id, serial, masked, self.habits, connection, ready, worker);
        let remote = Arc::new(remote);
        if let Some(descriptor) = remote.descriptor() {
            if let Err(error) = self.worker(id).open(&remote, descriptor) {
                // The thread may have heard of it, and must not keep its descriptor open.
                remote.close();
                return Err(error);
            }
        }
        Ok(remote)
    }

    /// Takes a connection back. What was handed over for it is to be settled before.
    pub fn close(&self, remote: &Remote) -> Option<Connection> {
        if let Some(descriptor) = remote.descriptor() {
            self.worker(remote.id).close(remote.id, descriptor);
        }
        remote.close()
    }

    /// Has the frames in `batch` sent by thread `index`; it is empty afterwards.
    pub fn send(&self, index: usize, batch: &mut Batch) {
        if let Some((worker, _)) = self.workers.get(index) {
            worker.send(batch);
        }
    }

    /// Sends `pieces` on this thread, after everything that was handed over (`handed` bytes in total).
    pub fn send_now(
        &self,
        remote: &Remote,
        handed: u64,
        pieces: &[IoSlice],
        last_copy: &mut LastCopy,
    ) {
        if !remote.send_after(handed, pieces, last_copy) {
            self.settle(remote);
            remote.send_after(handed, pieces, last_copy);
        }
    }

    /// Returns when everything that was handed over for this connection is sent, kept or dropped.
    pub fn settle(&self, remote: &Remote) {
        self.worker(remote.id).settle();
    }

    /// As [`Threads::settle`], for all connections.
    pub fn settle_all(&self) {
        for (worker, _) in &self.workers {
            worker.settle();
        }
    }

    /// This thread reads and writes in the place of the threads, with [`Threads::pump`]: it looks for what is ready after
    /// this call, and calls it again before each further look. The threads come to a connection only if this thread
    /// has not called for some time.
    pub fn step_in(&self) {
        self.ready.step(true);
    }

    /// The threads read and write again. What is ready, but not read, is to be given to them after this call, with
    /// [`Threads::read`].
    pub fn step_back(&self) {
        self.ready.step(false);
    }

    /// Writes what waits and, if there is `room`, reads once, on this thread. It becomes news, but is not listed.
    pub fn pump(&self, remote: &Remote, room: Option<&mut [u8]>) -> Pumped {
        remote.drain();
        let Some(room) = room else {
            return Pumped::Nothing;
        };
        match remote.read(room, Until::Once) {
            Reading::Full(_) => Pumped::More,
            Reading::Short(_) => Pumped::All,
            Reading::Done(_) => Pumped::Nothing,
            Reading::Starved(_) => {
                self.worker(remote.id).read(remote.id);
                Pumped::Nothing
            }
        }
    }

    /// Node would read now what is ready: what is read of a paused connection after this is a chunk by itself.
    pub fn note_look(&self) {
        self.ready.note_look();
    }

    /// Has its thread read and write a connection.
    pub fn read(&self, remote: &Remote) {
        self.worker(remote.id).read(remote.id);
    }

    /// Goes on reading, if reading had stopped.
    pub fn resume(&self, remote: &Remote) {
        if remote.resume() {
            self.worker(remote.id).read(remote.id);
        }
    }

    /// The numbers and serials of connections with news. `room` is used for what is listed next.
    pub fn take_ready(&self, mut room: Vec<(usize, u64)>) -> Vec<(usize, u64)> {
        room.clear();
        self.ready.take(room)
    }

    /// As [`Threads::take_ready`], but they stay listed.
    pub fn listed(&self) -> Vec<(usize, u64)> {
        self.ready.listed()
    }

    /// The news of one of them; what was read only if that is no more than `most` bytes and it is not paused.
    pub fn take_news(&self, remote: &Remote, handed: u64, most: usize) -> News {
        let news = remote.take_news(handed, most);
        if !news.arrived.is_empty() {
            self.resume(remote);
            self.feed();
        }
        news
    }

    /// Takes what was read of a connection, and reads once behind it if that is less than `enough` (at most [`CHUNK`]).
    pub fn take_and_read(&self, remote: &Remote, enough: usize) -> Reads {
        let bytes = remote.take_and_read(enough);
        self.feed();
        bytes
    }

    /// Takes what was read ahead of a connection that is paused.
    pub fn take_ahead(&self, remote: &Remote) -> Reads {
        let bytes = remote.take_ahead();
        self.feed();
        bytes
    }

    /// Takes what was read of a connection.
    pub fn take_arrived(&self, remote: &Remote) -> Reads {
        let arrived = remote.take_arrived();
        self.feed();
        arrived
    }

    /// Lets threads go on that had no room.
    fn feed(&self) {
        if self.ready.has_room_again() {
            for (worker, _) in &self.workers {
                worker.read_starved();
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        for (worker, _) in &self.workers {
            worker.stop();
        }
        for (_, handle) in &mut self.workers {
            if let Some(handle) = mem::take(handle) {
                // It has caught its panics.
                let _ = handle.join();
            }
        }
    }
}
