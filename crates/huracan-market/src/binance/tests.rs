//! The whole fetch against an exchange on loopback that serves the archive's layout and pages
//! klines. Files are generated here; time is virtual, so nobody sleeps.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use huracan_core::words::{Market, Symbol, Timeframe, UtcMs};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::sync::watch;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::limits::Time;
use super::*;

const HOUR: i64 = UtcMs::HOUR;

/// Time that passes only when somebody sleeps.
pub(super) struct FakeTime(Arc<Mutex<Duration>>);

impl FakeTime {
    pub(super) fn start() -> Arc<FakeTime> {
        Arc::new(FakeTime(Arc::default()))
    }
}

impl Time for FakeTime {
    fn elapsed(&self) -> Duration {
        *self.0.lock().unwrap()
    }
    fn sleep(&self, wait: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (now, end) = (self.0.clone(), self.elapsed() + wait);
        Box::pin(async move {
            let mut now = now.lock().unwrap();
            *now = end.max(*now);
        })
    }
}

/// The folder `name` of the real data beside the project, when this machine has it.
pub(super) fn real_data(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("HURACAN_DATA").map_or_else(beside, PathBuf::from).join(name);
    if !folder.is_dir() {
        eprintln!("skipped: no real data at {}", folder.display());
        return None;
    }
    Some(folder)
}

/// A file's bytes, unpacked when its name ends in `.gz`.
pub(super) fn read_gz(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    if path.extension().is_none_or(|e| e != "gz") {
        return bytes;
    }
    let mut json = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut json).unwrap();
    json
}

fn at(text: &str) -> UtcMs {
    text.parse().unwrap()
}

fn symbol(text: &str) -> Symbol {
    text.parse().unwrap()
}

/// The generated hourly candle that opens at `opened` (ms), in the archive's twelve columns.
fn candle(opened: i64) -> [String; 12] {
    let price = 100.0 + (opened / HOUR % 50) as f64;
    let number = |value: f64| format!("{value:.8}");
    [
        opened.to_string(),
        number(price),
        number(price + 1.0),
        number(price - 1.0),
        number(price + 0.5),
        number(10.0),
        (opened + HOUR - 1).to_string(),
        number(10.0 * price),
        "42".to_owned(),
        number(4.0),
        number(4.0 * price),
        "0".to_owned(),
    ]
}

/// An archive CSV of hourly candles; spot's are in microseconds since 2025.
fn csv(symbol: &Symbol, opens: std::ops::Range<i64>) -> String {
    let micro = symbol.market() == Market::Spot && opens.start >= at("2025-01-01").0;
    let mut text = String::new();
    if symbol.market() == Market::Perp {
        text += "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n";
    }
    for opened in opens.step_by(HOUR as usize) {
        let mut columns = candle(opened);
        if micro {
            columns[0] += "000";
            columns[6] += "999";
        }
        text += &(columns.join(",") + "\n");
    }
    text
}

fn zipped(name: &str, csv: &str) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(csv.as_bytes()).unwrap();
    zip.finish().unwrap().into_inner()
}

fn checksum(zip: &[u8], name: &str) -> Vec<u8> {
    let hex: String = Sha256::digest(zip).iter().map(|b| format!("{b:02x}")).collect();
    format!("{hex}  {name}\n").into_bytes()
}

/// What the exchange on loopback has, and what it says before it behaves.
#[derive(Default)]
struct Exchange {
    files: BTreeMap<String, Vec<u8>>,
    /// Answers given first, by path.
    first: Mutex<BTreeMap<String, VecDeque<ResponseTemplate>>>,
    /// Open times from which and before which klines exist, UTC ms.
    klines: std::ops::Range<i64>,
}

