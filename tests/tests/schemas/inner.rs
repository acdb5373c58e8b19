//! Contract with limits on the parts of its values: items of lists, maps and tuples, arguments and
//! results of callbacks, and results of methods. Tests that the generated contract has the same
//! schema.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::{NonZeroU8, NonZeroU16, NonZeroU32, NonZeroU64};

use futures_util::stream;
use hypha_rpc::prelude::*;
use hypha_rpc::schema::Keyed;
use hypha_rpc::service::IntoService;
use hypha_rpc::{OrderedMap, Set};
use hypha_schema::Description;

use crate::generated::{assert_matches_compiled_file, inner as made};

/// Fields with limits inside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Parts {
    pub(crate) addresses: Vec<IpAddr>,
    #[schemars(inner(length(max = 3)), length(max = 9))]
    pub(crate) names: Vec<String>,
    pub(crate) maybe: Vec<Option<NonZeroU8>>,
    pub(crate) pair: (NonZeroU16, Vec<IpAddr>),
    pub(crate) fixed: [NonZeroU64; 2],
    pub(crate) by_name: BTreeMap<String, Vec<IpAddr>>,
    #[schemars(with = "Option<Keyed<BTreeMap<u8, NonZeroU8>>>")]
    pub(crate) by_number: Option<BTreeMap<u8, NonZeroU8>>,
    pub(crate) unique: Vec<BTreeSet<(u8, IpAddr)>>,
    pub(crate) part: Part,
    #[serde(flatten)]
    pub(crate) others: BTreeMap<String, IpAddr>,
}

/// Variants with limits inside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Part {
    Addresses(Vec<IpAddr>),
    Pair(u8, NonZeroU8, Vec<IpAddr>),
    Fields { addresses: Vec<IpAddr> },
}

/// Addresses with a name of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Addresses(pub(crate) Vec<IpAddr>);

/// A failure with an address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error, RemoteError)]
pub(crate) enum Failure {
    #[error("unreachable")]
    Unreachable(Vec<IpAddr>),
    #[error("at {step}")]
    Step {
        #[schemars(range(max = 9))]
        step: NonZeroU8,
    },
}

/// Takes values whose parts have limits.
#[hypha_service(id = "inner")]
pub(crate) trait Inner {
    async fn values(
        &self,
        parts: Parts,
        addresses: Option<Addresses>,
        /// Some addresses.
        some: Option<Vec<IpAddr>>,
        set: Set<Vec<IpAddr>>,
        ordered: OrderedMap<NonZeroU8, IpAddr>,
        #[schemars(extend("additionalProperties/maximum" = 0.5))] shares: BTreeMap<u64, f32>,
    ) -> (NonZeroU8, Vec<IpAddr>);

    async fn functions(
        &self,
        on_event: Callback<(Vec<IpAddr>, NonZeroU8), Option<NonZeroU16>>,
        maybe: Option<Callback<IpAddr>>,
        numbers: RemoteStream<NonZeroU32>,
    ) -> Option<IpAddr>;

    /// Send numbers.
    #[schemars(extend("items/maximum" = 9))]
    async fn numbers(&self) -> Result<impl Stream<Item = NonZeroU8> + Send, Failure>;

    #[schemars(extend("maximum" = 9))]
    async fn maybe(&self) -> Result<Option<i32>, Failure>;
}

struct Desk;

impl Inner for Desk {
    async fn values(
        &self,
        _: Parts,
        _: Option<Addresses>,
        _: Option<Vec<IpAddr>>,
        _: Set<Vec<IpAddr>>,
        _: OrderedMap<NonZeroU8, IpAddr>,
        _: BTreeMap<u64, f32>,
    ) -> (NonZeroU8, Vec<IpAddr>) {
        (NonZeroU8::MIN, Vec::new())
    }

    async fn functions(
        &self,
        _: Callback<(Vec<IpAddr>, NonZeroU8), Option<NonZeroU16>>,
        _: Option<Callback<IpAddr>>,
        _: RemoteStream<NonZeroU32>,
    ) -> Option<IpAddr> {
        None
    }

    async fn numbers(&self) -> Result<impl Stream<Item = NonZeroU8> + Send, Failure> {
        Ok(stream::empty())
    }

    async fn maybe(&self) -> Result<Option<i32>, Failure> {
        Ok(None)
    }
}

/// Implementation of the generated contract, for its schema.
struct Again;

impl made::Inner for Again {
    async fn values(
        &self,
        _: made::Parts,
        _: Option<made::Addresses>,
        _: Option<Vec<String>>,
        _: Set<Vec<String>>,
        _: OrderedMap<u8, String>,
        _: BTreeMap<u64, f32>,
    ) -> (u8, Vec<String>) {
        (1, Vec::new())
    }

    async fn functions(
        &self,
        _: Callback<(Vec<String>, u8), Option<u16>>,
        _: Option<Callback<String>>,
        _: RemoteStream<u32>,
    ) -> Option<String> {
        None
    }

    async fn numbers(&self) -> Result<impl Stream<Item = u8> + Send, made::Failure> {
        Ok(stream::empty())
    }

    async fn maybe(&self) -> Result<Option<i32>, made::Failure> {
        Ok(None)
    }
}

#[test]
fn the_generated_contract_has_the_same_limits_inside() {
    let original = Description::of(InnerService::new(Desk));
    assert_matches_compiled_file("inner", &original.rust()).expect("the same");
    let schema = |service: hypha_rpc::Service| service.schema().to_json();
    let ours = schema(InnerService::new(Desk).into_service());
    let again = schema(made::InnerService::new(Again).into_service());
    for (name, member) in ours.as_object().expect("members") {
        assert_eq!(again[name], *member, "{name}");
    }
    let again = Description::of(made::InnerService::new(Again));
    assert_eq!(again.rust(), original.rust());
}
