//! The configuration as written: the keys a YAML file may hold, with their defaults.
//!
//! What lives here: one struct a group, one documented field a key, one `Default` a group. The
//! documentation of a field is the description in the JSON Schema. What does not: limits
//! ([`super::ranges`]), what the values mean together ([`super::meant`]), and constants of the
//! method, which are no settings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! groups {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty = $default:expr,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            #[serde(default, deny_unknown_fields)]
            pub struct $name { $($(#[$field_doc])* pub $field: $kind,)* }

            impl Default for $name {
                fn default() -> Self {
                    $name { $($field: $default,)* }
                }
            }
        )*
    };
}

// A macro, because it keeps every key, its documentation and its default on neighbouring lines.
groups! {
    /// Huracan's configuration. Every key may be left out; unknown keys are refused.
    Written {
        /// Every random draw of a run starts from this number.
        seed: u64 = 1,
        /// How many coins, how many at once, and what they share.
        engine: Engine = Engine::default(),
        /// The candles a run reads.
        data: Data = Data::default(),
        /// What a coin must show before it may be trained or traded.
        gates: Gates = Gates::default(),
        /// What the heads learn to predict.
        labels: Labels = Labels::default(),
        /// How history is cut into training and test spans.
        walk_forward: WalkForward = WalkForward::default(),
        /// The penalties that compete in inner validation.
        heads: Heads = Heads::default(),
        /// What a trade costs.
        costs: Costs = Costs::default(),
        /// How a score becomes a position.
        trading: Trading = Trading::default(),
        /// When a coin may be proposed for trading.
        trade_ok: TradeOk = TradeOk::default(),
        /// Coins of known truth that every run is held against before it may publish.
        canaries: Canaries = Canaries::default(),
        /// When a new model replaces the one in force.
        champion: Champion = Champion::default(),
        /// How long what is published stays fresh.
        publish: Publish = Publish::default(),
        /// Who does the jobs of a run, and when they are given up. No key below it changes a result.
        jobs: Jobs = Jobs::default(),
        /// What is told about runs besides their results; never changes results.
        observability: Observability = Observability::default(),
        /// Where results are kept. No key below it changes a result.
        store: Store = Store::default(),
    }

    /// How many coins, how many at once, and what they share.
    Engine {
        /// Coins the universe grows to.
        target_symbols: u64 = 400,
        /// Coins of the first run; each successful run grows toward the target.
        start_with_symbols: u64 = 150,
        /// Coins worked on at once; null means one a core. Never changes results.
        parallel_tasks: Option<u64> = None,
        /// The encoder all coins share.
        shared_encoder: SharedEncoder = SharedEncoder::default(),
    }

    /// The encoder all coins share.
    SharedEncoder {
        /// How codes are made from features; auto lets all kinds compete in inner validation.
        r#type: EncoderKind = EncoderKind::Auto,
        /// The largest number of principal components.
        n_components: u64 = 50,
        /// False trains every head on the coin's own features alone.
        enabled: bool = true,
        /// Smaller numbers of codes that compete with `n_components` in inner validation.
        smaller_components: Vec<u64> = vec![10, 20],
        /// Ranks of the reduced-rank regression that compete in inner validation.
        ranks: Vec<u64> = vec![3, 5, 10],
        /// The autoencoder.
        autoencoder: Autoencoder = Autoencoder::default(),
    }

    /// The autoencoder: features, hidden, codes, hidden, features.
    Autoencoder {
        /// Codes it makes.
        codes: u64 = 20,
        /// Width of the layers between features and codes.
        hidden: u64 = 128,
        /// Passes over the sampled rows, at most; training stops before when a later month gains nothing.
        epochs_max: u64 = 12,
    }

    /// The candles a run reads.
    Data {
        /// Length of a bar: 1m, 3m, 5m, 15m, 30m, 1h, 2h, 4h, 6h, 8h, 12h or 1d.
        bar: String = "1h".to_owned(),
        /// The market of files and symbols that do not say which one they belong to.
        market: MarketWord = MarketWord::Perp,
    }

    /// What a coin must show before it may be trained or traded.
    Gates {
        /// Days of history a coin needs to be trained.
        history_days_min: f64 = 60.0,
        /// Days of history a coin needs to be traded: training and the out-of-sample span.
        trade_history_days_min: f64 = 145.0,
        /// Share of expected bars that must be there, between listing and end.
        coverage_min: f64 = 0.95,
        /// The longest run of missing bars, in hours.
        missing_run_hours_max: f64 = 24.0,
        /// Share of bars without volume over the last 30 days.
        zero_volume_share_max: f64 = 0.05,
        /// Share of bars with high = low over the last 30 days.
        flat_share_max: f64 = 0.10,
        /// Median daily quote volume over the last 30 days, in the quote currency.
        adv_usd_min: f64 = 1_000_000.0,
        /// The widest median estimated spread a coin may have to be trained.
        spread_bps_max: f64 = 50.0,
        /// The widest median estimated spread a coin may have to be traded.
        trade_spread_bps_max: f64 = 25.0,
        /// Share of rows dropped for bad prices or inconsistent high and low.
        bad_rows_share_max: f64 = 0.001,
        /// Share of bars with a wick beyond a factor of two.
        wick_share_max: f64 = 0.02,
        /// A log-return across a missing run beyond this is another coin under the same name.
        gap_log_return_max: f64 = 1.5,
        /// Standard deviation over mean of the close; below it a coin counts as pegged.
        close_variation_min: f64 = 0.001,
        /// Annualised realised volatility over 30 days, percent; below it a coin counts as pegged.
        realised_vol_pct_min: f64 = 5.0,
        /// How many bars the last bar may be older than the run's `until`.
        stale_bars_max: u64 = 3,
        /// The longest stretch at the end without volume or movement, in hours.
        dead_tail_hours_max: f64 = 24.0,
        /// Share of rows off the grid beyond which the source must be of another bar.
        off_grid_share_max: f64 = 0.01,
        /// Rows that contradict another row of the same bar, share of rows.
        contradictory_share_max: f64 = 0.01,
    }

    /// What the heads learn to predict.
    Labels {
        /// raw: log return; scaled: over volatility; relative: minus the market, then scaled.
        kind: LabelKind = LabelKind::Relative,
        /// Bars from entry to exit.
        horizon_bars: u64 = 24,
        /// Bars between the decision and the entry. Zero is refused: it invents profit.
        entry_lag_bars: u64 = 1,
        /// Other horizons that are scored and reported, never traded.
        research_horizons_bars: Vec<u64> = vec![4, 12],
        /// Half-life of the volatility that scales a label, in bars.
        sigma_half_life_bars: f64 = 72.0,
        /// Scaled labels are cut off at this many sigmas.
        clip: f64 = 6.0,
    }

    /// How history is cut into training and test spans.
    WalkForward {
        /// Number of test spans.
        folds: u64 = 5,
        /// Days of one test span.
        fold_days: f64 = 30.0,
        /// Days left out before validation and test; never less than the label's window.
        embargo_days: f64 = 5.0,
        /// Days at the end of training on which choices are made before the refit.
        inner_validation_days: f64 = 30.0,
        /// Days of training a coin needs in a fold to be fitted or traded there.
        fold_train_days_min: f64 = 30.0,
    }

    /// The penalties that compete in inner validation.
    Heads {
        /// Ridge penalty over the number of rows; one for all coins.
        lambda_grid: Vec<f64> = vec![0.3, 1.0, 3.0, 10.0, 30.0, 100.0],
        /// Pull toward the pooled head. Fully pooled (infinity) always competes and is the fallback.
        tau_grid: Vec<f64> = vec![0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0],
        /// Log odds against a coin having a pattern of its own; its evidence must exceed them.
        own_log_odds_min: f64 = 3.0,
        /// Whether boosted trees compete.
        trees: bool = true,
        /// Trees of an ensemble, at most; a later month stops it before.
        trees_rounds: u64 = 200,
        /// Leaves of a tree.
        trees_leaves: u64 = 8,
        /// Principal components that trees read beside the features, in a variant of their own; 0: none.
        trees_components: u64 = 20,
        /// Rows of all coins that autoencoder and trees are fitted on, at most.
        sample_rows: u64 = 131_072,
        /// Variants that may be deployed: ridge, ridge_pca, ridge_rrr, ridge_unpooled, ridge_unpooled_pca,
        /// ridge_autoencoder, trees, trees_pca. Empty means all of them; the others are still measured.
        deploy: Vec<String> = Vec::new(),
    }

    /// What a trade costs.
    Costs {
        /// Fees of perpetual futures.
        perp: Fees = Fees { taker_bps: 5.0, maker_bps: 2.0 },
        /// Fees of spot.
        spot: Fees = Fees::default(),
        /// Funding paid by a position for each 8 hours it is held, where no history is given.
        funding_bps_per_8h: f64 = 1.0,
        /// The order size slippage is stated for, in the quote currency.
        reference_order_usd: f64 = 1_000.0,
        /// Days of candles that cost estimates look back on.
        lookback_days: f64 = 30.0,
        /// Days after which cost estimates expire.
        refit_days: f64 = 7.0,
        /// The coefficient of square-root impact where there are no fills to learn it from.
        impact: f64 = 0.7,
    }

    /// Fees of one market, one side.
    Fees {
        /// Fee of an order that takes liquidity.
        taker_bps: f64 = 10.0,
        /// Fee of an order that gives liquidity; negative is a rebate.
        maker_bps: f64 = 10.0,
    }

    /// How a score becomes a position.
    Trading {
        /// A position opens when the edge exceeds this multiple of the round-trip cost.
        entry_k_grid: Vec<f64> = vec![0.5, 1.0, 1.5, 2.0, 3.0],
        /// It closes when the edge falls below this share of the entry threshold; at -1 only when the
        /// edge has turned by the whole threshold, which holds to the horizon. Several compete in inner
        /// validation.
        exit_band_grid: Vec<f64> = vec![-1.0, 0.3],
        /// A position is smaller than the capital where one sigma of a day's return exceeds this.
        day_sigma_target_pct: f64 = 2.0,
        /// auto: hedged for relative labels on perpetuals, outright otherwise.
        book: Book = Book::Auto,
    }

    /// When a coin may be proposed for trading. Every gate is written with its value and limit.
    TradeOk {
        /// Net profit over the out-of-sample window must exceed this, percent of capital.
        net_pnl_pct_min: f64 = 0.0,
        /// Out-of-sample trades must exceed this.
        sample_size_min: u64 = 100,
        /// For horizons of a day and longer this many trades are enough …
        long_horizon_trades_min: u64 = 30,
        /// … when they make at least this many days with a position.
        long_horizon_active_days_min: u64 = 60,
        /// Annualised Sharpe ratio of daily net returns must exceed this.
        sharpe_min: f64 = 0.5,
        /// Share of trades with net > 0 must exceed this.
        hit_rate_min: f64 = 0.45,
        /// Drawdown of the net curve must stay below this.
        max_drawdown_pct_max: f64 = 20.0,
        /// Out-of-sample days a coin needs.
        oos_days_min: f64 = 85.0,
        /// False discovery rate over the run's coins (Benjamini and Hochberg).
        fdr: f64 = 0.10,
        /// Sign-flip placebos the whole universe must beat, every one.
        placebos: u64 = 16,
    }

    /// Coins of known truth that every run is held against before it may publish: twenty of noise and
    /// ten with a planted edge, made of the run's own candles.
    Canaries {
        /// False leaves them out.
        enabled: bool = true,
        /// A coin can be trade_ok only in a run whose canaries passed. Canaries that ran and failed
        /// block the publication either way.
        required: bool = true,
        /// Correlation of the planted edge with the return over 24 bars. The default is what half a
        /// year of hourly bars can tell from luck; weaker edges need more days.
        label_correlation: f64 = 0.4,
    }

    /// When a new model replaces the one in force.
    Champion {
        /// Gain in Sharpe that suffices when net profit is not worse.
        sharpe_gain_min: f64 = 0.1,
        /// Gain in net profit, in points of percent, that suffices when Sharpe is not worse.
        net_gain_pct_min: f64 = 0.5,
        /// How many points of drawdown a candidate may be worse.
        drawdown_slack_pct: f64 = 1.0,
        /// Days on which both must have been judged.
        common_days_min: u64 = 60,
        /// Out-of-sample trades a candidate needs; for horizons of a day and longer the counts of
        /// `trade_ok.long_horizon_*` suffice.
        sample_size_min: u64 = 100,
        /// False discovery rate over the run's promotions; the lower bound of a gain has the confidence
        /// of one minus it.
        fdr: f64 = 0.10,
        /// Days for which a champion that evidence or an operator has chosen is held …
        hold_days: f64 = 7.0,
        /// … during which `fdr` is multiplied with this.
        hold_fdr_factor: f64 = 0.1,
        /// Days over which a coin's choices are counted …
        flip_window_days: f64 = 30.0,
        /// … each of which multiplies `fdr` with this.
        flip_fdr_factor: f64 = 0.5,
    }

    /// How long what is published stays fresh.
    Publish {
        /// Days after which roster and models expire.
        model_ttl_days: f64 = 7.0,
    }

    /// Who does the jobs of a run, and when they are given up. No key of this group changes a result.
    Jobs {
        /// PostgreSQL database through which many machines share a run: postgres://USER@HOST/DATABASE. The
        /// password comes from PGPASSWORD or ~/.pgpass, never from here. Empty: this process does all jobs.
        url: String = String::new(),
        /// Schema of the tables there.
        schema: String = "huracan".to_owned(),
        /// How often a job is tried whose failure may pass.
        attempts_max: u64 = 4,
        /// Longest wait before the second attempt, seconds; it doubles with every other.
        retry_s: f64 = 2.0,
        /// Longest wait before any attempt, seconds.
        retry_s_max: f64 = 300.0,
        /// Seconds an attempt may take; null: as long as it takes.
        wall_cap_s: Option<f64> = None,
        /// Memory an attempt may add to its process, MiB; null: as much as it takes.
        memory_cap_mib: Option<u64> = None,
        /// Seconds after which a silent worker's jobs are given to others.
        lease_s: f64 = 30.0,
        /// Seconds that running jobs may go on after a worker was told to stop.
        drain_s: f64 = 60.0,
        /// Whether the process that coordinates a run over `url` leaves all of its jobs to others.
        coordinate_only: bool = false,
    }

    /// What is told about runs besides their results; never changes results.
    Observability {
        /// What an hour of one processor costs; null: not counted.
        usd_per_cpu_hour: Option<f64> = None,
        /// What reading 2^30 bytes costs; null: not counted.
        usd_per_gib_read: Option<f64> = None,
        /// What writing 2^30 bytes costs; null: not counted.
        usd_per_gib_written: Option<f64> = None,
        /// What a thousand requests to others cost; null: not counted.
        usd_per_1000_requests: Option<f64> = None,
        /// File that figures of the last run are written to for Prometheus, as node_exporter's textfile
        /// collector reads them; its name ends in .prom. Empty: none.
        prometheus_file: String = String::new(),
        /// Where spans of runs are sent to by OTLP over HTTP: http://localhost:4318. Empty: where
        /// OTEL_EXPORTER_OTLP_ENDPOINT says, else nowhere. Only a program built with the feature otlp sends.
        otlp_endpoint: String = String::new(),
    }
}

