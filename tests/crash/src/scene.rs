//! A machine with an agent on a simulated file system: its disks, its volumes, and what their users write into them.
//!
//! It does not know what the agent's ledger says (`books`), and it does not judge.

use crate::books::{Books, Data, Record, Stage, Subject};
use crate::setup::Setup;
use crate::sim::SimFs;
use berth_agent::disk::image::lock::LENGTH;
use berth_agent::disk::{Declaration, Disks, DriverChoice, Owner, fs};
use berth_agent::volume::Volumes;
use berth_agent::volume::content::{Counter, Exported, Incoming, Sources, export};
use berth_agent::volume::keys::Keys;
use berth_agent_core::effect::{OrphanOutcome, Source, VolumeEffect, VolumeOutcome};
use berth_model::access::{self, Access, Mode};
use berth_model::id::{AgentId, ClusterId, VolumeId, VolumeName};
use berth_model::record::LedgerDisk;
use berth_model::resources::DiskSource;
use berth_model::role::Role;
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The agent's work directory; the ROOT disk is `disk` below it.
pub const WORK: &str = "/agent";
/// The root of another disk.
pub const OTHER: &str = "/other";
/// The cluster.
pub const CLUSTER: ClusterId = ClusterId::from_u128(0xc);
const AGENT: AgentId = AgentId::from_u128(0xa);

/// A volume.
///
/// # Panics
/// Never: the names are valid.
#[must_use]
pub fn spec(number: usize, source: DiskSource) -> VolumeSpec {
    VolumeSpec {
        id: VolumeId::from_u128(0xb000 + number as u128),
        generation: 1,
        name: VolumeName::new(&format!("data-{number}")).expect("a valid name"),
        role: Role::new("storage").expect("a valid role"),
        principal: None,
        source,
        size: Bytes::from_mib(320),
        access: access(70, 0o750),
        shared: false,
        encrypted: false,
    }
}

fn access(id: u32, mode: u32) -> Access {
    Access { owner: access::Owner::new(id, id).ok(), mode: Mode::new(mode).ok() }
}

/// What a volume is given after it was made.
#[must_use]
pub fn other_access() -> Access {
    access(80, 0o2770)
}

/// What a volume's user wrote.
#[must_use]
pub fn rows(id: VolumeId) -> String {
    format!("all the rows of {id}")
}

/// The files that a volume's user makes first, below the volume.
pub const FILES: [&str; 3] = ["base/table", "log", "rows"];

/// A directory that a user may make as often as wanted, within one another.
pub const DEEPER: &str = "deeper";

/// The files of this content, below the volume.
#[must_use]
pub fn files_of(data: Data) -> Vec<String> {
    let first = if data.files & 1 == 1 { &FILES[..] } else { &[] };
    let later = (1..16).filter(|bit| data.files >> bit & 1 == 1).map(|bit| format!("more-{bit}"));
    first.iter().map(|name| (*name).to_owned()).chain(later).collect()
}

const PLACES: [&str; 3] = ["agent", "other", "keys"];
/// The agent's keys.
pub const KEYS: &str = "/keys";

/// The machine before an agent ever ran on it.
#[must_use]
pub fn machine(setup: &Setup) -> SimFs {
    SimFs::new(setup.traits, if setup.encrypts { &PLACES } else { &PLACES[..2] })
}

/// How resources name the other disk.
#[must_use]
pub fn other() -> DiskSource {
    DiskSource::Path(Arc::from(OTHER))
}

/// A process starts: opens the disks. With `both`, the other one is declared as well.
#[must_use]
pub fn start(files: &SimFs, setup: &Setup, books: &Books, both: bool) -> Volumes {
    let mut declared = vec![Declaration { driver: setup.driver, ..Declaration::root() }];
    if both {
        let source = other();
        let driver = setup.driver;
        declared.push(Declaration { source, name: "other".to_owned(), driver, size: None });
    }
    let owner = Owner { agent: AGENT, cluster: books.cluster };
    let disks = Disks::open_on(&files.files(), Path::new(WORK), &declared, owner, &books.disks);
    let sources =
        Sources::on(files.files(), vec![PathBuf::from(SOURCE)], vec![PathBuf::from(WORK)]);
    let keys = match setup.encrypts {
        true => Keys::on(files.files(), PathBuf::from(KEYS), || Ok([7; LENGTH])),
        false => Keys::none(),
    };
    Volumes::new(Arc::new(disks)).with_sources(sources).with_keys(keys)
}

