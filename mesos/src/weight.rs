//! What a message takes in memory once it is read.
//!
//! Two bytes can stand for an empty message of some hundred bytes, so a small body can become a large
//! message. Protobuf is weighed by its bytes, before anything is decoded; JSON by its brackets before it
//! is parsed, and then message by message as they are made.

use std::mem::size_of;

use serde_json::Value;

/// The most that one message may take in memory, in bytes: several times what a body of the largest
/// size makes of sensible content.
pub(crate) const MEMORY_MAX: usize = 64 << 20;
/// What the allocator adds to a piece of memory, at most, for small ones.
const PIECE: usize = 32;
/// Entries for which an ordered map takes memory at a time.
const NODE_ENTRIES: usize = 11;
/// A list takes memory for so many elements with its first one; later, when it grows, it holds less for
/// each: its old memory and twice as much beside it.
const GROWTH: usize = 4;
/// Messages within messages, as deep as they are decoded.
const DEPTH_MAX: usize = 100;

/// Why a message is not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It would take more than it may.
    TooHeavy,
    /// It is no protobuf; why not.
    Malformed(&'static str),
}

/// Adds up.
#[derive(Debug)]
pub(crate) struct Scale {
    bytes: usize,
    bytes_max: usize,
    depth: usize,
}

impl Default for Scale {
    fn default() -> Self {
        Self::of(&[])
    }
}

impl Scale {
    /// Begins with the bytes themselves.
    pub(crate) const fn of(body: &[u8]) -> Self {
        Self { bytes: body.len(), bytes_max: MEMORY_MAX, depth: 0 }
    }

    /// With another limit.
    pub(crate) const fn within(self, bytes_max: usize) -> Self {
        Self { bytes_max, ..self }
    }

    /// The limit.
    pub(crate) const fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// As much again, up to the limit.
    pub(crate) const fn double(&mut self) {
        let double = self.bytes.saturating_mul(2);
        self.bytes = if double < self.bytes_max { double } else { self.bytes_max };
    }

    /// So much more.
    pub(crate) const fn add(&mut self, bytes: usize) -> Result<(), Unfit> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.bytes_max { Err(Unfit::TooHeavy) } else { Ok(()) }
    }

    /// A piece of memory of its own.
    pub(crate) const fn add_piece(&mut self, bytes: usize) -> Result<(), Unfit> {
        self.add(bytes + PIECE)
    }

    /// An element of a list that grows with it.
    pub(crate) const fn add_element<T>(&mut self, elements: usize) -> Result<(), Unfit> {
        self.add(GROWTH.saturating_mul(size_of::<T>()).saturating_mul(elements))
    }

    /// An entry of a map, which may be its only one.
    pub(crate) const fn add_entry<T>(&mut self) -> Result<(), Unfit> {
        self.add_piece(NODE_ENTRIES * (size_of::<String>() + size_of::<T>()))
    }

    /// What there is so far.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A message of the schema.
pub(crate) trait Weigh {
    /// Adds what a field takes beside the message itself; `payload` is empty for numbers.
    fn weigh_field(tag: u32, payload: &[u8], scale: &mut Scale) -> Result<(), Unfit>;
}

/// Adds what is in a message, beside the message itself.
pub(crate) fn weigh<M: Weigh>(bytes: &[u8], scale: &mut Scale) -> Result<(), Unfit> {
    if scale.depth >= DEPTH_MAX {
        return Err(Unfit::Malformed("messages lie too deep in each other"));
    }
    scale.depth += 1;
    for_each_field(bytes, |tag, payload| M::weigh_field(tag, payload, scale))?;
    scale.depth -= 1;
    Ok(())
}

/// Goes through the fields of a message as they lie on the wire. Groups, which nothing of Mesos has,
/// are refused.
pub(crate) fn for_each_field(
    mut bytes: &[u8],
    mut field: impl FnMut(u32, &[u8]) -> Result<(), Unfit>,
) -> Result<(), Unfit> {
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let tag = u32::try_from(key >> 3).map_err(|_| Unfit::Malformed("a field has no number"))?;
        let payload = match key & 7 {
            0 => {
                varint(&mut bytes)?;
                &[]
            }
            1 => skip(&mut bytes, 8)?,
            5 => skip(&mut bytes, 4)?,
            2 => {
                let length = varint(&mut bytes)?;
                take(&mut bytes, usize::try_from(length).unwrap_or(usize::MAX))?
            }
            _ => return Err(Unfit::Malformed("a field is of no known kind")),
        };
        field(tag, payload)?;
    }
    Ok(())
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Unfit> {
    let cut = bytes.split_at_checked(length);
    let (taken, rest) = cut.ok_or(Unfit::Malformed("it ends within a field"))?;
    *bytes = rest;
    Ok(taken)
}

fn skip<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Unfit> {
    take(bytes, length).map(|_| &[][..])
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Unfit> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let [byte] = take(bytes, 1)? else { break };
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Unfit::Malformed("a number is too long"))
}

/// Adds what a text of JSON takes once it is parsed, whatever it means.
pub(crate) fn weigh_json(text: &[u8], scale: &mut Scale) -> Result<(), Unfit> {
    let value = size_of::<Value>();
    let object = NODE_ENTRIES * (size_of::<String>() + value) + PIECE;
    let list = GROWTH * value + PIECE;
    // One more element of a list, or one more entry of an object, whose nodes are half full at least.
    let more = (GROWTH * value).max(object / (NODE_ENTRIES / 2));
    let (mut within_string, mut escaped) = (false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if within_string => escaped = true,
            b'"' => {
                within_string = !within_string;
                scale.add(PIECE / 2)?;
            }
            _ if within_string => {}
            b'{' => scale.add(object)?,
            b'[' => scale.add(list)?,
            b',' => scale.add(more)?,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
