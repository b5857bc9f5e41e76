//! Threads on socket pairs, without Node.

use std::io::{IoSlice, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::mpsc::{channel, Receiver};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::ready::MOST_HELD;
use super::remote::A_LITTLE;
use super::{Batch, Ending, Habits, Remote, Threads};
use crate::reactor::{Connection, LastCopy, CHUNK};

/// Threads and what hears their bell.
struct Rig {
    threads: Threads,
    rings: Receiver<()>,
}

impl Rig {
    fn new(count: usize) -> Self {
        let (ring, rings) = channel();
        let bell = move || ring.send(()).unwrap_or_default();
        let threads = Threads::start(
            count,
            Habits {
                resets_are_ends: true,
                enough: A_LITTLE,
            },
            bell,
        )
        .unwrap();
        Self { threads, rings }
    }

    fn open_as(&self, id: usize, masked: bool) -> (Arc<Remote>, UnixStream) {
        let (ours, peer) = UnixStream::pair().unwrap();
        let connection = Connection::new(ours.into());
        let remote = self.threads.open(id, 1, masked, connection).unwrap();
        (remote, peer)
    }

    fn open(&self, id: usize) -> (Arc<Remote>, UnixStream) {
        self.open_as(id, false)
    }

    fn open_tcp(&self) -> (Arc<Remote>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        let connection = Connection::new(ours.into());
        (self.threads.open(0, 1, false, connection).unwrap(), peer)
    }

    /// Waits until there is news, and says of whom.
    fn listed(&self) -> Vec<usize> {
        loop {
            let list = self.threads.take_ready(Vec::new());
            if !list.is_empty() {
                return list.into_iter().map(|(id, _)| id).collect();
            }
            self.rings.recv().unwrap();
        }
    }

    /// Has `bytes` sent by the thread.
    fn hand_over(&self, remote: &Remote, bytes: &[u8]) {
        let mut batch = Batch::default();
        batch.add(remote.id, bytes);
        let index = self.threads.thread_of(remote.id);
        self.threads.send(index, &mut batch);
    }

    /// Takes what arrives until it is `length` bytes.
    fn receive(&self, remote: &Remote, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            self.listed();
            bytes.extend(
                self.threads
                    .take_news(remote, 0, usize::MAX)
                    .arrived
                    .into_bytes(),
            );
        }
        bytes
    }
}

fn read(peer: &mut UnixStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    peer.read_exact(&mut bytes).unwrap();
    bytes
}

/// Writes `length` bytes while others read.
fn write_aside(mut peer: UnixStream, length: usize) -> thread::JoinHandle<UnixStream> {
    thread::spawn(move || {
        peer.write_all(&vec![7; length]).unwrap();
        peer
    })
}

/// Writes to all peers until no more is read ahead.
fn fill_up(
    rig: &Rig,
    peers: Vec<UnixStream>,
    length: usize,
) -> Vec<thread::JoinHandle<UnixStream>> {
    let writers = peers.into_iter().map(|peer| write_aside(peer, length));
    let writers = writers.collect();
    while rig.threads.ready.held() < MOST_HELD {
        thread::yield_now();
    }
    writers
}

#[test]
fn a_batch_reaches_every_peer_in_order() {
    let rig = Rig::new(2);
    let (mut connections, mut peers): (Vec<_>, Vec<_>) = (0..5).map(|id| rig.open(id)).unzip();
    for thread in 0..2 {
        let mut batch = Batch::default();
        for round in 0..3_u8 {
            for remote in &connections {
                if rig.threads.thread_of(remote.id) == thread {
                    batch.add(remote.id, &[remote.id as u8, round]);
                }
            }
        }
        rig.threads.send(thread, &mut batch);
        assert!(batch.is_empty());
    }
    for (id, peer) in (0..).zip(&mut peers) {
        assert_eq!(read(peer, 6), [id, 0, id, 1, id, 2]);
    }
    connections.clear();
}

