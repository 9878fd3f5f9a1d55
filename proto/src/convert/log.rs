//! What clients ask of a task's output.

use super::field::{self, Choice};
use super::{At, Wire};
use crate::v1;
use berth_model::error::Rejection;
use berth_model::id::{FrameworkId, TaskId};
use berth_model::link::OutputStream;
use berth_model::units::Bytes;

/// What part of a task's output is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRequest {
    /// Whose.
    pub framework: FrameworkId,
    /// Which task.
    pub task: TaskId,
    /// Which output.
    pub stream: OutputStream,
    /// From where, counted from the first byte ever written.
    pub offset: u64,
    /// Go on as the task writes.
    pub follow: bool,
    /// Begin so many bytes before the end, instead of at the offset.
    pub tail: Option<Bytes>,
}

impl Wire for LogRequest {
    type Message = v1::ReadTaskLogRequest;

    fn to_wire(&self) -> v1::ReadTaskLogRequest {
        let Self { framework, task, stream, offset, follow, tail } = self;
        v1::ReadTaskLogRequest {
            framework_id: framework.to_string(),
            task_id: task.to_string(),
            stream: stream.number(),
            offset: *offset,
            follow: *follow,
            tail_bytes: tail.map(Bytes::get),
        }
    }

    fn from_wire(message: v1::ReadTaskLogRequest, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::ReadTaskLogRequest { framework_id, task_id, stream, offset, follow, tail_bytes } =
            message;
        Ok(Self {
            framework: field::id(&framework_id, &at.field("framework_id"))?,
            task: field::id(&task_id, &at.field("task_id"))?,
            stream: OutputStream::read(stream, &at.field("stream"))?,
            offset,
            follow,
            tail: tail_bytes.map(Bytes::new),
        })
    }
}
