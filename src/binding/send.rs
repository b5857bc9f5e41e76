//! Entry points of the way out that work on bytes alone: frame headers and masking.

use super::raw::{raw_functions, Call, Fault, Outcome};
use crate::protocol::{mask, FrameHead, MAX_HEAD};

raw_functions!(export:
    "writeHead" => write_head,
    "mask" => mask_bytes,
);

const FIN: i32 = 0x80;
const RSV1: i32 = 0x40;

/// A masking key as JavaScript passes it: its four bytes, the first lowest.
fn key(call: &Call, index: usize) -> Outcome<[u8; 4]> {
    call.int(index).map(i32::to_le_bytes)
}

/// `writeHead(target, first, length, masked, key) -> size`: the header of a frame whose first byte is `first`.
fn write_head(call: &Call) -> Outcome<i32> {
    let (first, length) = (call.int(1)?, call.size(2)?);
    let mask = if call.flag(3)? {
        Some(key(call, 4)?)
    } else {
        None
    };
    let head = FrameHead {
        fin: first & FIN != 0,
        rsv1: first & RSV1 != 0,
        opcode: (first & 0x0f) as u8,
        length: length as u64,
        mask,
    };
    let mut bytes = [0; MAX_HEAD];
    let size = head.write(&mut bytes);
    // SAFETY: no JavaScript runs until this function returns, and no other argument is a buffer.
    let target = unsafe { call.bytes(0)? };
    match (target.get_mut(..size), bytes.get(..size)) {
        (Some(target), Some(bytes)) => target.copy_from_slice(bytes),
        _ => return Err(Fault::Type("the target is too small")),
    }
    Ok(size as i32)
}

/// `mask(buffer, start, length, key)`: masks (or unmasks) a part of a buffer in place.
fn mask_bytes(call: &Call) -> Outcome<()> {
    let (start, length) = (call.size(1)?, call.size(2)?);
    let key = key(call, 3)?;
    // SAFETY: no JavaScript runs until this function returns, and no other argument is a buffer.
    let bytes = unsafe { call.bytes(0)? };
    let part = start
        .checked_add(length)
        .and_then(|end| bytes.get_mut(start..end))
        .ok_or(Fault::Type("no such bytes"))?;
    mask(part, key, 0);
    Ok(())
}
