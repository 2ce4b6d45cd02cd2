//! Charts. A plot is an SVG stretched to its box, with strokes that do not stretch, and labels in
//! HTML at percentages: one drawing is sharp on a phone and on a wall.

use super::text::{esc, number, signed};
use huracan_core::words::UtcMs;
use std::fmt::Write;

/// One line of a chart.
pub(super) struct Line<'a> {
    pub class: &'static str,
    pub name: &'a str,
    pub values: &'a [f64],
}

/// Lines over days, with an optional band behind them.
pub(super) struct DayChart<'a> {
    pub label: &'a str,
    pub first_day_ms: i64,
    pub step_days: u32,
    pub lines: Vec<Line<'a>>,
    pub band: Option<(&'a str, &'a [f64], &'a [f64])>,
}

/// Lowest and highest finite value, zero included, with a little air.
fn extent<'a>(values: impl Iterator<Item = &'a f64>) -> (f64, f64) {
    let finite = values.copied().filter(|v| v.is_finite());
    let (low, high) = finite.fold((0.0_f64, 0.0_f64), |(a, b), v| (a.min(v), b.max(v)));
    let air = ((high - low) * 0.05).max(1e-9);
    (low - if low < 0.0 { air } else { 0.0 }, high + air)
}

/// Round numbers between two bounds, about four.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 4.0;
    let power = 10.0_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].iter().map(|m| m * power).find(|s| *s >= rough);
    let step = step.unwrap_or(10.0 * power);
    let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
    (first..=last).take(12).map(|k| k as f64 * step).collect()
}

/// Decimals that tell ticks apart.
fn digits(ticks: &[f64]) -> usize {
    let step = ticks.windows(2).map(|w| w[1] - w[0]).next().unwrap_or(1.0);
    (-step.log10()).ceil().clamp(0.0, 4.0) as usize
}

/// `d` of a path through values over a box of 1000 × 1000; gaps where a value is missing.
fn path(values: &[f64], low: f64, high: f64) -> String {
    let mut d = String::new();
    let mut pen_down = false;
    let last = (values.len().max(2) - 1) as f64;
    for (i, value) in values.iter().enumerate() {
        if !value.is_finite() {
            pen_down = false;
            continue;
        }
        let x = 1000.0 * i as f64 / last;
        let y = 1000.0 * (high - value) / (high - low);
        let _ = write!(d, "{}{x:.1} {y:.1}", if pen_down { "L" } else { "M" });
        pen_down = true;
    }
    d
}

/// The horizontal grid and its labels.
fn grid(low: f64, high: f64, unit: &str) -> (String, String) {
    let (mut lines, mut labels) = (String::new(), String::new());
    let ticks = ticks(low, high);
    let digits = digits(&ticks);
    for tick in ticks {
        let y = 1000.0 * (high - tick) / (high - low);
        let class = if tick.abs() < 1e-12 { "zero" } else { "grid" };
        let _ = write!(lines, "<path class='{class}' d='M0 {y:.1}H1000'/>");
        let top = y / 10.0;
        let text = number(tick, digits);
        let _ = write!(labels, "<span style='top:{top:.2}%'>{text}{unit}</span>");
    }
    (lines, labels)
}

