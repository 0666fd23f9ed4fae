//! `pictier delete-user`.

use std::process::ExitCode;

use anyhow::Context;
use pictier::Config;
use shared::{
    db,
    domain::{Actor, Username, byte_count::human_bytes},
    services::users::{self, Cascade},
};

use super::{consent::Consent, services};
use crate::database::Database;

/// Shows what a user has, asks, and closes the account; workers delete the rest.
pub(crate) async fn delete(
    config: &Config,
    database: &Database,
    username: &str,
    consent: Consent,
) -> anyhow::Result<ExitCode> {
    let username: Username = username.parse()?;
    let services = services(config, database).await?;
    let mut connection = services.connection().await?;
    let found = db::admin::images::owner_by_name(&mut connection, username.as_str()).await?;
    drop(connection);
    let id = found.with_context(|| format!("There is no user {username}."))?;
    let Some(cascade) = users::cascades(&services, &[id]).await?.pop() else {
        println!("{username} is being deleted already.");
        return Ok(ExitCode::SUCCESS);
    };
    print_cascade(&cascade);
    let username = &cascade.user.username;
    if !consent.to(&format!("Delete {username} with all of this?"))? {
        return Ok(ExitCode::FAILURE);
    }
    users::delete(&services, Actor::CommandLine, &[id]).await?;
    println!(
        "Closed the account {username}. Workers delete what it has, and then its name is free."
    );
    Ok(ExitCode::SUCCESS)
}

fn print_cascade(Cascade { user, figures }: &Cascade) {
    let kind = if user.is_admin { "administrator" } else { "user" };
    println!("The {kind} {} of the tier {} has:", user.username, user.tier_name);
    println!("{:>10} images, {} of originals", figures.images, human_bytes(user.used_bytes));
    println!("{:>10} thumbnails", figures.thumbnails);
    println!("{:>10} live expiring links", figures.live_links);
    println!("{:>10} sessions", figures.live_sessions);
}
