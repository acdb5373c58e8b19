//! Tests published schemas and generated descriptions. Uses the Python client, a validator, the
//! compilers of other languages, and calls of real services.

mod contract;
mod directions;
mod everything;
mod generated;
mod inner;
mod nasty;
mod peers;
mod published;
mod round_trip;
mod shapes;
mod variants;
