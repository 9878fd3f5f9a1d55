//! Trials of orders about the disks of agents.

use super::Turn;
use crate::boundary::Output;
use crate::decide::disk_order;
use crate::event::AgentEvent;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::link::ToAgent;
use berth_model::operator::Request;

impl Turn<'_> {
    /// Asks the agent what an order about its disks would find.
    pub(super) fn try_disk(&mut self, read: u64, request: &Request) {
        let order = disk_order::order_of(self.state, request).unwrap_or_else(|| {
            Err(Rejection::new(
                ErrorCode::InvalidArgument,
                "only orders about disks are tried by agents",
            ))
        });
        match order {
            Ok((agent, order)) => {
                let agent = agent.info.id;
                self.apply(AgentEvent::ReadStarted { read, agent }.into());
                self.tell(agent, ToAgent::TryDisk { read, order: Box::new(order) });
            },
            Err(refused) => self.say(Output::FileData { read, offset: 0, data: Err(refused) }),
        }
    }
}
