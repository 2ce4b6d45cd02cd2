//! Tables for people: numbers to the right, one line a row, and never wider than the terminal.
//!
//! Text is measured in characters; numbers are never cut, only the widest left-aligned columns.

/// Where a column's text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows under a header.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

/// No left-aligned column becomes narrower than this.
const WIDTH_MIN: usize = 6;

/// Between two columns.
const GAP: &str = "  ";

impl Table {
    /// A table with these columns and no rows.
    pub fn new(columns: &[(&str, Align)]) -> Table {
        let columns = columns.iter().map(|&(name, align)| (name.to_owned(), align)).collect();
        Table { columns, rows: Vec::new() }
    }

    /// Adds a row; missing cells are empty, cells beyond the last column are dropped. Line breaks
    /// and other control characters become spaces, so a row is always one line.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let clean = |cell: String| cell.replace(|c: char| c.is_control(), " ");
        let mut row: Vec<String> = cells.into_iter().map(clean).take(self.columns.len()).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text, each line ended; cut to `width` characters where one is given.
    pub fn render(&self, width: Option<usize>) -> String {
        let widths = self.widths(width);
        let header = self.columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
        let mut text = self.line(&header, &widths);
        for row in &self.rows {
            text.push_str(&self.line(&row.iter().map(String::as_str).collect::<Vec<_>>(), &widths));
        }
        text
    }

    fn widths(&self, limit: Option<usize>) -> Vec<usize> {
        let natural = |i: usize| {
            let cells = self.rows.iter().map(|row| length(&row[i]));
            cells.chain([length(&self.columns[i].0)]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..self.columns.len()).map(natural).collect();
        let Some(limit) = limit else { return widths };
        let gaps = GAP.len() * self.columns.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > limit {
            let left =
                (0..widths.len()).filter(|&i| self.columns[i].1 == Align::Left && widths[i] > WIDTH_MIN);
            let Some(widest) = left.max_by_key(|&i| widths[i]) else { break };
            widths[widest] -= 1;
        }
        widths
    }

    fn line(&self, cells: &[&str], widths: &[usize]) -> String {
        let mut text = String::new();
        for (i, cell) in cells.iter().enumerate() {
            let cell = cut(cell, widths[i]);
            let padding = " ".repeat(widths[i] - length(&cell));
            match self.columns[i].1 {
                Align::Left => text.push_str(&format!("{cell}{padding}")),
                Align::Right => text.push_str(&format!("{padding}{cell}")),
            }
            text.push_str(GAP);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn cut(text: &str, width: usize) -> String {
    if length(text) <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// A number with fixed decimals; an undefined one is a dash.
pub fn figure(value: Option<f64>, decimals: usize) -> String {
    match value {
        Some(x) if x.is_finite() => format!("{x:.decimals$}"),
        _ => "–".to_owned(),
    }
}

/// A whole number with thousands set apart: 1 234 567.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&[("rank", Align::Right), ("symbol", Align::Left), ("why", Align::Left)]);
        table.row(["1".to_owned(), "BTCUSDT".to_owned(), "a very long reason to say no".to_owned()]);
        table.row(["12".to_owned(), "ETHUSDT.P".to_owned()]);
        table
    }

    #[test]
    fn numbers_stand_right_and_words_left() {
        let expected =
            "rank  symbol     why\n   1  BTCUSDT    a very long reason to say no\n  12  ETHUSDT.P\n";
        assert_eq!(sample().render(None), expected);
    }

    #[test]
    fn the_widest_words_are_cut_to_the_width_and_numbers_never() {
        let text = sample().render(Some(30));
        assert!(text.lines().all(|line| line.chars().count() <= 30), "{text}");
        assert!(text.contains("ETHUSDT.P") && text.contains("a very long …"), "{text}");
        assert!(sample().render(Some(3)).contains("  12  "));
    }

    #[test]
    fn a_cell_never_breaks_its_row() {
        let mut table = Table::new(&[("a", Align::Left)]);
        table.row(["two\nlines\u{1b}[31m".to_owned(), "beyond".to_owned()]);
        assert_eq!(table.render(None), "a\ntwo lines [31m\n");
    }

    #[test]
    fn figures_and_counts() {
        assert_eq!((figure(Some(1.005), 1).as_str(), figure(Some(f64::NAN), 1).as_str()), ("1.0", "–"));
        assert_eq!((count(0), count(999), count(1_234_567)), ("0".into(), "999".into(), "1 234 567".into()));
    }
}
