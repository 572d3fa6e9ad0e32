//! Indents JSON and SQL, so that a long value can be read.

/// Deeper objects are indented no further, so that the result stays a small multiple of the text.
const MAX_INDENT: usize = 16;

/// Indents an object or an array. Returns `None` if the text is neither, is not JSON, or fits into a short line.
pub(super) fn json(text: &str) -> Option<String> {
    let text = text.trim();
    if text.len() < 40 || !text.starts_with(['{', '[']) {
        return None;
    }
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    let mut out = String::with_capacity(text.len() * 2);
    let (mut depth, mut is_in_text, mut is_escaped) = (0_usize, false, false);
    let mut characters = text.chars().peekable();
    let break_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth.min(MAX_INDENT)));
    };
    while let Some(character) = characters.next() {
        if is_in_text {
            out.push(character);
            is_in_text = is_escaped || character != '"';
            is_escaped = !is_escaped && character == '\\';
            continue;
        }
        match character {
            '"' => {
                is_in_text = true;
                out.push('"');
            }
            '{' | '[' => {
                out.push(character);
                while characters.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                if let Some(end) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    break_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                break_line(&mut out, depth);
                out.push(character);
            }
            ',' => {
                out.push(',');
                break_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ if character.is_ascii_whitespace() => {}
            _ => out.push(character),
        }
    }
    Some(out)
}

/// The words that begin a clause, and those that begin a part of one.
const CLAUSES: [&str; 20] = [
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "HAVING",
    "ORDER BY",
    "LIMIT",
    "OFFSET",
    "UNION",
    "INSERT INTO",
    "VALUES",
    "UPDATE",
    "SET",
    "DELETE FROM",
    "RETURNING",
    "ON CONFLICT",
    "WITH",
    "WINDOW",
    "EXCEPT",
    "INTERSECT",
];
const PARTS: [&str; 8] =
    ["INNER JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN", "JOIN", "AND", "OR"];

/// Breaks the lines of a query before its clauses. Texts in quotes stay as they are. Returns `None` for a short query, and
/// for one that has line breaks.
pub(super) fn sql(text: &str) -> Option<String> {
    let text = text.trim();
    if text.len() < 40 || text.contains('\n') {
        return None;
    }
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    let (mut rest, mut quote, mut nesting) = (text, None, 0_usize);
    // The AND of BETWEEN stays with it.
    let (mut is_word_start, mut is_between) = (true, false);
    while let Some(character) = rest.chars().next() {
        if quote.is_none() && is_word_start && nesting == 0 && !out.is_empty() {
            let is_and = starts_with_any(rest, &["AND"]);
            let indent = if starts_with_any(rest, &CLAUSES) {
                Some("\n")
            } else if is_and && is_between {
                None
            } else if starts_with_any(rest, &PARTS) {
                Some("\n  ")
            } else {
                None
            };
            is_between = starts_with_any(rest, &["BETWEEN"]) || (is_between && !is_and);
            // The words of a clause stay together, such as those of DELETE FROM.
            if let Some(indent) = indent
                && !ends_with_word(
                    &out,
                    &["DELETE", "INSERT", "DO", "LEFT", "RIGHT", "INNER", "FULL", "CROSS"],
                )
            {
                out.truncate(out.trim_end().len());
                out.push_str(indent);
            }
        }
        match (quote, character) {
            (None, '\'' | '"' | '`') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            (None, '(') => nesting += 1,
            (None, ')') => nesting = nesting.saturating_sub(1),
            _ => {}
        }
        is_word_start = quote.is_none() && character.is_ascii_whitespace();
        out.push(character);
        rest = rest.get(character.len_utf8()..).unwrap_or_default();
    }
    out.contains('\n').then_some(out)
}

fn starts_with_any(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| {
        let start = text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        start
            && text
                .get(word.len()..)
                .and_then(|rest| rest.chars().next())
                .is_none_or(|next| !is_of_word(next))
    })
}

fn ends_with_word(text: &str, words: &[&str]) -> bool {
    let last = text.trim_end().rsplit(|character: char| !is_of_word(character)).next().unwrap_or_default();
    words.iter().any(|word| last.eq_ignore_ascii_case(word))
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented() {
        for (text, expected) in [
            (
                r#"{"name":"a, b: {c}","list":[1,2,{}],"empty":[ ],"escaped":"\"}"}"#,
                Some(
                    "{\n  \"name\": \"a, b: {c}\",\n  \"list\": [\n    1,\n    2,\n    {}\n  ],\n  \"empty\": [],\n  \"escaped\": \"\\\"}\"\n}",
                ),
            ),
            (r#"{"a":1}"#, None),
            ("{not JSON, but long enough to be worth a try}", None),
            ("plain text that is long enough to be worth it", None),
        ] {
            assert_eq!(json(text).as_deref(), expected, "{text}");
        }
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        assert!(json(&deep).unwrap().len() < 100 * 80);
    }

    #[test]
    fn sql_has_a_line_for_each_clause() {
        for (text, expected) in [
            (
                "SELECT id, name FROM items WHERE name = 'from where' AND id IN (SELECT id FROM b) ORDER BY name",
                Some(
                    "SELECT id, name\nFROM items\nWHERE name = 'from where'\n  AND id IN (SELECT id FROM b)\nORDER BY name",
                ),
            ),
            (
                "select * from items left join prices on items.id = prices.id limit 10",
                Some("select *\nfrom items\n  left join prices on items.id = prices.id\nlimit 10"),
            ),
            (
                "DELETE FROM baskets WHERE changed < now() OR user_id IS NULL",
                Some("DELETE FROM baskets\nWHERE changed < now()\n  OR user_id IS NULL"),
            ),
            (
                "SELECT a FROM b WHERE c BETWEEN 1 AND 2 AND d = 'BETWEEN' AND e",
                Some("SELECT a\nFROM b\nWHERE c BETWEEN 1 AND 2\n  AND d = 'BETWEEN'\n  AND e"),
            ),
            ("SELECT 1", None),
            ("SELECT a\nFROM a_table_with_a_line_break_in_the_query", None),
            ("the orders were not found in the android store", None),
        ] {
            assert_eq!(sql(text).as_deref(), expected, "{text}");
        }
    }
}
