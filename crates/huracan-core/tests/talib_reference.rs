//! The indicator, volatility, dependence and microstructure engines against trusted libraries.
//!
//! Inputs: `fixtures/reference_candles.csv`, three generated series (numpy PCG64 seeds 11, 12, 13:
//! a liquid one, a sparse one with flat bars, one that opens at the previous close), 1,200 bars of a
//! minute each. Expected values: TA-Lib 0.6 for the indicators, numpy formulas for the rest.

use huracan_core::features::dependence::{Autocorrelation, Efficiency, VarianceRatio};
use huracan_core::features::indicators::*;
use huracan_core::features::microstructure::*;
use huracan_core::features::volatility::*;
use huracan_core::features::window::Window;

struct Candle {
    open: f64,
    high: f64,
    low: f64,
    close: f64,
    volume: f64,
    taker: f64,
}

fn candles() -> Vec<Vec<Candle>> {
    let text = include_str!("fixtures/reference_candles.csv");
    let of = |symbol: &str| {
        let lines = text.lines().filter(|line| line.starts_with(symbol));
        let parse = |line: &str| {
            let cells: Vec<f64> = line.split(',').skip(1).map(|cell| cell.parse().unwrap()).collect();
            let [open, high, low, close, volume, taker] = cells[..] else { panic!("{line}") };
            Candle { open, high, low, close, volume, taker }
        };
        lines.map(parse).collect::<Vec<_>>()
    };
    ["AAAUSDT", "BBBUSDT", "CCCUSDT"].map(of).into()
}

type Engine = Box<dyn FnMut(&Candle) -> f64>;

/// An engine and how a candle is pushed into it.
fn with<E: 'static>(mut engine: E, push: impl Fn(&mut E, &Candle) -> f64 + 'static) -> Engine {
    Box::new(move |candle| push(&mut engine, candle))
}

/// A fresh engine by TA-Lib's name, in TA-Lib's units.
fn engine(name: &str) -> Engine {
    let typical = |c: &Candle| (c.high + c.low + c.close) / 3.0;
    match name {
        "RSI14" => with(Balance::new(14), |e, c| e.rsi(c.close)),
        "CMO14" => with(Balance::new(14), |e, c| 100.0 * e.cmo(c.close)),
        "ATR14" => with(Atr::new(14), |e, c| e.push(c.high, c.low, c.close)),
        "NATR14" => with(Atr::new(14), |e, c| 100.0 * e.push(c.high, c.low, c.close) / c.close),
        "ADX14" => with(Directional::new(14), |e, c| e.push(c.high, c.low, c.close).adx),
        "PLUS_DI14" => with(Directional::new(14), |e, c| e.push(c.high, c.low, c.close).plus),
        "MINUS_DI14" => with(Directional::new(14), |e, c| e.push(c.high, c.low, c.close).minus),
        "MACD" => with(Macd::new(12, 26, 9), |e, c| {
            let (line, signal) = e.push(c.close);
            if signal.is_nan() { signal } else { line }
        }),
        "MACDs" => with(Macd::new(12, 26, 9), |e, c| e.push(c.close).1),
        "MACDh" => with(Macd::new(12, 26, 9), |e, c| {
            let (line, signal) = e.push(c.close);
            line - signal
        }),
        "BBu" => with(Bands::new(20), |e, c| {
            let (mean, deviation) = e.push(c.close);
            mean + 2.0 * deviation
        }),
        "BBl" => with(Bands::new(20), |e, c| {
            let (mean, deviation) = e.push(c.close);
            mean - 2.0 * deviation
        }),
        "BBm" | "SMA20" => with(Bands::new(20), |e, c| e.push(c.close).0),
        "STDDEV20" => with(Bands::new(20), |e, c| e.push(c.close).1),
        "STOCHk" => with(Stochastic::new(14, 3, 3), |e, c| e.push(c.high, c.low, c.close).0),
        "STOCHd" => with(Stochastic::new(14, 3, 3), |e, c| e.push(c.high, c.low, c.close).1),
        "CCI20" => with(Cci::new(20), move |e, c| e.push(typical(c))),
        "MFI14" => with(MoneyFlow::new(14), move |e, c| 50.0 + 50.0 * e.push(typical(c), c.volume)),
        "OBV" => with(OnBalance::default(), |e, c| e.push(c.close, c.volume)),
        "EMA20" => with(Ema::new(20), |e, c| e.push(c.close)),
        "WILLR14" => with(Williams::new(14), |e, c| e.push(c.high, c.low, c.close)),
        "ROC10" => with(RateOfChange::new(10), |e, c| e.push(c.close)),
        "SLOPE20" => with(Regression::new(20), |e, c| e.push(c.close).map_or(f64::NAN, |line| line.slope())),
        "AROONOSC25" => with(Aroon::new(25), |e, c| e.push(c.high, c.low)),
        "TRIX15" => with((TripleEma::new(15), RateOfChange::new(1)), |(triple, change), c| {
            change.push(triple.push(c.close))
        }),
        "ADOSC" => with(Chaikin::new(3, 10), |e, c| e.push(close_location(c.high, c.low, c.close), c.volume)),
        other => panic!("no engine for {other}"),
    }
}

