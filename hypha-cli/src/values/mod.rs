//! Converts arguments and results of calls from and to text and files.

mod argument;
mod image;
mod kind;
mod lossless;
mod npy;
mod save;
mod show;

pub(crate) use argument::{Argument, Source, is_name, parse};
pub(crate) use kind::Parameters;
pub(crate) use save::{is_file, save};
pub(crate) use show::{json, one_line, size, text};
