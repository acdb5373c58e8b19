//! Tests that generated code works in an older edition, and in a crate that renames its dependency
//! `hypha_rpc`.

#![deny(
    warnings,
    missing_docs,
    rust_2018_idioms,
    unreachable_pub,
    unused_qualifications
)]
#![deny(clippy::all, clippy::pedantic)]
#![allow(clippy::missing_errors_doc)]

use futures_util::stream;
use rpc::prelude::*;

/// Errors of the laboratory.
#[derive(Debug, PartialEq, thiserror::Error, Serialize, Deserialize, RemoteError)]
#[remote_error(crate = rpc)]
pub enum LabError {
    /// Another caller is using the laboratory.
    #[error("somebody else is at it")]
    #[remote_error(class = "BlockingIOError")]
    Busy,
}

/// A contract in the form of a trait.
#[hypha_service(crate = rpc)]
pub trait Lab {
    /// Repeat a word.
    async fn repeat(
        &self,
        text: &str,
        #[hypha(default = 2)] times: usize,
    ) -> Result<String, LabError>;

    /// Stream the words of a string.
    async fn words(&self, text: &str) -> impl Stream<Item = String>;
}

/// Implementation of the trait.
#[derive(Debug)]
pub struct Served;

impl Lab for Served {
    async fn repeat(&self, text: &str, times: usize) -> Result<String, LabError> {
        Alone.repeat(text, times).await
    }

    async fn words(&self, text: &str) -> impl Stream<Item = String> {
        Alone.words(text.to_owned()).await
    }
}

/// The same service in the form of an `impl` block.
#[derive(Debug)]
pub struct Alone;

/// A contract in the form of an `impl` block.
#[hypha_service(crate = rpc)]
impl Alone {
    /// Repeat a word.
    pub async fn repeat(
        &self,
        text: &str,
        #[hypha(default = 2)] times: usize,
    ) -> Result<String, LabError> {
        if times > 9 {
            return Err(LabError::Busy);
        }
        Ok(text.repeat(times))
    }

    /// Stream the words of a string.
    pub async fn words(&self, text: String) -> impl Stream<Item = String> {
        let words: Vec<_> = text.split(' ').map(str::to_owned).collect();
        stream::iter(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rpc::testing::in_process;

    #[tokio::test]
    async fn both_forms() -> Result<(), Box<dyn std::error::Error>> {
        let lab = in_process(LabService::new(Served)).await?;
        let alone = in_process(Alone).await?;
        assert_eq!(lab.repeat("a", 3).await?, "aaa");
        assert_eq!(alone.repeat("a", 3).await?, "aaa");
        let busy = alone.repeat("a", 10).await;
        assert!(
            matches!(busy, Err(Error::Service(LabError::Busy))),
            "{busy:?}"
        );
        let mut words = lab.words("one two").await?;
        assert_eq!(words.try_next().await?.as_deref(), Some("one"));
        let mut words = alone.words("one two".into()).await?;
        assert_eq!(words.try_next().await?.as_deref(), Some("one"));
        Ok(())
    }
}