impl Exchange {
    /// Publishes the file of `date` (`2024-12` or `2024-12-31`) and returns its path.
    fn publish(&mut self, symbol: &Symbol, date: &str) -> String {
        let daily = date.len() == 10;
        let first = at(&if daily { date.to_owned() } else { format!("{date}-01") });
        let days = (1..=31).find(|d| UtcMs(first.0 + d * UtcMs::DAY).month() != first.month()).unwrap();
        let end = first.0 + if daily { 1 } else { days } * UtcMs::DAY;
        let path = path(symbol, date);
        let name = path.rsplit('/').next().unwrap();
        let zip = zipped(&name.replace(".zip", ".csv"), &csv(symbol, first.0..end));
        self.files.insert(format!("{path}.CHECKSUM"), checksum(&zip, name));
        self.files.insert(path.clone(), zip);
        path
    }

    fn says_first(&self, path: &str, times: usize, answer: ResponseTemplate) {
        let mut first = self.first.lock().unwrap();
        first.entry(path.to_owned()).or_default().extend(std::iter::repeat_n(answer, times));
    }

    fn answer(&self, request: &Request) -> ResponseTemplate {
        let path = request.url.path().trim_start_matches('/');
        if let Some(answer) = self.first.lock().unwrap().get_mut(path).and_then(VecDeque::pop_front) {
            return answer;
        }
        if path.ends_with("/klines") {
            let query: BTreeMap<_, _> = request.url.query_pairs().collect();
            let number = |key: &str| query[key].parse::<i64>().unwrap();
            let start = number("startTime").max(self.klines.start);
            // Deliberately deaf to endTime: the reader has to drop what it did not ask for.
            let page = (start..self.klines.end).step_by(HOUR as usize).take(number("limit") as usize + 1);
            let page: Vec<serde_json::Value> = page.map(|opened| kline_json(&candle(opened))).collect();
            return ResponseTemplate::new(200).set_body_json(page);
        }
        match self.files.get(path) {
            Some(bytes) => ResponseTemplate::new(200).set_body_bytes(bytes.clone()),
            None => ResponseTemplate::new(404).set_body_string("<Error><Code>NoSuchKey</Code></Error>"),
        }
    }

    async fn open(self) -> MockServer {
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(move |r: &Request| self.answer(r)).mount(&server).await;
        server
    }
}

/// A kline as REST writes it: times and the trade count are numbers, the rest texts.
fn kline_json(columns: &[String; 12]) -> serde_json::Value {
    let value = |(i, text): (usize, &String)| match i {
        0 | 6 | 8 => serde_json::from_str(text).unwrap(),
        _ => serde_json::Value::from(text.as_str()),
    };
    columns.iter().enumerate().map(value).collect()
}

fn path(symbol: &Symbol, date: &str) -> String {
    let market = if symbol.market() == Market::Spot { "spot" } else { "futures/um" };
    let cadence = if date.len() == 10 { "daily" } else { "monthly" };
    let pair = symbol.pair();
    format!("data/{market}/{cadence}/klines/{pair}/1h/{pair}-1h-{date}.zip")
}

fn client() -> reqwest::Client {
    // A second installation is refused, which is fine: the provider is there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// A fetch under test: an exchange, a folder, and virtual time.
struct Bench {
    server: MockServer,
    dest: TempDir,
    time: Arc<FakeTime>,
}

impl Bench {
    async fn new(exchange: Exchange) -> Bench {
        Bench { server: exchange.open().await, dest: TempDir::new().unwrap(), time: FakeTime::start() }
    }

    fn plan(&self, symbols: &[&str], from: &str, now: &str) -> FetchPlan {
        let symbols = symbols.iter().map(|text| symbol(text)).collect();
        let dest = self.dest.path().to_owned();
        FetchPlan {
            archive_base_url: self.server.uri(),
            rest_base_url_spot: self.server.uri(),
            rest_base_url_perp: self.server.uri(),
            concurrency: 3,
            ..FetchPlan::new(symbols, Timeframe::H1, at(from), at(now), dest, at(now))
        }
    }

    async fn run(&self, plan: FetchPlan) -> FetchReport {
        let (_stop, cancel) = watch::channel(false);
        self.run_cancellable(plan, cancel, |_| ()).await
    }

    async fn run_cancellable(
        &self,
        plan: FetchPlan,
        cancel: watch::Receiver<bool>,
        progress: impl FnMut(Progress),
    ) -> FetchReport {
        plan.check().unwrap();
        fetch_with(plan, client(), self.time.clone(), cancel, progress).await.unwrap()
    }

    /// Paths asked for so far, queries left out.
    async fn asked(&self) -> Vec<String> {
        let requests = self.server.received_requests().await.unwrap();
        requests.iter().map(|r| r.url.path().trim_start_matches('/').to_owned()).collect()
    }

    async fn times_asked(&self, path: &str) -> usize {
        self.asked().await.iter().filter(|asked| *asked == path).count()
    }

    fn archived(&self, path: &str) -> PathBuf {
        self.dest.path().join("archive").join(path)
    }

    fn rest_csv(&self, path: &str) -> String {
        std::fs::read_to_string(self.dest.path().join("rest").join(path)).unwrap()
    }

    /// Every file below the destination, the lock aside.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.dest.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with(".fetch.lock") {
                    found.insert(path.clone(), std::fs::read(&path).unwrap());
                }
            }
        }
        found
    }
}

