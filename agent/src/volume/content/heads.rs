//! The blocks of one entry: the fields of tar, and the records of pax for what they have no room for.

use super::archive::{BLOCK, Head, invalid, padding};
use berth_model::error::Rejection;

/// A key and its value.
pub(super) type Record = (Vec<u8>, Vec<u8>);

/// Extended attributes, as GNU tar, bsdtar and star read them.
const ATTRIBUTE: &str = "SCHILY.xattr.";
/// Marks a file that has other names; readers leave remarks alone.
const SHARED: &[u8] = b"berth: has other names";
const NAME_MAX: usize = 100;
/// The largest numbers that the fields hold.
const ID_MAX: u64 = 0o7_777_777;
const SIZE_MAX: u64 = 0o77_777_777_777;

fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    // Blank, equals sign and line end.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    let mut bytes = length.to_string().into_bytes();
    bytes.push(b' ');
    bytes.extend(key);
    bytes.push(b'=');
    bytes.extend(value);
    bytes.push(b'\n');
    bytes
}

/// Takes records apart.
pub(super) fn records(mut bytes: &[u8]) -> Result<Vec<Record>, Rejection> {
    let broken = || invalid("the names and attributes of an entry make no sense");
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let blank = bytes.iter().position(|byte| *byte == b' ').ok_or_else(broken)?;
        let length = std::str::from_utf8(&bytes[..blank]).map_err(|_no_text| broken())?;
        let length: usize = length.parse().map_err(|_no_number| broken())?;
        let own = bytes.get(blank + 1..length).ok_or_else(broken)?;
        let own = own.strip_suffix(b"\n").ok_or_else(broken)?;
        let equals = own.iter().position(|byte| *byte == b'=').ok_or_else(broken)?;
        all.push((own[..equals].to_vec(), own[equals + 1..].to_vec()));
        bytes = &bytes[length..];
    }
    Ok(all)
}

/// Puts what a record says into the head.
pub(super) fn apply(head: &mut Head, key: &[u8], value: Vec<u8>) -> Result<(), Rejection> {
    let text = |value: &[u8]| {
        String::from_utf8(value.to_vec()).map_err(|_wrong| invalid("a record is no text"))
    };
    let count = |value: &[u8]| -> Result<u64, Rejection> {
        text(value)?.parse().map_err(|_no_number| invalid("a record is no number"))
    };
    let id = |value: &[u8]| {
        u32::try_from(count(value)?).map_err(|_wrong| invalid("a user is too large"))
    };
    match key {
        b"comment" => head.is_shared = true,
        b"path" | b"GNU.sparse.name" => head.path = value,
        b"linkpath" => head.target = value,
        b"size" => head.size = count(&value)?,
        b"uid" => head.uid = id(&value)?,
        b"gid" => head.gid = id(&value)?,
        b"mtime" => head.modified = time(&text(&value)?)?,
        b"GNU.sparse.realsize" => head.sparse = Some(count(&value)?),
        // What they say is compared when the head is written again.
        b"hdrcharset" | b"GNU.sparse.major" | b"GNU.sparse.minor" => {},
        key => {
            let key = text(key)?;
            let Some(name) = key.strip_prefix(ATTRIBUTE) else {
                return Err(invalid(format!("an entry has a record {key:?}")));
            };
            let name = name.replace("%3D", "=").replace("%25", "%");
            head.attributes.push((name, value));
        },
    }
    Ok(())
}

/// Seconds and their parts, as a decimal number: one of before 1970 has both below zero.
fn decimal((seconds, parts): (i64, u32)) -> String {
    if seconds < 0 && parts > 0 {
        let whole = (seconds + 1).unsigned_abs();
        return format!("-{whole}.{:09}", 1_000_000_000 - parts);
    }
    if parts == 0 { seconds.to_string() } else { format!("{seconds}.{parts:09}") }
}

fn time(text: &str) -> Result<(i64, u32), Rejection> {
    let wrong = || invalid(format!("{text:?} is no time"));
    let (whole, parts) = text.split_once('.').unwrap_or((text, "0"));
    let seconds: i64 = whole.parse().map_err(|_no_number| wrong())?;
    let parts: u32 = parts.parse().map_err(|_no_number| wrong())?;
    if parts >= 1_000_000_000 {
        return Err(wrong());
    }
    if text.starts_with('-') && parts > 0 {
        return Ok((seconds.checked_sub(1).ok_or_else(wrong)?, 1_000_000_000 - parts));
    }
    Ok((seconds, parts))
}

/// An octal number of a field.
pub(super) fn number(field: &[u8]) -> Result<u64, Rejection> {
    let digits = field.iter().take_while(|byte| matches!(byte, b'0'..=b'7'));
    let number = digits.fold(0_u64, |sum, digit| sum << 3 | u64::from(digit - b'0'));
    match field.iter().find(|byte| !matches!(byte, b'0'..=b'7')) {
        Some(0) | None => Ok(number),
        Some(_other) => Err(invalid("a number is none")),
    }
}

