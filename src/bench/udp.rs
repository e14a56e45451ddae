//! Queries in datagrams: one connected socket a client, sent and received in batches.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmmsg};
use socket2::{Domain, Socket, Type};

use super::lane::{BATCH, Client};

/// Length of the longest reply that is read, in octets.
const REPLY: usize = 4096;

/// Size of a socket's kernel buffers in octets, so that this side loses no bursts.
const BUFFER: usize = 4 << 20;

/// A connected socket.
pub(super) struct Udp {
    socket: Socket,
    headers: MultiHeaders<()>,
    buffers: Box<[[u8; REPLY]; BATCH]>,
}

impl Udp {
    pub(super) fn connect(server: SocketAddr) -> io::Result<Self> {
        let (domain, any): (_, SocketAddr) = match server {
            SocketAddr::V4(_) => (Domain::IPV4, (Ipv4Addr::UNSPECIFIED, 0).into()),
            SocketAddr::V6(_) => (Domain::IPV6, (Ipv6Addr::UNSPECIFIED, 0).into()),
        };
        let socket = Socket::new(domain, Type::DGRAM, None)?;
        socket.bind(&any.into())?;
        socket.connect(&server.into())?;
        socket.set_nonblocking(true)?;
        // The kernel may grant less.
        socket.set_recv_buffer_size(BUFFER)?;
        socket.set_send_buffer_size(BUFFER)?;
        let headers = MultiHeaders::preallocate(BATCH, None);
        Ok(Self { socket, headers, buffers: Box::new([[0; REPLY]; BATCH]) })
    }
}

impl Client for Udp {
    fn send(&mut self, bytes: &[u8], messages: &[Range<usize>]) -> io::Result<usize> {
        let slices = messages.iter().map(|range| [IoSlice::new(&bytes[range.clone()])]).collect::<Vec<_>>();
        let nobody = vec![None; slices.len()];
        match sendmmsg(self.socket.as_raw_fd(), &mut self.headers, &slices, nobody, [], MsgFlags::MSG_DONTWAIT) {
            Ok(sent) => Ok(sent.count()),
            Err(Errno::EAGAIN) => Ok(0),
            // The port is closed, as the reply to an earlier datagram says. This one was not sent:
            // try again.
            Err(Errno::ECONNREFUSED) => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }

    fn receive(&mut self, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        loop {
            let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
                self.buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
            let flags = MsgFlags::MSG_DONTWAIT;
            let got = match recvmmsg(self.socket.as_raw_fd(), &mut self.headers, &mut slices, flags, None) {
                Ok(got) => got,
                Err(Errno::EAGAIN | Errno::ECONNREFUSED) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            };
            let mut count = 0;
            for message in got {
                message.iovs().for_each(&mut *each);
                count += 1;
            }
            if count < BATCH {
                return Ok(());
            }
        }
    }

    fn has_unsent(&self) -> bool {
        false
    }

    fn handle(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
