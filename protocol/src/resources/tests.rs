mod algebra;
mod amount;
mod decode;
mod grammar;
mod metadata;
mod ranges;

use super::*;
use crate::role::Role;

fn resources(text: &str) -> Resources {
    Resources::parse(text).unwrap_or_else(|error| panic!("{}", error.caret(text)))
}

fn role(name: &str) -> Role {
    Role::new(name).unwrap()
}

fn ranges(text: &str) -> Ranges {
    resources(&format!("x:{text}")).ranges("x")
}
