//! Packets: messages cut into parts, sealed, opened again and put together.
//!
//! A packet is a header in the clear, which the seal covers, and a sealed part of a message:
//!
//! ```text
//! 0  version (1)     2  part       4  sender      20  salt
//! 1  kind            3  parts     12  generation  28  counter    36  sealed part, 16 bytes of tag
//! ```
//!
//! Each start of a sender seals under its own key, derived from the cluster's key, the cluster's
//! tag, the sender, its generation and a random salt. (The generation alone would do, were data
//! directories never restored from copies.) Under such a key a nonce is message counter and part
//! number, so none is used twice.
//!
//! Whoever holds the cluster's key can seal under any sender's name.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use meshos_protocol::ids::{Generation, NodeId};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    hkdf,
    rand::SecureRandom,
};

use super::window::Window;
use crate::keys::GossipKey;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 36;
const TAG_BYTES: usize = 16;

/// Fits every network path that carries IPv6, with room for tunnels, so packets are not fragmented.
pub(super) const PACKET_BYTES_MAX: usize = 1_200;
const PART_BYTES_MAX: usize = PACKET_BYTES_MAX - HEADER_BYTES - TAG_BYTES;

/// The longest message: chitchat fills a whole UDP datagram.
pub(super) const MESSAGE_BYTES_MAX: usize = 65_507;
const PARTS_MAX: usize = MESSAGE_BYTES_MAX.div_ceil(PART_BYTES_MAX);
const _: () = assert!(PARTS_MAX <= 64, "parts are counted in the bits of a word");

/// How long the parts of one message may take.
const PARTS_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages of one sender that wait for parts at the same time.
const PARTIALS_PER_SENDER: usize = 4;
/// Bytes of all messages that wait for parts.
const PARTIAL_BYTES_MAX: usize = 4 << 20;
/// Senders whose windows are kept.
const SENDERS_MAX: usize = 4_096;
/// How long a sender must be silent before its place, or its salt, may be taken by another.
const SENDER_IDLE: Duration = Duration::from_secs(60);

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A message of chitchat.
    Gossip,
    /// "This cluster is full": the limit, as four bytes.
    Full,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Gossip => 0,
            Self::Full => 1,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Gossip),
            1 => Some(Self::Full),
            _ => None,
        }
    }
}

/// A message that came whole and was sealed with the cluster's key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) sender: NodeId,
    pub(super) kind: Kind,
    pub(super) body: Vec<u8>,
}

/// Why a packet is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejected {
    Garbled,
    Forged,
    Replayed,
    Crowded,
}

/// Why a message cannot be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SealError {
    #[error("a gossip message of {0} bytes is too long")]
    TooLong(usize),
    #[error("all message numbers of this start are used up")]
    Exhausted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    kind: Kind,
    part: u8,
    parts: u8,
    sender: NodeId,
    generation: Generation,
    salt: u64,
    counter: u64,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&[VERSION, self.kind.code(), self.part, self.parts]);
        let numbers = [self.sender.bits(), self.generation.0, self.salt, self.counter];
        for (slot, number) in bytes[4..].chunks_exact_mut(8).zip(numbers) {
            slot.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let [version, kind, part, parts, ..] = *bytes;
        let number = |at: usize| {
            let slot = &bytes[4 + 8 * at..12 + 8 * at];
            u64::from_be_bytes(slot.try_into().expect("eight bytes"))
        };
        let header = Self {
            kind: Kind::from_code(kind)?,
            part,
            parts,
            sender: NodeId::from_bits(number(0)),
            generation: Generation(number(1)),
            salt: number(2),
            counter: number(3),
        };
        let valid = version == VERSION
            && header.sender.bits() == number(0)
            && usize::from(parts) <= PARTS_MAX
            && part < parts;
        valid.then_some(header)
    }

    fn nonce(self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&self.counter.to_be_bytes());
        nonce[8] = self.part;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Derives the key of each start of each sender.
#[derive(Debug, Clone)]
struct Keyring {
    secret: hkdf::Prk,
    tag: String,
}

impl Keyring {
    fn new(key: &GossipKey, tag: &str) -> Self {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"meshos gossip 1");
        Self { secret: salt.extract(key.as_bytes()), tag: tag.to_owned() }
    }

    fn derive(&self, sender: NodeId, generation: Generation, salt: u64) -> LessSafeKey {
        let sender = sender.bits().to_be_bytes();
        let generation = generation.0.to_be_bytes();
        let salt = salt.to_be_bytes();
        let info: [&[u8]; 4] = [self.tag.as_bytes(), &sender, &generation, &salt];
        let key = self.secret.expand(&info, &CHACHA20_POLY1305).expect("32 bytes are not too many");
        LessSafeKey::new(UnboundKey::from(key))
    }
}

/// Seals what this start of this node sends.
#[derive(Debug)]
pub(super) struct Sealer {
    key: LessSafeKey,
    sender: NodeId,
    generation: Generation,
    salt: u64,
    counter: u64,
}

