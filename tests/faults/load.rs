//! Many questions at a steady rate from one thread, whatever the replies: an open loop, like many
//! clients.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::ask::{NOERROR, PATIENCE, Reply, SERVFAIL, socket_at};

/// Sockets that share the load; ids repeat on each after 65,536 questions.
const SOCKETS: usize = 4;

/// The outcome of one question.
#[derive(Default)]
pub(crate) struct Heard {
    /// When it was asked, from the start of the load.
    pub(crate) at: Duration,
    /// The first reply.
    pub(crate) reply: Option<Reply>,
    /// The number of replies.
    pub(crate) replies: u32,
}

/// The outcome of all questions.
pub(crate) struct Load(pub(crate) Vec<Heard>);

/// Asks `rate` questions a second (0: all at once), and waits for late replies as long as clients
/// do.
pub(crate) fn load(server: SocketAddr, rate: u32, questions: impl Iterator<Item = Vec<u8>>) -> Load {
    load_from(&[Ipv4Addr::LOCALHOST; SOCKETS], server, rate, questions)
}

/// The same from clients with these addresses, in turn.
pub(crate) fn load_from(
    clients: &[Ipv4Addr],
    server: SocketAddr,
    rate: u32,
    questions: impl Iterator<Item = Vec<u8>>,
) -> Load {
    let sockets = sockets(clients, server);
    let pause = Duration::from_micros(50 * sockets.len().min(40) as u64);
    let (mut questions, mut heard, start) = (questions, Vec::<Heard>::new(), Instant::now());
    let (mut answered, mut is_over, mut buffer) = (0, false, vec![0; 65_535]);
    loop {
        let now = start.elapsed();
        let due = if rate == 0 { usize::MAX } else { (now.as_secs_f64() * f64::from(rate)) as usize + 1 };
        while heard.len() < due && !is_over {
            let Some(packet) = questions.next() else {
                is_over = true;
                break;
            };
            send(&sockets, heard.len(), packet);
            heard.push(Heard { at: start.elapsed(), ..Heard::default() });
        }
        answered += receive(&sockets, start, (&mut heard, &mut buffer));
        let last = heard.last().map_or(now, |heard| heard.at);
        if is_over && (answered == heard.len() || start.elapsed() > last + PATIENCE) {
            break;
        }
        std::thread::sleep(pause);
    }
    Load(heard)
}

fn sockets(clients: &[Ipv4Addr], server: SocketAddr) -> Vec<UdpSocket> {
    let sockets: Vec<UdpSocket> = clients.iter().map(|&client| socket_at(client)).collect();
    for socket in &sockets {
        socket.connect(server).expect("connects");
        socket.set_nonblocking(true).expect("an option");
        socket2::SockRef::from(socket).set_recv_buffer_size(4 << 20).expect("an option");
    }
    sockets
}

fn send(sockets: &[UdpSocket], at: usize, mut packet: Vec<u8>) {
    packet[..2].copy_from_slice(&((at / sockets.len()) as u16).to_be_bytes());
    // A datagram that does not fit into the socket is lost, as in any network.
    let _ = sockets[at % sockets.len()].send(&packet);
}

/// Receives what has arrived; returns how many questions got their first reply.
fn receive(sockets: &[UdpSocket], start: Instant, (heard, buffer): (&mut [Heard], &mut [u8])) -> usize {
    let mut first = 0;
    for (index, socket) in sockets.iter().enumerate() {
        while let Ok(len) = socket.recv(buffer) {
            if len < 12 {
                continue;
            }
            let id = usize::from(u16::from_be_bytes([buffer[0], buffer[1]]));
            // The latest question with this id.
            let Some(latest) = heard.len().checked_sub(index + 1).map(|rest| rest / sockets.len()) else { continue };
            let Some(turn) = latest.checked_sub(latest.wrapping_sub(id) & 0xFFFF) else { continue };
            let Some(one) = heard.get_mut(turn * sockets.len() + index) else { continue };
            one.replies += 1;
            if one.reply.is_none() {
                let after = start.elapsed().saturating_sub(one.at);
                one.reply = Some(Reply { octets: buffer[..len].to_vec(), after });
                first += 1;
            }
        }
    }
    first
}

impl Load {
    /// Returns how many questions were asked.
    pub(crate) fn asked(&self) -> usize {
        self.0.len()
    }

    /// Returns how many got no reply.
    pub(crate) fn lost(&self) -> usize {
        self.0.iter().filter(|heard| heard.reply.is_none()).count()
    }

    /// Returns how many were answered with an RCODE.
    pub(crate) fn with(&self, rcode: u8) -> usize {
        self.replies().filter(|reply| reply.rcode() == rcode).count()
    }

    /// Returns how many got a right answer.
    pub(crate) fn good(&self) -> usize {
        self.with(NOERROR)
    }

    /// Returns `3 lost, 2 SERVFAIL of 1000`.
    pub(crate) fn losses(&self) -> String {
        format!("{} lost, {} SERVFAIL of {}", self.lost(), self.with(SERVFAIL), self.asked())
    }

