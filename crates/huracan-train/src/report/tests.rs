//! What the page promises: every part is there, empty or full, and no text becomes markup.

use super::*;
use huracan_core::words::Seed;

/// Steps of a reproducible walk, uniform in ±1.
fn noise(seed: u64, len: usize) -> Vec<f64> {
    let unit = |i: u64| Seed(seed).child("report fixture", i).0 as f64 / u64::MAX as f64;
    (0..len as u64).map(|i| 2.0 * unit(i) - 1.0).collect()
}

fn walk(seed: u64, len: usize, drift: f64, size: f64) -> Vec<f64> {
    let step = |sum: &mut f64, x: f64| {
        *sum += drift + size * x;
        Some(*sum)
    };
    noise(seed, len).into_iter().scan(0.0, step).collect()
}

const FIRST_DAY: i64 = 1_738_368_000_000;

/// A run over `coins` coins of which the first `good` pass.
fn sample(coins: usize, good: usize) -> ReportData {
    let curve = |seed: u64, drift: f64, size: f64| Curve {
        first_day_ms: FIRST_DAY,
        step_days: 1,
        pct: walk(seed, 150, drift, size),
    };
    let row = |i: usize| {
        let x = noise(900 + i as u64, 8);
        let ok = i < good;
        let equity = curve(i as u64, if ok { 0.12 } else { -0.06 + 0.03 * x[0] }, 0.8);
        let net = equity.pct[149];
        let reason = |gate: &str, value: String, limit: &str, passed: bool| GateReason {
            gate: gate.into(),
            value,
            limit: limit.into(),
            passed,
        };
        RosterRow {
            rank: i + 1,
            symbol: if i == 0 { "BTCUSDT.P".into() } else { format!("SYN{i:03}USDT.P") },
            trade_ok: ok,
            sharpe: (i % 41 != 40).then_some(net / 12.0),
            net_pnl_pct: Some(net),
            sample_size: 40 + (300.0 * x[1].abs()) as usize,
            hit_rate: Some(0.48 + 0.06 * x[2]),
            max_drawdown_pct: Some(4.0 + 9.0 * x[3].abs()),
            fee_bps: 5.0,
            spread_bps: 0.5 + 9.0 * x[4] * x[4],
            slip_bps: 0.3 + 5.0 * x[5] * x[5],
            total_cost_bps: 10.0 + 0.5 + 9.0 * x[4] * x[4] + 2.0 * (0.3 + 5.0 * x[5] * x[5]),
            adv_usd: 10.0_f64.powf(7.8 + 1.6 * x[6]),
            capacity_usd: ok.then_some(12_000.0),
            last_7d_net_bps: 120.0 * x[7],
            reasons: vec![
                reason("net_pnl_pct", format!("{net:.2}"), "> 0", net > 0.0),
                reason("sharpe", format!("{:.2}", net / 12.0), "> 0.5", net > 6.0),
                reason("benjamini_hochberg_p", format!("{:.3}", x[1].abs()), "≤ 0.10", ok),
                reason("hit_rate", format!("{:.3}", 0.48 + 0.06 * x[2]), "> 0.45", true),
            ],
            equity,
        }
    };
    let lift = |i: usize| {
        let x = noise(500 + i as u64, 2);
        let mean = 9.0 * x[0] * x[0] * x[0] + 0.6;
        let half = 6.0 + 4.0 * x[1].abs();
        let (low, high) = (mean - half, mean + half);
        let verdict = if low > 0.0 {
            "helped"
        } else if high < 0.0 {
            "hurt"
        } else {
            "undecided"
        };
        Lift {
            symbol: format!("SYN{i:03}USDT.P"),
            mean_bps: mean,
            low_bps: low,
            high_bps: high,
            verdict: verdict.into(),
        }
    };
    let net = walk(4242, 150, 0.05, 0.35);
    let band = |sign: f64| (0..150).map(|d| sign * 0.45 * f64::from(d).sqrt() - 1.0).collect();
    let ratios: Vec<f64> = (0..50).map(|k| 0.19 * 0.88_f64.powi(k) * 0.6).collect();
    let features = ["ret_72_sigma", "ema_gap_48", "vol_yz_168", "volume_z_24", "amihud_72", "hour_sin"];
    let facts = [
        ("Label", "relative, 24 bars, entered 1 bar late"),
        ("Book", "hedged"),
        ("Seed", "1"),
        ("Encoder", "3f09c2d1a77be210"),
        ("Features", "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"),
        ("Code", "huracan 0.1.0"),
    ];
    ReportData {
        run: RunHeader {
            run_id: "20250629T020000Z-1a2b3c4d".into(),
            verdict: format!("{good} of {coins} coins trade_ok"),
            started_at: "2025-06-29T02:00:00Z".into(),
            finished_at: "2025-06-29T02:04:31Z".into(),
            data_from_ms: FIRST_DAY - 90 * 86_400_000,
            data_until_ms: FIRST_DAY + 150 * 86_400_000,
            bar: "1h".into(),
            bars: 2_228_173,
            coins: coins + 31,
            skipped: 29,
            facts: facts.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            canaries: Some(("0 of 20 noise coins trade_ok, 9 of 10 planted coins found".into(), true)),
        },
        roster: (0..coins).map(row).collect(),
        skip_reasons: [
            ("history_short", 17, "at least 60 days of bars"),
            ("volume_thin", 12, "median daily volume at least 1 M USD"),
            ("gap_long", 2, "no missing run above 24 h"),
            ("pegged", 2, "realised volatility at least 5 % a year"),
        ]
        .iter()
        .map(|(code, coins, meaning)| SkipCount {
            code: (*code).into(),
            coins: *coins,
            meaning: (*meaning).into(),
        })
        .collect(),
        failed: vec![FailedCoin {
            symbol: "SYN077USDT.P".into(),
            step: "features".into(),
            error: "candle 14201 of SYN077USDT.P: close is NaN, expected a finite number".into(),
        }],
        universe: Some(Universe {
            net: Curve { first_day_ms: FIRST_DAY, step_days: 1, pct: net },
            placebo_low_pct: band(-1.0),
            placebo_high_pct: band(1.0),
            placebos: 16,
            placebo_net_pct: Vec::new(),
            sharpe: Some(1.84),
        }),
        rank_band: Some(RankBand {
            net: curve(77, 0.2, 0.9),
            gross_pct: walk(77, 150, 0.3, 0.9),
            rule: "Enter the top and bottom 10 % of ranks, leave outside 25 %.".into(),
            sharpe: Some(3.3),
            sharpe_ci_90: Some([0.7, 5.1]),
        }),
        encoder: Some(EncoderSummary {
            kind: "pca".into(),
            encoder_id: "3f09c2d1a77be210".into(),
            explained_variance_ratio: ratios,
            top_loadings: (1..=6)
                .map(|component| ComponentLoadings {
                    component,
                    loadings: features
                        .iter()
                        .zip(noise(component as u64, 6))
                        .map(|(name, x)| ((*name).into(), 0.4 * x))
                        .collect(),
                })
                .collect(),
        }),
        lift: (0..coins).map(lift).collect(),
        cross_section: [("pooled", 0.03), ("tailored", 0.025), ("own only", 0.012)]
            .iter()
            .flat_map(|(head, ic)| {
                [1, 4, 12, 24].map(|horizon_bars| CrossSectionIc {
                    head: (*head).into(),
                    horizon_bars,
                    ic: Some(ic * f64::from(horizon_bars as u32).ln_1p() / 1.5),
                    t_stat: Some(180.0 * ic / f64::from(horizon_bars as u32).sqrt()),
                    days: 150,
                })
            })
            .collect(),
        folds: (0..5)
            .map(|k| Fold {
                train: format!("2024-11-01 – 2025-{:02}-24", k + 1),
                test: format!("2025-{:02}-01 – 2025-{:02}-02", k + 2, k + 3),
                coins,
                trades: 14_000 + 311 * k,
                net_pnl_pct: Some(0.4 - 0.3 * k as f64),
                sharpe: Some(1.1 - 0.5 * k as f64),
                ic: Some(0.031 - 0.004 * k as f64),
            })
            .collect(),
        timings: [("read", 11.0), ("features", 48.0), ("encoder", 6.0), ("heads", 31.0), ("publish", 2.0)]
            .iter()
            .map(|(stage, wall_s)| StageTiming {
                stage: (*stage).into(),
                jobs: coins,
                wall_s: *wall_s,
                cpu_s: wall_s * 1.9,
                p50_s: Some(wall_s / coins.max(1) as f64),
                p95_s: Some(2.0 * wall_s / coins.max(1) as f64),
            })
            .collect(),
    }
}

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
        for element in ["section", "table", "svg", "div", "dl", "figure", "p", "tr", "td", "span"] {
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
    data.run.canaries = Some(("2 noise coins trade_ok".into(), false));
    assert!(render(&data).contains("Do not trust this run"));
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
    data.lift[0].high_bps = f64::NAN;
    let page = render(&data);
    assert!(page.contains("<td class='n' data-v=''>–</td>"));
    assert!(!page.contains("NaN") && !page.contains("inf "), "a number without a form");
}

#[test]
fn the_page_loads_nothing_and_is_small() {
    let data = sample(400, 3);
    let page = render(&data);
    assert_eq!(page, render(&data));
    assert!(page.len() < 3_000_000, "{} bytes", page.len());
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        let svg_name = count_of(&page, "http://www.w3.org/2000/svg");
        let found = count_of(&page, outside) - if outside == "http://" { svg_name } else { 0 };
        assert_eq!(found, 0, "{outside}");
    }
    let hash = base64(&Sha256::digest(SCRIPT.as_bytes()));
    assert!(page.contains(&format!("script-src 'sha256-{hash}'")));
    assert!(page.contains(&format!("<script>{SCRIPT}</script>")));
}
