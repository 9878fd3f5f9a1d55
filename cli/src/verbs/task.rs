//! Tasks and what they wrote.

use crate::args::Task;
use crate::client::Client;
use crate::confirm::ask;
use crate::failure::{Failure, exit};
use crate::output::{self, Reader};
use crate::resolve::{Kind, find};
use crate::rows::TaskRow;
use crate::verbs::operation;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::link::OutputStream;
use berth_model::operation::OperationKind;
use berth_model::operator::Request;
use berth_model::view::TaskView;

const TASK: Kind =
    Kind { noun: "task", unknown: ErrorCode::UnknownTask, list: "berth task list --all" };

fn pick<'a>(tasks: &'a [TaskView], text: &str) -> Result<&'a TaskView, Failure> {
    let names = |t: &TaskView| vec![format!("{}/{}", t.status.framework, t.status.task)];
    find(&TASK, tasks, text, |t| t.status.task.to_string(), names)
}

pub(crate) async fn run(command: &Task) -> Result<(), Failure> {
    match command {
        Task::List { all, read } => {
            let client = Client::connect(&read.connect).await?;
            let now = client.now();
            let tasks = client.tasks(*all).await?;
            let rows: Vec<TaskRow> = tasks.iter().map(|t| TaskRow::new(t, now)).collect();
            output::list(&rows, &read.show)
        },
        Task::Show { task, read } => {
            let client = Client::connect(&read.connect).await?;
            let tasks = client.tasks(true).await?;
            output::one(&TaskRow::new(pick(&tasks, task)?, client.now()), &read.show)
        },
        Task::Logs { task, follow, stderr, tail, connect } => {
            let client = Client::connect(connect).await?;
            // What runs is meant rather than what ran before it under a similar name.
            let live = client.tasks(false).await?;
            let tasks = client.tasks(true).await?;
            let found = pick(&live, task).or_else(|_none| pick(&tasks, task))?;
            let stream = if *stderr { OutputStream::Stderr } else { OutputStream::Stdout };
            let mut log = client
                .read_log(&found.status.framework, &found.status.task, stream, *follow, *tail)
                .await?;
            loop {
                tokio::select! {
                    part = log.next() => match part? {
                        Some(data) if output::part(&data)? == Reader::Gone => return Ok(()),
                        Some(_written) => {},
                        None => return Ok(()),
                    },
                    _ = tokio::signal::ctrl_c() => {
                        let ended = Rejection::new(ErrorCode::TimedOut, "interrupted");
                        return Err(Failure::new(exit::INTERRUPTED, ended.remedy("the task goes on")));
                    },
                }
            }
        },
        Task::Kill { task, grace, confirm, change, read } => {
            let client = Client::connect(&read.connect).await?;
            let earlier = operation::earlier(&client, &[OperationKind::Kill], change).await?;
            let tasks = client.tasks(true).await?;
            let found = match pick(&tasks, task) {
                Ok(found) => found,
                Err(absent) => {
                    return earlier.stands_for(&client, task, (change, &read.show), absent).await;
                },
            };
            let impact = format!(
                "task {} ({}) on {}: SIGTERM, then SIGKILL; its framework may start it again",
                found.status.task, found.status.state, found.hostname
            );
            let request = Request::KillTask {
                framework: found.status.framework.clone(),
                task: found.status.task.clone(),
                grace: *grace,
            };
            if earlier.is_known() {
                return operation::submit_and_show(&client, request, change, &read.show).await;
            }
            if confirm.dry_run {
                client.check(request).await?;
                return output::planned(&format!("would end {impact}"), &read.show);
            }
            ask(&impact, confirm)?;
            operation::submit_and_show(&client, request, change, &read.show).await
        },
    }
}
