//! Lists of attributes and their text form.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{Attribute, AttributeValue};
use crate::text::{Cursor, TextError, is_structural};

/// The most attributes one node may have, in a text and on the wire.
pub const ATTRIBUTES_MAX: usize = 1_000;

/// The attributes of a node, in the order in which they were given. Cloning it is cheap.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attributes(Arc<[Attribute]>);

/// There are more than [`ATTRIBUTES_MAX`] attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{count} attributes, at most {ATTRIBUTES_MAX} are allowed")]
pub struct TooManyAttributes {
    /// How many there are.
    pub count: usize,
}

impl Attributes {
    /// A list of attributes.
    ///
    /// # Errors
    ///
    /// When there are more than [`ATTRIBUTES_MAX`].
    pub fn new(attributes: Vec<Attribute>) -> Result<Self, TooManyAttributes> {
        if attributes.len() > ATTRIBUTES_MAX {
            return Err(TooManyAttributes { count: attributes.len() });
        }
        Ok(Attributes(attributes.into()))
    }

    /// Reads the text form, see the [module](super).
    ///
    /// # Errors
    ///
    /// When the text breaks the grammar, or a name or a value its rules; with the place.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let mut cursor = Cursor::new(text)?;
        let mut attributes = Vec::new();
        loop {
            cursor.skip_whitespace();
            if cursor.at_end() {
                return Ok(Attributes(attributes.into()));
            }
            if attributes.len() == ATTRIBUTES_MAX {
                let reason = format!("more than {ATTRIBUTES_MAX} attributes");
                return Err(TextError::invalid(cursor.position(), reason));
            }
            attributes.push(parse_attribute(&mut cursor)?);
            cursor.skip_whitespace();
            if !cursor.at_end() {
                cursor.expect(';', "`;` or the end of the text")?;
            }
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The attributes, in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, Attribute> {
        self.0.iter()
    }

    /// The first value of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&AttributeValue> {
        self.get_all(name).next()
    }

    /// All values of that name, in their order.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &AttributeValue> {
        self.iter().filter(move |attribute| attribute.name() == name).map(Attribute::value)
    }
}

/// Reads `name ":" value`.
fn parse_attribute(cursor: &mut Cursor<'_>) -> Result<Attribute, TextError> {
    let start = cursor.position();
    let name = cursor.take_while(|character| {
        !is_structural(character) && !character.is_whitespace() && !character.is_control()
    });
    if name.is_empty() {
        return Err(cursor.unexpected("the name of an attribute"));
    }
    cursor.skip_whitespace();
    cursor.expect(':', "`:`")?;
    cursor.skip_whitespace();
    let value = AttributeValue::parse(cursor)?;
    Attribute::new(name, value).map_err(|error| error.shifted(start))
}

impl FromStr for Attributes {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        Attributes::parse(text)
    }
}

impl<'a> IntoIterator for &'a Attributes {
    type Item = &'a Attribute;
    type IntoIter = std::slice::Iter<'a, Attribute>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The text form, see the [module](super).
impl fmt::Display for Attributes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, attribute) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { ";" };
            write!(formatter, "{separator}{attribute}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Attributes({self})")
    }
}
