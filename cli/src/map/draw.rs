//! The picture: a bar to scale for each disk, names below it, a line for everything that is in it.
//!
//! A pure function from the numbers to lines; it asks no terminal. Invariants: no line is wider than the canvas, the cells of
//! a bar add up to its length, and everything that lies on a disk has at least one cell and a line, if need be a cell it
//! shares with its likes.

use super::scale::{cells, length};
use super::text::{Canvas, Ink, Line, Signs, clean, cut, pad, width, wrap};
use super::{Berth, Kind, Part};
use berth_model::units::Bytes;
use std::collections::BTreeMap;

/// Shorter bars cannot be read, and would not hold what cannot be joined.
const BAR_MIN: usize = 20;
/// Cells that small volumes get beyond their due: at most one in so many.
const BENT_MAX: u128 = 6;
/// Before a bar, and before the lines below it.
const INDENT: &str = "  ";
/// The keys of volumes, in their order.
const KEYS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
/// The key of what shares a cell.
const SHARED: char = '+';
/// More roles than these share their cells.
const ROLES_MAX: usize = 6;
/// Lines of what lies on a disk leave something out below it.
const NARROW: usize = 64;
/// Lines of what lies on a disk tell more from here on.
const WIDE: usize = 100;
const WIDEST: usize = 150;
/// Below it nothing can be told apart.
const WIDTH_MIN: usize = 24;

/// A stretch of a bar.
struct Stretch {
    kind: Kind,
    key: char,
    name: String,
    weight: u64,
    used: Option<u64>,
}

/// Draws disks, grouped by agent, in the order given.
pub(crate) fn render(berths: &[Berth], canvas: Canvas) -> String {
    let canvas = Canvas { width: canvas.width.max(WIDTH_MIN), ..canvas };
    let largest = berths.iter().map(|berth| berth.size_bytes).max().unwrap_or_default();
    let room = canvas.width - INDENT.len() - 2;
    let mut lines = legend(canvas, largest, room);
    let mut agent = None;
    for berth in berths {
        if agent != Some(&berth.agent_id) {
            agent = Some(&berth.agent_id);
            lines.push(Line::default());
            let own = berths.iter().filter(|other| other.agent_id == berth.agent_id);
            lines.push(quay(berth, own, canvas));
        }
        lines.extend(disk(berth, largest, room, canvas));
    }
    if berths.is_empty() {
        lines = vec![Line::of(Ink::Plain, "no disks")];
    }
    let mut text = String::new();
    for line in lines {
        text.push_str(&line.print(canvas));
        text.push('\n');
    }
    text
}

/// What the signs mean.
fn legend(canvas: Canvas, largest: u64, room: usize) -> Vec<Line> {
    let signs = Signs::of(canvas);
    let cell = Bytes::new(largest / room as u64);
    let mut line = Line::of(Ink::Volume, format!("{0}{0}", signs.used));
    line.push(Ink::Plain, " used ");
    line.push(Ink::Volume, format!("{0}{0}", signs.unused));
    line.push(Ink::Plain, " not used ");
    line.push(Ink::Faint, format!("{0}{0}", signs.reserved));
    line.push(Ink::Plain, " reserved ");
    line.push(Ink::Notice, format!("{0}{0}", signs.trash));
    line.push(Ink::Plain, " trash ");
    line.push(Ink::Faint, format!("{0}{0}", signs.free));
    line.push(Ink::Plain, " free");
    let scale = format!("1 cell = {cell}");
    if line.width() + 3 + width(&scale) > canvas.width {
        return vec![line, Line::of(Ink::Plain, scale)];
    }
    line.push(Ink::Plain, format!("   {scale}"));
    vec![line]
}

fn quay<'a>(berth: &Berth, own: impl Iterator<Item = &'a Berth>, canvas: Canvas) -> Line {
    let (mut count, mut size) = (0_usize, 0_u64);
    for other in own {
        count += 1;
        size = size.saturating_add(other.size_bytes);
    }
    let host = clean(&berth.hostname, canvas.is_ascii);
    let mut line = Line::of(Ink::Bold, cut(&host, canvas.width / 2, canvas.is_ascii));
    let noun = if count == 1 { "disk" } else { "disks" };
    let id: String = berth.agent_id.chars().take(8).collect();
    line.push(Ink::Plain, format!("  {id}  {count} {noun}, {}", Bytes::new(size)));
    if !berth.is_current() {
        line.push(Ink::Bad, format!("  {}, as last told", berth.agent_state));
    }
    line
}

