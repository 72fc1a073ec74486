//! Tests of the allocator as a whole.

mod fairness;
mod goldens;
mod histories;
mod ledger;
mod policies;
mod reference;
mod scenarios;
mod support;
