//! Logging in, changing one's own password, and deleting one's own account.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use sqlx::PgConnection;

use super::{RateLimit, ServiceError, Services, users};
use crate::{
    db,
    domain::{Actor, Login, Password, User, Username, ValidationError},
};

/// Failed logins are counted for this long from the first one.
const WINDOW: Duration = Duration::from_mins(15);
/// An address may be shared: it may have this many times the failures of an account.
const FAILURES_OF_ADDRESS: i32 = 10;

/// Failed logins, as [`RateLimit`] names them.
const LOGINS: &str = "failed-logins";

/// What an account without failed logins may do.
pub fn login_limit(services: &Services) -> RateLimit {
    RateLimit::unused(LOGINS, services.limits.login_max_failures, WINDOW)
}

/// The address that a request comes from.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress {
    /// The client's address, or that of the last known proxy.
    pub ip: IpAddr,
    /// Whether it is that of a reverse proxy that the configuration does not name: all clients come
    /// from there.
    pub is_of_proxy: bool,
}

impl ClientAddress {
    /// What one client has at least: an IPv4 address, or a /64 network of IPv6 (RFC 6177).
    pub fn network(self) -> IpAddr {
        match self.ip {
            IpAddr::V4(_) => self.ip,
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or_else(
                || IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
                IpAddr::V4,
            ),
        }
    }
}

/// The account with this username and password.
pub async fn log_in(
    services: &Services,
    from: ClientAddress,
    username: String,
    password: String,
) -> Result<Login, ServiceError> {
    // an impossible name gets no counter of its own: it could be of any length
    let Ok(username) = Username::try_from(username) else {
        let counters = Counters::of(services, from, None);
        counters.refuse_too_many(services).await?;
        let limit = counters.count_failure(services).await?;
        return Err(ServiceError::WrongCredentials { limit });
    };
    check_credentials(services, from, &username, password).await
}

/// Gives an account a new password if `current` is the one in use, and ends all its sessions.
/// Returns the login with the new password, for a new session.
pub async fn change_password(
    services: &Services,
    from: ClientAddress,
    user: &User,
    current: String,
    new: String,
) -> Result<Login, ServiceError> {
    let new = Password::chosen(new)
        .map_err(|invalid| ValidationError::new("new_password", invalid.message))?;
    let login = check_credentials(services, from, &user.username, current).await?;
    let is_default = new.is_default();
    let hash = services.passwords.hash(new).await?;
    let mut tx = services.begin().await?;
    // somebody else may have changed the password since it was checked
    let replaced = db::users::replace_password(&mut tx, login, &hash, is_default).await?;
    let limit = login_limit(services);
    let login = replaced.ok_or(ServiceError::WrongCredentials { limit })?;
    db::sessions::delete_of_user(&mut tx, login.user).await?;
    tx.commit().await?;
    Ok(login)
}

/// Closes the account if the password is right, as [`users::delete`] does.
pub async fn delete(
    services: &Services,
    from: ClientAddress,
    user: &User,
    password: String,
) -> Result<(), ServiceError> {
    let login = check_credentials(services, from, &user.username, password).await?;
    let mut tx = services.begin().await?;
    db::admin::users::lock_administrators(&mut tx).await?;
    db::admin::users::lock(&mut tx, &[user.id]).await?;
    // since the password was checked, somebody else may have changed it, or given the name to
    // another account
    let is_right = login.user == user.id && db::users::active(&mut tx, login).await?.is_some();
    if !is_right {
        return Err(ServiceError::WrongCredentials { limit: login_limit(services) });
    }
    users::close(services, &mut tx, Actor::Owner(user), &[user.id]).await?;
    tx.commit().await?;
    Ok(())
}

