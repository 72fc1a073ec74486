//! The grammar of names and values, shared by resources and attributes.

use super::{Cursor, Found, NAME_BYTES_MAX, TextError};
use crate::resources::{Amount, RANGES_MAX, Range, Ranges, Set};

/// Whether no name may hold the character: the grammar uses it for itself, or, the `=`, it stands
/// where the grammar wants a `:` only by mistake.
pub(crate) fn is_structural(character: char) -> bool {
    matches!(character, ':' | '=' | ';' | ',' | '(' | ')' | '[' | ']' | '{' | '}')
}

/// Checks a name of a resource or of an attribute: not empty, at most [`NAME_BYTES_MAX`] bytes,
/// no white space, no control characters, nothing that the grammar uses for itself.
/// The position of the error is relative to `name`.
pub(crate) fn check_name(name: &str) -> Result<(), TextError> {
    if name.is_empty() {
        return Err(TextError::unexpected(0, "a name", Found::End));
    }
    let refused = |character: char| {
        is_structural(character) || character.is_whitespace() || character.is_control()
    };
    if let Some((position, found)) = name.char_indices().find(|(_, found)| refused(*found)) {
        return Err(TextError::unexpected(
            position,
            "a name without white space and without any of `:=;,()[]{}`",
            Found::Char(found),
        ));
    }
    if name.len() > NAME_BYTES_MAX {
        let reason = format!("the name has {} bytes, at most {NAME_BYTES_MAX} fit", name.len());
        return Err(TextError::invalid(0, reason));
    }
    Ok(())
}

/// Reads a decimal number: an optional sign, digits, and optionally a point and more digits.
/// What is finer than a thousandth is rounded to the nearest, halves away from zero.
pub(crate) fn parse_amount(cursor: &mut Cursor<'_>) -> Result<Amount, TextError> {
    let start = cursor.position();
    let negative = cursor.eat('-');
    if !negative {
        cursor.eat('+');
    }
    let units = cursor.take_while(|character| character.is_ascii_digit());
    if units.is_empty() {
        return Err(cursor.unexpected("a number"));
    }
    let mut fraction = "";
    if cursor.eat('.') {
        fraction = cursor.take_while(|character| character.is_ascii_digit());
        if fraction.is_empty() {
            return Err(cursor.unexpected("a digit after the decimal point"));
        }
    }
    thousandths(units, fraction, negative)
        .map(Amount::from_millis)
        .ok_or_else(|| TextError::invalid(start, "the number is too large"))
}

/// The number in thousandths, computed on the digits, or nothing when an i64 cannot hold it.
fn thousandths(units: &str, fraction: &str, negative: bool) -> Option<i64> {
    // Counted downwards from zero, because the smallest i64 has no positive counterpart.
    let push = |millis: i64, digit: u8| {
        millis.checked_mul(10)?.checked_sub(i64::from(digit.checked_sub(b'0')?))
    };
    let thousandths = fraction.bytes().chain([b'0'; 3]).take(3);
    let mut millis = units.bytes().chain(thousandths).try_fold(0_i64, push)?;
    if fraction.as_bytes().get(3).is_some_and(|digit| *digit >= b'5') {
        millis = millis.checked_sub(1)?;
    }
    if negative { Some(millis) } else { millis.checked_neg() }
}

/// Reads ranges: `[21000-24000]` or `[1-2, 5-9]`, in any order; those that touch are merged.
pub(crate) fn parse_ranges(cursor: &mut Cursor<'_>) -> Result<Ranges, TextError> {
    let mut ranges = Vec::new();
    cursor.expect('[', "`[`")?;
    cursor.skip_whitespace();
    if cursor.eat(']') {
        return Ok(Ranges::default());
    }
    loop {
        cursor.skip_whitespace();
        if ranges.len() == RANGES_MAX {
            let reason = format!("more than {RANGES_MAX} ranges");
            return Err(TextError::invalid(cursor.position(), reason));
        }
        ranges.push(parse_range(cursor)?);
        cursor.skip_whitespace();
        if cursor.eat(']') {
            return Ok(Ranges::new(ranges));
        }
        cursor.expect(',', "`,` or `]`")?;
    }
}

/// Reads one range, `begin-end`, both ends belonging to it.
fn parse_range(cursor: &mut Cursor<'_>) -> Result<Range, TextError> {
    let begin = parse_whole(cursor)?;
    cursor.skip_whitespace();
    cursor.expect('-', "`-` and the end of the range")?;
    cursor.skip_whitespace();
    let end_position = cursor.position();
    let end = parse_whole(cursor)?;
    Range::new(begin, end).ok_or_else(|| {
        let reason = format!("the range ends at {end}, before its begin {begin}");
        TextError::invalid(end_position, reason)
    })
}

/// Reads a whole number without a sign.
fn parse_whole(cursor: &mut Cursor<'_>) -> Result<u64, TextError> {
    let start = cursor.position();
    let digits = cursor.take_while(|character| character.is_ascii_digit());
    if digits.is_empty() {
        return Err(cursor.unexpected("a whole number"));
    }
    digits.parse().map_err(|_| {
        TextError::invalid(start, format!("the number is too large, the largest is {}", u64::MAX))
    })
}

/// Reads a set: `{a,b,c}`, in any order; repeated items count once.
pub(crate) fn parse_set(cursor: &mut Cursor<'_>) -> Result<Set, TextError> {
    let mut set = Set::default();
    cursor.expect('{', "`{`")?;
    cursor.skip_whitespace();
    if cursor.eat('}') {
        return Ok(set);
    }
    loop {
        cursor.skip_whitespace();
        let start = cursor.position();
        let item = cursor.take_while(|character| {
            !character.is_control() && !matches!(character, ',' | ';' | '{' | '}')
        });
        if item.is_empty() {
            return Err(cursor.unexpected("an item of the set"));
        }
        set.insert(item.trim_end())
            .map_err(|error| TextError::invalid(start, error.to_string()))?;
        cursor.skip_whitespace();
        if cursor.eat('}') {
            return Ok(set);
        }
        cursor.expect(',', "`,` or `}`")?;
    }
}
