//! How messages are damaged, and what must be true of whatever comes of it.

use meshos_protocol::codec;

use super::{samples::Target, value::Value};

/// What is decoded is as it should be; that is seen within. What is refused is refused.
pub(crate) fn check(target: &Target, bytes: &[u8]) {
    if let Ok(encoded) = (target.read)(bytes) {
        assert!(!encoded.is_empty(), "{}", target.name);
    }
}

pub(crate) fn tree(sample: &[u8]) -> Value {
    codec::decode(sample).expect("messages are MessagePack")
}

/// A number below `below` from the next two bytes.
pub(crate) fn pick(bytes: &mut impl Iterator<Item = u8>, below: usize) -> Option<usize> {
    let (high, low) = (bytes.next()?, bytes.next()?);
    Some(usize::from(u16::from_be_bytes([high, low])) % below.max(1))
}

/// Some bytes of a message are others, or its end is missing.
pub(crate) fn damage(targets: &[Target], damage: &[u8]) {
    for target in targets {
        let mut choices = damage.iter().copied();
        let Some(which) = pick(&mut choices, target.samples.len()) else { return };
        let mut bytes = target.samples[which].clone();
        for _ in 0..3 {
            let place = pick(&mut choices, bytes.len());
            if let Some((place, byte)) = place.zip(choices.next()) {
                bytes[place] = byte;
            }
        }
        check(target, &bytes);
        if let Some(length) = pick(&mut choices, bytes.len()) {
            bytes.truncate(length);
            check(target, &bytes);
        }
    }
}

pub(crate) fn trees(targets: &[Target]) -> Vec<Vec<Value>> {
    let trees = |target: &Target| target.samples.iter().map(|sample| tree(sample)).collect();
    targets.iter().map(trees).collect()
}

/// Well-formed MessagePack of the wrong shape: a part of any message is put in the place of another.
pub(crate) fn rearrange(target: &Target, own: &[Value], all: &[Vec<Value>], choices: &[u8]) {
    let mut choices = choices.iter().copied();
    let mut rearrange = || {
        let mut whole = own[pick(&mut choices, own.len())?].clone();
        let others = &all[pick(&mut choices, all.len())?];
        let mut other = others[pick(&mut choices, others.len())?].clone();
        let (from, to) = (other.count(), whole.count());
        let part = other.at(pick(&mut choices, from)?)?.clone();
        *whole.at(pick(&mut choices, to)?)? = part;
        Some(whole)
    };
    if let Some(rearranged) = rearrange() {
        check(target, &codec::encode(&rearranged));
    }
}
