//! What a connection holds, awake and asleep.

use super::{deflate, deflater, inflate, inflater, json, noise};
use crate::deflate::pool::MOST_KEPT;
use crate::deflate::{DeflateOptions, Deflater, InflateOptions, Inflater, Pool};

const WINDOW: usize = 32 * 1024;

#[test]
fn nothing_is_held_before_the_first_message() {
    for no_context_takeover in [false, true] {
        assert_eq!(deflater(no_context_takeover).memory(), 0);
        assert_eq!(inflater(no_context_takeover).memory(), 0);
    }
}

#[test]
fn nothing_is_held_between_messages_without_takeover() {
    let mut sender = deflater(true);
    let mut receiver = inflater(true);
    for length in [1, 1000, 100_000] {
        let text = json(length, 7);
        let payload = deflate(&mut sender, &text, true);
        assert_eq!(inflate(&mut receiver, &payload, true).unwrap(), text);
        assert_eq!((sender.memory(), receiver.memory()), (0, 0));
    }
}

#[test]
fn asleep_only_the_text_that_was_seen_is_held() {
    let mut sender = deflater(false);
    let mut receiver = inflater(false);
    let text = json(300, 7);
    let payload = deflate(&mut sender, &text, true);
    inflate(&mut receiver, &payload, true).unwrap();
    assert!(sender.memory() > 10_000);
    assert!(receiver.memory() > WINDOW);

    sender.sleep();
    receiver.sleep();
    assert_eq!((sender.memory(), receiver.memory()), (300, 300));
}

#[test]
fn a_compressor_grows_with_the_text_it_refers_to() {
    let memory = |mem_level, messages: &[Vec<u8>]| {
        let options = DeflateOptions {
            mem_level,
            ..DeflateOptions::default()
        };
        let mut sender = Deflater::new(options, false, &Pool::new());
        for text in messages {
            deflate(&mut sender, text, true);
        }
        sender.memory()
    };
    assert!(memory(0, &[json(300, 7)]) < 12 * 1024);
    assert!(memory(0, &vec![json(300, 7); 1000]) < 4 * WINDOW);
    for mem_level in [0, 1, 8, 9] {
        let long = [vec![0; 16 * 1024], noise(100_000)].concat();
        let most = memory(mem_level, &[long, noise(100_000), json(100_000, 7)]);
        assert!(most < 7 * WINDOW + 4 * 1024, "{mem_level}: {most}");
    }
}

#[test]
fn a_memory_level_is_lower_where_nobody_sets_it() {
    let [unset, least, usual] = [0, 1, 8].map(|mem_level| {
        let options = DeflateOptions {
            level: 6,
            mem_level,
            ..DeflateOptions::default()
        };
        let mut sender = Deflater::new(options, false, &Pool::new());
        deflate(&mut sender, &json(300, 7), true);
        sender.memory()
    });
    assert!(least < unset && unset < usual);
}

#[test]
fn asleep_at_most_a_window_is_held() {
    for window_bits in [8, 9, 12, 15] {
        let pool = Pool::new();
        let options = DeflateOptions {
            window_bits,
            ..DeflateOptions::default()
        };
        let mut sender = Deflater::new(options, false, &pool);
        let options = InflateOptions {
            window_bits,
            ..InflateOptions::default()
        };
        let mut receiver = Inflater::new(options, false, &pool);
        for length in [10_000, 1, 7, 100_000, 20_000] {
            let text = json(length, 3);
            let payload = deflate(&mut sender, &text, true);
            assert_eq!(inflate(&mut receiver, &payload, true).unwrap(), text);
            sender.sleep();
            receiver.sleep();
            let window = 1 << window_bits;
            assert!(sender.memory() <= window.max(512));
            assert!(receiver.memory() <= window);
        }
    }
}

#[test]
fn a_woken_compressor_still_refers_to_earlier_messages() {
    let mut sender = deflater(false);
    let text = json(1000, 7);
    let first = deflate(&mut sender, &text, true);
    sender.sleep();
    let second = deflate(&mut sender, &text, true);
    assert!(second.len() * 10 < first.len());
}

#[test]
fn sleep_in_the_middle_of_a_message_keeps_it_intact() {
    for no_context_takeover in [false, true] {
        let mut sender = deflater(no_context_takeover);
        let mut receiver = inflater(no_context_takeover);
        let text = json(5000, 1);
        for _ in 0..2 {
            let mut received = Vec::new();
            for (at, part) in text.chunks(1000).enumerate() {
                let payload = deflate(&mut sender, part, at == 4);
                sender.sleep();
                // A frame may end anywhere, also in the middle of a block.
                let (head, tail) = payload.split_at(payload.len() / 2);
                received.extend(inflate(&mut receiver, head, false).unwrap());
                receiver.sleep();
                received.extend(inflate(&mut receiver, tail, at == 4).unwrap());
                receiver.sleep();
            }
            assert_eq!(received, text);
        }
    }
}

