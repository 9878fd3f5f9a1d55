//! Encrypted volumes: what lies on the disk says nothing without the key, the key comes before the data and goes before
//! them, and a volume without its key is left as it is.

use berth_agent::disk::DriverChoice;
use berth_agent::disk::image::Format;
use berth_agent::volume::Volumes;
use berth_agent::volume::keys::Keys;
use berth_agent_core::effect::VolumeOutcome;
use berth_host_tests::host::{
    Effects as _, attached_below, brief, declare, generation, no_encryption, open, path_source,
    place, reason, skip, spec, unmount_images, with_private_mounts,
};
use berth_model::error::ErrorCode;
use berth_model::id::AgentId;
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

const AGENT: AgentId = AgentId::from_u128(0xa);
const SECRET: &[u8] = b"the rows that nobody else may read";
const NAME: &str = "customers-by-name.ibd";

struct Stage {
    work: tempfile::TempDir,
    root: PathBuf,
    kind: Format,
}

impl Stage {
    fn open(&self) -> Volumes {
        let declared = declare(&self.root, DriverChoice::Image(Some(self.kind)));
        let keys = Keys::of_agent(AGENT, self.work.path(), self.work.path().join("keys"));
        open(self.work.path(), &[declared], &[]).with_keys(keys)
    }

    /// As after the machine was switched off: nothing is mounted.
    fn reopen(&self, before: Volumes) -> Volumes {
        drop(before);
        unmount_images(&self.root);
        assert_eq!(attached_below(&self.root), [""; 0]);
        self.open()
    }

    fn plain(&self, number: u128) -> VolumeSpec {
        VolumeSpec { size: Bytes::from_mib(64), ..spec(number, &path_source(&self.root)) }
    }

    fn encrypted(&self, number: u128) -> VolumeSpec {
        VolumeSpec { encrypted: true, ..self.plain(number) }
    }

    fn image(&self, spec: &VolumeSpec) -> PathBuf {
        self.root.join(format!("volumes/{}/image", spec.id))
    }

    fn key(&self, spec: &VolumeSpec) -> PathBuf {
        self.work.path().join("keys").join(spec.id.to_string())
    }
}

fn on(kind: Format, test: impl FnOnce(&Stage) + Send) {
    if let Some(why) = no_encryption() {
        return skip(why);
    }
    with_private_mounts(&[&format!("mkfs.{kind}"), "mount", "umount"], || {
        let work = tempfile::tempdir().expect("a temporary directory");
        let root = work.path().join("d1");
        fs::create_dir(&root).expect("the root can be made");
        Keys::prepare(work.path()).expect("the place of keys can be made");
        let stage = Stage { work, root, kind };
        test(&stage);
        unmount_images(&stage.root);
        assert_eq!(attached_below(&stage.root), [""; 0]);
    });
}

/// Writes rows, synced.
fn write(volume: &Path) {
    let mut file = fs::File::create(volume.join(NAME)).expect("a file");
    (0..1000).try_for_each(|_row| file.write_all(SECRET)).expect("rows");
    file.sync_all().expect("synced");
    fs::File::open(volume).and_then(|root| root.sync_all()).expect("synced");
}

fn rows(volume: &Path) -> usize {
    let data = fs::read(volume.join(NAME)).expect("the rows are there");
    data.chunks(SECRET.len()).filter(|row| *row == SECRET).count()
}

/// How often these bytes are in a file.
fn count(path: &Path, wanted: &[u8]) -> usize {
    let mut bytes = Vec::new();
    fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).expect("readable");
    bytes.windows(wanted.len()).filter(|window| *window == wanted).count()
}

#[test]
fn what_is_on_the_disk_says_nothing_without_the_key() {
    on(Format::Ext4, |stage| {
        let volumes = stage.open();
        let (plain, secret) = (stage.plain(1), stage.encrypted(2));
        for volume in [&plain, &secret] {
            let place = place(&volumes.create(volume));
            assert_eq!(fs::read_dir(&place).expect("readable").count(), 0, "a new one is empty");
            write(&place);
            assert_eq!(rows(&place), 1000);
        }
        let volumes = stage.reopen(volumes);
        let found = [&plain, &secret].map(|volume| {
            let image = stage.image(volume);
            (count(&image, SECRET) > 0, count(&image, NAME.as_bytes()) > 0)
        });
        assert_eq!(found, [(true, true), (false, false)]);
        for volume in [&plain, &secret] {
            assert_eq!(rows(&place(&volumes.verify(volume))), 1000);
        }
        let modes = fs::metadata(stage.key(&secret)).expect("the key is there");
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&modes.permissions()) & 0o77, 0);
        assert!(!stage.key(&plain).exists());
    });
}

