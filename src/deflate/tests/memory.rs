//! What a connection holds, awake and asleep.

use super::{deflate, deflater, inflate, inflater, json};
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
    assert!(sender.memory() > 100_000);
    assert!(receiver.memory() > WINDOW);

    sender.sleep();
    receiver.sleep();
    assert_eq!((sender.memory(), receiver.memory()), (300, 300));
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

#[test]
fn the_halves_and_the_pool_may_move_to_other_threads() {
    fn moves<T: Send>() {}
    fn is_shared<T: Send + Sync + Clone>() {}
    moves::<Deflater>();
    moves::<Inflater>();
    is_shared::<Pool>();
}