#[test]
fn a_pool_serves_compressors_of_different_parameters() {
    let pool = Pool::new();
    let mut pairs: Vec<_> = (0..40_u8)
        .map(|n| {
            let options = DeflateOptions {
                level: i32::from(n % 10),
                mem_level: i32::from(n % 9) + 1,
                window_bits: 9 + n % 7,
                ..DeflateOptions::default()
            };
            let sender = Deflater::new(options, n % 2 == 0, &pool);
            let receiver = Inflater::new(InflateOptions::default(), n % 2 == 0, &pool);
            (sender, receiver)
        })
        .collect();
    for round in 0..3 {
        for (sender, receiver) in &mut pairs {
            let text = json(700 + round, 5);
            let payload = deflate(sender, &text, true);
            assert_eq!(inflate(receiver, &payload, true).unwrap(), text);
            sender.sleep();
            receiver.sleep();
        }
    }
}

/// Pairs that have exchanged a message and hold their states.
fn awake(count: usize, pool: &Pool) -> Vec<(Deflater, Inflater)> {
    let pair = |_| {
        let mut sender = Deflater::new(DeflateOptions::default(), false, pool);
        let mut receiver = Inflater::new(InflateOptions::default(), false, pool);
        let payload = deflate(&mut sender, b"hello", true);
        assert_eq!(inflate(&mut receiver, &payload, true).unwrap(), b"hello");
        (sender, receiver)
    };
    (0..count).map(pair).collect()
}

#[test]
fn states_are_kept_for_those_that_wake_next() {
    let pool = Pool::new();
    let mut pairs = awake(80, &pool);
    assert_eq!(pool.idle(), (0, 0));
    for (sender, receiver) in &mut pairs {
        sender.sleep();
        receiver.sleep();
    }
    assert_eq!(pool.idle(), (80, 80));
    let others = awake(80, &pool);
    assert_eq!(pool.idle(), (0, 0));

    // What ends gives its states back as well.
    drop(others);
    assert_eq!(pool.idle(), (80, 80));
}

#[test]
fn a_message_that_is_refused_loses_no_state() {
    let pool = Pool::new();
    let mut receiver = Inflater::new(InflateOptions::default(), false, &pool);
    for _ in 0..3 {
        inflate(&mut receiver, &[0xff; 20], true).unwrap_err();
        let idle = pool.idle().1;
        assert!((1..=2).contains(&idle), "{idle} states");
    }
}

#[test]
fn the_pool_keeps_no_more_than_may_be_awake() {
    let pool = Pool::new();
    drop(awake(2 * MOST_KEPT, &pool));
    assert_eq!(pool.idle(), (MOST_KEPT, MOST_KEPT));

    // Of zlib's as well, whatever their parameters.
    pool.clear();
    for window_bits in 9..15 {
        let options = DeflateOptions {
            level: 6,
            window_bits,
            ..DeflateOptions::default()
        };
        let mut senders: Vec<_> = (0..MOST_KEPT)
            .map(|_| Deflater::new(options.clone(), false, &pool))
            .collect();
        for sender in &mut senders {
            deflate(sender, b"hello", true);
        }
        drop(senders);
        assert_eq!(pool.idle().0, MOST_KEPT);
    }
}

#[test]
fn states_that_were_not_needed_for_a_while_are_freed_little_by_little() {
    let pool = Pool::new();
    drop(awake(64, &pool));
    // They were needed since the pool was made.
    pool.trim();
    assert_eq!(pool.idle(), (64, 64));

    // Most of them are needed.
    drop(awake(60, &pool));
    pool.trim();
    assert_eq!(pool.idle(), (62, 62));

    let mut left = Vec::new();
    for _ in 0..6 {
        drop(awake(1, &pool));
        pool.trim();
        left.push(pool.idle().0);
    }
    assert_eq!(left, [31, 16, 8, 4, 2, 1]);

    pool.clear();
    assert_eq!(pool.idle(), (0, 0));
}

#[test]
fn the_halves_and_the_pool_may_move_to_other_threads() {
    fn moves<T: Send>() {}
    fn is_shared<T: Send + Sync + Clone>() {}
    moves::<Deflater>();
    moves::<Inflater>();
    is_shared::<Pool>();
}
