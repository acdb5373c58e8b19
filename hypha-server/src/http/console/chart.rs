//! Line charts as SVG.

use std::fmt::Write;
use std::time::Duration;

use maud::{Markup, html};

/// Width and height of a chart, in units of its coordinates.
const SIZE: (f64, f64) = (360.0, 90.0);

/// Returns a chart of values, oldest first, over the time before now. `unit` follows the numbers.
pub(super) fn chart(title: &str, unit: &str, values: &[f64], interval: Duration) -> Markup {
    let most = values.iter().copied().fold(0.0, f64::max);
    let latest = values.last().copied().unwrap_or_default();
    let steps = values.len().saturating_sub(1);
    let minutes = steps as f64 * interval.as_secs_f64() / 60.0;
    let begin = format!("−{} min", number((minutes * 10.0).round() / 10.0));
    html! {
        figure class="chart" {
            figcaption {
                span { (title) }
                strong { (number(latest)) " " (unit) }
            }
            svg role="img"
                aria-label=(format!(
                    "{title} from {begin} to now: now {} {unit}, at most {} {unit}",
                    number(latest), number(most)
                )) {
                // Stretched to the width of the page, unlike the numbers of the axes.
                svg x="15%" width="85%" height="80%" preserveAspectRatio="none"
                    viewBox=(format!("0 0 {} {}", SIZE.0, SIZE.1)) {
                    polyline points=(points(values, most)) {}
                }
                text x="14%" y="15%" text-anchor="end" { (number(most)) }
                text x="14%" y="78%" text-anchor="end" { "0" }
                text x="15%" y="97%" { (begin) }
                text x="99%" y="97%" text-anchor="end" { "now" }
            }
        }
    }
}

/// Returns the coordinates of a line, from the left to the right edge.
fn points(values: &[f64], most: f64) -> String {
    let (width, height) = SIZE;
    let step = width / (values.len().max(2) - 1) as f64;
    let most = if most > 0.0 { most } else { 1.0 };
    let mut text = String::new();
    for (index, value) in values.iter().enumerate() {
        let y = height - 2.0 - value / most * (height - 4.0);
        // Writing to a string cannot fail.
        let _ = write!(text, "{:.1},{y:.1} ", index as f64 * step);
    }
    text
}

/// Returns a number with at most three significant digits after the point.
pub(super) fn number(value: f64) -> String {
    if value.fract() == 0.0 || value >= 1000.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fills_the_chart() {
        assert_eq!(points(&[0.0, 2.0], 2.0), "0.0,88.0 360.0,2.0 ");
        assert_eq!(points(&[], 0.0), "");
        let chart = chart("Calls", "per s", &[1.0, 0.5], Duration::from_secs(30)).into_string();
        for part in [
            "Calls from −0.50 min to now: now 0.50 per s, at most 1 per s",
            "text-anchor=\"end\">1</text>",
            "text-anchor=\"end\">0</text>",
            ">−0.50 min</text>",
        ] {
            assert!(chart.contains(part), "{part}: {chart}");
        }
    }
}
