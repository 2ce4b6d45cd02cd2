//! The run's report: one HTML file that needs nothing else, for people.
//!
//! What lives here: the page. What does not: any statistic; every figure arrives in
//! [`ReportData`] as the pipeline computed it. The page loads nothing from anywhere, reads
//! without its script (which only sorts, filters and opens a coin), follows the reader's light or
//! dark setting and fits a phone. Text from outside is escaped in one place (`text`); a content
//! security policy with the script's hash is the second wall.

mod bank;
mod charts;
mod data;
mod drift;
mod promotions;
mod regimes;
mod roster;
mod sections;
mod sharing;
mod text;
mod variants;

pub use data::*;

use sha2::{Digest, Sha256};
use std::fmt::Write;
use text::{base64, esc};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// A part of the page: anchor, title, and how its body is written.
type Section = (&'static str, &'static str, fn(&ReportData) -> String);

/// Every part in reading order.
const SECTIONS: &[Section] = &[
    ("roster", "Roster", roster::roster),
    ("universe", "All coins together", sections::universe),
    ("rank-band", "Long/short book", sections::rank_band),
    ("skipped", "Skipped and failed", sections::skipped),
    ("costs", "Costs", sections::costs),
    ("cross-section", "Cross-sectional skill", sections::cross_section),
    ("variants", "Skill or luck", variants::variants),
    ("sharing", "What sharing is worth", sharing::sharing),
    ("encoder", "Shared encoder", sections::encoder),
    ("feature-bank", "Feature bank", bank::bank),
    ("regimes", "Regimes", regimes::regimes),
    ("drift", "Drift", drift::drift),
    ("promotions", "Champions over time", promotions::promotions),
    ("folds", "Walk-forward folds", sections::folds),
    ("timings", "Time spent", sections::timings),
];

/// The report as one self-contained HTML document. The same data gives the same bytes.
///
/// 400 coins with 150 days each and every picture make about 1.5 MB.
pub fn render(data: &ReportData) -> String {
    let hash = base64(&Sha256::digest(SCRIPT.as_bytes()));
    let mut page = String::with_capacity(1 << 20);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n\
         <meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; \
         style-src 'unsafe-inline'; script-src 'sha256-{hash}'; base-uri 'none'; \
         form-action 'none'\">\n\
         <meta name='viewport' content='width=device-width, initial-scale=1'>\n\
         <meta name='color-scheme' content='light dark'>\n\
         <title>Huracan · {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        esc(&data.run.run_id)
    );
    page.push_str(&sections::header(data));
    page.push_str("<nav aria-label='Sections'>");
    for (anchor, title, _) in SECTIONS {
        let _ = write!(page, "<a href='#{anchor}'>{title}</a>");
    }
    page.push_str("</nav>\n<main>\n");
    for (anchor, title, body) in SECTIONS {
        let _ = write!(page, "<section id='{anchor}'>\n<h2>{title}</h2>\n{}</section>\n", body(data));
    }
    let _ = write!(
        page,
        "</main>\n{}<footer>Out-of-sample figures after costs unless a heading says otherwise. \
         Past results of a simulation; not advice.</footer>\n\
         <script type='application/json' id='coins'>{}</script>\n<script>{SCRIPT}</script>\n\
         </body>\n</html>\n",
        roster::dialog(),
        roster::embedded(data)
    );
    page
}

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
