//! Lists of ports, each kept once: services and slices of a cluster have few different ones.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::model::Port;

/// How many lists are kept before those that are not in use any more are dropped.
const FEW: usize = 64;

/// All lists of ports that are in use.
#[derive(Default)]
pub(super) struct Ports {
    known: HashSet<Arc<[Port]>>,
    /// At how many lists to drop the unused ones again.
    full: usize,
}

impl Ports {
    /// A list that is equal to `ports`, shared by all services and slices that have it.
    pub(super) fn shared(&mut self, ports: Arc<[Port]>) -> Arc<[Port]> {
        if let Some(known) = self.known.get(&ports) {
            return known.clone();
        }
        if self.known.len() >= self.full {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.full = (self.known.len() * 2).max(FEW);
        }
        self.known.insert(ports.clone());
        ports
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lists_are_one() {
        let list = |number| -> Arc<[Port]> {
            [Port { name: "http".into(), protocol: "tcp".into(), number: Some(number) }].into()
        };
        let mut ports = Ports::default();
        let first = ports.shared(list(1));
        assert!(Arc::ptr_eq(&first, &ports.shared(list(1))));
        (2..1000).for_each(|number| drop(ports.shared(list(number))));
        assert!(ports.known.len() <= FEW && ports.known.contains(&first), "what nobody has goes");
    }
}
