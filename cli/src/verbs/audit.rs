//! The audit log: list, show, verify.

use crate::args::{Audit, AuditList, AuditVerify, OfOperation, Read};
use crate::client::Client;
use crate::failure::{Failure, exit};
use crate::output::{self, note};
use crate::rows::{AuditRow, CheckRow};
use berth_model::audit::{AuditCheck, AuditEntry, AuditFilter, AuditView};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::units::{Timestamp, parse_duration};
use berth_proto::convert::{AuditRequest, VerifyRequest};

pub(crate) async fn run(command: &Audit) -> Result<(), Failure> {
    match command {
        Audit::List(args) => list(args).await,
        Audit::Show { seq, read } => show(*seq, read).await,
        Audit::Verify(args) => verify(args).await,
    }
}

async fn list(args: &AuditList) -> Result<(), Failure> {
    let AuditList { since, until, operation, phase, volume, who, limit, read } = args;
    let client = Client::connect(&read.connect).await?;
    let now = client.now();
    let point =
        |name, text: &Option<String>| text.as_deref().map(|text| time(name, text, now)).transpose();
    let (kind, operation) = match operation {
        Some(OfOperation::Kind(kind)) => (Some(*kind), None),
        Some(OfOperation::One(id)) => (None, Some(*id)),
        None => (None, None),
    };
    let filter = AuditFilter {
        since: point("--since", since)?,
        until: point("--until", until)?,
        kind,
        phase: *phase,
        operation,
        volume: volume.clone(),
        who: who.clone(),
    };
    let (mut entries, log, more) = ask(&client, filter, *limit).await?;
    entries.reverse();
    let rows: Vec<AuditRow> = entries.iter().map(|entry| AuditRow::new(entry, now)).collect();
    warn(&log);
    if more {
        note(&format!("there are older ones than the latest {limit}: ask for more with --limit"));
    }
    output::list(&rows, &read.show)
}

/// The newest entries first, the log, and whether there are more.
async fn ask(
    client: &Client,
    filter: AuditFilter,
    limit: usize,
) -> Result<(Vec<AuditEntry>, AuditView, bool), Failure> {
    let mut entries = Vec::new();
    let mut before = None;
    loop {
        let left = u32::try_from(limit.saturating_sub(entries.len())).unwrap_or(u32::MAX);
        let request = AuditRequest { before, limit: left.max(1), filter: filter.clone() };
        let (part, next, log) = client.audit(&request).await?;
        entries.extend(part);
        if entries.len() >= limit {
            let more =
                entries.len() > limit || next.is_some_and(|next| next > log.head.trimmed + 1);
            entries.truncate(limit);
            return Ok((entries, log, more));
        }
        match next {
            Some(next) => before = Some(next),
            None => return Ok((entries, log, false)),
        }
    }
}

fn warn(log: &AuditView) {
    if let Some(fault) = &log.fault {
        note(&format!("the master found the log damaged when it started: {fault}"));
    }
}

async fn one(client: &Client, seq: u64) -> Result<Option<AuditEntry>, Failure> {
    let before = seq.saturating_add(1);
    let request = AuditRequest { before: Some(before), limit: 1, ..AuditRequest::default() };
    let (entries, _, _) = client.audit(&request).await?;
    Ok(entries.into_iter().find(|entry| entry.seq == seq))
}

async fn show(seq: u64, read: &Read) -> Result<(), Failure> {
    let client = Client::connect(&read.connect).await?;
    match one(&client, seq).await? {
        Some(entry) => output::one(&AuditRow::new(&entry, client.now()), &read.show),
        None => Err(absent(seq)),
    }
}

fn absent(seq: u64) -> Failure {
    let error = Rejection::new(
        ErrorCode::UnknownAuditEntry,
        format!("the audit log has no readable entry {seq}"),
    );
    Failure::from(
        error.remedy("see `berth audit list`; `berth audit verify` tells what is missing"),
    )
}

