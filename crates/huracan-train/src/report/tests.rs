//! What the page promises: every part is there, empty or full, and no text becomes markup.

use super::sample::{sample, sample_drift, sample_events};
use super::*;

fn count_of(page: &str, needle: &str) -> usize {
    page.matches(needle).count()
}

#[test]
fn every_section_is_there_full_or_empty() {
    for data in [ReportData::default(), sample(12, 2)] {
        let page = render(&data);
        for (anchor, title, _) in SECTIONS {
            assert!(page.contains(&format!("<section id='{anchor}'>\n<h2>{title}</h2>")), "{anchor}");
            assert!(page.contains(&format!("<a href='#{anchor}'>")), "{anchor}");
        }
        for element in [
            "section", "table", "thead", "tbody", "tfoot", "svg", "div", "dl", "figure", "p", "tr", "td",
            "th", "span", "details", "summary", "i", "b", "h3", "g", "caption",
        ] {
            let open = count_of(&page, &format!("<{element}>")) + count_of(&page, &format!("<{element} "));
            assert_eq!(open, count_of(&page, &format!("</{element}>")), "<{element}> is not closed");
        }
    }
}

#[test]
fn an_empty_run_says_so_in_sentences() {
    let page = render(&ReportData::default());
    assert!(page.contains("0 of 0 coins trade_ok"));
    assert!(page.contains("an empty roster is a valid result"));
    // Every section of an empty run has a sentence; skipped and failed have one each.
    assert_eq!(count_of(&page, "<p class='empty'>"), SECTIONS.len() + 1);
    assert!(!page.contains("NaN") && !page.contains("inf"));
}

#[test]
fn no_survivor_is_called_a_result_and_a_survivor_is_not() {
    let sentence = "This is a result, not an error";
    assert!(render(&sample(5, 0)).contains(sentence));
    assert!(!render(&sample(5, 1)).contains(sentence));
}

#[test]
fn failed_canaries_are_shouted() {
    let mut data = sample(3, 0);
    let canaries = data.run.canaries.as_mut().unwrap();
    (canaries.noise_trade_ok, canaries.passed) = (2, false);
    let page = render(&data);
    assert!(page.contains("2 of 20 noise coins trade_ok") && page.contains("Do not trust this run"));
    assert!(page.contains("▼ Failed: do not trust this run."));
    data.run.canaries = None;
    assert!(render(&data).contains("No canaries ran"));
}

#[test]
fn hostile_text_stays_text() {
    const ATTACK: &str = "</script><script>alert(1)</script><img src=x onerror='alert(1)'>\"'`&\u{202e}";
    // Replaces every string anywhere in the data, whatever fields are added later.
    fn poison(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) => *text = ATTACK.into(),
            serde_json::Value::Array(items) => items.iter_mut().for_each(poison),
            serde_json::Value::Object(fields) => fields.values_mut().for_each(poison),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(sample(4, 1)).unwrap();
    poison(&mut value);
    let page = render(&serde_json::from_value(value).unwrap());
    let clean = render(&sample(4, 1));
    for needle in ["<script", "</script", "<img", "<!--"] {
        assert_eq!(count_of(&page, needle), count_of(&clean, needle), "{needle}");
    }
    let (markup, _) = page.split_once("<script type='application/json'").unwrap();
    assert!(!markup.contains("onerror='") && !markup.contains('\u{202e}'));
    assert!(page.contains("&lt;img src=x onerror=&#39;alert(1)&#39;&gt;"));
    assert_eq!(count_of(&page, "<script"), 2);
}

#[test]
fn missing_figures_are_dashes_and_broken_curves_do_not_break_the_page() {
    let mut data = sample(3, 0);
    data.failed.clear();
    data.roster[0].sharpe = None;
    data.roster[0].equity.pct = vec![f64::NAN; 10];
    data.roster[1].equity.pct.clear();
    data.roster[1].equity.first_day_ms = i64::MAX;
    data.roster[2].total_cost_bps = f64::NAN;
    data.universe.as_mut().unwrap().net.pct[3] = f64::INFINITY;
    let sharing = &mut data.sharing[0];
    sharing.coins[0].high_bps = f64::NAN;
    sharing.coins[1].mean_bps = f64::INFINITY;
    sharing.mean_bps = Some(f64::NAN);
    let variants = data.variants.as_mut().unwrap();
    (variants.deflated_sharpe, variants.overfitting_probability) = (Some(f64::NAN), None);
    variants.rows[0].test_net_bps = Some(f64::NEG_INFINITY);
    data.feature_bank[0].delta_net_bps = Some(f64::NAN);
    let regimes = data.regimes.as_mut().unwrap();
    regimes.tags[0].time_share = Some(f64::NAN);
    regimes.meta.as_mut().unwrap().weights[0].weights = vec![f64::NAN];
    let drift = data.drift.as_mut().unwrap();
    drift.rows[0].ratios = vec![Some(f64::NAN), None, Some(f64::INFINITY)];
    drift.rows[1].ratios.clear();
    let events = data.champion_events.as_mut().unwrap();
    (events[0].at_ms, events[1].at_ms) = (i64::MAX, i64::MIN);
    data.encoder.as_mut().unwrap().training_loss[2].train = Some(f64::NAN);
    let page = render(&data);
    assert!(page.contains("<td class='n' data-v=''>–</td>"));
    assert!(!page.contains("NaN") && !page.contains("inf "), "a number without a form");
}

