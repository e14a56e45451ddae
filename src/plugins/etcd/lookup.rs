//! Looks up one question: the services of its name, the aliases that lead from them, and the
//! records that they make.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::answer::{Data, Piece, Pieces, Record};
use super::directive::Directive;
use super::service::{self, Kind, Service, grouped, key_of, weights};
use crate::chain::listener::Listener;
use crate::chain::site::Site;
use crate::chain::target::Target;
use crate::chain::{Here, Query};
use crate::wire::name::Name;
use crate::wire::question::Question;
use crate::wire::request::flag;
use crate::wire::types::rtype;

/// Aliases that follow each other.
const CHAIN: usize = 10;

/// Requests to etcd for one question: aliases may branch.
const REQUESTS: usize = 64;

/// Names outside of the zone that are looked up for one answer.
const OUTSIDE: usize = 4;

/// Leases that are asked about for one name.
const LEASES: usize = 16;

/// Why there are no services.
#[derive(Debug)]
pub(super) enum Miss {
    /// There is no such key.
    NoName,
    /// etcd fails, or its data cannot be used.
    Failed(String),
}

type Found<T> = Result<T, Miss>;
type Soon<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One question on its way.
pub(super) struct Lookup {
    pub(super) directive: Arc<Directive>,
    pub(super) listener: Arc<Listener>,
    pub(super) site: Arc<Site>,
    pub(super) seat: usize,
    pub(super) query: Query<'static>,
    /// The zone that holds the name.
    pub(super) zone: Name,
    /// The name in the question as the client wrote it.
    pub(super) asked: Name,
    pub(super) requests: AtomicUsize,
}

impl Lookup {
    /// Returns the records of the answer; none if the name exists without such records.
    pub(super) async fn records(&self) -> Found<Pieces> {
        let Question { name, qtype, .. } = self.query.question;
        match qtype {
            rtype::A | rtype::AAAA | rtype::TXT => self.chain(name, self.asked, Vec::new()).await,
            rtype::CNAME => self.alias(&name).await,
            rtype::PTR => self.pointers(&name).await,
            rtype::SRV => self.servers(&name).await,
            rtype::MX => self.exchanges(&name).await,
            rtype::NS if name == self.zone => self.name_servers().await,
            _ => self.of_name(&name).await.map(|_| Pieces::default()),
        }
    }

    //------- Services -------------------------------------------------------

    /// Returns the services at a name and below it; of the zone itself those at `apex.dns` in it.
    async fn of_name(&self, name: &Name) -> Found<Vec<Service>> {
        if *name != self.zone {
            return self.services(name, false).await;
        }
        let apex = name.below([b"apex".as_slice(), b"dns"]);
        let apex = match apex {
            Some(apex) => self.services(&apex, false).await,
            None => Err(Miss::NoName),
        };
        match apex {
            Err(Miss::NoName) if !self.directive.no_apex_fallback => self.services(name, false).await,
            found => found,
        }
    }

    /// Returns the services at a name, and below it unless it has to be `exact`.
    async fn services(&self, name: &Name, exact: bool) -> Found<Vec<Service>> {
        let (key, any) = key_of(name, &self.directive.path).ok_or(Miss::NoName)?;
        let from = any.as_deref().unwrap_or(&key);
        let mut pairs = if exact { Vec::new() } else { self.read(&format!("{from}/"), true).await? };
        if pairs.is_empty() {
            pairs = self.read(from, false).await?;
        }
        if pairs.is_empty() {
            return Err(Miss::NoName);
        }
        pairs.retain(|pair| any.is_none() || service::matches(&pair.key, &key));
        let is_text = self.query.question.qtype == rtype::TXT;
        let mut services = Vec::new();
        for pair in &pairs {
            match Service::read(pair) {
                Ok(service) if !service.host.is_empty() || is_text && !service.text.is_empty() => {
                    services.push(service);
                }
                Ok(_) => {}
                Err(wrong) => self.directive.tell(&wrong),
            }
        }
        self.set_ttls(&mut services).await;
        Ok(grouped(services))
    }

