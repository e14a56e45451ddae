//! A network in memory: packets arrive at once, and none is lost, however busy the machine is.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

/// The packets that have arrived at each address.
#[derive(Debug, Default)]
pub(super) struct Net(Mutex<HashMap<SocketAddr, Inbox>>);

#[derive(Debug, Default)]
struct Inbox {
    packets: VecDeque<(SocketAddr, Vec<u8>)>,
    waker: Option<Waker>,
}

impl Net {
    fn inboxes(&self) -> MutexGuard<'_, HashMap<SocketAddr, Inbox>> {
        self.0.lock().expect("no panic")
    }

    /// Delivers a packet.
    pub(super) fn send(&self, from: SocketAddr, to: SocketAddr, packet: &[u8]) {
        let mut inboxes = self.inboxes();
        let inbox = inboxes.entry(to).or_default();
        inbox.packets.push_back((from, packet.to_vec()));
        if let Some(waker) = inbox.waker.take() {
            waker.wake();
        }
    }

    /// Takes the packets at an address where there is no socket.
    pub(super) fn take(&self, at: SocketAddr) -> Vec<Vec<u8>> {
        self.inboxes().remove(&at).unwrap_or_default().packets.into_iter().map(|(_, packet)| packet).collect()
    }

    /// Opens a socket.
    pub(super) fn socket(self: &Arc<Self>, own: SocketAddr) -> Arc<dyn AsyncUdpSocket> {
        Arc::new(Socket { own, net: self.clone() })
    }
}

#[derive(Debug)]
struct Socket {
    own: SocketAddr,
    net: Arc<Net>,
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.net.send(self.own, transmit.destination, transmit.contents);
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut inboxes = self.net.inboxes();
        let inbox = inboxes.entry(self.own).or_default();
        let count = inbox.packets.len().min(buffers.len());
        if count == 0 {
            inbox.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        for ((buffer, meta), (from, packet)) in buffers.iter_mut().zip(metas).zip(inbox.packets.drain(..count)) {
            let len = packet.len().min(buffer.len());
            buffer[..len].copy_from_slice(&packet[..len]);
            *meta = RecvMeta::default();
            (meta.addr, meta.len, meta.stride, meta.dst_ip) = (from, len, len, Some(self.own.ip()));
        }
        Poll::Ready(Ok(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.own)
    }
}

#[derive(Debug)]
struct Writable;

impl UdpPoller for Writable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
