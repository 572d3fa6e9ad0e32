//! Colours of services: the same name has the same colour on every page, and two of one trace differ if possible.

/// How many classes `c0`, `c1`, … the stylesheet has.
const COLOURS: usize = 10;

/// The classes of the services of one page.
#[derive(Debug, Default)]
pub(super) struct Palette {
    services: Vec<(String, usize)>,
}

impl Palette {
    /// The colours for the services of one trace.
    pub(super) fn of_trace<'a>(services: impl IntoIterator<Item = &'a str>) -> Self {
        let mut palette = Self::default();
        for service in services {
            if palette.services.iter().any(|(known, _)| known == service) {
                continue;
            }
            let own = preferred(service);
            let is_free = |colour: &usize| !palette.services.iter().any(|(_, taken)| taken == colour);
            let colour = (own..own + COLOURS).map(|n| n % COLOURS).find(is_free).unwrap_or(own);
            palette.services.push((service.to_owned(), colour));
        }
        palette
    }

    /// The class of a service.
    pub(super) fn class(&self, service: &str) -> String {
        let known = self.services.iter().find(|(known, _)| known == service);
        format!("c{}", known.map_or_else(|| preferred(service), |(_, colour)| *colour))
    }
}

/// By FNV-1a of the name, whose upper bits differ most between short names.
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
    fn services_of_one_trace_differ() {
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