#[test]
fn the_page_loads_nothing_and_is_small() {
    let mut data = sample(400, 3);
    // As many comparisons as a run makes, of which the sample has fewer.
    let known = data.sharing.clone();
    data.sharing = known.iter().cycle().take(9).cloned().collect();
    data.drift = Some(sample_drift(400, "coins"));
    let page = render(&data);
    assert_eq!(page, render(&data));
    assert!(page.len() < 1_500_000, "{} bytes", page.len());
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        let svg_name = count_of(&page, "http://www.w3.org/2000/svg");
        let found = count_of(&page, outside) - if outside == "http://" { svg_name } else { 0 };
        assert_eq!(found, 0, "{outside}");
    }
    let hash = base64(&Sha256::digest(SCRIPT.as_bytes()));
    assert!(page.contains(&format!("script-src 'sha256-{hash}'")));
    assert!(page.contains(&format!("<script>{SCRIPT}</script>")));
}

/// One part of the page.
fn part<'a>(page: &'a str, anchor: &str) -> &'a str {
    let from = page.find(&format!("<section id='{anchor}'>")).unwrap();
    &page[from..from + page[from..].find("</section>").unwrap()]
}

fn lift(symbol: &str, mean: f64, verdict: &str) -> Lift {
    Lift {
        symbol: symbol.into(),
        mean_bps: mean,
        low_bps: mean - 1.0,
        high_bps: mean + 1.0,
        verdict: verdict.into(),
    }
}

#[test]
fn sharing_is_counted_sorted_and_summarised() {
    let mut data = sample(0, 0);
    let coins = (0..100).map(|i| lift(&format!("C{i:03}"), f64::from(i) - 50.0, "undecided"));
    let mut coins: Vec<Lift> = coins.collect();
    coins[99].verdict = "helped".into();
    coins[50].verdict = "hurt".into();
    coins[49].verdict = "a verdict of the future".into();
    data.sharing = vec![Sharing {
        with: "trees".into(),
        without: "ridge".into(),
        helped: 1,
        hurt: 1,
        undecided: 98,
        mean_bps: Some(-0.5),
        interval_bps: Some([-1.5, -0.1]),
        coins,
    }];
    let page = render(&data);
    let part = part(&page, "sharing");
    assert!(part.contains("of 100: <b>1</b> helped, <b>1</b> hurt, <b>98</b> undecided"));
    assert!(part.contains("hurts on average") && part.contains("\u{2212}0.5 (\u{2212}1.5 to \u{2212}0.1)"));
    assert_eq!(count_of(part, "<th scope='row'>C"), 80);
    assert!(part.find("C099").unwrap() < part.find("C098").unwrap());
    assert!(part.contains("20 further coins between \u{2212}10.0 and +9.0: 0 helped, 1 hurt, 19 undecided"));
    assert_eq!(count_of(part, "class='diamond'"), 2, "on the card and below the coins");
    data.sharing[0].coins.truncate(3);
    let page = render(&data);
    let few = self::part(&page, "sharing");
    assert_eq!(count_of(few, "<th scope='row'>C"), 3);
    assert!(!few.contains("further coins"));
    data.sharing[0].coins.clear();
    data.sharing[0].interval_bps = None;
    let page = render(&data);
    let none = self::part(&page, "sharing");
    assert!(none.contains("no interval, so no verdict") && !none.contains("coin by coin"));
}

#[test]
fn the_newest_champions_are_drawn_and_their_number_is_bounded() {
    let mut data = sample(1, 0);
    let mut events = sample_events(400);
    let newest = events.iter().map(|e| e.at_ms).max().unwrap() + 1;
    events.push(ChampionEvent {
        at_ms: newest,
        symbol: "LASTUSDT.P".into(),
        event: "rollback".into(),
        reason: "x".repeat(5_000),
        decided_by: "operator".into(),
    });
    data.champion_events = Some(events);
    let page = render(&data);
    let drawn = part(&page, "promotions");
    assert!(drawn.find("LASTUSDT.P").unwrap() < drawn.find("SYN").unwrap());
    let (marks, written) = drawn.split_once("in words").unwrap();
    assert_eq!(count_of(marks, "<i class='mark "), 600 + 5, "marks and the legend");
    assert_eq!(count_of(marks, "<div class='lane'>"), 60);
    assert_eq!(count_of(written, "<tr><td"), 60);
    assert!(drawn.len() < 200_000 && !drawn.contains(&"x".repeat(401)));
    data.champion_events = Some(Vec::new());
    assert!(render(&data).contains("Nothing has happened to a champion so far."));
    data.champion_events = None;
    assert!(render(&data).contains("The history of champions was not read for this page."));
}