async fn verify(args: &AuditVerify) -> Result<(), Failure> {
    let AuditVerify { from, to, known, read } = args;
    if let (Some(from), Some(to)) = (from, to)
        && from > to
    {
        let text = format!("--from {from} is behind --to {to}: nothing lies between them");
        return Err(Failure::usage(text, format!("write --from {to} --to {from}")));
    }
    let client = Client::connect(&read.connect).await?;
    let mut request = VerifyRequest { from: from.unwrap_or(0), to: to.unwrap_or(0), behind: None };
    let mut checked = 0;
    let check = loop {
        let (part, unfinished) = client.verify_audit(&request).await?;
        checked += part.checked;
        if !unfinished {
            break AuditCheck { checked, ..part };
        }
        request = VerifyRequest { from: 0, behind: Some((part.last, part.hash)), ..request };
    };
    let check = match known {
        Some((seq, hash)) if check.broken.is_none() => {
            let found = one(&client, *seq).await?;
            let fits = found.as_ref().is_some_and(|entry| entry.hash == *hash);
            let why = match found {
                Some(entry) => format!("its hash was noted as {hash}, and is {}", entry.hash),
                None => "its hash was noted, and it is not there".to_owned(),
            };
            AuditCheck { broken: (!fits).then_some((*seq, why)), ..check }
        },
        Some(_) | None => check,
    };
    output::one(&CheckRow::new(&check, *from), &read.show)?;
    match check.broken {
        None => Ok(()),
        Some((seq, why)) => {
            let error = Rejection::new(
                ErrorCode::AuditBroken,
                format!("the audit log is not as it was written from entry {seq} on: {why}"),
            );
            let remedy = "compare it with a backup of the registry; operations go on meanwhile";
            Err(Failure::new(exit::PROBLEMS, error.remedy(remedy)))
        },
    }
}

/// A length of time before now, a day, or a time of a day in UTC.
fn time(name: &str, text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    if let Ok(span) = parse_duration(text) {
        let ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        return Ok(Timestamp::from_ms(now.ms().saturating_sub(ms)));
    }
    civil(text).ok_or_else(|| {
        Failure::usage(
            format!("{name}: {text:?} is neither a length of time nor a time"),
            "write 30m, 2h, 7d, 2026-11-23, or 2026-11-23T08:00:00Z (UTC)",
        )
    })
}

fn civil(text: &str) -> Option<Timestamp> {
    let (date, clock) = text.split_once(['T', ' ']).unwrap_or((text, "00:00:00"));
    let clock = clock.strip_suffix('Z').unwrap_or(clock);
    let numbers = |text: &str, by: char, count: usize| -> Option<Vec<u64>> {
        let parts: Option<Vec<u64>> = text
            .split(by)
            .map(|part| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?)
            .collect();
        parts.filter(|parts| parts.len() == count)
    };
    let [year, month, day] = numbers(date, '-', 3)?.try_into().ok()?;
    let with_seconds =
        if clock.matches(':').count() == 1 { format!("{clock}:00") } else { clock.to_owned() };
    let [hour, minute, second] = numbers(&with_seconds, ':', 3)?.try_into().ok()?;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let of_month = days.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    if !(1970..10_000).contains(&year)
        || day < 1
        || day > *of_month
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    // Days before the year, by the leap years before it.
    let before =
        |year: u64| 365 * year + year.div_ceil(4) - year.div_ceil(100) + year.div_ceil(400);
    let months: u64 = days.iter().take(usize::try_from(month - 1).ok()?).sum();
    let since = before(year) - before(1970) + months + day - 1;
    Some(Timestamp::from_ms((((since * 24 + hour) * 60 + minute) * 60 + second) * 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let now = Timestamp::from_ms(10_000_000);
        let read = |text| time("--since", text, now).map(Timestamp::ms).ok();
        for (text, wanted) in [
            ("1h", Some(6_400_000)),
            ("100d", Some(0)),
            ("1970-01-01", Some(0)),
            ("1970-01-02T00:00:01Z", Some(86_401_000)),
            ("2000-02-29", Some(951_782_400_000)),
            ("2000-03-01 00:00", Some(951_868_800_000)),
            ("2026-11-23T08:00:00Z", Some(1_795_420_800_000)),
            ("2100-02-29", None),
            ("2026-13-01", None),
            ("2026-11-23T24:00:00Z", None),
            ("yesterday", None),
            ("2026-11", None),
        ] {
            assert_eq!(read(text), wanted, "{text}");
        }
    }
}
