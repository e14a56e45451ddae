//! The floor: a bare UDP loop on one thread that receives, looks the name up in a hash map and
//! sends a prepared answer. It is not a DNS server, so its cost is the kernel's. `scale-bed floor`
//! runs it for benches/peers/:
//!
//!     scale-bed floor ADDRESS NAME IPV4 [RECORDS]
//!
//! The answer has RECORDS copies of the address, one by default, so that its size is that of the
//! reply it is compared with. With `.` as the name it answers every question alike, and also serves
//! as the upstream of the rows that forward. `benches/load.rs` runs the same loop beside the
//! server.

use std::collections::HashMap;
use std::net::{Ipv4Addr, UdpSocket};

use signpost::wire::name::Name;

/// Reads the command line and serves.
pub(crate) fn run(arguments: &[String]) -> std::io::Result<()> {
    let [address, name, ip, records @ ..] = arguments else {
        panic!("usage: scale-bed floor ADDRESS NAME IPV4 [RECORDS]")
    };
    let records: u8 = records.first().map_or(1, |number| number.parse().expect("up to 80 records"));
    let name = Name::from_text(name).expect("a name").lowered();
    let ip: Ipv4Addr = ip.parse().expect("an IPv4 address");
    serve(&UdpSocket::bind(address)?, &name, ip, records)
}

/// Answers questions about this name in lower case until the socket fails.
pub(crate) fn serve(socket: &UdpSocket, name: &Name, ip: Ipv4Addr, records: u8) -> std::io::Result<()> {
    // Pointer to the question, A, IN, 30 seconds, four octets.
    let record = [&[0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4], ip.octets().as_slice()].concat().repeat(records.into());
    let of_all = name.is_root().then(|| record.clone());
    let answers: HashMap<Vec<u8>, Vec<u8>> = HashMap::from([(name.wire().to_vec(), record)]);
    let mut packet = [0; 1500];
    loop {
        let (len, peer) = socket.recv_from(&mut packet)?;
        let Some(end) = packet[12..len].iter().position(|&octet| octet == 0).map(|at| at + 13) else { continue };
        if let Some(answer) = answers.get(&packet[12..end]).or(of_all.as_ref()) {
            packet[2] |= 0x84;
            (packet[7], packet[11]) = (records, 0);
            let question = end + 4;
            packet[question..question + answer.len()].copy_from_slice(answer);
            socket.send_to(&packet[..question + answer.len()], peer)?;
        }
    }
}
