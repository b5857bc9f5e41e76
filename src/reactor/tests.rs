//! Connections on socket pairs, without Node.

use std::cell::Cell;
use std::io::{IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::thread;

use super::fan_out::{send_all, Share};
use super::readiness::{Event, Readiness, Ready};
use super::{Connection, Descriptors, Inbound, Input, Item, LastCopy, Place, Read, Step};
use crate::protocol::{mask_frames, Config, Limits, MessageKind, Role};

/// That of Node 20.
const HIGH_WATER: usize = 16 * 1024;

/// A connection and its peer.
fn pair() -> (Connection, UnixStream) {
    let (ours, peer) = UnixStream::pair().unwrap();
    let connection = Connection::new(ours.into());
    (connection, peer)
}

/// Bytes that tell where in the stream they belong.
fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|index| (index % 251) as u8 ^ (index >> 10) as u8)
        .collect()
}

/// Everything the peer receives while the connection drains, until both have nothing left.
fn drain_to(connection: &mut Connection, peer: &mut UnixStream) -> Vec<u8> {
    peer.set_nonblocking(true).unwrap();
    let mut received = Vec::new();
    let mut room = vec![0; 50_000];
    loop {
        connection.drain();
        match peer.read(&mut room) {
            Ok(count) => received.extend_from_slice(&room[..count]),
            Err(_) if connection.queued() == 0 => return received,
            Err(_) => {}
        }
    }
}

fn server() -> Inbound {
    server_with(Limits::default())
}

fn server_with(limits: Limits) -> Inbound {
    Inbound::new(Config {
        role: Role::Server,
        limits,
        deflate: false,
        skip_utf8_validation: false,
    })
}

/// Binary client frames with these payloads.
fn frames(payloads: &[&[u8]]) -> Vec<u8> {
    let mut run = Vec::new();
    for payload in payloads {
        run.extend_from_slice(&[0x82, 0x80 | payload.len() as u8, 9, 8, 7, 6]);
        run.extend_from_slice(payload);
    }
    mask_frames(&mut run).unwrap();
    run
}