fn codes(report: &SymbolReport) -> Vec<&'static str> {
    report.failures.iter().map(|failure| failure.code).collect()
}

#[tokio::test]
async fn months_days_and_the_tail_arrive_and_add_up() {
    let spot = symbol("BTCUSDT");
    let now = "2025-02-03T05:30:00Z";
    let mut exchange = Exchange { klines: 0..at(now).0, ..Exchange::default() };
    let files: Vec<String> = ["2024-12", "2025-01", "2025-02-01", "2025-02-02"]
        .iter()
        .map(|date| exchange.publish(&spot, date))
        .collect();
    let published = exchange.files.clone();
    let bench = Bench::new(exchange).await;
    let plan = bench.plan(&["BTCUSDT"], "2024-12-10", now);

    // The public door, with real time: nothing here has to wait.
    client();
    let (_stop, cancel) = watch::channel(false);
    let mut events = Vec::new();
    let report = fetch(plan, cancel, |event| events.push(event.event)).await.unwrap();

    let [btc] = &report.symbols[..] else { panic!("{report:?}") };
    assert_eq!(btc.failures, []);
    assert_eq!((btc.months, btc.days, btc.kept, btc.not_published), (2, 2, 0, 0));
    assert_eq!((btc.requests, btc.retries, btc.listed, report.cancelled), (9, 0, true, false));
    for file in &files {
        let checksum = format!("{file}.CHECKSUM");
        assert_eq!(std::fs::read(bench.archived(file)).unwrap(), published[file]);
        assert_eq!(std::fs::read(bench.archived(&checksum)).unwrap(), published[&checksum]);
    }
    // Five whole hours of the third; the sixth, 05:00 to 06:00, is not finished.
    let midnight = at("2025-02-03").0;
    assert_eq!(btc.rest_rows, 5);
    assert_eq!(btc.rest.open_time, (0..5).map(|h| midnight + h * HOUR).collect::<Vec<_>>());
    assert_eq!(btc.rest.trades, Some(vec![42.0; 5]));
    let lines: Vec<String> = (0..5).map(|h| candle(midnight + h * HOUR).join(",")).collect();
    assert_eq!(bench.rest_csv("spot/1h/BTCUSDT.csv"), lines.join("\n") + "\n");

    assert_eq!(events[0], ProgressEvent::Planned { files: 4 });
    assert_eq!(events.iter().filter(|e| matches!(e, ProgressEvent::Settled { bytes: 1.., .. })).count(), 4);
    assert_eq!(events[5..], [ProgressEvent::ToppedUp { rows: 5 }, ProgressEvent::Finished]);
}

