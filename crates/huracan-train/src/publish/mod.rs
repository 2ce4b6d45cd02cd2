//! From an [`Outcome`] to the store, in the order of the file contracts: encoder kept, model folders
//! with their manifests, champion pointers, promotions log, encoder in force, feature bank, meta
//! learner, and the roster last.
//!
//! What lives here: what is written, and when. What does not: any figure (`engine` made them all)
//! and how a file is kept (`huracan-store`). Every time inside comes from the data, so equal inputs
//! give equal bytes, and a publication that was cut off is finished by repeating it.

mod bank;
mod champions;
mod costs;
mod encoder;
mod findings;
mod head;
mod meta_learner;
mod metrics;
mod recipe;
mod report;
mod roster;

pub use findings::{champion_events, drift_actions};
pub use report::{RunFacts, canary_facts, report_data};

use crate::engine::survey::Failed;
use crate::engine::verdicts::CoinVerdict;
use crate::engine::{Observer, Outcome};
use crate::jobs::{JobFault, JobName, Jobs, JobsError, PANICKED, Trouble};
use crate::pool::{Fenced, Interrupted, run_ordered};
use crate::settings::Settings;
use huracan_core::choose::champion::RunEvidence;
use huracan_core::words::UtcMs;
use huracan_store::formats::encoder::EncoderFile;
use huracan_store::formats::roster::Roster;
use huracan_store::models::{self, ModelArtifacts, ModelFolder, WrittenModel};
use huracan_store::{Store, StoreError};
use std::sync::atomic::{AtomicBool, Ordering};

/// Names a run in everything it writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// `{DATE}T{HHMMSS}Z-{8 hex}`.
    pub run_id: String,
    /// SHA-256 of the effective configuration.
    pub config_id: String,
    /// Version of the program.
    pub code_version: String,
}

/// What is published, and where.
pub struct Publication<'a> {
    /// Where to.
    pub store: &'a dyn Store,
    /// The run's settings.
    pub settings: &'a Settings,
    /// What the run found out.
    pub outcome: &'a Outcome,
    /// The run's names.
    pub stamp: &'a Stamp,
    /// Worker threads.
    pub workers: usize,
    /// Raised to stop; looked at until the first pointer moves.
    pub stop: &'a AtomicBool,
    /// Who watches.
    pub observer: &'a dyn Observer,
    /// Who does the jobs.
    pub jobs: &'a dyn Jobs,
}

/// What became of a publication.
#[derive(Clone, Debug)]
pub struct Published {
    /// The roster as written.
    pub roster: Roster,
    /// The encoder that this run's heads were fitted with, where one of them needs it.
    pub encoder: Option<EncoderFile>,
    /// Pointers that moved to a model of this run.
    pub champions_moved: usize,
    /// Champions that kept their place against a candidate of this run.
    pub champions_kept: usize,
    /// What champions and candidates said together; `None` where none could be compared.
    pub evidence: Option<RunEvidence>,
    /// Coins whose model could not be written.
    pub failed: Vec<Failed>,
}

/// Why nothing more was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Stopped on request, before any pointer moved.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The record of jobs cannot be used.
    #[error(transparent)]
    Jobs(#[from] JobsError),
}

/// A model of this run, written and verified.
pub(crate) struct Candidate<'a> {
    verdict: &'a CoinVerdict,
    artifacts: ModelArtifacts,
    written: WrittenModel,
}

impl Publication<'_> {
    /// End of the run's data: the time of everything that is written.
    pub(crate) fn until(&self) -> UtcMs {
        self.outcome.survey.until
    }

    /// When what is published now is too old.
    pub(crate) fn expires_at(&self) -> UtcMs {
        UtcMs(self.until().0 + (self.settings.model_ttl_days * UtcMs::DAY as f64) as i64)
    }
}

