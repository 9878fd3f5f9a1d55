//! Volumes as streams: exports into files or pipes, imports out of them.

use super::operation;
use super::snapshot::{of_volume, pick_snapshot};
use super::transfer::tell;
use super::volume::{VOLUME, pick, show_one, volumes};
use crate::args::{Act, Trial, VolumeExport, VolumeImport};
use crate::client::{Client, failed};
use crate::failure::{Failure, exit};
use crate::output::{self, note};
use crate::rows::OperationRow;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::OperationId;
use berth_model::operator::{Request, VolumeChoice};
use berth_proto::v1;
use berth_proto::v1::{export_part, import_part};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

/// How much is read at once.
const CHUNK: usize = 256 << 10;
/// Parts that wait for the network.
const QUEUE_MAX: usize = 4;
/// How long the end of an import may take to be known after its stream broke.
const AFTERMATH: Duration = Duration::from_secs(30);

/// A path that was named wrongly is the caller's to mend; else it is the machine that failed, and no fault of Berth.
fn local(doing: &str, path: &Path, error: &io::Error) -> Failure {
    use io::ErrorKind as Kind;
    let text = format!("{doing} {} failed: {error}", path.display());
    match error.kind() {
        Kind::NotFound
        | Kind::NotADirectory
        | Kind::IsADirectory
        | Kind::AlreadyExists
        | Kind::PermissionDenied
        | Kind::ReadOnlyFilesystem
        | Kind::InvalidInput
        | Kind::InvalidFilename => {
            Failure::usage(text, "name a file of this machine that you may use, or - for a pipe")
        },
        _of_the_machine => machine(text),
    }
}

/// Reading or writing failed on this machine.
fn machine(text: String) -> Failure {
    let error = Rejection::new(ErrorCode::TransferFailed, text);
    Failure::from(error.remedy("look at the room and the disk of this machine, then begin again"))
}

fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Where an export is written: under another name until it is whole.
struct Target {
    to: Box<dyn Write + Send>,
    file: Option<(File, PathBuf, PathBuf)>,
}

/// Refuses, without writing anything, what cannot become the file of an export.
fn check_target(path: &Path) -> Result<(), Failure> {
    if is_standard(path) {
        if io::stdout().is_terminal() {
            let text = "an export is not for a terminal";
            return Err(Failure::usage(text, "name a file, or pipe it on"));
        }
        return Ok(());
    }
    if path.symlink_metadata().is_ok() {
        let text = format!("{} is there already and is not replaced", path.display());
        return Err(Failure::usage(text, "name another file, or remove that one first"));
    }
    let parent = parent_of(path);
    if path.file_name().is_none() || !parent.is_dir() {
        let text =
            format!("{} is no directory: {} cannot be made", parent.display(), path.display());
        return Err(Failure::usage(text, "make the directory first, or name a file in another"));
    }
    nix::unistd::access(parent, nix::unistd::AccessFlags::W_OK)
        .map_err(|error| local("writing into", parent, &error.into()))
}

fn parent_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

impl Target {
    fn open(path: &Path) -> Result<Self, Failure> {
        if is_standard(path) {
            return Ok(Self { to: Box::new(io::stdout()), file: None });
        }
        let mut partial = path.as_os_str().to_owned();
        // Another export to the same file, or what a killed one left, is not written into.
        partial.push(format!(".partial-{}-{}", std::process::id(), Client::mint()));
        let partial = PathBuf::from(partial);
        let options = OpenOptions::new().write(true).create_new(true).mode(0o600).clone();
        let failed = |e| local("making", &partial, &e);
        let file = options.open(&partial).map_err(failed)?;
        let to = Box::new(file.try_clone().map_err(failed)?);
        Ok(Self { to, file: Some((file, partial, path.to_owned())) })
    }

