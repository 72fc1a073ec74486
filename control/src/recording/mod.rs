//! Recordings: all that a master was made from and told, so that its term can be played again
//! elsewhere, step by step, and shows what it did and why.
//!
//! A master decides nothing by a clock, by chance or by anything else that it is not told. So the
//! registry, the hints and the seed that it started from, and every event with its time, are enough:
//! a master that is told the same does the same. With each event the recording keeps a fingerprint
//! of the effects, and playing it tells the first step at which they differ.
//!
//! A recording is a row of frames, each a length (four bytes, big-endian) and that many bytes of
//! MessagePack with named fields. One that ends in the middle of a frame, as a crash leaves it, is
//! read up to there.

mod fingerprint;
mod frames;
mod play;
mod tape;

pub use frames::{ReadError, Reader, Start, Step};
pub use play::{Played, Player};
pub use tape::Tape;