    /// Returns all first replies.
    pub(crate) fn replies(&self) -> impl Iterator<Item = &Reply> {
        self.0.iter().filter_map(|heard| heard.reply.as_ref())
    }

    /// Returns the times of the answers to questions from a span of the load.
    pub(crate) fn times(&self, from: Duration, until: Duration) -> Times {
        let within = self.0.iter().filter(|heard| (from..until).contains(&heard.at));
        Times::of(within.map(|heard| heard.reply.as_ref().map_or(PATIENCE, |reply| reply.after)))
    }

    /// Returns the times of all answers.
    pub(crate) fn all_times(&self) -> Times {
        self.times(Duration::ZERO, Duration::MAX)
    }
}

//----------- Flood ----------------------------------------------------------

/// Clients that ask one question as often as they are told, whatever becomes of it.
pub(crate) struct Flood {
    pub(crate) server: SocketAddr,
    pub(crate) clients: Vec<Ipv4Addr>,
    pub(crate) packet: Vec<u8>,
    pub(crate) time: Duration,
}

/// What came of a flood.
pub(crate) struct Flooded {
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    /// The times of a part of the answers.
    pub(crate) times: Times,
}

/// Sockets of a flood: the kernel gives the worker by address and port.
const FLOODING: usize = 8;

/// Questions that are sent in a row.
const ROW: u64 = 32;

/// How long a closed loop waits for replies before it counts all that is in flight as lost.
const GIVEN_UP: Duration = Duration::from_millis(100);

impl Flood {
    /// Asks so many times a second.
    pub(crate) fn at_rate(self, rate: u64) -> Flooded {
        self.run(|elapsed, sent, _| ((elapsed.as_secs_f64() * rate as f64) as u64).saturating_sub(sent))
    }

    /// Has so many questions in flight.
    pub(crate) fn in_flight(self, most: u64) -> Flooded {
        self.run(|_, _, in_flight| most.saturating_sub(in_flight))
    }

    /// Asks as many questions as `due` says for a time and the numbers of those sent and in flight.
    fn run(mut self, due: impl Fn(Duration, u64, u64) -> u64) -> Flooded {
        let clients: Vec<_> = self.clients.iter().copied().cycle().take(FLOODING.max(self.clients.len())).collect();
        let sockets = sockets(&clients, self.server);
        let (start, mut sent_at, mut took) = (Instant::now(), vec![Duration::ZERO; 1 << 16], Vec::new());
        let (mut sent, mut answered, mut lost, mut last, mut buffer) = (0_u64, 0_u64, 0, Duration::ZERO, [0; 1500]);
        for socket in sockets.iter().cycle() {
            let now = start.elapsed();
            if now >= self.time {
                break;
            }
            if now > last + GIVEN_UP {
                (lost, last) = (sent - answered, now);
            }
            let due = due(now, sent, (sent - answered).saturating_sub(lost));
            for _ in 0..due.min(ROW) {
                self.packet[..2].copy_from_slice(&(sent as u16).to_be_bytes());
                sent_at[sent as usize & 0xFFFF] = now;
                let _ = socket.send(&self.packet);
                sent += 1;
            }
            while socket.recv(&mut buffer).is_ok() {
                (answered, last) = (answered + 1, now);
                let id = usize::from(u16::from_be_bytes([buffer[0], buffer[1]]));
                if id.is_multiple_of(16) {
                    took.push(start.elapsed().saturating_sub(sent_at[id]));
                }
            }
            if due < ROW / 4 {
                std::thread::sleep(Duration::from_micros(20));
            }
        }
        Flooded { sent, answered: answered.min(sent), times: Times::of(took.into_iter()) }
    }
}

impl Flooded {
    /// Returns the answers a second.
    pub(crate) fn answered_in(&self, time: Duration) -> u64 {
        (self.answered as f64 / time.as_secs_f64()) as u64
    }

    /// Returns the questions a second.
    pub(crate) fn sent_in(&self, time: Duration) -> u64 {
        (self.sent as f64 / time.as_secs_f64()) as u64
    }
}

//----------- Times ----------------------------------------------------------

/// A sorted list of times.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// Sorts these times.
    pub(crate) fn of(times: impl Iterator<Item = Duration>) -> Self {
        let mut times: Vec<_> = times.collect();
        times.sort();
        Self(times)
    }

    /// Returns the time within which a share of them are; 0 if there are none.
    pub(crate) fn within(&self, share: f64) -> Duration {
        let at = (self.0.len() as f64 * share) as usize;
        self.0.get(at.min(self.0.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [half, most, all] = [0.5, 0.99, 1.0].map(|share| millis(self.within(share)));
        write!(f, "p50 {half}, p99 {most}, max {all}")
    }
}

/// Formats a time: `0.42 ms`, `13 ms`, `2.0 s`.
pub(crate) fn millis(time: Duration) -> String {
    match time.as_secs_f64() * 1000.0 {
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1000.0),
    }
}
