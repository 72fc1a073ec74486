//! Tables that fit the terminal.

use std::io::IsTerminal as _;

use super::text::plain;

/// Between two columns.
const GAP: usize = 2;
/// A column is never made narrower than this.
const COLUMN_MIN: usize = 6;
/// Where a text was cut.
const CUT: char = '…';

/// Rows under headings.
#[derive(Debug, Clone)]
pub(super) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    /// The first columns, which are cut last.
    kept: usize,
}

impl Table {
    /// An empty table.
    pub(super) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new(), kept: 1 }
    }

    /// The first so many columns name the row, so that they are what other commands are given; they
    /// are cut only when nothing else is left to cut. It is one, unless said otherwise.
    pub(super) fn keeping(self, columns: usize) -> Self {
        Self { kept: columns, ..self }
    }

    /// Adds a row; its cells are made fit for a terminal.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<String> = cells.into_iter().map(|cell| plain(&cell)).collect();
        cells.resize(self.headings.len(), String::new());
        self.rows.push(cells);
    }

    /// Whether it has no rows.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, not wider than `width` where that is possible. Columns without any content are
    /// left out.
    pub(super) fn render(&self, width: Option<usize>) -> String {
        let used: Vec<usize> = (0..self.headings.len())
            .filter(|column| {
                self.rows.is_empty() || self.rows.iter().any(|row| !row[*column].is_empty())
            })
            .collect();
        let natural = |column: &usize| {
            let cells = self.rows.iter().map(|row| row[*column].chars().count());
            cells.chain([self.headings[*column].chars().count()]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = used.iter().map(natural).collect();
        if let Some(width) = width {
            let kept = used.iter().filter(|column| **column < self.kept).count();
            let (first, others) = widths.split_at_mut(kept);
            let before: usize = first.iter().map(|width| width + GAP).sum();
            shrink(others, width.saturating_sub(before));
            shrink(&mut widths, width);
        }
        let headings: Vec<&str> = used.iter().map(|column| self.headings[*column]).collect();
        let mut text = line(&headings, &widths);
        for row in &self.rows {
            let cells: Vec<&str> = used.iter().map(|column| row[*column].as_str()).collect();
            text += &line(&cells, &widths);
        }
        text
    }

    /// Prints the table, as wide as the terminal; whole where there is none, since a script reads it.
    ///
    /// # Errors
    /// When nobody reads standard output any more.
    pub(super) fn print(&self) -> anyhow::Result<()> {
        super::output::write(self.render(terminal_width()).as_bytes())
    }
}

/// Takes from the widest columns what does not fit.
fn shrink(widths: &mut [usize], width: usize) {
    let gaps = GAP * widths.len().saturating_sub(1);
    let mut excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(width);
    while excess > 0 {
        let Some(widest) = widths.iter().copied().max().filter(|widest| *widest > COLUMN_MIN)
        else {
            return;
        };
        // All the widest come down together, to the next narrower one.
        let next = widths.iter().copied().filter(|width| *width < widest).max().unwrap_or(0);
        let count = widths.iter().filter(|width| **width == widest).count();
        let target = next.max(COLUMN_MIN).max(widest.saturating_sub(excess.div_ceil(count)));
        for width in widths.iter_mut().filter(|width| **width == widest) {
            let step = (*width - target).min(excess);
            *width -= step;
            excess -= step;
        }
    }
}

fn line(cells: &[&str], widths: &[usize]) -> String {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let length = cell.chars().count();
        if length > *width {
            text.extend(cell.chars().take(width.saturating_sub(1)));
            text.push(CUT);
        } else {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width - length));
        }
        text.extend(std::iter::repeat_n(' ', GAP));
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// How many characters fit in a line; nothing when standard output is no terminal.
pub(super) fn terminal_width() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let (width, _) = terminal_size::terminal_size_of(std::io::stdout())?;
    Some(usize::from(width.0)).filter(|width| *width > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["ID", "REASON", "ATTRIBUTES"]);
        table.row(["n1".to_owned(), String::new(), "rack:abc;zone:west;os:centos5".to_owned()]);
        table.row(["n2-long-name".to_owned(), String::new(), "rack:\u{1b}[1m".to_owned()]);
        table
    }

    #[test]
    fn columns_are_as_wide_as_their_content_and_empty_ones_are_left_out() {
        assert_eq!(
            table().render(None),
            "ID            ATTRIBUTES\n\
             n1            rack:abc;zone:west;os:centos5\n\
             n2-long-name  rack:\\u{1b}[1m\n"
        );
    }

    #[test]
    fn what_does_not_fit_is_cut_from_the_widest_column() {
        let text = table().render(Some(30));
        assert_eq!(
            text,
            "ID            ATTRIBUTES\n\
             n1            rack:abc;zone:w…\n\
             n2-long-name  rack:\\u{1b}[1m\n"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 30));
    }

    #[test]
    fn what_names_a_row_is_cut_last() {
        let mut table = Table::new(&["ID", "MESSAGE"]);
        let id = "simulate-everything-F123.17";
        table.row([id.to_owned(), "why ".repeat(9)]);
        let text = table.render(Some(40));
        assert!(text.contains(&format!("{id}  why why wh…")), "{text}");
        assert!(table.render(Some(30)).contains("…  why w…"), "{}", table.render(Some(30)));
    }

    #[test]
    fn no_column_gets_narrower_than_can_be_read() {
        let text = table().render(Some(1));
        assert!(text.lines().all(|line| line.chars().count() <= 2 * COLUMN_MIN + GAP), "{text}");
        assert!(text.contains("n2-lo…"), "{text}");
    }

    #[test]
    fn every_width_is_kept_where_it_can_be() {
        let mut table = Table::new(&["A", "B", "C"]);
        table.row(["a".repeat(40), "b".repeat(23), "c".repeat(41)]);
        for width in 3 * COLUMN_MIN + 2 * GAP..120 {
            let text = table.render(Some(width));
            let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert_eq!(longest, width.min(40 + 23 + 41 + 2 * GAP), "{width}");
        }
    }

    #[test]
    fn headings_stand_alone_when_there_is_nothing() {
        assert_eq!(Table::new(&["ID", "STATE"]).render(None), "ID  STATE\n");
    }
}
