//! What operators say of a volume that is there: that it is protected, who owns it.

use super::operation;
use super::volume::{VOLUME, pick, show_one, volumes};
use crate::args::{Act, Trial, VolumeProtect, VolumeSet};
use crate::client::Client;
use crate::failure::Failure;
use crate::output;
use berth_model::operation::OperationKind;
use berth_model::operator::{Property, Request, VolumeChoice};

/// `berth volume protect` and `unprotect`.
pub(crate) async fn protect(command: &VolumeProtect, protected: bool) -> Result<(), Failure> {
    let Trial { dry_run, act: Act { change, read } } = &command.trial;
    let client = Client::connect(&read.connect).await?;
    let kind = if protected { OperationKind::Protect } else { OperationKind::Unprotect };
    let earlier = operation::earlier(&client, &[kind], change).await?;
    let mut views = volumes(&client, &command.which.of, false).await?;
    views.extend(volumes(&client, &command.which.of, true).await?);
    let id = pick(&VOLUME, &views, &command.which.volume)?.volume.spec.id;
    let request = Request::Property {
        volume: VolumeChoice::Id(id),
        property: Property::Protected(protected),
    };
    if *dry_run && !earlier.is_known() {
        client.submit(Client::mint(), request, true).await?;
        let text = if protected {
            "would protect it: delete, purge, shrink and rollback are refused from then on"
        } else {
            "would end its protection"
        };
        return output::planned(text, &read.show);
    }
    match operation::submit(&client, request, change, &read.show).await? {
        Some(_) => show_one(&client, id, &read.show).await,
        None => Ok(()),
    }
}

/// `berth volume set`.
pub(crate) async fn set(command: &VolumeSet) -> Result<(), Failure> {
    let Trial { dry_run, act: Act { change, read } } = &command.trial;
    let access = command.access.access();
    if access.is_empty() {
        return Err(Failure::usage("nothing is to be set", "give --owner, --mode, or both"));
    }
    let client = Client::connect(&read.connect).await?;
    let kind = OperationKind::SetAccess;
    let earlier = operation::earlier(&client, &[kind], change).await?;
    let views = volumes(&client, &command.which.of, false).await?;
    let volume = &pick(&VOLUME, &views, &command.which.volume)?.volume;
    let (id, now) = (volume.spec.id, volume.spec.access);
    let property = Property::Access(access);
    let request = Request::Property { volume: VolumeChoice::Id(id), property };
    if *dry_run && !earlier.is_known() {
        client.submit(Client::mint(), request, true).await?;
        let text = format!("would set {access} on its root directory, which is {now}");
        return output::planned(&text, &read.show);
    }
    match operation::submit(&client, request, change, &read.show).await? {
        Some(_) => show_one(&client, id, &read.show).await,
        None => Ok(()),
    }
}