#[tokio::test]
async fn a_second_run_asks_nothing_for_what_is_verified_and_changes_no_byte() {
    let perp = symbol("BTCUSDT.P");
    let now = "2025-02-02T05:30:00Z";
    let mut exchange = Exchange { klines: 0..at(now).0, ..Exchange::default() };
    let month = exchange.publish(&perp, "2025-01");
    exchange.publish(&perp, "2025-02-01");
    let bench = Bench::new(exchange).await;
    let plan = bench.plan(&["BTCUSDT.P"], "2025-01-01", now);
    let first = bench.run(plan.clone()).await.symbols.remove(0);
    let (before, asked) = (bench.files(), bench.asked().await.len());

    let second = bench.run(plan.clone()).await.symbols.remove(0);
    assert_eq!((second.kept, second.requests, second.rest_rows), (2, 0, 0));
    assert_eq!((second.months, second.days, &second.rest), (first.months, first.days, &first.rest));
    assert_eq!((bench.files(), bench.asked().await.len()), (before.clone(), asked));

    // A file that rotted on our disk is no longer verified, and only that one comes again.
    std::fs::write(bench.archived(&month), b"rot").unwrap();
    let third = bench.run(plan).await.symbols.remove(0);
    assert_eq!((third.kept, third.requests), (1, 2));
    assert_eq!(bench.files(), before);
    assert!(before.keys().any(|path| path.ends_with("rest/perp/1h/BTCUSDT.P.csv")));
}

#[tokio::test]
async fn a_month_that_is_not_published_comes_by_its_days() {
    let spot = symbol("BTCUSDT");
    let mut exchange = Exchange { klines: at("2025-01-20").0..at("2025-03-01").0, ..Exchange::default() };
    for day in (20..=31).filter(|&day| day != 25) {
        exchange.publish(&spot, &format!("2025-01-{day}"));
    }
    exchange.publish(&spot, "2025-02");
    let bench = Bench::new(exchange).await;
    let report = bench.run(bench.plan(&["BTCUSDT"], "2024-11-01", "2025-03-01")).await.symbols.remove(0);
    assert_eq!(report.failures, []);
    // November and December: the month and its two edges. January: the month, 19 days, and the 25th.
    assert_eq!((report.months, report.days, report.not_published), (1, 11, 2 + 20));
    let archive_404s = 3 + 3 + 1 + 20;
    let rest = bench.times_asked("api/v3/klines").await;
    assert_eq!(bench.asked().await.len(), archive_404s + 2 * 12 + rest);
    // The hole on the 25th is filled from REST; before the listing there is nothing to fill.
    assert_eq!(report.rest.open_time.first(), Some(&at("2025-01-25").0));
    assert_eq!(report.rest_rows, 24);
}

#[tokio::test]
async fn a_wrong_checksum_is_retried_then_reported_and_the_others_go_on() {
    let (bad, good) = (symbol("BADUSDT"), symbol("GOODUSDT"));
    let mut exchange = Exchange::default();
    let file = exchange.publish(&bad, "2025-01");
    exchange.files.insert(format!("{file}.CHECKSUM"), checksum(b"other bytes", "x.zip"));
    exchange.publish(&good, "2025-01");
    let bench = Bench::new(exchange).await;
    let report = bench.run(bench.plan(&["GOODUSDT", "BADUSDT"], "2025-01-01", "2025-02-01")).await;
    let [bad, good] = &report.symbols[..] else { panic!("{report:?}") };
    assert_eq!((codes(bad), bad.retries, bad.months), (vec!["checksum_mismatch"], 5, 0));
    assert_eq!(bad.failures[0].what, file);
    assert_eq!(bench.times_asked(&file).await, 6);
    assert!(!bench.archived(&file).exists());
    assert_eq!((codes(good), good.months), (vec![], 1));
    // A failed file is not papered over from REST.
    assert_eq!(bench.times_asked("api/v3/klines").await, 0);
}

