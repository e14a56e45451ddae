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
pub(super) struct Net {
    inboxes: Mutex<HashMap<SocketAddr, Inbox>>,
    /// By client: the inbox that its packets go to, in place of the one of their address.
    led: Mutex<HashMap<SocketAddr, SocketAddr>>,
}

#[derive(Debug, Default)]
struct Inbox {
    packets: VecDeque<(SocketAddr, Vec<u8>)>,
    waker: Option<Waker>,
}

impl Net {
    fn inboxes(&self) -> MutexGuard<'_, HashMap<SocketAddr, Inbox>> {
        self.inboxes.lock().expect("no panic")
    }

    /// Delivers a packet.
    pub(super) fn send(&self, from: SocketAddr, to: SocketAddr, packet: &[u8]) {
        let to = self.led.lock().expect("no panic").get(&from).copied().unwrap_or(to);
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
        Arc::new(Socket { own, inbox: own, net: self.clone() })
    }

    /// Opens another socket with the same address, for packets of this client.
    pub(super) fn socket_for(self: &Arc<Self>, client: SocketAddr, own: SocketAddr) -> Arc<dyn AsyncUdpSocket> {
        let inbox = SocketAddr::new(own.ip(), 0);
        self.led.lock().expect("no panic").insert(client, inbox);
        Arc::new(Socket { own, inbox, net: self.clone() })
    }
}

#[derive(Debug)]
struct Socket {
    own: SocketAddr,
    inbox: SocketAddr,
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
        let inbox = inboxes.entry(self.inbox).or_default();
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