/// A chart over days, percent on the left.
pub(super) fn day_chart(chart: &DayChart<'_>) -> String {
    let band = chart.band.iter().flat_map(|(_, low, high)| low.iter().chain(high.iter()));
    let (low, high) = extent(chart.lines.iter().flat_map(|l| l.values.iter()).chain(band));
    let (grid, labels) = grid(low, high, " %");
    let mut marks = String::new();
    let mut legend = String::new();
    if let Some((name, below, above)) = chart.band {
        let mut outline = path(above, low, high);
        let back: Vec<f64> = below.iter().rev().copied().collect();
        let last = (back.len().max(2) - 1) as f64;
        for (i, value) in back.iter().enumerate().filter(|(_, v)| v.is_finite()) {
            let x = 1000.0 * (1.0 - i as f64 / last);
            let y = 1000.0 * (high - value) / (high - low);
            let _ = write!(outline, "L{x:.1} {y:.1}");
        }
        let _ = write!(marks, "<path class='band' d='{outline}Z'/>");
        let _ = write!(legend, "<span><i class='key band'></i>{}</span>", esc(name));
    }
    for line in &chart.lines {
        let d = path(line.values, low, high);
        let _ = write!(marks, "<path class='line {}' d='{d}'/>", line.class);
        let last = line.values.iter().rev().find(|v| v.is_finite()).copied();
        let _ = write!(
            legend,
            "<span><i class='key {}'></i>{} <b>{} %</b></span>",
            line.class,
            esc(line.name),
            signed(last, 1)
        );
    }
    let steps = chart.lines.iter().map(|l| l.values.len()).max().unwrap_or(0);
    format!(
        "<figure class='chart'><figcaption class='legend'>{legend}</figcaption>\
         <div class='plot' role='img' aria-label='{}'>\
         <svg viewBox='0 0 1000 1000' preserveAspectRatio='none' aria-hidden='true'>{grid}{marks}</svg>\
         <div class='ylabels'>{labels}</div></div>{}</figure>",
        esc(chart.label),
        day_labels(chart.first_day_ms, chart.step_days, steps)
    )
}

fn day_labels(first_day_ms: i64, step_days: u32, steps: usize) -> String {
    let step = i64::from(step_days.max(1)) * UtcMs::DAY;
    let last = steps.saturating_sub(1) as i64;
    let day = |k: i64| UtcMs(first_day_ms.saturating_add(step * k)).format("%-d %b %Y");
    format!(
        "<div class='xlabels'><span>{}</span><span>{}</span><span>{}</span></div>",
        esc(day(0)),
        esc(day(last / 2)),
        esc(day(last))
    )
}

/// A small curve for a table cell; nothing when there are fewer than two values.
pub(super) fn sparkline(values: &[f64]) -> String {
    let thin = thin(values, 48);
    if thin.iter().filter(|v| v.is_finite()).count() < 2 {
        return String::new();
    }
    let (low, high) = extent(thin.iter());
    let scale = |v: f64| 24.0 * (high - v) / (high - low);
    let mut d = String::new();
    let last = (thin.len() - 1) as f64;
    for (i, value) in thin.iter().enumerate().filter(|(_, v)| v.is_finite()) {
        let pen = if d.is_empty() { "M" } else { "L" };
        let _ = write!(d, "{pen}{:.0} {:.1}", 80.0 * i as f64 / last, scale(*value));
    }
    let end = thin.iter().rev().find(|v| v.is_finite()).copied().unwrap_or(0.0);
    let class = if end >= 0.0 { "up" } else { "down" };
    format!(
        "<svg class='spark' viewBox='0 -1 80 26' aria-hidden='true'><path class='zero' d='M0 \
         {:.1}H80'/><path class='{class}' d='{d}'/></svg>",
        scale(0.0)
    )
}

/// At most `most` values at equal steps, the first and the last among them.
pub(super) fn thin(values: &[f64], most: usize) -> Vec<f64> {
    if values.len() <= most || most < 2 {
        return values.to_vec();
    }
    let last = values.len() - 1;
    (0..most).map(|k| values[k * last / (most - 1)]).collect()
}

/// Loss by epoch, zero not forced in; `kept` (from 1) is marked.
pub(super) fn epoch_chart(label: &str, lines: &[Line<'_>], kept: Option<usize>) -> String {
    let finite = lines.iter().flat_map(|l| l.values.iter().copied()).filter(|v| v.is_finite());
    let (low, high) = finite.fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(v), b.max(v)));
    if low > high {
        return String::new();
    }
    let air = (0.08 * (high - low)).max(1e-9);
    let (low, high) = (low - air, high + air);
    let (grid, labels) = grid(low, high, "");
    let epochs = lines.iter().map(|l| l.values.len()).max().unwrap_or(0);
    let mut marks = String::new();
    let mut legend = String::new();
    if let Some(kept) = kept {
        let x = 1000.0 * (kept - 1) as f64 / (epochs.max(2) - 1) as f64;
        let _ = write!(marks, "<path class='kept' d='M{x:.1} 0V1000'/>");
    }
    for line in lines {
        let _ = write!(marks, "<path class='line {}' d='{}'/>", line.class, path(line.values, low, high));
        let last = line.values.iter().rev().find(|v| v.is_finite()).copied();
        let _ = write!(
            legend,
            "<span><i class='key {}'></i>{} <b>{}</b></span>",
            line.class,
            esc(line.name),
            number(last, 4)
        );
    }
    if kept.is_some() {
        legend.push_str("<span><i class='key kept'></i>epoch kept</span>");
    }
    format!(
        "<figure class='chart'><figcaption class='legend'>{legend}</figcaption>\
         <div class='plot short' role='img' aria-label='{}'>\
         <svg viewBox='0 0 1000 1000' preserveAspectRatio='none' aria-hidden='true'>{grid}{marks}</svg>\
         <div class='ylabels'>{labels}</div></div>\
         <div class='xlabels'><span>epoch 1</span><span>{epochs}</span></div></figure>",
        esc(label)
    )
}

