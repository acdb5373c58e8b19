//! Adds the methods `wait`, `blocking_send` and `blocking_dispose`. Programs without async code use
//! these methods in place of `.await`.

use std::future::IntoFuture;

use serde::de::DeserializeOwned;

use super::runtime::wait;
use crate::call::{Call, Object, Proxy, RemoteService};
use crate::client::{DirectServiceLookup, ListServices, RegisterService, ServiceLookup};
use crate::error::{Error, ServiceError};
use crate::workspace::ServiceInfo;

/// The asynchronous alternative to `wait`. The error of `wait` names this alternative.
const AWAIT: &str = "`.await`";

impl<T, E> Call<T, E> {
    /// Makes the call and waits for its result on this thread.
    ///
    /// Options such as [`timeout`](Self::timeout) have the same effect as for an awaited call. The
    /// docs of the module [`blocking`](crate::blocking) list the threads on which a program may
    /// wait.
    ///
    /// # Errors
    ///
    /// Fails with the errors of the awaited call. Also fails with [`Error::Invalid`] on a thread of
    /// a tokio runtime.
    ///
    /// # Cancellation
    ///
    /// `wait` returns only when the call ends. Set a [`timeout`](Self::timeout) to limit the
    /// duration of the call.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use hypha_rpc::{args, blocking};
    /// # fn main() -> Result<(), hypha_rpc::Error> {
    /// let client = blocking::connect("http://localhost:9527")?;
    /// let calculator = client.get_service("calculator").wait()?;
    /// let sum: f64 = calculator
    ///     .call("add", args!(1, b = 2.5))
    ///     .timeout(Duration::from_secs(2))
    ///     .wait()?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "blocking")))]
    pub fn wait(self) -> Result<T, Error<E>>
    where
        T: DeserializeOwned + 'static,
        E: ServiceError + 'static,
    {
        let what = format!("`wait` of {}", self.label());
        wait(&what, AWAIT, self)
    }

    /// Sends the call without requesting a response, as [`send`](Self::send) does. Waits on this
    /// thread until the request is in the send queue.
    ///
    /// # Errors
    ///
    /// Fails with the errors of [`send`](Self::send). Also fails with [`Error::Invalid`] on a
    /// thread of a tokio runtime.
    #[cfg_attr(docsrs, doc(cfg(feature = "blocking")))]
    pub fn blocking_send(self) -> Result<(), Error> {
        let what = format!("`blocking_send` of {}", self.label());
        wait(&what, "`.send().await`", self.send())
    }
}

impl<P: Proxy + 'static> ServiceLookup<P> {
    /// Looks up the service, and waits for the result on this thread.
    ///
    /// # Errors
    ///
    /// Fails with the errors of [`Client::get_service`](crate::Client::get_service). Also fails
    /// with [`Error::Invalid`] on a thread of a tokio runtime.
    #[cfg_attr(docsrs, doc(cfg(feature = "blocking")))]
    pub fn wait(self) -> Result<P, Error> {
        wait("`ServiceLookup::wait`", AWAIT, self.into_future())
    }
}

impl DirectServiceLookup {
    /// Fetches the service directly from its provider, and waits for the result on this thread.
    ///
    /// # Errors
    ///
    /// Fails with the errors of [`Client::get_remote_service`](crate::Client::get_remote_service).
    /// Also fails with [`Error::Invalid`] on a thread of a tokio runtime.
    #[cfg_attr(docsrs, doc(cfg(feature = "blocking")))]
    pub fn wait(self) -> Result<RemoteService, Error> {
        wait("`DirectServiceLookup::wait`", AWAIT, self.into_future())
    }
}

impl ListServices {
    /// Fetches the list of services, and waits for the result on this thread.
    ///
    /// # Errors
    ///
    /// Fails with the errors of [`Client::list_services`](crate::Client::list_services). Also fails
    /// with [`Error::Invalid`] on a thread of a tokio runtime.
    #[cfg_attr(docsrs, doc(cfg(feature = "blocking")))]
    pub fn wait(self) -> Result<Vec<ServiceInfo>, Error> {
        wait("`ListServices::wait`", AWAIT, self.into_future())
    }
}

impl RegisterService {
    /// Registers the service, and waits for its [`ServiceInfo`] on this thread.
    ///
    /// # Errors
    ///
    /// Fails with the errors of the awaited registration. Also fails with [`Error::Invalid`] on a
    /// thread of a tokio runtime.
    #[cfg_attr(docsrs, doc(cfg(feature = "blocking")))]
    pub fn wait(self) -> Result<ServiceInfo, Error> {
        wait("`RegisterService::wait`", AWAIT, self.into_future())
    }
}

impl<P> Object<P> {
    /// Releases an interface, as [`dispose`](Self::dispose) does. Waits on this thread until the
    /// owner of the interface has acknowledged the release.
    ///
    /// # Errors
    ///
    /// Fails with the errors of [`dispose`](Self::dispose). Also fails with [`Error::Invalid`] on a
    /// thread of a tokio runtime.
    #[cfg_attr(docsrs, doc(cfg(feature = "blocking")))]
    pub fn blocking_dispose(&self) -> Result<(), Error> {
        let what = "`Object::blocking_dispose`";
        wait(what, "`Object::dispose`", self.dispose())
    }
}

#[cfg(feature = "testing")]
impl<S> crate::testing::InProcess<S>
where
    S: crate::service::IntoService,
    S::Proxy: Proxy + 'static,
{
    /// Serves the service on the background runtime, and waits for its proxy on this thread.
    ///
    /// # Errors
    ///
    /// Fails with the errors of [`in_process`](crate::testing::in_process). Also fails with
    /// [`Error::Invalid`] on a thread of a tokio runtime.
    #[cfg_attr(docsrs, doc(cfg(all(feature = "blocking", feature = "testing"))))]
    pub fn wait(self) -> Result<S::Proxy, Error> {
        let start = async {
            let proxy = self.await?;
            if let Some(connection) = proxy.service().connection() {
                super::runtime::keep(connection.engine());
            }
            Ok(proxy)
        };
        wait("`InProcess::wait`", AWAIT, start)
    }
}