#[test]
fn what_is_sent_on_the_spot_comes_after_what_was_handed_over() {
    let rig = Rig::new(1);
    let (remote, mut peer) = rig.open(0);
    let mut handed = 0;
    for round in 0..200_u8 {
        rig.hand_over(&remote, &[round; 10]);
        handed += 10;
        rig.threads.send_now(
            &remote,
            handed,
            &[IoSlice::new(&[round]), IoSlice::new(&[255])],
            &mut LastCopy::default(),
        );
        assert!(remote.is_settled(handed));
    }
    for round in 0..200 {
        let mut expected = vec![round; 11];
        expected.push(255);
        assert_eq!(read(&mut peer, 12), expected);
    }
}

#[test]
fn what_a_client_sends_is_masked() {
    let rig = Rig::new(1);
    let (remote, mut peer) = rig.open_as(0, true);
    rig.hand_over(&remote, &[0x81, 0x82, 1, 2, 3, 4, b'h', b'i']);
    let expected = [0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2];
    assert_eq!(read(&mut peer, 8), expected);

    rig.hand_over(&remote, &[0x81]);
    assert_eq!(rig.listed(), [0]);
    assert_eq!(remote.ending(), Some(Ending::Error(libc::EPROTO)));
}

#[test]
fn what_arrives_is_news_until_it_is_taken() {
    let rig = Rig::new(2);
    let (first, mut first_peer) = rig.open(0);
    let (second, mut second_peer) = rig.open(1);
    first_peer.write_all(b"one").unwrap();
    assert_eq!(rig.listed(), [0]);
    assert!(first.has_news());
    assert!(rig.threads.take_news(&first, 0, 0).arrived.is_empty());
    let news = rig.threads.take_news(&first, 0, usize::MAX);
    assert_eq!(news.arrived.into_bytes(), b"one");
    assert!(!first.has_news());
    assert_eq!(first.counters(0), (3, 0));

    second_peer.write_all(b"two").unwrap();
    assert_eq!(rig.listed(), [1]);
    assert_eq!(second.counters(0), (0, 0));
    assert_eq!(rig.threads.take_arrived(&second).into_bytes(), b"two");
}

#[test]
fn a_thread_leaves_reading_to_who_has_stepped_in() {
    let rig = Rig::new(1);
    let (remote, mut peer) = rig.open(0);
    let rounds = (0..50).filter(|_| {
        rig.threads.step_in();
        peer.write_all(b"for whom").unwrap();
        thread::sleep(Duration::from_micros(500));
        let was_left = !remote.has_news();
        rig.threads.pump(&remote, Some(&mut [0; 100]));
        assert_eq!(rig.threads.take_arrived(&remote).into_bytes(), b"for whom");
        was_left
    });
    // Now and then it may have waited long enough.
    assert!(rounds.count() > 25);
}

#[test]
fn a_thread_goes_on_when_who_has_stepped_in_does_not_come_again() {
    let rig = Rig::new(1);
    let (remote, mut peer) = rig.open(0);
    rig.threads.step_in();
    peer.write_all(b"left alone").unwrap();
    assert_eq!(rig.receive(&remote, 10), b"left alone");
    rig.threads.step_in();
    peer.write_all(b"and again").unwrap();
    assert_eq!(rig.receive(&remote, 9), b"and again");
}

#[test]
fn a_thread_has_everything_back_when_who_has_stepped_in_steps_back() {
    let rig = Rig::new(1);
    let (remote, mut peer) = rig.open(0);
    for _ in 0..200 {
        rig.threads.step_in();
        peer.write_all(b"early").unwrap();
        rig.threads.step_back();
        rig.threads.read(&remote);
        peer.write_all(b"late").unwrap();
        assert_eq!(rig.receive(&remote, 9), b"earlylate");
    }
}