/// The payload of a message whose bytes lie in the input.
fn payload(step: Step, bytes: &[u8]) -> Vec<u8> {
    match step {
        Step::Item(Item::Message(MessageKind::Binary, Place::Chunk(range))) => {
            bytes[range].to_vec()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_kernel_does_not_take_arrives_later_and_in_order() {
    let (mut connection, mut peer) = pair();
    let bytes = pattern(3_000_000);
    let pieces: Vec<IoSlice> = bytes[..2_000_000]
        .chunks(70_001)
        .map(IoSlice::new)
        .collect();
    connection.send(&pieces);
    let queued = connection.queued();
    assert!(queued > 0);

    // More is queued behind it, in small and large pieces, while some of it leaves.
    let mut rest = &bytes[2_000_000..];
    let mut received = Vec::new();
    for size in [1, 10, 20_000, 300_000, 5].into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at(size.min(rest.len()));
        connection.send(&[IoSlice::new(now)]);
        rest = later;
        let mut room = vec![0; 30_000];
        let count = peer.read(&mut room).unwrap();
        received.extend_from_slice(&room[..count]);
        connection.drain();
    }
    received.extend(drain_to(&mut connection, &mut peer));
    assert!(received == bytes);
    assert_eq!(connection.counters(), (0, bytes.len() as u64));
    assert!(connection.error().is_none());
}

#[test]
fn what_is_sent_to_many_is_copied_once_and_arrives_everywhere() {
    let payloads = [pattern(1_000_000), pattern(1_000_001), pattern(999_999)];
    let mut last_copy = LastCopy::default();
    let mut pairs: Vec<_> = (0..5).map(|_| pair()).collect();
    let mut sent = vec![Vec::new(); pairs.len()];
    for (round, payload) in payloads.iter().cycle().take(9).enumerate() {
        for (index, (connection, _)) in pairs.iter_mut().enumerate() {
            let head = pattern(1 + index * 1000);
            // Some connections take more of it than others do.
            if index == round % 4 {
                connection.send(&[IoSlice::new(&head)]);
                sent[index].extend_from_slice(&head);
            }
            let pieces = [IoSlice::new(&head), IoSlice::new(payload)];
            connection.send_sharing(&pieces, &mut last_copy);
            sent[index].extend_from_slice(&head);
            sent[index].extend_from_slice(payload);
        }
        if round == 4 {
            last_copy.forget();
        }
    }
    for ((connection, peer), sent) in pairs.iter_mut().zip(&sent) {
        assert!(connection.queued() > 0);
        assert!(drain_to(connection, peer) == *sent);
    }
}

#[test]
fn what_several_threads_send_arrives_in_order_at_each_connection() {
    let mut pairs: Vec<_> = (0..100).map(|_| pair()).collect();
    let rounds: Vec<Vec<u8>> = (1..40).map(|round| pattern(round * 401)).collect();
    let (late, latecomers) = channel::<Box<dyn FnOnce() + Send>>();
    for (number, round) in rounds.iter().enumerate() {
        let (head, tail) = round.split_at(number);
        let pieces = [IoSlice::new(head), IoSlice::new(tail)];
        let shares = pairs.iter_mut().map(|(connection, _)| Share {
            connection,
            pieces: &pieces,
        });
        let asked = Cell::new(0);
        // Two helpers come at once, one when all is over.
        send_all(shares.collect(), 3, |help| {
            if asked.replace(asked.get() + 1) < 2 {
                thread::spawn(help);
            } else {
                late.send(help).unwrap();
            }
        });
    }
    let sent = rounds.concat();
    for (connection, peer) in &mut pairs {
        assert!(drain_to(connection, peer) == sent);
    }
    for help in latecomers.try_iter() {
        help();
    }
}

#[test]
fn what_is_not_sent_yet_can_be_taken_away() {
    let (mut connection, mut peer) = pair();
    let bytes = pattern(4_000_000);
    connection.send(&[IoSlice::new(&bytes)]);
    let queued = connection.queued();
    let unsent = connection.take_unsent();
    assert_eq!(unsent.len(), queued);
    assert_eq!(connection.queued(), 0);

    let mut received = drain_to(&mut connection, &mut peer);
    received.extend(unsent);
    assert!(received == bytes);
}

#[test]
fn more_pieces_are_sent_than_one_system_call_takes() {
    let (mut connection, mut peer) = pair();
    let bytes = pattern(5000);
    let pieces: Vec<IoSlice> = bytes.chunks(1).map(IoSlice::new).collect();
    connection.send(&pieces);
    let received = drain_to(&mut connection, &mut peer);
    assert!(received == bytes);
}

#[test]
fn a_peer_that_is_gone_is_an_error_and_ends_the_waiting() {
    let (mut connection, peer) = pair();
    drop(peer);
    connection.send(&[IoSlice::new(b"lost")]);
    assert_eq!(connection.error(), Some(libc::EPIPE));
    assert!(connection.broke_writing());
    connection.send(&[IoSlice::new(b"lost as well")]);
    assert_eq!(connection.queued(), 0);
    assert!(!connection.wants_to_read());
    assert!(!connection.wants_to_write());
}

#[test]
fn the_end_of_what_the_peer_sends_leaves_the_way_out_open() {
    let (mut connection, mut peer) = pair();
    let mut room = [0; 16];
    assert_eq!(connection.read(&mut room), Read::Nothing);
    peer.write_all(b"last").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(connection.read(&mut room), Read::Bytes(4));
    assert_eq!(connection.read(&mut room), Read::End);
    assert!(!connection.wants_to_read());

    connection.send(&[IoSlice::new(b"answer")]);
    assert_eq!(drain_to(&mut connection, &mut peer), b"answer");
    assert_eq!(connection.counters(), (4, 6));
}

#[test]
fn what_is_not_a_descriptor_is_refused() {
    let error = Descriptors::default().duplicate(-1).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
}

#[test]
fn input_that_is_put_aside_continues_where_it_was_left() {
    let mut scratch = frames(&[b"first", b"second", b"third"]);
    let whole = scratch.clone();
    let mut inbound = server();
    let mut input = Input::in_scratch(scratch.len(), HIGH_WATER);
    let step = input.next(&mut inbound, &mut scratch);
    assert_eq!(payload(step, &scratch), b"first");
    assert_eq!(input.unread(&scratch), &whole[11..]);

    input.put_aside(&scratch);
    scratch.fill(0);
    assert_eq!(input.unread(&scratch), &whole[11..]);
    for expected in [b"second".as_slice(), b"third"] {
        let step = input.next(&mut inbound, &mut scratch);
        assert_eq!(payload(step, input.bytes(&scratch)), expected);
    }
    assert!(input.has_room());
    assert_eq!(input.next(&mut inbound, &mut scratch), Step::UsedUp);
    assert!(input.is_used_up());
    // What would come behind it would never be decoded.
    assert!(!input.has_room());
    assert!(input.unread(&scratch).is_empty());
}

#[test]
fn what_was_read_ahead_is_told_apart_by_chunks() {
    let mut scratch = frames(&[b"first", b"second"]);
    let mut inbound = server();
    let mut input = Input::in_scratch(scratch.len(), HIGH_WATER);
    let step = input.next(&mut inbound, &mut scratch);
    assert_eq!(payload(step, &scratch), b"first");
    input.put_aside(&scratch);
    let later: [&[&[u8]]; 2] = [&[b"third"], &[b"fourth", b"fifth"]];
    let later = later.map(frames);
    for chunk in &later {
        input.append(chunk, false);
    }
    let left = scratch.get(11..).unwrap();
    assert_eq!(
        input.unread_chunks(&[]),
        [left, later[0].as_slice(), later[1].as_slice()]
    );
}

#[test]
fn an_item_that_is_given_back_comes_again_also_after_its_input_moved() {
    let mut scratch = frames(&[b"first", b"second", b"third"]);
    let mut inbound = server();
    let mut input = Input::in_scratch(scratch.len(), HIGH_WATER);
    input.next(&mut inbound, &mut scratch);
    let Step::Item(second) = input.next(&mut inbound, &mut scratch) else {
        panic!("there is a second message");
    };
    input.hold(second);
    assert!(input.is_holding());

    input.put_aside(&scratch);
    scratch.fill(0);
    for expected in [b"second".as_slice(), b"third"] {
        let step = input.next(&mut inbound, &mut scratch);
        assert_eq!(payload(step, input.bytes(&scratch)), expected);
    }
    assert_eq!(input.next(&mut inbound, &mut scratch), Step::UsedUp);
}

#[test]
fn what_follows_a_close_frame_is_not_unread() {
    let mut scratch = vec![0x88, 0x80, 1, 2, 3, 4];
    scratch.extend(frames(&[b"too late"]));
    let mut inbound = server();
    let mut input = Input::in_scratch(scratch.len(), HIGH_WATER);
    let step = input.next(&mut inbound, &mut scratch);
    assert!(matches!(step, Step::Item(Item::Close(None, _))));
    assert!(input.is_used_up());
    assert!(input.unread(&scratch).is_empty());
    assert_eq!(input.next(&mut inbound, &mut scratch), Step::UsedUp);
}

#[test]
fn a_large_message_can_be_put_together_in_memory_of_the_callers() {
    for (first, is_worth_it) in [
        // What is merely announced costs no memory.
        (24_999, false),
        (25_000, true),
        (100_000, true),
        // There is too little left to be worth it.
        (199_999, false),
    ] {
        let payload = pattern(200_000);
        let mut frame = vec![0x82, 0xff];
        frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        frame.extend_from_slice(&[9, 8, 7, 6]);
        let head = frame.len();
        frame.extend(
            payload
                .iter()
                .zip([9, 8, 7, 6].iter().cycle())
                .map(|(byte, key)| byte ^ key),
        );

        let mut inbound = server();
        assert_eq!(inbound.wants_memory(), None);
        inbound.begin_chunk().unwrap();
        let (chunk, rest) = frame.split_at_mut(head + first);
        assert_eq!(inbound.next(chunk, &mut 0), None);
        assert_eq!(inbound.wants_memory(), is_worth_it.then_some(200_000));
        if !is_worth_it {
            continue;
        }

        let mut memory = inbound.take_in_progress();
        assert_eq!(memory, payload[..first]);
        let (middle, end) = rest.split_at_mut(10_001);
        assert_eq!(inbound.next_apart(middle, memory.len()), None);
        memory.extend_from_slice(middle);
        let mut again = inbound;
        assert_eq!(again.wanted_apart(), end.len());
        let item = again.next_apart(end, memory.len());
        memory.extend_from_slice(end);
        assert_eq!(
            item,
            Some(Item::Message(MessageKind::Binary, Place::Apart(200_000)))
        );
        assert!(memory == payload);
    }
}

#[test]
fn as_much_is_read_ahead_as_two_streams_of_node_take() {
    let mut inbound = server();
    let mut bytes = frames(&[[1; 100].as_slice(); 600]);
    let chunk = bytes.len();
    bytes.extend_from_slice(&bytes.clone());
    let mut input = Input::aside(bytes[..chunk].to_vec(), HIGH_WATER);
    assert!(input.has_room());
    input.append(&bytes[chunk..], true);
    assert!(!input.has_room());
    for _ in 0..600 {
        assert!(!input.has_room());
        payload(input.next(&mut inbound, &mut []), &pattern(2 * chunk));
    }
    // When the receiver has finished with the first chunk, it takes the second one, and there is room behind it.
    assert_eq!(input.next(&mut inbound, &mut []), Step::UsedUp);
    assert!(input.is_between_chunks());
    assert!(!input.has_room());
    input.next_chunk();
    assert!(input.has_room());
}

#[test]
fn chunks_that_the_receiver_has_are_gone_through_at_once_and_counted_one_by_one() {
    for (limit, passes) in [(4, true), (3, false)] {
        let mut inbound = server_with(Limits {
            max_buffered_chunks: limit,
            ..Limits::default()
        });
        let bytes = frames(&[b"cut in many"]);
        let mut input = Input::aside(bytes[..3].to_vec(), HIGH_WATER);
        for chunk in [&bytes[3..9], &bytes[9..10], &bytes[10..]] {
            input.append(chunk, true);
        }
        let mut step = Step::Turned;
        while step == Step::Turned {
            step = input.next(&mut inbound, &mut []);
        }
        let is_message = matches!(step, Step::Item(Item::Message(..)));
        assert_eq!(is_message, passes, "at most {limit}: {step:?}");
    }
}

#[test]
fn what_the_receiver_has_is_kept_apart_from_what_the_socket_has_read_ahead() {
    let bytes = pattern(300_000);
    let taken = |input: &mut Input| {
        let (chunks, _) = input.take_received(&[]);
        let lengths: Vec<_> = chunks.iter().map(Vec::len).collect();
        (lengths, input.read_ahead(&[]).len())
    };
    let with = |first: usize, later: &[(usize, bool)]| {
        let mut input = Input::aside(bytes[..first].to_vec(), HIGH_WATER);
        for (length, flows) in later {
            input.append(&bytes[..*length], *flows);
        }
        input
    };
    // The receiver takes small chunks until they are 16 KiB, and one that is larger.
    let mut input = with(10, &[(10_000, true), (7000, true), (20, true), (5, true)]);
    assert_eq!(taken(&mut input), (vec![10, 10_000, 7000], 25));
    let mut input = with(16_384, &[(20, true)]);
    assert_eq!(taken(&mut input), (vec![16_384], 20));
    // A paused socket passes nothing on.
    let mut input = with(10, &[(20, false), (30, false)]);
    assert_eq!(taken(&mut input), (vec![10], 50));
    let paused = || {
        let mut input = with(10, &[]);
        input.wait();
        input.append(&[0; 20], false);
        input
    };
    assert_eq!(taken(&mut paused()), (vec![0], 30));
    // When it is not any more, the receiver gets one chunk after the other, and several if it is busy.
    let mut input = paused();
    input.next_chunk();
    assert_eq!(taken(&mut input), (vec![10], 20));
    input = paused();
    input.next_chunk();
    input.receive();
    assert_eq!(taken(&mut input), (vec![10, 20], 0));
    // What it has finished with does not count among what it has.
    let mut input = with(10_000, &[(10_000, false), (20, false)]);
    input.take_received(&[]);
    input.next_chunk();
    input.receive();
    assert_eq!(taken(&mut input), (vec![10_000, 20], 0));
    // Of a read that is larger than Node's, it would have read one more chunk, but not before the first one was told.
    let mut input = with(200_000, &[]);
    assert!(input.leaves_unread());
    assert_eq!(taken(&mut input), (vec![65_536], 0));
    input = with(200_000, &[]);
    input.put_aside(&[]);
    assert!(!input.leaves_unread());
    assert_eq!(taken(&mut input), (vec![65_536], 65_536));
}

const BOTH: Ready = Ready {
    read: true,
    write: true,
};

fn collect(readiness: &mut Readiness) -> Vec<Event> {
    let mut events = Vec::new();
    readiness.collect(&mut events).unwrap();
    events
}

#[test]
fn a_socket_is_reported_until_it_is_read_or_not_asked_for_any_more() {
    let mut readiness = Readiness::new().unwrap();
    let (mut connection, mut peer) = pair();
    let change = |readiness: &Readiness, connection: &Connection, from, to| {
        readiness.change(connection.socket(), 7, from, to).unwrap();
    };
    change(&readiness, &connection, Ready::NOTHING, Ready::READ);
    assert_eq!(collect(&mut readiness), []);

    peer.write_all(b"now").unwrap();
    let readable = Event {
        token: 7,
        ready: Ready::READ,
        broken: false,
        hung_up: false,
    };
    assert_eq!(collect(&mut readiness), [readable]);
    assert_eq!(collect(&mut readiness), [readable]);
    change(&readiness, &connection, Ready::READ, BOTH);
    let ready = BOTH;
    assert_eq!(collect(&mut readiness), [Event { ready, ..readable }]);
    change(&readiness, &connection, BOTH, Ready::READ);
    connection.read(&mut [0; 8]);
    assert_eq!(collect(&mut readiness), []);

    peer.write_all(b"later").unwrap();
    change(&readiness, &connection, Ready::READ, Ready::NOTHING);
    assert_eq!(collect(&mut readiness), []);
    drop(peer);
    assert_eq!(collect(&mut readiness), []);
}

#[test]
fn sockets_are_reported_in_the_order_in_which_they_became_ready() {
    let mut readiness = Readiness::new().unwrap();
    let mut pairs: Vec<_> = (0..8).map(|_| pair()).collect();
    for ((connection, _), token) in pairs.iter().zip(0..) {
        let socket = connection.socket();
        let (nothing, read) = (Ready::NOTHING, Ready::READ);
        readiness.change(socket, token, nothing, read).unwrap();
    }
    let order = [3, 0, 7, 5];
    for token in order {
        pairs[token].1.write_all(b"now").unwrap();
    }
    let found: Vec<_> = collect(&mut readiness)
        .iter()
        .map(|event| event.token as usize)
        .collect();
    assert_eq!(found, order);
}

#[test]
fn a_socket_whose_peer_has_hung_up_is_readable() {
    let mut readiness = Readiness::new().unwrap();
    let (connection, peer) = pair();
    let socket = connection.socket();
    let (nothing, read) = (Ready::NOTHING, Ready::READ);
    readiness.change(socket, 1, nothing, read).unwrap();
    drop(peer);
    let events = collect(&mut readiness);
    assert!(matches!(events[..], [Event { ready, .. }] if ready.read));
}

#[test]
fn a_socket_whose_connection_broke_is_to_be_read_and_written_whatever_was_asked_for() {
    let mut readiness = Readiness::new().unwrap();
    let (mut connection, peer) = pair();
    let write = Ready {
        read: false,
        write: true,
    };
    let socket = connection.socket();
    readiness.change(socket, 1, Ready::NOTHING, write).unwrap();
    connection.send(&[IoSlice::new(b"never read")]);
    drop(peer);
    let broken = Event {
        token: 1,
        ready: BOTH,
        broken: true,
        hung_up: cfg!(any(target_os = "linux", target_os = "android")),
    };
    assert_eq!(collect(&mut readiness), [broken]);
}
