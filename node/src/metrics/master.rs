//! The master's counters over the terms that this node has led.

use std::collections::BTreeMap;

use meshos_alloc::SkipRule;
use meshos_control::master::{Counters, DropReason, OperationEnd, Tally};
use meshos_protocol::{
    ids::Term,
    task::{Reason, TaskState},
};

use super::{
    canvas::Canvas,
    catalogue::{self as all, Metric},
};

/// The values of a metric's labels; `None` where it has no second, or none.
type Labels = [Option<&'static str>; 2];

/// A row: the metric's name and its labels.
type Row = (&'static str, Labels);

const NO_LABELS: Labels = [None, None];

const fn one(label: &'static str) -> Labels {
    [Some(label), None]
}

/// A master counts from zero in each of its terms; Prometheus takes a counter that falls for a new
/// process. So what earlier terms have counted is carried along.
#[derive(Debug, Default)]
pub(super) struct Totals {
    term: Option<Term>,
    earlier: BTreeMap<Row, u64>,
    counters: Counters,
}

impl Totals {
    /// Takes note of what the master of this term has counted by now.
    pub(super) fn note(&mut self, term: Term, counters: &Counters) {
        if self.term.is_some_and(|before| before != term) {
            for (metric, labels, count) in rows(&self.counters) {
                *self.earlier.entry((metric.name, labels)).or_default() += count;
            }
        }
        self.term = Some(term);
        self.counters = counters.clone();
    }

    /// Draws all terms together; nothing on a node that never led.
    pub(super) fn draw(&self, canvas: &Canvas) {
        if self.term.is_none() {
            return;
        }
        for (metric, labels, count) in rows(&self.counters) {
            let earlier = self.earlier.get(&(metric.name, labels)).copied().unwrap_or(0);
            let labels: Vec<&str> = labels.into_iter().flatten().collect();
            canvas.counter(metric, &labels, earlier.saturating_add(count));
        }
    }
}

fn rows(counters: &Counters) -> Vec<(&'static Metric, Labels, u64)> {
    let Counters { tasks_ended, tasks_ended_reason, dropped, .. } = counters;
    let plain: [(&'static Metric, u64); 22] = [
        (&all::MASTER_OFFERS_SENT, counters.offers_sent),
        (&all::MASTER_OFFERS_ACCEPTED, counters.offers_accepted),
        (&all::MASTER_OFFERS_DECLINED, counters.offers_declined),
        (&all::MASTER_OFFERS_RESCINDED, counters.offers_rescinded),
        (&all::MASTER_INVERSE_OFFERS_SENT, counters.inverse_offers_sent),
        (&all::MASTER_INVERSE_OFFERS_ACCEPTED, counters.inverse_offers_accepted),
        (&all::MASTER_INVERSE_OFFERS_DECLINED, counters.inverse_offers_declined),
        (&all::MASTER_OFFERS_TIMED_OUT, counters.offers_timed_out),
        (&all::MASTER_ALLOCATION_RUNS, counters.allocation_runs),
        (&all::MASTER_LAUNCHES, counters.launches),
        (&all::MASTER_KILLS, counters.kills),
        (&all::MASTER_UPDATES_RECEIVED, counters.updates_received),
        (&all::MASTER_UPDATES_SENT, counters.updates_sent),
        (&all::MASTER_ACKNOWLEDGEMENTS, counters.acknowledgements),
        (&all::MASTER_RECONCILIATIONS, counters.reconciliations),
        (&all::MASTER_AGENTS_ADMITTED, counters.agents_admitted),
        (&all::MASTER_AGENTS_REGISTERED, counters.agents_registered),
        (&all::MASTER_AGENTS_DISCONNECTED, counters.agents_disconnected),
        (&all::MASTER_AGENTS_UNREACHABLE, counters.agents_unreachable),
        (&all::MASTER_FRAMEWORKS_ADMITTED, counters.frameworks_admitted),
        (&all::MASTER_SUBSCRIPTIONS, counters.subscriptions),
        (&all::MASTER_FRAMEWORKS_CLOSED, counters.frameworks_closed),
    ];
    let mut rows: Vec<_> = plain.map(|(metric, count)| (metric, NO_LABELS, count)).into();
    rows.push((&all::MASTER_PROPOSALS, NO_LABELS, counters.proposals));
    let states = TaskState::ALL.into_iter().filter(|state| state.is_terminal());
    rows.extend(
        states.map(|state| (&all::MASTER_TASKS_ENDED, one(state.name()), tasks_ended.get(state))),
    );
    rows.extend(Reason::ALL.iter().map(|reason| reason_row(*reason, tasks_ended_reason)));
    rows.push(reason_row(Reason::Unknown, tasks_ended_reason));
    rows.extend(
        DropReason::ALL
            .map(|reason| (&all::MASTER_DROPPED, one(reason.name()), dropped.get(reason))),
    );
    let skips = &counters.skips;
    rows.extend(
        SkipRule::ALL
            .map(|rule| (&all::MASTER_ALLOCATION_SKIPS, one(rule.name()), skips.get(rule))),
    );
    for end in OperationEnd::all() {
        let labels = [Some(end.kind.name()), Some(end.outcome.name())];
        rows.push((&all::MASTER_OPERATIONS, labels, counters.operations_ended.get(end)));
        rows.push((&all::MASTER_OPERATION_TIME, labels, counters.operations_ms.get(end)));
    }
    rows
}

fn reason_row(reason: Reason, tally: &Tally<Reason>) -> (&'static Metric, Labels, u64) {
    (&all::MASTER_TASKS_ENDED_REASON, one(reason.name()), tally.get(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launches(totals: &Totals) -> Option<String> {
        let canvas = Canvas::new();
        totals.draw(&canvas);
        let text = canvas.render(std::iter::empty());
        let line = text.lines().find(|line| line.starts_with("meshos_master_launches_total "))?;
        line.split(' ').nth(1).map(str::to_owned)
    }

    #[test]
    fn counters_go_on_rising_over_the_terms_that_a_node_leads() {
        let mut totals = Totals::default();
        assert_eq!(launches(&totals), None);
        let counted = |launches| Counters { launches, ..Counters::default() };
        totals.note(Term(3), &counted(5));
        totals.note(Term(3), &counted(9));
        assert_eq!(launches(&totals).as_deref(), Some("9"));
        totals.note(Term(5), &counted(2));
        assert_eq!(launches(&totals).as_deref(), Some("11"));
        totals.note(Term(8), &counted(0));
        assert_eq!(launches(&totals).as_deref(), Some("11"));
    }

    #[test]
    fn a_deposed_master_takes_nothing_away() {
        let mut totals = Totals::default();
        totals.note(Term(3), &Counters { launches: 4, ..Counters::default() });
        assert_eq!(launches(&totals).as_deref(), Some("4"));
        totals.note(Term(4), &Counters { launches: 1, ..Counters::default() });
        totals.note(Term(4), &Counters { launches: 3, ..Counters::default() });
        assert_eq!(launches(&totals).as_deref(), Some("7"));
    }

    #[test]
    fn every_reason_has_a_row_before_it_was_counted() {
        let canvas = Canvas::new();
        let mut totals = Totals::default();
        totals.note(Term(1), &Counters::default());
        totals.draw(&canvas);
        let text = canvas.render(all::ALL.iter().copied());
        assert!(text.contains("meshos_master_tasks_ended_total{state=\"failed\"} 0"), "{text}");
        assert!(text.contains("meshos_master_dropped_total{reason=\"failed_over\"} 0"));
        assert!(text.contains("meshos_master_allocation_skips_total{rule=\"quota_limit\"} 0"));
        let row = "meshos_master_operations_total{kind=\"reserve\",outcome=\"finished\"} 0";
        assert!(text.contains(row));
        assert!(text.contains("meshos_master_tasks_ended_reason_total{reason=\"memory_limit\"} 0"));
        assert!(text.contains("# HELP meshos_master_launches_total Tasks handed to agents"));
        assert!(text.contains("# TYPE meshos_master_launches_total counter"));
    }
}