#[tokio::test]
async fn a_truncated_zip_is_fetched_again() {
    let spot = symbol("BTCUSDT");
    let mut exchange = Exchange::default();
    let file = exchange.publish(&spot, "2025-01");
    let half = exchange.files[&file][..1000].to_vec();
    exchange.says_first(&file, 2, ResponseTemplate::new(200).set_body_bytes(half));
    let bench = Bench::new(exchange).await;
    let report = bench.run(bench.plan(&["BTCUSDT"], "2025-01-01", "2025-02-01")).await.symbols.remove(0);
    assert_eq!((codes(&report), report.retries, report.months), (vec![], 2, 1));
}

#[tokio::test]
async fn a_verified_zip_that_is_not_what_its_name_says_is_refused() {
    let spot = symbol("BTCUSDT");
    let january = at("2025-01-01").0;
    for (csv_name, text, why) in [
        ("BTCUSDT-1h-2025-01.csv", csv(&spot, january - HOUR..january), "opens at 2024-12-31T23:00:00Z"),
        (
            "ETHUSDT-1h-2025-01.csv",
            csv(&spot, january..january + HOUR),
            "BTCUSDT-1h-2025-01.csv is not in it",
        ),
        ("BTCUSDT-1h-2025-01.csv", String::new(), "it holds no candle"),
        ("BTCUSDT-1h-2025-01.csv", "1,2,3\n".to_owned(), "3 columns, expected 12"),
    ] {
        let mut exchange = Exchange::default();
        let file = exchange.publish(&spot, "2025-01");
        let zip = zipped(csv_name, &text);
        exchange.files.insert(format!("{file}.CHECKSUM"), checksum(&zip, "BTCUSDT-1h-2025-01.zip"));
        exchange.files.insert(file.clone(), zip);
        let bench = Bench::new(exchange).await;
        let report = bench.run(bench.plan(&["BTCUSDT"], "2025-01-01", "2025-02-01")).await.symbols.remove(0);
        assert_eq!(codes(&report), ["bad_zip"]);
        assert!(report.failures[0].sentence.contains(why), "{:?}", report.failures);
        assert!(!bench.archived(&file).exists());
    }
}

#[tokio::test]
async fn a_zip_without_a_checksum_is_not_taken() {
    let mut exchange = Exchange::default();
    let file = exchange.publish(&symbol("BTCUSDT"), "2025-01");
    exchange.files.remove(&format!("{file}.CHECKSUM"));
    let bench = Bench::new(exchange).await;
    let report = bench.run(bench.plan(&["BTCUSDT"], "2025-01-01", "2025-02-01")).await.symbols.remove(0);
    assert_eq!((codes(&report), bench.archived(&file).exists()), (vec!["no_checksum"], false));
}

#[tokio::test]
async fn pauses_the_exchange_asks_for_are_kept() {
    let check = async |status: u16, retry_after: &str, least_s: u64, most_s: u64| {
        let mut exchange = Exchange::default();
        let file = exchange.publish(&symbol("BTCUSDT"), "2025-01");
        let answer = ResponseTemplate::new(status).insert_header("retry-after", retry_after);
        exchange.says_first(&file, 1, answer);
        let bench = Bench::new(exchange).await;
        let report = bench.run(bench.plan(&["BTCUSDT"], "2025-01-01", "2025-02-01")).await.symbols.remove(0);
        assert_eq!((codes(&report), report.retries, report.months), (vec![], 1, 1), "{status}");
        let waited = bench.time.elapsed().as_secs();
        assert!((least_s..=most_s).contains(&waited), "{status} {retry_after}: waited {waited} s");
    };
    check(429, "120", 120, 120).await;
    check(429, "soon", 60, 60).await;
    check(418, "300", 300, 300).await;
    check(503, "45", 45, 45).await;
    // Without Retry-After a server error waits only the jittered backoff.
    check(500, "", 1, 3).await;
}

