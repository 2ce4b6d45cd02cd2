//! Champions over time: which coin's model changed when, and why.

use super::data::{ChampionEvent, ReportData};
use super::sections::{empty, note, table};
use super::text::{brief, count, esc};
use huracan_core::words::UtcMs;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Coins shown, those with the newest events.
const COINS: usize = 60;
/// Marks drawn, and events written out, the newest of each.
const MARKS: usize = 600;
const WRITTEN: usize = 60;
/// Characters of a reason in a mark's title and in the list.
const TITLE: usize = 120;
const REASON: usize = 400;

/// Code, class of its mark, and the word for people.
const KINDS: &[(&str, &str, &str)] = &[
    ("promote", "promote", "promoted"),
    ("engine_update", "update", "new model"),
    ("rollback", "rollback", "rolled back"),
    ("reject", "reject", "challenger rejected"),
    ("expire", "expire", "expired"),
];

fn kind(event: &ChampionEvent) -> (&'static str, String) {
    let known = KINDS.iter().find(|(code, _, _)| *code == event.event);
    known.map_or_else(|| ("other", esc(&event.event)), |(_, class, word)| (class, (*word).to_owned()))
}

/// The timeline, then the newest events in words.
pub(super) fn promotions(data: &ReportData) -> String {
    let Some(events) = &data.champion_events else {
        return empty("The history of champions was not read for this page.");
    };
    if events.is_empty() {
        return empty("Nothing has happened to a champion so far.");
    }
    let mut events: Vec<&ChampionEvent> = events.iter().collect();
    events.sort_by(|a, b| b.at_ms.cmp(&a.at_ms).then_with(|| a.symbol.cmp(&b.symbol)));
    let mut lanes: Vec<&str> = Vec::new();
    let mut of: BTreeMap<&str, Vec<&ChampionEvent>> = BTreeMap::new();
    let mut marks = 0;
    for event in &events {
        let known = of.contains_key(event.symbol.as_str());
        if !known && lanes.len() < COINS {
            lanes.push(&event.symbol);
        }
        if (known || lanes.last() == Some(&event.symbol.as_str())) && marks < MARKS {
            of.entry(&event.symbol).or_default().push(event);
            marks += 1;
        }
    }
    lanes.retain(|symbol| of.contains_key(symbol));
    let coins = events.iter().map(|e| e.symbol.as_str()).collect::<std::collections::BTreeSet<_>>().len();
    let shown = of.values().flatten().map(|e| e.at_ms);
    let (first, last) = shown.fold((i64::MAX, i64::MIN), |(a, b), at| (a.min(at), b.max(at)));
    let span = Span { first, last };
    let mut out = note(&format!(
        "{} events of {} coins; newest first, {} drawn over {} coins. A challenger replaces a champion \
         only on evidence; a rejection is the rule at work.",
        count(events.len() as u64),
        count(coins as u64),
        count(marks as u64),
        count(lanes.len() as u64)
    ));
    out.push_str(&legend(&events));
    out.push_str("<div class='scroll tall'><figure class='timeline' aria-label='Events of champions by coin and time; the newest follow as text'>\n");
    let axis = span.labels();
    let _ = writeln!(out, "<div class='lane head'><span></span><div class='track dates'>{axis}</div></div>");
    for symbol in &lanes {
        let list = of.get(symbol).map_or(&[][..], Vec::as_slice);
        write_lane(&mut out, symbol, list, span);
    }
    out.push_str("</figure></div>\n");
    out + &written(&events)
}

/// From the first to the last mark.
#[derive(Clone, Copy)]
struct Span {
    first: i64,
    last: i64,
}

impl Span {
    /// Percent of the track; a single moment stands in the middle.
    fn place(self, at: i64) -> f64 {
        match self.last.saturating_sub(self.first) {
            0 => 50.0,
            width => 100.0 * at.saturating_sub(self.first) as f64 / width as f64,
        }
    }

    fn labels(self) -> String {
        let day = |at: i64| esc(UtcMs(at).format("%-d %b %Y"));
        match self.last.saturating_sub(self.first) {
            width if width < UtcMs::DAY => {
                format!("<span></span><span>{}</span><span></span>", day(self.first))
            }
            width => format!(
                "<span>{}</span><span>{}</span><span>{}</span>",
                day(self.first),
                day(self.first + width / 2),
                day(self.last)
            ),
        }
    }
}

/// Every kind with how often it happened.
fn legend(events: &[&ChampionEvent]) -> String {
    let mut out = String::from("<p class='legend'>");
    for (code, class, word) in KINDS {
        let times = events.iter().filter(|e| e.event == *code).count();
        let _ = write!(out, "<span><i class='mark {class}'></i>{word} <b>{}</b></span>", count(times as u64));
    }
    out.push_str("</p>\n");
    out
}

/// Oldest marks first, so that the newest lies on top.
fn write_lane(out: &mut String, symbol: &str, events: &[&ChampionEvent], span: Span) {
    let _ = write!(out, "<div class='lane'><span>{}</span><div class='track'>", esc(symbol));
    for event in events.iter().rev() {
        let (class, word) = kind(event);
        let _ = write!(
            out,
            "<i class='mark {class}' style='left:{:.2}%' title='{} {word}: {}'></i>",
            span.place(event.at_ms),
            esc(UtcMs(event.at_ms).format("%Y-%m-%d %H:%M")),
            brief(&event.reason, TITLE)
        );
    }
    out.push_str("</div></div>\n");
}

/// The newest events as text, for those who cannot hover.
fn written(events: &[&ChampionEvent]) -> String {
    let row = |e: &&ChampionEvent| {
        let (class, word) = kind(e);
        vec![
            esc(UtcMs(e.at_ms).format("%Y-%m-%d %H:%M")),
            esc(&e.symbol),
            format!("<i class='mark {class}'></i>{word}"),
            brief(&e.reason, REASON),
            esc(&e.decided_by),
        ]
    };
    let rows: Vec<_> = events.iter().take(WRITTEN).map(row).collect();
    format!(
        "<details><summary>The newest {} in words</summary>\n{}</details>\n",
        rows.len(),
        table(&[("when, UTC", ""), ("coin", ""), ("event", ""), ("why", "long"), ("by", "")], &rows)
    )
}