#[test]
fn drift_says_what_to_do_and_puts_the_worst_first() {
    let mut data = sample(1, 0);
    let drift = |action: &str, across: &str| {
        let row =
            |name: &str, ratios: [f64; 3]| DriftRow { name: name.into(), ratios: ratios.map(Some).to_vec() };
        Some(Drift {
            action: action.into(),
            across: across.into(),
            columns: ["A", "B", "C"].map(String::from).to_vec(),
            rows: vec![row("calm", [0.1, 0.2, 0.3]), row("wild", [0.4, 3.0, 1.0])],
            ..Drift::default()
        })
    };
    data.drift = drift("refit_encoder", "coins");
    let page = render(&data);
    let coins = part(&page, "drift");
    assert!(coins.contains("Refit the shared encoder.") && coins.contains("1 of 6 cells breach"));
    assert!(coins.contains("Largest: wild · B <b>3.0×</b>."));
    assert!(coins.find("wild").unwrap() < coins.find("calm").unwrap());
    let order = |part: &str| ["A", "B", "C"].map(|c| part.find(&format!("<th scope='col'>{c}<")).unwrap());
    let [a, b, c] = order(coins);
    assert!(b < c && c < a, "coins from the most drifted");
    data.drift = drift("none", "weeks");
    let page = render(&data);
    let weeks = part(&page, "drift");
    let [a, b, c] = order(weeks);
    assert!(a < b && b < c && weeks.contains("Nothing to do."), "weeks as they came");
    data.drift = Some(sample_drift(400, "coins"));
    let page = render(&data);
    assert_eq!(
        count_of(part(&page, "drift"), "<td class='d") + count_of(part(&page, "drift"), "<td class='none"),
        12 * 60
    );
    data.drift = Some(Drift::default());
    assert!(render(&data).contains("There was no window to compare with training."));
}

#[test]
fn the_bank_falls_back_to_weights_and_says_so() {
    let mut data = sample(10, 0);
    data.feature_bank = vec![
        BankFeature { name: "heavy".into(), weight_share: Some(0.9), ..BankFeature::default() },
        BankFeature {
            name: "useful".into(),
            weight_share: Some(0.1),
            delta_net_bps: Some(2.0),
            ..BankFeature::default()
        },
    ];
    let order = |data: &ReportData| {
        let page = render(data);
        let part = part(&page, "feature-bank");
        (part.find("useful").unwrap() < part.find("heavy").unwrap(), part.contains("was not measured"))
    };
    assert_eq!(order(&data), (true, false));
    data.feature_bank[1].delta_net_bps = None;
    assert_eq!(order(&data), (false, true));
}

#[test]
fn regimes_and_variants_tell_what_is_used_and_what_is_luck() {
    let mut data = sample(10, 0);
    let page = render(&data);
    assert!(part(&page, "regimes").contains("<b>Not used</b>: +0.42 bps a day"));
    assert!(
        part(&page, "variants").contains("192 variants were tried in this run, 5\u{202f}760 over all runs")
    );
    assert_eq!(count_of(part(&page, "variants"), ">chosen<"), 1);
    assert_eq!(count_of(part(&page, "variants"), "class='needle'"), 2);
    data.regimes.as_mut().unwrap().meta.as_mut().unwrap().used = true;
    let variants = data.variants.as_mut().unwrap();
    (variants.overfitting_probability, variants.deflated_sharpe) = (Some(0.8), None);
    let page = render(&data);
    assert!(part(&page, "regimes").contains("<b>Fit for use</b>"));
    assert!(part(&page, "variants").contains("no better than choosing at random"));
    assert_eq!(count_of(part(&page, "variants"), "class='needle'"), 1);
    data.variants = None;
    assert!(part(&render(&data), "variants").contains("planted coins found"));
}

#[test]
fn an_encoder_without_variance_or_curve_says_only_what_it_knows() {
    let mut data = sample(3, 0);
    let encoder = data.encoder.as_mut().unwrap();
    encoder.explained_variance_ratio.clear();
    let page = render(&data);
    let full = part(&page, "encoder");
    assert!(full.contains("<h3>Training loss</h3>") && full.contains("class='kept'"));
    assert!(!full.contains("of the variance"));
    data.encoder.as_mut().unwrap().training_loss.clear();
    assert!(render(&data).contains("The loss of this encoder's training was not kept."));
    data.encoder.as_mut().unwrap().kind = "rrr".into();
    assert!(!part(&render(&data), "encoder").contains("raining"));
}
