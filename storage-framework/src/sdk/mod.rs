//! A framework's session with the master, for anybody who writes a framework.
//!
//! [`Client::start`] keeps a session open for as long as the client lives: it reconnects with growing, jittered pauses,
//! notices a silent master, and hands out what happens as [`Notice`]s. It does not know what a framework wants: it never
//! subscribes, accepts or acknowledges by itself. Invariant: a [`Caller`] belongs to one connection; a call made through
//! it is never sent on a later one, so nothing that was decided on old offers reaches a new session.
//!
//! Where the master offers the same resources to several frameworks, an [`Offer`](berth_model::offer::Offer) says which part of
//! it is optimistic and which [version](berth_model::offer::Version) of the agent it shows; an ACCEPT takes
//! [`Terms`](berth_model::framework::Terms): all or nothing, and only if nothing was committed since that version.
//!
//! A framework that decides for many machines at once watches what is free of them with [`CellWatcher`] and takes it with
//! [`Call::Commit`](berth_model::framework::Call::Commit), without offers.
//!
//! ```no_run
//! use berth_model::framework::{Call, Event, Filters, FrameworkInfo};
//! use berth_storage_framework::sdk::{Client, Notice, Options};
//! use std::{collections::BTreeSet, sync::Arc, time::Duration};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut client = Client::start("127.0.0.1:5050".parse()?, Options::default())?;
//! let mut caller = None;
//! while let Some(notice) = client.next().await {
//!     match notice {
//!         Notice::Connected(fresh) => {
//!             let info = FrameworkInfo {
//!                 name: Arc::from("example"),
//!                 user: Arc::from(""),
//!                 roles: BTreeSet::from(["storage/example".parse()?]),
//!                 principal: None,
//!                 failover_timeout: Duration::from_secs(60),
//!                 url: Arc::from(""),
//!                 hostname: Arc::from(""),
//!                 capabilities: BTreeSet::new(),
//!             };
//!             fresh.call(1, &Call::Subscribe { info, framework: None, suppressed: BTreeSet::new() })?;
//!             caller = Some(fresh);
//!         },
//!         Notice::Event(Event::Offers(offers)) => {
//!             let offers = offers.iter().map(|offer| offer.id).collect();
//!             if let Some(caller) = &caller {
//!                 caller.call(2, &Call::Decline { offers, filters: Filters::default() })?;
//!             }
//!         },
//!         Notice::Event(event) => println!("{event:?}"),
//!         Notice::Disconnected(why) => println!("{why}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod backoff;
mod cell;
mod session;

pub use backoff::Backoff;
pub use cell::CellWatcher;
pub use session::{Caller, Client, NotSent, Notice, Options};
