//! The state of a page, as the parameters of its address. A link to the page is a link to this state.

use std::fmt::Write;

use logtracer_core::SpanId;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::store::{LineKey, SpanKey};

/// What is escaped in a value of an address.
const RESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/').remove(b':');

/// The longest text that can be searched for.
const MAX_FIND_BYTES: usize = 200;

/// The maximum number of services and of collapsed spans in an address.
const MAX_SERVICES: usize = 50;
pub(super) const MAX_COLLAPSED: usize = 50;

/// What a page shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The span whose details are open.
    pub(super) span: Option<SpanId>,
    /// The line whose details are open.
    pub(super) line: Option<LineKey>,
    /// The number of rows before the first one.
    pub(super) row: Option<usize>,
    /// A span that is on the page (addresses of earlier versions).
    pub(super) from: Option<SpanId>,
    pub(super) lines: Lines,
    /// Only the lines of this span. They are beside the spans.
    pub(super) of: Option<SpanId>,
    /// The number of lines before the first one, if they are beside the spans.
    pub(super) first_line: usize,
    /// Only the spans of these services.
    pub(super) services: Vec<String>,
    /// Only this span and what is below it.
    pub(super) subtree: Option<SpanId>,
    pub(super) find: String,
    /// What is below these spans is hidden.
    pub(super) collapse: Vec<SpanId>,
    pub(super) time: Time,
    pub(super) path: Path,
}

/// Where the log lines are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Lines {
    #[default]
    Interleaved,
    Beside,
}

/// Which times are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Time {
    #[default]
    Raw,
    Aligned,
}

/// Which spans are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Path {
    #[default]
    All,
    /// Only those on the critical path.
    Critical,
}

impl State {
    /// Reads the parameters of an address. The error is a text for people, which names the parameter.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let mut state = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, raw) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(raw);
            let invalid =
                |expected: &str| format!("invalid value of the parameter {name}: expected {expected}");
            let span = || match value.trim() {
                "" => Ok(None),
                id => id.parse().map(Some).map_err(|_| invalid("a span id of 16 hexadecimal digits")),
            };
            let number = || match value.trim() {
                "" => Ok(0),
                number => number.parse::<usize>().map_err(|_| invalid("a number")),
            };
            match name {
                "span" => state.span = span()?,
                "subtree" => state.subtree = span()?,
                "of" => state.of = span()?,
                "line" if value.is_empty() => state.line = None,
                "line" => state.line = Some(value.parse().map_err(|()| invalid("a line, as TIME-N"))?),
                "row" => state.row = Some(number()?),
                "first" => state.first_line = number()?,
                "from" if value.is_empty() => {}
                "from" => {
                    let key: SpanKey = value.parse().map_err(|()| invalid("a span, as START-ID"))?;
                    state.from = Some(key.span_id);
                }
                "lines" => match &*value {
                    "" | "interleaved" => state.lines = Lines::Interleaved,
                    "beside" => state.lines = Lines::Beside,
                    // Addresses of earlier versions have the first line.
                    key => {
                        let expected = "interleaved or beside";
                        state.line = Some(key.parse().map_err(|()| invalid(expected))?);
                        state.lines = Lines::Beside;
                    }
                },
                "time" => {
                    state.time = match &*value {
                        "" | "raw" => Time::Raw,
                        "aligned" => Time::Aligned,
                        _ => return Err(invalid("raw or aligned")),
                    }
                }
                "path" => {
                    state.path = match &*value {
                        "" | "all" => Path::All,
                        "critical" => Path::Critical,
                        _ => return Err(invalid("all or critical")),
                    }
                }
                "find" if value.len() > MAX_FIND_BYTES => {
                    return Err(invalid(&format!("at most {MAX_FIND_BYTES} bytes")));
                }
                "find" => state.find = value.trim().to_owned(),
                "services" => {
                    // A comma in a name is escaped.
                    state.services.extend(raw.split(',').filter(|name| !name.is_empty()).map(decode));
                    if state.services.len() > MAX_SERVICES {
                        return Err(invalid(&format!("at most {MAX_SERVICES} names")));
                    }
                }
                "collapse" => {
                    for id in value.split(',').filter(|id| !id.is_empty()) {
                        state
                            .collapse
                            .push(id.parse().map_err(|_| invalid("span ids with commas between them"))?);
                    }
                    if state.collapse.len() > MAX_COLLAPSED {
                        return Err(invalid(&format!("at most {MAX_COLLAPSED} span ids")));
                    }
                }
                other => {
                    let (other, _) = crate::view::bounded::start(other, 100);
                    return Err(format!("unknown parameter {other}"));
                }
            }
        }
        // The lines of one span are beside the spans.
        if state.of.is_some() {
            state.lines = Lines::Beside;
        }
        Ok(state)
    }

    /// Returns the address of a changed state.
    pub(super) fn with(&self, change: impl FnOnce(&mut Self)) -> String {
        let mut state = self.clone();
        change(&mut state);
        state.query()
    }

    /// Returns the address of this state with another span or line open.
    pub(super) fn opening(&self, span: Option<SpanId>, line: Option<LineKey>) -> String {
        self.with(|state| (state.span, state.line) = (span, line))
    }

    /// Returns the query of this state, which begins with a question mark.
    pub(super) fn query(&self) -> String {
        let mut out = String::from("?");
        for (name, value) in self.pairs() {
            let separator = if out.len() == 1 { "" } else { "&" };
            // A name that is repeated is easier to keep than commas, of which some are escaped.
            let separators = if name == "services" { "&services=" } else { "," };
            let value: Vec<String> = value.iter().map(|part| encode(part)).collect();
            // Cannot fail: a string takes all characters.
            let _ = write!(out, "{separator}{name}={}", value.join(separators));
        }
        out
    }

    /// Returns the parameters that are not the default. A form can repeat a parameter for each of its values.
    pub(super) fn pairs(&self) -> Vec<(&'static str, Vec<String>)> {
        let mut pairs: Vec<(&'static str, Vec<String>)> = Vec::new();
        let mut add = |name, value: Option<String>| pairs.extend(value.map(|value| (name, vec![value])));
        add("span", self.span.map(|id| id.to_string()));
        add("line", self.line.map(|key| key.to_string()));
        add("subtree", self.subtree.map(|id| id.to_string()));
        add("lines", (self.lines == Lines::Beside).then(|| "beside".to_owned()));
        add("of", self.of.map(|id| id.to_string()));
        add("find", (!self.find.is_empty()).then(|| self.find.clone()));
        add("path", (self.path == Path::Critical).then(|| "critical".to_owned()));
        add("time", (self.time == Time::Aligned).then(|| "aligned".to_owned()));
        add("row", self.row.map(|row| row.to_string()));
        add("first", (self.first_line > 0).then(|| self.first_line.to_string()));
        if !self.services.is_empty() {
            pairs.push(("services", self.services.clone()));
        }
        if !self.collapse.is_empty() {
            pairs.push(("collapse", self.collapse.iter().map(SpanId::to_string).collect()));
        }
        pairs
    }
}

