//! Objects with methods, as arguments and results. The receiver of an object calls its methods like
//! the methods of a service.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::resident::{LocalFunction, LocalInterface, Resident};
use super::{Function, Proxy, RemoteService};
use crate::args;
use crate::error::Error;
use crate::schema::{KIND, MethodSchemas};
use crate::service::{IntoService, Member, Service};
use hypha_wire::keys::SCHEMA_METHODS;
use hypha_wire::{Handle, Map, Value};

/// Object with methods that can be an argument or a result. An object is a service that is sent in
/// a message instead of being registered.
///
/// The receiver calls the methods through the proxy `P`. Use [`RemoteService`] as `P` if the
/// methods are not known at compile time. The two kinds of objects have different lifetimes:
///
/// * [`new`](Self::new): In an argument, the object expires when the call ends. In a result, the
///   object expires when its receiver disconnects, or when the receiver has not used the object for
///   ten minutes, like a [`Function`].
/// * [`interface`](Self::interface): The object stays available until its owner withdraws it, its
///   receiver disposes of it, or its receiver disconnects. Only the receiver can call the object
///   (`docs/protocol/03-values.md#s8`).
///
/// # Examples
///
/// ```
/// use hypha_rpc::prelude::*;
/// use hypha_rpc::Object;
/// use std::sync::atomic::{AtomicI64, Ordering};
///
/// /// Counts.
/// #[hypha_service]
/// trait Counter {
///     async fn increment(&self, by: i64) -> i64;
/// }
///
/// struct Count(AtomicI64);
/// impl Counter for Count {
///     async fn increment(&self, by: i64) -> i64 {
///         self.0.fetch_add(by, Ordering::Relaxed) + by
///     }
/// }
///
/// /// Makes counters.
/// #[hypha_service]
/// trait Counters {
///     async fn make_counter(&self) -> Object<CounterProxy>;
/// }
///
/// struct Desk;
/// impl Counters for Desk {
///     async fn make_counter(&self) -> Object<CounterProxy> {
///         Object::new(CounterService::new(Count(AtomicI64::new(0))))
///     }
/// }
///
/// # async fn example(counters: CountersProxy) -> Result<(), hypha_rpc::Error> {
/// let counter = counters.make_counter().await?.proxy();
/// assert_eq!(counter.increment(2).await?, 2);
/// # Ok(())
/// # }
/// ```
pub struct Object<P = RemoteService> {
    content: Content,
    proxy: PhantomData<fn() -> P>,
}

#[derive(Clone)]
enum Content {
    /// Object of this program, as a map of functions.
    Local(RemoteService),
    /// Interface of this program. The interface remains valid after the call ends.
    Interface(Arc<Resident>, RemoteService),
    /// An object of a peer.
    Remote(RemoteService),
}

impl<P: Proxy> Object<P> {
    /// Creates an object. In an argument, the object expires when the call ends. In a result, the
    /// object stays available while its receiver uses it.
    pub fn new<S: IntoService<Proxy = P>>(service: S) -> Self {
        let members = members(&service.into_service());
        Object {
            content: Content::Local(RemoteService::from_members(members)),
            proxy: PhantomData,
        }
    }

    /// Creates an object that remains valid after the call ends, for one receiver (`_rintf` on the
    /// wire).
    ///
    /// Use an interface if the receiver keeps the object, for example as a listener. The receiver
    /// releases the object with [`dispose`](Self::dispose), and the owner removes the object with
    /// [`withdraw`](Self::withdraw).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use hypha_rpc::prelude::*;
    ///
    /// /// Receives news.
    /// #[hypha_service]
    /// trait Listener {
    ///     async fn news(&self, text: String);
    /// }
    ///
    /// struct Print;
    /// impl Listener for Print {
    ///     async fn news(&self, text: String) {
    ///         println!("{text}");
    ///     }
    /// }
    ///
    /// # async fn example(agency: RemoteService) -> Result<(), Error> {
    /// let listener = Object::interface(ListenerService::new(Print));
    /// agency.call::<()>("subscribe", args!(listener)).await?;
    /// // Later: stop the news.
    /// listener.withdraw();
    /// # Ok(())
    /// # }
    /// ```
    pub fn interface<S: IntoService<Proxy = P>>(service: S) -> Self {
        let service = service.into_service();
        let local = RemoteService::from_members(members(&service));
        let interface = Resident::Interface(Box::new(LocalInterface::new(service)));
        Object {
            content: Content::Interface(Arc::new(interface), local),
            proxy: PhantomData,
        }
    }

