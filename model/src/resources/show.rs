//! How resources print: what operators may write, and what only the books can say (volumes, stacks).

use super::{Entry, MountMode, Resource, Resources, Value};
use std::fmt;

impl fmt::Display for Resources {
    /// `cpus:2; disk(storage/mysql)[ROOT,data-0:data]:1024`, in canonical order.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        for (index, Entry { resource, copies }) in self.entries().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{resource}")?;
            if copies > 1 {
                write!(f, " x{copies}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if !self.stack.is_unreserved() {
            write!(f, "({})", self.stack)?;
        }
        if let Some(disk) = &self.disk {
            write!(f, "[{}", disk.source)?;
            if let Some(persistence) = &disk.persistence {
                write!(f, ",{}", persistence.name)?;
            }
            if let Some(mount) = &disk.mount {
                let mode = if mount.mode == MountMode::ReadOnly { ":ro" } else { "" };
                write!(f, ":{}{mode}", mount.container_path)?;
            }
            f.write_str("]")?;
        }
        match &self.value {
            Value::Scalar(amount) => write!(f, ":{amount}")?,
            Value::Ranges(ranges) => write!(f, ":{ranges}")?,
            Value::Set(items) => {
                let items: Vec<&str> = items.iter().map(|i| &**i).collect();
                write!(f, ":{{{}}}", items.join(","))?;
            },
        }
        let flags = [(self.shared, "shared"), (self.revocable, "revocable")];
        for (_, flag) in flags.iter().filter(|(on, _)| *on) {
            write!(f, "<{flag}>")?;
        }
        match &self.allocation_role {
            Some(role) => write!(f, "<for {role}>"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
