//! Backups of a whole installation, and their restoration.

mod create;
mod files;
mod restore;

pub use self::{
    create::{NewBackup, back_up},
    restore::Backup,
};