fn disk(berth: &Berth, largest: u64, room: usize, canvas: Canvas) -> Vec<Line> {
    let volumes = berth.parts.iter().filter(|part| part.kind == Kind::Volume).count();
    let least = BAR_MIN.max(2 * volumes);
    let bar_width = length(berth.size_bytes, largest, room, least);
    let true_width = length(berth.size_bytes, largest, room, 0);
    let keys = keys(berth, bar_width);
    let stretches = stretches(berth, &keys);
    let mut lines =
        vec![heading(berth, bar_width.saturating_sub(true_width) > 1, bar_width, canvas)];
    let indented = canvas.width - INDENT.len() * 2;
    let mut remark = |text: String| {
        for part in wrap(&clean(&text, canvas.is_ascii), indented) {
            lines.push(Line::of(Ink::Bad, format!("{INDENT}{INDENT}{part}")));
        }
    };
    if let Some(why) = &berth.faulty {
        remark(format!("faulty: {why}"));
    }
    if let Some(why) = &berth.cordoned {
        let why = if why.is_empty() { "no reason was given" } else { why };
        remark(format!("cordoned: {why}"));
    }
    let weights: Vec<u64> = stretches.iter().map(|stretch| stretch.weight).collect();
    if weights.iter().all(|weight| *weight == 0) {
        lines.push(Line::of(Ink::Plain, format!("{INDENT}nothing is known of its size")));
    } else {
        let cells = cells(&weights, bar_width);
        lines.push(bar(berth, &stretches, &cells, canvas));
        lines.extend(names(&stretches, &cells, canvas));
    }
    lines.extend(contents(berth, &keys, canvas));
    lines
}

fn heading(berth: &Berth, is_enlarged: bool, bar_width: usize, canvas: Canvas) -> Line {
    let name = clean(&berth.name, canvas.is_ascii);
    let name = cut(&name, canvas.width / 3, canvas.is_ascii);
    let mut line = Line::of(Ink::Bold, format!("{INDENT}{name}"));
    line.push(Ink::Plain, format!("  {}", Bytes::new(berth.size_bytes)));
    match (&berth.faulty, &berth.cordoned) {
        (Some(_), Some(_)) => line.push(Ink::Bad, "  FAULTY CORDONED"),
        (Some(_), None) => line.push(Ink::Bad, "  FAULTY"),
        (None, Some(_)) => line.push(Ink::Notice, "  CORDONED"),
        (None, None) => line.push(Ink::Plain, "  ok"),
    }
    if is_enlarged && berth.size_bytes > 0 {
        let cell = Bytes::new(berth.size_bytes / bar_width as u64);
        line.push(Ink::Notice, format!("  enlarged: 1 cell = {cell}"));
    }
    let mut facts = vec![berth.kind.clone()];
    if berth.media != "unknown" {
        facts.push(berth.media.clone());
    }
    if !berth.driver.is_empty() {
        facts.push(format!("{}, sizes enforced by {}", berth.driver, berth.enforced));
    }
    if canvas.width >= WIDE {
        facts.push(format!("at {},", clean(&berth.root, canvas.is_ascii)));
        facts.push(format!("{} free there", Bytes::new(berth.file_system_free_bytes)));
    }
    let facts = facts.join(" ").replace("enforced by none", "not enforced");
    line.push(Ink::Plain, format!("  {facts}"));
    line
}

/// The key of each volume. A volume too small for the scale still gets a cell, at the expense of the others; where that
/// would bend the picture, or no key is left, the smallest share one.
fn keys(berth: &Berth, bar_width: usize) -> BTreeMap<usize, char> {
    let parts = &berth.parts;
    let mut volumes: Vec<usize> =
        (0..parts.len()).filter(|index| parts[*index].kind == Kind::Volume).collect();
    let all = volumes.clone();
    volumes.sort_by_key(|index| (std::cmp::Reverse(parts[*index].size_bytes), *index));
    let size = u128::from(berth.size_bytes.max(1));
    let mut bent = 0;
    volumes.truncate((bar_width / 2).min(KEYS.len()));
    volumes.retain(|index| {
        let due = u128::from(parts[*index].size_bytes) * bar_width as u128 * 1_000 / size;
        bent += 1_000_u128.saturating_sub(due);
        bent <= bar_width as u128 * 1_000 / BENT_MAX
    });
    // Alone, it needs no company to share with.
    if all.len() == volumes.len() + 1 && volumes.len() < bar_width / 2 {
        volumes.clone_from(&all);
    }
    let mut keys = KEYS.chars();
    let key = |index| {
        let own = volumes.contains(&index).then(|| keys.next()).flatten();
        (index, own.unwrap_or(SHARED))
    };
    all.into_iter().map(key).collect()
}