#[test]
fn writing_goes_on_when_who_has_stepped_in_steps_back() {
    const LENGTH: usize = 4_000_000;
    let rig = Rig::new(1);
    let (remote, mut peer) = rig.open(0);
    let timeout = Some(Duration::from_secs(20));
    peer.set_read_timeout(timeout).unwrap();
    rig.threads.step_in();
    remote.with(|connection| connection.send(&[IoSlice::new(&vec![7; LENGTH])]));
    let mut bytes = vec![0; LENGTH];
    let mut count = 0;
    while LENGTH - count > remote.with(|it| it.queued()).unwrap() {
        count += peer.read(&mut bytes[count..]).unwrap();
    }
    // The thread hears now that there is room, and does nothing.
    thread::sleep(Duration::from_millis(1));
    rig.threads.step_in();
    rig.threads.step_back();
    rig.threads.read(&remote);
    peer.read_exact(&mut bytes[count..]).unwrap();
    assert!(bytes.iter().all(|byte| *byte == 7));
}

#[test]
fn what_is_read_of_a_paused_connection_stays_in_the_pieces_in_which_node_would_have_read_it() {
    let rig = Rig::new(1);
    let (remote, mut peer) = rig.open(0);
    rig.threads.step_in();
    remote.with(|connection| connection.paused = true);
    let mut scratch = vec![0; CHUNK];
    for piece in [&b"one"[..], b"two"] {
        rig.threads.note_look();
        for half in piece.chunks(2) {
            peer.write_all(half).unwrap();
            rig.threads.pump(&remote, Some(&mut scratch));
        }
    }
    peer.write_all(b"three").unwrap();
    let reads = rig.threads.take_and_read(&remote, CHUNK);
    let reads: Vec<_> = reads.each().collect();
    assert_eq!(reads, [&b"one"[..], b"two", b"three"]);
}

#[test]
fn a_paused_connection_is_not_read_further_when_enough_was_taken_ahead() {
    let rig = Rig::new(1);
    let (remote, mut peer) = rig.open(0);
    rig.threads.step_in();
    remote.with(|connection| connection.paused = true);
    peer.write_all(&[7; A_LITTLE]).unwrap();
    let mut taken = 0;
    while taken < A_LITTLE {
        rig.threads.pump(&remote, Some(&mut vec![0; CHUNK]));
        taken += rig.threads.take_ahead(&remote).len();
        rig.threads.take_news(&remote, 0, usize::MAX);
    }
    rig.threads.step_back();
    peer.write_all(b"later").unwrap();
    drop(peer);
    rig.threads.pump(&remote, Some(&mut vec![0; CHUNK]));
    assert_eq!(rig.threads.take_arrived(&remote).into_bytes(), b"");
    assert!(!remote.has_news());
    rig.threads.take_news(&remote, 0, usize::MAX);
    remote.with(|connection| connection.paused = false);
    rig.threads.resume(&remote);
    assert_eq!(rig.receive(&remote, 5), b"later");
}

#[test]
fn what_waits_is_written_also_when_there_is_no_room_to_read() {
    let rig = Rig::new(1);
    let (remote, mut peer) = rig.open(0);
    rig.threads.step_in();
    let sent = vec![7; 10_000_000];
    let pieces = [IoSlice::new(&sent)];
    rig.threads
        .send_now(&remote, 0, &pieces, &mut LastCopy::default());
    assert!(remote.progress(0).queued > 0);
    let mut bytes = vec![0; sent.len()];
    let mut count = 0;
    while count < bytes.len() {
        rig.threads.pump(&remote, None);
        count += peer.read(&mut bytes[count..]).unwrap();
    }
    assert_eq!(bytes, sent);
}

#[test]
fn reading_that_has_stopped_while_somebody_has_stepped_in_can_be_resumed() {
    const LENGTH: usize = 1_000_000;
    let rig = Rig::new(1);
    let (remote, peer) = rig.open(0);
    rig.threads.step_in();
    let writer = write_aside(peer, LENGTH);
    while remote.wants().0.read {
        rig.threads.pump(&remote, Some(&mut vec![0; CHUNK]));
    }
    thread::sleep(Duration::from_millis(1));
    rig.threads.step_in();
    rig.threads.step_back();
    let mut count = 0;
    while count < LENGTH {
        count += rig.threads.take_news(&remote, 0, usize::MAX).arrived.len();
        thread::yield_now();
    }
    drop(writer);
}