/// An axis across a cell, from `low` to `high`; zero is on it.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    /// Holds all but the outermost 2 % of `ends`, so that one wild interval does not flatten the
    /// rest; true beside it when something lies beyond.
    pub fn of(ends: impl Iterator<Item = f64>) -> (Axis, bool) {
        let mut ends: Vec<f64> = ends.filter(|v| v.is_finite()).collect();
        ends.sort_by(f64::total_cmp);
        let most = ends.len().saturating_sub(1);
        let cut = most / 100;
        let inner = ends.get(cut..=most - cut).unwrap_or_default();
        let (low, high) = extent(inner.iter());
        (Axis { low, high }, ends.iter().any(|v| *v < low || *v > high))
    }

    /// Place in 0..1000, held inside.
    pub fn place(self, value: f64) -> f64 {
        (1000.0 * (value - self.low) / (self.high - self.low)).clamp(0.0, 1000.0)
    }

    /// Labels of round values, at percentages.
    pub fn labels(self) -> String {
        let ticks = ticks(self.low, self.high);
        let digits = digits(&ticks);
        let label = |t: &f64| {
            format!("<span style='left:{:.2}%'>{}</span>", self.place(*t) / 10.0, signed(*t, digits))
        };
        ticks.iter().map(label).collect()
    }

    /// An interval with its mean and the zero line, as wide as its cell; nothing where a value is
    /// missing.
    pub fn interval(self, [low, mean, high]: [f64; 3], class: &str) -> String {
        if ![low, mean, high].iter().all(|v| v.is_finite()) {
            return String::new();
        }
        format!(
            "<svg class='interval {class}' viewBox='0 0 1000 20' preserveAspectRatio='none' aria-hidden='true'>\
             <path class='zero' d='M{0:.0} 0V20'/><path d='M{1:.0} 10H{2:.0}'/><path class='mean' \
             d='M{3:.0} 5V15'/></svg>",
            self.place(0.0),
            self.place(low),
            self.place(high),
            self.place(mean)
        )
    }

    /// The same as a diamond, as a pooled estimate is drawn.
    pub fn diamond(self, [low, mean, high]: [f64; 3]) -> String {
        if ![low, mean, high].iter().all(|v| v.is_finite()) {
            return String::new();
        }
        format!(
            "<svg class='interval' viewBox='0 0 1000 20' preserveAspectRatio='none' aria-hidden='true'>\
             <path class='zero' d='M{0:.0} 0V20'/><path class='diamond' d='M{1:.0} 10L{3:.0} 2L{2:.0} \
             10L{3:.0} 18Z'/></svg>",
            self.place(0.0),
            self.place(low),
            self.place(high),
            self.place(mean)
        )
    }

    /// A bar from zero to `value`.
    pub fn bar(self, value: Option<f64>) -> String {
        let Some(value) = value.filter(|v| v.is_finite()) else { return String::new() };
        let (zero, end) = (self.place(0.0) / 10.0, self.place(value) / 10.0);
        format!(
            "<span class='bar signed'><i class='{}' style='margin-left:{:.1}%;width:{:.1}%'></i><b \
             style='left:{zero:.1}%'></b></span>",
            if value >= 0.0 { "up" } else { "down" },
            zero.min(end),
            (end - zero).abs()
        )
    }
}

