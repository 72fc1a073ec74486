//! The cursor that the parsers of text forms share.

use std::borrow::Cow;

use super::{Found, TEXT_BYTES_MAX, TextError};

/// A position in a text. Every parser advances it over what it understood, so that an error is
/// always made at the place where understanding ended.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at the beginning of `text`, which may hold at most [`TEXT_BYTES_MAX`] bytes.
    pub(crate) fn new(text: &'a str) -> Result<Self, TextError> {
        if text.len() > TEXT_BYTES_MAX {
            let reason =
                format!("the text has {} bytes, at most {TEXT_BYTES_MAX} are read", text.len());
            return Err(TextError::invalid(TEXT_BYTES_MAX, reason));
        }
        Ok(Cursor { text, position: 0 })
    }

    /// The byte position in the text.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// What has not been read yet.
    pub(crate) fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    /// The next character, which stays unread.
    pub(crate) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Whether everything was read.
    pub(crate) fn at_end(&self) -> bool {
        self.position == self.text.len()
    }

    /// Reads over white space.
    pub(crate) fn skip_whitespace(&mut self) {
        self.take_while(char::is_whitespace);
    }

    /// Reads characters as long as `wanted` holds, and gives them.
    pub(crate) fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|character| !wanted(character)).unwrap_or(rest.len());
        self.position += length;
        &rest[..length]
    }

    /// Reads over `wanted` when it comes next, and says whether it did.
    pub(crate) fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.position += wanted.len_utf8();
        }
        found
    }

    /// Reads over `wanted`, or fails saying that `expected` should stand here.
    pub(crate) fn expect(
        &mut self,
        wanted: char,
        expected: impl Into<Cow<'static, str>>,
    ) -> Result<(), TextError> {
        if self.eat(wanted) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    /// The error that `expected` should stand at the present position.
    pub(crate) fn unexpected(&self, expected: impl Into<Cow<'static, str>>) -> TextError {
        TextError::unexpected(self.position, expected, self.peek().map_or(Found::End, Found::Char))
    }
}
