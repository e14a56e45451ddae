//! What comes back from a call of gRPC.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_call_has_a_message_or_a_status() {
    local(async {
        let worker = Worker::new();
        let (stream, _session) = worker.connect_with(1, over_grpc);
        let mut requests = http2(stream).await;
        let question = packet("big.test.", "TXT");
        let mut response = question.clone();
        response[2] |= 0x80;
        let packed = grpc::body(&question);
        let compressed = [&[1], &packed[1..]].concat();
        for (path, octets, status) in [
            (grpc::PATH, packed.clone(), 0),
            ("/coredns.dns.DnsService/Other", packed.clone(), grpc::status::UNIMPLEMENTED),
            ("/dns-query", packed.clone(), grpc::status::UNIMPLEMENTED),
            (grpc::PATH, grpc::body(&question[..20]), grpc::status::INVALID_ARGUMENT),
            (grpc::PATH, grpc::body(&response), grpc::status::INVALID_ARGUMENT),
            (grpc::PATH, vec![0; grpc::LARGEST + 1], grpc::status::INVALID_ARGUMENT),
            (grpc::PATH, Vec::new(), grpc::status::INTERNAL),
            (grpc::PATH, question.clone(), grpc::status::INTERNAL),
            (grpc::PATH, packed[..30].to_vec(), grpc::status::INTERNAL),
            (grpc::PATH, packed.repeat(2), grpc::status::INTERNAL),
            (grpc::PATH, compressed, grpc::status::UNIMPLEMENTED),
        ] {
            let what = format!("{path} {octets:?}");
            let (head, body) = requests.send_request(call(path, octets)).await.expect("a response").into_parts();
            assert_eq!(head.status, StatusCode::OK, "{what}");
            assert_eq!(head.headers["content-type"], "application/grpc", "{what}");
            let body = body.collect().await.expect("a body");
            let trailers = body.trailers().cloned().unwrap_or(head.headers);
            assert_eq!(trailers["grpc-status"], status.to_string(), "{what}");
            let body = body.to_bytes();
            let len = if status == 0 { grpc::message(&body).expect("a packet").len() } else { body.len() };
            assert_eq!(len > 20_000, status == 0, "{what}: {len}");
        }
        // What is not gRPC at all has a status of HTTP.
        for request in [get(grpc::PATH), post(question)] {
            assert_eq!(requests.send_request(request).await.expect("a response").status().as_u16(), 415);
        }
        let count = |status| worker.local.shared.http.responses(Dialect::Grpc, "dns://:53", status).get();
        let counts = ["OK", "UNIMPLEMENTED", "INVALID_ARGUMENT", "INTERNAL", "415"].map(count);
        assert_eq!((counts, worker.held()), ([1, 3, 3, 4, 2], 0));
    })
    .await;
}