#[tokio::test]
async fn a_long_ban_ends_the_asking_for_everybody() {
    let mut exchange = Exchange { klines: 0..at("2025-02-02").0, ..Exchange::default() };
    for pair in ["AAAUSDT", "BBBUSDT"] {
        exchange.publish(&symbol(pair), "2025-01");
    }
    let ban = ResponseTemplate::new(418).insert_header("retry-after", "259200");
    exchange.says_first("api/v3/klines", 1, ban);
    let bench = Bench::new(exchange).await;
    let mut plan = bench.plan(&["AAAUSDT", "BBBUSDT"], "2025-01-01", "2025-02-01T06:00:00Z");
    plan.concurrency = 1;
    let report = bench.run(plan).await;
    for symbol in &report.symbols {
        assert_eq!((codes(symbol), symbol.months), (vec!["shut_out"], 1));
    }
    assert_eq!(bench.times_asked("api/v3/klines").await, 1);
}

#[tokio::test]
async fn a_server_that_stays_broken_is_reported() {
    let mut exchange = Exchange::default();
    let file = exchange.publish(&symbol("BTCUSDT"), "2025-01");
    exchange.says_first(&file, 100, ResponseTemplate::new(502));
    let bench = Bench::new(exchange).await;
    let report = bench.run(bench.plan(&["BTCUSDT"], "2025-01-01", "2025-02-01")).await.symbols.remove(0);
    assert_eq!((codes(&report), bench.times_asked(&file).await), (vec!["server_error"], 6));
    assert!(report.failures[0].sentence.ends_with("answered 502, expected 200"));
}

#[tokio::test]
async fn klines_are_paged_until_the_last_finished_bar() {
    let check = async |name: &str, url: &str, pages: usize| {
        let now = "2025-05-01T10:20:00Z";
        let exchange = Exchange { klines: at("2025-01-17").0..at(now).0, ..Exchange::default() };
        let bench = Bench::new(exchange).await;
        let report = bench.run(bench.plan(&[name], "2025-01-10", now)).await.symbols.remove(0);
        let opened = &report.rest.open_time;
        assert_eq!(codes(&report), Vec::<&str>::new());
        assert_eq!(opened.first(), Some(&at("2025-01-17").0), "{name}");
        assert_eq!(opened.last(), Some(&at("2025-05-01T09:00:00Z").0), "{name}");
        assert!(opened.windows(2).all(|pair| pair[1] - pair[0] == HOUR), "{name}");
        assert_eq!(bench.times_asked(url).await, pages, "{name}");
    };
    // 2,506 bars.
    check("BTCUSDT", "api/v3/klines", 3).await;
    check("BTCUSDT.P", "fapi/v1/klines", 2).await;
}

#[tokio::test]
async fn a_later_fetch_merges_its_tail_into_the_same_file() {
    let klines = 0..at("2025-02-02").0;
    let bench = Bench::new(Exchange { klines, ..Exchange::default() }).await;
    let first =
        bench.run(bench.plan(&["BTCUSDT"], "2025-02-01", "2025-02-01T05:30:00Z")).await.symbols.remove(0);
    let second =
        bench.run(bench.plan(&["BTCUSDT"], "2025-02-01", "2025-02-01T09:10:00Z")).await.symbols.remove(0);
    assert_eq!((first.rest_rows, second.rest_rows, second.rest.open_time.len()), (5, 4, 9));
    let requests = bench.server.received_requests().await.unwrap();
    assert!(
        requests[1].url.query().unwrap().contains(&format!("startTime={}", at("2025-02-01T05:00:00Z").0))
    );

    // A file that no longer reads is named, with its line, and left as it is.
    let csv = bench.dest.path().join("rest/spot/1h/BTCUSDT.csv");
    std::fs::write(&csv, bench.rest_csv("spot/1h/BTCUSDT.csv") + "half a li").unwrap();
    let third =
        bench.run(bench.plan(&["BTCUSDT"], "2025-02-01", "2025-02-01T10:10:00Z")).await.symbols.remove(0);
    assert_eq!(codes(&third), ["bad_csv"]);
    assert!(third.failures[0].sentence.contains("BTCUSDT.csv line 10: 1 columns, expected 12"));
    assert!(bench.rest_csv("spot/1h/BTCUSDT.csv").ends_with("half a li"));
}

