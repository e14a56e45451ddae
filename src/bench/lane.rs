//! One thread of the load: its sockets, its queries in flight and its share of the pace.

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use rustls::ClientConfig;

use super::args::{Load, Transport};
use super::flights::{Flight, Flights};
use super::pace::Pace;
use super::questions::{self, Edns, Question};
use super::report::{self, Report};
use super::stream::{Secure, Stream};
use super::tally::Tally;
use super::udp::Udp;
use crate::ask::tls;
use crate::wire::request::{HEADER, flag};
use crate::wire::types::rcode_name;

/// Messages that one call sends or receives at most.
pub(super) const BATCH: usize = 32;

/// Interval between searches for lost queries.
const SWEEP: Duration = Duration::from_millis(100);

/// Pauses shorter than this are spent spinning, because the kernel wakes a sleeping thread too
/// late.
const AWAKE: Duration = Duration::from_micros(200);

/// Queries that an open loop has in flight at most, over all lanes.
const MOST: usize = 1 << 18;

/// Carries queries to the server and replies back.
pub(super) trait Client {
    /// Sends as many of these messages as the kernel takes; returns how many.
    fn send(&mut self, bytes: &[u8], messages: &[Range<usize>]) -> io::Result<usize>;
    /// Passes on each message that has arrived.
    fn receive(&mut self, each: &mut dyn FnMut(&[u8])) -> io::Result<()>;
    /// Returns whether a message was taken but not sent yet.
    fn has_unsent(&self) -> bool;
    /// Returns the handle to wait on.
    fn handle(&self) -> BorrowedFd<'_>;
}

/// The progress of all lanes, for the progress line.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) sent: AtomicU64,
    pub(super) answered: AtomicU64,
}

//----------- All lanes ------------------------------------------------------

/// Puts the load on the server.
///
/// # Errors
/// An invalid file of questions, or a server that cannot be connected to.
pub fn run(load: &Load) -> Result<Report, String> {
    let questions = questions::read(&load.questions, Edns { size: load.edns, dnssec_ok: load.dnssec_ok })?;
    let threads = load.threads.max(1);
    let progress = Progress::default();
    let (tally, watched) = thread::scope(|scope| {
        let (progress, questions) = (&progress, &questions);
        let lane = |index| move || Lane::new(load, questions, index, threads)?.run(progress);
        let lanes: Vec<_> = (0..threads).map(|index| scope.spawn(lane(index))).collect();
        let watched = report::watch(load, progress, || lanes.iter().any(ScopedJoinHandle::is_finished));
        let mut tally = Tally::default();
        for lane in lanes {
            tally.add(lane.join().map_err(|_| "a thread panicked".to_owned())??);
        }
        Ok::<_, String>((tally, watched))
    })?;
    let (took, process) = watched;
    Ok(Report::new(load, questions.len(), &tally, took, process))
}

/// A lane whose connections stay open from one load to the next, for repeated measurements such as
/// criterion's.
pub struct Standing<'a>(Lane<'a>);

impl<'a> Standing<'a> {
    /// Connects as `load` says. Times and files of `load` are not used.
    ///
    /// # Errors
    /// The server cannot be connected to.
    pub fn connect(load: &'a Load) -> Result<Self, String> {
        let mut lane = Lane::new(load, &[], 0, 1)?;
        lane.window = (Duration::ZERO, Duration::MAX);
        Ok(Self(lane))
    }

    /// Asks these questions in turn, `queries` in all. Returns the time from the first query to the
    /// last reply, and the counts.
    ///
    /// # Errors
    /// A connection is lost and cannot be replaced.
    pub fn ask(&mut self, questions: &'a [Question], queries: u64) -> Result<(Duration, Tally), String> {
        let lane = &mut self.0;
        // Numbers and questions continue where the last load ended, so that no name is asked for
        // twice.
        lane.numbers.0 = lane.numbers.0.wrapping_add((lane.sent as u32).wrapping_mul(lane.numbers.1));
        lane.order = lane.load.law.order(questions.len());
        lane.offset = (lane.offset + lane.sent as usize) % lane.order.len().max(1);
        (lane.questions, lane.firsts) = (questions, vec![None; questions.len()]);
        (lane.sent, lane.most, lane.shown) = (0, queries, (0, 0));
        lane.start = Instant::now();
        let tally = lane.run(&Progress::default())?;
        Ok((lane.start.elapsed(), tally))
    }
}

//----------- One lane -------------------------------------------------------

