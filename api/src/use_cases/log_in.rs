//! Checking a username and a password, a limited number of times.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use shared::{
    db,
    domain::{Login, Password, Username},
};

use crate::{
    AppState,
    client::ClientAddress,
    error::{Code, Problem},
};

/// Failures are counted for so long from the first one.
const WINDOW: Duration = Duration::from_mins(15);
/// Many people may share an address: it may have this many times an account's failures.
const FAILURES_OF_ADDRESS: i32 = 10;

/// The account whose name and password these are.
pub(crate) async fn log_in(
    state: &AppState,
    from: ClientAddress,
    username: String,
    password: String,
) -> Result<Login, Problem> {
    // a name that no account can have is not worth a counter of its own, and could be of any length
    let Ok(username) = Username::try_from(username) else {
        let counters = Counters::of(state, from, None);
        counters.refuse_too_many(state).await?;
        counters.count_failure(state).await?;
        return Err(wrong());
    };
    check_credentials(state, from, &username, password).await
}

/// As [`log_in`], for a name that an account can have.
pub(crate) async fn check_credentials(
    state: &AppState,
    from: ClientAddress,
    username: &Username,
    password: String,
) -> Result<Login, Problem> {
    let counters = Counters::of(state, from, Some(username));
    counters.refuse_too_many(state).await?;
    let slot = state.passwords.slot().await?;
    // again, as others may have failed meanwhile: at most as many tries as there are slots get past the limit
    counters.refuse_too_many(state).await?;
    let login = match Password::typed(password) {
        Some(password) => {
            let found = db::users::credentials(&mut *state.pool.acquire().await?, username).await?;
            let active = found.filter(|credentials| credentials.is_active);
            let hash = active.as_ref().map(|credentials| credentials.password_hash.clone());
            let is_right = slot.check(password, hash).await?;
            active.filter(|_| is_right).map(|credentials| credentials.login)
        }
        None => None,
    };
    match login {
        Some(login) => counters.forget_failures(state).await.map(|()| login),
        None => counters.count_failure(state).await.and(Err(wrong())),
    }
}

pub(super) fn wrong() -> Problem {
    Problem::new(Code::WrongCredentials, "there is no active account with this name and password")
}

/// The counters of failed logins that a try belongs to, each with its limit.
struct Counters {
    /// Of the address, unless it is that of a proxy that everybody comes through.
    address: Option<(String, i32)>,
    /// Of the account, as tried from the address.
    account: Option<(String, i32)>,
}

impl Counters {
    fn of(state: &AppState, from: ClientAddress, username: Option<&Username>) -> Self {
        let max = state.limits.login_max_failures;
        let network = network(from.ip);
        let of_address = (format!("login {network}"), max.saturating_mul(FAILURES_OF_ADDRESS));
        let of_account = |name: &Username| (format!("login {network} {}", name.as_str().to_lowercase()), max);
        Self { address: (!from.is_of_proxy).then_some(of_address), account: username.map(of_account) }
    }

    fn all(&self) -> impl Iterator<Item = &(String, i32)> {
        self.address.iter().chain(&self.account)
    }

    async fn refuse_too_many(&self, state: &AppState) -> Result<(), Problem> {
        let now = state.clock.now();
        let mut connection = state.pool.acquire().await?;
        for (key, max) in self.all() {
            let reading = db::rate_limits::read(&mut connection, key, now).await?;
            if let Some(full) = reading.filter(|reading| reading.hits >= *max) {
                let detail = "too many logins failed; wait, or ask an administrator for a new password";
                let seconds = (full.resets_at - now).num_seconds();
                return Err(Problem::new(Code::TooManyLogins, detail).retry_after(seconds));
            }
        }
        Ok(())
    }

    async fn count_failure(&self, state: &AppState) -> Result<(), Problem> {
        let mut connection = state.pool.acquire().await?;
        for (key, _) in self.all() {
            db::rate_limits::hit(&mut connection, key, WINDOW, state.clock.now()).await?;
        }
        Ok(())
    }

    /// Forgets this account's failures. The address keeps those of other accounts: who knows one password may be
    /// guessing others.
    async fn forget_failures(&self, state: &AppState) -> Result<(), Problem> {
        let mut connection = state.pool.acquire().await?;
        let mut forgotten = 0;
        if let Some((account, _)) = &self.account {
            forgotten = db::rate_limits::reset(&mut connection, account).await?;
        }
        if let Some((address, _)) = self.address.as_ref().filter(|_| forgotten > 0) {
            db::rate_limits::give_back(&mut connection, address, forgotten).await?;
        }
        Ok(())
    }
}

/// What one attacker has at least: an IPv4 address, or a network of IPv6 addresses (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => v6
            .to_ipv4_mapped()
            .map_or_else(|| IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))), IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_ipv6_network_are_one_client() {
        let network_of = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(network_of("2001:db8:1:2:3:4:5:6"), network_of("2001:db8:1:2:ffff::1"));
        assert_ne!(network_of("2001:db8:1:2::1"), network_of("2001:db8:1:3::1"));
        assert_eq!(network_of("::ffff:10.0.0.1"), network_of("10.0.0.1"));
        assert_ne!(network_of("10.0.0.1"), network_of("10.0.0.2"));
    }
}