fn block(head: &Head, flag: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    let fits = |number: u64, most: u64| if number <= most { number } else { 0 };
    put(0, &head.path[..head.path.len().min(NAME_MAX)]);
    put(100, format!("{:07o}", head.mode).as_bytes());
    put(108, format!("{:07o}", fits(head.uid.into(), ID_MAX)).as_bytes());
    put(116, format!("{:07o}", fits(head.gid.into(), ID_MAX)).as_bytes());
    put(124, format!("{:011o}", fits(head.size, SIZE_MAX)).as_bytes());
    let seconds = u64::try_from(head.modified.0).unwrap_or_default();
    put(136, format!("{:011o}", fits(seconds, SIZE_MAX)).as_bytes());
    put(156, &[flag]);
    put(157, &head.target[..head.target.len().min(NAME_MAX)]);
    put(257, b"ustar\x0000");
    put(148, b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// The blocks before an entry's content.
pub(super) fn encode(head: &Head) -> Vec<u8> {
    let mut records = Vec::new();
    let mut add = |key: &str, value: &[u8]| records.extend(record(key.as_bytes(), value));
    let is_long = |name: &[u8]| name.len() > NAME_MAX;
    let is_text = |name: &[u8]| std::str::from_utf8(name).is_ok();
    let names_are_text = is_text(&head.path) && is_text(&head.target);
    let in_records = is_long(&head.path) || is_long(&head.target) || head.sparse.is_some();
    if in_records && !names_are_text {
        add("hdrcharset", b"BINARY");
    }
    if head.is_shared {
        add("comment", SHARED);
    }
    if let Some(length) = head.sparse {
        add("GNU.sparse.major", b"1");
        add("GNU.sparse.minor", b"0");
        add("GNU.sparse.name", &head.path);
        add("GNU.sparse.realsize", length.to_string().as_bytes());
    } else if is_long(&head.path) {
        add("path", &head.path);
    }
    if is_long(&head.target) {
        add("linkpath", &head.target);
    }
    let (seconds, parts) = head.modified;
    if parts > 0 || !(0..=SIZE_MAX).contains(&u64::try_from(seconds).unwrap_or(u64::MAX)) {
        add("mtime", decimal(head.modified).as_bytes());
    }
    for (key, number, most) in [
        ("size", head.size, SIZE_MAX),
        ("uid", head.uid.into(), ID_MAX),
        ("gid", head.gid.into(), ID_MAX),
    ] {
        if number > most {
            add(key, number.to_string().as_bytes());
        }
    }
    for (name, value) in &head.attributes {
        let name = name.replace('%', "%25").replace('=', "%3D");
        add(&format!("{ATTRIBUTE}{name}"), value);
    }
    let mut all = Vec::new();
    if !records.is_empty() {
        let length = records.len() as u64;
        all.extend(block(&Head { mode: 0o644, ..Head::own(b"pax", length) }, b'x'));
        records.resize(records.len() + padding(length), 0);
        all.append(&mut records);
    }
    all.extend(block(head, head.kind.flag()));
    all
}

#[cfg(test)]
mod tests {
    use super::super::Stop;
    use super::super::archive::{Kind, read};
    use super::*;

    /// What is understood of these bytes; they may be too few.
    fn understood(mut bytes: &[u8]) -> Result<Option<Head>, Stop> {
        read(&mut |length| {
            let (now, later) = bytes.split_at_checked(length).ok_or(Stop::Stopped)?;
            bytes = later;
            Ok(now.to_vec())
        })
    }

    fn heads() -> Vec<Head> {
        let own = |path: &[u8]| Head { mode: 0o6751, ..Head::own(path, 17) };
        let long = [b"data/".as_slice(), &[b'n'; 250], b"/x"].concat();
        vec![
            own(b"data/rows"),
            Head { kind: Kind::Directory, size: 0, ..own(b"data/") },
            Head {
                modified: (1_700_000_000, 123_456_789),
                is_shared: true,
                ..own(b"data/a\nb = c")
            },
            Head { modified: (-1, 500_000_000), uid: u32::MAX, gid: 3_000_000, ..own(&long) },
            Head { modified: (-7, 0), size: 9 << 30, ..own(b"data/\xff\xfe") },
            Head { modified: (1 << 40, 1), ..own(&[long.as_slice(), b"\xff"].concat()) },
            Head { kind: Kind::Link, size: 0, target: long.clone(), ..own(b"data/link") },
            Head { kind: Kind::Name, size: 0, target: b"data/rows".to_vec(), ..own(b"data/name") },
            Head { kind: Kind::Pipe, size: 0, ..own(b"data/pipe") },
            Head { sparse: Some(1 << 40), ..own(b"data/sparse") },
            Head {
                attributes: vec![
                    ("user.a%3D=b".to_owned(), b"\x00\n=".to_vec()),
                    ("security.capability".to_owned(), vec![7; 99_000]),
                ],
                ..own(b"data/marked")
            },
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        for head in heads() {
            let bytes = head.encode();
            assert_eq!(bytes.len() % BLOCK, 0);
            assert_eq!(understood(&bytes), Ok(Some(head)));
        }
        assert_eq!(understood(&[0; BLOCK]), Ok(None));
    }

    #[test]
    fn a_flipped_bit_is_refused_or_says_something_else() {
        for head in heads().into_iter().take(10) {
            let bytes = head.encode();
            for at in 0..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << (at % 8);
                assert_ne!(understood(&damaged), Ok(Some(head.clone())), "byte {at}");
            }
        }
    }

    #[test]
    fn devices_and_the_unknown_are_refused() {
        for (flag, said) in
            [(b'3', "a device"), (b'4', "a device"), (b'S', "kind 'S'"), (b'g', "kind 'g'")]
        {
            let bytes = block(&Head::own(b"data/x", 0), flag);
            let Err(Stop::Content(refused)) = understood(&bytes) else { panic!("{flag}") };
            assert!(refused.message.contains(said), "{refused}");
        }
    }
}
