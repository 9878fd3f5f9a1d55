//! Is there a service scheduler already? Asked before this one subscribes as a new framework.
//!
//! Two schedulers with ledgers of their own would each launch what the other runs. It does not know what runs; a
//! framework of this scheduler's name that the master has not removed is enough. Two that ask at the same moment do not
//! see each other.

use super::FRAMEWORK_NAME;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::view::FrameworkView;
use berth_proto::address::Address;
use berth_proto::convert::{MESSAGE_BYTES_MAX, from_wire};
use berth_proto::status::from_status;
use berth_proto::v1::ListFrameworksRequest;
use berth_proto::v1::operator_client::OperatorClient;
use std::time::Duration;
use tonic::transport::Channel;

/// The session that waits for the answer is given up by the master not long after.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the master knows of other schedulers.
#[derive(Debug)]
pub(super) enum Found {
    Nobody,
    Somebody(Rejection),
    /// The master did not say.
    Unclear(Rejection),
}

/// Asks the master.
#[derive(Debug)]
pub(super) struct Rivals {
    master: OperatorClient<Channel>,
    url: String,
    hostname: String,
    /// A framework with this scheduler's own address may be itself from now on: subscribed, and the answer lost. Before,
    /// it is an earlier one, whose ledger this scheduler does not have.
    asked: bool,
}

impl Rivals {
    /// For a scheduler that is reached at `url`.
    pub(super) fn new(master: &Address, url: String, hostname: String) -> Result<Self, Rejection> {
        let channel = master.endpoint()?.connect_timeout(PATIENCE).connect_lazy();
        let master = OperatorClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { master, url, hostname, asked: false })
    }

    pub(super) async fn look(&mut self) -> Found {
        match tokio::time::timeout(PATIENCE, self.frameworks()).await {
            Err(_elapsed) => Found::Unclear(Rejection::new(
                ErrorCode::Unavailable,
                "the master does not say which frameworks there are",
            )),
            Ok(Err(rejection)) => Found::Unclear(rejection),
            Ok(Ok(frameworks)) => {
                let rival = frameworks.iter().find(|framework| self.is_rival(framework));
                self.asked |= rival.is_none();
                rival.map_or(Found::Nobody, |rival| Found::Somebody(refusal(rival)))
            },
        }
    }

    async fn frameworks(&mut self) -> Result<Vec<FrameworkView>, Rejection> {
        let request = ListFrameworksRequest { include_removed: false };
        let reply = self.master.list_frameworks(request).await.map_err(|s| from_status(&s))?;
        reply.into_inner().frameworks.into_iter().map(from_wire).collect()
    }

    fn is_rival(&self, framework: &FrameworkView) -> bool {
        let info = &framework.info;
        let own = self.asked && *info.url == *self.url && *info.hostname == *self.hostname;
        *info.name == *FRAMEWORK_NAME && framework.removed.is_none() && !own
    }
}

fn refusal(framework: &FrameworkView) -> Rejection {
    let FrameworkView { id, info, connected, .. } = framework;
    let connected = if *connected { "connected" } else { "not connected" };
    Rejection::new(
        ErrorCode::SessionExists,
        format!(
            "the master has a service scheduler already: framework {id} at {} on {} ({connected})",
            info.url, info.hostname
        ),
    )
    .remedy(format!(
        "start the scheduler with the work directory it had, or remove the old framework first with berth framework teardown {id}"
    ))
}
