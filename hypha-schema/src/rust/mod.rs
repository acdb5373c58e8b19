//! Writes Rust contracts: a trait for `#[hypha_service]`, and the types that it needs.
//!
//! `writer` holds the output and the names. `contract` writes the trait, and queues the types that
//! the trait uses. `definitions` writes the queued types until the queue is empty.

mod attributes;
mod contract;
mod defaults;
mod definitions;
mod errors;
mod member_names;
mod tags;
mod text;
mod writer;

use crate::model::Model;
use writer::Writer;

/// Returns the Rust file.
pub(crate) fn write(model: &Model) -> String {
    let (mut writer, service) = Writer::new(model);
    writer.contract(&service);
    while let Some(index) = writer.next_definition() {
        writer.definition(index);
    }
    writer.finish()
}
