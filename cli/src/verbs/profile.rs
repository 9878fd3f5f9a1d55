//! Profiles of disks.

use crate::args::{Act, Profile, ProfileCreate, Trial};
use crate::client::Client;
use crate::confirm::ask;
use crate::failure::{Failure, exit};
use crate::output;
use crate::rows::{MatchRow, ProfileRow};
use crate::verbs::disk::{parse_pairs, views};
use crate::verbs::operation;
use berth_model::disk::{DiskProfile, HealthWish, ProfileRequest};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::ProfileName;
use berth_model::operation::OperationKind;
use berth_model::operator::Request;

pub(crate) async fn run(command: &Profile) -> Result<(), Failure> {
    match command {
        Profile::Create(create) => self::create(create).await,
        Profile::List(read) => {
            let client = Client::connect(&read.connect).await?;
            let (profiles, disks) = (client.profiles().await?, views(&client).await?);
            let rows: Vec<ProfileRow> =
                profiles.iter().map(|profile| ProfileRow::new(profile, &disks)).collect();
            output::list(&rows, &read.show)
        },
        Profile::Show { profile, read } => {
            let client = Client::connect(&read.connect).await?;
            let profile = named(&client, profile).await?;
            output::one(&ProfileRow::new(&profile, &views(&client).await?), &read.show)
        },
        Profile::Match { profile, read } => {
            let client = Client::connect(&read.connect).await?;
            let profile = named(&client, profile).await?;
            let disks = views(&client).await?;
            let mut rows: Vec<MatchRow> =
                disks.iter().map(|disk| MatchRow::new(&profile, disk)).collect();
            rows.sort_by_key(|row| !row.matches);
            output::list(&rows, &read.show)?;
            if rows.iter().any(|row| row.matches) {
                return Ok(());
            }
            let error = Rejection::new(
                ErrorCode::UnknownDisk,
                format!("none of {} disks satisfies profile {}", rows.len(), profile.name),
            );
            Err(Failure::new(exit::PROBLEMS, error.remedy("see why not, disk by disk")))
        },
        Profile::Delete { profile, confirm, act: Act { change, read } } => {
            let client = Client::connect(&read.connect).await?;
            let kind = OperationKind::DeleteProfile;
            let earlier = operation::earlier(&client, &[kind], change).await?;
            let request = Request::Profile(ProfileRequest::Delete(profile.clone()));
            if earlier.is_known() {
                return operation::submit_and_show(&client, request, change, &read.show).await;
            }
            client.admit(request.clone(), change, confirm.dry_run).await?;
            let impact =
                format!("profile {profile} is forgotten; volumes placed by it stay where they are");
            if confirm.dry_run {
                return output::planned(&format!("would be done: {impact}"), &read.show);
            }
            ask(&impact, confirm)?;
            operation::submit_and_show(&client, request, change, &read.show).await
        },
    }
}

async fn named(client: &Client, name: &ProfileName) -> Result<DiskProfile, Failure> {
    let found = client.profiles().await?.into_iter().find(|profile| profile.name == *name);
    found.ok_or_else(|| {
        let message = format!("profile {name} is not known");
        Failure::not_found(ErrorCode::UnknownProfile, message, "see `berth profile list`")
    })
}

async fn create(create: &ProfileCreate) -> Result<(), Failure> {
    let ProfileCreate { name, media, size_min, size_max, labels, health, trial } = create;
    let Trial { dry_run, act: Act { change, read } } = trial;
    let profile = DiskProfile {
        name: name.clone(),
        media: media.iter().map(|medium| (*medium).into()).collect(),
        size_min: *size_min,
        size_max: *size_max,
        labels: parse_pairs(labels)?,
        health: match health {
            crate::args::Health::Ok => HealthWish::Ok,
            crate::args::Health::Any => HealthWish::Any,
        },
    };
    let client = Client::connect(&read.connect).await?;
    let request = Request::Profile(ProfileRequest::Create(profile.clone()));
    if *dry_run {
        client.check(request).await?;
        let row = ProfileRow::new(&profile, &views(&client).await?);
        let text =
            format!("would create profile {name}, satisfied now by {} disks", row.disks.len());
        return output::planned(&text, &read.show);
    }
    match operation::submit(&client, request, change, &read.show).await? {
        Some(_) => output::one(&ProfileRow::new(&profile, &views(&client).await?), &read.show),
        None => Ok(()),
    }
}