/// Carries out what the ledger calls for, if anything, and writes the result down.
pub fn carry(
    files: &SimFs,
    volumes: &Volumes,
    books: &mut Books,
    subject: Subject,
) -> Option<VolumeOutcome> {
    let outcome = match (books.order(subject), books.called_for(subject)) {
        (Some(order), _) => match volumes.purge_orphan(&order) {
            OrphanOutcome::Gone => VolumeOutcome::Absent,
            OrphanOutcome::Failed(reason) => VolumeOutcome::Failed(reason),
            OrphanOutcome::Unclear(reason) => VolumeOutcome::Unclear(reason),
        },
        (None, Some(effect)) => {
            // What somebody wrote and did not sync may be lost by now; if not, adopting makes it durable.
            let kept = unsynced_files(files, books, subject);
            send(volumes, books, &effect);
            let outcome = volumes.run(&effect);
            if let (Some((index, kept)), VolumeOutcome::Present { .. }) = (kept, &outcome) {
                books.volumes[index].data.files |= kept;
                books.volumes[index].loose &= !kept;
            }
            outcome
        },
        (None, None) => return None,
    };
    books.conclude(subject, &outcome);
    Some(outcome)
}

/// Sends what a volume is to have that is made of a stream.
pub fn send(volumes: &Volumes, books: &Books, effect: &VolumeEffect) {
    let VolumeEffect::Import { spec, from: Source::Stream { .. } } = effect else { return };
    volumes.arrives(spec.id, Incoming::whole(books.archive.to_vec()));
}

/// An export of the directory that is imported.
///
/// # Panics
/// It is not there.
#[must_use]
pub fn archive(files: &SimFs) -> Vec<u8> {
    let source = fs::open(files, Path::new(SOURCE)).expect("it is there");
    let (name, role) = ("source".to_owned(), "tests".to_owned());
    let snapshot = Some("one".to_owned());
    let what = Exported { name, role, size: Bytes::from_mib(1), snapshot };
    let mut all = Vec::new();
    let mut sink = |part: Vec<u8>| {
        all.extend(part);
        Ok(())
    };
    export(&source, &what, &Counter::default(), &mut sink).expect("it can be exported");
    all
}

/// The files of a volume that is to be adopted which nobody synced and which are whole.
fn unsynced_files(files: &SimFs, books: &Books, subject: Subject) -> Option<(usize, u16)> {
    let Subject::Volume(index) = subject else { return None };
    let record = books.volumes.get(index).filter(|one| one.stage == Stage::Adopting)?;
    let loose = Data { files: record.loose, ..record.data };
    let path = format!("{WORK}/disk/volumes/{}", record.spec.id);
    let storage = files.storage();
    let is_whole = |name: &String| {
        let found = storage.seen().file(&format!("{path}/{name}"));
        found == Some(rows(record.data.by).as_bytes())
    };
    let all = files_of(loose).iter().all(is_whole);
    Some((index, if all { record.loose } else { 0 }))
}

/// Somebody moves the volume from the trash to where it was and writes one more file into it, nothing of it synced.
///
/// # Panics
/// The volume is not in the trash.
pub fn put_back(files: &SimFs, setup: &Setup, record: &mut Record) {
    let open = |folder: &str| fs::open(files, Path::new(&format!("{WORK}/disk/{folder}")));
    let (trash, volumes) = (open(".trash"), open("volumes"));
    let (trash, volumes) = (trash.expect("it is there"), volumes.expect("it is there"));
    let VolumeSpec { id, generation, .. } = record.spec;
    let moved = trash.rename(format!("{id}.{generation}"), &volumes, id.to_string());
    moved.expect("it is in the trash");
    // An image is not mounted now.
    if setup.format().is_none() {
        let next = 16 - record.data.files.leading_zeros();
        let volume = volumes.directory(id.to_string()).expect("it was moved here");
        let file = volume.create(format!("more-{next}")).expect("a file is made");
        file.write(rows(record.data.by).as_bytes()).expect("it is written");
        record.loose = 1 << next;
    }
}

