//! Normalised sets of whole numbers, such as ports.

use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::wire::Bounded;

/// The most ranges one value may have in a text.
pub const RANGES_MAX: usize = 10_000;

/// The most ranges one value may have on the wire: what can be left of 65,536 ports when every
/// other one is taken. It is above [`RANGES_MAX`], so that use cannot make a value unsendable.
pub const RANGES_WIRE_MAX: usize = 32_768;

/// A range of whole numbers; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    begin: u64,
    end: u64,
}

impl Range {
    /// The range from `begin` to `end`, unless `end` comes before `begin`.
    #[must_use]
    pub const fn new(begin: u64, end: u64) -> Option<Self> {
        if begin <= end { Some(Range { begin, end }) } else { None }
    }

    /// The first number.
    #[must_use]
    pub const fn begin(self) -> u64 {
        self.begin
    }

    /// The last number.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.end
    }

    /// How many numbers are in it; `u64::MAX` also stands for one more than that.
    #[must_use]
    pub const fn count(self) -> u64 {
        (self.end - self.begin).saturating_add(1)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.begin, self.end)
    }
}

/// A set of whole numbers, kept as ranges that are sorted and neither overlap nor touch, so that
/// equal sets are equal values. Cloning it is cheap.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ranges(Arc<[Range]>);

impl Ranges {
    /// The numbers of all `ranges`, in any order; they may overlap.
    #[must_use]
    pub fn new(ranges: impl IntoIterator<Item = Range>) -> Self {
        let mut sorted: Vec<Range> = ranges.into_iter().collect();
        sorted.sort_unstable();
        sorted.dedup_by(|next, last| {
            let touches = last.end.checked_add(1).is_none_or(|after| next.begin <= after);
            if touches {
                last.end = last.end.max(next.end);
            }
            touches
        });
        Ranges(sorted.into())
    }

    /// The numbers from `begin` to `end`, or nothing when `end` comes before `begin`.
    #[must_use]
    pub fn single(begin: u64, end: u64) -> Option<Self> {
        Range::new(begin, end).map(|range| Ranges(Arc::from([range])))
    }

    /// Whether there is no number.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers there are; `u64::MAX` also stands for more than that.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |count: u64, range| count.saturating_add(range.count()))
    }

    /// The ranges, in ascending order.
    pub fn iter(&self) -> std::slice::Iter<'_, Range> {
        self.0.iter()
    }

    /// The ranges, in ascending order.
    #[must_use]
    pub fn as_slice(&self) -> &[Range] {
        &self.0
    }

    /// Every number, in ascending order. Bound what you take: a range may be huge.
    pub fn values(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|range| range.begin..=range.end)
    }

    /// Whether `value` is one of the numbers.
    #[must_use]
    pub fn contains_value(&self, value: u64) -> bool {
        self.covering(Range { begin: value, end: value })
    }

    /// Whether every number of `other` is here too.
    #[must_use]
    pub fn contains(&self, other: &Ranges) -> bool {
        other.iter().all(|range| self.covering(*range))
    }

    /// Whether one of the ranges covers `wanted` wholly. As the ranges do not touch, no two of
    /// them could do so together.
    fn covering(&self, wanted: Range) -> bool {
        let candidate = self.0.partition_point(|range| range.end < wanted.end);
        self.0.get(candidate).is_some_and(|range| range.begin <= wanted.begin)
    }

    /// The numbers that are here or in `other`.
    #[must_use]
    pub fn union(&self, other: &Ranges) -> Ranges {
        if other.is_empty() {
            return self.clone();
        }
        if self.is_empty() {
            return other.clone();
        }
        Ranges::new(self.iter().chain(other.iter()).copied())
    }

    /// The numbers that are here and not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Ranges) -> Ranges {
        if other.is_empty() {
            return self.clone();
        }
        let mut rest = Vec::new();
        let mut cuts = other.iter().peekable();
        for range in self.iter() {
            let mut begin = Some(range.begin);
            while let (Some(from), Some(cut)) = (begin, cuts.peek()) {
                if cut.end < from {
                    cuts.next();
                    continue;
                }
                if cut.begin > range.end {
                    break;
                }
                if cut.begin > from {
                    rest.push(Range { begin: from, end: cut.begin - 1 });
                }
                // A cut that reaches beyond this range stays, for the next one.
                begin = if cut.end < range.end { Some(cut.end + 1) } else { None };
            }
            if let Some(begin) = begin {
                rest.push(Range { begin, end: range.end });
            }
        }
        Ranges(rest.into())
    }

    /// The numbers that are here and in `other`.
    #[must_use]
    pub fn intersection(&self, other: &Ranges) -> Ranges {
        let mut common = Vec::new();
        let (mut left, mut right) = (self.iter().peekable(), other.iter().peekable());
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            common.extend(Range::new(a.begin.max(b.begin), a.end.min(b.end)));
            if a.end <= b.end {
                left.next();
            } else {
                right.next();
            }
        }
        Ranges(common.into())
    }

    /// The `count` smallest numbers, or nothing when there are not so many.
    #[must_use]
    pub fn take_first(&self, count: u64) -> Option<Ranges> {
        let mut taken = Vec::new();
        let mut missing = count;
        for range in self.iter() {
            if missing == 0 {
                break;
            }
            let end = range.end.min(range.begin.saturating_add(missing - 1));
            let part = Range { begin: range.begin, end };
            missing -= part.count().min(missing);
            taken.push(part);
        }
        (missing == 0).then(|| Ranges(taken.into()))
    }

    /// Whether `ranges` are in the form this type keeps.
    fn is_normalised(ranges: &[Range]) -> bool {
        ranges
            .windows(2)
            .all(|pair| pair[0].end.checked_add(1).is_some_and(|after| after < pair[1].begin))
    }
}

impl FromIterator<Range> for Ranges {
    fn from_iter<I: IntoIterator<Item = Range>>(ranges: I) -> Self {
        Ranges::new(ranges)
    }
}

impl<'a> IntoIterator for &'a Ranges {
    type Item = &'a Range;
    type IntoIter = std::slice::Iter<'a, Range>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The text form, `[1-2,5-9]`.
impl fmt::Display for Ranges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[")?;
        for (index, range) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(formatter, "{separator}{range}")?;
        }
        formatter.write_str("]")
    }
}

impl Serialize for Range {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.begin, self.end).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Range {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (begin, end) = <(u64, u64)>::deserialize(deserializer)?;
        Range::new(begin, end).ok_or_else(|| {
            D::Error::custom(format_args!("range {begin}-{end} ends before it begins"))
        })
    }
}

impl Serialize for Ranges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Ranges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ranges = Bounded::<Range, RANGES_WIRE_MAX>::deserialize(deserializer)?.0;
        if Ranges::is_normalised(&ranges) {
            Ok(Ranges(ranges.into()))
        } else {
            Err(D::Error::custom("ranges must be sorted and must neither overlap nor touch"))
        }
    }
}