/// Publishes a run.
///
/// A coin whose model breaks a rule of its format becomes `failed`; the others go on. After an error
/// or a crash, repeating the call ends in the same bytes as if there had been none.
///
/// # Errors
/// [`PublishError::Interrupted`] before the first pointer has moved, or what the store refuses.
pub fn publish(publication: &Publication<'_>) -> Result<Published, PublishError> {
    let encoder = encoder::encoder_file(publication)?;
    if let Some(encoder) = &encoder {
        huracan_store::encoder::keep(publication.store, encoder)?;
    }
    let (candidates, failed) = write_models(publication, encoder.as_ref())?;
    if publication.stop.load(Ordering::Relaxed) {
        return Err(Interrupted.into());
    }
    let champions::Settled { standings, evidence } = champions::settle(publication, &candidates)?;
    if let Some(encoder) = &encoder {
        let id = Some(&encoder.card.encoder_id);
        let is_used = standings.iter().any(|standing| standing.champion.encoder_id.as_ref() == id);
        encoder::put_in_force(publication.store, encoder, is_used)?;
    }
    bank::publish(publication, &candidates)?;
    meta_learner::publish(publication)?;
    let roster = roster::publish(publication, &candidates, &standings, &failed)?;
    publication.observer.stage_finished(STAGE);
    Ok(Published {
        champions_moved: standings.iter().filter(|s| s.moved).count(),
        champions_kept: standings.iter().filter(|s| !s.is_candidate).count(),
        evidence,
        roster,
        encoder,
        failed,
    })
}

const STAGE: &str = "publish";

/// Writes every coin's folder, in parallel; no pointer knows of them yet.
fn write_models<'a>(
    publication: &Publication<'a>,
    encoder: Option<&EncoderFile>,
) -> Result<(Vec<Candidate<'a>>, Vec<Failed>), PublishError> {
    let verdicts = &publication.outcome.verdicts.coins;
    let shared = head::Shared::new(publication, encoder);
    let (mut candidates, mut failed) = (Vec::with_capacity(verdicts.len()), Vec::new());
    let mut broken: Option<PublishError> = None;
    publication.observer.stage_started(STAGE, verdicts.len());
    type Written = Result<Result<(ModelArtifacts, WrittenModel), StoreError>, Trouble>;
    let coin = |n: usize| publication.outcome.survey.coins[verdicts[n].index].symbol.to_string();
    let names: Vec<String> = (0..verdicts.len()).map(coin).collect();
    if publication.jobs.elsewhere().is_none() {
        publication.jobs.declare(STAGE, &names)?;
    }
    // A store that refuses one folder refuses the next: nobody waits for every one of them in turn.
    let over = AtomicBool::new(false);
    run_ordered(
        publication.workers,
        verdicts.len(),
        publication.stop,
        |n| -> Written {
            if over.load(Ordering::Relaxed) {
                return Err(JobFault::permanent("not_done", "the store failed before").into());
            }
            let write = || {
                let (artifacts, lineage) = head::artifacts(publication, &shared, &verdicts[n])?;
                let folder = ModelFolder::Baseline(publication.until());
                let written = models::write_model_folder(publication.store, folder, &artifacts, &lineage)?;
                Ok((artifacts, written))
            };
            let mut out = None;
            let mut attempt = |_: u32| {
                let done = write();
                let fault = done.as_ref().err().map(JobFault::from);
                out = Some(done);
                fault.map_or(Ok(()), Err)
            };
            let job = JobName { stage: STAGE, name: &names[n], item: n };
            let ended = publication.jobs.perform(job, &mut attempt);
            match (ended, out) {
                (Err(trouble @ Trouble::Jobs(_)), _) => Err(trouble),
                (ended, Some(done)) => {
                    let failed = matches!(&ended, Err(Trouble::Fault(fault)) if fault.surroundings);
                    over.fetch_or(failed, Ordering::Relaxed);
                    Ok(done)
                }
                (Err(fault), None) => Err(fault),
                (Ok(()), None) => Err(JobFault::permanent("not_done", "it was not done").into()),
            }
        },
        |n, result: Fenced<Written>| {
            let verdict = &verdicts[n];
            let symbol = names[n].clone();
            publication.observer.stage_advanced(STAGE, n + 1, &symbol);
            let fail = |fault: JobFault| failed.push(Failed::new(symbol, STAGE, fault));
            match result.unwrap_or_else(|panic| Err(JobFault::permanent(PANICKED, panic).into())) {
                Ok(Ok((artifacts, written))) => candidates.push(Candidate { verdict, artifacts, written }),
                Ok(Err(error @ StoreError::Refused { .. })) => fail(JobFault::from(&error)),
                Ok(Err(error)) => broken = broken.take().or(Some(error.into())),
                Err(Trouble::Fault(fault)) => fail(fault),
                Err(Trouble::Jobs(error)) => broken = broken.take().or(Some(error.into())),
            }
        },
    )?;
    match broken {
        Some(error) => Err(error),
        None => Ok((candidates, failed)),
    }
}

#[cfg(test)]
mod tests;