impl Sealer {
    /// `None` when the source of randomness fails.
    pub(super) fn new(
        key: &GossipKey,
        tag: &str,
        sender: NodeId,
        generation: Generation,
        rng: &dyn SecureRandom,
    ) -> Option<Self> {
        let mut salt = [0; 8];
        rng.fill(&mut salt).ok()?;
        let salt = u64::from_be_bytes(salt);
        let key = Keyring::new(key, tag).derive(sender, generation, salt);
        Some(Self { key, sender, generation, salt, counter: 0 })
    }

    /// The packets of one message.
    pub(super) fn seal(&mut self, kind: Kind, body: &[u8]) -> Result<Vec<Vec<u8>>, SealError> {
        if body.len() > MESSAGE_BYTES_MAX {
            return Err(SealError::TooLong(body.len()));
        }
        let counter = self.counter;
        self.counter = counter.checked_add(1).ok_or(SealError::Exhausted)?;
        let parts = body.len().div_ceil(PART_BYTES_MAX).max(1);
        let parts = u8::try_from(parts).expect("bounded by the longest message");
        let mut rest = body;
        let mut packets = Vec::with_capacity(usize::from(parts));
        for part in 0..parts {
            let (now, later) = rest.split_at(rest.len().min(PART_BYTES_MAX));
            rest = later;
            let Self { sender, generation, salt, .. } = *self;
            let header = Header { kind, part, parts, sender, generation, salt, counter };
            packets.push(self.seal_part(header, now));
        }
        Ok(packets)
    }

    fn seal_part(&self, header: Header, part: &[u8]) -> Vec<u8> {
        let clear = header.to_bytes();
        let mut packet = Vec::with_capacity(HEADER_BYTES + part.len() + TAG_BYTES);
        packet.extend_from_slice(&clear);
        packet.extend_from_slice(part);
        let tag = self
            .key
            .seal_in_place_separate_tag(
                header.nonce(),
                Aad::from(clear),
                &mut packet[HEADER_BYTES..],
            )
            .expect("a part is far below the cipher's limit");
        packet.extend_from_slice(tag.as_ref());
        packet
    }

    #[cfg(test)]
    pub(super) fn skip_to(&mut self, counter: u64) {
        self.counter = counter;
    }
}

/// The parts of a message that have come so far.
#[derive(Debug)]
struct Partial {
    kind: Kind,
    since: Instant,
    parts: Vec<Option<Vec<u8>>>,
    bytes: usize,
}

impl Partial {
    fn new(header: Header, now: Instant) -> Self {
        let parts = vec![None; usize::from(header.parts)];
        Self { kind: header.kind, since: now, parts, bytes: 0 }
    }

    fn is_whole(&self) -> bool {
        self.parts.iter().all(Option::is_some)
    }
}

/// One start of one sender.
#[derive(Debug)]
struct Sender {
    generation: Generation,
    salt: u64,
    key: LessSafeKey,
    window: Window,
    heard: Instant,
    partials: BTreeMap<u64, Partial>,
}

/// Opens what others send.
#[derive(Debug)]
pub(super) struct Opener {
    keyring: Keyring,
    own: NodeId,
    senders: BTreeMap<NodeId, Sender>,
    partial_bytes: usize,
    /// Messages given up for newer ones since the last [`Opener::expire`].
    displaced: u64,
}

impl Opener {
    pub(super) fn new(key: &GossipKey, tag: &str, own: NodeId) -> Self {
        let keyring = Keyring::new(key, tag);
        Self { keyring, own, senders: BTreeMap::new(), partial_bytes: 0, displaced: 0 }
    }

    /// Takes a packet; gives the message when this was the last part of it.
    pub(super) fn open(
        &mut self,
        packet: &[u8],
        now: Instant,
    ) -> Result<Option<Message>, Rejected> {
        let (header, sealed) = parse(packet)?;
        if header.sender == self.own {
            // Our own packet sent back to us, or another node that claims to be us.
            return Err(Rejected::Replayed);
        }
        let known = self.known(&header, now)?;
        let part = match known {
            Some(sender) => unseal(&sender.key, header, sealed)?,
            None => {
                let key = self.keyring.derive(header.sender, header.generation, header.salt);
                let part = unseal(&key, header, sealed)?;
                self.admit(header, key, now)?;
                part
            }
        };
        self.take(header, part, now)
    }

    /// Gives up messages whose parts have not come in time, and says how many were given up since
    /// it was last asked.
    pub(super) fn expire(&mut self, now: Instant) -> u64 {
        let mut expired = std::mem::take(&mut self.displaced);
        for sender in self.senders.values_mut() {
            let late = |partial: &Partial| now.duration_since(partial.since) > PARTS_TIMEOUT;
            for (counter, partial) in sender.partials.extract_if(.., |_, partial| late(partial)) {
                self.partial_bytes -= partial.bytes;
                // Parts that come later still must not start the message anew.
                sender.window.mark(counter);
                expired += 1;
            }
        }
        expired
    }

