//! Licence expressions (SPDX), as far as crates use them.
//!
//! Grammar: `or := and (("OR" | "/") and)*`, `and := term ("AND" term)*`, `term := "(" or ")" | id ["WITH" id]`. The slash
//! is the old way of crates.io to say OR.

/// Whether the expression can be met with allowed licences alone. A licence with an exception is allowed when the whole
/// `ID WITH EXCEPTION` is.
///
/// # Errors
/// When the expression does not follow the grammar.
pub(super) fn is_allowed(expression: &str, allowed: &[String]) -> Result<bool, String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { words: &words, allowed, depth: 0 };
    let met = parser.or()?;
    match parser.words.first() {
        None => Ok(met),
        Some(word) => Err(format!("`{word}` was not expected in `{expression}`")),
    }
}

/// Deeper nesting than this is no licence.
const DEPTH_MAX: usize = 16;

struct Parser<'a> {
    words: &'a [&'a str],
    allowed: &'a [String],
    depth: usize,
}

impl Parser<'_> {
    fn take(&mut self, word: &str) -> bool {
        match self.words.split_first() {
            Some((first, rest)) if *first == word => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }

    fn or(&mut self) -> Result<bool, String> {
        let mut met = self.and()?;
        while self.take("OR") {
            met |= self.and()?;
        }
        Ok(met)
    }

    fn and(&mut self) -> Result<bool, String> {
        let mut met = self.term()?;
        while self.take("AND") {
            met &= self.term()?;
        }
        Ok(met)
    }

    fn term(&mut self) -> Result<bool, String> {
        if self.take("(") {
            self.depth += 1;
            if self.depth > DEPTH_MAX {
                return Err("nested too deeply".to_owned());
            }
            let met = self.or()?;
            self.depth -= 1;
            return if self.take(")") { Ok(met) } else { Err("a `)` is missing".to_owned()) };
        }
        let mut licence = self.id()?;
        if self.take("WITH") {
            licence = format!("{licence} WITH {}", self.id()?);
        }
        Ok(self.allowed.contains(&licence))
    }

    fn id(&mut self) -> Result<String, String> {
        match self.words.split_first() {
            Some((word, rest)) if !["AND", "OR", "WITH", "(", ")"].contains(word) => {
                self.words = rest;
                Ok((*word).to_owned())
            }
            Some((word, _)) => Err(format!("`{word}` stands where a licence was expected")),
            None => Err("the expression ends where a licence was expected".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(expression: &str) -> Result<bool, String> {
        is_allowed(
            expression,
            &["MIT".to_owned(), "ISC".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()],
        )
    }

    #[test]
    fn or_needs_one_and_needs_all() {
        assert_eq!(met("MIT"), Ok(true));
        assert_eq!(met("GPL-3.0"), Ok(false));
        assert_eq!(met("GPL-3.0 OR MIT"), Ok(true));
        assert_eq!(met("GPL-3.0/MIT"), Ok(true));
        assert_eq!(met("Apache-2.0 / MIT"), Ok(true));
        assert_eq!(met("MIT AND ISC"), Ok(true));
        assert_eq!(met("MIT AND GPL-3.0"), Ok(false));
    }

    #[test]
    fn and_binds_closer_than_or_and_parentheses_closer_than_both() {
        assert_eq!(met("MIT OR GPL-3.0 AND GPL-3.0"), Ok(true));
        assert_eq!(met("(MIT OR GPL-3.0) AND GPL-3.0"), Ok(false));
        assert_eq!(met("(GPL-3.0 OR MIT) AND ISC"), Ok(true));
    }

    #[test]
    fn an_exception_is_part_of_the_licence() {
        assert_eq!(met("Apache-2.0 WITH LLVM-exception"), Ok(true));
        assert_eq!(met("Apache-2.0"), Ok(false));
        assert_eq!(met("MIT WITH LLVM-exception"), Ok(false));
    }

    #[test]
    fn what_is_no_expression_is_an_error() {
        for bad in ["", "MIT OR", "(MIT", "MIT ISC", "AND MIT", "MIT)", &"(".repeat(1_000)] {
            assert!(met(bad).is_err(), "{bad}");
        }
    }
}
