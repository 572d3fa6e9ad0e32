//! The services: a map of who calls whom, and the busiest routes.

mod map;

use maud::{Markup, html};

use super::layout::{self, Refresh, Section};
use super::list::{OF_RANGE, form};
use super::palette::Palette;
use crate::store::{Route, Statistics, Totals, is_service};
use crate::view::api::statistics::sorted;
use crate::view::format::{count, duration};
use crate::view::parameters::{Parameters, RangeQuery};
use crate::view::visible;

/// Further rows of a table are counted.
const MAX_ROWS: usize = 200;

pub(super) fn page(statistics: &Statistics, query: &RangeQuery, parameters: &Parameters) -> Markup {
    let names: Vec<String> =
        sorted(statistics.services.iter()).into_iter().map(|(name, _)| name.clone()).collect();
    let main = html! {
        (form("/services", &OF_RANGE, parameters, &names))
        div.bar {
            h1 { "Services" }
            span.muted {
                "from " @if !statistics.is_complete { "the newest " } (count(statistics.traces, "trace"))
                @if !statistics.is_complete { ", as many as could be read in time" }
            }
        }
        @if statistics.traces == 0 {
            div.empty { h1 { "No traces in this time" } p { a href="/services" { "All services" } } }
        } @else {
            (map::draw(statistics, query.service.as_deref(), &in_range(parameters)))
            (services(statistics, query, parameters))
            (routes(statistics, query, parameters))
        }
    };
    layout::page("Services", Section::Services, Refresh::No, &main)
}

/// Returns whether the filter passes a service.
fn is_wanted(query: &RangeQuery, service: &str) -> bool {
    query.service.as_deref().is_none_or(|wanted| is_service(service, wanted))
}

fn services(statistics: &Statistics, query: &RangeQuery, parameters: &Parameters) -> Markup {
    let all = sorted(statistics.services.iter().filter(|(service, _)| is_wanted(query, service)));
    html! {
        table.numbers {
            caption { "Services" }
            thead { tr { th scope="col" { "Service" } (head()) } }
            tbody {
                @for (service, totals) in all.iter().take(MAX_ROWS) {
                    tr.failed[totals.errors > 0] {
                        td { a class={ "service " (Palette::default().class(service)) } href=(in_range(parameters).with("service", service).link("/")) { i {} (visible::name(service)) } }
                        (cells(totals, &in_range(parameters).with("service", service)))
                    }
                }
            }
        }
        (more(all.len()))
    }
}

fn routes(statistics: &Statistics, query: &RangeQuery, parameters: &Parameters) -> Markup {
    let all = sorted(statistics.routes.iter().filter(|((service, _), _)| is_wanted(query, service)));
    html! {
        table.numbers {
            caption { "Routes" @if let Some(service) = &query.service { " of " (visible::name(service)) } }
            thead { tr { th scope="col" { "Route" } th scope="col" { "Service" } (head()) } }
            tbody {
                @for ((service, route), totals) in all.iter().take(MAX_ROWS) {
                    @let filter = in_range(parameters).with("service", service);
                    @let filter = of_route(filter, route);
                    tr.failed[totals.errors > 0] {
                        td { a href=(filter.link("/")) { (visible::name(route.as_str())) } }
                        td { span class={ "service " (Palette::default().class(service)) } { i {} (visible::name(service)) } }
                        (cells(totals, &filter))
                    }
                }
            }
        }
        (more(all.len()))
    }
}

/// Adds a route to a filter. A truncated one is not added, because it passes nothing.
fn of_route(filter: Parameters, route: &Route) -> Parameters {
    match route {
        Route::Route(text) if !text.ends_with('…') => filter.with("route", text),
        Route::Route(_) => filter,
        Route::Name(text) => filter.with("name", text.trim_end_matches('…')),
    }
}

/// Returns the parameters that the list of traces has, too.
fn in_range(parameters: &Parameters) -> Parameters {
    let range = parameters.iter().filter(|(name, _)| matches!(*name, "from" | "to"));
    Parameters::new(range.map(|(name, value)| (name.to_owned(), value.to_owned())))
}

fn head() -> Markup {
    html! {
        @for title in ["Requests", "Errors", "p50", "p95", "p99"] { th.num scope="col" { (title) } }
    }
}

fn cells(totals: &Totals, filter: &Parameters) -> Markup {
    html! {
        td.num { (totals.count) }
        td.num {
            @if totals.errors == 0 { span.muted { "–" } }
            @else { a.code.bad href=(filter.with("status", "error").link("/")) { "✕ " (percent(totals.error_share())) } }
        }
        @for share in [0.5, 0.95, 0.99] { td.num { (duration(totals.percentile(share))) } }
    }
}

fn more(rows: usize) -> Markup {
    html! {
        @if let Some(more) = rows.checked_sub(MAX_ROWS).filter(|more| *more > 0) {
            p.muted { (count(more as u64, "further row")) " in the JSON of " a href="/api/routes" { "/api/routes" } }
        }
    }
}

fn percent(share: f64) -> String {
    let percent = share * 100.;
    if percent >= 10. { format!("{percent:.0} %") } else { format!("{percent:.1} %") }
}
