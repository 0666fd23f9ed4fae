//! The service through its own doors: HTTP and the command line, on a real Postgres and a real disk. One database
//! for each test; time is advanced, not waited for.

mod administration;
mod administration_queries;
mod administration_queue;
mod administration_users;
mod bad_input;
mod browser;
mod claims;
mod cleanup;
mod command_line;
mod database;
mod embedded_postgres;
mod expiring_links;
mod front_door;
mod harness;
mod images;
mod indexes;
mod installation;
mod invariants;
mod media;
mod notifications;
mod openapi;
mod pages;
mod poolers;
mod processes;
mod queue_guards;
mod quotas;
mod sessions;
mod startup;
mod streams;
mod thumbnails;
mod tiers;
mod time_limits;
mod transient;
mod upgrade;
mod waiting;
