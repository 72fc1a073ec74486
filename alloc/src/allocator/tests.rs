//! Tests of the allocator as a whole.

mod conversions;
mod facts;
mod fairness;
mod goldens;
mod hierarchy;
mod histories;
mod kinds;
mod ledger;
mod lending;
mod levels;
mod paper;
mod policies;
mod quota;
mod reference;
mod rules;
mod scenarios;
mod sharing;
mod support;
mod told;
mod wishes;