/// One interval of a caterpillar plot.
pub(super) struct Interval {
    pub low: f64,
    pub mean: f64,
    pub high: f64,
    pub class: &'static str,
}

/// Intervals side by side, in the order given; one path a class, so hundreds stay small.
pub(super) fn caterpillar(label: &str, intervals: &[Interval]) -> String {
    let (low, high) = extent(intervals.iter().flat_map(|i| [&i.low, &i.high]));
    let (grid, labels) = grid(low, high, "");
    let place = |v: f64| 1000.0 * (high - v) / (high - low);
    let slot = 1000.0 / intervals.len().max(1) as f64;
    let mut marks = String::new();
    for class in ["muted", "up", "down"] {
        let (mut whiskers, mut means) = (String::new(), String::new());
        for (k, interval) in intervals.iter().enumerate().filter(|(_, i)| i.class == class) {
            if ![interval.low, interval.mean, interval.high].iter().all(|v| v.is_finite()) {
                continue;
            }
            let x = slot * (k as f64 + 0.5);
            let _ = write!(whiskers, "M{x:.1} {:.0}V{:.0}", place(interval.high), place(interval.low));
            let _ = write!(means, "M{:.1} {:.0}h{:.1}", x - slot * 0.4, place(interval.mean), slot * 0.8);
        }
        let _ = write!(
            marks,
            "<g class='interval {class}'><path d='{whiskers}'/><path class='mean' d='{means}'/></g>"
        );
    }
    format!(
        "<figure class='chart'><div class='plot' role='img' aria-label='{}'>\
         <svg viewBox='0 0 1000 1000' preserveAspectRatio='none' aria-hidden='true'>{grid}{marks}</svg>\
         <div class='ylabels'>{labels}</div></div></figure>",
        esc(label)
    )
}

/// A bar of parts that fill it; `classes` name them from the left.
pub(super) fn stacked_bar(classes: &[&str], parts: &[f64]) -> String {
    let usable = |v: f64| if v.is_finite() { v.max(0.0) } else { 0.0 };
    let total = parts.iter().map(|v| usable(*v)).sum::<f64>().max(1e-12);
    let mut out = String::from("<span class='bar parts'>");
    for (part, class) in parts.iter().zip(classes) {
        let _ = write!(out, "<i class='{class}' style='width:{:.1}%'></i>", 100.0 * usable(*part) / total);
    }
    out.push_str("</span>");
    out
}

/// One column of a stacked histogram: its label and the height of each layer.
pub(super) struct Column {
    pub label: String,
    pub layers: Vec<f64>,
    pub tip: String,
}

/// Stacked columns; `classes` name the layers from the bottom.
pub(super) fn columns(label: &str, classes: &[&str], columns: &[Column]) -> String {
    let height = |c: &Column| c.layers.iter().sum::<f64>();
    let most = columns.iter().map(height).fold(0.0, f64::max).max(1e-9);
    let mut bars = String::new();
    for column in columns {
        let mut layers = String::new();
        for (value, class) in column.layers.iter().zip(classes).rev() {
            let _ = write!(layers, "<i class='{class}' style='height:{:.2}%'></i>", 100.0 * value / most);
        }
        let _ = write!(
            bars,
            "<div class='column' title='{}'><div class='stack'>{layers}</div><span>{}</span></div>",
            esc(&column.tip),
            esc(&column.label)
        );
    }
    format!("<figure class='columns' role='img' aria-label='{}'>{bars}</figure>", esc(label))
}

