//! Times as elements: in UTC, and with the script in the zone of the reader.

use maud::{Markup, html};

use crate::view::format::{ago, clock_time, rfc3339};

/// Renders a time as RFC 3339.
pub(super) fn full(unix_nano: u64) -> Markup {
    let text = rfc3339(unix_nano);
    html! { time.at datetime=(text) { (text) } }
}

/// Renders a time of the day, with the date if that is not today.
pub(super) fn clock(unix_nano: u64, now: u64) -> Markup {
    let text = rfc3339(unix_nano);
    html! { time.at.clock datetime=(text) title=(text) { (clock_time(unix_nano, now)) } }
}

/// Renders how long ago a time is. `since` is the time if it can be right, and the arrival otherwise.
pub(super) fn age(unix_nano: u64, since: u64, now: u64) -> Markup {
    let text = rfc3339(unix_nano);
    html! { time.at.age datetime=(text) title=(text) data-since=(rfc3339(since)) { (ago(since, now)) } }
}

/// Renders the name of the zone in which times are shown.
pub(super) fn zone() -> Markup {
    html! { span.zone-name { "UTC" } }
}

/// Renders the switch between the zones. The script shows it.
pub(super) fn switch() -> Markup {
    html! {
        span.switch.zone hidden role="group" aria-label="Time zone" {
            button type="button" data-zone="utc" { "UTC" }
            button type="button" data-zone="local" { "Local" }
        }
    }
}
