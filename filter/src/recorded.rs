//! [`Recorded`]: the values of the headers that are recorded by configuration, for the line and the span.

use crate::config::{Config, RecordedHeader};
use crate::host::{self, Map};
use crate::kept::{self, Kept};
use crate::pairs::Pairs;

/// The value of one header line, behind the place of its header in the configuration.
type Value = (usize, Vec<u8>);

/// What is told of the headers of a request and its response.
#[derive(Debug)]
pub(crate) struct Recorded<'r> {
    config: &'r Config,
    of_request: &'r [Value],
    of_response: Vec<Value>,
}

impl<'r> Recorded<'r> {
    /// Asks Envoy for the response's headers, if any of them is told.
    pub(crate) fn read(config: &'r Config, kept: &'r Kept) -> Self {
        let is_asked = !config.response_headers.is_empty();
        let response = if is_asked { host::header_lines(Map::Response) } else { Pairs::default() };
        Self::of(config, kept, &response)
    }

    fn of(config: &'r Config, kept: &'r Kept, response: &Pairs) -> Self {
        let wanted = &config.response_headers;
        let value = |(name, value): (&[u8], &[u8])| {
            let place = RecordedHeader::place(wanted, name)?;
            Some((place, kept::recorded(&wanted.get(place)?.name, value, config.query)))
        };
        let of_response = response.iter().filter_map(value).collect();
        Self { config, of_request: &kept.recorded, of_response }
    }

    /// The name of each attribute or label, with a value for each line of its header; there may be none.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = &[u8]> + Clone)> {
        let of_request = told(&self.config.request_headers, self.of_request);
        of_request.chain(told(&self.config.response_headers, &self.of_response))
    }
}

fn told<'r>(
    wanted: &'r [RecordedHeader],
    values: &'r [Value],
) -> impl Iterator<Item = (&'r str, impl Iterator<Item = &'r [u8]> + Clone)> {
    wanted.iter().enumerate().map(move |(place, header)| {
        let of_header = values.iter().filter(move |(of, _)| *of == place);
        (header.attribute.as_str(), of_header.map(|(_, value)| value.as_slice()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::serialized;

    /// Every line of a header in order, no more of a URL than elsewhere, and nothing of what nobody asked for.
    #[test]
    fn headers_are_told_under_their_full_names() {
        let json =
            br#"{"request_headers": ["x-tenant", "accept"], "response_headers": ["Location", "x-cache"]}"#;
        let config = Config::parse(json).unwrap();
        let kept = Kept { recorded: vec![(0, b"7".to_vec()), (0, b"8".to_vec())], ..Kept::default() };
        let response =
            [("x-cache", "hit"), ("location", "/a?token=secret"), ("x-other", "1"), ("x-cache", "")];
        let recorded = Recorded::of(&config, &kept, &Pairs::new(serialized(&response)));
        let told: Vec<(&str, Vec<&str>)> = recorded
            .iter()
            .map(|(name, values)| (name, values.map(|value| str::from_utf8(value).unwrap()).collect()))
            .collect();
        let expected = [
            ("http.request.header.x-tenant", vec!["7", "8"]),
            ("http.request.header.accept", vec![]),
            ("http.response.header.location", vec!["/a?token=REDACTED"]),
            ("http.response.header.x-cache", vec!["hit", ""]),
        ];
        assert_eq!(told, expected);
    }
}
