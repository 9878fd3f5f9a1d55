//! Rust text, split into code and comments, so that a word in a comment or in a string is not taken for code.
//!
//! A lexer and no parser: it knows comments, strings, raw strings, characters and lifetimes. Both halves keep every line
//! break, so line numbers are those of the file.

/// Rust text with what is not code, or not comment, replaced by spaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Code; strings keep their quotes and lose their content.
    pub code: String,
    /// Comments, with their slashes.
    pub comments: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Code,
    Line,
    Block { depth: usize },
    Text,
    RawText { hashes: usize },
}

impl Source {
    /// Splits `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let mut source = Self {
            code: String::with_capacity(text.len()),
            comments: String::with_capacity(text.len()),
        };
        let mut state = State::Code;
        let mut at = 0;
        while at < chars.len() {
            let (next, width) = step(&chars, at, state);
            let (code, comment) = shown(state, next);
            for &c in &chars[at..at + width] {
                source.code.push(if c == '\n' || code { c } else { ' ' });
                source.comments.push(if c == '\n' || comment { c } else { ' ' });
            }
            state = next;
            at += width;
        }
        source
    }

    /// The code above the inline test module, which by our style comes last in a file.
    #[must_use]
    pub fn production(&self) -> &str {
        let mut offset = 0;
        let mut lines = self.code.split_inclusive('\n').peekable();
        while let Some(line) = lines.next() {
            let opens_tests = line.trim() == "#[cfg(test)]"
                && lines.peek().is_some_and(|next| {
                    let next =
                        next.trim().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
                    next.starts_with("mod ") && next.ends_with('{')
                });
            if opens_tests {
                return self.code.get(..offset).expect("offset is a sum of line lengths");
            }
            offset += line.len();
        }
        &self.code
    }
}

/// The state after the token at `at`, and how many characters the token has.
fn step(chars: &[char], at: usize, state: State) -> (State, usize) {
    let starts = |token: &str| chars[at..].iter().copied().take(token.len()).eq(token.chars());
    match state {
        State::Code => code_step(chars, at),
        State::Line => (if chars[at] == '\n' { State::Code } else { State::Line }, 1),
        State::Block { depth } => match () {
            () if starts("/*") => (State::Block { depth: depth + 1 }, 2),
            () if starts("*/") && depth == 1 => (State::Code, 2),
            () if starts("*/") => (State::Block { depth: depth - 1 }, 2),
            () => (state, 1),
        },
        State::Text => match chars[at] {
            '\\' => (state, 2.min(chars.len() - at)),
            '"' => (State::Code, 1),
            _ => (state, 1),
        },
        State::RawText { hashes } => {
            let closes = chars[at] == '"'
                && chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
            if closes { (State::Code, 1 + hashes) } else { (state, 1) }
        },
    }
}

fn code_step(chars: &[char], at: usize) -> (State, usize) {
    let peek = |ahead: usize| chars.get(at + ahead).copied();
    match (chars[at], peek(1)) {
        ('/', Some('/')) => (State::Line, 2),
        ('/', Some('*')) => (State::Block { depth: 1 }, 2),
        ('"', _) => (State::Text, 1),
        ('r', Some('"' | '#')) if opens_raw(chars, at) => {
            let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
            if peek(1 + hashes) == Some('"') {
                (State::RawText { hashes }, 2 + hashes)
            } else {
                (State::Code, 1)
            }
        },
        // A character is `'x'` or `'\…'`; a lifetime has no closing quote.
        ('\'', Some('\\')) => {
            let rest = chars.get(at + 3..).unwrap_or_default();
            let width = rest.iter().take_while(|c| **c != '\'').count();
            (State::Code, (width + 4).min(chars.len() - at))
        },
        ('\'', Some(_)) if peek(2) == Some('\'') => (State::Code, 3),
        _ => (State::Code, 1),
    }
}

/// Is the `r` at `at` a prefix (`r"`, `br"`) and not the end of a name?
fn opens_raw(chars: &[char], at: usize) -> bool {
    match chars[..at] {
        [.., before, 'b'] => !is_word(before),
        [.., before] => before == 'b' || !is_word(before),
        [] => true,
    }
}

/// Whether the token that led from `before` to `after` belongs into code, and whether into comments.
fn shown(before: State, after: State) -> (bool, bool) {
    let is_comment = |state| matches!(state, State::Line | State::Block { .. });
    let is_text = |state| matches!(state, State::Text | State::RawText { .. });
    let comment = is_comment(before) || is_comment(after);
    let inside_text = is_text(before) && is_text(after);
    (!comment && !inside_text, comment)
}

/// Can `c` be part of a name?
#[must_use]
pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Line numbers, from 1, where `word` stands as a whole word or path.
#[must_use]
pub fn lines_with(text: &str, word: &str) -> Vec<usize> {
    let holds = |line: &str| {
        line.match_indices(word).any(|(at, _)| {
            let before = line.get(..at).and_then(|head| head.chars().next_back());
            let after = line.get(at + word.len()..).and_then(|tail| tail.chars().next());
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
    };
    (1..).zip(text.lines()).filter(|(_, line)| holds(line)).map(|(number, _)| number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, code: &str, comments: &str) {
        let source = Source::new(text);
        assert_eq!((source.code.as_str(), source.comments.as_str()), (code, comments), "{text}");
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        check("a // b\nc", "a     \nc", "  // b\n ");
        check("a /* /* b */ c */ d", "a                 d", "  /* /* b */ c */  ");
        check("f(\"x // y\")", "f(\"      \")", "           ");
        check("f(\"\\\"\") // z", "f(\"  \")     ", "        // z");
        check("br\"\\\" c \"d\"", "br\" \" c \" \"", "           ");
        check("r#\"a\"b\"# c", "r#\"   \"# c", "          ");
    }

    #[test]
    fn characters_and_lifetimes_do_not_open_strings() {
        check("'\"' x", "'\"' x", "     ");
        check("'\\'' \"y\"", "'\\'' \" \"", "        ");
        check("<'a> \"y\"", "<'a> \" \"", "        ");
    }

    #[test]
    fn production_ends_where_the_tests_begin() {
        let source = Source::new("fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() {}\n}\n");
        assert_eq!(source.production(), "fn a() {}\n");
        let source = Source::new("#[cfg(test)]\nmod tests;\nfn a() {}\n");
        assert_eq!(source.production(), "#[cfg(test)]\nmod tests;\nfn a() {}\n");
    }

    #[test]
    fn words_are_whole() {
        assert_eq!(lines_with("use std::fs;\nstd::fstat\nx::std::fs::read", "std::fs"), vec![1, 3]);
    }
}
