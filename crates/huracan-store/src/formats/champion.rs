//! `champions/{SYMBOL}.json`: the pointer, the only truth about which model of a coin is in force.

use serde::{Deserialize, Serialize};

use super::Document;
use super::check::{self, Checked};
use super::figures::Figures;
use super::wire::{Coin, Time};

/// The whole document.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Champion {
    /// The coin.
    pub symbol: Coin,
    /// Training date of the model, `YYYYMMDD`.
    pub date: String,
    /// The model's folder, relative to the store.
    pub model_path: String,
    /// The five figures, with their window.
    pub metrics: Figures,
    /// What trading the coin costs.
    pub cost_model: CostSummary,
    /// The recipe: `features_id`.
    pub feature_recipe_hash: String,
    /// When the pointer was moved.
    pub updated_at: Time,
    /// Exactly the encoder the head needs; `null` for a head without.
    pub encoder_id: Option<String>,
    /// SHA-256 of `model.bin`.
    pub model_sha256: String,
    /// Where the model was trained.
    pub kind: ChampionKind,
    /// Whether it may be traded.
    pub trade_ok: bool,
    /// Who moved the pointer.
    pub promoted_by: PromotedBy,
    /// The champion before this one; `null` for the first.
    pub previous: Option<Previous>,
    /// 1 for the first pointer of the coin, one more with every move.
    pub revision: u64,
    /// When the model is too old to open positions.
    pub expires_at: Time,
}

/// The costs a reader of the pointer needs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CostSummary {
    /// Fee of an order that takes, one side.
    pub taker_fee_bps: f64,
    /// Fee of an order that rests, one side.
    pub maker_fee_bps: f64,
    /// Median spread.
    pub median_spread_bps: f64,
    /// One-side slippage of the reference order at one sigma.
    pub slippage_bps_per_sigma: f64,
    /// Fit date of the costs.
    pub last_updated_utc: Time,
}

/// Where a champion was trained.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChampionKind {
    /// By the Engine, under `models/`.
    Baseline,
    /// By the Mechanic, under `challengers/`.
    Challenger,
}

/// Who moved a pointer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PromotedBy {
    /// The Engine after a run.
    Engine,
    /// The Mechanic after a challenge.
    Mechanic,
    /// A person.
    Operator,
    /// The rollback rule.
    Rollback,
}

/// The champion before.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Previous {
    /// Its folder.
    pub model_path: String,
    /// SHA-256 of its `model.bin`.
    pub model_sha256: String,
    /// Its encoder.
    pub encoder_id: Option<String>,
    /// When it was replaced.
    pub replaced_at: Time,
}

impl Champion {
    /// Whether this pointer and `other` say the same about the same model, whenever, by whomever and
    /// however often they were written.
    pub fn says_the_same(&self, other: &Champion) -> bool {
        let other = Champion {
            revision: self.revision,
            updated_at: self.updated_at,
            promoted_by: self.promoted_by,
            previous: self.previous.clone(),
            ..other.clone()
        };
        *self == other
    }
}

/// A model folder of this coin and no other.
pub(crate) fn check_model_path(name: &str, symbol: &Coin, path: &str) -> Checked {
    check::store_path(name, path)?;
    let segments: Vec<&str> = path.split('/').collect();
    let fits = matches!(segments[..], ["models" | "challengers", coin, _] if coin == symbol.to_string());
    check::that(fits, || format!("{name} is {path:?}, expected a model folder of {symbol}"))
}

impl Document for Champion {
    const NAME: &'static str = "champion";

    fn check(&self) -> Checked {
        check::date("date", &self.date)?;
        check_model_path("model_path", &self.symbol, &self.model_path)?;
        let root = match self.kind {
            ChampionKind::Baseline => "models/",
            ChampionKind::Challenger => "challengers/",
        };
        check::that(self.model_path.starts_with(root), || {
            format!("model_path is {:?}, expected it under {root} as the kind says", self.model_path)
        })?;
        self.metrics.check("metrics")?;
        check::not_negative("cost_model.taker_fee_bps", self.cost_model.taker_fee_bps)?;
        check::positive("cost_model.median_spread_bps", self.cost_model.median_spread_bps)?;
        check::positive("cost_model.slippage_bps_per_sigma", self.cost_model.slippage_bps_per_sigma)?;
        check::sha256("feature_recipe_hash", &self.feature_recipe_hash)?;
        check::encoder_id("encoder_id", self.encoder_id.as_deref())?;
        check::sha256("model_sha256", &self.model_sha256)?;
        if let Some(previous) = &self.previous {
            check_model_path("previous.model_path", &self.symbol, &previous.model_path)?;
            check::sha256("previous.model_sha256", &previous.model_sha256)?;
            check::encoder_id("previous.encoder_id", previous.encoder_id.as_deref())?;
        }
        check::that(self.revision > 0, || "revision is 0, expected 1 or more".to_owned())?;
        check::that(self.revision > 1 || self.previous.is_none(), || {
            "revision is 1 and there is a previous champion, expected none before the first".to_owned()
        })
    }
}
