//! The characters that cannot be seen or change what is seen, and their symbols.

use std::fmt::Write;

use super::Breaks;

/// What is shown instead of a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Symbol {
    Picture(char),
    /// The number of the character.
    Code(u32),
}

impl Symbol {
    pub(super) fn push(self, out: &mut String) {
        match self {
            Self::Picture(picture) => out.push(picture),
            Self::Code(code) => {
                // Cannot fail: a string takes all characters.
                let _ = write!(out, "\\u{{{code:x}}}");
            }
        }
    }
}

/// Returns the characters of a text, and what is shown instead of each.
pub(super) fn symbols(text: &str, breaks: Breaks) -> impl Iterator<Item = (char, Option<Symbol>)> {
    let mut previous = None;
    let mut characters = text.chars().peekable();
    std::iter::from_fn(move || {
        let character = characters.next()?;
        let is_idle = is_joiner(character) && !joins(previous, characters.peek().copied());
        previous = Some(character);
        let idle = is_idle.then_some(Symbol::Code(u32::from(character)));
        Some((character, idle.or_else(|| symbol(character, breaks))))
    })
}

const fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200c}' | '\u{200d}')
}

/// Returns whether a joiner between these has an effect that one can see. The scripts and emoji that use joiners would
/// fall apart without them.
fn joins(previous: Option<char>, next: Option<char>) -> bool {
    // Latin, Greek and Cyrillic letters are not joined.
    let is_joined = |character: char| {
        character >= '\u{590}' && !is_joiner(character) && symbol(character, Breaks::Show).is_none()
    };
    previous.is_some_and(is_joined) && next.is_some_and(is_joined)
}

/// Returns the characters of a text, and whether each cannot be seen or changes what is seen.
pub(crate) fn characters(text: &str) -> impl Iterator<Item = (char, bool)> {
    symbols(text, Breaks::Show).map(|(character, symbol)| (character, symbol.is_some()))
}

fn symbol(character: char, breaks: Breaks) -> Option<Symbol> {
    let code = u32::from(character);
    match character {
        '\n' | '\t' if breaks == Breaks::Keep => None,
        '\n' => Some(Symbol::Picture('↵')),
        '\t' => Some(Symbol::Picture('⇥')),
        '\0'..='\u{1f}' => char::from_u32(0x2400 + code).map(Symbol::Picture),
        '\u{7f}' => Some(Symbol::Picture('\u{2421}')),
        // Further controls, marks and overrides of the direction, and what takes no space.
        '\u{80}'..='\u{9f}'
        | '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'
        | '\u{200e}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e01ef}' => Some(Symbol::Code(code)),
        _ => None,
    }
}