fn stretches(berth: &Berth, keys: &BTreeMap<usize, char>) -> Vec<Stretch> {
    let mut all: Vec<Stretch> = Vec::new();
    let (mut shared, mut shared_count) = ((0_u64, Some(0_u64)), 0_usize);
    for (index, key) in keys {
        let part = &berth.parts[*index];
        if *key == SHARED {
            shared_count += 1;
            shared.0 += part.size_bytes;
            shared.1 = shared.1.zip(part.used_bytes).map(|(sum, used)| sum + used);
            continue;
        }
        all.push(Stretch {
            kind: Kind::Volume,
            key: *key,
            name: part.name.clone(),
            weight: part.size_bytes,
            used: part.used_bytes,
        });
    }
    if shared_count > 0 {
        let (weight, used) = shared;
        let name = format!("{shared_count} volumes");
        all.push(Stretch { kind: Kind::Volume, key: SHARED, name, weight, used });
    }
    let of = |kind: Kind| berth.parts.iter().filter(move |part| part.kind == kind);
    let plain = |kind, name, weight| Stretch { kind, key: ' ', name, weight, used: None };
    if of(Kind::Reserved).count() > ROLES_MAX {
        let weight = of(Kind::Reserved).map(|part| part.size_bytes).sum();
        let name = format!("{} roles", of(Kind::Reserved).count());
        all.push(plain(Kind::Reserved, name, weight));
    } else {
        all.extend(of(Kind::Reserved).map(|p| plain(Kind::Reserved, p.role.clone(), p.size_bytes)));
    }
    // Trash lies in what is free; what no longer finds room there is only in the lines below.
    let free: u64 = of(Kind::Free).map(|part| part.size_bytes).sum();
    let trash = of(Kind::Trash).map(Part::weight).sum::<u64>().min(free);
    if trash > 0 {
        all.push(plain(Kind::Trash, "trash".to_owned(), trash));
    }
    if free > trash {
        all.push(plain(Kind::Free, format!("{} free", Bytes::new(free)), free - trash));
    }
    all
}

fn bar(berth: &Berth, stretches: &[Stretch], cells: &[usize], canvas: Canvas) -> Line {
    let signs = Signs::of(canvas);
    let is_bad = berth.faulty.is_some();
    let edge = if is_bad { Ink::Bad } else { Ink::Plain };
    let (left, right) = if is_bad { ('!', '!') } else { signs.edges };
    let mut line = Line::of(edge, format!("{INDENT}{left}"));
    let mut inks = [Ink::Volume, Ink::OtherVolume].into_iter().cycle();
    for (stretch, cells) in stretches.iter().zip(cells) {
        match stretch.kind {
            Kind::Volume => {
                let ink = inks.next().unwrap_or(Ink::Volume);
                line.push(ink, volume_bar(stretch, *cells, &signs));
            },
            Kind::Reserved => line.push(Ink::Faint, signs.reserved.to_string().repeat(*cells)),
            Kind::Trash => line.push(Ink::Notice, signs.trash.to_string().repeat(*cells)),
            Kind::Free => line.push(Ink::Faint, signs.free.to_string().repeat(*cells)),
        }
    }
    line.push(edge, right.to_string());
    line
}

/// The volume's key, then its fill.
fn volume_bar(stretch: &Stretch, cells: usize, signs: &Signs) -> String {
    let filled = stretch.used.map(|used| {
        let size = u128::from(stretch.weight.max(1));
        let exact = (u128::from(used) * cells as u128 + size / 2) / size;
        usize::try_from(exact).unwrap_or(cells).min(cells)
    });
    (0..cells)
        .map(|cell| match filled {
            _ if cell == 0 => stretch.key,
            None => signs.unmeasured,
            Some(filled) if cell < filled => signs.used,
            Some(_) => signs.unused,
        })
        .collect()
}

