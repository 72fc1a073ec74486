//! One attribute.

use std::fmt;
use std::sync::Arc;

use crate::resources::{Amount, Ranges, Set};
use crate::text::{Cursor, Found, TextError, check_name, parse_amount, parse_ranges, parse_set};

/// The longest text value, in bytes.
pub const TEXT_VALUE_BYTES_MAX: usize = 4_096;

/// A name and a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attribute {
    name: Arc<str>,
    value: AttributeValue,
}

/// What an attribute says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttributeValue {
    /// A number, which may be negative.
    Scalar(Amount),
    /// Ranges of numbers.
    Ranges(Ranges),
    /// A set of words.
    Set(Set),
    /// Anything else.
    Text(AttributeText),
}

/// The text of an attribute: not empty, at most [`TEXT_VALUE_BYTES_MAX`] bytes, no control
/// characters and no `;`, no white space at its ends, and nothing that would be read as a number,
/// ranges or a set. So every attribute has a text form that reads back as what it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeText(Arc<str>);

impl AttributeText {
    /// Checks a text.
    ///
    /// # Errors
    ///
    /// When the text breaks the rules of [`AttributeText`]; positions are those in `text`.
    pub fn new(text: &str) -> Result<Self, TextError> {
        let refused = |character: char| character == ';' || character.is_control();
        if let Some((position, found)) = text.char_indices().find(|(_, found)| refused(*found)) {
            let expected = "text without `;` and control characters";
            return Err(TextError::unexpected(position, expected, Found::Char(found)));
        }
        if text.is_empty() {
            return Err(TextError::unexpected(0, "a text", Found::End));
        }
        if text.len() > TEXT_VALUE_BYTES_MAX {
            let reason =
                format!("the text has {} bytes, at most {TEXT_VALUE_BYTES_MAX} fit", text.len());
            return Err(TextError::invalid(0, reason));
        }
        if text.trim() != text {
            return Err(TextError::invalid(0, "the text has white space at an end"));
        }
        if text.starts_with(['[', '{']) || text.parse::<Amount>().is_ok() {
            return Err(TextError::invalid(0, "the text would be read as another kind of value"));
        }
        Ok(AttributeText(Arc::from(text)))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AttributeValue {
    /// Reads the value at the cursor, up to the `;` or the end of the text, which it leaves.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, TextError> {
        match cursor.peek() {
            None | Some(';') => Err(cursor.unexpected("a value")),
            Some('[') => parse_ranges(cursor).map(AttributeValue::Ranges),
            Some('{') => parse_set(cursor).map(AttributeValue::Set),
            Some(_) => parse_scalar_or_text(cursor),
        }
    }
}

/// Reads a number if the whole value is one, and a text otherwise.
fn parse_scalar_or_text(cursor: &mut Cursor<'_>) -> Result<AttributeValue, TextError> {
    let mut ahead = cursor.clone();
    if let Ok(amount) = parse_amount(&mut ahead) {
        ahead.skip_whitespace();
        if matches!(ahead.peek(), None | Some(';')) {
            *cursor = ahead;
            return Ok(AttributeValue::Scalar(amount));
        }
    }
    let start = cursor.position();
    let text = cursor.take_while(|character| character != ';').trim_end();
    AttributeText::new(text).map(AttributeValue::Text).map_err(|error| error.shifted(start))
}

impl Attribute {
    /// Puts an attribute together. A name has at most 255 bytes, no white space, no control
    /// characters, and none of `:=;,()[]{}`.
    ///
    /// # Errors
    ///
    /// When the name breaks these rules; positions are those in `name`.
    pub fn new(name: &str, value: AttributeValue) -> Result<Self, TextError> {
        check_name(name)?;
        Ok(Attribute { name: Arc::from(name), value })
    }

    /// What it is about.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says.
    #[must_use]
    pub fn value(&self) -> &AttributeValue {
        &self.value
    }
}

impl fmt::Display for AttributeText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// The text form of the value alone.
impl fmt::Display for AttributeValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttributeValue::Scalar(amount) => amount.fmt(formatter),
            AttributeValue::Ranges(ranges) => ranges.fmt(formatter),
            AttributeValue::Set(set) => set.fmt(formatter),
            AttributeValue::Text(text) => text.fmt(formatter),
        }
    }
}

/// The text form, `rack:abc`.
impl fmt::Display for Attribute {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.name, self.value)
    }
}
