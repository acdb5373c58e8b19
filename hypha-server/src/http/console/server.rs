//! The page about the server: health, call metrics and resources.

use axum::response::Response;
use maud::{Markup, html};

use super::super::problem::Problem;
use super::chart::{chart, number};
use super::history::{History, INTERVAL};
use super::{Visit, layout};
use crate::process;
use crate::state::HYPHA_VERSION;

const MEGABYTE: f64 = 1024.0 * 1024.0;

/// Shows health and charts. The data is that of `/health` and `/metrics`, which are public.
pub(super) async fn page(visit: Visit) -> Response {
    let content = content(&visit).await;
    visit.show("Server", content)
}

async fn content(visit: &Visit) -> Result<Markup, Problem> {
    let state = visit.state();
    let stores = state.store.is_writable().await;
    let stats = state.stats();
    let resident = process::memory().map(|memory| memory.resident as f64 / MEGABYTE);
    let uptime = state.started.elapsed().as_secs();
    let numbers = [
        ("Connections", stats.connections_open),
        ("HTTP requests in progress", stats.http_requests_open),
        ("Messages received", stats.messages_received),
        ("HTTP calls", stats.http_calls),
        ("HTTP calls that failed", stats.http_calls_failed),
        ("Handshakes refused", stats.handshakes_refused),
        ("Requests refused by a rate limit", stats.refused_rate),
        ("Connections closed for memory", stats.closed_memory),
    ];
    Ok(html! {
        h1 { "Server" }
        div data-live="5000" id="live-server" {
            ul class="facts" {
                li {
                    @if state.is_ready() {
                        span class="good" { "Healthy" }
                    } @else {
                        span class="bad" { "Accepts no clients" }
                    }
                }
                @if !stores { li { span class="bad" { "Changes cannot be stored" } } }
                li { "Version " (env!("CARGO_PKG_VERSION")) ", protocol of hypha " (HYPHA_VERSION) }
                li { "Id " code { (state.info.server_id) } }
                li { "Running for " (duration(uptime)) }
                @if let Some(resident) = resident {
                    li { "Resident memory " (number(resident.round())) " MB" }
                }
            }
            @if let Some(history) = &visit.front.history { (charts(history)) }
            h2 { "Since the start" }
            (layout::scrolling("Counts", &html! {
                table {
                    thead { tr { th scope="col" { "Count" } th scope="col" { "Value" } } }
                    tbody {
                        @for (name, value) in numbers {
                            tr { th scope="row" { (name) } td class="number" { (value) } }
                        }
                    }
                }
            }))
        }
        p { "All metrics: " code { (state.info.public_base_url) "/metrics" } }
    })
}

/// Returns the charts of the last 15 minutes.
fn charts(history: &History) -> Markup {
    let latency = history.ratios(|it| it.http_call_milliseconds, |it| it.http_calls, 1.0);
    let memory = history.levels(|it| it.memory_used);
    let memory: Vec<f64> = memory.into_iter().map(|bytes| bytes / MEGABYTE).collect();
    let errors = |it: &crate::metrics::Stats| {
        it.http_calls_failed + it.rejected_absent + it.rejected_forbidden
    };
    let drawn = |title, unit, values: &[f64]| chart(title, unit, values, INTERVAL);
    html! {
        h2 { "The last 15 minutes" }
        div class="charts" {
            (drawn("Messages", "per s", &history.rates(|it| it.messages_received)))
            (drawn("HTTP calls", "per s", &history.rates(|it| it.http_calls)))
            (drawn("Failed and rejected calls", "per s", &history.rates(errors)))
            (drawn("Mean latency of HTTP calls", "ms", &latency))
            (drawn("Connections", "", &history.levels(|it| it.connections_open)))
            (drawn("Memory of clients", "MB", &memory))
        }
    }
}

/// Returns a duration in its two largest units.
fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}
