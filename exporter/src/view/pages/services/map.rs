//! The map of services: a column for each distance from the first caller, and a line for each pair.

use std::collections::{HashMap, HashSet};

use maud::{Markup, html};

use super::super::palette::Palette;
use super::percent;
use crate::store::{Statistics, Totals, is_service};
use crate::view::api::statistics::sorted;
use crate::view::format::{count, duration};
use crate::view::parameters::Parameters;
use crate::view::visible;

/// The busiest services and calls are drawn.
const MAX_SERVICES: usize = 60;
const MAX_CALLS: usize = 200;

const NODE_WIDTH: f64 = 180.;
const NODE_HEIGHT: f64 = 44.;
const COLUMN: f64 = 270.;
const ROW: f64 = 62.;
const MARGIN: f64 = 10.;

/// Where lines are attached to a box, as shares of its height: a call and one in the other direction stay apart.
const FORWARD: f64 = 0.35;
const BACKWARD: f64 = 0.7;

/// How far the line of a call within a column leaves its boxes at most, on the right.
const BEND: f64 = 80.;

/// A service at its place.
struct Node<'a> {
    service: &'a str,
    totals: &'a Totals,
    x: f64,
    y: f64,
}

/// Draws the map. With a filter, it has the services that it passes, and those that they call or are called by. `range`
/// has the times, which the links keep.
pub(super) fn draw(statistics: &Statistics, wanted: Option<&str>, range: &Parameters) -> Markup {
    let is_wanted = |service: &str| wanted.is_none_or(|wanted| is_service(service, wanted));
    let calls = sorted(statistics.calls.iter());
    let calls = calls.into_iter().filter(|((caller, callee), _)| is_wanted(caller) || is_wanted(callee));
    let calls: Vec<_> = calls.take(MAX_CALLS).collect();
    let near: HashSet<&String> = calls.iter().flat_map(|((caller, callee), _)| [caller, callee]).collect();
    let services = sorted(statistics.services.iter());
    let services = services.into_iter().filter(|(name, _)| is_wanted(name) || near.contains(name));
    let services: Vec<_> = services.take(MAX_SERVICES).collect();
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
    let width = nodes.iter().map(|node| node.x).fold(0., f64::max) + NODE_WIDTH + BEND + MARGIN;
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
                    @if let (Some(from), Some(to)) = (place(caller), place(callee)) { (call((from, to), totals, busiest, range)) }
                }
                @for node in &nodes { (service(node, range)) }
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

/// Returns the curve of a call: its ends, and the two points that bend it.
///
/// A call to the right leaves its caller on the right and reaches the called service on the left, and one to the left the
/// other way round. A call within a column is on the right of both.
fn curve(from: (f64, f64), to: (f64, f64)) -> [(f64, f64); 4] {
    let (is_forward, is_backward) = (to.0 > from.0, to.0 < from.0);
    let is_down = to.1 > from.1;
    let share = if is_forward || (!is_backward && is_down) { FORWARD } else { BACKWARD };
    let (y1, y2) = (from.1 + share * NODE_HEIGHT, to.1 + share * NODE_HEIGHT);
    let x1 = if is_backward { from.0 } else { from.0 + NODE_WIDTH };
    let x2 = if is_forward { to.0 } else { to.0 + NODE_WIDTH };
    let (bend1, bend2) = match (is_forward, is_backward) {
        (true, _) => ((x2 - x1) / 2., (x1 - x2) / 2.),
        (_, true) => ((x2 - x1) / 2., (x1 - x2) / 2.),
        // The lines of long ways are outside of those of short ones.
        _ => {
            let bend = (20. + 0.15 * (y2 - y1).abs()).min(BEND);
            (bend, bend)
        }
    };
    [(x1, y1), (x1 + bend1, y1), (x2 + bend2, y2), (x2, y2)]
}

fn call((from, to): (&Node<'_>, &Node<'_>), totals: &Totals, busiest: f64, range: &Parameters) -> Markup {
    let [start, bend, bend_back, end] = curve((from.x, from.y), (to.x, to.y));
    let point = |(x, y): (f64, f64)| format!("{x:.0} {y:.0}");
    let path = format!("M{}C{} {} {}", point(start), point(bend), point(bend_back), point(end));
    let width = 1. + 3. * (totals.count as f64 / busiest).sqrt();
    html! {
        a href=(range.with("service", to.service).link("/")) {
            path.call.failed[totals.errors > 0] d=(path) stroke-width={ (format!("{width:.1}")) } marker-end="url(#arrow)" {
                title { (title(&format!("{} → {}", from.service, to.service), totals)) }
            }
        }
    }
}

fn service(node: &Node<'_>, range: &Parameters) -> Markup {
    html! {
        a href=(range.with("service", node.service).link("/")) {
            g class={ "node " (Palette::default().class(node.service)) } transform={ "translate(" (node.x) " " (node.y) ")" } {
                title { (title(node.service, node.totals)) }
                rect.box width=(NODE_WIDTH) height=(NODE_HEIGHT) rx="6" {}
                rect.stripe width="5" height=(NODE_HEIGHT) rx="2" {}
                // A text of a drawing cannot be cut by its width.
                foreignObject x="14" y="3" width=(NODE_WIDTH - 20.) height="20" { div.name { (visible::line(node.service, visible::NAME_BYTES)) } }
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
    let (name, requests) = (visible::title(name), count(totals.count, "request"));
    format!("{name}: {requests}, {errors} errors, p50 {p50}, p95 {p95}, p99 {p99}")
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

    #[test]
    fn a_line_leads_from_its_caller_to_the_called_service() {
        let place = |column: f64, row: f64| (MARGIN + column * COLUMN, MARGIN + row * ROW);
        for (from, to, leaves_on_the_right, arrives_on_the_right) in [
            (place(0., 0.), place(1., 0.), true, false),
            (place(0., 0.), place(2., 3.), true, false),
            (place(1., 0.), place(0., 0.), false, true),
            (place(2., 3.), place(0., 1.), false, true),
            (place(1., 0.), place(1., 2.), true, true),
            (place(1., 2.), place(1., 0.), true, true),
        ] {
            let [start, bend, bend_back, end] = curve(from, to);
            let side = |right: bool| if right { NODE_WIDTH } else { 0. };
            assert_eq!(
                (start.0, end.0),
                (from.0 + side(leaves_on_the_right), to.0 + side(arrives_on_the_right))
            );
            assert!(
                (from.1..from.1 + NODE_HEIGHT).contains(&start.1)
                    && (to.1..to.1 + NODE_HEIGHT).contains(&end.1)
            );
            // It leaves the box and reaches the other one from outside, and is within the drawing.
            assert_eq!((bend.0 > start.0, bend_back.0 > end.0), (leaves_on_the_right, arrives_on_the_right));
            assert!(bend.0.max(bend_back.0) <= from.0.max(to.0) + NODE_WIDTH + BEND);
            // The call in the other direction is another line.
            let [back, .., back_end] = curve(to, from);
            assert!(start != back_end && end != back);
        }
    }
}
