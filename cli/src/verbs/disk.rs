//! Disks: lists, the map, health, and what operators say of them.

use crate::args::{Act, Disk, DiskChange, DiskMap, Read, Trial};
use crate::client::Client;
use crate::failure::{Failure, exit};
use crate::map::{Berth, Canvas, render};
use crate::output::{self, Format};
use crate::resolve::{Kind, find};
use crate::rows::{DiskDetail, DiskRow, HealthRow};
use crate::verbs::list::find_agent;
use crate::verbs::{disk_add, operation, scan};
use berth_model::disk::{DiskRequest, check_label_key, check_labels};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::DiskId;
use berth_model::operator::Request;
use berth_model::view::DiskView;
use std::collections::{BTreeMap, BTreeSet};

const DISK: Kind = Kind { noun: "disk", unknown: ErrorCode::UnknownDisk, list: "berth disk list" };
/// The width where nobody says one: a piped result is read on a terminal after all.
const WIDTH: usize = 80;

pub(crate) async fn run(command: &Disk) -> Result<(), Failure> {
    match command {
        Disk::List(read) => {
            let views = views(&Client::connect(&read.connect).await?).await?;
            let rows: Vec<DiskRow> = views.iter().map(DiskRow::new).collect();
            output::list(&rows, &read.show)
        },
        Disk::Show { disk, read } => {
            let client = Client::connect(&read.connect).await?;
            show(&client, pick(&views(&client).await?, disk)?.disk.id, read).await
        },
        Disk::Map(args) => map(args).await,
        Disk::Health { disk, read } => health(disk.as_deref(), read).await,
        Disk::Cordon { change } => {
            let plan = "nothing new would go on it; its volumes stay usable";
            let reason = change.trial.act.change.reason.clone().unwrap_or_default();
            say(change, plan, |disk| DiskRequest::Cordon { disk, reason }).await
        },
        Disk::Uncordon { change } => {
            let plan = "it would be used again";
            let reason = change.trial.act.change.reason.clone().unwrap_or_default();
            say(change, plan, |disk| DiskRequest::Uncordon { disk, reason }).await
        },
        Disk::Label { change, labels } => {
            let (set, remove) = parse_labels(labels)?;
            let plan = format!("its labels would change: {}", labels.join(" "));
            say(change, &plan, |disk| DiskRequest::Label { disk, set, remove }).await
        },
        Disk::Scan(args) => scan::scan(args),
        Disk::Add(args) => disk_add::add(args).await,
        Disk::Remove(args) => disk_add::remove(args).await,
    }
}

/// The disks by host and name.
pub(crate) async fn views(client: &Client) -> Result<Vec<DiskView>, Failure> {
    let mut views = client.disks().await?;
    views.sort_by(|a, b| {
        (&a.hostname, a.agent, &a.disk.name).cmp(&(&b.hostname, b.agent, &b.disk.name))
    });
    Ok(views)
}

pub(crate) fn pick<'a>(views: &'a [DiskView], text: &str) -> Result<&'a DiskView, Failure> {
    let names = |view: &DiskView| {
        vec![format!("{}:{}", view.hostname, view.disk.name), view.disk.name.to_string()]
    };
    find(&DISK, views, text, |view| view.disk.id.to_string(), names)
}

pub(super) async fn show(client: &Client, id: DiskId, read: &Read) -> Result<(), Failure> {
    let views = views(client).await?;
    let (volumes, profiles) = (client.volumes(true).await?, client.profiles().await?);
    match views.iter().find(|view| view.disk.id == id) {
        Some(view) => output::one(&DiskDetail::new(view, &volumes, &profiles), &read.show),
        // A disk that no agent declares any more; what was said of it has changed.
        None => Ok(()),
    }
}

async fn map(args: &DiskMap) -> Result<(), Failure> {
    let (client, show) = (Client::connect(&args.read.connect).await?, &args.read.show);
    let mut views = views(&client).await?;
    if let Some(text) = &args.agent {
        let agents = client.agents().await?;
        let id = find_agent(&agents, text)?.info.id;
        views.retain(|view| view.agent == id);
    }
    let volumes = client.volumes(true).await?;
    let berths: Vec<Berth> = views.iter().map(|view| Berth::new(view, &volumes)).collect();
    match show.output {
        Format::Table | Format::Wide => {
            let canvas = Canvas {
                width: args.width.map_or_else(width, usize::from),
                is_ascii: args.ascii || !is_utf8(|name| std::env::var(name).ok()),
                is_colored: show.is_colored(),
            };
            output::text(&render(&berths, canvas))
        },
        Format::Json | Format::Yaml => {
            output::document(&serde_json::json!({ "items": berths }), show)
        },
        Format::Name => {
            output::text(&berths.iter().map(|b| format!("{}\n", b.id)).collect::<String>())
        },
    }
}

/// Of the terminal, where there is one.
fn width() -> usize {
    comfy_table::Table::new().width().map_or(WIDTH, usize::from)
}

/// Does the locale show more than ASCII? The first of the three that is set counts, as for every program.
fn is_utf8(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable);
    let locale = set.into_iter().find(|value| !value.is_empty()).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    locale.ends_with("utf-8") || locale.ends_with("utf8")
}

