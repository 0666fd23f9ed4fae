//! The contract of the source system: one story is told to an independent Django server that keeps
//! it and to ours, and every difference between the answers stands, with its reason, in the table
//! of `benches/peers/django/README.md`.

#[path = "../benches/peers/django.rs"]
mod django;

mod differences;
mod observation;
mod server;
mod story;

use std::fs;

use crate::harness::{PASSWORD, TestApp};
use differences::{compare, parse_table};
use django::DjangoPeer;
use server::Server;

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/django/README.md");

/// Everybody in the story, and their tiers.
const ACCOUNTS: [(&str, &str); 4] =
    [("ann", "Enterprise"), ("bob", "Enterprise"), ("cleo", "Basic"), ("dora", "Premium")];

// Python runs while the test waits for it
#[tokio::test(flavor = "multi_thread")]
async fn every_difference_to_the_source_system_is_listed_and_every_listed_one_occurs() {
    let peer = DjangoPeer::start(None, 1).expect("Django, which bin/django-peer installs");
    let accounts = ACCOUNTS.map(|(name, tier)| format!("{name}:{PASSWORD}:{tier}"));
    peer.manage(&[&["add_accounts"], accounts.each_ref().map(String::as_str).as_slice()].concat());
    let mut there = Server::source(peer);
    story::tell(&mut there).await;

    let mut app = TestApp::start().await;
    for (name, tier) in ACCOUNTS {
        app.create_user(name, tier).await;
    }
    app.start_worker().await;
    let mut here = Server::ours(app);
    story::tell(&mut here).await;

    let table = fs::read_to_string(TABLE).expect("a table");
    let complaints = compare(&there.observed, &here.observed, &parse_table(&table));
    here.stop().await;
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}