/// Names under the stretches that are long enough for some of them.
fn names(stretches: &[Stretch], cells: &[usize], canvas: Canvas) -> Option<Line> {
    let mut line = Line::of(Ink::Plain, format!("{INDENT} "));
    let mut is_empty = true;
    for (stretch, cells) in stretches.iter().zip(cells) {
        let room = cells.saturating_sub(1);
        let text = clean(&stretch.name, canvas.is_ascii);
        let text = if room < 3 { String::new() } else { cut(&text, room, canvas.is_ascii) };
        is_empty &= text.is_empty();
        line.push(Ink::Plain, pad(&text, *cells, canvas.is_ascii));
    }
    (!is_empty).then_some(line)
}

/// One line for everything that lies on the disk.
fn contents(berth: &Berth, keys: &BTreeMap<usize, char>, canvas: Canvas) -> Vec<Line> {
    let signs = Signs::of(canvas);
    let rows: Vec<[String; 6]> = (0..berth.parts.len())
        .map(|index| {
            let part = &berth.parts[index];
            let key = match part.kind {
                Kind::Volume => keys.get(&index).copied().unwrap_or(SHARED),
                Kind::Reserved => signs.reserved,
                Kind::Trash => signs.trash,
                Kind::Free => signs.free,
            };
            row(part, key, canvas)
        })
        .collect();
    let widest = |column: usize| rows.iter().map(|row| width(&row[column])).max().unwrap_or(0);
    let (size, fill, state) = (widest(2), widest(3), widest(4));
    let others = INDENT.len() * 2 + 2 + 2 + size + 2 + fill + 2 + state;
    let name = widest(1).min(canvas.width.saturating_sub(others).max(8));
    let mut lines = Vec::new();
    for [key, called, amount, filled, is, more] in &rows {
        let ink = if key == &signs.trash.to_string() { Ink::Notice } else { Ink::Plain };
        let mut line = Line::of(Ink::Bold, format!("{INDENT}{INDENT}{key} "));
        let right = " ".repeat(size.saturating_sub(width(amount)));
        let called = pad(called, name, canvas.is_ascii);
        line.push(ink, format!("{called}  {right}{amount}  "));
        line.push(Ink::Plain, format!("{}  ", pad(filled, fill, canvas.is_ascii)));
        let is_bad = matches!(is.as_str(), "LOST" | "QUARANTINED");
        let ink = if is_bad { Ink::Bad } else { Ink::Plain };
        line.push(ink, pad(is, state, canvas.is_ascii));
        line.push(Ink::Plain, format!("  {more}"));
        lines.push(line);
    }
    lines
}

/// Key, name, size, fill, state, and what wide terminals are told besides.
fn row(part: &Part, key: char, canvas: Canvas) -> [String; 6] {
    let named = |text: String| clean(&text, canvas.is_ascii);
    let called = match part.kind {
        Kind::Volume | Kind::Trash => named(format!("{}/{}", part.role, part.name)),
        Kind::Reserved => named(format!("reserved to {}", part.role)),
        Kind::Free => "free".to_owned(),
    };
    let fill = match (part.kind, part.used_bytes) {
        (Kind::Volume | Kind::Trash, Some(used)) => {
            let percent = u128::from(used) * 100 / u128::from(part.size_bytes.max(1));
            if canvas.width < NARROW {
                format!("{percent}%")
            } else {
                format!("{} used, {percent}%", Bytes::new(used))
            }
        },
        (Kind::Volume, None) if canvas.width < NARROW => "?".to_owned(),
        (Kind::Volume, None) => "use not measured".to_owned(),
        (Kind::Trash, None) | (Kind::Reserved | Kind::Free, _) => String::new(),
    };
    let mut more = Vec::new();
    if canvas.width >= WIDE && !part.in_use_by.is_empty() {
        more.push(format!("in use by {}", part.in_use_by.join(", ")));
    }
    if canvas.width >= WIDEST && !part.host_path.is_empty() {
        more.push(part.host_path.clone());
    }
    let size = Bytes::new(part.size_bytes).to_string();
    [key.to_string(), called, size, fill, part.state.clone(), named(more.join("  "))]
}
