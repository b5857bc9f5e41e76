//! One I/O thread: what it is told to do, and the loop in which it does it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem;
use std::ops::Range;
use std::os::fd::RawFd;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};

use super::postponed::Postponed;
use super::ready::Ready;
use super::remote::{Reading, Remote, Until};
use crate::protocol::mask_frames;

/// The most events that are dealt with before the news is told.
const MOST_EVENTS: usize = 128;
/// The memory that a thread reads into.
const SCRATCH: usize = 256 * 1024;
/// A batch with more memory than this is not used again.
const MOST_KEPT: usize = 2 * 1024 * 1024;
/// How many batches are kept to be used again.
const MOST_SPARE: usize = 2;
/// The token of the waker; connections have their numbers.
const WAKER: Token = Token(usize::MAX);

/// The end of a chain of frames.
const NONE: usize = usize::MAX;

/// Frames of many connections, to be sent.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Which connection has which bytes, in order.
    frames: Vec<(usize, Range<usize>)>,
}

impl Batch {
    /// Adds whole frames of connection `id`.
    pub fn add(&mut self, id: usize, frames: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(frames);
        self.frames.push((id, start..self.bytes.len()));
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Forgets what it holds, but keeps the memory, unless that is much.
    fn clear(&mut self) {
        if self.bytes.capacity() > MOST_KEPT {
            *self = Self::default();
        }
        self.bytes.clear();
        self.frames.clear();
    }
}

/// What a thread is told to do, in order.
enum Order {
    Open(Arc<Remote>),
    Close(usize),
    Send(Batch),
    /// Go on reading and writing a connection.
    Read(usize),
    /// Go on reading what there was no room for.
    ReadStarved,
}

/// A connection in the hands of a thread.
struct Entry {
    remote: Arc<Remote>,
    /// Its first and last frames in the batch at hand.
    chain: (usize, usize),
}

/// What carrying out orders needs. It is behind a lock, because a thread that waits for orders to be carried out does
/// so itself.
#[derive(Default)]
struct Desk {
    entries: Vec<Option<Entry>>,
    /// For each frame of a batch the next one of the same connection.
    next: Vec<usize>,
    dirty: Vec<usize>,
    /// Connections whose reading is to go on.
    to_read: Vec<Arc<Remote>>,
    starved: Vec<usize>,
    /// Connections with news that are not listed yet.
    news: Vec<(usize, u64)>,
}

/// One I/O thread, as others see it.
pub struct Worker {
    orders: Mutex<VecDeque<Order>>,
    desk: Mutex<Desk>,
    /// Batches that were sent, for their memory.
    spare: Mutex<Vec<Batch>>,
    ready: Arc<Ready>,
    registry: Registry,
    waker: Waker,
    /// Whether the thread waits for events, or is about to, so that it must be woken.
    is_waiting: AtomicBool,
    stops: AtomicBool,
    /// Whether the thread has ended, so that nobody reads and writes.
    is_over: AtomicBool,
}

impl Worker {
    /// What there is of a thread before it runs, and what [`Worker::run`] needs.
    pub(super) fn new(ready: Arc<Ready>) -> io::Result<(Self, Poll)> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = Waker::new(&registry, WAKER)?;
        let worker = Self {
            orders: Mutex::default(),
            desk: Mutex::default(),
            spare: Mutex::default(),
            ready,
            registry,
            waker,
            is_waiting: AtomicBool::new(false),
            stops: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        };
        Ok((worker, poll))
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn orders(&self) -> MutexGuard<'_, VecDeque<Order>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, order: Order) {
        self.orders().push_back(order);
    }

    /// Wakes the thread if it waits.
    fn wake(&self) {
        if self.is_waiting.swap(false, Ordering::SeqCst) {
            // It fails when the system has no memory; the thread then does its work with the next event.
            let _ = self.waker.wake();
        }
    }

    /// Gives the thread a connection.
    pub(super) fn open(&self, remote: &Arc<Remote>, descriptor: RawFd) -> io::Result<()> {
        if self.is_over.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.order(Order::Open(Arc::clone(remote)));
        let (token, interest) = (Token(remote.id), Interest::READABLE | Interest::WRITABLE);
        // After the order: whoever gets an event finds the connection.
        let result = self
            .registry
            .register(&mut SourceFd(&descriptor), token, interest);
        if result.is_err() {
            self.order(Order::Close(remote.id));
        } else if self.is_over.load(Ordering::SeqCst) && remote.fail(&broken()) {
            // The thread has ended meanwhile, perhaps without having seen the order.
            self.ready.add(&mut vec![(remote.id, remote.serial)]);
        }
        result
    }

