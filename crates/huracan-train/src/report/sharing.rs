//! What sharing is worth: every comparison at a glance, then coin by coin.

use super::charts::{Axis, Interval, caterpillar, stacked_bar};
use super::data::{Lift, ReportData, Sharing};
use super::sections::{empty, note};
use super::text::{count, esc, number, signed};
use std::fmt::Write;

/// Coins named at either end of the first forest plot, and of those after it, which are read less.
const NAMED: usize = 40;
const NAMED_LATER: usize = 10;

const LEGEND: &str = "<p class='legend'><span><i class='key up'></i>helped</span><span><i class='key \
                      muted'></i>undecided</span><span><i class='key down'></i>hurt</span><span \
                      class='axis'>bps a day</span></p>\n";

/// All comparisons, then the coins of each.
pub(super) fn sharing(data: &ReportData) -> String {
    if data.sharing.is_empty() {
        return empty("What sharing is worth was not measured in this run.");
    }
    let mut out = note(
        "Daily net with minus without, on the same bars and after the same costs, with 90 % intervals. \
         Verdicts stand after false-discovery control over the coins; a coin that is hurt does without.",
    );
    out.push_str(LEGEND);
    let (axis, _) = Axis::of(data.sharing.iter().flat_map(ends_of_mean));
    out.push_str("<div class='cards'>\n");
    for comparison in &data.sharing {
        write_card(&mut out, comparison, axis);
    }
    out.push_str("</div>\n");
    let with_coins: Vec<_> = data.sharing.iter().filter(|s| !s.coins.is_empty()).collect();
    for (k, comparison) in with_coins.iter().enumerate() {
        let (open, named) = if k == 0 { (" open", NAMED) } else { ("", NAMED_LATER) };
        let _ = write!(
            out,
            "<details class='coins'{open}><summary>{}, coin by coin</summary>\n{}</details>\n",
            name(comparison),
            forest(comparison, named)
        );
    }
    out
}

fn name(s: &Sharing) -> String {
    format!("{} − {}", esc(&s.with), esc(&s.without))
}

fn ends_of_mean(s: &Sharing) -> impl Iterator<Item = f64> {
    s.mean_bps.into_iter().chain(s.interval_bps.into_iter().flatten())
}

/// "+1.2 (0.3 to 2.1)".
fn figure(mean: Option<f64>, interval: Option<[f64; 2]>) -> String {
    match interval {
        Some([low, high]) => format!("{} ({} to {})", signed(mean, 1), signed(low, 1), signed(high, 1)),
        None => signed(mean, 1),
    }
}

/// What the mean over all coins says; the words give way on a phone, where the mark stays.
fn answer(s: &Sharing) -> &'static str {
    match (s.mean_bps, s.interval_bps) {
        (None, _) => "<span>not measured</span>",
        (Some(_), None) => "<span>no interval, so no verdict</span>",
        (_, Some([low, _])) if low > 0.0 => "▲ <span>helps on average</span>",
        (_, Some([_, high])) if high < 0.0 => "▼ <span>hurts on average</span>",
        _ => "<span>undecided on average</span>",
    }
}

fn write_card(out: &mut String, s: &Sharing, axis: Axis) {
    let coins = s.helped + s.hurt + s.undecided;
    let counts = [s.helped, s.undecided, s.hurt].map(|n| n as f64);
    let picture = match (s.mean_bps, s.interval_bps) {
        (Some(mean), Some([low, high])) => axis.diamond([low, mean, high]),
        _ => String::new(),
    };
    let _ = writeln!(
        out,
        "<div class='card'><h3>{}</h3><p class='big'>{} <small>bps a day</small></p>{picture}{}<p>of {}: \
         <b>{}</b> helped, <b>{}</b> hurt, <b>{}</b> undecided</p><p class='quiet'>{}</p></div>",
        name(s),
        figure(s.mean_bps, s.interval_bps),
        stacked_bar(&["up", "muted", "down"], &counts),
        count(coins as u64),
        count(s.helped as u64),
        count(s.hurt as u64),
        count(s.undecided as u64),
        answer(s)
    );
}

