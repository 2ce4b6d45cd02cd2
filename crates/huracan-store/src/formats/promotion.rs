//! A line of `champions/promotions.jsonl`: what happened to a champion and why, chained by hashes so
//! that a line changed, lost or put in later shows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Document;
use super::champion::check_model_path;
use super::check::{self, Checked};
use super::figures::Figures;
use super::wire::{Coin, Time};
use crate::chained::Link;
use crate::digest::{canonical_json, sha256_hex};
use crate::error::Result;

/// The line: what happened, and its links.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Promotion {
    /// What happened.
    #[serde(flatten)]
    pub event: PromotionEvent,
    /// `hash` of the line before; `null` on the first.
    pub prev: Option<String>,
    /// SHA-256 of the canonical JSON of the event and `prev`.
    pub hash: String,
}

/// What happened to a champion.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PromotionEvent {
    /// When.
    pub at: Time,
    /// To whom.
    pub symbol: Coin,
    /// What.
    pub event: EventKind,
    /// Figures of the champion before; `null` when there was none.
    pub champion_metrics: Option<Figures>,
    /// Figures of the one that came or was refused.
    pub challenger_metrics: Option<Figures>,
    /// Each number the rule looked at; `null` where undefined.
    pub rule_values: BTreeMap<String, Option<f64>>,
    /// The rule's verdict in a sentence.
    pub promotion_reason: String,
    /// Folder of the champion before; `null` when there was none.
    pub before_model_path: Option<String>,
    /// Folder of the champion after; `null` when there is none.
    pub after_model_path: Option<String>,
    /// Who decided: `engine`, `mechanic`, an operator's name.
    pub decided_by: String,
}

/// The kinds of event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A challenger won.
    Promote,
    /// The champion before came back.
    Rollback,
    /// A run of the Engine brought a new model.
    EngineUpdate,
    /// A challenger was refused: the champion stays.
    Reject,
    /// The champion is too old or its encoder is gone.
    Expire,
}

#[derive(Serialize)]
struct Linked<'a> {
    event: &'a PromotionEvent,
    prev: Option<&'a str>,
}

impl Promotion {
    /// Chains an event to the line before.
    ///
    /// # Errors
    /// `Refused` when a number is not finite.
    pub fn chain(event: PromotionEvent, prev: Option<&str>) -> Result<Promotion> {
        let hash = sha256_hex(&canonical_json(&Linked { event: &event, prev })?);
        Ok(Promotion { event, prev: prev.map(str::to_owned), hash })
    }
}

impl Link for Promotion {
    fn prev(&self) -> Option<&str> {
        self.prev.as_deref()
    }
    fn hash(&self) -> &str {
        &self.hash
    }
}

impl Document for Promotion {
    const NAME: &'static str = "promotion";

    fn check(&self) -> Checked {
        let event = &self.event;
        check::named("promotion_reason", &event.promotion_reason)?;
        check::named("decided_by", &event.decided_by)?;
        for (name, path) in
            [("before_model_path", &event.before_model_path), ("after_model_path", &event.after_model_path)]
        {
            path.as_ref().map_or(Ok(()), |path| check_model_path(name, &event.symbol, path))?;
        }
        for (name, figures) in
            [("champion_metrics", &event.champion_metrics), ("challenger_metrics", &event.challenger_metrics)]
        {
            figures.as_ref().map_or(Ok(()), |figures| figures.check(name))?;
        }
        let after = event.after_model_path.is_some();
        match event.event {
            EventKind::Promote | EventKind::Rollback | EventKind::EngineUpdate => {
                check::that(after, || "after_model_path is null, expected the new champion".to_owned())?;
            }
            EventKind::Reject => check::that(event.before_model_path == event.after_model_path, || {
                "a reject changes the champion, expected the same path before and after".to_owned()
            })?,
            EventKind::Expire => {}
        }
        let expected = Promotion::chain(event.clone(), self.prev.as_deref()).map_err(|e| e.to_string())?;
        check::that(self.hash == expected.hash, || {
            format!("hash is {:?}, the line's content has {}", self.hash, expected.hash)
        })
    }
}
