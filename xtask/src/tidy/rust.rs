//! A light look at a Rust file: its tokens, walked once.
//!
//! Tokens rather than a syntax tree: the rules need functions with their extent, attributes, calls by name and declared
//! names, and they need them inside macros too, which a syntax tree does not open.

use std::ops::RangeInclusive;
use std::str::FromStr as _;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// What the rules want to know of a file.
#[derive(Debug, Default)]
pub(super) struct Rust {
    pub(super) functions: Vec<Function>,
    pub(super) attributes: Vec<Attribute>,
    pub(super) calls: Vec<Call>,
    pub(super) declared: Vec<Declared>,
    pub(super) unsafe_lines: Vec<usize>,
    /// Lines of inline `#[cfg(test)]` modules.
    pub(super) test_lines: Vec<RangeInclusive<usize>>,
    /// The tokens of the whole file, for rules about its top level.
    pub(super) tokens: Vec<TokenTree>,
}

/// A function with a body.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) line: usize,
    /// From the line of `fn` to the closing brace.
    pub(super) lines: usize,
    pub(super) in_test: bool,
}

/// An attribute, inner or outer, that is not a doc comment.
#[derive(Debug)]
pub(super) struct Attribute {
    pub(super) line: usize,
    pub(super) tokens: Vec<TokenTree>,
}

/// A name directly followed by parentheses, that is not being declared.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) in_test: bool,
    /// The function it stands in.
    pub(super) function: Option<String>,
}

/// A name that the file declares: a type, function, module, constant.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) line: usize,
}

const DECLARING: &[&str] =
    &["fn", "struct", "enum", "union", "trait", "type", "mod", "const", "static"];

#[derive(Debug, Clone, Default)]
struct Surroundings {
    in_test: bool,
    function: Option<String>,
}

impl Rust {
    /// Takes a file apart; the error is the line and what is wrong there.
    pub(super) fn parse(text: &str, in_test: bool) -> Result<Self, (usize, String)> {
        let stream = TokenStream::from_str(text)
            .map_err(|error| (error.span().start().line, error.to_string()))?;
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let mut rust = Self::default();
        rust.walk(&tokens, &Surroundings { in_test, function: None });
        rust.tokens = tokens;
        Ok(rust)
    }

    fn walk(&mut self, tokens: &[TokenTree], around: &Surroundings) {
        // Set by `#[test]` and `#[cfg(test)]`, for the item that follows.
        let mut test_since: Option<usize> = None;
        let mut index = 0;
        while let Some(token) = tokens.get(index) {
            if let Some((attribute, length)) = attribute_at(tokens, index) {
                test_since =
                    test_since.or_else(|| attribute.marks_test().then_some(attribute.line));
                self.walk_attribute(attribute);
                index += length;
                continue;
            }
            let in_test = around.in_test || test_since.is_some();
            match token {
                TokenTree::Ident(word) => {
                    self.note_word(tokens, index, in_test, around);
                    let body = if word == "fn" { body_of_function(tokens, index) } else { None };
                    if let Some((name, body_index, body)) = body {
                        self.note_function(&name, line_of(token), body, in_test);
                        let inner: Vec<TokenTree> = body.stream().into_iter().collect();
                        self.walk(&tokens[index + 2..body_index], around);
                        self.note_declared(&tokens[index + 1]);
                        self.walk(&inner, &Surroundings { in_test, function: Some(name) });
                        test_since = None;
                        index = body_index;
                    }
                }
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    self.walk(&inner, &Surroundings { in_test, function: around.function.clone() });
                    if group.delimiter() == Delimiter::Brace {
                        let last = group.span_close().end().line;
                        self.test_lines.extend(
                            test_since.take().filter(|_| !around.in_test).map(|first| first..=last),
                        );
                    }
                }
                TokenTree::Punct(punct) if punct.as_char() == ';' => test_since = None,
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            index += 1;
        }
    }

    /// Attributes hold names and lists but no items; only `unsafe` matters inside.
    fn walk_attribute(&mut self, attribute: Attribute) {
        if attribute.name() == "unsafe" {
            self.unsafe_lines.push(attribute.line);
        }
        if attribute.name() != "doc" {
            self.attributes.push(attribute);
        }
    }

    fn note_word(
        &mut self,
        tokens: &[TokenTree],
        index: usize,
        in_test: bool,
        around: &Surroundings,
    ) {
        let token = &tokens[index];
        let word = token.to_string();
        let before =
            index.checked_sub(1).map(|index| tokens[index].to_string()).unwrap_or_default();
        let next = tokens.get(index + 1);
        if word == "unsafe" {
            self.unsafe_lines.push(line_of(token));
        }
        if DECLARING.contains(&word.as_str()) && word != "fn" {
            self.note_declared_if_name(next);
        }
        let called = matches!(next, Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis);
        if called && before != "fn" {
            let function = around.function.clone();
            self.calls.push(Call { name: word, line: line_of(token), in_test, function });
        }
    }

    fn note_declared_if_name(&mut self, token: Option<&TokenTree>) {
        // `const fn`, `type` as a field of a macro and the like are followed by a keyword or no word at all.
        if let Some(token @ TokenTree::Ident(name)) = token
            && !DECLARING
                .iter()
                .chain(&["unsafe", "async", "extern", "mut"])
                .any(|keyword| name == keyword)
        {
            self.note_declared(token);
        }
    }

