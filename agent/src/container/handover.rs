//! How the agent hands volumes to a supervisor it has just started: one message with all directory handles.
//!
//! The message is also the word to go: a supervisor whose agent died before sending it starts nothing.

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The kernel passes at most this many descriptors in one message.
pub(crate) const HANDLES_MAX: usize = 253;

const GO: [u8; 1] = [b'g'];

pub(crate) fn send(socket: impl AsFd, handles: &[OwnedFd]) -> io::Result<()> {
    let borrowed: Vec<BorrowedFd<'_>> = handles.iter().map(AsFd::as_fd).collect();
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDLES_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(io::Error::other(format!("more than {HANDLES_MAX} volumes")));
    }
    sendmsg(socket, &[IoSlice::new(&GO)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Nothing when the agent is gone without having given the word.
pub(crate) fn receive(socket: impl AsFd) -> io::Result<Option<Vec<OwnedFd>>> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDLES_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 1];
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut handles = Vec::new();
    for message in ancillary.drain() {
        match message {
            RecvAncillaryMessage::ScmRights(rights) => handles.extend(rights),
            RecvAncillaryMessage::ScmCredentials(_) => {},
            _ => {},
        }
    }
    Ok((received.bytes == 1).then_some(handles))
}
