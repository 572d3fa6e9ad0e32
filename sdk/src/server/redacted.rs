//! [`Redacted`]: a message as it may be logged.

use std::fmt::{self, Write as _};

/// A message whose named fields are printed as `REDACTED`: for logging the request of an RPC.
///
/// It prints what `#[derive(Debug)]` prints, which all messages of prost have, and leaves out the values of the
/// fields that are named by their path from the message: `card`, `buyer.email`; list items, options and the keys of
/// maps do not count in a path.
/// A whole message or list is redacted by its own name.
///
/// A type with a hand-written `Debug` may print anything, in which no field can be told from the next one.
/// It is printed where nothing of it is to be left out, and is `REDACTED` as a whole where one of its fields is; a
/// text that does not hold together is no message at all, `(cannot be redacted)`.
/// What it cannot do: such a `Debug` may print a line break, and after it what looks like a field of its parent.
/// A field that holds a secret in any message is better kept out of `Debug` altogether.
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
        if self.fields.is_empty() {
            return write!(f, "{:?}", self.message);
        }
        let mut text = String::new();
        // A message that fails to print itself has begun what it does not end, and is no reason to panic.
        let _ = write!(text, "{:#?}", self.message);
        match one_line(&text, self.fields) {
            Some(line) => f.write_str(&line),
            None => f.write_str("(cannot be redacted)"),
        }
    }
}

impl<T: fmt::Debug + ?Sized> fmt::Debug for Redacted<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === from many lines to one ===

/// Makes one line of what `{:#?}` prints, without the fields; `None` where the lines are not those of a value.
///
/// That form has a line for each field and for each item, and the line is indented as deep as the value is nested:
/// what a value prints of its own can neither begin nor end anything, whatever brackets and quotes are in it.
fn one_line(text: &str, fields: &[&str]) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut is_over = false;
    for line in text.lines() {
        if is_over {
            return None;
        }
        let ending = open.len().checked_sub(1).and_then(|depth| unindented(line, depth));
        let ending = ending.filter(|line| line.starts_with(['}', ']', ')']));
        let is_item = ending.is_none();
        let mut rest = ending.or_else(|| unindented(line, open.len()))?;
        if !is_item {
            let closed = open.pop()?;
            let after = rest.strip_prefix(closed.end)?;
            let is_hidden = open.iter().any(|outer| outer.is_hidden);
            if !is_hidden && !closed.is_hidden {
                out.push_str(if closed.is_struct && closed.has_items { " " } else { "" });
                out.push(closed.end);
            }
            if after.is_empty() || after == "," {
                is_over = open.is_empty();
                if is_over != after.is_empty() {
                    return None;
                }
                continue;
            }
            // The key of a map may be of many lines, too; its value follows.
            rest = after.strip_prefix(": ")?;
            if !is_hidden {
                out.push_str(": ");
            }
        } else {
            separate(&mut out, &mut open);
        }
        let is_hidden = open.iter().any(|outer| outer.is_hidden);

        // `name: value` in a struct; what stands before a colon anywhere else is a key.
        let is_field = is_item && open.last().is_some_and(|outer| outer.is_struct);
        let name = if is_field {
            rest.split_once(": ").map(|(name, _)| name).filter(|it| is_name(it))
        } else {
            None
        };
        if is_field && name.is_none() && rest != ".." {
            return None;
        }
        if let Some(name) = name {
            rest = rest.get(name.len() + ": ".len()..)?;
            if !is_hidden {
                out.push_str(name);
                out.push_str(": ");
            }
        }
        let path: Vec<&str> = open.iter().filter_map(|outer| outer.name).chain(name).collect();
        let is_named = name.is_some() && fields.iter().any(|field| field.split('.').eq(path.iter().copied()));
        let hides = is_named && !is_hidden;
        if hides {
            out.push_str("REDACTED");
        }

        if let Some((start, end)) = opening(rest) {
            let before = rest.get(..rest.len() - 1)?;
            let is_struct = end == '}' && before.trim_end().ends_with(is_of_name);
            if !is_hidden && !hides {
                out.push_str(before);
                out.push(start);
            }
            open.push(Open { end, is_struct, name, is_hidden: hides, has_items: false });
            continue;
        }
        let value = match (rest.strip_suffix(','), open.is_empty()) {
            (Some(value), false) => value,
            (None, true) => rest,
            (None, false) if rest == ".." => rest,
            _ => return None,
        };
        if !is_hidden && !hides {
            let may_hold_field = fields.iter().any(|field| begins_with(field, &path)) && !is_plain(value);
            out.push_str(if may_hold_field { "REDACTED" } else { value });
        }
        is_over = open.is_empty();
    }
    is_over.then_some(out)
}

/// A value that has begun.
struct Open<'t> {
    end: char,
    is_struct: bool,
    /// The field that it is the value of.
    name: Option<&'t str>,
    is_hidden: bool,
    has_items: bool,
}

