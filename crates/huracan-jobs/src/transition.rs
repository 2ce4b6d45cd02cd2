//! What may happen to a job, and what it changes: plain functions on rows, told the time.
//!
//! Ledger and queue read a row, let one of these change it, and write the row and the line of
//! history back in one transaction. Nothing else decides what a status means.

use crate::{
    error::{Error, Result},
    retry::{Next, RetryPolicy},
    words::{AttemptRow, Event, JobError, JobId, JobRow, NewJob, Status, Usage},
};

/// Crashes beside others after which a job is run alone.
pub(crate) const CRASHES_SUSPECT: u32 = 3;
/// Crashes alone that condemn a job.
pub(crate) const CRASHES_ALONE_MAX: u32 = 3;
/// Code of a job that was cancelled.
pub(crate) const CANCELLED: &str = "cancelled";

impl JobRow {
    /// A line of history about the row as it is now.
    pub(crate) fn line(&self, event: Event, reason: Option<String>, now_ms: i64) -> AttemptRow {
        AttemptRow {
            event,
            attempt: self.attempt,
            worker: self.worker.clone(),
            key: self.key.clone(),
            digest: None,
            reason,
            at_ms: now_ms,
        }
    }

    fn refuse<T>(&self, wanted: &'static str) -> Result<T> {
        let worker = self.worker.clone().filter(|_| self.status == Status::Running);
        Err(Error::NotAllowed { job: self.id.clone(), status: self.status, worker, wanted })
    }

    /// Puts the job back to where a new one is, under `key`.
    fn renew(&mut self, key: &str) {
        self.key = key.to_owned();
        self.status = Status::Pending;
        self.attempt = 0;
        self.crashes = 0;
        self.crashes_alone = 0;
        self.alone = false;
        self.worker = None;
        self.digest = None;
        self.not_before_ms = None;
        self.started_at_ms = None;
        self.finished_at_ms = None;
        self.usage = None;
        self.error = None;
        self.reason = None;
        self.dead = false;
        self.cancel_requested = false;
    }

    /// Declared once more. The same key changes nothing but the priority; another one begins anew.
    pub(crate) fn redeclare(&mut self, job: &NewJob, now_ms: i64) -> Result<Option<AttemptRow>> {
        let same = self.key == job.key;
        if !same && self.status == Status::Running {
            return self.refuse("given another key");
        }
        self.index = job.index;
        self.priority = job.priority;
        self.max_attempts = job.max_attempts;
        self.caps = job.caps;
        if same {
            return Ok(None);
        }
        self.renew(&job.key);
        Ok(Some(self.line(Event::Declared, None, now_ms)))
    }

    /// A worker begins an attempt.
    pub(crate) fn start(&mut self, worker: &str, alone: bool, now_ms: i64) -> Result<AttemptRow> {
        if self.status != Status::Pending {
            return self.refuse("started");
        }
        self.status = Status::Running;
        self.attempt += 1;
        self.alone = alone;
        self.worker = Some(worker.to_owned());
        self.not_before_ms = None;
        self.started_at_ms = Some(now_ms);
        self.finished_at_ms = None;
        Ok(self.line(if alone { Event::StartedAlone } else { Event::Started }, None, now_ms))
    }

    /// A result came in. The first one counts, whoever brings it and however late; an equal one is
    /// noted; a different one is noted as `Nondeterministic` and changes nothing.
    pub(crate) fn complete(
        &mut self,
        worker: Option<&str>,
        digest: &str,
        usage: Usage,
        now_ms: i64,
    ) -> Result<AttemptRow> {
        let event = match (self.status, self.digest.as_deref()) {
            (Status::Completed, Some(recorded)) if recorded == digest => Event::Repeated,
            (Status::Completed, _) => Event::Nondeterministic,
            (Status::Skipped, _) => return self.refuse("completed"),
            (Status::Pending | Status::Running | Status::Failed, _) => Event::Completed,
        };
        if event == Event::Completed {
            self.status = Status::Completed;
            self.digest = Some(digest.to_owned());
            self.usage = Some(usage);
            self.worker = worker.map(str::to_owned).or_else(|| self.worker.take());
            self.finished_at_ms = Some(now_ms);
            self.not_before_ms = None;
            self.error = None;
            self.dead = false;
            self.cancel_requested = false;
        }
        let mut line = self.line(event, None, now_ms);
        line.digest = Some(digest.to_owned());
        line.worker = worker.map(str::to_owned).or(line.worker);
        if event == Event::Nondeterministic {
            line.reason = self.digest.as_ref().map(|recorded| format!("{recorded} is recorded"));
        }
        Ok(line)
    }

