//! What to use in place of plugins that have to be compiled into CoreDNS.

use super::old::Said;

/// Returns what to do in place of an external plugin.
#[must_use]
pub fn advice(name: &str, said: &Said) -> String {
    match name {
        "fallback" | "alternate" => next(said),
        "fanout" => "*forward* asks the next upstream as soon as one is late: write `forward . TO...`".to_owned(),
        "unbound" => "a resolver of your own can be the upstream: write `forward . ADDRESS` for a server that runs it".to_owned(),
        "mdns" => "take the line out: names of the local link are not served".to_owned(),
        "k8s_gateway" | "k8s_crd" => {
            "*k8s_external* serves Services that are reached from outside; for Ingresses, Gateways and custom resources \
             run external-dns with *etcd*, or that CoreDNS beside this server and `forward` its zones to it"
                .to_owned()
        }
        "lighthouse" | "multicluster" => "for Services of other clusters use the option `multicluster` of *kubernetes*".to_owned(),
        "kubernetai" => "write a server block for each cluster, with *kubernetes* and its option `kubeconfig`".to_owned(),
        "records" => "write the records into *hosts*, *template* or a zone file".to_owned(),
        "blocklist" => "*hosts* with the names as 0.0.0.0, or *template* or *acl*, block names".to_owned(),
        "ocp_dnsnameresolver" => "take the block out: OpenShift's operator then resolves the names of its firewall itself".to_owned(),
        _ => "run that CoreDNS beside this server, and `forward` its zones to it".to_owned(),
    }
}

/// `fallback [original] RCODES ZONE UPSTREAM...` is what `next` of the first `forward` does.
fn next(said: &Said) -> String {
    let mut words = said.args.iter().map(String::as_str).filter(|word| *word != "original");
    let rcodes = words.next().unwrap_or("NXDOMAIN").to_uppercase().replace(',', " ");
    let (zone, upstreams) = (words.next().unwrap_or("."), words.collect::<Vec<_>>().join(" "));
    let upstreams = if upstreams.is_empty() { "UPSTREAM" } else { &upstreams };
    format!(
        "this is what `next` of *forward* is: write `next {rcodes}` into the block of the first `forward`, and \
         `forward {zone} {upstreams}` below it"
    )
}
