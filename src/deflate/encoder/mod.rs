//! A compressor of our own, for whoever asks for none of zlib's levels.
//!
//! zlib is made for streams: it walks through long chains of places, clears tables of 128 KiB for each new stream, and
//! so takes 10 to 15 µs for a message of 256 bytes. This one looks at a few of the most recent places only, and needs
//! no clearing: what lies in its tables from before is out of reach. What it writes is plain deflate (RFC 1951), about
//! a tenth longer than what zlib's default level makes of the same text.
//!
//! - [`window`] holds the text and cuts the message into literals and matches,
//! - [`block`] counts them and writes them in the shortest way,
//! - [`huffman`] finds the codes for that, [`bits`] puts them into bytes.

mod bits;
mod block;
mod huffman;
mod window;

use self::bits::BitWriter;
pub(super) use self::block::Block;
pub(super) use self::window::Window;
use self::window::CHUNK;

/// Appends the compressed input to `out`, up to a byte boundary and the lengths of the empty stored block there. The
/// input becomes part of the window's context. `block` is only lent; what it holds does not matter.
pub(super) fn encode(window: &mut Window, block: &mut Block, input: &[u8], out: &mut Vec<u8>) {
    let mut writer = BitWriter::new(out, input.len());
    for chunk in input.chunks(CHUNK) {
        window.append(chunk);
        block.clear();
        window.find_matches(block);
        block.write(chunk, &mut writer);
    }
    writer.flush();
}

/// The lengths of words for symbols that occur so often.
#[cfg(test)]
pub(super) fn lengths_of(counts: &[u32; 30], limit: usize) -> [u8; 30] {
    huffman::lengths(counts, limit).map(|word| word.length)
}