groups! {
    /// Where results are kept. No key of this group changes a result.
    Store {
        /// A folder, s3://BUCKET/PREFIX, or dropbox:/FOLDER. --store and HURACAN_STORE say the same.
        url: String = "huracan-store".to_owned(),
        /// The folder runs work in before they are carried to `url`; null: the folder of `url` itself, or
        /// for S3 and Dropbox one of this user, named after the URL. --store-local says the same.
        local: Option<String> = None,
        /// How often a request is made before its failure is believed.
        attempts_max: u64 = 6,
        /// Seconds after which no request is made again.
        retry_s_max: f64 = 120.0,
        /// S3 and whatever speaks its language.
        s3: StoreS3 = StoreS3::default(),
        /// Dropbox.
        dropbox: StoreDropbox = StoreDropbox::default(),
    }

    /// S3 and whatever speaks its language. Keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
    StoreS3 {
        /// Base URL of the service; null: Amazon's of the region.
        endpoint: Option<String> = None,
        /// Region of the bucket.
        region: String = "us-east-1".to_owned(),
        /// Whether the bucket is part of the path and not of the host; most services that are not
        /// Amazon's want it.
        path_style: bool = false,
    }

    /// Dropbox. Keys come from the HURACAN_DROPBOX_… variables.
    StoreDropbox {
        /// Base URL of the API.
        api_url: String = "https://api.dropboxapi.com".to_owned(),
        /// Base URL of uploads and downloads.
        content_url: String = "https://content.dropboxapi.com".to_owned(),
        /// URL that hands out access tokens.
        token_url: String = "https://api.dropboxapi.com/oauth2/token".to_owned(),
    }
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
            #[serde(rename_all = "lowercase")]
            pub enum $name { $($(#[$word_doc])* $word,)* }
        )*
    };
}

words! {
    /// How codes are made from features.
    EncoderKind {
        /// All of them compete.
        Auto,
        /// Principal components of the pooled correlation matrix.
        Pca,
        /// Reduced-rank regression of all coins' labels on the features.
        Rrr,
        /// A small denoising network trained on rows of all coins.
        Autoencoder,
    }

    /// A market, as written.
    MarketWord {
        /// Owned coins: long or flat.
        Spot,
        /// Perpetual futures: long, short or flat.
        Perp,
    }

    /// What kind of forward return is predicted.
    LabelKind {
        /// The log return itself.
        Raw,
        /// The log return over causal volatility.
        Scaled,
        /// The log return minus the market's mean, over causal volatility.
        Relative,
    }

    /// Whether a position's market exposure is hedged.
    Book {
        /// Decided by label and market.
        Auto,
        /// The position alone.
        Outright,
        /// The position minus beta times the market basket, its cost charged.
        Hedged,
    }
}
