//! Which message numbers of one sender have been seen.

/// A sender spreads its messages over all peers, so any one of them sees gaps, and the network
/// reorders them by a few. Numbers further back than this are refused unseen.
const WINDOW: u64 = 1024;
const WORDS: usize = 16;
const _: () = assert!(WINDOW == 64 * 16);

/// The newest number seen and, for those up to [`WINDOW`] before it, whether each was seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    newest: Option<u64>,
    seen: [u64; WORDS],
}

impl Window {
    /// Whether `number` may still be taken.
    pub(super) fn is_new(&self, number: u64) -> bool {
        match self.newest {
            None => true,
            Some(newest) if number > newest => true,
            Some(newest) if newest - number >= WINDOW => false,
            Some(_) => {
                let (word, bit) = place(number);
                self.seen[word] & bit == 0
            }
        }
    }

    /// Takes `number`; it is not new any more, nor is any that lies too far before it.
    pub(super) fn mark(&mut self, number: u64) {
        match self.newest {
            Some(newest) if number <= newest => {
                if newest - number >= WINDOW {
                    return;
                }
            }
            Some(newest) if number - newest < WINDOW => {
                for between in newest + 1..number {
                    let (word, bit) = place(between);
                    self.seen[word] &= !bit;
                }
                self.newest = Some(number);
            }
            _ => {
                self.seen = [0; WORDS];
                self.newest = Some(number);
            }
        }
        let (word, bit) = place(number);
        self.seen[word] |= bit;
    }
}

fn place(number: u64) -> (usize, u64) {
    let slot = number % WINDOW;
    let word = usize::try_from(slot / 64).expect("less than the number of words");
    (word, 1 << (slot % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_number_is_taken_once() {
        let mut window = Window::default();
        for number in [5, 3, 9, 4, 2000, 1500] {
            assert!(window.is_new(number), "{number}");
            window.mark(number);
            assert!(!window.is_new(number), "{number}");
        }
        assert!(!window.is_new(6), "too far back");
        assert!(window.is_new(1999));
    }

    #[test]
    fn the_last_numbers_do_not_wrap() {
        let mut window = Window::default();
        window.mark(u64::MAX - 1);
        window.mark(u64::MAX);
        assert!(!window.is_new(u64::MAX));
        assert!(!window.is_new(0));
        assert!(window.is_new(u64::MAX - 2));
    }

    proptest! {
        /// Against the plain definition, with jumps around the window's size.
        #[test]
        fn it_agrees_with_a_set(steps in prop::collection::vec((0u64..1100, any::<bool>()), 1..200)) {
            let mut window = Window::default();
            let mut seen = BTreeSet::new();
            let mut at = 10_000u64;
            for (step, forward) in steps {
                at = if forward { at + step } else { at.saturating_sub(step) };
                let newest = seen.last().copied();
                let old = newest.is_some_and(|newest: u64| newest.saturating_sub(at) >= WINDOW);
                prop_assert_eq!(window.is_new(at), !old && !seen.contains(&at));
                if !old {
                    seen.insert(at);
                }
                window.mark(at);
            }
        }
    }
}
