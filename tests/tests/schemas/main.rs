//! Tests of published schemas and of descriptions for other languages, with the Python client, a
//! validator, the compilers of the languages, and real calls of real services.

mod contract;
mod generated;
mod nasty;
mod peers;
mod published;
