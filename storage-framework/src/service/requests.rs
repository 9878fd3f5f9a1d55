//! Requests of users while they wait for the commit, and the answers to recent ones, for repetition.

use berth_framework_core::scheduler::{Command, Reply};
use berth_model::error::{ErrorCode, Rejection};
use std::collections::{BTreeMap, VecDeque};
use tokio::sync::oneshot;

/// Answers kept for repetition.
const REMEMBERED: usize = 1_024;

/// A command and where its answer goes.
#[derive(Debug)]
pub(super) struct Asked {
    /// Chosen by the caller; empty when it does not mind a repetition.
    pub(super) id: String,
    pub(super) command: Command,
    pub(super) answer: oneshot::Sender<Result<Reply, Rejection>>,
}

#[derive(Debug)]
struct Waiting {
    id: String,
    command: Command,
    answer: oneshot::Sender<Result<Reply, Rejection>>,
}

#[derive(Debug, Default)]
pub(super) struct Requests {
    numbers: u64,
    waiting: BTreeMap<u64, Waiting>,
    answered: BTreeMap<String, (Command, Reply)>,
    order: VecDeque<String>,
}

impl Requests {
    /// The command under its number; nothing when it was answered before, which answers it again.
    pub(super) fn open(&mut self, asked: Asked) -> Option<(u64, Command)> {
        let Asked { id, command, answer } = asked;
        if let Some((earlier, reply)) = self.answered.get(&id) {
            let result = if *earlier == command {
                Ok(reply.clone())
            } else {
                let message = format!("request id {id} belongs to another request");
                Err(Rejection::new(ErrorCode::RequestIdReused, message)
                    .field("request_id")
                    .remedy("choose a new id for each new request"))
            };
            // A caller that has gone needs no answer.
            drop(answer.send(result));
            return None;
        }
        self.numbers += 1;
        self.waiting.insert(self.numbers, Waiting { id, command: command.clone(), answer });
        Some((self.numbers, command))
    }

    pub(super) fn close(&mut self, number: u64, result: Result<Reply, Rejection>) {
        let Some(Waiting { id, command, answer }) = self.waiting.remove(&number) else { return };
        if let (Ok(reply), false) = (&result, id.is_empty()) {
            self.answered.insert(id.clone(), (command, reply.clone()));
            self.order.push_back(id);
            if self.order.len() > REMEMBERED {
                self.order.pop_front().and_then(|oldest| self.answered.remove(&oldest));
            }
        }
        drop(answer.send(result));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_request_is_answered_alike_and_a_reused_id_is_refused() {
        let mut requests = Requests::default();
        let delete = |volumes| Command::Delete { service: "a".to_owned(), volumes };
        let mut ask = |command: Command| {
            let (answer, answered) = oneshot::channel();
            let opened = requests.open(Asked { id: "1".to_owned(), command, answer });
            if let Some((number, _)) = &opened {
                requests.close(*number, Ok(Reply::Deleting { kept_volumes: vec!["v".to_owned()] }));
            }
            (opened.is_some(), answered.blocking_recv().unwrap())
        };
        let reply = Ok(Reply::Deleting { kept_volumes: vec!["v".to_owned()] });
        assert_eq!(ask(delete(false)), (true, reply.clone()));
        assert_eq!(ask(delete(false)), (false, reply));
        let (decided, refused) = ask(delete(true));
        assert_eq!((decided, refused.unwrap_err().code), (false, ErrorCode::RequestIdReused));
    }
}