#[test]
fn what_is_there_already_can_be_looked_at() {
    let rig = Rig::new(1);
    let (ours, mut peer) = UnixStream::pair().unwrap();
    peer.write_all(b"early").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let connection = Connection::new(ours.into());
    let remote = rig.threads.open(0, 1, false, connection).unwrap();
    rig.threads.pump(&remote, Some(&mut [0; 1000]));
    rig.threads.pump(&remote, Some(&mut [0; 1000]));
    let news = rig.threads.take_news(&remote, 0, usize::MAX);
    assert_eq!(news.arrived.into_bytes(), b"early");
    assert!(news.is_over);
    assert_eq!(remote.ending(), Some(Ending::Peer));
}

#[test]
fn a_connection_that_nobody_takes_from_is_not_read_on_and_holds_up_no_other() {
    const LENGTH: usize = 4_000_000;
    let rig = Rig::new(1);
    let (slow, slow_peer) = rig.open(0);
    let writer = write_aside(slow_peer, LENGTH);
    while slow.counters(0).0 == 0 && !slow.has_news() {
        rig.rings.recv().unwrap();
    }
    let (quick, quick_peer) = rig.open(1);
    let quick_writer = write_aside(quick_peer, LENGTH);
    assert_eq!(rig.receive(&quick, LENGTH).len(), LENGTH);
    assert!(!writer.is_finished());
    let held = rig.threads.take_arrived(&slow).len();
    assert!(held > 0 && held < 1_000_000, "{held} bytes are held");

    // Goes on when it is taken from.
    rig.threads.resume(&slow);
    let mut taken = held + rig.threads.take_news(&slow, 0, usize::MAX).arrived.len();
    while taken < LENGTH {
        rig.listed();
        taken += rig.threads.take_news(&slow, 0, usize::MAX).arrived.len();
    }
    assert_eq!(taken, LENGTH);
    drop((writer.join(), quick_writer.join()));
}

#[test]
fn what_is_read_ahead_of_a_paused_connection_is_not_told_and_comes_before_its_end() {
    let rig = Rig::new(1);
    let (remote, mut peer) = rig.open(0);
    remote.with(|connection| connection.paused = true);
    peer.write_all(b"later").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rig.listed(), [0]);
    assert!(rig
        .threads
        .take_news(&remote, 0, usize::MAX)
        .arrived
        .is_empty());
    assert_eq!(remote.ending(), None);

    remote.with(|connection| connection.paused = false);
    rig.threads.resume(&remote);
    assert_eq!(
        rig.threads
            .take_news(&remote, 0, usize::MAX)
            .arrived
            .into_bytes(),
        b"later"
    );
    while remote.ending().is_none() {
        rig.listed();
        rig.threads.take_news(&remote, 0, usize::MAX);
    }
    assert_eq!(remote.ending(), Some(Ending::Peer));
}

#[test]
fn a_paused_connection_is_not_read_ahead_for_ever() {
    let rig = Rig::new(1);
    let (remote, peer) = rig.open(0);
    remote.with(|connection| connection.paused = true);
    let length = 3 * CHUNK;
    let writer = write_aside(peer, length);
    assert_eq!(rig.listed(), [0]);
    // The thread has dealt with all of the first when it tells of the second.
    let (_second, mut second_peer) = rig.open(1);
    second_peer.write_all(b"now").unwrap();
    while !rig.listed().contains(&1) {}
    let ahead = rig.threads.take_arrived(&remote).len();
    assert!((1..A_LITTLE + CHUNK).contains(&ahead), "{ahead}");
    rig.threads.take_news(&remote, 0, usize::MAX);

    remote.with(|connection| connection.paused = false);
    rig.threads.resume(&remote);
    assert_eq!(rig.receive(&remote, length - ahead).len(), length - ahead);
    writer.join().unwrap();
}

