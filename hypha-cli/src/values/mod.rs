//! Converts arguments and results of calls from and to text and files.

mod argument;
mod image;
mod npy;
mod save;
mod show;

pub(crate) use argument::{Argument, Source, declares_function, is_name, parse};
pub(crate) use save::{is_file, save};
pub(crate) use show::{json, one_line, size, text};