/// Relative difference, against 1e-6 where the expected value is next to nothing.
fn off(found: f64, expected: f64) -> f64 {
    (found - expected).abs() / expected.abs().max(1e-6)
}

#[test]
fn indicators_equal_talib() {
    for (series, symbol) in candles().iter().zip(0..) {
        for (name, first, expected) in TALIB {
            let mut engine = engine(name);
            let values: Vec<f64> = series.iter().map(&mut engine).collect();
            assert_eq!(values.iter().position(|v| !v.is_nan()), Some(first), "{name}: first value");
            for (bar, expected) in [60, 600, 1199].into_iter().zip(expected[symbol]) {
                let found = values[bar];
                assert!(off(found, expected) < 1e-8, "{name} of {symbol} at {bar}: {found}, not {expected}");
            }
        }
    }
}

/// Every figure of [`WINDOW_500`] after the first 500 bars.
fn window_500(series: &[Candle]) -> Vec<(&'static str, f64)> {
    let n = 500;
    let bars = &series[..n];
    let log = |pick: fn(&Candle) -> f64| bars.iter().map(|c| pick(c).ln()).collect::<Vec<f64>>();
    let (o, h, l, c) = (log(|c| c.open), log(|c| c.high), log(|c| c.low), log(|c| c.close));
    let returns: Vec<f64> = (1..n).map(|i| c[i] - c[i - 1]).collect();
    let last = |mut f: Box<dyn FnMut(f64) -> f64>| returns.iter().fold(f64::NAN, |_, &r| f(r));

    let mut close = SampleVariance::new(n - 1);
    let (mut pk, mut gk, mut rs) = (Mean::new(n), Mean::new(n), Mean::new(n));
    let (mut yz, mut cs, mut cs_cut) = (YangZhang::new(n - 1), Mean::new(n - 1), Mean::new(n - 1));
    let (mut ar, mut roll) = (AbdiRanaldo::new(n - 1), Roll::new(n - 2));
    let [mut v_pk, mut v_gk, mut v_rs, mut v_yz, mut v_close] = [f64::NAN; 5];
    let [mut v_cs, mut v_cut, mut v_ar, mut v_roll] = [f64::NAN; 4];
    for i in 0..n {
        let term = rogers_satchell(o[i], h[i], l[i], c[i]);
        v_pk = pk.push(parkinson(h[i] - l[i]));
        v_gk = gk.push(garman_klass(h[i] - l[i], c[i] - o[i]));
        v_rs = rs.push(term);
        v_ar = ar.push(h[i], l[i], c[i]);
        if i > 0 {
            v_close = close.push(c[i] - c[i - 1]);
            v_yz = yz.push(o[i] - c[i - 1], c[i] - o[i], term);
            let spread = corwin_schultz((h[i - 1], l[i - 1]), (h[i], l[i]));
            v_cs = cs.push(spread);
            v_cut = cs_cut.push(spread.max(0.0));
            v_roll = roll.push(c[i] - c[i - 1]);
        }
    }
    let sigma = v_close.sqrt();
    let (mut realised, mut bipower) = (f64::NAN, f64::NAN);
    let mut parts = Bipower::new(n - 1);
    let (mut up, mut down) = (f64::NAN, f64::NAN);
    let mut semi = Semivariance::new(n - 1);
    let (mut shape, mut skew, mut kurtosis) = (Shape::new(n - 1), f64::NAN, f64::NAN);
    for &r in &returns {
        (realised, bipower) = parts.push(r);
        (up, down) = semi.push(r);
        (skew, kurtosis) = shape.push(r);
    }
    let (mut amihud, mut bulk, mut vpin) = (Amihud::new(n - 1), Imbalance::new(n - 1), Imbalance::new(50));
    let (mut kyle, mut kyle_taker, mut taker) = (Kyle::new(n - 1), Kyle::new(n - 1), Imbalance::new(n));
    let [mut v_amihud, mut v_bulk, mut v_vpin, mut v_kyle, mut v_kyle_taker, mut v_taker] = [f64::NAN; 6];
    for (i, bar) in bars.iter().enumerate() {
        let signed = 2.0 * bar.taker - bar.volume;
        v_taker = taker.push(signed, bar.volume).0;
        if i > 0 {
            let (r, quote) = (returns[i - 1], bar.volume * bar.close);
            let imbalance = bulk_imbalance(r / sigma) * quote;
            let impact = if quote > 0.0 { r.abs() / quote } else { 0.0 };
            v_amihud = amihud.push(impact, f64::from(quote > 0.0));
            v_bulk = bulk.push(imbalance, quote).0;
            v_vpin = vpin.push(imbalance, quote).1;
            v_kyle = kyle.lambda(imbalance, r);
            v_kyle_taker = kyle_taker.lambda(signed, r);
        }
    }
    let mut ewma = EwmaVariance::new(0.06);
    let mut ratio = VarianceRatio::new(8, n - 1);
    let mut auto = Autocorrelation::new(1, n - 2);
    let mut efficiency = Efficiency::new(96);
    vec![
        ("close_close_std_ddof1", sigma),
        ("parkinson", v_pk.sqrt()),
        ("garman_klass", v_gk.sqrt()),
        ("rogers_satchell", v_rs.sqrt()),
        ("yang_zhang", v_yz.sqrt()),
        ("realized_var", realised),
        ("bipower_var", bipower),
        ("semivar_up", up),
        ("semivar_dn", down),
        ("ewma_var_lambda094_init_first_r2", last(Box::new(move |r| ewma.push(r)))),
        ("amihud_1e6", v_amihud * 1e6),
        ("bvc_imbalance_ratio", v_bulk),
        ("vpin_time_bars_50", v_vpin),
        ("kyle_lambda_ols", v_kyle),
        ("taker_imbalance", v_taker),
        ("kyle_lambda_taker", v_kyle_taker),
        ("variance_ratio_8", last(Box::new(move |r| ratio.push(r)))),
        ("autocorr1", last(Box::new(move |r| auto.push(r)))),
        ("efficiency_ratio_96", last(Box::new(move |r| efficiency.push(r)))),
        ("abdi_ranaldo", v_ar),
        ("corwin_schultz_mean_raw", v_cs),
        ("corwin_schultz_mean_clipped0", v_cut),
        ("roll", v_roll),
        ("skew", skew),
        ("kurtosis", kurtosis),
    ]
}

