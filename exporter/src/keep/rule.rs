//! [`Rule`]: which traces a sink gets, as `--keep` names it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use logtracer_core::sampling::Ratio;

use crate::clock;

/// A rule of tail sampling. A sink with rules gets the traces that at least one of them matches.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// A span of the trace has the status ERROR.
    Error,
    /// From the start of its first span to the end of its last, the trace takes at least as long.
    SlowerThan(Duration),
    /// A span has this route: the attribute `http.route`, or the name of a gRPC method.
    Route(String),
    /// A span is of this service: `NAME` in any namespace, or `NAMESPACE/NAME`.
    Service(String),
    /// A span or its resource has this attribute.
    Attribute {
        /// The key.
        key: String,
        /// The value as text.
        value: String,
    },
    /// The trace belongs to this share of all traces.
    Rate(Ratio),
    /// The trace is one of the first of a route in an hour.
    NewRoute,
    /// Not a rule on traces: the log records of a trace follow its verdict. Those of errors are always kept.
    Logs,
}

const EXPECTED: &str =
    "error, slower-than=TIME, route=ROUTE, service=NAME, attribute=KEY=VALUE, rate=SHARE, new-route, logs";

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let needed = |example: &str| match value {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(format!("{name} needs a value, for example {example}")),
        };
        match name {
            "error" | "new-route" | "logs" if value.is_some() => Err(format!("{name} takes no value")),
            "error" => Ok(Self::Error),
            "new-route" => Ok(Self::NewRoute),
            "logs" => Ok(Self::Logs),
            "slower-than" => {
                let value = needed("slower-than=2s")?;
                duration(value).map(Self::SlowerThan)
            }
            "route" => needed("route=/checkout").map(|route| Self::Route(route.to_owned())),
            "service" => needed("service=payment").map(|service| Self::Service(service.to_owned())),
            "attribute" => {
                let example = "attribute=tenant=acme";
                let (key, value) = needed(example)?
                    .split_once('=')
                    .filter(|(key, _)| !key.is_empty())
                    .ok_or_else(|| format!("attribute needs a key and a value, for example {example}"))?;
                Ok(Self::Attribute { key: key.to_owned(), value: value.to_owned() })
            }
            "rate" => {
                let value = needed("rate=0.05")?;
                let ratio = value.parse().ok().and_then(Ratio::new);
                ratio
                    .map(Self::Rate)
                    .ok_or_else(|| format!("rate is {value:?}; expected a share from 0 to 1"))
            }
            _ => Err(format!("unknown rule {name:?}; expected one of {EXPECTED}")),
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("slower-than is {text:?}; expected a time with its unit, such as 250ms or 2s");
    clock::parse_duration(text).ok_or_else(expected)
}

/// Writes the rule as `--keep` takes it.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error => f.write_str("error"),
            Self::SlowerThan(duration) => write!(f, "slower-than={duration:?}"),
            Self::Route(route) => write!(f, "route={route}"),
            Self::Service(service) => write!(f, "service={service}"),
            Self::Attribute { key, value } => write!(f, "attribute={key}={value}"),
            Self::Rate(ratio) => write!(f, "rate={ratio}"),
            Self::NewRoute => f.write_str("new-route"),
            Self::Logs => f.write_str("logs"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_parsed_and_shown() {
        for (text, rule) in [
            ("error", Rule::Error),
            ("slower-than=2s", Rule::SlowerThan(Duration::from_secs(2))),
            ("slower-than=250ms", Rule::SlowerThan(Duration::from_millis(250))),
            ("route=/users/{id}", Rule::Route("/users/{id}".to_owned())),
            ("service=shop/cart", Rule::Service("shop/cart".to_owned())),
            ("attribute=a=b=c", Rule::Attribute { key: "a".to_owned(), value: "b=c".to_owned() }),
            ("attribute=a=", Rule::Attribute { key: "a".to_owned(), value: String::new() }),
            ("rate=0.05", Rule::Rate(Ratio::new(0.05).unwrap())),
            ("new-route", Rule::NewRoute),
            ("logs", Rule::Logs),
        ] {
            assert_eq!(text.parse(), Ok(rule.clone()));
            assert_eq!(rule.to_string(), text);
        }
    }

    #[test]
    fn an_invalid_rule_is_rejected_with_what_was_expected() {
        for (text, error) in [
            ("errors", "unknown rule \"errors\"; expected one of error, slower-than=TIME, route=ROUTE"),
            ("error=1", "error takes no value"),
            ("logs=all", "logs takes no value"),
            ("slower-than", "slower-than needs a value, for example slower-than=2s"),
            ("slower-than=2", "slower-than is \"2\"; expected a time with its unit, such as 250ms or 2s"),
            ("slower-than=-2s", "slower-than is \"-2s\"; expected a time"),
            ("route=", "route needs a value, for example route=/checkout"),
            ("attribute=a", "attribute needs a key and a value, for example attribute=tenant=acme"),
            ("attribute==b", "attribute needs a key and a value"),
            ("rate=2", "rate is \"2\"; expected a share from 0 to 1"),
            ("rate=NaN", "rate is \"NaN\"; expected a share from 0 to 1"),
            ("", "unknown rule \"\""),
        ] {
            let found = text.parse::<Rule>().unwrap_err();
            assert!(found.starts_with(error), "{text}: {found}");
        }
    }
}
