//! What goes out comes back, what is malformed is refused by name, and the formats do not change unseen.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod descriptor;
mod disks;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod nouns;
#[cfg(test)]
mod records;
#[cfg(test)]
mod roles;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod stores;
#[cfg(test)]
mod tasks;
mod transfers;
#[cfg(test)]
mod views;
#[cfg(test)]
mod wipes;
