//! The overview above the list: a dot for each trace, over time and by duration.

use maud::{Markup, html};

use crate::store::TraceDot;
use crate::view::format::{duration, rfc3339};
use crate::view::pages::time;
use crate::view::visible;

/// The size of the drawing in its own units. It is stretched to the width of the page.
const WIDTH: f64 = 1000.;
const HEIGHT: f64 = 96.;
const MARGIN: f64 = 8.;

/// The axes of the drawing.
struct Axes {
    first: u64,
    last: u64,
    shortest: f64,
    longest: f64,
}

impl Axes {
    fn x(&self, nanos: u64) -> f64 {
        let share =
            nanos.saturating_sub(self.first) as f64 / self.last.saturating_sub(self.first).max(1) as f64;
        MARGIN + share * (WIDTH - 2. * MARGIN)
    }

    fn y(&self, nanos: u64) -> f64 {
        let log = |nanos: f64| nanos.max(1.).ln();
        let range = (log(self.longest) - log(self.shortest)).max(f64::EPSILON);
        let share = ((log(nanos as f64) - log(self.shortest)) / range).clamp(0., 1.);
        HEIGHT - MARGIN - share * (HEIGHT - 2. * MARGIN)
    }
}

/// Draws these traces. The drawing has links to them, and the script lets the user select a range of it.
pub(super) fn draw(drawn: &[TraceDot], now: u64) -> Markup {
    let times = drawn.iter().map(|trace| trace.order_unix_nano);
    let durations = drawn.iter().map(|trace| trace.duration_nano as f64);
    let axes = Axes {
        first: times.clone().min().unwrap_or(0),
        last: times.max().unwrap_or(0),
        shortest: durations.clone().fold(1e6, f64::min).max(1e3),
        longest: durations.fold(1e8, f64::max),
    };
    if drawn.len() < 2 {
        return html! {};
    }
    let failed = drawn.iter().filter(|trace| trace.has_failed).count();
    let decades = (3..=13)
        .map(|power| 10_f64.powi(power))
        .filter(|nanos| (axes.shortest..=axes.longest).contains(nanos));
    let middle = axes.first + (axes.last - axes.first) / 2;
    html! {
        figure.overview {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="group"
                aria-label={ (drawn.len()) " traces over time and by duration, " (failed) " of them with errors" }
                data-from=(rfc3339(axes.first)) data-to=(rfc3339(axes.last))
                data-shortest=(axes.shortest) data-longest=(axes.longest) data-margin=(MARGIN)
            {
                @for nanos in decades {
                    line.grid x1="0" x2=(WIDTH) y1=(fixed(axes.y(nanos as u64))) y2=(fixed(axes.y(nanos as u64))) {}
                }
                @for trace in drawn { (dot(&axes, trace)) }
            }
            div.durations aria-hidden="true" { span { (duration(axes.longest as u64)) } span { (duration(axes.shortest as u64)) } }
            div.times aria-hidden="true" {
                @for time in [axes.first, middle, axes.last] { span { (time::clock(time, now)) " " (time::zone()) } }
            }
        }
    }
}

/// Failed traces are squares: their shape differs, too.
fn dot(axes: &Axes, trace: &TraceDot) -> Markup {
    let (x, y) = (axes.x(trace.order_unix_nano), axes.y(trace.duration_nano));
    html! {
        a href={ "/trace/" (trace.trace_id) } tabindex="-1" {
            // A line without length is round and as wide as its stroke, however the drawing is stretched.
            path class=(if trace.has_failed { "dot failed" } else { "dot" }) d={ "M" (fixed(x)) " " (fixed(y)) "h0" } {
                title { (visible::title(&trace.root_name)) ", " (duration(trace.duration_nano)) @if trace.has_failed { ", failed" } }
            }
        }
    }
}

fn fixed(number: f64) -> String {
    format!("{number:.1}")
}
