//! How results are written: tables and `-o json` come from the same typed rows.
//!
//! Results go to standard output, everything else to standard error.

mod table;

use crate::failure::Failure;
use serde::Serialize;
use serde_json::Value;
use std::io::{IsTerminal, Write};

/// The form of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns
    #[default]
    Table,
    /// More columns
    Wide,
    /// One JSON document
    Json,
    /// One YAML document
    Yaml,
    /// Only names or ids, one a line
    Name,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Flags of every command that prints a result.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Show {
    /// The form of the result
    #[arg(short, long, value_enum, default_value_t, env = "BERTH_OUTPUT", help_heading = "Output")]
    pub(crate) output: Format,
    /// Leave the heading line of tables out
    #[arg(long, help_heading = "Output")]
    pub(crate) no_headers: bool,
    /// When to use colours
    #[arg(long, value_enum, default_value_t, help_heading = "Output")]
    pub(crate) color: Color,
}

impl Show {
    pub(crate) fn is_colored(&self) -> bool {
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
                let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
                !set("NO_COLOR") && !dumb && std::io::stdout().is_terminal()
            },
        }
    }
}

/// A cell that may carry a state worth a colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Plain text.
    Text(String),
    /// All is well.
    Good(String),
    /// On its way, or worth a look.
    Pending(String),
    /// Wrong.
    Bad(String),
}

impl Cell {
    pub(crate) fn text(text: impl ToString) -> Self {
        Self::Text(text.to_string())
    }
    /// `-` for what is absent.
    pub(crate) fn maybe(text: Option<impl ToString>) -> Self {
        Self::Text(text.map_or_else(|| "-".to_owned(), |t| t.to_string()))
    }
}

/// One typed row.
pub(crate) trait Row: Serialize {
    /// Heading lines, the wide ones last.
    const COLUMNS: &'static [&'static str];
    /// How many of the columns a plain table shows.
    const NARROW: usize;
    /// One cell a column.
    fn cells(&self) -> Vec<Cell>;
    /// What `-o name` prints.
    fn name(&self) -> String;
}

/// Prints a list.
pub(crate) fn list<R: Row>(rows: &[R], show: &Show) -> Result<(), Failure> {
    match show.output {
        Format::Table | Format::Wide => text(&table::render(rows, show)),
        Format::Json | Format::Yaml => {
            document(&serde_json::json!({ "items": to_value(rows)? }), show)
        },
        Format::Name => text(&rows.iter().map(|r| r.name() + "\n").collect::<String>()),
    }
}

/// Prints one object.
pub(crate) fn one<R: Row>(row: &R, show: &Show) -> Result<(), Failure> {
    match show.output {
        Format::Table | Format::Wide => text(&table::describe(&to_value(row)?)),
        Format::Json | Format::Yaml => document(&to_value(row)?, show),
        Format::Name => text(&(row.name() + "\n")),
    }
}

fn to_value(value: &(impl Serialize + ?Sized)) -> Result<Value, Failure> {
    serde_json::to_value(value).map_err(|e| Failure::local(format!("write the result: {e}")))
}

/// Prints a document as JSON or YAML.
pub(crate) fn document(value: &Value, show: &Show) -> Result<(), Failure> {
    if show.output == Format::Yaml {
        let yaml = serde_saphyr::to_string(value)
            .map_err(|e| Failure::local(format!("write YAML: {e}")))?;
        return text(&(yaml.trim_end().to_owned() + "\n"));
    }
    let json = serde_json::to_string_pretty(value)
        .map_err(|e| Failure::local(format!("write JSON: {e}")))?;
    text(&(json + "\n"))
}

/// What a dry run would do: a document where one is wanted, else a word to the person.
pub(crate) fn planned(content: &str, show: &Show) -> Result<(), Failure> {
    match show.output {
        Format::Json | Format::Yaml => {
            document(&serde_json::json!({ "dry_run": true, "plan": content }), show)
        },
        Format::Table | Format::Wide | Format::Name => {
            note(content);
            Ok(())
        },
    }
}

/// Prints a line of a result.
pub(crate) fn line(content: &str) -> Result<(), Failure> {
    text(&format!("{content}\n"))
}

/// Prints text as it is. A reader that went away (`| head`) is no failure.
pub(crate) fn text(content: &str) -> Result<(), Failure> {
    bytes(content.as_bytes())
}

/// Prints bytes as they are.
pub(crate) fn bytes(content: &[u8]) -> Result<(), Failure> {
    part(content).map(drop)
}

/// Whether anybody still reads the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// More may be written.
    Reads,
    /// It went away.
    Gone,
}

/// Prints a part of a result that goes on.
pub(crate) fn part(content: &[u8]) -> Result<Reader, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(content).and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::Reads),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(e) => Err(Failure::local(format!("write the result: {e}"))),
    }
}

/// Tells the person, not the program that reads the result. Nobody listening is no reason to stop: `berth dev` has
/// children to look after.
pub(crate) fn note(content: &str) {
    drop(writeln!(std::io::stderr(), "{content}"));
}
