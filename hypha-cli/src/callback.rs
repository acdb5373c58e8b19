//! Creates the functions that this program passes to services. Each function prints its arguments
//! when a service calls it.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use hypha_rpc::{Args, Function, Value};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{output, values};

/// Interval at which the progress bar is redrawn when there is no new progress.
const TICK: Duration = Duration::from_millis(120);

/// Shows the progress of a call on the standard error. Draws a bar on a terminal, and prints lines
/// otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        let is_terminal = std::io::stderr().is_terminal();
        Progress {
            bar: is_terminal.then(ProgressBar::hidden),
        }
    }

    /// Returns a progress bar for a transfer of `size` bytes. The bar is hidden if the standard
    /// error is not a terminal.
    pub(crate) fn bytes(name: &str, size: Option<u64>) -> ProgressBar {
        let bar = match size {
            Some(size) => ProgressBar::new(size),
            None => ProgressBar::no_length(),
        };
        let template = "{msg}  {wide_bar}  {bytes}/{total_bytes}  {bytes_per_sec}";
        bar.set_style(style(template));
        bar.set_message(output::line(name));
        bar
    }

    /// Prints a line above the bar.
    pub(crate) fn line(&self, text: &str) {
        self.suspend(|| output::note(text));
    }

    /// Hides the bar, runs `write`, and shows the bar again.
    pub(crate) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Updates the bar.
    fn moved(&self, name: &str, done: f64, total: f64) {
        // Print whole numbers unchanged, and a fraction in percent.
        let factor = if total == 1.0 { 100.0 } else { 1.0 };
        let (done, total) = ((done * factor) as u64, (total * factor) as u64);
        if let Some(bar) = &self.bar {
            if bar.is_hidden() {
                bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
                bar.set_style(style("{msg}  {wide_bar}  {pos}/{len}  {elapsed}"));
                bar.enable_steady_tick(TICK);
            }
            bar.set_message(name.to_owned());
            bar.set_length(total);
            bar.set_position(done);
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Returns a function that can be passed as the argument `name`.
    pub(crate) fn function(&self, name: &str) -> Function {
        let progress = self.clone();
        let name: Arc<str> = name.into();
        Function::new(move |call| {
            let (progress, name) = (progress.clone(), Arc::clone(&name));
            async move {
                let args = call.raw_args();
                let value = |value: Option<Result<Value, _>>| match value {
                    Some(Ok(value)) => value,
                    Some(Err(_)) | None => Value::Null,
                };
                let given: Vec<Value> = (0..args.positional())
                    .map(|index| value(args.get(index)))
                    .collect();
                let named = args.names();
                let named: Vec<(String, Value)> = named
                    .map(|name| (name.to_owned(), value(args.get_named(name))))
                    .collect();
                match fraction(&name, &given).filter(|_| progress.bar.is_some()) {
                    Some((done, total)) => progress.moved(&name, done, total),
                    None => progress.line(&text(&name, &given, &named)),
                }
                let mut reply = Args::new(1, 0);
                reply.push("result", &Value::Null);
                Ok(reply)
            }
        })
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Returns the progress in the arguments of a function, as the done part and the total. The
/// arguments may be a number of steps and the total number of steps, or a map with these two
/// values. If the name of the function contains `progress`, the argument may also be a single
/// fraction.
fn fraction(name: &str, given: &[Value]) -> Option<(f64, f64)> {
    let within = |done: f64, total: f64| {
        let fits = total.is_finite() && total > 0.0 && (0.0..=total).contains(&done);
        fits.then_some((done, total))
    };
    match given {
        [Value::Map(map)] => {
            let number = |keys: &[&str]| keys.iter().find_map(|key| map.get(*key)?.as_f64());
            match number(&["total"]) {
                Some(total) => within(number(&["current", "done", "step", "progress"])?, total),
                None => within(number(&["progress", "fraction"])?, 1.0),
            }
        }
        [only] if name.contains("progress") => within(only.as_f64()?, 1.0),
        [done, total] => within(done.as_u64()? as f64, total.as_u64()? as f64),
        _ => None,
    }
}

fn text(name: &str, given: &[Value], named: &[(String, Value)]) -> String {
    let named = named
        .iter()
        .map(|(name, value)| format!("{name}={}", values::one_line(value)));
    let words: Vec<String> = given.iter().map(values::one_line).chain(named).collect();
    output::line(&format!("{name}: {}", words.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn progress_is_recognized() {
        let of = |name: &str, given: serde_json::Value| {
            let Value::List(given) = Value::from(given) else {
                return None;
            };
            fraction(name, &given)
        };
        assert_eq!(of("on_progress", json!([0.5])), Some((0.5, 1.0)));
        assert_eq!(of("on_loss", json!([0.5])), None);
        assert_eq!(of("f", json!([3, 10])), Some((3.0, 10.0)));
        assert_eq!(of("f", json!([11, 10])), None);
        assert_eq!(
            of("f", json!([{"current": 2, "total": 4}])),
            Some((2.0, 4.0))
        );
        assert_eq!(of("f", json!([{"progress": 0.25}])), Some((0.25, 1.0)));
        assert_eq!(of("f", json!([{"x": 1}])), None);
    }
}
