//! [`Redacted`]: a message as it may be logged.

use std::fmt::{self, Write};

/// A message whose named fields are printed as `REDACTED`: for logging the request of an RPC.
///
/// It prints what `#[derive(Debug)]` prints, which all messages of prost have, and leaves out the values of the
/// fields that are named by their path from the message: `card`, `buyer.email`; list items and options do not
/// count in a path.
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
                self.put(c)
            }
            '}' | ']' | ')' => {
                let was_hidden = self.hidden.is_some();
                self.end_of_field()?;
                if c == '}' && was_hidden && self.hidden.is_none() {
                    self.out.write_char(' ')?;
                }
                self.depth = self.depth.saturating_sub(1);
                self.put(c)
            }
            ',' => {
                self.end_of_field()?;
                self.put(c)
            }
            ':' => self.name_of_field(),
            _ if c.is_alphanumeric() || c == '_' => {
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
        match self.hidden {
            Some(_) => Ok(()),
            None => self.out.write_char(c),
        }
    }

    fn flush(&mut self) -> fmt::Result {
        if self.hidden.is_none() {
            self.out.write_str(&self.word)?;
        }
        self.word.clear();
        Ok(())
    }
}

impl Write for Filter<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.take(c))
    }
}
