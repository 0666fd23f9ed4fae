//! Checking a username and a password, a limited number of times.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use shared::{
    db,
    domain::{Password, UserId, Username},
};

use crate::{
    AppState,
    error::{Code, Problem},
};

const WINDOW: Duration = Duration::from_mins(15);
/// Many people may share an address: it gets this many times an account's tries.
const TRIES_OF_ADDRESS: i32 = 10;

/// The user whose name and password these are.
pub(crate) async fn log_in(
    state: &AppState,
    from: IpAddr,
    username: String,
    password: String,
) -> Result<UserId, Problem> {
    // a name that no account can have is not worth a counter of its own, and could be of any length
    let Ok(username) = Username::try_from(username) else {
        count_try_of_address(state, from).await?;
        return Err(wrong());
    };
    check_credentials(state, from, &username, password).await
}

fn wrong() -> Problem {
    Problem::new(Code::WrongCredentials, "there is no active account with this name and password")
}

/// As [`log_in`], for a name that an account can have.
pub(crate) async fn check_credentials(
    state: &AppState,
    from: IpAddr,
    username: &Username,
    password: String,
) -> Result<UserId, Problem> {
    count_try_of_address(state, from).await?;
    let account = format!("login {} {}", network(from), username.as_str().to_lowercase());
    count_try(state, &account, state.limits.login_max_failures).await?;
    let password = Password::typed(password).ok_or_else(wrong)?;
    let found = db::users::credentials(&mut *state.pool.acquire().await?, username).await?;
    let active = found.filter(|credentials| credentials.is_active);
    let hash = active.as_ref().map(|credentials| credentials.password_hash.clone());
    if !state.passwords.check(password, hash).await? {
        return Err(wrong());
    }
    db::rate_limits::reset(&mut *state.pool.acquire().await?, &account).await?;
    active.map(|credentials| credentials.id).ok_or_else(wrong)
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

async fn count_try_of_address(state: &AppState, from: IpAddr) -> Result<(), Problem> {
    let max = state.limits.login_max_failures.saturating_mul(TRIES_OF_ADDRESS);
    count_try(state, &format!("login {}", network(from)), max).await
}

/// Counts before the password is checked, so that many tries at once are no way around the limit.
async fn count_try(state: &AppState, key: &str, max: i32) -> Result<(), Problem> {
    let now = state.clock.now();
    let reading = db::rate_limits::hit(&mut *state.pool.acquire().await?, key, WINDOW, now).await?;
    if reading.hits > max {
        let detail = "too many logins failed; wait, or ask an administrator for a new password";
        return Err(
            Problem::new(Code::TooManyLogins, detail).retry_after((reading.resets_at - now).num_seconds())
        );
    }
    Ok(())
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
