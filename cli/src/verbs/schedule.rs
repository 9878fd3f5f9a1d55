//! Snapshots by the clock: set a volume's schedule, look at it, take it away.

use super::snapshot::principal;
use super::volume::{VOLUME, pick, volumes};
use crate::args::{Act, OfRole, OneVolume, Schedule, ScheduleSet, Trial};
use crate::client::Client;
use crate::confirm::ask;
use crate::failure::Failure;
use crate::output::{self, Show};
use crate::resolve::{Kind, find};
use crate::rows::ScheduleRow;
use crate::verbs::operation;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::VolumeId;
use berth_model::operation::OperationKind;
use berth_model::operator::{Request, VolumeChoice};
use berth_model::schedule::{Keep, SchedulePlan};
use berth_model::snapshot::Freeze;
use berth_model::task::Program;
use berth_model::view::{ScheduleView, VolumeView};

const SCHEDULE: Kind = Kind {
    noun: "schedule",
    unknown: ErrorCode::UnknownSchedule,
    list: "berth snapshot schedule list",
};

/// The schedules of the role, by role and volume.
async fn schedules(client: &Client, of: &OfRole) -> Result<Vec<ScheduleView>, Failure> {
    let mut views = client.schedules(of.role.clone()).await?;
    views.sort_by(|a, b| (&a.role, &a.name).cmp(&(&b.role, &b.name)));
    Ok(views)
}

fn pick_schedule<'a>(views: &'a [ScheduleView], text: &str) -> Result<&'a ScheduleView, Failure> {
    let names = |v: &ScheduleView| vec![v.name.to_string(), format!("{}/{}", v.role, v.name)];
    find(&SCHEDULE, views, text, |v| v.schedule.volume.to_string(), names)
}

pub(crate) async fn run(command: &Schedule) -> Result<(), Failure> {
    match command {
        Schedule::Set(set) => self::set(set).await,
        Schedule::List { of, read } => {
            let client = Client::connect(&read.connect).await?;
            let now = client.now();
            let views = schedules(&client, of).await?;
            let rows: Vec<ScheduleRow> = views.iter().map(|v| ScheduleRow::new(v, now)).collect();
            output::list(&rows, &read.show)
        },
        Schedule::Show { which: OneVolume { volume, of }, read } => {
            let client = Client::connect(&read.connect).await?;
            let views = schedules(&client, of).await?;
            let view = pick_schedule(&views, volume)?;
            output::one(&ScheduleRow::new(view, client.now()), &read.show)
        },
        Schedule::Delete { which, confirm, act: Act { change, read } } => {
            let client = Client::connect(&read.connect).await?;
            let kind = OperationKind::DeleteSchedule;
            let earlier = operation::earlier(&client, &[kind], change).await?;
            let views = schedules(&client, &which.of).await?;
            let view = match pick_schedule(&views, &which.volume) {
                Ok(view) => view,
                Err(absent) => {
                    let shown = (change, &read.show);
                    return earlier.stands_for(&client, &which.volume, shown, absent).await;
                },
            };
            let volume = VolumeChoice::Id(view.schedule.volume);
            let request = Request::DeleteSchedule { volume };
            if earlier.is_known() {
                return operation::submit_and_show(&client, request, change, &read.show).await;
            }
            client.admit(request.clone(), change, confirm.dry_run).await?;
            let text = format!(
                "snapshots of volume {}/{} are not taken any more, and none is deleted by the clock; {} stay",
                view.role, view.name, view.kept
            );
            if confirm.dry_run {
                return output::planned(&text, &read.show);
            }
            ask(&text, confirm)?;
            operation::submit_and_show(&client, request, change, &read.show).await
        },
    }
}

/// The volume in the trash or not: the master says why a trashed one gets no schedule.
fn of_any<'a>(
    live: &'a [VolumeView],
    trashed: &'a [VolumeView],
    text: &str,
) -> Result<&'a VolumeView, Failure> {
    pick(&VOLUME, live, text)
        .or_else(|absent| pick(&VOLUME, trashed, text).map_err(|_also_absent| absent))
}

async fn set(set: &ScheduleSet) -> Result<(), Failure> {
    let Trial { dry_run, act: Act { change, read } } = &set.trial;
    let client = Client::connect(&read.connect).await?;
    let kind = OperationKind::SetSchedule;
    let earlier = operation::earlier(&client, &[kind], change).await?;
    let keep = Keep {
        last: set.keep.unwrap_or(0),
        hourly: set.keep_hourly.unwrap_or(0),
        daily: set.keep_daily.unwrap_or(0),
        weekly: set.keep_weekly.unwrap_or(0),
    };
    let freeze = set
        .freeze
        .as_ref()
        .map(|text| Freeze { program: Program::Shell(text.clone()), timeout: set.freeze_timeout });
    let plan = SchedulePlan { every: set.every, keep, freeze };
    plan.check().map_err(|error| {
        let field = error.field;
        let error = Rejection::new(ErrorCode::InvalidArgument, error.text).remedy(error.remedy);
        Failure::from(error.field(field))
    })?;
    let live = volumes(&client, &set.which.of, false).await?;
    let trashed = volumes(&client, &set.which.of, true).await?;
    let volume = &of_any(&live, &trashed, &set.which.volume)?.volume.spec;
    let text = format!(
        "would take snapshots of volume {}/{} every {} and keep {}",
        volume.role,
        volume.name,
        berth_model::units::format_duration(plan.every),
        plan.keep.describe()
    );
    let principal = principal(set.principal.as_deref())?;
    let request = Request::SetSchedule { volume: VolumeChoice::Id(volume.id), plan, principal };
    if *dry_run && !earlier.is_known() {
        client.check(request).await?;
        return output::planned(&text, &read.show);
    }
    match operation::submit(&client, request, change, &read.show).await? {
        Some(_) => show_one(&client, volume.id, &read.show).await,
        None => Ok(()),
    }
}

async fn show_one(client: &Client, id: VolumeId, show: &Show) -> Result<(), Failure> {
    let views = client.schedules(None).await?;
    match views.iter().find(|view| view.schedule.volume == id) {
        Some(view) => output::one(&ScheduleRow::new(view, client.now()), show),
        None => Ok(()),
    }
}