#[test]
fn volatility_dependence_and_microstructure_equal_the_formulas() {
    for (series, symbol) in candles().iter().zip(0..) {
        let found = window_500(series);
        assert_eq!(found.len(), WINDOW_500.len());
        for ((name, found), (expected_name, expected)) in found.into_iter().zip(WINDOW_500) {
            let expected = expected[symbol];
            assert_eq!(name, expected_name);
            let relative = (found / expected - 1.0).abs();
            assert!(relative < 1e-9, "{name} of {symbol}: {found}, not {expected}");
        }
    }
}

#[test]
fn a_window_engine_forgets_a_shock_a_million_times_the_usual_size() {
    let series = &candles()[0];
    let n = 48;
    let returns: Vec<f64> = series.windows(2).map(|w| (w[1].close / w[0].close).ln()).collect();
    let mut shocked = returns.clone();
    shocked[200] *= 1e6;
    let run = |returns: &[f64]| {
        let (mut shape, mut ratio, mut sums) = (Shape::new(n), VarianceRatio::new(8, n), Window::new(n));
        let each = |&r: &f64| {
            let (skew, kurtosis) = shape.push(r);
            [skew, kurtosis, ratio.push(r), sums.push([r * r])[0]]
        };
        returns.iter().map(each).collect::<Vec<_>>()
    };
    let (clean, after) = (run(&returns), run(&shocked));
    for i in 200 + n..returns.len() {
        for k in 0..4 {
            assert!(off(after[i][k], clean[i][k]) < 1e-9, "bar {i}, figure {k}");
        }
    }
}