    /// The state of the start that the packet comes from; `None` when it is new to us.
    fn known(&self, header: &Header, now: Instant) -> Result<Option<&Sender>, Rejected> {
        let Some(sender) = self.senders.get(&header.sender) else {
            return Ok(None);
        };
        if header.generation < sender.generation {
            return Err(Rejected::Replayed);
        }
        if header.generation > sender.generation {
            return Ok(None);
        }
        if header.salt != sender.salt {
            let idle = now.duration_since(sender.heard) > SENDER_IDLE;
            return if idle { Ok(None) } else { Err(Rejected::Replayed) };
        }
        if sender.window.is_new(header.counter) {
            Ok(Some(sender))
        } else {
            Err(Rejected::Replayed)
        }
    }

    /// Starts to remember the start of a sender, in place of an earlier one.
    fn admit(&mut self, header: Header, key: LessSafeKey, now: Instant) -> Result<(), Rejected> {
        if !self.senders.contains_key(&header.sender) && self.senders.len() >= SENDERS_MAX {
            let longest = self.senders.iter().min_by_key(|(_, sender)| sender.heard);
            let (silent, heard) =
                longest.map(|(id, sender)| (*id, sender.heard)).ok_or(Rejected::Crowded)?;
            if now.duration_since(heard) <= SENDER_IDLE {
                return Err(Rejected::Crowded);
            }
            self.forget(silent);
        }
        self.forget(header.sender);
        let sender = Sender {
            generation: header.generation,
            salt: header.salt,
            key,
            window: Window::default(),
            heard: now,
            partials: BTreeMap::new(),
        };
        self.senders.insert(header.sender, sender);
        Ok(())
    }

    fn forget(&mut self, sender: NodeId) {
        if let Some(sender) = self.senders.remove(&sender) {
            let held: usize = sender.partials.values().map(|partial| partial.bytes).sum();
            self.partial_bytes -= held;
        }
    }

    /// Adds an opened part to its message.
    fn take(
        &mut self,
        header: Header,
        part: Vec<u8>,
        now: Instant,
    ) -> Result<Option<Message>, Rejected> {
        let Some(sender) = self.senders.get_mut(&header.sender) else {
            return Err(Rejected::Crowded);
        };
        sender.heard = now;
        if header.parts == 1 {
            sender.window.mark(header.counter);
            return Ok(Some(Message { sender: header.sender, kind: header.kind, body: part }));
        }
        if self.partial_bytes + part.len() > PARTIAL_BYTES_MAX {
            return Err(Rejected::Crowded);
        }
        let begins = !sender.partials.contains_key(&header.counter);
        if begins && sender.partials.len() >= PARTIALS_PER_SENDER {
            // Its oldest message has most likely lost a part.
            if let Some((counter, partial)) = sender.partials.pop_first() {
                self.partial_bytes -= partial.bytes;
                sender.window.mark(counter);
                self.displaced += 1;
            }
        }
        let partial =
            sender.partials.entry(header.counter).or_insert_with(|| Partial::new(header, now));
        let same = partial.kind == header.kind && partial.parts.len() == usize::from(header.parts);
        let slot = partial.parts.get_mut(usize::from(header.part)).filter(|_| same);
        let slot = slot.ok_or(Rejected::Garbled)?;
        if slot.is_some() {
            return Err(Rejected::Replayed);
        }
        partial.bytes += part.len();
        self.partial_bytes += part.len();
        *slot = Some(part);
        if !partial.is_whole() {
            return Ok(None);
        }
        let whole = sender.partials.remove(&header.counter).ok_or(Rejected::Crowded)?;
        self.partial_bytes -= whole.bytes;
        sender.window.mark(header.counter);
        let body: Vec<u8> = whole.parts.into_iter().flatten().flatten().collect();
        if body.len() > MESSAGE_BYTES_MAX {
            return Err(Rejected::Garbled);
        }
        Ok(Some(Message { sender: header.sender, kind: header.kind, body }))
    }

    #[cfg(test)]
    pub(super) fn partial_bytes(&self) -> usize {
        self.partial_bytes
    }
}

fn parse(packet: &[u8]) -> Result<(Header, &[u8]), Rejected> {
    if packet.len() > PACKET_BYTES_MAX {
        return Err(Rejected::Garbled);
    }
    let (clear, sealed) = packet.split_first_chunk().ok_or(Rejected::Garbled)?;
    let header = Header::from_bytes(clear).ok_or(Rejected::Garbled)?;
    if sealed.len() < TAG_BYTES { Err(Rejected::Garbled) } else { Ok((header, sealed)) }
}

fn unseal(key: &LessSafeKey, header: Header, sealed: &[u8]) -> Result<Vec<u8>, Rejected> {
    let mut part = sealed.to_vec();
    let length = key
        .open_in_place(header.nonce(), Aad::from(header.to_bytes()), &mut part)
        .map_err(|_| Rejected::Forged)?
        .len();
    part.truncate(length);
    Ok(part)
}