/// Colour and word of a verdict; what is not known counts as undecided.
fn verdict(lift: &Lift) -> (&'static str, &'static str) {
    match lift.verdict.as_str() {
        "helped" => ("up", "▲ <span>helped</span>"),
        "hurt" => ("down", "▼ <span>hurt</span>"),
        _ => ("muted", "<span>undecided</span>"),
    }
}

/// All coins as one picture, the outermost as named rows, the mean as a diamond.
fn forest(s: &Sharing, ends: usize) -> String {
    let mut coins: Vec<&Lift> = s.coins.iter().collect();
    coins.sort_by(|a, b| b.mean_bps.total_cmp(&a.mean_bps).then_with(|| a.symbol.cmp(&b.symbol)));
    let tail = coins.len().saturating_sub(ends).max(ends.min(coins.len()));
    let (named, last) = (&coins[..ends.min(coins.len())], &coins[tail..]);
    let middle = &coins[named.len()..tail];
    let shown = named.iter().chain(last).flat_map(|l| [l.low_bps, l.mean_bps, l.high_bps]);
    let (axis, beyond) = Axis::of(shown.chain(ends_of_mean(s)));
    let mut out = String::new();
    if !middle.is_empty() {
        let interval =
            |l: &&Lift| Interval { low: l.low_bps, mean: l.mean_bps, high: l.high_bps, class: verdict(l).0 };
        let all: Vec<Interval> = coins.iter().map(interval).collect();
        let label = format!("All {} coins with intervals, most helped first: {}", coins.len(), s.with);
        out.push_str(&caterpillar(&label, &all));
    }
    let _ = writeln!(
        out,
        "<div class='scroll tall'><table class='forest'><caption>Mean and interval by coin, bps a day, \
         most helped first{}</caption><thead><tr><th scope='col'>coin</th><th scope='col' \
         class='picture'><div class='ticks' aria-hidden='true'>{}</div></th><th scope='col' \
         class='n'>mean</th><th scope='col' class='n ends'>interval</th><th scope='col'><span>verdict</span></th>\
         </tr></thead><tbody>",
        if beyond { "; what reaches the edge of the picture lies beyond it" } else { "" },
        axis.labels()
    );
    named.iter().for_each(|l| write_coin(&mut out, l, axis));
    if let (Some(first), Some(end)) = (middle.first(), middle.last()) {
        let of = |class: &str| middle.iter().filter(|l| verdict(l).0 == class).count();
        let _ = writeln!(
            out,
            "<tr class='rest'><td colspan='5'>{} further coins between {} and {}: {} helped, {} hurt, {} \
             undecided</td></tr>",
            middle.len(),
            signed(end.mean_bps, 1),
            signed(first.mean_bps, 1),
            of("up"),
            of("down"),
            of("muted")
        );
    }
    last.iter().for_each(|l| write_coin(&mut out, l, axis));
    out.push_str("</tbody>");
    if let Some(mean) = s.mean_bps {
        let [low, high] = s.interval_bps.unwrap_or([f64::NAN; 2]);
        write_row(
            &mut out,
            "tfoot",
            ["", "all coins", answer(s)],
            axis.diamond([low, mean, high]),
            [low, mean, high],
        );
    }
    out.push_str("</table></div>\n");
    out
}

fn write_coin(out: &mut String, lift: &Lift, axis: Axis) {
    let (class, word) = verdict(lift);
    let values = [lift.low_bps, lift.mean_bps, lift.high_bps];
    write_row(out, "", [class, &esc(&lift.symbol), word], axis.interval(values, class), values);
}

/// One row: colour, name and word, picture, and low, mean, high.
fn write_row(
    out: &mut String,
    wrap: &str,
    [class, name, word]: [&str; 3],
    picture: String,
    [low, mean, high]: [f64; 3],
) {
    let (open, close) = if wrap.is_empty() {
        (String::new(), "\n".to_owned())
    } else {
        (format!("<{wrap}>"), format!("</{wrap}>"))
    };
    let ends = match low.is_finite() && high.is_finite() {
        true => format!("{} to {}", number(low, 1), number(high, 1)),
        false => number(None, 1),
    };
    let _ = write!(
        out,
        "{open}<tr><th scope='row'>{name}</th><td class='picture'>{picture}</td><td class='n'>{}</td><td \
         class='n ends'>{ends}</td><td class='word {class}'>{word}</td></tr>{close}",
        signed(mean, 1)
    );
}
