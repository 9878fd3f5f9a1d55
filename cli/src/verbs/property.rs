//! What operators say of a volume that is there: that it is protected, who owns it.

use super::operation;
use super::volume::{VOLUME, pick, show_one, volumes};
use crate::args::{Act, OneVolume, Trial, VolumeProtect, VolumeSet};
use crate::client::Client;
use crate::failure::Failure;
use crate::output;
use berth_model::operation::OperationKind;
use berth_model::operator::{Property, Request, VolumeChoice};
use berth_model::view::VolumeView;

/// `berth volume protect` and `unprotect`.
pub(crate) async fn protect(command: &VolumeProtect, protected: bool) -> Result<(), Failure> {
    let text = if protected {
        "would protect it: delete, purge, shrink and rollback are refused from then on"
    } else {
        "would end its protection"
    };
    let kind = if protected { OperationKind::Protect } else { OperationKind::Unprotect };
    let wish = (kind, Property::Protected(protected));
    say(&command.which, &command.trial, wish, |_view| text.to_owned()).await
}

/// `berth volume set`.
pub(crate) async fn set(command: &VolumeSet) -> Result<(), Failure> {
    let access = command.access.access();
    if access.is_empty() {
        return Err(Failure::usage("nothing is to be set", "give --owner, --mode, or both"));
    }
    let wish = (OperationKind::SetAccess, Property::Access(access));
    let planned = |view: &VolumeView| {
        let now = view.volume.spec.access;
        format!("would set {access} on its root directory, which is {now}")
    };
    say(&command.which, &command.trial, wish, planned).await
}

async fn say(
    which: &OneVolume,
    trial: &Trial,
    (kind, property): (OperationKind, Property),
    planned: impl Fn(&VolumeView) -> String,
) -> Result<(), Failure> {
    let Trial { dry_run, act: Act { change, read } } = trial;
    let client = Client::connect(&read.connect).await?;
    let earlier = operation::earlier(&client, &[kind], change).await?;
    let live = volumes(&client, &which.of, false).await?;
    // Of one in the trash the master says why nothing can be said of it.
    let trash = volumes(&client, &which.of, true).await?;
    let found = pick(&VOLUME, &live, &which.volume);
    let view = match found
        .or_else(|absent| pick(&VOLUME, &trash, &which.volume).map_err(|_also_absent| absent))
    {
        Ok(view) => view,
        Err(absent) => {
            let told = (change, &read.show);
            return earlier.stands_for(&client, &which.volume, told, absent).await;
        },
    };
    let id = view.volume.spec.id;
    let request = Request::Property { volume: VolumeChoice::Id(id), property };
    if *dry_run && !earlier.is_known() {
        client.check(request).await?;
        return output::planned(&planned(view), &read.show);
    }
    match operation::submit(&client, request, change, &read.show).await? {
        Some(_) => show_one(&client, id, &read.show).await,
        None => Ok(()),
    }
}
