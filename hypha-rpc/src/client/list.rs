//! Lists the services of a workspace (`docs/protocol/10-server.md#s5-6`).

use std::future::IntoFuture;
use std::pin::Pin;

use super::{Client, refused};
use crate::error::Error;
use crate::workspace::{ServiceInfo, ServiceQuery};

impl Client {
    /// Lists the services that match `query` and that this client may see. If `query` is `None`,
    /// lists the services of the client's own workspace. The request is sent when the returned
    /// value is awaited.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::{Client, workspace::{ServiceFilter, ServiceQuery}};
    /// # async fn example(client: Client) -> Result<(), hypha_rpc::Error> {
    /// let own = client.list_services(None).include_unlisted().await?;
    /// let public = client.list_services(ServiceQuery::from("public")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Awaiting fails if the manager rejects the query. The manager rejects an invalid query, and a
    /// query for which this client lacks a permission. Awaiting also fails with the errors of
    /// [`manager`](Self::manager).
    pub fn list_services(&self, query: impl Into<Option<ServiceQuery>>) -> ListServices {
        ListServices {
            client: self.clone(),
            query: query.into(),
            unlisted: false,
            app_services: false,
            running_first: false,
        }
    }
}

/// Request for a list of services. The request is sent when this value is awaited.
///
/// Returned by [`Client::list_services`].
///
/// # Cancellation
///
/// Dropping the future abandons the request.
#[must_use = "the services are listed when this is awaited"]
#[derive(Debug)]
pub struct ListServices {
    client: Client,
    query: Option<ServiceQuery>,
    unlisted: bool,
    app_services: bool,
    running_first: bool,
}

impl ListServices {
    /// Includes the unlisted services of the client's own workspace. Default: not included.
    pub fn include_unlisted(mut self) -> Self {
        self.unlisted = true;
        self
    }

    /// Includes the services of installed applications. Default: not included.
    pub fn include_app_services(mut self) -> Self {
        self.app_services = true;
        self
    }

    /// Lists running services before the services of installed applications. Default: unspecified
    /// order.
    pub fn running_services_first(mut self) -> Self {
        self.running_first = true;
        self
    }
}

impl IntoFuture for ListServices {
    type Output = Result<Vec<ServiceInfo>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let manager = self.client.manager().await?;
            let list = manager.list_services(
                self.query,
                self.unlisted,
                self.app_services,
                self.running_first,
            );
            list.await.map_err(refused("list_services"))
        })
    }
}
