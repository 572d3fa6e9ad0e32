//! [`Redacted`]: a message as it may be logged.

use std::fmt::{self, Write};

/// A message whose named fields are printed as `REDACTED`: for logging the request of an RPC.
///
/// It prints what `#[derive(Debug)]` prints, which all messages of prost have, and leaves out the values of the
/// fields that are named by their path from the message: `card`, `buyer.email`; list items, options and the keys of
/// maps do not count in a path.
/// A whole message or list is redacted by its own name.
///
/// What it cannot do: a type with a hand-written `Debug` may print a field without its name, and is then printed as
/// it is. A field that holds a secret in any message is better kept out of `Debug` altogether.
///
/// ```
/// use logtracer_sdk::server::Redacted;
///
/// # #[allow(dead_code)]
/// #[derive(Debug)]
/// struct Buyer { name: &'static str, emails: Vec<&'static str> }
/// # #[allow(dead_code)]
/// #[derive(Debug)]
/// struct Order { card: Option<u64>, items: [u8; 2], buyer: Buyer }
///
/// let order = Order { card: Some(4111), items: [1, 2], buyer: Buyer { name: "ada", emails: vec!["a, {@}"] } };
/// assert_eq!(
///     Redacted::new(&order, &["card", "buyer.emails"]).to_string(),
///     "Order { card: REDACTED, items: [1, 2], buyer: Buyer { name: \"ada\", emails: REDACTED } }",
/// );
/// ```
#[derive(Clone, Copy)]
pub struct Redacted<'a, T: ?Sized> {
    message: &'a T,
    fields: &'a [&'a str],
}

impl<'a, T: fmt::Debug + ?Sized> Redacted<'a, T> {
    /// The message without these fields.
    ///
    /// ```
    /// use logtracer_sdk::server::Redacted;
    ///
    /// # #[allow(dead_code)]
    /// #[derive(Debug)]
    /// struct Login { name: &'static str, password: &'static str }
    ///
    /// let login = Login { name: "ada", password: "1815" };
    /// assert_eq!(format!("{}", Redacted::new(&login, &["password"])), "Login { name: \"ada\", password: REDACTED }");
    /// ```
    pub const fn new(message: &'a T, fields: &'a [&'a str]) -> Self {
        Self { message, fields }
    }
}

impl<T: fmt::Debug + ?Sized> fmt::Display for Redacted<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut filter = Filter {
            out: f,
            fields: self.fields,
            path: Vec::new(),
            word: String::new(),
            depth: 0,
            structs: Vec::new(),
            previous: ' ',
            name_may_follow: false,
            hidden: None,
            quote: None,
            is_escaped: false,
        };
        write!(filter, "{:?}", self.message)?;
        filter.flush()
    }
}

impl<T: fmt::Debug + ?Sized> fmt::Debug for Redacted<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Follows the brackets and names of what `Debug` prints.
struct Filter<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    fields: &'a [&'a str],
    /// The names of the fields that are open, each with the depth of brackets that it stands in.
    path: Vec<(usize, String)>,
    /// What may become the name of a field.
    word: String,
    depth: usize,
    /// Which of the open brackets belong to structs: what stands before a colon in others is a key of a map, which is
    /// a value and does not count in a path.
    structs: Vec<bool>,
    /// The last character that is no space.
    previous: char,
    /// A brace of a struct, or a comma in one, and nothing after it.
    name_may_follow: bool,
    /// The depth of the field that is left out.
    hidden: Option<usize>,
    quote: Option<char>,
    is_escaped: bool,
}

impl Filter<'_, '_> {
    fn take(&mut self, c: char) -> fmt::Result {
        if let Some(quote) = self.quote {
            match c {
                _ if self.is_escaped => self.is_escaped = false,
                '\\' => self.is_escaped = true,
                _ if c == quote => self.quote = None,
                _ => {}
            }
            return self.put(c);
        }
        match c {
            '"' | '\'' => {
                self.quote = Some(c);
                self.put(c)
            }
            '{' | '[' | '(' => {
                self.depth += 1;
                let is_struct = c == '{' && is_of_name(self.previous);
                self.structs.push(is_struct);
                self.put(c)?;
                self.name_may_follow = is_struct;
                Ok(())
            }
            '}' | ']' | ')' => {
                let was_hidden = self.hidden.is_some();
                self.end_of_field()?;
                if c == '}' && was_hidden && self.hidden.is_none() {
                    self.out.write_char(' ')?;
                }
                self.depth = self.depth.saturating_sub(1);
                self.structs.pop();
                self.put(c)
            }
            ',' => {
                self.end_of_field()?;
                self.put(c)?;
                self.name_may_follow = self.structs.last() == Some(&true);
                Ok(())
            }
            ':' if self.name_may_follow && !self.word.is_empty() => self.name_of_field(),
            ':' => self.put(c),
            _ if is_of_name(c) => {
                if self.hidden.is_none() {
                    self.word.push(c);
                }
                Ok(())
            }
            _ => self.put(c),
        }
    }

