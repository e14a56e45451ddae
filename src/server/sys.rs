//! Socket calls that the standard library lacks: datagrams in batches, with the address they were
//! sent to.
//!
//! The crate's only `unsafe`. Its surface is plain data: [`Inbox::receive`] fills buffers, [`send`]
//! empties them.
#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// Datagrams that one call receives or sends at most.
pub(super) const BATCH: usize = 32;

/// Octets of the largest query that is read. A longer one is truncated, and then malformed.
const QUERY: usize = 4096;

/// Octets of one control buffer: packet info of either family, and a count.
const CONTROL: usize = 64;

//----------- Receiving ------------------------------------------------------

/// Buffers for one batch of datagrams.
pub(super) struct Inbox {
    buffers: Box<[[u8; QUERY]; BATCH]>,
    names: Box<[libc::sockaddr_storage; BATCH]>,
    controls: Box<[Control; BATCH]>,
    lengths: [usize; BATCH],
    peers: [Option<SocketAddr>; BATCH],
    locals: [Option<IpAddr>; BATCH],
    /// Datagrams that the kernel has dropped so far, and how many of them were not taken yet.
    lost: u32,
    dropped: u32,
}

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

/// One datagram as it was received.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received<'a> {
    /// Its content.
    pub(super) bytes: &'a [u8],
    /// Its sender.
    pub(super) peer: SocketAddr,
    /// The address it was sent to, if the socket reports it.
    pub(super) local: Option<IpAddr>,
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            buffers: Box::new([[0; QUERY]; BATCH]),
            // SAFETY: a sockaddr_storage of zeros is a valid value (an address of no family).
            names: Box::new(unsafe { zeroed() }),
            controls: Box::new([Control([0; CONTROL]); BATCH]),
            lengths: [0; BATCH],
            peers: [None; BATCH],
            locals: [None; BATCH],
            lost: 0,
            dropped: 0,
        }
    }
}

impl Inbox {
    /// Receives up to [`BATCH`] datagrams without waiting; returns how many.
    ///
    /// # Errors
    /// `WouldBlock` if there is no datagram; any other error of the kernel.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let mut iovecs: [MaybeUninit<libc::iovec>; BATCH] = [const { MaybeUninit::uninit() }; BATCH];
        let mut headers: [MaybeUninit<libc::mmsghdr>; BATCH] = [const { MaybeUninit::uninit() }; BATCH];
        for at in 0..BATCH {
            let iovec =
                iovecs[at].write(libc::iovec { iov_base: self.buffers[at].as_mut_ptr().cast(), iov_len: QUERY });
            // SAFETY: a msghdr of zeros is valid; every pointer that is set leads to a buffer of
            // the length given.
            let mut header: libc::mmsghdr = unsafe { zeroed() };
            header.msg_hdr.msg_name = (&raw mut self.names[at]).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_iov = iovec;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = (&raw mut self.controls[at]).cast();
            header.msg_hdr.msg_controllen = CONTROL as _;
            headers[at].write(header);
        }
        // SAFETY: all BATCH headers are initialised and their buffers live longer than the call.
        let got = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr().cast(),
                BATCH as u32,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
        for (at, header) in headers[..got].iter().enumerate() {
            // SAFETY: initialised above, and filled in by the kernel.
            let header = unsafe { header.assume_init_ref() };
            self.lengths[at] = header.msg_len as usize;
            self.peers[at] = to_socket_addr(&self.names[at]);
            let control = read_control(&header.msg_hdr);
            self.locals[at] = control.local;
            if let Some(lost) = control.lost {
                self.dropped = self.dropped.wrapping_add(lost.wrapping_sub(self.lost));
                self.lost = lost;
            }
        }
        Ok(got)
    }

    /// Puts datagrams in, as if they had been received.
    #[cfg(test)]
    pub(super) fn fill(&mut self, batch: &[(SocketAddr, Vec<u8>)]) {
        for (at, (peer, bytes)) in batch.iter().enumerate() {
            self.buffers[at][..bytes.len()].copy_from_slice(bytes);
            (self.lengths[at], self.peers[at], self.locals[at]) = (bytes.len(), Some(*peer), None);
        }
    }

    /// Counts datagrams as dropped by the kernel.
    #[cfg(test)]
    pub(super) fn lose(&mut self, count: u32) {
        self.dropped += count;
    }

    /// Returns how many datagrams the kernel has dropped, for lack of room in its buffer, before
    /// those that were received; without those that were taken.
    pub(super) fn dropped(&self) -> u32 {
        self.dropped
    }

    /// Takes that number.
    pub(super) fn take_dropped(&mut self) -> u32 {
        std::mem::take(&mut self.dropped)
    }

    /// Returns the datagram at `index` of the last batch, or `None` if its sender's address is
    /// unusable.
    #[must_use]
    pub(super) fn get(&self, index: usize) -> Option<Received<'_>> {
        // Port 0 cannot receive a reply: such a sender is forged.
        let peer = self.peers[index].filter(|peer| peer.port() != 0)?;
        Some(Received { bytes: &self.buffers[index][..self.lengths[index]], peer, local: self.locals[index] })
    }
}

