//! Texts of a known width: cut, padded, wrapped, and coloured at the end.
//!
//! Width is what a terminal shows, not characters or bytes.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What there is to draw on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Canvas {
    pub(crate) width: usize,
    pub(crate) is_ascii: bool,
    pub(crate) is_colored: bool,
}

/// What bars are drawn with.
pub(crate) struct Signs {
    pub(crate) used: char,
    pub(crate) unused: char,
    pub(crate) unmeasured: char,
    pub(crate) reserved: char,
    pub(crate) trash: char,
    pub(crate) free: char,
    pub(crate) edges: (char, char),
}

impl Signs {
    pub(crate) const fn of(canvas: Canvas) -> Self {
        if canvas.is_ascii {
            Self {
                used: '#',
                unused: '=',
                unmeasured: '%',
                reserved: '.',
                trash: '/',
                free: '~',
                edges: ('[', ']'),
            }
        } else {
            Self {
                used: '█',
                unused: '░',
                unmeasured: '▒',
                reserved: '·',
                trash: '/',
                free: '~',
                edges: ('▕', '▏'),
            }
        }
    }
}

/// What a piece of text says, for those who see colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    /// No more than the text.
    Plain,
    /// A heading.
    Bold,
    /// A volume.
    Volume,
    /// The volume beside it.
    OtherVolume,
    /// Reserved or free.
    Faint,
    /// Trash, or something to know.
    Notice,
    /// Wrong.
    Bad,
}

impl Ink {
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Bold => Some("1"),
            Self::Volume => Some("36"),
            Self::OtherVolume => Some("34"),
            Self::Faint => Some("2"),
            Self::Notice => Some("33"),
            Self::Bad => Some("31"),
        }
    }
}

/// A line in pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line(Vec<(Ink, String)>);

impl Line {
    pub(crate) fn of(ink: Ink, text: impl Into<String>) -> Self {
        Self(vec![(ink, text.into())])
    }
    pub(crate) fn push(&mut self, ink: Ink, text: impl Into<String>) {
        self.0.push((ink, text.into()));
    }
    pub(crate) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| width(text)).sum()
    }
    /// The line, cut at the canvas's edge.
    pub(crate) fn print(&self, canvas: Canvas) -> String {
        let Canvas { width: limit, is_ascii, is_colored } = canvas;
        let (mut shown, mut left) = (Vec::new(), limit);
        for (ink, text) in &self.0 {
            let text = cut(text, left, is_ascii);
            left -= width(&text);
            shown.push((ink, text));
        }
        // Blanks at the end are nothing to look at.
        while let Some((_, text)) = shown.last_mut() {
            text.truncate(text.trim_end().len());
            if !text.is_empty() {
                break;
            }
            shown.pop();
        }
        let mut out = String::new();
        for (ink, text) in shown {
            match ink.code().filter(|_| is_colored && !text.is_empty()) {
                Some(code) => out.push_str(&format!("\u{1b}[{code}m{text}\u{1b}[0m")),
                None => out.push_str(&text),
            }
        }
        out
    }
}

/// How many columns a terminal needs for it.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// Without what would move the cursor; in ASCII also without what such a terminal cannot show.
pub(crate) fn clean(text: &str, is_ascii: bool) -> String {
    let shown = |c: char| !c.is_control() && c.width().is_some() && (!is_ascii || c.is_ascii());
    text.chars().map(|c| if shown(c) { c } else { '?' }).collect()
}

/// At most `limit` columns; what was longer ends with an ellipsis.
pub(crate) fn cut(text: &str, limit: usize, is_ascii: bool) -> String {
    if width(text) <= limit {
        return text.to_owned();
    }
    let ellipsis = if is_ascii { ".." } else { "…" };
    let (mut out, mut room) = (String::new(), limit.saturating_sub(width(ellipsis)));
    for c in text.chars() {
        let needed = c.width().unwrap_or(0);
        if needed > room {
            break;
        }
        room -= needed;
        out.push(c);
    }
    let rest: String = ellipsis.chars().take(limit.saturating_sub(width(&out))).collect();
    out + &rest
}

/// `cut`, then filled with blanks.
pub(crate) fn pad(text: &str, columns: usize, is_ascii: bool) -> String {
    let text = cut(text, columns, is_ascii);
    let blanks = columns.saturating_sub(width(&text));
    text + &" ".repeat(blanks)
}

/// Broken at blanks into lines of at most `limit` columns; a longer word is cut into pieces.
pub(crate) fn wrap(text: &str, limit: usize) -> Vec<String> {
    let limit = limit.max(2);
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && width(&line) + 1 + width(word) <= limit {
            line.push(' ');
        } else if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        for c in word.chars() {
            if width(&line) + c.width().unwrap_or(0) > limit {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_by_what_a_terminal_shows() {
        for (text, limit, unicode, ascii) in [
            ("data", 4, "data", "data"),
            ("database", 4, "dat…", "da.."),
            ("database", 1, "…", "."),
            ("database", 0, "", ""),
            ("数据库卷", 5, "数据…", "数.."),
        ] {
            assert_eq!(cut(text, limit, false), unicode, "{text}");
            assert_eq!(cut(text, limit, true), ascii, "{text}");
            assert_eq!(width(&pad(text, limit + 3, false)), limit + 3, "{text}");
        }
        assert_eq!(clean("a\u{1b}[31mé\n", false), "a?[31mé?");
        assert_eq!(clean("é", true), "?");
        assert_eq!(
            wrap("the disk at /srv/very/long is gone", 10),
            ["the disk", "at", "/srv/very/", "long is", "gone"]
        );
        let canvas = |width, both| Canvas { width, is_ascii: both, is_colored: both };
        let mut line = Line::of(Ink::Bad, "FAULTY ");
        line.push(Ink::Plain, "host-with-a-name   ");
        assert_eq!(line.print(canvas(80, false)), "FAULTY host-with-a-name");
        assert_eq!(line.print(canvas(12, false)), "FAULTY host…");
        assert_eq!(line.print(canvas(12, true)), "\u{1b}[31mFAULTY \u{1b}[0mhos..");
    }
}