struct Lane<'a> {
    load: &'a Load,
    /// When queries begin to count, and when the last one is due; from the start.
    window: (Duration, Duration),
    tls: Option<Arc<ClientConfig>>,
    pace: Pace,
    questions: &'a [Question],
    /// RCODE and number of answers in each question's first reply.
    firsts: Vec<Option<(u16, u16)>>,
    clients: Vec<(Box<dyn Client>, Flights)>,
    /// The client that sends next.
    turn: usize,
    /// The questions' indexes in the order in which they are asked.
    order: Vec<u32>,
    /// Where this lane begins in that order, so that lanes do not run in step.
    offset: usize,
    /// Queries sent, from the start.
    sent: u64,
    /// Queries to send.
    most: u64,
    /// The number for the first `{n}`, and the step to the next one; no number is used twice, in
    /// any lane.
    numbers: (u32, u32),
    tally: Tally,
    /// Queries and replies that the progress line has counted.
    shown: (u64, u64),
    start: Instant,
    bytes: Vec<u8>,
    ranges: Vec<Range<usize>>,
}

impl<'a> Lane<'a> {
    fn new(load: &'a Load, questions: &'a [Question], index: usize, threads: usize) -> Result<Self, String> {
        let tls = (load.transport == Transport::Tls).then(tls::any_certificate).transpose()?;
        let share = |whole: usize| (whole / threads + usize::from(index < whole % threads)).max(1);
        let (pace, most) = match load.rate {
            Some(rate) if rate > 0.0 => (Pace::Every(1e9 * threads as f64 / rate), MOST),
            Some(_) => return Err("the rate is not above 0".to_owned()),
            None => (Pace::Outstanding(share(load.outstanding)), load.outstanding),
        };
        let clients = share(load.clients);
        let places = most.div_ceil(threads * clients).max(BATCH) * 2;
        let order = load.law.order(questions.len());
        let mut lane = Self {
            load,
            window: load.window(),
            tls,
            pace,
            questions,
            firsts: vec![None; questions.len()],
            clients: Vec::new(),
            turn: 0,
            offset: order.len() * index / threads,
            order,
            sent: 0,
            most: load.queries.map_or(u64::MAX, |most| share(most as usize) as u64),
            numbers: (rand::random::<u32>() / 2 + index as u32, threads as u32),
            tally: Tally::default(),
            shown: (0, 0),
            start: Instant::now(),
            bytes: Vec::new(),
            ranges: Vec::new(),
        };
        for _ in 0..clients {
            let client = lane.connect().map_err(|error| format!("{}: {error}", load.server))?;
            lane.clients.push((client, Flights::new(places)));
        }
        Ok(lane)
    }

    fn connect(&self) -> io::Result<Box<dyn Client>> {
        let server = self.load.server;
        Ok(match self.load.transport {
            Transport::Udp => Box::new(Udp::connect(server)?),
            Transport::Tcp => Box::new(Stream::connect(server, None)?),
            Transport::Tls => {
                let secure = self.tls.as_ref().map(|config| Secure { config, name: &self.load.tls_name });
                Box::new(Stream::connect(server, secure)?)
            }
        })
    }

    fn run(&mut self, progress: &Progress) -> Result<Tally, String> {
        // Makes sleeps end on time; by default they may end up to 50 µs late.
        nix::sys::prctl::set_timerslack(1).map_err(|errno| errno.to_string())?;
        self.start = Instant::now();
        let (_, end) = self.window;
        let mut swept = Duration::ZERO;
        let mut asked_for = None;
        loop {
            let now = self.start.elapsed();
            let outstanding = self.outstanding();
            if now < end && self.sent < self.most {
                let due = self.pace.due(now, self.sent, outstanding);
                self.send(due, now)?;
            } else if outstanding == 0 || now >= *asked_for.get_or_insert(now) + self.load.timeout {
                break;
            }
            self.receive()?;
            if now - swept >= SWEEP {
                swept = now;
                self.give_up(now.saturating_sub(self.load.timeout));
                self.show(progress);
            }
            self.wait(now, end);
        }
        self.give_up(Duration::MAX);
        if matches!(self.pace, Pace::Every(_)) && end < Duration::MAX {
            self.tally.unsent = self.pace.due(end, self.sent, 0).saturating_sub(1) as u64;
        }
        Ok(std::mem::take(&mut self.tally))
    }

    fn outstanding(&self) -> usize {
        self.clients.iter().map(|(_, flights)| flights.len()).sum()
    }

    fn show(&mut self, progress: &Progress) {
        let (sent, answered) = self.shown;
        progress.sent.fetch_add(self.sent - sent, Relaxed);
        progress.answered.fetch_add(self.tally.answered - answered, Relaxed);
        self.shown = (self.sent, self.tally.answered);
    }

    /// Sends queries that are due, in batches; the clients take turns.
    fn send(&mut self, mut due: usize, now: Duration) -> Result<(), String> {
        for _ in 0..self.clients.len() {
            if due == 0 {
                break;
            }
            self.turn = (self.turn + 1) % self.clients.len();
            let count = self.send_batch(self.turn, due.min(BATCH), now)?;
            due -= count;
        }
        Ok(())
    }