async fn check_credentials(
    services: &Services,
    from: ClientAddress,
    username: &Username,
    password: String,
) -> Result<Login, ServiceError> {
    let counters = Counters::of(services, from, Some(username));
    counters.refuse_too_many(services).await?;
    let slot = services.passwords.slot().await?;
    // again, as others may have failed meanwhile: at most as many tries as there are slots get past
    // the limit
    counters.refuse_too_many(services).await?;
    let login = match Password::typed(password) {
        Some(password) => {
            let found =
                db::users::credentials(&mut *services.connection().await?, username).await?;
            let active = found.filter(|credentials| credentials.is_active);
            let hash = active.as_ref().map(|credentials| credentials.password_hash.clone());
            let is_right = slot.check(password, hash).await?;
            active.filter(|_| is_right).map(|credentials| credentials.login)
        }
        None => None,
    };
    let Some(login) = login else {
        let limit = counters.count_failure(services).await?;
        return Err(ServiceError::WrongCredentials { limit });
    };
    counters.forget_failures(services).await?;
    Ok(login)
}

/// What the keys of all counters of failed logins start with.
const COUNTER_START: &str = "login ";

/// What the keys of an account's counters end with. No name has a space.
fn counter_end(username: &Username) -> String {
    format!(" {}", username.as_str().to_lowercase())
}

/// Deletes the counters that name an account, of all addresses.
pub(super) async fn forget_logins(
    connection: &mut PgConnection,
    username: &Username,
) -> sqlx::Result<()> {
    db::rate_limits::reset_matching(connection, COUNTER_START, &counter_end(username)).await
}

/// The counters of failed logins that an attempt belongs to, each with its limit.
struct Counters {
    /// Of the address, unless it is that of a proxy that everybody comes through.
    address: Option<(String, i32)>,
    /// Of the account, as tried from the address.
    account: Option<(String, i32)>,
}

impl Counters {
    fn of(services: &Services, from: ClientAddress, username: Option<&Username>) -> Self {
        let max = services.limits.login_max_failures;
        let network = from.network();
        let of_address =
            (format!("{COUNTER_START}{network}"), max.saturating_mul(FAILURES_OF_ADDRESS));
        let of_account =
            |name: &Username| (format!("{COUNTER_START}{network}{}", counter_end(name)), max);
        Self {
            address: (!from.is_of_proxy).then_some(of_address),
            account: username.map(of_account),
        }
    }

    fn all(&self) -> impl Iterator<Item = &(String, i32)> {
        self.address.iter().chain(&self.account)
    }

    async fn refuse_too_many(&self, services: &Services) -> Result<(), ServiceError> {
        let now = services.clock.now();
        let mut connection = services.connection().await?;
        for (key, max) in self.all() {
            let reading = db::rate_limits::read(&mut connection, key, now).await?;
            if let Some(full) = reading.filter(|reading| reading.hits >= *max) {
                let limit = RateLimit::unused(LOGINS, *max, WINDOW).read(full, now);
                return Err(ServiceError::TooManyLogins { limit });
            }
        }
        Ok(())
    }

    /// Returns what is left of the counter that is nearest to its limit.
    async fn count_failure(&self, services: &Services) -> sqlx::Result<RateLimit> {
        let mut connection = services.connection().await?;
        let mut nearest = login_limit(services);
        for (key, max) in self.all() {
            let now = services.clock.now();
            let reading = db::rate_limits::hit(&mut connection, key, WINDOW, now).await?;
            let limit = RateLimit::unused(LOGINS, *max, WINDOW).read(reading, now);
            if limit.remaining < nearest.remaining {
                nearest = limit;
            }
        }
        Ok(nearest)
    }

    /// Forgets this account's failures. The address keeps those of other accounts: the owner of one
    /// password may be guessing others.
    async fn forget_failures(&self, services: &Services) -> Result<(), ServiceError> {
        let mut connection = services.connection().await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_ipv6_network_are_one_client() {
        let network_of = |text: &str| {
            let ip = text.parse().expect("an address");
            ClientAddress { ip, is_of_proxy: false }.network()
        };
        assert_eq!(network_of("2001:db8:1:2:3:4:5:6"), network_of("2001:db8:1:2:ffff::1"));
        assert_ne!(network_of("2001:db8:1:2::1"), network_of("2001:db8:1:3::1"));
        assert_eq!(network_of("::ffff:10.0.0.1"), network_of("10.0.0.1"));
        assert_ne!(network_of("10.0.0.1"), network_of("10.0.0.2"));
    }
}