    /// Takes a connection away from the thread.
    pub(super) fn close(&self, id: usize, descriptor: RawFd) {
        // It is registered, so this cannot fail; and if it did, the events of a number without connection are ignored.
        let _ = self.registry.deregister(&mut SourceFd(&descriptor));
        self.order(Order::Close(id));
    }

    /// Has frames sent; `batch` is empty afterwards.
    pub(super) fn send(&self, batch: &mut Batch) {
        let spare = self.spare().pop().unwrap_or_default();
        self.order(Order::Send(mem::replace(batch, spare)));
        self.wake();
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Batch>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the reading and writing of a connection go on.
    pub(super) fn read(&self, id: usize) {
        self.order(Order::Read(id));
        self.wake();
    }

    /// Has the reading go on of connections for which there was no room.
    pub(super) fn read_starved(&self) {
        self.order(Order::ReadStarved);
        self.wake();
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        self.stops.store(true, Ordering::SeqCst);
        // Whether it waits or not: it does not end otherwise.
        let _ = self.waker.wake();
    }

    /// Carries out what is ordered, on this thread, or waits until the other has.
    pub(super) fn settle(&self) {
        let mut desk = self.desk();
        self.carry_out(&mut desk);
        let mut news = mem::take(&mut desk.news);
        let to_read = mem::take(&mut desk.to_read);
        drop(desk);
        self.ready.add(&mut news);
        // Reading remains the thread's.
        for remote in to_read {
            self.read(remote.id);
        }
    }

    /// The thread's life.
    pub(super) fn run(&self, mut poll: Poll) {
        let result = catch_unwind(AssertUnwindSafe(|| self.serve(&mut poll)));
        // Nobody reads or writes these connections any more, so they are broken.
        let error = match result {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(_panic) => broken(),
        };
        self.is_over.store(true, Ordering::SeqCst);
        let mut desk = self.desk();
        self.carry_out(&mut desk);
        let mut news = mem::take(&mut desk.news);
        for entry in desk.entries.iter().flatten() {
            if entry.remote.fail(&error) {
                news.push((entry.remote.id, entry.remote.serial));
            }
        }
        drop(desk);
        self.ready.add(&mut news);
    }

    fn serve(&self, poll: &mut Poll) -> io::Result<()> {
        let mut events = Events::with_capacity(MOST_EVENTS);
        let mut scratch = vec![0; SCRATCH];
        let mut happened = Vec::new();
        let mut to_read = Vec::new();
        let mut news = Vec::new();
        let mut postponed = Postponed::new();
        while !self.stops.load(Ordering::SeqCst) {
            // In this order: what is ordered after the look finds a thread that is to be woken.
            self.is_waiting.store(true, Ordering::SeqCst);
            let mut timeout = postponed.timeout();
            if !self.orders().is_empty() {
                self.is_waiting.store(false, Ordering::SeqCst);
                timeout = Some(Duration::ZERO);
            }
            match poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            self.is_waiting.store(false, Ordering::SeqCst);

            let mut desk = self.desk();
            self.carry_out(&mut desk);
            news.append(&mut desk.news);
            to_read.append(&mut desk.to_read);
            for event in &events {
                let entry = desk.entries.get(event.token().0);
                if let Some(Some(entry)) = entry {
                    happened.push((Arc::clone(&entry.remote), What::of(event)));
                }
            }
            drop(desk);

            happened.extend(to_read.drain(..).map(|remote| (remote, What::ALL)));
            postponed.sort_out(self.ready.round(), Instant::now(), &mut happened);
            for (remote, what) in happened.drain(..) {
                let pump = AssertUnwindSafe(|| self.pump(&remote, what, &mut scratch, &mut news));
                // A panic over one connection is no reason to lose the others.
                if catch_unwind(pump).is_err() && remote.fail(&broken()) {
                    news.push((remote.id, remote.serial));
                }
            }
            self.ready.add(&mut news);
        }
        Ok(())
    }

    /// Reads and writes one connection.
    fn pump(&self, remote: &Remote, what: What, scratch: &mut [u8], news: &mut Vec<(usize, u64)>) {
        let mut list = |has_news: bool| {
            if has_news {
                news.push((remote.id, remote.serial));
            }
        };
        if what.writable {
            list(remote.drain());
        }
        if what.readable {
            let until = if what.ends { Until::End } else { Until::Empty };
            match remote.read(scratch, until) {
                Reading::Full(has_news) | Reading::Short(has_news) | Reading::Done(has_news) => {
                    list(has_news);
                }
                Reading::Starved(has_news) => {
                    list(has_news);
                    self.desk().starved.push(remote.id);
                    // There may be room since.
                    if self.ready.has_room() {
                        self.order(Order::ReadStarved);
                    }
                }
            }
        }
    }

    /// Carries out all orders.
    fn carry_out(&self, desk: &mut Desk) {
        loop {
            // The lock is given back at once: whoever gives orders does not wait for those before.
            let order = self.orders().pop_front();
            match order {
                None => return,
                Some(Order::Open(remote)) => desk.open(remote),
                Some(Order::Close(id)) => {
                    if let Some(entry) = desk.entries.get_mut(id) {
                        *entry = None;
                    }
                }
                Some(Order::Send(mut batch)) => {
                    desk.send(&mut batch);
                    batch.clear();
                    let mut spare = self.spare();
                    if spare.len() < MOST_SPARE {
                        spare.push(batch);
                    }
                }
                Some(Order::Read(id)) => desk.read(id),
                Some(Order::ReadStarved) => {
                    for id in mem::take(&mut desk.starved) {
                        desk.read(id);
                    }
                }
            }
        }
    }
}

/// The error of a connection over which this code has panicked.
fn broken() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

/// What an event says about a connection.
#[derive(Clone, Copy)]
struct What {
    readable: bool,
    writable: bool,
    /// There will be nothing more to read.
    ends: bool,
}

impl What {
    /// Whatever there may be.
    const ALL: Self = Self {
        readable: true,
        writable: true,
        ends: true,
    };