#[test]
fn a_paused_connection_notices_that_it_was_reset_behind_what_is_read_ahead() {
    let rig = Rig::new(1);
    let (remote, mut peer) = rig.open_tcp();
    remote.with(|connection| connection.paused = true);
    peer.write_all(b"later").unwrap();
    assert_eq!(rig.listed(), [0]);
    rig.threads.take_news(&remote, 0, usize::MAX);
    assert_eq!(remote.ending(), None);
    reset(peer);
    assert_eq!(rig.listed(), [0]);
    assert!(remote.ending().is_some());
}

#[test]
fn a_paused_connection_with_nothing_to_be_read_ends() {
    let rig = Rig::new(1);
    let (remote, peer) = rig.open(0);
    remote.with(|connection| connection.paused = true);
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rig.listed(), [0]);
    assert_eq!(remote.ending(), Some(Ending::Peer));

    let (remote, peer) = rig.open_tcp();
    remote.with(|connection| connection.paused = true);
    reset(peer);
    assert_eq!(rig.listed(), [0]);
    assert_eq!(remote.ending(), Some(Ending::Error(libc::ECONNRESET)));
}

#[test]
fn what_the_kernel_does_not_take_counts_as_waiting_and_its_progress_is_news() {
    const LENGTH: usize = 3_000_000;
    let rig = Rig::new(1);
    let (remote, mut peer) = rig.open(0);
    rig.hand_over(&remote, &vec![1; LENGTH]);
    assert_eq!(rig.listed(), [0]);
    let before = rig
        .threads
        .take_news(&remote, LENGTH as u64, usize::MAX)
        .progress;
    assert!(before.queued > 0 && before.queued < LENGTH);
    assert_eq!(before.handled, LENGTH as u64);
    let (_, counted) = remote.counters(LENGTH as u64);
    assert_eq!(counted, LENGTH as u64);

    let reader = thread::spawn(move || read(&mut peer, LENGTH));
    loop {
        rig.listed();
        let progress = rig
            .threads
            .take_news(&remote, LENGTH as u64, usize::MAX)
            .progress;
        if progress.queued == 0 {
            break;
        }
    }
    assert_eq!(reader.join().unwrap(), vec![1; LENGTH]);
}

#[test]
fn much_that_is_under_way_counts_as_waiting_until_it_is_dealt_with() {
    let rig = Rig::new(1);
    let (remote, _peer) = rig.open(0);
    // Nothing was given to the thread yet: this is what the caller sees before.
    assert_eq!(remote.progress(Remote::UNNOTICED).queued, 0);
    let much = Remote::UNNOTICED as usize + 1;
    assert_eq!(remote.progress(much as u64).queued, much);
    rig.hand_over(&remote, &vec![2; much]);
    assert_eq!(rig.listed(), [0]);
    let progress = rig
        .threads
        .take_news(&remote, much as u64, usize::MAX)
        .progress;
    assert_eq!((progress.handled, progress.queued), (much as u64, 0));
}

#[test]
fn a_connection_is_closed_with_what_was_handed_over_written() {
    let rig = Rig::new(1);
    let (remote, mut peer) = rig.open(0);
    rig.hand_over(&remote, b"last words");
    rig.threads.settle(&remote);
    drop(rig.threads.close(&remote).unwrap());
    assert!(rig.threads.close(&remote).is_none());
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"last words");

    // Its number can be used again.
    let (_next, mut next_peer) = rig.open(0);
    next_peer.write_all(b"hello").unwrap();
    assert_eq!(rig.listed(), [0]);
}