#[test]
fn a_volume_without_its_key_is_left_as_it_is_and_says_what_is_missing() {
    on(Format::Ext4, |stage| {
        let volumes = stage.open();
        let (one, two) = (stage.encrypted(1), stage.encrypted(2));
        for volume in [&one, &two] {
            write(&place(&volumes.create(volume)));
        }
        let mut volumes = stage.reopen(volumes);
        let own = fs::read(stage.key(&one)).expect("a key");
        let (away, other) =
            (stage.work.path().join("away"), fs::read(stage.key(&two)).expect("a key"));
        let id = one.id;
        fs::rename(stage.key(&one), &away).expect("moved");
        let said = |volumes: &Volumes| match volumes.verify(&one) {
            VolumeOutcome::Unclear(reason) => reason.message,
            other => panic!("{other:?}"),
        };
        let keys = stage.work.path().join("keys");
        assert_eq!(
            said(&volumes),
            format!("the key of encrypted volume {id} is not in {}", keys.display())
        );
        fs::write(stage.key(&one), &other).expect("another's key");
        assert_eq!(
            said(&volumes),
            format!(
                "the key of volume {id} in {} cannot be read: it is the key of another volume",
                stage.key(&one).display()
            )
        );
        fs::write(stage.key(&one), &own[..own.len() / 2]).expect("half a key");
        assert!(said(&volumes).contains("cannot be read"), "{}", said(&volumes));
        // One that was made anew under the same name.
        fs::remove_file(stage.key(&one)).expect("removed");
        Keys::of_agent(AGENT, stage.work.path(), keys).make(id).expect("another key");
        assert_eq!(
            said(&volumes),
            format!("the key of volume {id} is not the one that it was encrypted by")
        );
        fs::write(stage.key(&one), &own).expect("its own key");
        volumes = stage.reopen(volumes);
        assert_eq!(rows(&place(&volumes.verify(&one))), 1000);
        assert_eq!(rows(&place(&volumes.verify(&two))), 1000);
    });
}

#[test]
fn the_key_stays_in_the_trash_and_goes_before_the_data() {
    on(Format::Ext4, |stage| {
        let volumes = stage.open();
        let volume = stage.encrypted(1);
        write(&place(&volumes.create(&volume)));
        assert_eq!(brief(&volumes.trash(&volume)), "present");
        let volumes = stage.reopen(volumes);
        let back = generation(&volume, 2);
        assert_eq!(rows(&place(&volumes.restore(&back))), 1000);
        match &volumes.resize(&back, 96) {
            VolumeOutcome::Present { .. } => {},
            VolumeOutcome::Failed(why) if why.code == ErrorCode::NotPrivileged => {
                skip(&format!("{why}"));
            },
            other => panic!("{other:?}"),
        }
        assert_eq!(
            rows(&place(&volumes.verify(&VolumeSpec { size: back.size, ..back.clone() }))),
            1000
        );
        assert_eq!(brief(&volumes.trash(&back)), "present");
        assert!(stage.key(&volume).exists());
        assert_eq!(brief(&volumes.purge(&back)), "absent");
        assert!(!stage.key(&volume).exists());
        assert_eq!(fs::read_dir(stage.root.join(".trash")).expect("the trash").count(), 0);
    });
}

#[test]
fn a_disk_that_encrypts_nothing_says_so_and_makes_nothing() {
    on(Format::Xfs, |stage| {
        let volumes = stage.open();
        let volume = VolumeSpec { size: Bytes::from_mib(300), ..stage.encrypted(1) };
        assert_eq!(
            reason(&volumes.create(&volume)),
            "driver image:xfs encrypts nothing: only images of ext4 are encrypted"
        );
        assert!(!stage.key(&volume).exists());
        assert_eq!(fs::read_dir(stage.root.join("volumes")).expect("volumes").count(), 0);
    });
}
