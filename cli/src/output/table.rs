//! Rows as aligned columns, objects as `key: value` lines.

use super::{Cell, Format, Row, Show};
use berth_model::units::Bytes;
use comfy_table::{Attribute, Cell as Drawn, Color, ContentArrangement, Table, presets};
use serde_json::Value;

pub(super) fn render<R: Row>(rows: &[R], show: &Show) -> String {
    let columns = if show.output == Format::Wide { R::COLUMNS.len() } else { R::NARROW };
    let colored = show.is_colored();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if !show.no_headers {
        let heading = R::COLUMNS.iter().take(columns);
        table.set_header(heading.map(|title| {
            let cell = Drawn::new(title);
            if colored { cell.add_attribute(Attribute::Bold) } else { cell }
        }));
    }
    for row in rows {
        table.add_row(row.cells().into_iter().take(columns).map(|cell| draw(cell, colored)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    if colored {
        table.enforce_styling();
    }
    let drawn = table.to_string();
    let mut text: String = drawn.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    if rows.is_empty() && show.no_headers {
        text.clear();
    }
    text
}

fn draw(cell: Cell, colored: bool) -> Drawn {
    let (text, color) = match cell {
        Cell::Text(text) => (text, None),
        Cell::Good(text) => (text, Some(Color::Green)),
        Cell::Pending(text) => (text, Some(Color::Yellow)),
        Cell::Bad(text) => (text, Some(Color::Red)),
    };
    let drawn = Drawn::new(visible(&text));
    match color.filter(|_| colored) {
        Some(color) => drawn.fg(color),
        None => drawn,
    }
}

/// The text with what would move the cursor, change colours, forge lines or turn the direction of writing made visible: whoever wrote
/// it may have been anybody.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => shown.push(' '),
            _ if c.is_control() || turns(c) => shown.extend(c.escape_unicode()),
            _ => shown.push(c),
        }
    }
    shown
}

/// Is it invisible, and does it change where the characters around it appear? Those of bidirectional text, and separators of lines
/// and paragraphs.
const fn turns(c: char) -> bool {
    matches!(
        c,
        '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

/// `key: value` lines, nested objects indented.
pub(super) fn describe(value: &Value) -> String {
    let mut text = String::new();
    describe_into(value, 0, &mut text);
    text
}

fn describe_into(value: &Value, indent: usize, text: &mut String) {
    let Value::Object(fields) = value else {
        text.push_str(&format!("{:indent$}{}\n", "", plain(value)));
        return;
    };
    let width = fields.keys().map(|key| label(key).len()).max().unwrap_or(0);
    for (key, value) in fields {
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push_str(&format!("{:indent$}{}:\n", "", visible(key)));
                describe_into(value, indent + 2, text);
            },
            Value::Array(items) if items.iter().any(Value::is_object) => {
                text.push_str(&format!("{:indent$}{}:\n", "", visible(key)));
                for item in items {
                    text.push_str(&format!("{:indent$}-\n", "", indent = indent + 2));
                    describe_into(item, indent + 4, text);
                }
            },
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => {
                let label = format!("{}:", visible(label(key)));
                text.push_str(&format!(
                    "{:indent$}{label:<1$} {2}\n",
                    "",
                    width + 1,
                    for_people(key, value)
                ));
            },
        }
    }
}

/// Values are written with their units, so keys are without: JSON has both.
fn label(key: &str) -> &str {
    key.strip_suffix("_bytes").or_else(|| key.strip_suffix("_ms")).unwrap_or(key)
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => visible(text),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(_) => "-".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// Sizes and times as people read them; JSON has the numbers.
fn for_people(key: &str, value: &Value) -> String {
    match value.as_u64() {
        Some(bytes) if key.ends_with("_bytes") => Bytes::new(bytes).to_string(),
        Some(ms) if ["every_ms", "trend_window_ms", "full_in_ms"].contains(&key) => span(ms),
        Some(ms) if key.ends_with("_ms") => utc(ms),
        Some(_) | None => plain(value),
    }
}

/// `1d 2h 3m 4s`, without what is zero.
fn span(ms: u64) -> String {
    let seconds = ms / 1_000;
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let shown: Vec<String> = parts
        .iter()
        .filter(|(count, _unit)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if shown.is_empty() { format!("{ms}ms") } else { shown.join(" ") }
}

/// `2026-11-23 00:41:31 UTC`, by the algorithm for civil days from a day count (Howard Hinnant).
fn utc(ms: u64) -> String {
    let (days, second) = (ms / 86_400_000, ms / 1_000 % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{:02} UTC", second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize)]
    struct Line(&'static str);

    impl Row for Line {
        const COLUMNS: &'static [&'static str] = &["WHO"];
        const NARROW: usize = 1;
        fn cells(&self) -> Vec<Cell> {
            vec![Cell::Text(self.0.to_owned())]
        }
        fn name(&self) -> String {
            self.0.to_owned()
        }
    }

    #[test]
    fn what_others_wrote_cannot_forge_lines() {
        const EVIL: &str = "mallory\u{1b}[1A\nalice\u{202e}\u{9b}2J";
        const SHOWN: &str = "mallory\\u{1b}[1A alice\\u{202e}\\u{9b}2J";
        let show =
            Show { output: Format::Table, no_headers: true, color: super::super::Color::Never };
        assert_eq!(render(&[Line(EVIL)], &show), format!("{SHOWN}\n"));
        let object = serde_json::json!({ "who": EVIL, "all": [EVIL, "é"] });
        assert_eq!(describe(&object), format!("all: {SHOWN}, é\nwho: {SHOWN}\n"));
        let keyed = serde_json::json!({ EVIL: { EVIL: 1 } });
        assert_eq!(describe(&keyed), format!("{SHOWN}:\n  {SHOWN}: 1\n"));
    }

    #[test]
    fn times_and_sizes_are_written_for_people() {
        for (ms, wanted) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400_000, "2000-02-29 00:00:00 UTC"),
            (1_795_392_563_447, "2026-11-23 00:09:23 UTC"),
        ] {
            assert_eq!(utc(ms), wanted);
        }
        for (ms, wanted) in [(3_600_000, "1h"), (90_061_000, "1d 1h 1m 1s"), (250, "250ms")] {
            assert_eq!(span(ms), wanted);
        }
        let row =
            serde_json::json!({ "size_bytes": 1_073_741_824_u64, "name": "a", "used_bytes": null });
        assert_eq!(describe(&row), "name: a\nsize: 1 GiB\nused: -\n");
    }
}