async fn health(disk: Option<&str>, read: &Read) -> Result<(), Failure> {
    let mut views = views(&Client::connect(&read.connect).await?).await?;
    if let Some(text) = disk {
        views = vec![pick(&views, text)?.clone()];
    }
    let rows: Vec<HealthRow> = views.iter().map(HealthRow::new).collect();
    output::list(&rows, &read.show)?;
    let count = |state: &str| rows.iter().filter(|row| row.state == state).count();
    let wrong = rows.len() - count("OK");
    if wrong == 0 {
        return Ok(());
    }
    let code = match (count("FAULTY"), count("UNKNOWN")) {
        (0, 0) => ErrorCode::DiskCordoned,
        (0, _) => ErrorCode::AgentUnreachable,
        (_, _) => ErrorCode::DiskFaulty,
    };
    let verb = if wrong == 1 { "is" } else { "are" };
    let error = Rejection::new(code, format!("{wrong} of {} disks {verb} not ok", rows.len()));
    Err(Failure::new(exit::PROBLEMS, error.remedy("see the evidence of each")))
}

/// Submits what is said of a disk and shows the disk as it is then.
async fn say(
    args: &DiskChange,
    plan: &str,
    request: impl FnOnce(DiskId) -> DiskRequest,
) -> Result<(), Failure> {
    let DiskChange { disk, trial: Trial { dry_run, act: Act { change, read } } } = args;
    let client = Client::connect(&read.connect).await?;
    let known = views(&client).await?;
    let id = match pick(&known, disk) {
        Ok(view) => view.disk.id,
        // A disk that no agent declares any more is known by its whole id.
        Err(unknown) => disk.parse::<DiskId>().map_err(|_not_an_id| unknown)?,
    };
    let request = Request::Disk(request(id));
    if *dry_run {
        client.check(request).await?;
        return output::planned(&format!("disk {disk}: {plan}"), &read.show);
    }
    match operation::submit(&client, request, change, &read.show).await? {
        Some(_) => show(&client, id, read).await,
        None => Ok(()),
    }
}

/// `k=v` sets, `k-` removes.
fn parse_labels(texts: &[String]) -> Result<(BTreeMap<String, String>, BTreeSet<String>), Failure> {
    let wrong = |message: String| {
        let error = Rejection::new(ErrorCode::InvalidArgument, message).field("labels");
        Failure::from(error.remedy("write KEY=VALUE to set a label, KEY- to remove it"))
    };
    let (mut set, mut remove) = (BTreeMap::new(), BTreeSet::new());
    for text in texts {
        let twice = match text.split_once('=') {
            Some((key, value)) => set.insert(key.to_owned(), value.to_owned()).is_some(),
            None => {
                let key = text
                    .strip_suffix('-')
                    .ok_or_else(|| wrong(format!("{text:?} neither sets nor removes a label")))?;
                check_label_key(key).map_err(|e| wrong(e.to_string()))?;
                !remove.insert(key.to_owned())
            },
        };
        if twice {
            return Err(wrong(format!("{text:?} names a label for the second time")));
        }
    }
    check_labels(&set).map_err(|e| wrong(e.to_string()))?;
    match remove.iter().find(|key| set.contains_key(*key)) {
        Some(key) => Err(wrong(format!("label {key} is both set and removed"))),
        None => Ok((set, remove)),
    }
}

/// `k=v` only.
pub(crate) fn parse_pairs(texts: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let (set, remove) = parse_labels(texts)?;
    match remove.first() {
        Some(key) => Err(Failure::usage(
            format!("{key}- removes a label, where one is asked for"),
            "write KEY=VALUE",
        )),
        None => Ok(set),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_set_and_removed_as_written() {
        let parse = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            parse_labels(&texts).map_err(|failure| failure.error.message)
        };
        let (set, remove) = parse(&["tier=gold", "note=a=b", "empty=", "rack-"]).unwrap();
        let pairs: Vec<_> = set.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("empty", ""), ("note", "a=b"), ("tier", "gold")]);
        assert_eq!(remove, BTreeSet::from(["rack".to_owned()]));
        for (texts, wanted) in [
            (&["tier"][..], "\"tier\" neither sets nor removes a label"),
            (&["a=1", "a=2"], "\"a=2\" names a label for the second time"),
            (&["a=1", "a-"], "label a is both set and removed"),
            (
                &["=1"],
                "label key \"\" is not 1 to 63 letters, digits, '.', '_', '/' or '-' that begin and end with a letter or a digit",
            ),
        ] {
            assert_eq!(parse(texts), Err(wanted.to_owned()));
        }
    }

    #[test]
    fn the_locale_is_the_first_that_is_set() {
        for (set, wanted) in [
            (&[("LANG", "en_US.UTF-8")][..], true),
            (&[("LANG", "C.utf8")], true),
            (&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")], false),
            (&[("LC_ALL", ""), ("LC_CTYPE", "de_DE.UTF-8"), ("LANG", "C")], true),
            (&[], false),
        ] {
            let variable = |name: &str| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(is_utf8(variable), wanted, "{set:?}");
        }
    }
}