    /// It is whole: from here on it has its name, also after a crash.
    fn keep(mut self) -> Result<(), Failure> {
        self.to.flush().map_err(|e| machine(format!("writing the export failed: {e}")))?;
        let Some((file, partial, path)) = &self.file else { return Ok(()) };
        file.sync_all().map_err(|e| local("syncing", partial, &e))?;
        // Does not replace what came meanwhile.
        fs::hard_link(partial, path).map_err(|e| local("naming", path, &e))?;
        fs::remove_file(partial).map_err(|e| local("removing", partial, &e))?;
        let parent = parent_of(path);
        File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(|e| local("syncing", parent, &e))
    }

    fn discard(self) {
        if let Some((_file, partial, _path)) = self.file {
            fs::remove_file(partial).ok();
        }
    }
}

/// `berth volume export`.
pub(crate) async fn export(command: &VolumeExport) -> Result<(), Failure> {
    let Trial { dry_run, act: Act { change, read } } = &command.trial;
    if change.detach {
        let text = "an export is sent to this command, which has to wait for it";
        return Err(Failure::usage(
            text,
            "leave --detach out, or run the command in the background",
        ));
    }
    check_target(&command.file)?;
    let client = Client::connect(&read.connect).await?;
    let views = volumes(&client, &command.which.of, false).await?;
    let volume = &pick(&VOLUME, &views, &command.which.volume)?.volume;
    let snapshot = match &command.snapshot {
        Some(text) => {
            let all = of_volume(&client, volume.spec.id).await?;
            Some(pick_snapshot(&all, text)?.snapshot.spec.id)
        },
        None => None,
    };
    let request = Request::ExportVolume { volume: VolumeChoice::Id(volume.spec.id), snapshot };
    if *dry_run {
        client.check(request).await?;
        let of =
            command.snapshot.as_ref().map_or_else(String::new, |s| format!("snapshot {s} of "));
        return output::planned(
            &format!("would export {of}volume {}", volume.spec.name),
            &read.show,
        );
    }
    // Before the master is asked: what cannot be written need not be sent.
    let mut target = Target::open(&command.file)?;
    let id = change.request_id.unwrap_or_else(Client::mint);
    let taken = async {
        client.submit(id, request, change).await?;
        tokio::select! {
            taken = take(&client, id, &mut target) => taken,
            () = tell(&client, id) => unreachable!("it never ends"),
            _ = tokio::signal::ctrl_c() => {
                let error = Rejection::new(ErrorCode::TransferFailed, format!("stopped export {id}"));
                Err(Failure::new(exit::INTERRUPTED, error.remedy("what was written is not whole")))
            },
        }
    };
    if let Err(failure) = taken.await {
        target.discard();
        return Err(failure);
    }
    target.keep()?;
    let record = client.wait(id, Duration::ZERO).await?;
    for text in &record.notes {
        note(text);
    }
    if is_standard(&command.file) {
        return Ok(());
    }
    output::one(&OperationRow::new(&record, client.now()), &read.show)
}

/// Writes what arrives, and compares it with what was sent.
async fn take(client: &Client, id: OperationId, target: &mut Target) -> Result<(), Failure> {
    let request = v1::ReceiveExportRequest { operation_id: id.to_string() };
    let reply = client.operator().receive_export(request).await;
    let mut export = reply.map_err(|status| failed(&status))?.into_inner();
    let (mut sum, mut bytes) = (Sha256::new(), 0_u64);
    let broken = |what: &str| {
        let error = Rejection::new(ErrorCode::TransferFailed, what);
        Failure::from(error.remedy("what was written is not whole; export again"))
    };
    loop {
        let part = export.message().await.map_err(|status| failed(&status))?;
        match part.and_then(|part| part.body) {
            Some(export_part::Body::Part(part)) => {
                sum.update(&part);
                bytes += part.len() as u64;
                let written = tokio::task::block_in_place(|| target.to.write_all(&part));
                written.map_err(|e| machine(format!("writing the export failed: {e}")))?;
            },
            Some(export_part::Body::End(end)) => {
                if end.bytes == bytes && end.sha256 == sum.finalize().to_vec() {
                    return Ok(());
                }
                return Err(broken(
                    "what arrived is not what the agent sent: its checksum differs",
                ));
            },
            None => return Err(broken("the export broke off")),
        }
    }
}