/// What the kernel says about a datagram.
#[derive(Default)]
struct Notes {
    /// The address it was sent to.
    local: Option<IpAddr>,
    /// How many the socket has lost before; the kernel says so only if there were any.
    lost: Option<u32>,
}

/// Reads the control messages that came with a datagram.
fn read_control(header: &libc::msghdr) -> Notes {
    let mut notes = Notes::default();
    // SAFETY: the kernel wrote a well-formed list of control messages of msg_controllen octets into
    // our buffer, and each is read at the size of its type, unaligned.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            let data = libc::CMSG_DATA(message);
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo = std::ptr::read_unaligned(data.cast());
                    notes.local = Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo = std::ptr::read_unaligned(data.cast());
                    notes.local = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => notes.lost = Some(std::ptr::read_unaligned(data.cast())),
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    notes
}

//----------- Sending --------------------------------------------------------

/// One datagram to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transmit<'a> {
    /// Its content.
    pub(super) bytes: &'a [u8],
    /// Its destination.
    pub(super) peer: SocketAddr,
    /// The address it leaves from; `None` means the socket's own.
    pub(super) source: Option<IpAddr>,
}

/// Sends up to [`BATCH`] datagrams without waiting; returns how many were sent.
///
/// # Errors
/// The kernel's error for the first datagram; none was sent.
pub(super) fn send(socket: BorrowedFd<'_>, batch: &[Transmit<'_>]) -> io::Result<usize> {
    let batch = &batch[..batch.len().min(BATCH)];
    let mut names: [MaybeUninit<libc::sockaddr_storage>; BATCH] = [const { MaybeUninit::uninit() }; BATCH];
    let mut iovecs: [MaybeUninit<libc::iovec>; BATCH] = [const { MaybeUninit::uninit() }; BATCH];
    let mut controls: [MaybeUninit<Control>; BATCH] = [const { MaybeUninit::uninit() }; BATCH];
    let mut headers: [MaybeUninit<libc::mmsghdr>; BATCH] = [const { MaybeUninit::uninit() }; BATCH];
    for (at, transmit) in batch.iter().enumerate() {
        let name = names[at].as_mut_ptr();
        // SAFETY: a msghdr of zeros is valid. The pointers lead to data that outlives the call: the
        // arrays above, and the caller's bytes, which the kernel only reads.
        let mut header: libc::mmsghdr = unsafe { zeroed() };
        header.msg_hdr.msg_namelen = write_socket_addr(transmit.peer, name);
        header.msg_hdr.msg_name = name.cast();
        header.msg_hdr.msg_iov = iovecs[at]
            .write(libc::iovec { iov_base: transmit.bytes.as_ptr().cast_mut().cast(), iov_len: transmit.bytes.len() });
        header.msg_hdr.msg_iovlen = 1;
        if let Some(source) = transmit.source {
            let control = controls[at].write(Control([0; CONTROL]));
            header.msg_hdr.msg_control = (&raw mut *control).cast();
            header.msg_hdr.msg_controllen = CONTROL as _;
            header.msg_hdr.msg_controllen = write_source(&header.msg_hdr, source) as _;
        }
        headers[at].write(header);
    }
    // SAFETY: as many headers as the batch has are initialised.
    let sent = unsafe {
        libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr().cast(), batch.len() as u32, libc::MSG_DONTWAIT as _)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Writes packet info with the source address into the header's control buffer; returns its length.
fn write_source(header: &libc::msghdr, source: IpAddr) -> usize {
    // SAFETY: the control buffer has CONTROL octets, is aligned for a cmsghdr, and holds either
    // message.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(header);
        match source {
            IpAddr::V4(v4) => {
                let address = libc::in_addr { s_addr: u32::from(v4).to_be() };
                let info =
                    libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: libc::in_addr { s_addr: 0 } };
                (*message).cmsg_level = libc::IPPROTO_IP;
                (*message).cmsg_type = libc::IP_PKTINFO;
                (*message).cmsg_len = libc::CMSG_LEN(size_of::<libc::in_pktinfo>() as u32) as _;
                std::ptr::write_unaligned(libc::CMSG_DATA(message).cast(), info);
                libc::CMSG_SPACE(size_of::<libc::in_pktinfo>() as u32) as usize
            }
            IpAddr::V6(v6) => {
                let info = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: v6.octets() }, ipi6_ifindex: 0 };
                (*message).cmsg_level = libc::IPPROTO_IPV6;
                (*message).cmsg_type = libc::IPV6_PKTINFO;
                (*message).cmsg_len = libc::CMSG_LEN(size_of::<libc::in6_pktinfo>() as u32) as _;
                std::ptr::write_unaligned(libc::CMSG_DATA(message).cast(), info);
                libc::CMSG_SPACE(size_of::<libc::in6_pktinfo>() as u32) as usize
            }
        }
    }
}

