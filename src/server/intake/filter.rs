//! Clients of whose datagrams the kernel passes only a part.
//!
//! To drop a datagram that was read costs a tenth of an answer or more. A client that sends many
//! times what can be answered would cost most of the worker's time in this way, or fill the
//! kernel's buffer, which drops datagrams of all clients alike. So the socket gets a filter, a
//! program of the classic BPF (no privilege is needed for it), that drops datagrams of such clients
//! at random before they are queued. It passes somewhat more than can be answered, and the shares
//! decide among these. When the worker has caught up, the filter is removed.

use std::net::IpAddr;

use libc::sock_filter;

/// Clients that a filter limits at most: each datagram is compared with all of them.
const MOST: usize = 8;

/// A filter is made when this many times as many datagrams are read as answered.
const TOO_MANY: u64 = 2;

/// It passes this many halves of what is answered. With less, the worker would seem to have caught
/// up whenever it is a little faster; with more, what is dropped would cost more.
const PASSED_HALVES: u64 = 3;

/// A client is limited if it sends this part of what is answered: one quarter.
const PART: u64 = 4;

/// Every datagram passes.
const ALL: u64 = 1 << 32;

/// The clients that are limited, and by how much.
#[derive(Default)]
pub(super) struct Filter {
    limits: Vec<Limit>,
    has_changed: bool,
}

/// The part of a client's datagrams that passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    client: IpAddr,
    /// Of 2³² datagrams.
    pass: u32,
}

impl Filter {
    /// Makes new limits. `read` has the clients with their weights, and how many of their datagrams
    /// were read while `answered` were answered.
    pub(super) fn renew(&mut self, read: impl Iterator<Item = (IpAddr, u64, u64)>, answered: u64) {
        let (mut all, mut heavy) = (0, Vec::new());
        for (client, count, weight) in read {
            all += count;
            let limit = self.limits.iter().find(|limit| limit.client == client);
            let sent = limit.map_or(count, |limit| count * ALL / u64::from(limit.pass).max(1));
            if sent * PART > answered {
                heavy.push((sent, client, weight));
            }
        }
        // Those whose weight covers what they ask for are left to the shares.
        let weights: u64 = heavy.iter().map(|(_, _, weight)| weight).sum();
        heavy.retain(|(sent, _, weight)| sent * weights > answered * weight);
        if all < answered * TOO_MANY && self.limits.is_empty() {
            return;
        }
        heavy.sort_unstable_by(|a, b| b.cmp(a));
        heavy.truncate(MOST);
        let share = answered * PASSED_HALVES / 2 / heavy.len().max(1) as u64;
        let limited = heavy.into_iter().filter(|(sent, ..)| *sent > share);
        let limit = |(sent, client, _)| Limit { client, pass: u32::try_from(share * ALL / sent).unwrap_or(u32::MAX) };
        self.limits = limited.map(limit).collect();
        self.has_changed = true;
    }

    /// Returns whether a client is limited.
    pub(super) fn limits_any(&self) -> bool {
        !self.limits.is_empty()
    }

    /// Removes all limits.
    pub(super) fn lift(&mut self) {
        if !self.limits.is_empty() {
            self.limits.clear();
            self.has_changed = true;
        }
    }

    /// Returns the program of the filter if it is another one than before; an empty one if no
    /// client is limited.
    pub(super) fn take_program(&mut self) -> Option<Vec<sock_filter>> {
        std::mem::take(&mut self.has_changed).then(|| match &self.limits[..] {
            [] => Vec::new(),
            limits => {
                let blocks = limits.iter().flat_map(|limit| limit.program());
                blocks.chain([step(RETURN, 0, 0, u32::MAX)]).collect()
            }
        })
    }
}

//----------- The program ----------------------------------------------------

/// Instructions: load a word or an octet, shift, compare, return.
const LOAD: u16 = 0x20;
const LOAD_OCTET: u16 = 0x30;
const SHIFT_RIGHT: u16 = 0x74;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Where the kernel has the IP header (`SKF_NET_OFF`), and a random number
/// (`SKF_AD_OFF + SKF_AD_RANDOM`).
const HEADER: u32 = 0xFFF0_0000;
const RANDOM: u32 = 0xFFFF_F038;

/// Offsets of the source address in the IP headers.
const SOURCE_V4: u32 = 12;
const SOURCE_V6: u32 = 8;