    /// Returns the typed proxy of the object. If the object belongs to this program, its methods
    /// run in the task that calls them.
    #[must_use]
    pub fn proxy(&self) -> P {
        P::from_service(self.service().clone())
    }
}

impl<P> Object<P> {
    /// Returns the untyped methods and data of the object.
    #[must_use]
    pub fn service(&self) -> &RemoteService {
        match &self.content {
            Content::Local(service) | Content::Interface(_, service) | Content::Remote(service) => {
                service
            }
        }
    }

    /// Releases an interface, so that the owner of the interface can drop it. Does nothing for an
    /// object of this program, or for an object without the method `_dispose`.
    ///
    /// # Errors
    ///
    /// Fails like any [`Call`](crate::Call) if the owner of the interface cannot be reached. Fails
    /// with [`Error::Rejected`] if the interface was already disposed of.
    pub async fn dispose(&self) -> Result<(), Error> {
        match &self.content {
            Content::Remote(service) if service.has_method("_dispose") => {
                service.call::<Value>("_dispose", args!()).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Removes an interface of this program. Later calls of the interface fail at all receivers.
    /// Does nothing for other objects.
    pub fn withdraw(&self) {
        if let Content::Interface(resident, _) = &self.content {
            if let Resident::Interface(interface) = &**resident {
                interface.withdraw();
            }
        }
    }
}

/// Returns a map from the dotted path of each member of a service to the member. Methods become
/// functions.
fn members(service: &Service) -> Map {
    let mut map = Map::new();
    service.insert_members(&mut map, |path, member| match member {
        Member::Value(value) => value.clone(),
        Member::Method(method) => {
            let name = path.rsplit('.').next().unwrap_or(path);
            Function::local(LocalFunction {
                handler: method.handler(),
                name: Some(name.to_owned()),
                doc: method.doc.clone(),
                schema: method.schema.clone(),
            })
            .into()
        }
    });
    map
}

impl<P> Serialize for Object<P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.content {
            Content::Local(service) | Content::Remote(service) => service.serialize(serializer),
            Content::Interface(resident, _) => match Arc::clone(resident) {
                resident if matches!(*resident, Resident::Interface(_)) => {
                    Handle::local(resident).serialize(serializer)
                }
                _ => Err(S::Error::custom("not an interface")),
            },
        }
    }
}

impl<'de, P> Deserialize<'de> for Object<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let content = match Value::deserialize(deserializer)? {
            Value::Map(members) => Content::Remote(RemoteService::from_members(members)),
            Value::Handle(handle) => match handle.downcast_local() {
                Some(resident) => match &*resident {
                    Resident::Interface(interface) => {
                        let local = RemoteService::from_members(members(&interface.service));
                        Content::Interface(resident, local)
                    }
                    _ => return Err(D::Error::custom("expected an object, got a function")),
                },
                None => return Err(D::Error::custom("expected an object, got a function")),
            },
            other => {
                return Err(D::Error::custom(format_args!(
                    "expected an object with functions, got {}",
                    other.kind()
                )));
            }
        };
        Ok(Object {
            content,
            proxy: PhantomData,
        })
    }
}

impl<P: Proxy> JsonSchema for Object<P> {
    fn schema_name() -> Cow<'static, str> {
        match P::CONTRACT {
            "" => "Object".into(),
            contract => contract.into(),
        }
    }

    fn schema_id() -> Cow<'static, str> {
        std::any::type_name::<Self>().into()
    }

    // The schema of a typed object is a separate definition, because a method of the object may
    // take or return objects of the same type.
    fn inline_schema() -> bool {
        P::CONTRACT.is_empty()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = json_schema!({
            "type": "object",
            "description": "An object with functions.",
            (KIND): "object"
        });
        if !P::CONTRACT.is_empty() {
            let (text, methods) = MethodSchemas::nested(generator, P::describe);
            if !text.is_empty() {
                schema.insert("description".to_owned(), text.into());
            }
            schema.insert(SCHEMA_METHODS.to_owned(), methods.into());
        }
        schema
    }
}

impl<P> Clone for Object<P> {
    fn clone(&self) -> Self {
        Object {
            content: self.content.clone(),
            proxy: PhantomData,
        }
    }
}

impl<P> fmt::Debug for Object<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut methods: Vec<&str> = self.service().methods().collect();
        methods.sort_unstable();
        f.debug_struct("Object").field("methods", &methods).finish()
    }
}