    /// The attempt ended in an error: another one later, or none.
    pub(crate) fn fail(
        &mut self,
        error: &JobError,
        policy: &RetryPolicy,
        now_ms: i64,
    ) -> Result<(AttemptRow, Next)> {
        if self.status.is_final() {
            return self.refuse("failed");
        }
        let policy =
            RetryPolicy { max_attempts: self.max_attempts.unwrap_or(policy.max_attempts), ..*policy };
        let next = policy.next(self.id.seed(), self.attempt, error);
        self.error = Some(error.clone());
        let event = match next {
            Next::Again { delay_s } => {
                self.status = Status::Pending;
                self.not_before_ms = Some(now_ms.saturating_add((delay_s * 1000.0) as i64));
                Event::Retried
            }
            Next::Never => {
                self.bury(now_ms);
                Event::Failed
            }
        };
        Ok((self.line(event, Some(error.to_string()), now_ms), next))
    }

    fn bury(&mut self, now_ms: i64) {
        self.status = Status::Failed;
        self.dead = true;
        self.cancel_requested = false;
        self.not_before_ms = None;
        self.finished_at_ms = Some(now_ms);
    }

    /// Decided not to be done.
    pub(crate) fn skip(&mut self, reason: &str, now_ms: i64) -> Result<AttemptRow> {
        if self.status == Status::Completed || self.status == Status::Failed {
            return self.refuse("skipped");
        }
        self.status = Status::Skipped;
        self.reason = Some(reason.to_owned());
        self.cancel_requested = false;
        self.not_before_ms = None;
        self.finished_at_ms = Some(now_ms);
        Ok(self.line(Event::Skipped, Some(reason.to_owned()), now_ms))
    }

    /// The worker is dead. An attempt that was cut off does not count as one; a crash does, and
    /// enough of them with nothing else running condemn the job.
    pub(crate) fn orphan(&mut self, now_ms: i64) -> AttemptRow {
        if self.cancel_requested {
            let line = self.skip(CANCELLED, now_ms);
            return line.unwrap_or_else(|_| self.line(Event::Orphaned, None, now_ms));
        }
        let line = self.line(Event::Orphaned, Some(format!("{} is gone", self.worker_name())), now_ms);
        if self.alone {
            self.crashes_alone += 1;
        } else {
            self.crashes += 1;
        }
        self.status = Status::Pending;
        self.attempt = self.attempt.saturating_sub(1);
        if self.crashes_alone >= CRASHES_ALONE_MAX {
            let text = format!("its process died {} times with nothing else running", self.crashes_alone);
            self.error = Some(JobError::permanent("job_kills_process", text));
            self.bury(now_ms);
        }
        line
    }

    /// Given back undone by a worker that stops: as if it had not been started.
    pub(crate) fn hand_back(&mut self, now_ms: i64) -> Result<AttemptRow> {
        if self.status != Status::Running {
            return self.refuse("handed back");
        }
        let line = self.line(Event::HandedBack, None, now_ms);
        self.status = Status::Pending;
        self.attempt = self.attempt.saturating_sub(1);
        Ok(line)
    }

    /// Asked to stop: what waits is skipped at once, what runs is told. `None` where nothing changes.
    pub(crate) fn cancel(&mut self, now_ms: i64) -> Option<AttemptRow> {
        match self.status {
            Status::Pending => self.skip(CANCELLED, now_ms).ok(),
            Status::Running if !self.cancel_requested => {
                self.cancel_requested = true;
                Some(self.line(Event::Cancelled, None, now_ms))
            }
            _ => None,
        }
    }