    fn note_declared(&mut self, name: &TokenTree) {
        self.declared.push(Declared { name: name.to_string(), line: line_of(name) });
    }

    fn note_function(&mut self, name: &str, line: usize, body: &Group, in_test: bool) {
        let lines = body.span_close().end().line - line + 1;
        self.functions.push(Function { name: name.to_owned(), line, lines, in_test });
    }
}

impl Attribute {
    /// The last word of the attribute's path: `test` of `tokio::test`.
    pub(super) fn name(&self) -> String {
        let mut name = String::new();
        for token in &self.tokens {
            match token {
                TokenTree::Ident(word) => name = word.to_string(),
                TokenTree::Punct(punct) if punct.as_char() == ':' => {}
                _ => break,
            }
        }
        name
    }

    /// Whether `word(...)`, `word` or `word = ...` stands in it at any depth, as in `cfg_attr(x, allow(y))`.
    pub(super) fn mentions(&self, word: &str) -> bool {
        fn within(tokens: &[TokenTree], word: &str) -> bool {
            tokens.iter().any(|token| match token {
                TokenTree::Ident(ident) => ident == word,
                TokenTree::Group(group) => {
                    within(&group.stream().into_iter().collect::<Vec<_>>(), word)
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => false,
            })
        }
        within(&self.tokens, word)
    }

    /// `#[test]`, `#[tokio::test]` and every `#[cfg(...)]` that asks for `test` without `not`.
    fn marks_test(&self) -> bool {
        match self.name().as_str() {
            "test" => true,
            "cfg" => self.mentions("test") && !self.mentions("not"),
            _ => false,
        }
    }
}

/// The line a token starts on, from 1.
pub(super) fn line_of(token: &TokenTree) -> usize {
    token.span().start().line
}

/// The attribute that starts at `index`, with how many tokens it takes.
pub(super) fn attribute_at(tokens: &[TokenTree], index: usize) -> Option<(Attribute, usize)> {
    let is_punct = |at: usize, sign| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == sign);
    if !is_punct(index, '#') {
        return None;
    }
    let length = if is_punct(index + 1, '!') { 3 } else { 2 };
    match tokens.get(index + length - 1) {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket => {
            let tokens: Vec<_> = group.stream().into_iter().collect();
            Some((Attribute { line: group.span_open().start().line, tokens }, length))
        }
        _ => None,
    }
}

/// Name and body of the function whose `fn` stands at `index`; none for pointers and for signatures without a body.
fn body_of_function(tokens: &[TokenTree], index: usize) -> Option<(String, usize, &Group)> {
    let Some(TokenTree::Ident(name)) = tokens.get(index + 1) else { return None };
    for (offset, token) in tokens[index + 2..].iter().enumerate() {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                return Some((name.to_string(), index + 2 + offset, group));
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Rust {
        Rust::parse(text, false).unwrap()
    }

    #[test]
    fn functions_are_found_in_impls_traits_and_macros_with_their_extent() {
        let rust = parse(
            "impl X {\n    pub(crate) const fn one<T>(&self) -> u8\n    where\n        T: Y,\n    {\n        1\n    }\n}\n\
             trait T { fn no_body(); fn body() {} }\nmacro_rules! m { () => { fn inner() {\n} } }\ntype P = fn(u8) -> u8;\n",
        );
        let seen: Vec<_> =
            rust.functions.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
        assert_eq!(seen, [("one", 2, 6), ("body", 9, 1), ("inner", 10, 2)]);
    }

    #[test]
    fn a_test_attribute_covers_its_item_and_no_more() {
        let rust = parse(
            "#[cfg(test)]\nuse a::b;\nfn plain() { go(); }\n#[tokio::test]\nasync fn case() { go(); }\nfn after() { go(); }\n\
             #[cfg(test)]\nmod tests {\n    fn helper() { go(); }\n}\n#[cfg(not(test))]\nfn never() { go(); }\n",
        );
        let seen: Vec<_> =
            rust.calls.iter().map(|c| (c.function.as_deref().unwrap_or(""), c.in_test)).collect();
        assert_eq!(
            seen,
            [
                ("plain", false),
                ("case", true),
                ("after", false),
                ("helper", true),
                ("never", false)
            ]
        );
        assert_eq!(rust.test_lines, [7..=10]);
    }

    #[test]
    fn comments_and_strings_are_no_code() {
        let rust =
            parse("/// Not unsafe, go().\nfn f() { let s = \"unsafe { go() }\"; } // unsafe\n");
        assert!(
            rust.unsafe_lines.is_empty() && rust.calls.is_empty() && rust.attributes.is_empty()
        );
    }

    #[test]
    fn declared_names_are_found_and_uses_are_not() {
        let rust = parse(
            "pub struct A; enum B { C } const D: u8 = 0; const fn e() {} use x::F; static mut G: u8 = 0; mod h;",
        );
        let names: Vec<_> = rust.declared.iter().map(|d| d.name.as_str()).collect();
        assert_eq!(names, ["A", "B", "D", "e", "h"]);
    }

    #[test]
    fn what_is_not_rust_is_reported_with_its_line() {
        let (line, _) = Rust::parse("fn f() {\n    (\n}\n", false).unwrap_err();
        assert!(line >= 1);
    }
}
