//! [`AttributeValue`]: the typed value of an attribute.

use std::borrow::Cow;

use logtracer_core::otlp::{MAX_TEXT_BYTES, Value};

/// The value of an attribute: a text, a number, a boolean, or a list of values of one type.
///
/// A text is truncated to 4096 bytes.
///
/// ```
/// use logtracer_sdk::spans::AttributeValue;
///
/// assert_eq!(AttributeValue::from("bread"), AttributeValue::Text("bread".into()));
/// assert_eq!(AttributeValue::from(7_u8), AttributeValue::Integer(7));
/// assert_eq!(AttributeValue::from(vec![0.5]), AttributeValue::Floats(vec![0.5]));
/// // OTLP has no unsigned integers.
/// assert_eq!(AttributeValue::from(u64::MAX), AttributeValue::Text("18446744073709551615".into()));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum AttributeValue {
    /// A text.
    Text(String),
    /// An integer. An unsigned one that does not fit becomes a text.
    Integer(i64),
    /// A floating-point number.
    Float(f64),
    /// A boolean.
    Boolean(bool),
    /// A list of texts.
    Texts(Vec<String>),
    /// A list of integers.
    Integers(Vec<i64>),
    /// A list of floating-point numbers.
    Floats(Vec<f64>),
    /// A list of booleans.
    Booleans(Vec<bool>),
}

impl AttributeValue {
    pub(super) fn as_otlp(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Integer(number) => Value::Integer(*number),
            Self::Float(number) => Value::Float(*number),
            Self::Boolean(value) => Value::Boolean(*value),
            Self::Texts(texts) => Value::Texts(texts),
            Self::Integers(numbers) => Value::Integers(numbers),
            Self::Floats(numbers) => Value::Floats(numbers),
            Self::Booleans(values) => Value::Booleans(values),
        }
    }

    /// Truncates texts to the length that is exported, so that a longer one takes no memory until the span ends.
    pub(super) fn truncated(mut self) -> Self {
        match &mut self {
            Self::Text(text) => truncate(text),
            Self::Texts(texts) => texts.iter_mut().for_each(truncate),
            _ => {}
        }
        self
    }

    /// Returns about as many bytes as the value takes in memory.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Integer(_) | Self::Float(_) | Self::Boolean(_) => 8,
            Self::Texts(texts) => texts.iter().map(|text| text.len() + size_of::<String>()).sum(),
            Self::Integers(numbers) => 8 * numbers.len(),
            Self::Floats(numbers) => 8 * numbers.len(),
            Self::Booleans(values) => values.len(),
        }
    }
}

fn truncate(text: &mut String) {
    if text.len() > MAX_TEXT_BYTES {
        text.truncate(logtracer_core::truncate(text, MAX_TEXT_BYTES).len());
        text.shrink_to_fit();
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident($convert:expr)),+ $(,)?) => {
        $(impl From<$type> for AttributeValue {
            fn from(value: $type) -> Self {
                Self::$variant($convert(value))
            }
        })+
    };
}

from! {
    &str => Text(str::to_owned),
    String => Text(|text| text),
    &String => Text(String::clone),
    Box<str> => Text(String::from),
    Cow<'_, str> => Text(Cow::into_owned),
    char => Text(String::from),
    i8 => Integer(i64::from),
    i16 => Integer(i64::from),
    i32 => Integer(i64::from),
    i64 => Integer(|number| number),
    u8 => Integer(i64::from),
    u16 => Integer(i64::from),
    u32 => Integer(i64::from),
    f32 => Float(f64::from),
    f64 => Float(|number| number),
    bool => Boolean(|value| value),
    Vec<String> => Texts(|texts| texts),
    Vec<&str> => Texts(|texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect()),
    Vec<i64> => Integers(|numbers| numbers),
    Vec<f64> => Floats(|numbers| numbers),
    Vec<bool> => Booleans(|values| values),
}

impl From<u64> for AttributeValue {
    fn from(number: u64) -> Self {
        i64::try_from(number).map_or_else(|_| Self::Text(number.to_string()), Self::Integer)
    }
}

impl From<usize> for AttributeValue {
    fn from(number: usize) -> Self {
        Self::from(number as u64)
    }
}

impl From<isize> for AttributeValue {
    fn from(number: isize) -> Self {
        Self::Integer(number as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_truncated_between_characters() {
        let text = format!("{}ä", "a".repeat(MAX_TEXT_BYTES - 1));
        let expected = "a".repeat(MAX_TEXT_BYTES - 1);
        assert_eq!(AttributeValue::from(text.as_str()).truncated(), AttributeValue::Text(expected.clone()));
        assert_eq!(
            AttributeValue::from(vec![text.as_str(), "b"]).truncated(),
            AttributeValue::Texts(vec![expected, "b".into()])
        );
    }
}
