//! Why something is not offered, or not where it should be: grouped for people, one row for each agent for programs.

use crate::args::Explain;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Format, Show};
use crate::rows::ExplainRow;
use crate::verbs::list::find_framework;
use berth_model::explain::Fix;
use std::collections::BTreeMap;

/// How wide a line is.
const WIDTH: usize = 80;

pub(crate) async fn run(command: &Explain) -> Result<(), Failure> {
    match command {
        Explain::Framework { framework, role, read } => {
            let client = Client::connect(&read.connect).await?;
            let frameworks = client.frameworks(true).await?;
            let found = find_framework(&frameworks, framework)?;
            let now = client.now();
            let known = client.explain(&found.id).await?;
            let mut rows: Vec<ExplainRow> =
                known.iter().map(|one| ExplainRow::new(one, now)).collect();
            if let Some(role) = role {
                let is_known = found.info.roles.iter().any(|known| known.as_str() == role);
                if !is_known {
                    return Err(Failure::usage(
                        format!("framework {} has no role {role}", found.id),
                        "see its roles with `berth framework show`",
                    ));
                }
                rows.retain(|row| row.role == *role);
            }
            show(&format!("framework {} ({})", found.id, found.info.name), &rows, &read.show)
        },
    }
}

fn show(subject: &str, rows: &[ExplainRow], show: &Show) -> Result<(), Failure> {
    if show.output != Format::Table {
        return output::list(rows, show);
    }
    let mut by_role: BTreeMap<&str, Vec<&ExplainRow>> = BTreeMap::new();
    for row in rows {
        by_role.entry(&row.role).or_default().push(row);
    }
    let mut lines = Vec::new();
    for (role, rows) in by_role {
        let has = rows.iter().filter(|row| row.state == "OFFERED").count();
        lines.push(format!("{subject}, role {role}: offered {has} of {} agents", rows.len()));
        lines.extend(groups(&rows));
        lines.extend(cheapest(&rows));
    }
    if lines.is_empty() {
        lines.push(format!("{subject}: the cluster has no agents"));
    }
    output::text(&(lines.join("\n") + "\n"))
}

/// For each reason how many agents, and which; the most frequent first.
fn groups(rows: &[&ExplainRow]) -> Vec<String> {
    let mut by_reason: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for row in rows {
        by_reason.entry((row.state, &row.message)).or_default().push(row.host());
    }
    let mut groups: Vec<_> = by_reason.into_iter().collect();
    groups.sort_by_key(|(_, hosts)| std::cmp::Reverse(hosts.len()));
    let mut lines = Vec::new();
    for ((_, message), hosts) in groups {
        let noun = if hosts.len() == 1 { "agent " } else { "agents" };
        let head = format!("{:>4} {noun}  ", hosts.len());
        let indent = " ".repeat(head.len());
        lines.extend(wrapped(message.split(' ').map(str::to_owned), " ", &head, &indent));
        lines.extend(wrapped(hosts.into_iter(), ", ", &indent, &indent));
    }
    lines
}

/// Pieces in lines of at most the width, unless one alone is longer.
fn wrapped(
    pieces: impl Iterator<Item = String>,
    between: &str,
    first: &str,
    next: &str,
) -> Vec<String> {
    let mut lines = vec![first.to_owned()];
    let mut is_fresh = true;
    for piece in pieces {
        let line = lines.last_mut().expect("there is one");
        let long = line.chars().count() + between.len() + piece.chars().count() >= WIDTH;
        if is_fresh {
            line.push_str(&piece);
        } else if long {
            line.push_str(between.trim_end());
            lines.push(format!("{next}{piece}"));
        } else {
            line.push_str(between);
            line.push_str(&piece);
        }
        is_fresh = false;
    }
    lines
}

/// What would change something with the least effort.
fn cheapest(rows: &[&ExplainRow]) -> Vec<String> {
    let best: Option<&Fix> = rows.iter().filter_map(|row| row.cost.as_ref()).min();
    best.map_or_else(Vec::new, |fix| {
        let said = format!("Cheapest fix: {} -> `{}`", fix.what, fix.command);
        if said.chars().count() <= WIDTH {
            return vec![said];
        }
        let words = fix.what.split(' ').map(str::to_owned);
        let mut lines = wrapped(words, " ", "Cheapest fix: ", "  ");
        lines.push(format!("  -> `{}`", fix.command));
        lines
    })
}
