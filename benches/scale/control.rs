//! The commands of the bench, below `/bed/`.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use signpost::wire::name::Name;
use signpost::wire::question::Question;
use signpost::wire::request::flag;
use signpost::wire::types::rtype;

use super::bed::Bed;
use super::serve::Query;
use super::set::{Kind, cluster_ip, dotted};

/// The longest time until an answer shows a change; CoreDNS with a cache takes 30 s.
const PATIENCE: Duration = Duration::from_secs(40);

/// Pause between two questions for the same change. With the kernel's default slack of 50
/// microseconds, figures are that much coarser.
const PAUSE: Duration = Duration::from_micros(20);

/// Returns the answer to a command, as JSON; `None` if the command is unknown.
///
/// - `counts`: requests and events so far.
/// - `rate?n=N`: N changes a second from now on.
/// - `expire`: every watch ends with 410.
/// - `names`: questions for the load: one line for each ClusterIP service. Not JSON.
/// - `records`: the DNS records of the objects, as lines of a zone file, not JSON.
/// - `last`: the last service and the last Pod of their lists, as names and addresses.
/// - `probe?server=ADDRESS&n=N`: N changes, and for each the time from its write to the watch's
///   socket until the server's answer showed it, in microseconds.
pub(crate) fn answer(bed: &Bed, path: &str, query: &Query) -> Option<String> {
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<u64>().ok());
    Some(match path.strip_prefix("/bed/")? {
        "counts" => {
            let state = bed.lock();
            let counts = &state.counts;
            let (requests, octets, events) = (counts.requests, counts.octets, counts.events);
            let lists = &counts.lists;
            serde_json::json!({"lists": lists, "requests": requests, "octets": octets, "events": events}).to_string()
        }
        "rate" => {
            bed.lock().rate = number("n")?;
            "{}".to_owned()
        }
        "expire" => {
            bed.expire();
            "{}".to_owned()
        }
        "names" => {
            let state = bed.lock();
            let services = 0..state.set.count(Kind::Service) as u32;
            let cluster_ips = services.filter(|&service| !state.set.is_headless(service));
            cluster_ips.map(|service| format!("{}.svc.cluster.local A NOERROR 1\n", state.set.name(service))).collect()
        }
        "records" => String::from_utf8_lossy(&bed.lock().set.records()).into_owned(),
        "last" => {
            let set = &bed.lock().set;
            let last = |kind| set.count(kind) as u32 - 1;
            let service = (0..=last(Kind::Service)).rev().find(|&service| !set.is_headless(service))?;
            let pod = last(Kind::Pod);
            let address = dotted(set.pod_address(pod));
            let pod_name = format!("{}.{}.pod.cluster.local", address.replace('.', "-"), set.pod_namespace(pod));
            let service_name = format!("{}.svc.cluster.local", set.name(service));
            let service_address = dotted(cluster_ip(service));
            serde_json::json!({"service": [service_name, service_address], "pod": [pod_name, address]}).to_string()
        }
        "probe" => {
            probe(bed, query.get("server")?, number("n")?).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
        }
        _ => return None,
    })
}

fn probe(bed: &Bed, server: &str, count: u64) -> std::io::Result<String> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let probes = bed.lock().set.probes();
    let mut micros = Vec::new();
    for n in 0..count as usize {
        // Not in step with anything that ticks in milliseconds.
        std::thread::sleep(Duration::from_micros(15_000 + n as u64 * 7919 % 10_000));
        let slice = probes[n * 31 % probes.len()];
        let packet = question(bed, slice);
        let address = bed.change(slice, true);
        let began = Instant::now();
        let seen = loop {
            if ask(&socket, &packet)?.windows(4).any(|octets| octets == address) {
                break Instant::now();
            }
            if began.elapsed() > PATIENCE {
                return Err(std::io::Error::other("a change was never shown"));
            }
            // Asking without a pause would take both cores from the processes that send and apply
            // the change.
            std::thread::sleep(PAUSE);
        };
        let told = bed.lock().awaited.1.ok_or_else(|| std::io::Error::other("nobody watches"))?;
        micros.push(seen.saturating_duration_since(told).as_micros() as u64);
    }
    Ok(serde_json::json!(micros).to_string())
}

fn question(bed: &Bed, slice: usize) -> Vec<u8> {
    let state = bed.lock();
    let name = format!("{}.svc.cluster.local", state.set.name(state.set.service_of(slice)));
    let name = Name::from_text(&name).expect("a name");
    Question::new(name, rtype::A).query(1, flag::RD, None)
}

/// Returns a reply; empty if there was none in time.
fn ask(socket: &UdpSocket, packet: &[u8]) -> std::io::Result<Vec<u8>> {
    socket.send(packet)?;
    let mut reply = vec![0; 4096];
    let len = socket.recv(&mut reply).unwrap_or(0);
    reply.truncate(len);
    Ok(reply)
}