    fn of(event: &Event) -> Self {
        let ends = event.is_read_closed() || event.is_error();
        Self {
            readable: event.is_readable() || ends,
            writable: event.is_writable() || event.is_error(),
            ends,
        }
    }
}

impl Desk {
    fn open(&mut self, remote: Arc<Remote>) {
        let id = remote.id;
        if self.entries.len() <= id {
            self.entries.resize_with(id + 1, || None);
        }
        if let Some(entry) = self.entries.get_mut(id) {
            *entry = Some(Entry {
                remote,
                chain: (NONE, NONE),
            });
        }
    }

    fn read(&mut self, id: usize) {
        if let Some(Some(entry)) = self.entries.get(id) {
            self.to_read.push(Arc::clone(&entry.remote));
        }
    }

    /// Sends a batch: the frames of one connection with one call, in order.
    fn send(&mut self, batch: &mut Batch) {
        self.next.clear();
        self.next.resize(batch.frames.len(), NONE);
        for (index, (id, range)) in batch.frames.iter().enumerate() {
            let Some(Some(entry)) = self.entries.get_mut(*id) else {
                continue;
            };
            if entry.remote.masked {
                let frames = batch.bytes.get_mut(range.clone()).unwrap_or_default();
                if mask_frames(frames).is_err() {
                    let error = io::Error::from_raw_os_error(libc::EPROTO);
                    if entry.remote.fail(&error) {
                        self.news.push((entry.remote.id, entry.remote.serial));
                    }
                }
            }
            let last = mem::replace(&mut entry.chain.1, index);
            match self.next.get_mut(last) {
                Some(next) => *next = index,
                None => {
                    entry.chain.0 = index;
                    self.dirty.push(*id);
                }
            }
        }

        let mut pieces = Vec::new();
        for id in self.dirty.drain(..) {
            let Some(Some(entry)) = self.entries.get_mut(id) else {
                continue;
            };
            let (mut at, _) = mem::replace(&mut entry.chain, (NONE, NONE));
            let mut length = 0;
            pieces.clear();
            while let Some((_, range)) = batch.frames.get(at) {
                let bytes = batch.bytes.get(range.clone()).unwrap_or_default();
                length += bytes.len() as u64;
                pieces.push(IoSlice::new(bytes));
                at = self.next.get(at).copied().unwrap_or(NONE);
            }
            let result = catch_unwind(AssertUnwindSafe(|| entry.remote.send(&pieces, length)));
            let has_news = result.unwrap_or_else(|_panic| entry.remote.fail(&broken()));
            if has_news {
                self.news.push((entry.remote.id, entry.remote.serial));
            }
        }
    }
}
