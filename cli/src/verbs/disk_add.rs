//! Disks that an agent takes, or lets go, while it runs.

use super::disk::{pick, show, views};
use super::list::find_agent;
use super::{operation, scan};
use crate::args::{Act, DiskAdd, DiskChange, Trial};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, note};
use berth_agent::disk::DriverChoice;
use berth_model::declaration::DiskDeclaration;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{DiskId, check_name};
use berth_model::operator::Request;
use berth_model::resources::DiskSource;
use std::path::Path;
use std::sync::Arc;

pub(super) async fn add(args: &DiskAdd) -> Result<(), Failure> {
    let Some(agent) = &args.agent else { return scan::add(args) };
    let Trial { dry_run: _, act: Act { change, read } } = &args.trial;
    let disk = declaration(args)?;
    let client = Client::connect(&read.connect).await?;
    let agents = client.agents().await?;
    let agent = &find_agent(&agents, agent)?.info;
    let (id, name) = (agent.id, Arc::clone(&disk.name));
    let plan = format!("disk {}:{name} ({}) would be added", agent.hostname, disk.source);
    let request = Request::AddDisk { agent: id, disk: Box::new(disk) };
    let who = format!("agent {}", agent.hostname);
    if try_first(&client, &request, &args.trial, &who).await? {
        return output::planned(&plan, &read.show);
    }
    if operation::submit(&client, request, change, &read.show).await?.is_none() {
        return Ok(());
    }
    let views = views(&client).await?;
    match views.iter().find(|view| view.agent == id && view.disk.name == name) {
        Some(view) => show(&client, view.disk.id, read).await,
        // Removed again meanwhile.
        None => Ok(()),
    }
}

/// Says what the agent finds: all of it in a trial, after which true is answered, else what it warns of.
async fn try_first(
    client: &Client,
    request: &Request,
    Trial { dry_run, act: Act { change, .. } }: &Trial,
    who: &str,
) -> Result<bool, Failure> {
    let found = operation::within(change, who, client.check(request.clone())).await;
    // In earnest a refusal is the answer to the order itself, which may have been given before.
    let facts = if *dry_run { found? } else { found.unwrap_or_default() };
    for fact in facts.iter().filter(|fact| *dry_run || fact.starts_with("warning:")) {
        note(fact);
    }
    Ok(*dry_run)
}

pub(super) async fn remove(args: &DiskChange) -> Result<(), Failure> {
    let DiskChange { disk: text, trial } = args;
    let Act { change, read } = &trial.act;
    let client = Client::connect(&read.connect).await?;
    let known = views(&client).await?;
    let (disk, shown) = match pick(&known, text) {
        Ok(view) => (view.disk.id, format!("{}:{}", view.hostname, view.disk.name)),
        // Asked for again under its request id after it was removed.
        Err(unknown) => (text.parse::<DiskId>().map_err(|_not_an_id| unknown)?, text.clone()),
    };
    let request = Request::RemoveDisk { disk };
    let who = format!("the agent of disk {shown}");
    if try_first(&client, &request, trial, &who).await? {
        return output::planned(&format!("disk {shown} would be removed"), &read.show);
    }
    if operation::submit(&client, request, change, &read.show).await?.is_some() {
        note(&format!("disk {shown} is removed; its agent uses it no more"));
    }
    Ok(())
}

fn declaration(args: &DiskAdd) -> Result<DiskDeclaration, Failure> {
    let path = args.path.as_ref().or(args.root.as_ref());
    let (make, place): (fn(Arc<str>) -> DiskSource, &Path) = match (path, &args.mount, &args.block)
    {
        (Some(root), _, _) => (DiskSource::Path, root),
        (None, Some(point), _) => (DiskSource::Mount, point),
        (None, None, Some(device)) => (DiskSource::Block, device),
        (None, None, None) => {
            return Err(Failure::usage("no place is given", "give --path, --mount or --block"));
        },
    };
    let wrong = |message: String| {
        Rejection::new(ErrorCode::InvalidArgument, message).field("disk.source.root")
    };
    let text = place.to_str().map(|text| text.trim_end_matches('/')).unwrap_or_default();
    if !text.starts_with('/') {
        let message = format!("{} is no absolute path of the agent\'s machine", place.display());
        let refused = wrong(message).remedy("write for example --path /srv/d1");
        return Err(Failure::from(refused));
    }
    let last = text.rsplit('/').next().unwrap_or_default();
    let name = args.name.as_deref().unwrap_or(last);
    check_name("disk name", name).map_err(|error| {
        let refused = Rejection::new(ErrorCode::InvalidId, error.to_string()).field("name");
        Failure::from(refused.remedy("give a name with --name"))
    })?;
    args.driver.parse::<DriverChoice>().map_err(Failure::from)?;
    let driver = if args.driver == "auto" { "" } else { args.driver.as_str() };
    Ok(DiskDeclaration {
        source: make(Arc::from(text)),
        name: Arc::from(name),
        driver: Arc::from(driver),
        size: args.size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::Parser;

    #[test]
    fn a_disk_is_declared_as_it_is_written() {
        let parse = |words: &str| {
            let all = ["berth", "disk", "add"].into_iter().chain(words.split_whitespace());
            let parsed = Cli::try_parse_from(all).map_err(|error| error.kind().to_string())?;
            let crate::args::Command::Disk(crate::args::Disk::Add(args)) = parsed.command else {
                return Err("another command".to_owned());
            };
            declaration(&args).map_err(|failure| failure.error.message)
        };
        let declared = |source, name: &str, driver: &str, size| {
            Ok(DiskDeclaration { source, name: Arc::from(name), driver: Arc::from(driver), size })
        };
        let place = || Arc::from("/srv/d1");
        for (words, wanted) in [
            ("--agent a --path /srv/d1/", declared(DiskSource::Path(place()), "d1", "", None)),
            ("/srv/d1 --agent a", declared(DiskSource::Path(place()), "d1", "", None)),
            (
                "--agent a --path /srv/d1 --name x --driver btrfs --size 1GiB",
                declared(DiskSource::Path(place()), "x", "btrfs", Some("1GiB".parse().unwrap())),
            ),
            ("--agent a --mount /srv/d1", declared(DiskSource::Mount(place()), "d1", "", None)),
            ("--agent a --block /srv/d1", declared(DiskSource::Block(place()), "d1", "", None)),
            (
                "--agent a --path d1",
                Err("d1 is no absolute path of the agent's machine".to_owned()),
            ),
            ("--agent a --path /", Err(" is no absolute path".to_owned())),
            ("--agent a --mount /m --driver btrfs", Err("cannot be used with".to_owned())),
            ("--agent a --mount /m --block /b", Err("cannot be used with".to_owned())),
            ("--mount /m", Err("required".to_owned())),
            ("--agent a", Err("required".to_owned())),
        ] {
            let found = parse(words);
            let is_same = match (&found, &wanted) {
                (Err(found), Err(wanted)) => found.contains(wanted.as_str()),
                (found, wanted) => found == wanted,
            };
            assert!(is_same, "{words}: {found:?}, wanted {wanted:?}");
        }
    }
}
