//! The error of every text form, with its place.

use std::borrow::Cow;
use std::fmt;

/// Why a text could not be parsed, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at byte {position}: {kind}")]
pub struct TextError {
    position: usize,
    kind: TextErrorKind,
}

/// What was wrong at the place of a [`TextError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextErrorKind {
    /// The grammar wants something else here.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What the grammar allows here.
        expected: Cow<'static, str>,
        /// What stands there.
        found: Found,
    },
    /// The text is well formed, but what it says is not allowed.
    #[error("{0}")]
    Invalid(Cow<'static, str>),
}

/// What stands at the place of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The text ends there.
    End,
    /// This character.
    Char(char),
}

impl fmt::Display for Found {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::End => formatter.write_str("the end of the text"),
            Found::Char(found) => write!(formatter, "`{}`", found.escape_debug()),
        }
    }
}

/// How many characters [`TextError::caret`] shows on each side of the error.
const CARET_CONTEXT_CHARS: usize = 40;

impl TextError {
    /// `expected` is missing at `position`, where `found` stands.
    pub(crate) fn unexpected(
        position: usize,
        expected: impl Into<Cow<'static, str>>,
        found: Found,
    ) -> Self {
        let expected = expected.into();
        TextError { position, kind: TextErrorKind::Unexpected { expected, found } }
    }

    /// What stands at `position` is well formed but not allowed, for `reason`.
    pub(crate) fn invalid(position: usize, reason: impl Into<Cow<'static, str>>) -> Self {
        TextError { position, kind: TextErrorKind::Invalid(reason.into()) }
    }

    /// The same error of a text that stands `offset` bytes into a larger one.
    pub(crate) fn shifted(mut self, offset: usize) -> Self {
        self.position += offset;
        self
    }

    /// The byte position in the parsed text, from 0; the text's length when it ended too early.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// What was wrong there.
    #[must_use]
    pub fn kind(&self) -> &TextErrorKind {
        &self.kind
    }

    /// Draws the place of the error: the part of `text` around it, a line with a caret under it,
    /// and the message. For `cpus:4;mem=2`:
    ///
    /// ```text
    /// cpus:4;mem=2
    ///           ^ expected `:`, found `=`
    /// ```
    ///
    /// `text` is the text that was parsed; any other gives a misplaced caret, never a panic.
    #[must_use]
    pub fn caret(&self, text: &str) -> String {
        let position = self.position.min(text.len());
        let before: Vec<char> = text
            .char_indices()
            .take_while(|(index, _)| *index < position)
            .map(|(_, character)| printable(character))
            .collect();
        let after: Vec<char> = text.chars().skip(before.len()).map(printable).collect();

        let skipped = before.len().saturating_sub(CARET_CONTEXT_CHARS);
        let prefix = if skipped > 0 { "..." } else { "" };
        let suffix = if after.len() > CARET_CONTEXT_CHARS { "..." } else { "" };
        let shown_before: String = before[skipped..].iter().collect();
        let shown_after: String = after.iter().take(CARET_CONTEXT_CHARS).collect();
        let indent = " ".repeat(prefix.len() + before.len() - skipped);
        format!("{prefix}{shown_before}{shown_after}{suffix}\n{indent}^ {}", self.kind)
    }
}

/// Line breaks and other control characters would tear the caret from its text.
fn printable(character: char) -> char {
    if character.is_control() { ' ' } else { character }
}