/// The volume's user writes files, the first ones or one more, and syncs them.
///
/// # Panics
/// The volume is not there or does not take them.
pub fn write_data(files: &SimFs, record: &mut Record) {
    let place = |folder: &str| format!("{WORK}/disk/{folder}/{}", record.spec.id);
    let volume = fs::open(files, Path::new(&place(".mounts")))
        .or_else(|_no_image| fs::open(files, Path::new(&place("volumes"))))
        .expect("the volume is there");
    let text = rows(record.data.by);
    let write = |directory: &fs::Node, name: &str| {
        let file = directory.create(name).expect("a file is made");
        file.write(text.as_bytes()).expect("it is written");
        file.sync().expect("it is synced");
    };
    if record.data.is_empty() {
        volume.make_directory("base", 0o700).expect("a directory is made");
        let base = volume.directory("base").expect("it is there");
        for (directory, name) in [(&base, "table"), (&volume, "log"), (&volume, "rows")] {
            write(directory, name);
        }
        base.sync().expect("the names are synced");
        record.data.files = 1;
    } else {
        let next = 16 - record.data.files.leading_zeros();
        write(&volume, &format!("more-{next}"));
        record.data.files |= 1 << next;
    }
    volume.sync().expect("the names are synced");
}

/// What a copy of the directory holds.
#[must_use]
pub fn imported() -> Data {
    Data { by: VolumeId::from_u128(0xd1ec), files: 0b11 }
}

/// A directory to be imported: files, one of them with two names, a link, a pipe, and an attribute.
///
/// # Panics
/// It cannot be made.
pub fn write_source(files: &SimFs, setup: &Setup) {
    let place = fs::open(files, Path::new(OTHER)).expect("the place is there");
    place.make_directory("source", 0o751).expect("a directory is made");
    let source = place.directory("source").expect("it is there");
    let name = std::ffi::OsStr::new;
    source.make_directory("base", 0o700).expect("a directory is made");
    let base = source.directory("base").expect("it is there");
    for (directory, file) in [(&base, "table"), (&source, "log"), (&source, "more-1")] {
        let file = directory.create(file).expect("a file is made");
        file.write(rows(imported().by).as_bytes()).expect("it is written");
        file.set_owner(7, 8).expect("it is given away");
        if setup.traits.has_attributes {
            file.set_attribute("user.note", b"kept").expect("it is marked");
        }
    }
    source.make_name(name("rows"), (&source, name("more-1"))).expect("a name is made");
    source.make_link(name("link"), name(LEADS_TO)).expect("a link is made");
    source.make_pipe(name("pipe")).expect("a pipe is made");
    files.rest();
}

/// The directory that is imported.
pub const SOURCE: &str = "/other/source";
/// Where the link in it leads.
pub const LEADS_TO: &str = "base/table";

/// Somebody else's files next to the volumes.
///
/// # Panics
/// The disk is not there.
pub fn write_strangers(files: &SimFs) {
    for path in STRANGERS {
        let directory = fs::open(files, Path::new(path)).expect("the disk is there");
        directory.make_directory("stranger", 0o700).expect("a directory is made");
        let stranger = directory.directory("stranger").expect("it is there");
        let file = stranger.create("precious").expect("a file is made");
        file.write(b"precious").expect("it is written");
    }
    files.rest();
}

/// Where somebody else's files lie.
pub const STRANGERS: [&str; 4] =
    ["/agent/disk/volumes", "/agent/disk/.trash", "/agent/disk", "/agent"];

/// The raw device that some tests add to the machine.
pub const DEVICE: &str = "/raw";

/// A process starts that knows these disks, with the raw device declared.
#[must_use]
pub fn start_with_device(files: &SimFs, known: &[LedgerDisk]) -> Volumes {
    let source = DiskSource::Block(Arc::from(DEVICE));
    let name = "raw".to_owned();
    let declared = [
        Declaration { driver: DriverChoice::Directory, ..Declaration::root() },
        Declaration { source, name, driver: DriverChoice::Auto, size: None },
    ];
    let owner = Owner { agent: AGENT, cluster: Some(CLUSTER) };
    let disks = Disks::open_on(&files.files(), Path::new(WORK), &declared, owner, known);
    Volumes::new(Arc::new(disks))
}