//----------- Socket options and addresses -----------------------------------

/// Makes a wildcard socket report the address that each datagram was sent to.
///
/// # Errors
/// The kernel's error.
pub(super) fn want_local_address(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    let (level, option) =
        if v6 { (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO) } else { (libc::IPPROTO_IP, libc::IP_PKTINFO) };
    turn_on(socket, level, option)
}

/// Makes a socket report how many datagrams the kernel has dropped because its buffer was full.
///
/// # Errors
/// The kernel's error.
pub(super) fn want_losses(socket: BorrowedFd<'_>) -> io::Result<()> {
    turn_on(socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL)
}

/// Gives a socket this filter in place of the one it has; an empty program removes it.
///
/// # Errors
/// The kernel's error.
pub(super) fn filter(socket: BorrowedFd<'_>, program: &[libc::sock_filter]) -> io::Result<()> {
    let option = if program.is_empty() { libc::SO_DETACH_FILTER } else { libc::SO_ATTACH_FILTER };
    let program = libc::sock_fprog { len: program.len() as _, filter: program.as_ptr().cast_mut() };
    // SAFETY: both options take no more than a sock_fprog, whose pointer leads to `len`
    // instructions. The kernel copies them.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn turn_on(socket: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option takes an int, which lives longer than the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn to_socket_addr(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage holds a sockaddr_in, which is smaller and
            // less aligned.
            let v4 = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in>() };
            let address = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(address, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: likewise a sockaddr_in6.
            let v6 = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in6>() };
            let address = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(address, u16::from_be(v6.sin6_port), v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn write_socket_addr(address: SocketAddr, name: *mut libc::sockaddr_storage) -> libc::socklen_t {
    // SAFETY: the storage is large and aligned enough for either; it is written before it is read.
    unsafe {
        match address {
            SocketAddr::V4(v4) => {
                name.cast::<libc::sockaddr_in>().write(libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from(*v4.ip()).to_be() },
                    sin_zero: [0; 8],
                });
                size_of::<libc::sockaddr_in>() as libc::socklen_t
            }
            SocketAddr::V6(v6) => {
                name.cast::<libc::sockaddr_in6>().write(libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                });
                size_of::<libc::sockaddr_in6>() as libc::socklen_t
            }
        }
    }
}

/// Returns the octets handed to a TCP socket that its peer has not acknowledged: what the kernel
/// holds.
///
/// Returns 0 for a number that is not (or no longer) a socket; the call changes nothing, whatever
/// the number stands for.
pub(super) fn unsent(socket: RawFd) -> usize {
    let mut octets: libc::c_int = 0;
    // SAFETY: the request (SIOCOUTQ by its other name) writes one int, which lives longer than the
    // call.
    let result = unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &raw mut octets) };
    if result == 0 { usize::try_from(octets).unwrap_or_default() } else { 0 }
}

//----------- Memory ---------------------------------------------------------

/// Makes all threads allocate from at most `arenas` heaps. Call it while there is one thread.
///
/// By default, glibc gives each thread a heap. Objects of the cluster that one thread reads and
/// another drops then leave holes in all heaps: a third of what a large cluster takes.
pub(super) fn share_heaps(arenas: usize) {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt changes two numbers of the allocator, which has not made a second heap yet.
    let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas.try_into().unwrap_or(libc::c_int::MAX)) };
    #[cfg(not(target_env = "gnu"))]
    let _ = arenas;
}