/// Name, bar of the first value, value at bars 60, 600 and 1199 of each symbol.
const TALIB: [(&str, usize, [[f64; 3]; 3]); 27] = [
    (
        "RSI14",
        14,
        [
            [45.45220377356113, 44.405277778348406, 34.38669315077886],
            [49.70564291672634, 49.82828057112784, 51.22898918357032],
            [27.631922505017396, 34.85182087010628, 36.07469540886491],
        ],
    ),
    (
        "ATR14",
        14,
        [
            [0.19651160854387406, 0.16124713405279875, 0.1886486363565018],
            [0.00017011380313670677, 0.00015919644107634132, 0.00016940580267387961],
            [3.347015365649477, 3.826670808708564, 3.504289889745334],
        ],
    ),
    (
        "NATR14",
        14,
        [
            [0.19604468073410888, 0.15838379546933082, 0.18508823717146883],
            [0.33815414321182585, 0.31101882387672125, 0.32905121287117245],
            [0.16766744521507487, 0.19004075777848256, 0.17689952440540835],
        ],
    ),
    (
        "ADX14",
        27,
        [
            [11.117183504705025, 12.00264422705701, 20.518328083053746],
            [8.8735161979529, 10.614642797934073, 18.397080414899452],
            [24.200274623018778, 29.77717837318489, 21.599832452612215],
        ],
    ),
    (
        "PLUS_DI14",
        14,
        [
            [16.61293198031963, 16.10576109783855, 10.972448609565582],
            [22.263272301373952, 29.173305012880512, 31.574144590409396],
            [12.564732289393588, 13.051957332200567, 13.897400064674272],
        ],
    ),
    (
        "MINUS_DI14",
        14,
        [
            [24.306239417008005, 20.723296121904713, 29.284938951602076],
            [21.84944793803005, 29.249863423306955, 31.21106954680823],
            [27.02082149094999, 22.085442284414796, 25.48192343460059],
        ],
    ),
    (
        "MACD",
        33,
        [
            [0.031167608376364342, -0.01638240221669207, -0.10344435005328023],
            [7.5132411773704e-05, -3.110011187664602e-05, 9.579196406500623e-05],
            [-3.0918588245995124, -4.770632210409303, -2.7311258393490334],
        ],
    ),
    (
        "MACDs",
        33,
        [
            [0.04501344067254783, -0.0033070430748316114, -0.052909573672703165],
            [8.766107070109508e-05, -1.628087416410978e-05, 0.00012609572200693813],
            [-1.9579011472447738, -4.530842942590451, -2.1491853962347127],
        ],
    ),
    (
        "MACDh",
        33,
        [
            [-0.01384583229618349, -0.013075359141860459, -0.050534776380577066],
            [-1.2528658927391084e-05, -1.4819237712536238e-05, -3.0303757941931898e-05],
            [-1.1339576773547386, -0.23978926781885246, -0.5819404431143207],
        ],
    ),
    (
        "BBu",
        19,
        [
            [100.64782905169385, 102.12479016748654, 102.7806732336266],
            [0.0506407526672397, 0.0514221569459223, 0.0518455113478853],
            [2014.7835267921673, 2030.5156502241528, 1997.2256561770846],
        ],
    ),
    (
        "BBm",
        19,
        [
            [100.40057346362211, 101.93986540914908, 102.3418328047492],
            [0.05036483043948155, 0.05120452518815477, 0.05151735114893197],
            [2004.6254726796753, 2019.5409384142063, 1987.0707293164567],
        ],
    ),
    (
        "BBl",
        19,
        [
            [100.15331787555037, 101.75494065081162, 101.9029923758718],
            [0.0500889082117234, 0.05098689343038724, 0.05118919094997863],
            [1994.4674185671834, 2008.5662266042598, 1976.9158024558287],
        ],
    ),
    (
        "STOCHk",
        17,
        [
            [41.58651588159371, 32.381396025834896, 2.2433109197055385],
            [56.06246508016073, 21.71248598538379, 39.07366238554314],
            [10.254184368509977, 13.82664961136745, 14.344683897158461],
        ],
    ),
    (
        "STOCHd",
        17,
        [
            [58.62092247769882, 38.94823579823464, 19.01147146251898],
            [60.816687987835046, 30.28684713114583, 56.46018591149831],
            [8.470111394666164, 11.063136799222766, 20.353447238973544],
        ],
    ),
    (
        "CCI20",
        19,
        [
            [-115.24642400884771, -101.04657089993754, -142.71677660121955],
            [15.830557089411746, -16.113528628122957, -13.152635887558779],
            [-124.30042146253356, -82.95981192718789, -86.91020115974256],
        ],
    ),
    (
        "MFI14",
        14,
        [
            [55.369330279180595, 38.26720600607309, 28.213202619933124],
            [52.30312015217478, 36.017719865288804, 50.87200512147384],
            [23.653456245242502, 51.69600042307064, 33.99322984409453],
        ],
    ),
    (
        "OBV",
        0,
        [
            [88.84261356483168, -104.2145931153979, -178.43217818306567],
            [53.096974905727436, 32.20977082125933, 102.91744322161624],
            [24.992772395778495, 356.2320346919303, 455.8388571618828],
        ],
    ),
    (
        "EMA20",
        19,
        [
            [100.38965196296056, 101.90147929887274, 102.35535980638112],
            [0.05035681075499526, 0.05118175171283706, 0.051492930101138965],
            [2002.9558078037205, 2019.0997002690763, 1985.754041985997],
        ],
    ),
    (
        "SMA20",
        19,
        [
            [100.40057346362211, 101.93986540914908, 102.3418328047492],
            [0.05036483043948155, 0.05120452518815477, 0.05151735114893197],
            [2004.6254726796753, 2019.5409384142063, 1987.0707293164567],
        ],
    ),
    (
        "WILLR14",
        13,
        [
            [-82.98030262094346, -78.03428397902398, -97.06135509465042],
            [-73.08412577249213, -45.61490732776373, -64.19959472198012],
            [-93.03568803566266, -84.81754578169696, -88.50310919102162],
        ],
    ),
    (
        "ROC10",
        10,
        [
            [0.05185374740035442, -0.07917582266715462, -0.6198012537669606],
            [0.038714489819779985, -0.2066045748721379, -0.058167245837947856],
            [-0.5721717164380191, -0.3663064509753622, -0.18868437779180347],
        ],
    ),
    (
        "SLOPE20",
        19,
        [
            [0.003768952433356868, -0.010978625987098846, 0.0005570436424542485],
            [1.4587578634239562e-05, -9.031945033975666e-06, 1.4721788691617307e-05],
            [-0.8512798024366672, -0.9010477216005381, -0.7516801119571958],
        ],
    ),
    (
        "STDDEV20",
        19,
        [
            [0.12362779403587129, 0.0924623791687297, 0.2194202144386964],
            [0.00013796111387907474, 0.00010881587888376731, 0.00016408009947666677],
            [5.079027056245944, 5.487355904973286, 5.077463430313944],
        ],
    ),
    ("AROONOSC25", 25, [[28.0, -60.0, -100.0], [64.0, -96.0, 80.0], [-76.0, -92.0, -48.0]]),
    (
        "CMO14",
        14,
        [
            [-9.095592452877755, -11.189444443303161, -31.22661369844228],
            [-0.5887141665473187, -0.3434388577443357, 2.45797836714065],
            [-44.73615498996516, -30.296358259787436, -27.850609182270166],
        ],
    ),
    (
        "TRIX15",
        43,
        [
            [0.005855805313847995, 0.0006345025980403207, -0.008433838721799702],
            [0.02667682518424641, -0.004852234170715786, 0.03800993770159966],
            [-0.012837899787232487, -0.033203874837639535, -0.014941588193317923],
        ],
    ),
    (
        "ADOSC",
        9,
        [
            [6.2694108818575955, -10.218010214438891, -25.218795819665814],
            [3.0254128796744624, -4.035384588800667, 2.2446692181159733],
            [-13.512952549880067, -2.155957084268721, -8.345509181061857],
        ],
    ),
];

