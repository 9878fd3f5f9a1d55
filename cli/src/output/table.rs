//! Rows as aligned columns, objects as `key: value` lines.

use super::{Cell, Format, Row, Show};
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
    let drawn = Drawn::new(text.replace(['\n', '\r', '\t'], " "));
    match color.filter(|_| colored) {
        Some(color) => drawn.fg(color),
        None => drawn,
    }
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
    let width = fields.keys().map(String::len).max().unwrap_or(0);
    for (key, value) in fields {
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push_str(&format!("{:indent$}{key}:\n", ""));
                describe_into(value, indent + 2, text);
            },
            Value::Array(items) if items.iter().any(Value::is_object) => {
                text.push_str(&format!("{:indent$}{key}:\n", ""));
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
                let label = format!("{key}:");
                text.push_str(&format!("{:indent$}{label:<1$} {2}\n", "", width + 1, plain(value)));
            },
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(_) => "-".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