    async fn read(&self, key: &str, is_prefix: bool) -> Found<Vec<super::client::Pair>> {
        if self.requests.fetch_add(1, Ordering::Relaxed) >= REQUESTS {
            return Err(Miss::Failed(format!("{} needs more than {REQUESTS} look-ups in etcd", self.asked)));
        }
        self.directive.client.read(key, is_prefix).await.map_err(Miss::Failed)
    }

    /// Limits the TTLs of services to what their leases have left.
    async fn set_ttls(&self, services: &mut [Service]) {
        let mut leases: Vec<i64> = services.iter().map(|service| service.lease).filter(|&lease| lease != 0).collect();
        leases.sort_unstable();
        leases.dedup();
        leases.truncate(LEASES);
        let (least, most) = self.directive.lease_ttls;
        let left = leases.into_iter().map(|lease| async move {
            let left = self.directive.client.time_to_live(lease).await?;
            Some((lease, u32::try_from(left).unwrap_or(u32::MAX).clamp(least, most.max(least))))
        });
        let left: Vec<_> = futures_util::future::join_all(left).await.into_iter().flatten().collect();
        for service in services {
            service.set_ttl(left.iter().find(|(lease, _)| *lease == service.lease).map(|(_, ttl)| *ttl));
        }
    }

    //------- Addresses, texts and aliases -----------------------------------