#[tokio::test]
async fn an_answer_that_is_no_kline_page_is_an_error_and_earlier_pages_are_kept() {
    let (from, now) = ("2025-01-01", "2025-03-01");
    let exchange = Exchange { klines: at(from).0..at(now).0, ..Exchange::default() };
    let page = (at(from).0..).step_by(HOUR as usize).take(1000);
    let page: Vec<serde_json::Value> = page.map(|opened| kline_json(&candle(opened))).collect();
    let url = "api/v3/klines";
    exchange.says_first(url, 1, ResponseTemplate::new(200).set_body_json(page));
    exchange.says_first(url, 6, ResponseTemplate::new(200).set_body_string("<html>maintenance</html>"));
    let bench = Bench::new(exchange).await;
    let report = bench.run(bench.plan(&["BTCUSDT"], from, now)).await.symbols.remove(0);
    assert_eq!((codes(&report), report.rest_rows), (vec!["bad_answer"], 1000));
    let again = bench.run(bench.plan(&["BTCUSDT"], from, now)).await.symbols.remove(0);
    assert_eq!((codes(&again), again.rest_rows), (vec![], 416));
}

#[tokio::test]
async fn a_delisted_coin_keeps_its_archive_and_an_unknown_one_is_an_error() {
    let mut exchange = Exchange::default();
    exchange.publish(&symbol("OLDUSDT"), "2025-01");
    let unknown = ResponseTemplate::new(400).set_body_string(r#"{"code":-1121,"msg":"Invalid symbol."}"#);
    exchange.says_first("api/v3/klines", 2, unknown);
    let bench = Bench::new(exchange).await;
    let report = bench.run(bench.plan(&["OLDUSDT", "WRONGUSDT"], "2025-01-01", "2025-02-01T03:00:00Z")).await;
    let [old, wrong] = &report.symbols[..] else { panic!("{report:?}") };
    assert_eq!((old.months, old.listed, codes(old)), (1, false, vec![]));
    assert_eq!((wrong.listed, codes(wrong)), (false, vec!["not_listed"]));
}

#[tokio::test]
async fn a_cancelled_fetch_leaves_whole_files_and_is_continued() {
    let spot = symbol("BTCUSDT");
    let now = "2025-05-01T04:00:00Z";
    let exchange = || {
        let mut exchange = Exchange { klines: 0..at(now).0, ..Exchange::default() };
        for date in ["2025-01", "2025-02", "2025-03", "2025-04"] {
            exchange.publish(&spot, date);
        }
        exchange
    };
    let untouched = Bench::new(exchange()).await;
    untouched.run(untouched.plan(&["BTCUSDT"], "2025-01-01", now)).await;

    let bench = Bench::new(exchange()).await;
    let mut plan = bench.plan(&["BTCUSDT"], "2025-01-01", now);
    plan.concurrency = 1;
    let (stop, cancel) = watch::channel(false);
    let stop_after_one = |event: Progress| {
        if matches!(event.event, ProgressEvent::Settled { .. }) {
            stop.send_replace(true);
        }
    };
    let report = bench.run_cancellable(plan.clone(), cancel, stop_after_one).await;
    let btc = &report.symbols[0];
    assert!(report.cancelled && btc.months < 4, "{btc:?}");
    assert_eq!((codes(btc), btc.rest_rows), (vec![], 0));
    let names = |bench: &Bench| {
        let relative = |p: &PathBuf| p.strip_prefix(bench.dest.path()).unwrap().to_owned();
        bench.files().iter().map(|(p, bytes)| (relative(p), bytes.clone())).collect::<BTreeMap<_, _>>()
    };
    let whole = names(&untouched);
    assert!(names(&bench).iter().all(|(name, bytes)| whole.get(name) == Some(bytes)));

    let (_stop, cancel) = watch::channel(false);
    let report = bench.run_cancellable(plan, cancel, |_| ()).await;
    assert_eq!((report.symbols[0].months, report.symbols[0].kept), (4, btc.months));
    assert_eq!(names(&bench), whole);
}

#[tokio::test]
async fn one_folder_is_filled_by_one_fetch_at_a_time() {
    let bench = Bench::new(Exchange::default()).await;
    let other = disk::lock(bench.dest.path()).unwrap();
    let plan = bench.plan(&["BTCUSDT"], "2025-02-01", "2025-02-01T05:30:00Z");
    let (_stop, cancel) = watch::channel(false);
    client();
    let refused = fetch(plan.clone(), cancel.clone(), |_| ()).await.unwrap_err();
    assert_eq!(refused.code(), "busy");
    drop(other);
    assert!(fetch(plan, cancel, |_| ()).await.is_ok());
}

#[tokio::test]
async fn a_plan_that_contradicts_itself_is_refused_before_anything_is_asked() {
    let bench = Bench::new(Exchange::default()).await;
    let good = bench.plan(&["BTCUSDT"], "2025-01-01", "2025-02-01");
    let check = async |plan: FetchPlan, why: &str| {
        let (_stop, cancel) = watch::channel(false);
        let error = fetch(plan, cancel, |_| ()).await.unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), ("bad_plan", why));
    };
    check(FetchPlan { symbols: vec![], ..good.clone() }, "no symbols are given, expected at least one").await;
    check(
        FetchPlan { until: good.from, ..good.clone() },
        "from 2025-01-01T00:00:00Z is not before until 2025-01-01T00:00:00Z",
    )
    .await;
    check(FetchPlan { concurrency: 0, ..good.clone() }, "concurrency is 0, expected 1 to 64").await;
    check(
        FetchPlan { archive_base_url: "data.binance.vision".to_owned(), ..good.clone() },
        "\"data.binance.vision\" is not an address, expected http:// or https://",
    )
    .await;
    assert!(bench.asked().await.is_empty() && bench.files().is_empty());
}

