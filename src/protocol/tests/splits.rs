//! However the network cuts the input, the same comes out.

use super::*;
use proptest::prelude::*;

/// Everything that can be told apart from outside once the input was fed.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    result: Result<(), ProtocolError>,
    seen: Vec<Seen>,
    open_frames: Vec<Vec<u8>>,
    /// The length and the remainder of the payload in progress. An error leaves them undefined.
    payload: Option<(u64, u64)>,
}

fn outcome(config: Config, input: &[u8], cuts: &[usize]) -> Outcome {
    let mut recorder = Recorder::new(config);
    let result = recorder.feed_cut(input, cuts);
    let decoder = &recorder.decoder;
    Outcome {
        result,
        payload: result
            .is_ok()
            .then(|| (decoder.payload_length(), decoder.payload_remaining())),
        seen: recorder.seen,
        open_frames: recorder.open_frames,
    }
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-zß水🍺]{0,40}".prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (120usize..140).prop_map(|len| vec![b'x'; len]),
    ]
}

/// A message in one or more frames, perhaps with control frames between them.
fn message_frames() -> impl Strategy<Value = Vec<Sent>> {
    let parts = prop::collection::vec((payload(), prop::option::weighted(0.2, 9u8..=10)), 1..5);
    (parts, 1u8..=2, prop::bool::weighted(0.2)).prop_map(|(parts, opcode, compressed)| {
        let last = parts.len() - 1;
        let mut frames = Vec::new();
        for (index, (payload, control)) in parts.into_iter().enumerate() {
            frames.push(Sent {
                fin: index == last,
                rsv1: compressed && index == 0,
                opcode: if index == 0 { opcode } else { 0 },
                payload: payload.clone(),
            });
            if let Some(opcode) = control {
                frames.push(sent(opcode, &payload[..payload.len().min(125)]));
            }
        }
        frames
    })
}

fn close_frame() -> impl Strategy<Value = Vec<Sent>> {
    let code = prop_oneof![4 => 1000u16..1016, 1 => any::<u16>()];
    (code, "[a-z水]{0,20}").prop_map(|(code, reason)| {
        vec![sent(8, &[&code.to_be_bytes(), reason.as_bytes()].concat())]
    })
}

fn any_config() -> impl Strategy<Value = Config> {
    let role = prop_oneof![Just(Role::Server), Just(Role::Client)];
    let max_payload = prop_oneof![3 => Just(0u64), 1 => 1u64..200];
    let max_fragments = prop_oneof![3 => Just(0u32), 1 => 1u32..4];
    (
        role,
        max_payload,
        max_fragments,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(role, max_payload, max_fragments, deflate, skip_utf8_validation)| Config {
                role,
                limits: Limits {
                    max_payload,
                    max_fragments,
                    max_buffered_chunks: 0,
                },
                deflate,
                skip_utf8_validation,
            },
        )
}

/// A stream of frames, now and then with some bytes overwritten.
fn input() -> impl Strategy<Value = (Config, Vec<u8>)> {
    let sequence = prop_oneof![8 => message_frames(), 1 => close_frame()];
    let faults = prop_oneof![
        2 => Just(Vec::new()),
        1 => prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ];
    (any_config(), prop::collection::vec(sequence, 1..5), faults).prop_map(
        |(config, sequences, faults)| {
            let mut bytes = stream(config.role, &sequences.concat());
            for (index, byte) in faults {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
            (config, bytes)
        },
    )
}

proptest! {
    #[test]
    fn any_single_cut_makes_no_difference((config, bytes) in input()) {
        let whole = outcome(config, &bytes, &[]);
        for cut in 1..bytes.len() {
            prop_assert_eq!(&outcome(config, &bytes, &[cut]), &whole, "cut at {}", cut);
        }
    }

    #[test]
    fn any_number_of_cuts_makes_no_difference(
        (config, bytes) in input(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let whole = outcome(config, &bytes, &[]);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.sort_unstable();
        prop_assert_eq!(&outcome(config, &bytes, &cuts), &whole);
        let bytewise: Vec<_> = (1..bytes.len()).collect();
        prop_assert_eq!(&outcome(config, &bytes, &bytewise), &whole);
    }

    #[test]
    fn noise_is_survived((config, _) in input(), noise in prop::collection::vec(any::<u8>(), 0..300)) {
        let whole = outcome(config, &noise, &[]);
        let bytewise: Vec<_> = (1..noise.len()).collect();
        prop_assert_eq!(outcome(config, &noise, &bytewise), whole);
    }

    #[test]
    fn what_is_sent_arrives(messages in prop::collection::vec(message_frames(), 1..6)) {
        let frames = messages.concat();
        for role in [Role::Server, Role::Client] {
            let relaxed = Config { skip_utf8_validation: true, ..config(role) };
            let mut recorder = Recorder::new(relaxed);
            prop_assert_eq!(recorder.feed(&stream(role, &frames)), Ok(()));

            let arrived: Vec<u8> = recorder.seen.iter().flat_map(|seen| match seen {
                Seen::Message { frames, .. } => frames.concat(),
                _ => Vec::new(),
            }).collect();
            let sent: Vec<u8> = frames.iter()
                .filter(|frame| frame.opcode < 8)
                .flat_map(|frame| frame.payload.clone())
                .collect();
            prop_assert_eq!(arrived, sent);
        }
    }
}
