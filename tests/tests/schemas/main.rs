//! Tests published schemas and descriptions for other languages, with the Python client, a
//! validator, the compilers of the languages, and calls of real services.

mod contract;
mod generated;
mod nasty;
mod peers;
mod published;
