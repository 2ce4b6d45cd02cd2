//! The jobs of a run, done by a process that does not coordinate it: what the run shares is read when
//! a job first needs it, and kept for the next.

use super::extra::Extra;
use super::extra::fit::{FitPass, LazyBook};
use super::extra::pass::CodesPass;
use super::lanes::{self, LaneFold};
use super::passes::{Pass, decode, encode};
use super::pools::{Pools, Variant};
use super::slopes::{Slopes, SlopesPass, unpooled_variants};
use super::statistics::{Statistics, StatisticsPass};
use super::survey::Survey;
use super::trial::explain::{ExplainPass, Judged, QuietWeeksPass, yardstick};
use super::trial::{Tables, TrialPass};
use super::{Engine, Market, part};
use crate::jobs::JobFault;
use huracan_core::encoder::{Encoder, Scaler};
use huracan_core::trial::plan::Plan;
use serde::de::DeserializeOwned;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the parts that a run shares are read.
pub trait Parts: Sync {
    /// The bytes of a part, as [`crate::jobs::Elsewhere::share`] was given them.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    fn read(&self, part: &'static str) -> Result<Vec<u8>, JobFault>;
}

#[derive(serde::Deserialize)]
struct Base {
    survey: Survey,
    market: Market,
    plan: Plan,
    units: Scaler,
}

/// Something read or made once, by whoever needs it first.
struct Once<T>(Mutex<Option<Arc<T>>>);

impl<T> Default for Once<T> {
    fn default() -> Once<T> {
        Once(Mutex::new(None))
    }
}

impl<T> Once<T> {
    fn get(&self, make: impl FnOnce() -> Result<T, JobFault>) -> Result<Arc<T>, JobFault> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*held {
            Some(there) => Ok(there.clone()),
            None => Ok(held.insert(Arc::new(make()?)).clone()),
        }
    }
}

impl<T: DeserializeOwned> Once<T> {
    fn read(&self, parts: &dyn Parts, part: &'static str) -> Result<Arc<T>, JobFault> {
        self.get(|| decode(&parts.read(part)?))
    }
}

/// What a worker knows of one run.
#[derive(Default)]
pub struct Knowledge {
    base: Once<Base>,
    statistics: Once<Statistics>,
    pools: Once<Pools>,
    models: Once<Extra>,
    extra: Once<Extra>,
    slopes: Once<Slopes>,
    judged: Once<Judged>,
    limits: Once<Vec<Option<f64>>>,
    book: LazyBook,
    lanes: Once<(Vec<Vec<LaneFold>>, Vec<Variant>)>,
    tables: Once<Tables>,
    encoder: Once<Option<Encoder>>,
}

impl Knowledge {
    /// Does the job at a position of a stage: the bytes of its result, as the coordinator opens them.
    ///
    /// # Errors
    /// The fault it ended with. A panic is the caller's to fence.
    pub fn perform(
        &self,
        engine: &Engine<'_>,
        parts: &dyn Parts,
        stage: &str,
        item: usize,
    ) -> Result<Vec<u8>, JobFault> {
        let settings = engine.settings;
        let base = self.base.read(parts, part::BASE)?;
        let Base { survey, market, plan, units } = &*base;
        if stage == StatisticsPass::STAGE {
            return done(&StatisticsPass { engine, survey, market, plan, units, known: None }, item);
        }
        let statistics = &*self.statistics.read(parts, part::STATISTICS)?;
        let pools = &*self.pools.read(parts, part::POOLS)?;
        if stage == FitPass::STAGE {
            let book = &self.book;
            return done(&FitPass { engine, survey, market, plan, statistics, pools, book }, item);
        }
        if stage == CodesPass::STAGE {
            let extra = &*self.models.read(parts, part::MODELS)?;
            return done(&CodesPass { engine, survey, market, plan, statistics, pools, extra }, item);
        }
        let extra = &*self.extra.read(parts, part::EXTRA)?;
        if stage == SlopesPass::STAGE {
            let of_fold = |f: usize| lanes::lanes(settings, pools, f);
            let made = || Ok(((0..plan.folds.len()).map(of_fold).collect(), unpooled_variants(settings)));
            let (lanes, candidates) = &*self.lanes.get(made)?;
            return done(
                &SlopesPass { engine, survey, market, plan, statistics, pools, extra, lanes, candidates },
                item,
            );
        }
        let slopes = &*self.slopes.read(parts, part::SLOPES)?;
        let tables = &*self.tables.get(|| Ok(Tables::new(settings, plan, pools)))?;
        let trial = TrialPass { engine, survey, market, plan, statistics, pools, extra, slopes, tables };
        if stage == TrialPass::STAGE {
            return done(&trial, item);
        }
        let judged = &*self.judged.read(parts, part::JUDGED)?;
        if stage == QuietWeeksPass::STAGE {
            return done(&QuietWeeksPass { trial: &trial, judged }, item);
        }
        if stage == ExplainPass::STAGE {
            let limits = &*self.limits.read(parts, part::LIMITS)?;
            let encoder = self.encoder.get(|| Ok(yardstick(pools, extra, slopes, plan, judged.lane())))?;
            return done(
                &ExplainPass { trial: &trial, judged, limits, encoder: encoder.as_ref().as_ref() },
                item,
            );
        }
        let text = format!("{stage:?} is no stage this version knows; let all machines run the same version");
        Err(JobFault::permanent("unknown_stage", text))
    }
}

fn done<P: Pass>(pass: &P, item: usize) -> Result<Vec<u8>, JobFault> {
    encode(&pass.job(item)?)
}