    /// Tried again by hand: failed jobs, and skipped ones that were cancelled. `None` for others.
    pub(crate) fn retry(&mut self, now_ms: i64) -> Option<AttemptRow> {
        let cancelled = self.status == Status::Skipped && self.reason.as_deref() == Some(CANCELLED);
        if self.status != Status::Failed && !cancelled {
            return None;
        }
        self.renew(&self.key.clone());
        Some(self.line(Event::Reset, Some("tried again by hand".to_owned()), now_ms))
    }

    /// The recorded result is gone or unusable: to be done again.
    pub(crate) fn lose(&mut self, reason: &str, now_ms: i64) -> Result<AttemptRow> {
        if self.status != Status::Completed {
            return self.refuse("done again");
        }
        self.renew(&self.key.clone());
        Ok(self.line(Event::Reset, Some(reason.to_owned()), now_ms))
    }

    fn worker_name(&self) -> &str {
        self.worker.as_deref().unwrap_or("its worker")
    }
}

/// A job nobody has touched.
pub(crate) fn fresh(run: &str, stage: &str, job: &NewJob) -> JobRow {
    JobRow {
        id: JobId::new(run, stage, &job.symbol),
        index: job.index,
        key: job.key.clone(),
        priority: job.priority,
        status: Status::Pending,
        attempt: 0,
        max_attempts: job.max_attempts,
        crashes: 0,
        crashes_alone: 0,
        alone: false,
        worker: None,
        digest: None,
        not_before_ms: None,
        started_at_ms: None,
        finished_at_ms: None,
        usage: None,
        error: None,
        reason: None,
        dead: false,
        cancel_requested: false,
        caps: job.caps,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy { max_attempts: 2, base_s: 1.0, cap_s: 60.0 };

    fn pending() -> JobRow {
        fresh("r", "s", &NewJob::new("BTCUSDT", "k1"))
    }

    fn running() -> JobRow {
        let mut row = pending();
        row.start("w1", false, 10).unwrap();
        row
    }

    fn completed() -> JobRow {
        let mut row = running();
        row.complete(Some("w1"), "d1", Usage::default(), 20).unwrap();
        row
    }

    #[test]
    fn a_job_is_started_once() {
        let mut row = running();
        assert_eq!((row.status, row.attempt, row.started_at_ms), (Status::Running, 1, Some(10)));
        let error = row.start("w2", false, 11).unwrap_err();
        assert_eq!(error.to_string(), "job r/s/BTCUSDT is running by w1: cannot be started");
    }

    #[test]
    fn the_first_digest_counts_an_equal_one_repeats_another_is_refused() {
        let mut row = completed();
        assert_eq!((row.status, row.digest.as_deref()), (Status::Completed, Some("d1")));
        assert_eq!(row.complete(Some("w2"), "d1", Usage::default(), 30).unwrap().event, Event::Repeated);
        let line = row.complete(Some("w2"), "d2", Usage::default(), 31).unwrap();
        assert_eq!((line.event, line.digest.as_deref()), (Event::Nondeterministic, Some("d2")));
        assert_eq!((row.digest.as_deref(), row.worker.as_deref()), (Some("d1"), Some("w1")));
    }

    #[test]
    fn a_late_result_is_taken_where_there_is_none() {
        let mut row = running();
        row.fail(&JobError::permanent("x", "y"), &POLICY, 12).unwrap();
        assert!(row.dead);
        row.complete(Some("w1"), "d1", Usage::default(), 30).unwrap();
        assert_eq!((row.status, row.dead, row.error), (Status::Completed, false, None));
    }

    #[test]
    fn the_same_key_stays_completed_and_another_begins_anew() {
        let mut row = completed();
        let job = |key| NewJob { priority: 5, ..NewJob::new("BTCUSDT", key) };
        assert_eq!(row.redeclare(&job("k1"), 40).unwrap(), None);
        assert_eq!((row.status, row.priority), (Status::Completed, 5));
        row.redeclare(&job("k2"), 40).unwrap().unwrap();
        assert_eq!((row.status, row.attempt, row.digest), (Status::Pending, 0, None));
        assert!(running().redeclare(&job("k2"), 40).is_err());
    }

    #[test]
    fn attempts_are_exhausted_into_the_dead_letters() {
        let mut row = running();
        let error = JobError::transient("net", "reset");
        let (line, next) = row.fail(&error, &POLICY, 1000).unwrap();
        let Next::Again { delay_s } = next else { panic!("{next:?}") };
        assert_eq!((line.event, row.status), (Event::Retried, Status::Pending));
        assert_eq!(row.not_before_ms, Some(1000 + (delay_s * 1000.0) as i64));
        row.start("w1", false, 2000).unwrap();
        let (line, next) = row.fail(&error, &POLICY, 3000).unwrap();
        assert_eq!(
            (line.event, next, row.status, row.dead),
            (Event::Failed, Next::Never, Status::Failed, true)
        );
        assert!(row.fail(&error, &POLICY, 3001).is_err());
    }

    #[test]
    fn crashes_beside_others_condemn_nobody() {
        let mut row = pending();
        for _ in 0..50 {
            row.start("w1", false, 1).unwrap();
            row.orphan(2);
        }
        assert_eq!((row.status, row.attempt, row.crashes), (Status::Pending, 0, 50));
    }

    #[test]
    fn three_crashes_alone_condemn_a_job() {
        let mut row = pending();
        for crash in 1..=3 {
            assert_eq!(row.status, Status::Pending);
            row.start("w1", true, 1).unwrap();
            assert_eq!(row.orphan(2).event, Event::Orphaned);
            assert_eq!(row.crashes_alone, crash);
        }
        assert_eq!((row.status, row.dead), (Status::Failed, true));
        assert_eq!(row.error.unwrap().code, "job_kills_process");
    }

    #[test]
    fn what_waits_is_skipped_at_once_and_what_runs_is_told() {
        let mut row = pending();
        assert_eq!(row.cancel(5).unwrap().event, Event::Skipped);
        assert_eq!((row.status, row.reason.as_deref()), (Status::Skipped, Some("cancelled")));
        let mut row = running();
        assert_eq!(row.cancel(5).unwrap().event, Event::Cancelled);
        assert!(row.cancel_requested && row.cancel(6).is_none());
        row.orphan(7);
        assert_eq!(row.status, Status::Skipped, "a cancelled job whose worker dies is not done again");
        assert!(completed().cancel(5).is_none());
    }

    #[test]
    fn failed_and_cancelled_jobs_are_tried_again_by_hand_and_no_others() {
        let mut row = running();
        row.fail(&JobError::permanent("x", "y"), &POLICY, 3).unwrap();
        assert_eq!(row.retry(4).unwrap().event, Event::Reset);
        assert_eq!((row.status, row.attempt, row.dead, row.error.clone()), (Status::Pending, 0, false, None));
        row.cancel(5);
        assert!(row.retry(6).is_some());
        row.skip("thin_volume", 7).unwrap();
        assert!(row.retry(8).is_none());
        assert!(completed().retry(9).is_none());
    }

    #[test]
    fn a_job_handed_back_has_not_been_tried() {
        let mut row = running();
        assert_eq!(row.hand_back(4).unwrap().attempt, 1);
        assert_eq!((row.status, row.attempt), (Status::Pending, 0));
        assert!(row.hand_back(5).is_err());
    }

    #[test]
    fn a_lost_result_is_made_again() {
        let mut row = completed();
        assert_eq!(row.lose("not in the store", 50).unwrap().event, Event::Reset);
        assert_eq!((row.status, row.digest.clone()), (Status::Pending, None));
        assert!(row.lose("again", 51).is_err());
    }
}
