//! `pictier create-admin`.

use std::io::{BufRead, IsTerminal, stdin};

use anyhow::{Context, bail};
use shared::{
    administration::create_admin,
    clock::Clock,
    domain::{Password, Username},
};

use crate::{
    cli::Config,
    database::{Database, Schema},
};

/// Creates an administrator whose password is asked for.
pub(crate) async fn create(
    config: &Config,
    database: &Database,
    username: &str,
    tier: &str,
) -> anyhow::Result<()> {
    let username: Username = username.parse()?;
    let password = Password::chosen(read_password(&username)?)?;
    let (pool, _) = database.open(config, Schema::Expect).await?;
    let clock = Clock::measured(&pool).await?;
    create_admin(&mut *pool.acquire().await?, &username, &password, tier, &clock).await?;
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