    fn send_batch(&mut self, client: usize, most: usize, now: Duration) -> Result<usize, String> {
        self.bytes.clear();
        self.ranges.clear();
        let mut ids = [0; BATCH];
        let (sender, flights) = &mut self.clients[client];
        for (index, id) in (self.sent..self.most).zip(&mut ids[..most]) {
            if flights.is_full() {
                break;
            }
            let question = self.order[(self.offset + index as usize) % self.order.len()];
            let number = self.numbers.0.wrapping_add((index as u32).wrapping_mul(self.numbers.1));
            let flight = Flight { question, number, due: self.pace.due_at(index, now) };
            let Some(taken) = flights.start(flight) else { break };
            *id = taken;
            let start = self.bytes.len();
            self.questions[question as usize].write(taken, number, &mut self.bytes);
            self.ranges.push(start..self.bytes.len());
        }
        let sent = match sender.send(&self.bytes, &self.ranges) {
            Ok(sent) => sent,
            Err(_) => {
                self.reconnect(client)?;
                0
            }
        };
        let flights = &mut self.clients[client].1;
        ids[sent..self.ranges.len()].iter().for_each(|&id| flights.end(id));
        self.sent += sent as u64;
        Ok(sent)
    }

    /// Replaces a connection that the server closed; its queries in flight are lost.
    fn reconnect(&mut self, client: usize) -> Result<(), String> {
        self.tally.closed += 1;
        self.clients[client].0 = self.connect().map_err(|error| format!("{}: {error}", self.load.server))?;
        Ok(())
    }

    fn receive(&mut self) -> Result<(), String> {
        for client in 0..self.clients.len() {
            let (receiver, flights) = &mut self.clients[client];
            if flights.is_empty() {
                continue;
            }
            let now = self.start.elapsed();
            let mut judge = Judge {
                questions: self.questions,
                firsts: &mut self.firsts,
                flights,
                tally: &mut self.tally,
                counts_from: self.window.0,
            };
            if receiver.receive(&mut |message| judge.reply(message, now)).is_err() {
                self.reconnect(client)?;
            }
        }
        Ok(())
    }

    fn give_up(&mut self, before: Duration) {
        let (counts_from, _) = self.window;
        for (_, flights) in &mut self.clients {
            flights.give_up(before, |flight| self.tally.lost += u64::from(flight.due >= counts_from));
        }
    }

    /// Waits for the next reply, or until the next query is due.
    fn wait(&self, now: Duration, end: Duration) {
        let goes_on = now < end && self.sent < self.most;
        let pause = if goes_on { self.pace.pause(now, self.sent) } else { SWEEP };
        let outstanding = self.outstanding();
        let is_over = !goes_on && outstanding == 0;
        if pause < AWAKE || is_over || goes_on && self.pace.is_low(outstanding) {
            return;
        }
        let pause = (pause - AWAKE / 2).min(SWEEP);
        let interest = |client: &dyn Client| match client.has_unsent() {
            true => PollFlags::POLLIN | PollFlags::POLLOUT,
            false => PollFlags::POLLIN,
        };
        let mut handles: Vec<_> =
            self.clients.iter().map(|(client, _)| PollFd::new(client.handle(), interest(client.as_ref()))).collect();
        // A signal may end the sleep early, which does no harm.
        ppoll(&mut handles, Some(TimeSpec::from_duration(pause)), None).ok();
    }
}

//----------- Replies --------------------------------------------------------

/// Decides whether a message is a reply, and whether it is right.
struct Judge<'a> {
    questions: &'a [Question],
    firsts: &'a mut [Option<(u16, u16)>],
    flights: &'a mut Flights,
    tally: &'a mut Tally,
    counts_from: Duration,
}

impl Judge<'_> {
    fn reply(&mut self, message: &[u8], now: Duration) {
        let Some(header) = message.first_chunk::<HEADER>() else {
            self.tally.stray += 1;
            return;
        };
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let (id, flags, answers) = (word(0), word(2), word(6));
        let flight = self.flights.get(id).filter(|flight| {
            flags & flag::QR != 0 && self.questions[flight.question as usize].is_repeated_in(message, flight.number)
        });
        let Some(flight) = flight else {
            self.tally.stray += 1;
            return;
        };
        self.flights.end(id);
        if flight.due < self.counts_from {
            return;
        }
        let rcode = flags & 0xf;
        let is_truncated = flags & flag::TC != 0;
        self.tally.reply(rcode, is_truncated, now.saturating_sub(flight.due));
        let question = &self.questions[flight.question as usize];
        let first = self.firsts[flight.question as usize].get_or_insert((rcode, answers));
        let (right, count) = (question.rcode.unwrap_or(first.0), question.answers.unwrap_or(first.1));
        if rcode != right || answers != count {
            let name = |rcode: u16| rcode_name(rcode).map_or(rcode.to_string(), str::to_owned);
            self.tally.wrong(|| {
                format!("{question}: {} with {answers} answers, not {} with {count}", name(rcode), name(right))
            });
        }
    }
}