/// Writes what stands before a field or an item.
fn separate(out: &mut String, open: &mut [Open<'_>]) {
    let is_hidden = open.iter().any(|outer| outer.is_hidden);
    if let Some(outer) = open.last_mut() {
        if !is_hidden {
            out.push_str(match (outer.has_items, outer.is_struct) {
                (true, _) => ", ",
                (false, true) => " ",
                (false, false) => "",
            });
        }
        outer.has_items = true;
    }
}

/// A line without the spaces that it has so deep in others.
fn unindented(line: &str, depth: usize) -> Option<&str> {
    let (spaces, rest) = line.split_at_checked(4 * depth)?;
    spaces.bytes().all(|byte| byte == b' ').then_some(rest)
}

/// The bracket at the end of a line that begins a value of many lines, and the one that will end it.
fn opening(line: &str) -> Option<(char, char)> {
    match line.chars().next_back()? {
        '{' => Some(('{', '}')),
        '[' => Some(('[', ']')),
        '(' => Some(('(', ')')),
        _ => None,
    }
}

/// True where the field is in what the path leads to.
fn begins_with(field: &str, path: &[&str]) -> bool {
    let mut names = field.split('.');
    path.iter().all(|name| names.next() == Some(name)) && names.next().is_some()
}

/// True for what holds nothing; a word or a number may be the field itself, printed by a hand-written `Debug`.
fn is_plain(value: &str) -> bool {
    ["None", "[]", "{}", "()", ".."].contains(&value)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_of_name)
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

    /// What a hand-written `Debug` prints as it is.
    struct Raw(&'static str);

    impl fmt::Debug for Raw {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    #[allow(dead_code)]
    #[derive(Debug)]
    struct Visit {
        uri: Raw,
        buyer: Raw,
        card: &'static str,
        others: (Vec<Raw>, Buyer),
    }

    /// Brackets and quotes in what callers send neither begin nor end anything.
    #[test]
    fn raw_texts_open_and_close_nothing() {
        for raw in
            [")", "/it's", "/a(b", "}", "]", "{ card: 1", "\"", "x, card: 1", "'", ") }", "Visit {", "x("]
        {
            let buyer = Buyer { email: "secret", age: 7 };
            let others = (vec![Raw(raw), Raw("None")], buyer);
            let visit = Visit { uri: Raw(raw), buyer: Raw(raw), card: "secret", others };
            let redacted = Redacted::new(&visit, &["card", "others.email"]).to_string();
            assert_eq!(
                redacted,
                format!(
                    "Visit {{ uri: {raw}, buyer: {raw}, card: REDACTED, others: ([REDACTED, None], \
                     Buyer {{ email: REDACTED, age: 7 }}) }}"
                ),
            );
        }
    }

    /// Where a field may be in what cannot be looked into, nothing of that is printed.
    #[test]
    fn what_cannot_be_told_apart_is_not_printed() {
        let visit = |buyer| Visit {
            uri: Raw("/"),
            buyer: Raw(buyer),
            card: "4111",
            others: (vec![], Buyer { email: "", age: 7 }),
        };
        let check = |buyer, fields: &[&str], expected: &str| {
            assert_eq!(Redacted::new(&visit(buyer), fields).to_string(), expected);
        };
        let rest = "card: \"4111\", others: ([], Buyer { email: \"\", age: 7 }) }";
        let expected = format!("Visit {{ uri: /, buyer: REDACTED, {rest}");
        check("Buyer { email: secret }", &["buyer.email"], &expected);
        check("4111", &["buyer.email"], &expected);
        check("secret", &["buyer.email"], &expected);
        check("None", &["buyer.email"], &format!("Visit {{ uri: /, buyer: None, {rest}"));
        check("two\nlines", &["card"], "(cannot be redacted)");
        assert_eq!(Redacted::new(&Raw("Login { password: secret }"), &["password"]).to_string(), "REDACTED");
        assert_eq!(Redacted::new(&Raw("open ("), &["password"]).to_string(), "(cannot be redacted)");
        assert_eq!(Redacted::new(&Raw("as it is ("), &[]).to_string(), "as it is (");
    }

    #[test]
    fn what_fails_to_print_itself_does_not_panic() {
        struct Fails;
        impl fmt::Debug for Fails {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("begun")?;
                Err(fmt::Error)
            }
        }
        assert_eq!(Redacted::new(&vec![Fails], &["card"]).to_string(), "(cannot be redacted)");
        assert_eq!(Redacted::new(&Fails, &["card"]).to_string(), "REDACTED");
    }

    #[test]
    fn one_line_is_what_debug_prints() {
        #[allow(dead_code)]
        #[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
        struct At(u8, u8);
        #[allow(dead_code)]
        #[derive(Debug)]
        enum Kind {
            Unit,
            Pair(i8, f64),
            Fields { a: Option<()>, b: [u8; 0] },
        }
        #[allow(dead_code)]
        #[derive(Debug)]
        struct All {
            kinds: Vec<Kind>,
            places: BTreeMap<At, BTreeMap<At, At>>,
            empty: BTreeMap<u8, u8>,
            text: &'static str,
            duration: std::time::Duration,
            last: Box<(u8, u8)>,
        }
        let all = All {
            kinds: vec![Kind::Unit, Kind::Pair(-1, 0.5), Kind::Fields { a: Some(()), b: [] }],
            places: [(At(1, 2), [(At(3, 4), At(5, 6))].into())].into(),
            empty: BTreeMap::new(),
            text: "line\nbreak, \"quotes\": {",
            duration: std::time::Duration::from_millis(1500),
            last: Box::new((1, 2)),
        };
        // One that no message has, so that the lines are put together.
        assert_eq!(Redacted::new(&all, &["card"]).to_string(), format!("{all:?}"));
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