#[test]
fn a_peer_learns_that_what_it_sent_was_not_taken() {
    let rig = Rig::new(1);
    let (remote, mut peer) = rig.open_tcp();
    peer.write_all(b"are you there?").unwrap();
    assert_eq!(rig.listed(), [0]);
    drop(rig.threads.close(&remote));
    let error = peer.read(&mut [0; 10]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
}

/// Closes a socket so that its peer sees a reset.
fn reset(peer: TcpStream) {
    Connection::new(peer.into()).reset_on_close();
}

#[test]
fn a_reset_is_an_end_behind_what_is_not_taken_yet() {
    let rig = Rig::new(1);
    let (remote, mut peer) = rig.open_tcp();
    peer.write_all(b"last words").unwrap();
    assert_eq!(rig.listed(), [0]);
    reset(peer);
    while remote.with(|it| it.wants_to_read()) == Some(true) {
        thread::yield_now();
    }
    assert_eq!(remote.ending(), None);
    let news = rig.threads.take_news(&remote, 0, usize::MAX);
    assert!(news.is_over);
    assert_eq!(news.arrived.into_bytes(), b"last words");
    assert_eq!(remote.ending(), Some(Ending::Peer));
    // Who writes learns of it.
    rig.hand_over(&remote, b"answer");
    assert_eq!(rig.listed(), [0]);
    assert_eq!(remote.ending(), Some(Ending::WriteError(libc::ECONNRESET)));
}

#[test]
fn a_reset_is_an_error_when_all_was_taken() {
    let rig = Rig::new(1);
    let (remote, mut peer) = rig.open_tcp();
    peer.write_all(b"last words").unwrap();
    assert_eq!(rig.receive(&remote, 10), b"last words");
    reset(peer);
    assert_eq!(rig.listed(), [0]);
    assert_eq!(remote.ending(), Some(Ending::Error(libc::ECONNRESET)));
}

#[test]
fn all_connections_together_are_not_read_ahead_without_bound() {
    const COUNT: usize = 300;
    const LENGTH: usize = 400_000;
    let rig = Rig::new(2);
    let (connections, peers): (Vec<_>, Vec<_>) = (0..COUNT).map(|id| rig.open(id)).unzip();
    let writers = fill_up(&rig, peers, LENGTH);
    // Two threads may each have begun a read when there still was room.
    assert!(rig.threads.ready.held() < MOST_HELD + 1_000_000 + COUNT * A_LITTLE);
    let mut taken = [0; COUNT];
    let mut total = 0;
    while total < COUNT * LENGTH {
        for id in rig.listed() {
            let count = rig
                .threads
                .take_news(&connections[id], 0, usize::MAX)
                .arrived
                .len();
            taken[id] += count;
            total += count;
        }
    }
    assert_eq!(taken, [LENGTH; COUNT]);
    drop(writers);
}

#[test]
fn a_connection_does_not_wait_for_others_that_leave_no_room() {
    const LENGTH: usize = 400_000;
    let rig = Rig::new(1);
    let (_slow, peers): (Vec<_>, Vec<_>) = (1..200).map(|id| rig.open(id)).unzip();
    let writers = fill_up(&rig, peers, LENGTH);
    // Nobody takes what is held from now on.
    let (quick, mut peer) = rig.open(0);
    for length in [5, A_LITTLE, 3 * A_LITTLE, 5] {
        peer.write_all(&vec![7; length]).unwrap();
        assert_eq!(rig.receive(&quick, length), vec![7; length]);
    }
    drop(rig);
    drop(writers);
}

#[test]
fn a_panic_while_a_connection_is_used_leaves_it_usable() {
    let rig = Rig::new(1);
    let (remote, mut peer) = rig.open(0);
    let panics = || remote.with(|_| panic!("as some code may"));
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    rig.hand_over(&remote, b"out");
    assert_eq!(read(&mut peer, 3), b"out");
    peer.write_all(b"in").unwrap();
    assert_eq!(rig.receive(&remote, 2), b"in");
}

#[test]
fn dropping_the_threads_ends_them_while_connections_are_busy() {
    let rig = Rig::new(3);
    let pairs: Vec<_> = (0..30).map(|id| rig.open(id)).collect();
    let (remotes, peers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    for (remote, mut peer) in remotes.iter().zip(&peers) {
        peer.write_all(&[3; 1000]).unwrap();
        rig.hand_over(remote, &[4; 1000]);
    }
    let Rig { threads, rings } = rig;
    drop(threads);
    // With the threads, whoever could ring is gone, but for those who hold a connection.
    drop(remotes);
    while rings.recv().is_ok() {}
}