impl Limit {
    /// Returns instructions that drop a part of the client's datagrams, and go on with the next
    /// instruction for all others.
    fn program(self) -> Vec<sock_filter> {
        let (version, words) = match self.client {
            IpAddr::V4(v4) => (4, vec![(SOURCE_V4, v4.to_bits())]),
            IpAddr::V6(v6) => {
                let bits = v6.to_bits();
                (6, (0..4).map(|word| (SOURCE_V6 + 4 * word, (bits >> (96 - 32 * word)) as u32)).collect())
            }
        };
        // From the end, where the number of instructions to jump over is known.
        let mut back = vec![step(RETURN, 0, 0, 0), step(IF_AT_LEAST, 0, 1, self.pass), step(LOAD, 0, 0, RANDOM)];
        let mut compare = |load: &[sock_filter], value| {
            back.push(step(IF_EQUAL, 0, back.len() as u8, value));
            back.extend(load.iter().rev());
        };
        for (offset, word) in words.into_iter().rev() {
            compare(&[step(LOAD, 0, 0, HEADER + offset)], word);
        }
        compare(&[step(LOAD_OCTET, 0, 0, HEADER), step(SHIFT_RIGHT, 0, 0, 4)], version);
        back.reverse();
        back
    }
}

/// Returns an instruction. A comparison jumps over `jt` instructions if it holds, over `jf` if not.
fn step(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::super::super::sys;
    use super::*;

    fn client(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    /// Returns the thousandths of each client's datagrams that pass.
    fn passing(filter: &Filter) -> Vec<(IpAddr, u64)> {
        filter.limits.iter().map(|limit| (limit.client, (u64::from(limit.pass) * 1000) >> 32)).collect()
    }

    #[test]
    fn who_sends_many_times_what_can_be_answered_is_limited() {
        let mut filter = Filter::default();
        filter.renew([(client(1), 1_500, 1), (client(2), 100, 1)].into_iter(), 1_000);
        assert!(filter.take_program().is_none(), "the shares do");
        filter.renew([(client(1), 20_000, 1), (client(2), 100, 1)].into_iter(), 1_000);
        assert_eq!(passing(&filter), [(client(1), 74)], "half as many again as are answered");
        assert!(filter.take_program().is_some_and(|program| program.len() == 9) && filter.take_program().is_none());
        // 1,500 were passed; it sends as many as before, and another one has joined in.
        filter.renew([(client(1), 1_500, 1), (client(2), 100, 1), (client(3), 8_000, 1)].into_iter(), 1_000);
        assert_eq!(passing(&filter), [(client(1), 37), (client(3), 93)]);
        // The first one sends little now.
        filter.renew([(client(1), 5, 1), (client(2), 100, 1), (client(3), 750, 1)].into_iter(), 1_000);
        assert_eq!(passing(&filter), [(client(3), 187)]);
        // A node's cache, which asked for a hundred Pods before, is not limited beside it.
        filter.renew([(client(3), 750, 1), (client(4), 900, 100)].into_iter(), 1_000);
        assert_eq!(passing(&filter).iter().map(|(client, _)| *client).collect::<Vec<_>>(), [client(3)]);
        filter.renew([(client(2), 100, 1)].into_iter(), 1_000);
        assert!(filter.take_program().is_some_and(|program| program.is_empty()));
    }

    #[test]
    fn the_kernel_drops_what_is_limited_and_nothing_else() {
        for (bind, heavy, other) in
            [("127.0.0.1", "127.0.0.9", "127.0.0.8"), ("::", "127.0.0.9", "::1"), ("::", "::1", "127.0.0.9")]
        {
            let Ok(server) = UdpSocket::bind((bind, 0)) else { continue };
            server.set_nonblocking(true).expect("an option");
            let port = server.local_addr().expect("bound").port();
            let send = |from: &str| {
                let to = if from.contains(':') { "::1" } else { "127.0.0.1" };
                let socket = UdpSocket::bind((from, 0)).expect("an address of this host");
                (0..100).for_each(|_| _ = socket.send_to(b"question", (to, port)).expect("sends"));
            };
            let received = || std::iter::from_fn(|| server.recv(&mut [0; 16]).ok()).count();
            let mut filter = Filter::default();
            let heavy_client = heavy.parse().expect("an address");
            for (pass, most) in [(0, 0), (1 << 30, 70), (u32::MAX, 100)] {
                filter.limits = vec![Limit { client: client(1), pass: 0 }, Limit { client: heavy_client, pass }];
                filter.has_changed = true;
                sys::filter(server.as_fd(), &filter.take_program().expect("a program")).expect("attached");
                send(heavy);
                let passed = received();
                // A quarter of 100 is above 70 once in 10²⁰ times.
                assert!(passed <= most && (pass == 0 || passed > 0), "{bind} {heavy} {pass}: {passed}");
                send(other);
                assert_eq!(received(), 100, "{other}");
            }
            filter.limits = vec![Limit { client: heavy_client, pass: 0 }];
            filter.lift();
            sys::filter(server.as_fd(), &filter.take_program().expect("a program")).expect("removed");
            send(heavy);
            assert_eq!(received(), 100, "after all limits were removed");
        }
    }
}