/// Escapes a value of an address.
pub(in crate::view) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

fn decode(raw: &str) -> String {
    percent_decode_str(&raw.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_reads_back() {
        for query in [
            "?",
            "?span=00000000000000aa&lines=beside&of=00000000000000ab",
            "?line=17-2&subtree=00000000000000aa&find=a%26b%3D%2B&path=critical&time=aligned&services=a%2Cb&services=shop%20x",
            "?row=500&first=500&collapse=00000000000000aa,00000000000000ab",
            "?find=GET%20/basket",
        ] {
            let state = State::parse(query.trim_start_matches('?')).unwrap();
            assert_eq!(state.query(), query);
        }
        let old = State::parse("from=17-00000000000000aa&lines=17-2").unwrap();
        assert_eq!((old.from, old.lines), (SpanId::new(0xaa), Lines::Beside));
        assert_eq!(State::parse("services=a&services=b+c").unwrap().services, ["a", "b c"]);
        assert_eq!(State::parse("services=a,b%2Cc").unwrap().services, ["a", "b,c"]);
        assert_eq!(State::parse("of=00000000000000aa&lines=interleaved").unwrap().lines, Lines::Beside);
        assert_eq!(State::parse("lines=&find=&span=&row=&time=&services=").unwrap().query(), "?row=0");
    }

    #[test]
    fn errors_name_the_parameter() {
        for (query, name) in [
            ("colour=red", "unknown parameter colour"),
            ("span=x", "parameter span"),
            ("span=0000000000000000", "parameter span"),
            ("lines=below", "parameter lines"),
            ("row=-1", "parameter row"),
            ("time=local", "parameter time"),
            ("path=x", "parameter path"),
            ("from=x", "parameter from"),
            ("collapse=1,2", "parameter collapse"),
            (&format!("find={}", "x".repeat(201)), "parameter find"),
            (&format!("services={}", "x,".repeat(51)), "parameter services"),
        ] {
            let error = State::parse(query).unwrap_err();
            assert!(error.contains(name), "{query}: {error}");
        }
    }
}
