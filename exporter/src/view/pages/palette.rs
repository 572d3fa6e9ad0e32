//! The colours of services. A service prefers the same colour on every page, and the services of one trace have
//! different colours if possible.

/// The number of classes `c0`, `c1`, … in the stylesheet.
const COLOURS: usize = 10;

/// The colours of the services of one page.
#[derive(Debug, Default)]
pub(super) struct Palette {
    services: Vec<(String, usize)>,
}

impl Palette {
    /// Assigns colours to the services of one trace.
    pub(super) fn of_trace<'a>(services: impl IntoIterator<Item = &'a str>) -> Self {
        let mut palette = Self::default();
        for service in services {
            if palette.services.iter().any(|(known, _)| known == service) {
                continue;
            }
            let first = preferred(service);
            let is_free = |colour: &usize| !palette.services.iter().any(|(_, taken)| taken == colour);
            let colour = (first..first + COLOURS).map(|n| n % COLOURS).find(is_free).unwrap_or(first);
            palette.services.push((service.to_owned(), colour));
        }
        palette
    }

    /// Returns the class of a service.
    pub(super) fn class(&self, service: &str) -> String {
        let known = self.services.iter().find(|(known, _)| known == service);
        format!("c{}", known.map_or_else(|| preferred(service), |(_, colour)| *colour))
    }
}

/// Returns the preferred colour: the FNV-1a hash of the name, mixed so that its upper bits differ between short names.
fn preferred(service: &str) -> usize {
    let hash = service.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed >> 32) % COLOURS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_of_one_trace_have_different_colours() {
        let names: Vec<String> = (0..COLOURS).map(|n| format!("service-{n}")).collect();
        let palette = Palette::of_trace(names.iter().map(String::as_str));
        let mut classes: Vec<String> = names.iter().map(|name| palette.class(name)).collect();
        classes.sort();
        classes.dedup();
        assert_eq!(classes.len(), COLOURS);
    }

    #[test]
    fn a_name_keeps_its_colour() {
        assert_eq!(Palette::default().class("shop"), Palette::of_trace(["shop"]).class("shop"));
    }
}
