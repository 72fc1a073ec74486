//! The text form of resources; the grammar is in the documentation of the module above.

use std::fmt;
use std::str::FromStr;

use super::{
    AMOUNT_MAX, Amount, ENTRIES_MAX, Metadata, Resource, ResourceName, Resources, Value, ValueKind,
};
use crate::role::{Role, RoleError};
use crate::text::{Cursor, TextError, is_structural, parse_amount, parse_ranges, parse_set};

/// What stands in braces behind the name of a resource that may be taken back at any time.
const REVOCABLE: &str = "revocable";

impl Resources {
    /// Reads the text form, see the [module](super).
    ///
    /// # Errors
    ///
    /// When the text breaks the grammar, a name or role its rules, a value its limits, or one name
    /// has values of several kinds; with the place.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let mut cursor = Cursor::new(text)?;
        let mut resources = Vec::new();
        let mut seen = Vec::new();
        loop {
            cursor.skip_whitespace();
            if cursor.at_end() {
                return Ok(resources.into_iter().collect());
            }
            if resources.len() == ENTRIES_MAX {
                let reason = format!("more than {ENTRIES_MAX} entries");
                return Err(TextError::invalid(cursor.position(), reason));
            }
            let start = cursor.position();
            let entry = parse_entry(&mut cursor)?;
            check_together(&entry, start, &mut seen)?;
            resources.push(entry);
            cursor.skip_whitespace();
            if !cursor.at_end() {
                cursor.expect(';', "`;` or the end of the text")?;
            }
        }
    }
}

/// What the entries of one name have in common.
struct Seen {
    name: ResourceName,
    kind: ValueKind,
    total: Amount,
}

/// One name has one kind of value (`disks:2;disks:{a}` is a mistake), and all entries of a name
/// together are within the limit of one.
fn check_together(entry: &Resource, start: usize, seen: &mut Vec<Seen>) -> Result<(), TextError> {
    let (name, kind) = (entry.name(), entry.value().kind());
    let amount = entry.amount().unwrap_or_default();
    let index = match seen.binary_search_by(|known| known.name.cmp(name)) {
        Ok(index) => index,
        Err(index) => {
            seen.insert(index, Seen { name: name.clone(), kind, total: Amount::ZERO });
            index
        }
    };
    let known = &mut seen[index];
    if known.kind != kind {
        let before = known.kind;
        let reason = format!("the value of `{name}` is {kind} here, but {before} before");
        return Err(TextError::invalid(start, reason));
    }
    known.total = known.total.saturating_add(amount);
    if known.total > AMOUNT_MAX {
        let reason = format!("the amounts of `{name}` add up to more than {AMOUNT_MAX}");
        return Err(TextError::invalid(start, reason));
    }
    Ok(())
}

/// Reads `name [ "(" role ")" | "{revocable}" ] ":" value`.
fn parse_entry(cursor: &mut Cursor<'_>) -> Result<Resource, TextError> {
    let name = parse_name(cursor)?;
    cursor.skip_whitespace();
    let metadata = parse_metadata(cursor)?;
    cursor.skip_whitespace();
    let start = cursor.position();
    let value = match cursor.peek() {
        Some('[') => Value::Ranges(parse_ranges(cursor)?),
        Some('{') => Value::Set(parse_set(cursor)?),
        Some('0'..='9' | '+' | '-') => Value::Scalar(parse_amount(cursor)?),
        _ => return Err(cursor.unexpected("a number, `[` or `{`")),
    };
    Resource::new(name, metadata, value)
        .map_err(|error| TextError::invalid(start, error.to_string()))
}

/// Reads what stands between the name and the value, the `:` included.
fn parse_metadata(cursor: &mut Cursor<'_>) -> Result<Metadata, TextError> {
    let metadata = if cursor.eat('(') {
        Metadata::reserved_for(parse_role(cursor)?)
    } else if cursor.eat('{') {
        let start = cursor.position();
        let word = cursor.take_while(|character| !is_structural(character));
        if word.trim() != REVOCABLE {
            let reason = format!("expected `{REVOCABLE}` between the braces behind a name");
            return Err(TextError::invalid(start, reason));
        }
        cursor.expect('}', "`}`")?;
        Metadata::REVOCABLE
    } else {
        cursor.expect(':', "`:` or `(`")?;
        return Ok(Metadata::UNRESERVED);
    };
    cursor.skip_whitespace();
    cursor.expect(':', "`:`")?;
    Ok(metadata)
}

/// Reads the name of a resource.
fn parse_name(cursor: &mut Cursor<'_>) -> Result<ResourceName, TextError> {
    let start = cursor.position();
    let name = cursor.take_while(|character| {
        !is_structural(character) && !character.is_whitespace() && !character.is_control()
    });
    if name.is_empty() {
        return Err(cursor.unexpected("the name of a resource"));
    }
    ResourceName::new(name).map_err(|error| error.shifted(start))
}

/// Reads `role ")"`.
fn parse_role(cursor: &mut Cursor<'_>) -> Result<Role, TextError> {
    cursor.skip_whitespace();
    let start = cursor.position();
    // White space inside is left to the rules of roles, whose complaint is the better one.
    let role = cursor.take_while(|character| !matches!(character, '(' | ')' | ';')).trim_end();
    if role.is_empty() {
        return Err(cursor.unexpected("a role"));
    }
    cursor.expect(')', "`)`")?;
    Role::new(role).map_err(|error| {
        let offset = if let RoleError::Character { position, .. } = &error { *position } else { 0 };
        TextError::invalid(start + offset, error.to_string())
    })
}

impl FromStr for Resources {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        Resources::parse(text)
    }
}

/// The canonical text form, see the [module](super).
impl fmt::Display for Resources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { ";" };
            write!(formatter, "{separator}{entry}")?;
        }
        Ok(())
    }
}
