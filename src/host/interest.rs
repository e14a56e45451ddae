//! UDP sockets that wake their thread only for the events that it waits for.
//!
//! tokio's own `UdpSocket` registers for both reading and writing. Each datagram that is sent makes
//! room for another one, so with it every reply would cost one more wake-up that has nothing to do.

use std::io;
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers the socket with the runtime of this thread for these events only. The socket must be
/// non-blocking.
///
/// # Errors
/// What the kernel says.
///
/// # Panics
/// Outside of a runtime.
pub fn registered<S: AsRawFd>(socket: S, interest: Interest) -> io::Result<AsyncFd<S>> {
    // Deprecated because a type may return another descriptor each time; a `UdpSocket` keeps one
    // for life. The replacement wants that promised in a way that only the file of system calls
    // may use.
    #[expect(deprecated, reason = "sound for a socket of the standard library")]
    AsyncFd::with_interest(socket, interest)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[tokio::test]
    async fn room_to_write_does_not_wake_a_reader() {
        let socket = || UdpSocket::bind("127.0.0.1:0").expect("bound");
        let (server, client) = (socket(), socket());
        let address = |socket: &UdpSocket| socket.local_addr().expect("bound");
        server.set_nonblocking(true).expect("set");
        let (to_server, to_client) = (address(&server), address(&client));
        let server = registered(server, Interest::READABLE).expect("registered");
        server.get_ref().send_to(b"reply", to_client).expect("sent");
        client.send_to(b"query", to_server).expect("sent");
        let heard = server.ready(Interest::READABLE | Interest::WRITABLE).await.expect("registered").ready();
        assert!(heard.is_readable() && !heard.is_writable(), "{heard:?}");
    }
}
