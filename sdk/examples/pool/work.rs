//! What tasks do: `primes N` counts the primes below N; `until PATH` waits until a file is there and
//! tells what is in it, as something that takes as long as it takes.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// How a task's work ended.
pub(crate) enum Outcome {
    Done(Vec<u8>),
    /// It was asked to.
    Ended,
    Failed(String),
}

pub(crate) fn run(data: &[u8], end: &AtomicBool) -> Outcome {
    let text = String::from_utf8_lossy(data);
    match text.split_once(' ') {
        Some(("primes", limit)) => match limit.parse() {
            Ok(limit) => primes(limit, end),
            Err(error) => Outcome::Failed(format!("{limit:?} is no number: {error}")),
        },
        Some(("until", path)) => until(path, end),
        _ => Outcome::Failed(format!("{text:?} is no work that this executor does")),
    }
}

fn primes(limit: u64, end: &AtomicBool) -> Outcome {
    let mut count = 0_u64;
    for number in 2..limit {
        if end.load(Ordering::Relaxed) {
            return Outcome::Ended;
        }
        let mut divisors = (2..).take_while(|divisor| divisor * divisor <= number);
        count += u64::from(divisors.all(|divisor| number % divisor != 0));
    }
    Outcome::Done(count.to_string().into_bytes())
}

fn until(path: &str, end: &AtomicBool) -> Outcome {
    while !end.load(Ordering::Relaxed) {
        if let Ok(content) = std::fs::read(path) {
            return Outcome::Done(content);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Outcome::Ended
}
