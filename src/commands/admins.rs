//! `pictier create-admin`.

use std::io::{BufRead, IsTerminal, stdin};

use anyhow::{Context, bail};
use pictier::Config;
use shared::{
    db,
    domain::{Actor, Password, Username},
    services::users::{self, Account},
};

use super::services;
use crate::database::Database;

/// Creates an administrator whose password is asked for.
pub(crate) async fn create(
    config: &Config,
    database: &Database,
    username: &str,
    tier: &str,
) -> anyhow::Result<()> {
    let username: Username = username.parse()?;
    let password = Password::chosen(read_password(&username)?)?;
    let services = services(config, database).await?;
    let found = db::tiers::by_name(&mut *services.connection().await?, tier).await?;
    let id = found.with_context(|| format!("There is no tier {tier:?}."))?.id;
    let account = Account { username: username.clone(), tier: id, is_admin: true, is_active: true };
    users::create(&services, Actor::CommandLine, &account, password).await?;
    println!("created the administrator {username} of the tier {tier}");
    Ok(())
}

fn read_password(username: &Username) -> anyhow::Result<String> {
    if !stdin().is_terminal() {
        let mut line = String::new();
        stdin().lock().read_line(&mut line).context("reading the password")?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let password = rpassword::prompt_password(format!("Password for {username}: "))?;
    if rpassword::prompt_password("Once more: ")? != password {
        bail!("the two passwords differ");
    }
    Ok(password)
}
