//! Base32 of RFC 4648 in lower case and without padding, as node ids use it: no two characters that
//! look alike, and a double click takes the whole of it.

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The text form of `bytes`.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let mut buffer = 0u32;
    let mut bits = 0;
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(digit(buffer >> bits));
        }
    }
    if bits > 0 {
        text.push(digit(buffer << (5 - bits)));
    }
    text
}

/// The bytes that `encode` makes exactly this text from; `None` for any other text.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let mut buffer = 0u32;
    let mut bits = 0;
    for character in text.bytes() {
        let (value, _) = (0u32..).zip(ALPHABET).find(|(_, symbol)| **symbol == character)?;
        buffer = ((buffer << 5) | value) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((buffer >> bits) & 0xff).ok()?);
        }
    }
    // One text for each value: no spare characters, and the spare bits of the last one are zero.
    let canonical = bits < 5 && buffer & ((1 << bits) - 1) == 0;
    canonical.then_some(bytes)
}

fn digit(value: u32) -> char {
    let index = usize::try_from(value & 31).expect("five bits fit");
    char::from(ALPHABET[index])
}
