//! The map of services: a column for each distance from the first caller, and a line for each pair.

use std::collections::{HashMap, HashSet};

use maud::{Markup, html};

use super::super::palette::Palette;
use super::percent;
use crate::store::{Statistics, Totals};
use crate::view::api::statistics::sorted;
use crate::view::bounded;
use crate::view::format::duration;

/// The busiest services and calls are drawn.
const MAX_SERVICES: usize = 60;
const MAX_CALLS: usize = 200;

const NODE_WIDTH: f64 = 180.;
const NODE_HEIGHT: f64 = 44.;
const COLUMN: f64 = 270.;
const ROW: f64 = 62.;
const MARGIN: f64 = 10.;

/// A service at its place.
struct Node<'a> {
    service: &'a str,
    totals: &'a Totals,
    x: f64,
    y: f64,
}

pub(super) fn draw(statistics: &Statistics) -> Markup {
    let services: Vec<_> = sorted(statistics.services.iter()).into_iter().take(MAX_SERVICES).collect();
    let calls: Vec<_> = sorted(statistics.calls.iter()).into_iter().take(MAX_CALLS).collect();
    let pairs: Vec<(&str, &str)> =
        calls.iter().map(|((caller, callee), _)| (caller.as_str(), callee.as_str())).collect();
    let names: Vec<&str> = services.iter().map(|(name, _)| name.as_str()).collect();
    let columns = columns(&names, &pairs);
    let mut heights: HashMap<usize, usize> = HashMap::new();
    let nodes: Vec<Node<'_>> = services
        .iter()
        .map(|(service, totals)| {
            let column = columns.get(service.as_str()).copied().unwrap_or(0);
            let row = heights.entry(column).or_default();
            *row += 1;
            let (x, y) = (MARGIN + column as f64 * COLUMN, MARGIN + (*row - 1) as f64 * ROW);
            Node { service, totals, x, y }
        })
        .collect();
    let width = nodes.iter().map(|node| node.x).fold(0., f64::max) + NODE_WIDTH + MARGIN;
    let height = nodes.iter().map(|node| node.y).fold(0., f64::max) + NODE_HEIGHT + MARGIN;
    let place = |name: &str| nodes.iter().find(|node| node.service == name);
    let busiest = calls.first().map_or(1, |(_, totals)| totals.count) as f64;
    html! {
        figure.map {
            svg viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) role="group" aria-label="Map of services" {
                defs {
                    marker #arrow viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto" { path d="M0 0L8 4L0 8z" {} }
                }
                @for ((caller, callee), totals) in &calls {
                    @if let (Some(from), Some(to)) = (place(caller), place(callee)) { (call(from, to, totals, busiest)) }
                }
                @for node in &nodes { (service(node)) }
            }
        }
    }
}

/// Returns the column of each service: one more than the least column of its callers. A circle is cut where it closes.
fn columns<'a>(services: &[&'a str], calls: &[(&str, &str)]) -> HashMap<&'a str, usize> {
    let mut columns: HashMap<&str, usize> = HashMap::new();
    let called: HashSet<&str> = calls.iter().map(|(_, callee)| *callee).collect();
    let mut next: Vec<&str> = services.iter().copied().filter(|service| !called.contains(service)).collect();
    // The busiest of a circle that nobody else calls is its first.
    while columns.len() < services.len() {
        if next.is_empty() {
            next.extend(services.iter().find(|service| !columns.contains_key(*service)).copied());
        }
        let mut column = 0;
        while !next.is_empty() {
            for service in &next {
                columns.entry(service).or_insert(column);
            }
            let is_called_now = |service: &&&str| {
                !columns.contains_key(**service)
                    && calls.iter().any(|(caller, callee)| callee == *service && next.contains(caller))
            };
            next = services.iter().filter(is_called_now).copied().collect();
            column += 1;
        }
    }
    services.iter().map(|service| (*service, columns.get(service).copied().unwrap_or(0))).collect()
}

fn call(from: &Node<'_>, to: &Node<'_>, totals: &Totals, busiest: f64) -> Markup {
    let is_forward = to.x > from.x;
    let (x1, y1) = (from.x + NODE_WIDTH, from.y + NODE_HEIGHT / 2.);
    let (x2, y2) = (if is_forward { to.x } else { to.x + NODE_WIDTH }, to.y + NODE_HEIGHT / 2.);
    let bend = if is_forward { (x2 - x1) / 2. } else { 40. };
    let end = if is_forward { x2 - bend } else { x2 + bend };
    let path = format!("M{x1:.0} {y1:.0}C{:.0} {y1:.0} {end:.0} {y2:.0} {x2:.0} {y2:.0}", x1 + bend);
    let width = 1. + 3. * (totals.count as f64 / busiest).sqrt();
    html! {
        a href={ "/?service=" (crate::view::parameters::encode(to.service)) } {
            path.call.failed[totals.errors > 0] d=(path) stroke-width={ (format!("{width:.1}")) } marker-end="url(#arrow)" {
                title { (title(&format!("{} → {}", from.service, to.service), totals)) }
            }
        }
    }
}

fn service(node: &Node<'_>) -> Markup {
    let (name, is_whole) = bounded::start(node.service, 22);
    html! {
        a href={ "/?service=" (crate::view::parameters::encode(node.service)) } {
            g class={ "node " (Palette::default().class(node.service)) } transform={ "translate(" (node.x) " " (node.y) ")" } {
                title { (title(node.service, node.totals)) }
                rect.box width=(NODE_WIDTH) height=(NODE_HEIGHT) rx="6" {}
                rect.stripe width="5" height=(NODE_HEIGHT) rx="2" {}
                text.name x="14" y="18" { (name) @if !is_whole { "…" } }
                text.figures x="14" y="35" {
                    (node.totals.count) " · p95 " (duration(node.totals.percentile(0.95)))
                    @if node.totals.errors > 0 { tspan.bad { " ✕ " (percent(node.totals.error_share())) } }
                }
            }
        }
    }
}

fn title(name: &str, totals: &Totals) -> String {
    let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| duration(totals.percentile(share)));
    let errors = percent(totals.error_share());
    format!("{name}: {} requests, {errors} errors, p50 {p50}, p95 {p95}, p99 {p99}", totals.count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_right_of_its_callers_also_in_a_circle() {
        let services = ["shop", "cart", "pay", "lone", "ping", "pong"];
        let calls = [
            ("shop", "cart"),
            ("shop", "pay"),
            ("cart", "pay"),
            ("pay", "cart"),
            ("ping", "pong"),
            ("pong", "ping"),
        ];
        let columns = columns(&services, &calls);
        let column = |name| columns[name];
        assert_eq!(services.map(column), [0, 1, 1, 0, 0, 1]);
    }
}
