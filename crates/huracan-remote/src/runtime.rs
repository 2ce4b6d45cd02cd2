//! The one place where a store that must await meets callers that must not.

use std::future::Future;
use std::io;
use std::panic::resume_unwind;
use std::sync::mpsc;

use tokio::runtime::{Builder, Handle};
use tokio::task::JoinError;

/// A small runtime of its own threads. Work is handed over and waited for, so it may be called from
/// any thread, one that belongs to another runtime included (that thread then stands still).
pub(crate) struct Runtime(Option<tokio::runtime::Runtime>);

impl Runtime {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub(crate) fn start() -> io::Result<Runtime> {
        let built =
            Builder::new_multi_thread().worker_threads(2).thread_name("store").enable_all().build()?;
        Ok(Runtime(Some(built)))
    }

    fn handle(&self) -> &Handle {
        // Only `drop` takes the runtime out.
        self.0.as_ref().map(tokio::runtime::Runtime::handle).expect("a runtime that is not dropped yet")
    }

    /// Carries `work` out and waits for what comes of it. A panic in it goes on here.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let (done, answer) = mpsc::sync_channel(1);
        let handle = self.handle();
        let task = handle.spawn(work);
        handle.spawn(async move {
            // Nobody listens any more when the caller's thread was unwound: then nobody cares.
            let _ = done.send(task.await);
        });
        let outcome: Result<T, JoinError> = answer.recv().expect("a task that always answers");
        outcome.unwrap_or_else(|error| resume_unwind(error.into_panic()))
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Waiting is forbidden on another runtime's threads, and there is nothing left to wait for.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_waited_for_from_inside_another_runtime_too() {
        let outer = Builder::new_current_thread().build().unwrap();
        let inner = Runtime::start().unwrap();
        let sum = outer.block_on(async move {
            let sum = inner.run(async { tokio::task::spawn(async { 40 }).await.unwrap() + 2 });
            drop(inner);
            sum
        });
        assert_eq!(sum, 42);
    }

    #[test]
    #[should_panic(expected = "on purpose")]
    fn a_panic_goes_on_in_the_caller() {
        Runtime::start().unwrap().run(async { panic!("on purpose") });
    }
}
