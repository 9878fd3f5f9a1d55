//! The command line's way to the service scheduler.

use crate::client::{Client, SCHEDULER, channel, failed};
use crate::failure::{Failure, exit};
use berth_framework_core::document::Format;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::OperationId;
use berth_model::view::FrameworkView;
use berth_proto::convert::MESSAGE_BYTES_MAX;
use berth_proto::service::v1 as services;
use berth_proto::service::v1::services_client::ServicesClient;
use tonic::transport::Channel;

/// A connection to the service scheduler.
#[derive(Clone, Debug)]
pub(crate) struct Services {
    services: ServicesClient<Channel>,
}

impl Services {
    /// Finds the scheduler through the master: its address is in its FrameworkInfo.
    pub(crate) async fn find(client: &Client) -> Result<Self, Failure> {
        let frameworks = client.frameworks(false).await?;
        let mut known: Vec<&FrameworkView> =
            frameworks.iter().filter(|f| &*f.info.name == SCHEDULER).collect();
        known.sort_by_key(|f| (f.connected, f.registered));
        let Some(scheduler) = known.last() else {
            let error =
                Rejection::new(ErrorCode::Unavailable, "no service scheduler is subscribed")
                    .remedy(
                        "start one with `berth scheduler run --master HOST:PORT --work-dir DIR`",
                    );
            return Err(Failure::new(exit::UNREACHABLE, error));
        };
        let channel = channel(&scheduler.info.url, "the service scheduler").await?;
        let services = ServicesClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { services })
    }

    pub(crate) async fn apply(
        &self,
        id: OperationId,
        document: &str,
        format: Option<Format>,
        dry_run: bool,
    ) -> Result<services::ApplyReply, Failure> {
        let format = match format {
            None => services::Format::Unspecified,
            Some(Format::Yaml) => services::Format::Yaml,
            Some(Format::Json) => services::Format::Json,
            Some(Format::Toml) => services::Format::Toml,
        };
        let request = services::ApplyRequest {
            request_id: id.to_string(),
            document: document.to_owned(),
            format: i32::from(format),
            dry_run,
        };
        let reply = self.services.clone().apply(request).await;
        Ok(reply.map_err(|s| failed(&s))?.into_inner())
    }
    pub(crate) async fn list(&self) -> Result<Vec<services::ServiceView>, Failure> {
        let reply = self.services.clone().list(services::ListRequest {}).await;
        Ok(reply.map_err(|s| failed(&s))?.into_inner().services)
    }
    pub(crate) async fn get(
        &self,
        name: &str,
        role: Option<&str>,
    ) -> Result<services::ServiceView, Failure> {
        let request = services::GetRequest { name: name.to_owned(), role: role.map(str::to_owned) };
        Ok(self.services.clone().get(request).await.map_err(|s| failed(&s))?.into_inner())
    }
    pub(crate) async fn restart(
        &self,
        id: OperationId,
        name: &str,
        role: Option<&str>,
    ) -> Result<(), Failure> {
        let request = services::RestartRequest {
            request_id: id.to_string(),
            name: name.to_owned(),
            role: role.map(str::to_owned),
            pod: None,
        };
        self.services.clone().restart(request).await.map_err(|s| failed(&s))?;
        Ok(())
    }
    /// Answers the volumes that are kept.
    pub(crate) async fn delete(
        &self,
        id: OperationId,
        name: &str,
        role: Option<&str>,
        delete_volumes: bool,
    ) -> Result<Vec<String>, Failure> {
        let request = services::DeleteRequest {
            request_id: id.to_string(),
            name: name.to_owned(),
            role: role.map(str::to_owned),
            delete_volumes,
        };
        let reply = self.services.clone().delete(request).await;
        Ok(reply.map_err(|s| failed(&s))?.into_inner().kept_volumes)
    }
}
