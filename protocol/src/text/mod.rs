//! A small text cursor, and the errors of the text forms of resources, roles and attributes.
//!
//! These texts are typed by people into flags and configuration files, so an error says where it
//! is (a byte position), what was expected there and what was found instead.

mod cursor;
mod error;
mod limits;
mod value;

pub(crate) use cursor::Cursor;
pub use error::{Found, TextError, TextErrorKind};
pub use limits::{NAME_BYTES_MAX, TEXT_BYTES_MAX};
pub(crate) use value::{check_name, is_structural, parse_amount, parse_ranges, parse_set};

#[cfg(test)]
mod tests;
