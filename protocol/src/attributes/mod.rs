//! Attributes: what a node says about itself, for frameworks to choose by.
//!
//! # Text form
//!
//! ```text
//! attributes = [ entry { ";" entry } [ ";" ] ]
//! entry      = name ":" value
//! value      = number | ranges | set | text
//! ```
//!
//! `rack:abc;zone:west;os:centos5;level:10;keys:[1000-1500]`
//!
//! Numbers, ranges and sets are those of [resources](crate::resources), except that a number may be
//! negative; `[` and `{` always begin ranges and sets. Whatever else stands there up to the next
//! `;` is text. The order is kept, and a name may stand several times.

mod attribute;
mod list;
mod wire;

pub use crate::text::{Found, TextError, TextErrorKind};
pub use attribute::{Attribute, AttributeText, AttributeValue, TEXT_VALUE_BYTES_MAX};
pub use list::{ATTRIBUTES_MAX, Attributes, TooManyAttributes};

#[cfg(test)]
mod tests;
