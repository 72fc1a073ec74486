//! Arenas with typed keys.
//!
//! Agents, memberships and tree nodes refer to each other all the time; a key is four bytes and a
//! look-up is one index, where an ordered map of ids would compare texts.

use std::{cmp::Ordering, fmt, marker::PhantomData};

/// Where a `T` lies in its [`Arena`].
pub(crate) struct Key<T>(u32, PhantomData<fn() -> T>);

impl<T> Key<T> {
    fn new(index: usize) -> Self {
        Self(u32::try_from(index).expect("an arena holds fewer than 2^32 values"), PhantomData)
    }

    /// The key of the first value, for tests.
    #[cfg(test)]
    pub(crate) fn first() -> Self {
        Self::new(0)
    }

    /// The index as such, dense from zero.
    pub(crate) fn index(self) -> usize {
        usize::try_from(self.0).expect("a 32-bit index fits")
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Key<T> {}

impl<T> PartialOrd for Key<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Key<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "#{}", self.0)
    }
}

/// Values in slots that are used again.
#[derive(Debug, Clone)]
pub(crate) struct Arena<T> {
    slots: Vec<Option<T>>,
    vacant: Vec<Key<T>>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), vacant: Vec::new() }
    }
}

impl<T> Arena<T> {
    /// Puts a value into a free slot.
    pub(crate) fn insert(&mut self, value: T) -> Key<T> {
        self.insert_with(|_| value)
    }

    /// Puts a value that is made knowing its key into a free slot.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(Key<T>) -> T) -> Key<T> {
        let key = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(None);
            Key::new(self.slots.len() - 1)
        });
        self.slots[key.index()] = Some(make(key));
        key
    }

    /// Takes a value out; its key may come back for another.
    pub(crate) fn remove(&mut self, key: Key<T>) -> Option<T> {
        let value = self.slots.get_mut(key.index())?.take()?;
        self.vacant.push(key);
        Some(value)
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }

    /// The value, unless its slot is free or belongs to nobody yet.
    pub(crate) fn get(&self, key: Key<T>) -> Option<&T> {
        self.slots.get(key.index())?.as_ref()
    }

    /// The values, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten()
    }

    /// The values in the order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key<T>, &T)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(index, slot)| Some((Key::new(index), slot.as_ref()?)))
    }
}

impl<T> std::ops::Index<Key<T>> for Arena<T> {
    type Output = T;

    fn index(&self, key: Key<T>) -> &T {
        self.slots[key.index()].as_ref().expect("keys are dropped with their values")
    }
}

impl<T> std::ops::IndexMut<Key<T>> for Arena<T> {
    fn index_mut(&mut self, key: Key<T>) -> &mut T {
        self.slots[key.index()].as_mut().expect("keys are dropped with their values")
    }
}

/// A set of keys as bits: what is to be looked at in the next run.
#[derive(Debug, Clone)]
pub(crate) struct KeySet<T> {
    words: Vec<u64>,
    len: usize,
    of: PhantomData<fn() -> T>,
}

impl<T> Default for KeySet<T> {
    fn default() -> Self {
        Self { words: Vec::new(), len: 0, of: PhantomData }
    }
}

impl<T> KeySet<T> {
    fn place(key: Key<T>) -> (usize, u64) {
        (key.index() / 64, 1 << (key.index() % 64))
    }

    pub(crate) fn insert(&mut self, key: Key<T>) {
        let (word, bit) = Self::place(key);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.len += usize::from(self.words[word] & bit == 0);
        self.words[word] |= bit;
    }

    pub(crate) fn remove(&mut self, key: Key<T>) {
        let (word, bit) = Self::place(key);
        if let Some(word) = self.words.get_mut(word) {
            self.len -= usize::from(*word & bit != 0);
            *word &= !bit;
        }
    }

    pub(crate) fn set(&mut self, key: Key<T>, member: bool) {
        if member { self.insert(key) } else { self.remove(key) }
    }

    pub(crate) fn contains(&self, key: Key<T>) -> bool {
        let (word, bit) = Self::place(key);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn clear(&mut self) {
        self.words.fill(0);
        self.len = 0;
    }

    /// The keys in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Key<T>> {
        Self::keys(self.words.iter().copied())
    }

    /// The keys that another set does not have, in order.
    pub(crate) fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Key<T>> + 'a {
        let others = other.words.iter().copied().chain(std::iter::repeat(0));
        Self::keys(self.words.iter().zip(others).map(|(word, other)| word & !other))
    }

    fn keys(words: impl Iterator<Item = u64>) -> impl Iterator<Item = Key<T>> {
        words.enumerate().flat_map(|(index, word)| {
            std::iter::successors(Some(word), |word| Some(word & word.wrapping_sub(1)))
                .take_while(|word| *word != 0)
                .map(move |word| {
                    let bit = usize::try_from(word.trailing_zeros()).expect("below 64");
                    Key::new(index * 64 + bit)
                })
        })
    }
}

/// A small value for each key, all in one piece: looking through many of them costs little. Whoever
/// has none has the default.
#[derive(Debug, Clone)]
pub(crate) struct Dense<T, V> {
    values: Vec<V>,
    of: PhantomData<fn() -> T>,
}

impl<T, V> Default for Dense<T, V> {
    fn default() -> Self {
        Self { values: Vec::new(), of: PhantomData }
    }
}

impl<T, V: Copy + Default> Dense<T, V> {
    pub(crate) fn get(&self, key: Key<T>) -> V {
        self.values.get(key.index()).copied().unwrap_or_default()
    }

    /// The value, to be changed.
    pub(crate) fn entry(&mut self, key: Key<T>) -> &mut V {
        let index = key.index();
        if index >= self.values.len() {
            self.values.resize(index + 1, V::default());
        }
        &mut self.values[index]
    }

    /// A key is given up.
    pub(crate) fn reset(&mut self, key: Key<T>) {
        if let Some(value) = self.values.get_mut(key.index()) {
            *value = V::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_values_are_the_default_until_they_are_set_and_once_they_are_reset() {
        let mut dense = Dense::<(), u64>::default();
        *dense.entry(Key::new(3)) += 2;
        assert_eq!([0, 3, 9].map(|index| dense.get(Key::new(index))), [0, 2, 0]);
        dense.reset(Key::new(3));
        dense.reset(Key::new(9));
        assert_eq!(dense.get(Key::new(3)), 0);
    }

    #[test]
    fn slots_are_used_again_and_keys_of_removed_values_find_nothing() {
        let mut arena = Arena::default();
        let a = arena.insert('a');
        let b = arena.insert('b');
        assert_eq!(arena.remove(a), Some('a'));
        assert_eq!(arena.remove(a), None);
        assert_eq!(arena.get(a), None);
        let c = arena.insert('c');
        assert_eq!((c, arena.len()), (a, 2));
        assert_eq!(arena.iter().collect::<Vec<_>>(), [(c, &'c'), (b, &'b')]);
    }

    #[test]
    fn a_key_set_counts_and_iterates_what_is_in_it() {
        let mut set = KeySet::<()>::default();
        for index in [130, 0, 63, 64, 63] {
            set.insert(Key::new(index));
        }
        assert_eq!(set.len, 4);
        set.remove(Key::new(0));
        set.remove(Key::new(5000));
        assert_eq!(set.iter().map(Key::index).collect::<Vec<_>>(), [63, 64, 130]);
        assert!(set.contains(Key::new(64)) && !set.contains(Key::new(65)));
        set.clear();
        assert!(set.is_empty() && set.iter().next().is_none());
    }
}
