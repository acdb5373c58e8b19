//! Creates callbacks and functions from closures that may block.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use crate::call::{Callback, Function, parameters};
use crate::error::ServiceError;
use crate::service::{IncomingCall, on_thread};
use hypha_wire::{Args, WireError};

impl<A, R> Callback<A, R>
where
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    /// Creates a callback from a closure that may block.
    ///
    /// The closure runs on a thread for blocking work. Calls run one after the other, in order of
    /// arrival, so the closure can change the variables that it captures. The closure must not call
    /// its own callback and wait for the result, because the second call cannot start before the
    /// first call ends. If the closure panics, the call fails with an error.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::{args, Callback, RemoteService};
    /// # fn example(trainer: RemoteService) -> Result<(), hypha_rpc::Error> {
    /// let mut best = f32::INFINITY;
    /// let on_loss = Callback::blocking(move |(epoch, loss): (u32, f32)| {
    ///     best = best.min(loss);
    ///     println!("{epoch}: {loss}, best {best}");
    /// });
    /// trainer.call::<()>("train", args!(10, on_loss)).wait()?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "blocking")))]
    pub fn blocking<F>(mut run: F) -> Self
    where
        F: FnMut(A) -> R + Send + 'static,
    {
        Self::one_at_a_time(move |args| Ok(run(args)))
    }
}

impl<A, R, E> Callback<A, R, E>
where
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    /// Creates a callback from a closure that may block and can fail. An `Err` becomes the error of
    /// the call.
    ///
    /// Calls run in the same way as for [`blocking`](Callback::blocking).
    #[cfg_attr(docsrs, doc(cfg(feature = "blocking")))]
    pub fn try_blocking<F, F2>(mut run: F) -> Self
    where
        F: FnMut(A) -> Result<R, F2> + Send + 'static,
        F2: ServiceError + 'static,
    {
        Self::one_at_a_time(move |args| run(args).map_err(ServiceError::to_wire))
    }

    /// Returns a callback. The closure of the callback handles one call at a time, on a thread for
    /// blocking work.
    fn one_at_a_time<F>(run: F) -> Self
    where
        F: FnMut(A) -> Result<R, WireError> + Send + 'static,
    {
        // Each call has a task. The task takes the lock before it uses a thread, so waiting calls
        // occupy no threads. The lock is fair, so the calls run in order of arrival.
        let run = Arc::new(Mutex::new(run));
        Callback::from_function(Function::new(move |call| {
            let (run, args) = (Arc::clone(&run), parameters(&call));
            async move {
                let args = args?;
                let mut turn = run.lock_owned().await;
                let label = call.label().to_owned();
                on_thread(&label, move || call.reply(&turn(args)?)).await?
            }
        }))
    }
}

impl Function {
    /// Creates a function from a closure that may block. The closure runs on a thread for blocking
    /// work.
    ///
    /// Calls run concurrently. If the closure panics, only the call that caused the panic fails.
    ///
    /// # Examples
    ///
    /// ```
    /// use hypha_rpc::Function;
    ///
    /// let size = Function::blocking(|call| {
    ///     let path: &str = call.args(&["path"])?.required(0)?;
    ///     let file = std::fs::metadata(path).map_err(|e| call.fail(e.to_string()))?;
    ///     call.reply(&file.len())
    /// });
    /// # let _ = size;
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "blocking")))]
    pub fn blocking<F>(run: F) -> Self
    where
        F: Fn(IncomingCall) -> Result<Args, WireError> + Send + Sync + 'static,
    {
        let run = Arc::new(run);
        Function::new(move |call| {
            let run = Arc::clone(&run);
            async move {
                let label = call.label().to_owned();
                on_thread(&label, move || run(call)).await?
            }
        })
    }
}
