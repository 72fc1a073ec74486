//! What openraft uses of the crate `base2histogram`, without its tables.
//!
//! The published crate makes tables of bucket limits at the first histogram, for all sixteen precisions that it knows: 26 MB
//! that stay in memory as long as the process. openraft uses one precision, for which a limit is computed in two
//! instructions. Names and meanings are those of the crate; buckets are those of its default width of 3.

mod ascii_chart;
mod histogram;
mod percentile_stats;

pub use ascii_chart::AsciiChart;
pub use histogram::Histogram;
pub use percentile_stats::PercentileStats;
