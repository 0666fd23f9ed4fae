//! How many requests may wait: of all clients, for one account, and from one address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shared::{
    config::LimitsConfig,
    domain::UserId,
    metrics::{Held, WAITING_REQUESTS},
    services::accounts::ClientAddress,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Party {
    Everybody,
    Account(UserId),
    Address(IpAddr),
}

type Counts = HashMap<Party, usize>;

/// The places for requests that wait. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct WaitingPlaces {
    all: usize,
    per_account: usize,
    per_address: usize,
    taken: Arc<Mutex<Counts>>,
}

/// A request's place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    parties: Vec<Party>,
    taken: Arc<Mutex<Counts>>,
    _measured: Held,
}

impl WaitingPlaces {
    pub(crate) fn new(limits: &LimitsConfig) -> Self {
        Self {
            all: limits.waiting_requests,
            per_account: limits.waiting_requests_per_account,
            per_address: limits.waiting_requests_per_address,
            taken: Arc::default(),
        }
    }

    /// A place for a request that waits for a thumbnail of `owner`; none when as many wait as may.
    /// The address of a proxy that everybody comes through has no limit.
    pub(crate) fn take(&self, owner: UserId, from: ClientAddress) -> Option<Place> {
        let address = (!from.is_of_proxy).then(|| Party::Address(from.network()));
        let parties: Vec<Party> =
            [Party::Everybody, Party::Account(owner)].into_iter().chain(address).collect();
        let mut taken = lock(&self.taken);
        let is_free =
            |party: &Party| taken.get(party).is_none_or(|count| *count < self.max(*party));
        if !parties.iter().all(is_free) {
            return None;
        }
        for party in &parties {
            *taken.entry(*party).or_default() += 1;
        }
        let measured = WAITING_REQUESTS.hold(1.0);
        Some(Place { parties, taken: self.taken.clone(), _measured: measured })
    }

    fn max(&self, party: Party) -> usize {
        match party {
            Party::Everybody => self.all,
            Party::Account(_) => self.per_account,
            Party::Address(_) => self.per_address,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        for party in &self.parties {
            if let Some(count) = taken.get_mut(party) {
                *count -= 1;
            }
        }
        taken.retain(|_, count| *count > 0);
    }
}

fn lock(taken: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    // no holder leaves the counts half changed
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> WaitingPlaces {
        WaitingPlaces { all: 5, per_account: 3, per_address: 2, taken: Arc::default() }
    }

    fn client(last: u8) -> ClientAddress {
        ClientAddress { ip: IpAddr::from([192, 0, 2, last]), is_of_proxy: false }
    }

    #[test]
    fn an_address_an_account_and_all_together_have_limits() {
        let places = places();
        let (ada, bob) = (UserId(1), UserId(2));
        let first = places.take(ada, client(1)).expect("a place");
        let _second = places.take(ada, client(1)).expect("a place");
        assert!(places.take(bob, client(1)).is_none(), "the address has two");
        let _third = places.take(ada, client(2)).expect("a place");
        assert!(places.take(ada, client(3)).is_none(), "the account has three");
        let _others = [3, 4].map(|last| places.take(bob, client(last)).expect("a place"));
        assert!(places.take(bob, client(5)).is_none(), "all together have five");
        drop(first);
        assert!(places.take(bob, client(5)).is_some());
    }

    #[test]
    fn a_proxy_that_everybody_comes_through_has_no_limit_of_its_own() {
        let places = places();
        let proxy = ClientAddress { is_of_proxy: true, ..client(1) };
        let _taken = [1, 2, 3].map(|owner| places.take(UserId(owner), proxy).expect("a place"));
    }

    #[test]
    fn parties_without_places_are_forgotten() {
        let places = places();
        drop(places.take(UserId(1), client(1)));
        assert!(lock(&places.taken).is_empty());
    }
}