    /// Returns the addresses or texts of a name, through its aliases. `owner` is the name as it is
    /// written, `passed` the aliases that led here.
    fn chain(&self, name: Name, owner: Name, passed: Vec<(Name, Name)>) -> Soon<'_, Found<Pieces>> {
        Box::pin(async move {
            let qtype = self.query.question.qtype;
            let is_text = qtype == rtype::TXT;
            let services = if is_text { self.services(&name, false).await? } else { self.of_name(&name).await? };
            let mut pieces = Pieces::default();
            for service in services {
                let record = |data| Record { owner, ttl: service.ttl, data };
                match service.kind() {
                    Kind::Address(address) if !is_text && address.is_ipv4() == (qtype == rtype::A) => {
                        pieces.push_new(record(Data::Address(address)));
                    }
                    Kind::Text if is_text => pieces.push_new(record(Data::Text(service.text.clone()))),
                    Kind::Alias(target) => {
                        self.follow(&mut pieces, record(Data::Alias(target)), &name, &passed).await?;
                    }
                    _ => {}
                }
            }
            Ok(pieces)
        })
    }

    /// Adds an alias and what it leads to.
    async fn follow(&self, pieces: &mut Pieces, alias: Record, name: &Name, passed: &[(Name, Name)]) -> Found<()> {
        let Data::Alias(target) = alias.data else { return Ok(()) };
        let (step, lowered) = ((*name, target.lowered()), target.lowered());
        // Services below a name are services of it too, so an alias to one of them is a circle.
        if lowered.is_under(name) || passed.len() > CHAIN || passed.contains(&step) {
            return Ok(());
        }
        if !lowered.is_under(&self.zone) {
            let Target { reply, has_failed } = self.here().target(&self.query, &target).await;
            pieces.flags |= reply.flags() & flag::TC;
            pieces.failed = pieces.failed.take().or_else(|| has_failed.then(|| reply.clone()));
            pieces.all.push(Piece::Own(alias));
            pieces.all.push(Piece::Theirs(Question { name: target, ..self.query.question }, reply));
            return Ok(());
        }
        let passed = [passed, &[step]].concat();
        match self.chain(lowered, target, passed).await {
            Ok(more) if !more.all.is_empty() => {
                pieces.all.push(Piece::Own(alias));
                pieces.add(more);
            }
            // Not a denial: etcd has not said what there is.
            Err(failed @ Miss::Failed(_)) => return Err(failed),
            Ok(_) | Err(Miss::NoName) => {}
        }
        Ok(())
    }

    async fn alias(&self, name: &Name) -> Found<Pieces> {
        let services = self.services(name, true).await?;
        let target = services.first().and_then(|service| Some((service, Name::from_text(&service.host).ok()?)));
        let is_alias = target.filter(|(service, _)| !matches!(service.kind(), Kind::Address(_)));
        Ok(is_alias.map(|(service, target)| self.record(service, Data::Alias(target))).into_iter().collect())
    }

    async fn pointers(&self, name: &Name) -> Found<Pieces> {
        let mut pieces = Pieces::default();
        for service in self.services(name, true).await? {
            if !matches!(service.kind(), Kind::Address(_))
                && let Ok(target) = Name::from_text(&service.host)
            {
                pieces.push_new(self.record(&service, Data::Pointer(target)));
            }
        }
        Ok(pieces)
    }

    fn record(&self, service: &Service, data: Data) -> Record {
        Record { owner: self.asked, ttl: service.ttl, data }
    }

    //------- Records that lead to a host ------------------------------------

    async fn servers(&self, name: &Name) -> Found<Pieces> {
        let services = self.services(name, false).await?;
        let weights = weights(&services);
        let usable = services.iter().zip(weights).filter(|(service, _)| service.port != -1);
        let records = usable.filter_map(|(service, weight)| {
            let (priority, port) = (service.priority, service.port as u16);
            Some((service, Data::Server { priority, weight, port, target: service.target()? }))
        });
        Ok(self.hosts(records.collect()).await)
    }

    async fn exchanges(&self, name: &Name) -> Found<Pieces> {
        let services = self.services(name, false).await?;
        let mut records = Vec::new();
        for service in services.iter().filter(|service| service.mail) {
            if let Some(target) = service.target() {
                records.push((service, Data::Exchange { preference: service.priority, target }));
            }
        }
        Ok(self.hosts(records).await)
    }

    async fn name_servers(&self) -> Found<Pieces> {
        let servers = self.zone.below([b"ns".as_slice(), b"dns"]).ok_or(Miss::NoName)?;
        let services = self.services(&servers, false).await?;
        if let Some(service) = services.iter().find(|service| matches!(service.kind(), Kind::Alias(_))) {
            return Err(Miss::Failed(format!("NS record must be an IP address: {}", service.host)));
        }
        let record = |service: &Service| Some(Data::NameServer(service.target()?));
        let records = services.iter().filter_map(|service| Some((service, record(service)?)));
        Ok(self.hosts(records.collect()).await)
    }

    /// Returns records with the addresses of their targets as additional ones.
    async fn hosts(&self, records: Vec<(&Service, Data)>) -> Pieces {
        let (mut pieces, mut outside, mut inside) = (Pieces::default(), Vec::new(), Vec::new());
        for (service, data) in records {
            let Some(target) = data.target() else { continue };
            match service.kind() {
                Kind::Address(address) => {
                    let address = Record { owner: target, ttl: service.ttl, data: Data::Address(address) };
                    pieces.push_additional(address);
                }
                Kind::Alias(_) if !target.lowered().is_under(&self.zone) => outside.push(target),
                Kind::Alias(_) => inside.push(target),
                _ => continue,
            }
            pieces.push_new(self.record(service, data));
        }
        inside.dedup();
        outside.dedup();
        for target in inside {
            if let Ok(found) = self.addresses(target).await {
                found.into_iter().for_each(|address| pieces.push_additional(address));
            }
        }
        outside.truncate(OUTSIDE);
        let questions =
            outside.iter().flat_map(|target| [rtype::A, rtype::AAAA].map(|qtype| Question::new(*target, qtype)));
        let lookups = questions.map(|question| {
            let lookup = self.here().lookup(self.query.inner(&question));
            async move { (question, lookup.await) }
        });
        pieces.others = futures_util::future::join_all(lookups).await;
        pieces
    }

    /// Returns the IPv4 addresses that stand in etcd for a name of the zone, as CoreDNS does.
    async fn addresses(&self, target: Name) -> Found<Vec<Record>> {
        let services = self.services(&target.lowered(), false).await?;
        let addresses = services.iter().filter_map(|service| match service.kind() {
            Kind::Address(address) if address.is_ipv4() => {
                Some(Record { owner: target, ttl: service.ttl, data: Data::Address(address) })
            }
            _ => None,
        });
        Ok(addresses.collect())
    }

    fn here(&self) -> Here<'_> {
        Here { listener: &self.listener, site: &self.site, seat: self.seat }
    }
}
