//! How long texts and names may be.

/// The longest text of resources or attributes that is parsed, in bytes (64 KiB).
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// The longest name of a resource, an attribute, a role or an item of a set, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