/// A probability on a half circle.
pub(super) struct Gauge<'a> {
    pub name: &'a str,
    pub value: Option<f64>,
    /// Upper end and class of each zone, ascending to 1.
    pub zones: [(f64, &'static str); 3],
}

/// The gauge; without a needle where the value is not known.
pub(super) fn gauge(gauge: &Gauge<'_>) -> String {
    let at = |share: f64, radius: f64| {
        let angle = std::f64::consts::PI * (1.0 - share);
        (60.0 + radius * angle.cos(), 58.0 - radius * angle.sin())
    };
    let mut marks = String::new();
    let mut from = 0.0;
    for (end, class) in gauge.zones {
        let ((x, y), (u, v)) = (at(from, 50.0), at(end, 50.0));
        let _ = write!(marks, "<path class='zone {class}' d='M{x:.1} {y:.1}A50 50 0 0 1 {u:.1} {v:.1}'/>");
        if end < 1.0 {
            let (x, y) = at(end, 60.0);
            let anchor = if x < 50.0 {
                "end"
            } else if x > 70.0 {
                "start"
            } else {
                "middle"
            };
            let _ = write!(marks, "<text x='{x:.1}' y='{y:.1}' text-anchor='{anchor}'>{end}</text>");
        }
        from = end;
    }
    let value = gauge.value.filter(|v| v.is_finite()).map(|v| v.clamp(0.0, 1.0));
    if let Some(value) = value {
        let ((x, y), (u, v)) = (at(value, 56.0), at(value, 34.0));
        let _ = write!(marks, "<path class='needle' d='M{u:.1} {v:.1}L{x:.1} {y:.1}'/>");
    }
    format!(
        "<svg class='gauge' viewBox='-14 -12 148 74' role='img'><title>{}: {}, on a scale from 0 to \
         1</title>{marks}</svg>",
        esc(gauge.name),
        value.map_or("not known".to_owned(), |v| number(v, 2))
    )
}

/// A horizontal bar of `share` (0..1) of its cell.
pub(super) fn bar(share: f64, class: &str) -> String {
    let width = if share.is_finite() { 100.0 * share.clamp(0.0, 1.0) } else { 0.0 };
    format!("<span class='bar'><i class='{class}' style='width:{width:.1}%'></i></span>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        let check = |low: f64, high: f64, expected: &[f64]| {
            let found = ticks(low, high);
            assert_eq!(found.len(), expected.len(), "{found:?}");
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{found:?}");
        };
        check(-1.0, 3.0, &[-1.0, 0.0, 1.0, 2.0, 3.0]);
        check(0.0, 0.9, &[0.0, 0.25, 0.5, 0.75]);
        check(-130.0, 20.0, &[-100.0, -50.0, 0.0]);
    }

    #[test]
    fn missing_values_lift_the_pen() {
        let d = path(&[0.0, f64::NAN, 1.0, 0.5], 0.0, 1.0);
        assert_eq!(d, "M0.0 1000.0M666.7 0.0L1000.0 500.0");
        assert!(sparkline(&[f64::NAN, 1.0]).is_empty());
    }

    #[test]
    fn an_axis_holds_zero_and_says_what_lies_beyond() {
        let (axis, beyond) = Axis::of([-2.0, 6.0].into_iter());
        assert!(!beyond && axis.place(-2.0) > 0.0 && axis.place(6.0) < 1000.0);
        assert!((250.0 - axis.place(0.0)).abs() < 30.0);
        let wild = (0..200).map(|i| if i == 0 { 1e6 } else { f64::from(i % 7) });
        let (axis, beyond) = Axis::of(wild);
        assert!(beyond && axis.place(6.0) > 900.0);
        assert_eq!(axis.place(1e6), 1000.0);
        let (axis, beyond) = Axis::of([f64::NAN].into_iter());
        assert!(!beyond && axis.place(0.0).is_finite());
        assert!(axis.interval([0.0, f64::NAN, 1.0], "up").is_empty());
    }

    #[test]
    fn parts_fill_the_bar() {
        let bar = stacked_bar(&["up", "muted", "down"], &[1.0, f64::NAN, 3.0]);
        assert!(bar.contains("class='up' style='width:25.0%'"), "{bar}");
        assert!(bar.contains("class='down' style='width:75.0%'"), "{bar}");
        assert!(!stacked_bar(&["up"], &[0.0]).contains("NaN"));
    }

    #[test]
    fn thinning_keeps_both_ends() {
        let values: Vec<f64> = (0..1000).map(f64::from).collect();
        let few = thin(&values, 48);
        assert_eq!((few.len(), few[0], few[47]), (48, 0.0, 999.0));
        assert_eq!(thin(&values[..10], 48), values[..10]);
    }
}
