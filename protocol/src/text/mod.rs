//! A small text cursor, and the errors of the text forms of resources, roles and attributes.
//!
//! These texts are typed by people into flags and configuration files, so an error says where it
//! is (a byte position), what was expected there and what was found instead.

mod cursor;
mod error;
mod value;

pub(crate) use cursor::Cursor;
pub use error::{Found, TextError, TextErrorKind};
pub(crate) use value::{check_name, is_structural, parse_amount, parse_ranges, parse_set};

/// The longest text of resources or attributes that is parsed, in bytes (64 KiB).
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// The longest name of a resource, an attribute, a role or an item of a set, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests;