#[tokio::test]
async fn filters_are_fetched_through_the_same_manners() {
    let json = r#"{"symbols": [{"symbol": "BTCUSDT", "contractType": "PERPETUAL", "status": "TRADING",
        "filters": [{"filterType": "PRICE_FILTER", "tickSize": "0.10"}]}]}"#;
    let mut exchange = Exchange::default();
    exchange.files.insert("fapi/v1/exchangeInfo".to_owned(), json.as_bytes().to_vec());
    exchange.says_first("fapi/v1/exchangeInfo", 1, ResponseTemplate::new(500));
    let server = exchange.open().await;
    let table =
        filters::fetch_filters_with(Market::Perp, &server.uri(), client(), FakeTime::start()).await.unwrap();
    assert_eq!(table.filters[&symbol("BTCUSDT.P")].tick_size, Some(0.1));
}

#[tokio::test]
async fn the_real_archives_layout_is_fetched_whole() {
    let Some(folder) = real_data("archive_recon") else { return };
    let now = "2025-03-07T05:30:00Z";
    let mut exchange = Exchange { klines: 0..at(now).0, ..Exchange::default() };
    let mut folders = vec![folder.join("data")];
    while let Some(inner) = folders.pop() {
        for entry in std::fs::read_dir(inner).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
                exchange.files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    let published = exchange.files.clone();
    let bench = Bench::new(exchange).await;
    let report = bench.run(bench.plan(&["ADAUSDT", "DOGEUSDT", "SOLUSDT"], "2024-12-07", now)).await;
    for symbol in &report.symbols {
        assert_eq!(symbol.failures, []);
        assert_eq!((symbol.months, symbol.days, symbol.not_published, symbol.rest_rows), (3, 6, 0, 5));
    }
    let archive = bench.dest.path().join("archive");
    let fetched: Vec<_> = bench.files().into_iter().filter(|(path, _)| path.starts_with(&archive)).collect();
    assert_eq!(fetched.len(), 3 * 9 * 2);
    for (path, bytes) in fetched {
        assert_eq!(published[path.strip_prefix(&archive).unwrap().to_str().unwrap()], bytes);
    }
}