    /// A name is what stands before a colon; what follows it may have to be left out.
    fn name_of_field(&mut self) -> fmt::Result {
        if self.hidden.is_some() {
            return Ok(());
        }
        self.path.push((self.depth, self.word.clone()));
        self.put(':')?;
        let is_named = self
            .fields
            .iter()
            .any(|field| field.split('.').eq(self.path.iter().map(|(_, name)| name.as_str())));
        if is_named {
            self.out.write_str(" REDACTED")?;
            self.hidden = Some(self.depth);
        }
        Ok(())
    }

    fn end_of_field(&mut self) -> fmt::Result {
        self.flush()?;
        if self.hidden.is_some_and(|depth| self.depth <= depth) {
            self.hidden = None;
        }
        while self.path.last().is_some_and(|(depth, _)| *depth >= self.depth) {
            self.path.pop();
        }
        Ok(())
    }

    fn put(&mut self, c: char) -> fmt::Result {
        self.flush()?;
        self.name_may_follow &= c.is_whitespace();
        match self.hidden {
            Some(_) => Ok(()),
            None => self.out.write_char(c),
        }
    }

    fn flush(&mut self) -> fmt::Result {
        if self.hidden.is_none() {
            self.out.write_str(&self.word)?;
        }
        self.name_may_follow &= self.word.is_empty();
        self.word.clear();
        Ok(())
    }
}

impl Write for Filter<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| {
            self.take(c)?;
            if !c.is_whitespace() {
                self.previous = c;
            }
            Ok(())
        })
    }
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
    enum Key {
        Email,
    }

    #[allow(dead_code)] // read by `Debug`
    #[derive(Debug, Clone)]
    struct Buyer {
        email: &'static str,
        age: u8,
    }

    #[allow(dead_code)]
    #[derive(Debug)]
    struct Order {
        by_name: BTreeMap<&'static str, Buyer>,
        by_number: BTreeMap<u8, Vec<Buyer>>,
        by_key: BTreeMap<Key, Buyer>,
        nested: BTreeMap<u8, BTreeMap<Key, Option<Buyer>>>,
        last: u8,
    }

    #[track_caller]
    fn check(fields: &[&str], expected: &str) {
        let buyer = Buyer { email: "a: {secret", age: 7 };
        let order = Order {
            by_name: [("ada", buyer.clone()), ("bob, x", buyer.clone())].into(),
            by_number: [(1, vec![buyer.clone()])].into(),
            by_key: [(Key::Email, buyer.clone())].into(),
            nested: [(1, [(Key::Email, Some(buyer))].into())].into(),
            last: 9,
        };
        assert_eq!(Redacted::new(&order, fields).to_string(), expected);
    }

    #[test]
    fn keys_of_maps_do_not_count() {
        check(
            &["by_name.email", "by_number.email", "by_key.email", "nested.email"],
            "Order { by_name: {\"ada\": Buyer { email: REDACTED, age: 7 }, \"bob, x\": Buyer { email: REDACTED, age: 7 }}, \
             by_number: {1: [Buyer { email: REDACTED, age: 7 }]}, by_key: {Email: Buyer { email: REDACTED, age: 7 }}, \
             nested: {1: {Email: Some(Buyer { email: REDACTED, age: 7 })}}, last: 9 }",
        );
        check(
            &["by_name", "by_number.age", "by_key", "nested", "last"],
            "Order { by_name: REDACTED, by_number: {1: [Buyer { email: \"a: {secret\", age: REDACTED }]}, \
             by_key: REDACTED, nested: REDACTED, last: REDACTED }",
        );
    }
}