/// Name and value over the first 500 bars of each symbol.
const WINDOW_500: [(&str, [f64; 3]); 25] = [
    ("close_close_std_ddof1", [0.0012637923640053852, 0.0024750354341517016, 0.0011560348014492624]),
    ("parkinson", [0.0010342501408087147, 0.001417650210548593, 0.0011177664095474236]),
    ("garman_klass", [0.0010009866078589437, 0.0011183429397111416, 0.001102951042234589]),
    ("rogers_satchell", [0.0010503966147488012, 0.0010959654397687318, 0.0011764198835630525]),
    ("yang_zhang", [0.0013460338194772065, 0.0026933375676625854, 0.0011738241125925667]),
    ("realized_var", [0.0007972149480707754, 0.003050918225516927, 0.0006663946560023807]),
    ("bipower_var", [0.0008112249702307411, 0.0028305044899438175, 0.000632168736076535]),
    ("semivar_up", [0.00044863976809535547, 0.0015261087403125643, 0.0003502784647028174]),
    ("semivar_dn", [0.00034857517997541993, 0.0015248094852043624, 0.0003161161912995634]),
    (
        "ewma_var_lambda094_init_first_r2",
        [1.2288692590460794e-06, 7.974150640335792e-06, 1.5113357360854128e-06],
    ),
    ("amihud_1e6", [1.1595630124905483, 26900.748847691662, 0.053789903068724235]),
    ("bvc_imbalance_ratio", [0.018902692807734572, 0.0036176937056654605, 0.024190836451056432]),
    ("vpin_time_bars_50", [0.39670748118587507, 0.5579124126772577, 0.5220680763888412]),
    ("kyle_lambda_ols", [1.4165130770230785e-06, 0.01357360010988037, 6.25473767068799e-08]),
    ("taker_imbalance", [-0.027213608144792095, -0.020627857839107467, 0.006055643343591896]),
    ("kyle_lambda_taker", [1.1410502060636384e-05, 0.00019559328287137298, 5.55056829989546e-06]),
    ("variance_ratio_8", [0.5186549226995301, 0.39333631990209195, 0.8096434390985353]),
    ("autocorr1", [-0.21376028008438827, -0.29680198155068704, -0.10963698171035847]),
    ("efficiency_ratio_96", [0.07200873365705665, -0.08821116899954068, 0.08725264960951319]),
    ("abdi_ranaldo", [0.0008829745302834377, 0.002013961662636429, 0.0008487905389824467]),
    ("corwin_schultz_mean_raw", [-7.310942136679074e-05, -0.0014072679056277024, 0.00029277730821447334]),
    ("corwin_schultz_mean_clipped0", [0.00043291893280500025, 0.0003025201347113181, 0.0005755600011969014]),
    ("roll", [0.0011666196943889316, 0.002691224645294539, 0.0007645212734064609]),
    ("skew", [0.15870899247383155, -0.04518502618621275, -0.0186296430997068]),
    ("kurtosis", [3.0679618677259954, 2.8711238054689976, 2.9922485920523805]),
];