/// What an import reads.
pub(super) type Source = Box<dyn io::Read + Send>;

/// Opens it before the cluster is asked: what cannot be read need not be sent.
pub(super) fn open_source(from: &Path) -> Result<Source, Failure> {
    if is_standard(from) {
        return Ok(Box::new(io::stdin()));
    }
    let failed = |e: io::Error| local("opening", from, &e);
    if fs::metadata(from).map_err(failed)?.is_dir() {
        return Err(Failure::usage(
            format!("{} is a directory, and no export of a volume", from.display()),
            "name a file that `berth volume export` wrote; a directory of an agent's machine is imported with --path",
        ));
    }
    Ok(Box::new(File::open(from).map_err(failed)?))
}

/// `berth volume import --from`.
pub(super) async fn import(
    client: &Client,
    request: Request,
    (from, source): (&Path, Source),
    command: &VolumeImport,
) -> Result<(), Failure> {
    let Trial { dry_run, act: Act { change, read } } = &command.trial;
    if *dry_run {
        client.check(request).await?;
        let plan = format!(
            "would import volume {} from {}; what is in it is checked when it is read",
            command.name,
            from.display()
        );
        return output::planned(&plan, &read.show);
    }
    let id = change.request_id.unwrap_or_else(Client::mint);
    client.submit(id, request, change).await?;
    let (parts, queue) = mpsc::channel(QUEUE_MAX);
    // A thread of its own: one that waits for a pipe ends with the process.
    let (ended, reader) = oneshot::channel();
    std::thread::spawn(move || drop(ended.send(send(id, source, &parts))));
    let mut operator = client.operator();
    let sending = operator.send_import(ReceiverStream::new(queue));
    let sent = tokio::select! {
        sent = sending => sent.map(drop).map_err(|status| failed(&status)),
        () = tell(client, id) => unreachable!("it never ends"),
        _ = tokio::signal::ctrl_c() => {
            let error = Rejection::new(ErrorCode::TransferFailed, format!("stopped import {id}"));
            let remedy = format!("nothing of it stays; see `berth operation show {id}`");
            return Err(Failure::new(exit::INTERRUPTED, error.remedy(remedy)));
        },
    };
    if sent.is_ok()
        && let Ok(Err(error)) = reader.await
    {
        return Err(local("reading", from, &error));
    }
    // The operation knows better why a stream broke than its ends do.
    let patience = if sent.is_ok() { change.timeout } else { AFTERMATH.min(change.timeout) };
    match (operation::wait(client, id, patience).await, sent) {
        (Ok(record), _sent) => match record.volumes.first() {
            Some(volume) => show_one(client, *volume, &read.show).await,
            None => Ok(()),
        },
        (Err(failure), Err(broken)) if failure.error.code == ErrorCode::TimedOut => Err(broken),
        (Err(failure), _sent) => Err(failure),
    }
}

/// Reads all of it into the queue. Whoever takes it may stop before the end.
fn send(id: OperationId, mut from: Source, parts: &mpsc::Sender<v1::ImportPart>) -> io::Result<()> {
    let put = |body| parts.blocking_send(v1::ImportPart { body: Some(body) }).is_ok();
    let mut goes_on = put(import_part::Body::OperationId(id.to_string()));
    while goes_on {
        let mut part = Vec::with_capacity(CHUNK);
        (&mut from).take(CHUNK as u64).read_to_end(&mut part)?;
        if part.is_empty() {
            put(import_part::Body::End(true));
            break;
        }
        goes_on = put(import_part::Body::Part(part));
    }
    Ok(())
}
