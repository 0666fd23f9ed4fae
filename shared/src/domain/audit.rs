//! The audit log: who did what to which object.

use std::fmt::Display;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Image, LinkId, Tier, Title, User, UserId, Username};

#[derive(Clone, Copy, Debug)]
pub enum Actor<'a> {
    /// Somebody at the command line of the server.
    CommandLine,
    /// An administrator who is logged in.
    Admin(&'a User),
    /// An account that does something to itself.
    Owner(&'a User),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditAction {
    Create,
    Update,
    Delete,
    Revoke,
    /// A job or a failed thumbnail was made due again.
    Retry,
    Discard,
    /// An account got a new password.
    SetPassword,
    /// An account's sessions were ended.
    SignOut,
    /// An account's tokens were revoked.
    RevokeTokens,
}

impl AuditAction {
    /// As it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Revoke => "revoke",
            Self::Retry => "retry",
            Self::Discard => "discard",
            Self::SetPassword => "set password",
            Self::SignOut => "sign out",
            Self::RevokeTokens => "revoke tokens",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditKind {
    User,
    Tier,
    Image,
    /// An expiring link.
    Link,
    Job,
    /// All thumbnails that failed for one reason.
    Thumbnails,
}

impl AuditKind {
    pub const ALL: [Self; 6] =
        [Self::User, Self::Tier, Self::Image, Self::Link, Self::Job, Self::Thumbnails];

    /// As it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Tier => "tier",
            Self::Image => "image",
            Self::Link => "link",
            Self::Job => "job",
            Self::Thumbnails => "thumbnails",
        }
    }
}

/// What something was done to.
#[derive(Clone, Debug)]
pub struct AuditObject<'a> {
    pub kind: AuditKind,
    /// Its id as text; empty where many objects are meant.
    pub id: String,
    /// Its name at the time.
    pub label: &'a str,
}

impl<'a> AuditObject<'a> {
    fn new(kind: AuditKind, id: impl Display, label: &'a str) -> Self {
        Self { kind, id: id.to_string(), label }
    }

    pub fn user(id: UserId, username: &'a Username) -> Self {
        Self::new(AuditKind::User, id, username.as_str())
    }

    pub fn tier(tier: &'a Tier) -> Self {
        Self::new(AuditKind::Tier, tier.id, tier.spec.name.as_str())
    }

    pub fn image(image: &'a Image) -> Self {
        Self::new(AuditKind::Image, image.id, image.title.as_str())
    }

    /// An expiring link of the image with this title.
    pub fn link(id: LinkId, title: &'a Title) -> Self {
        Self::new(AuditKind::Link, id, title.as_str())
    }

    /// A job.
    pub fn job(id: &str, queue: &'a str) -> Self {
        Self::new(AuditKind::Job, id, queue)
    }

    /// The thumbnails that failed for a reason.
    pub fn thumbnails(reason: &'a str) -> Self {
        Self::new(AuditKind::Thumbnails, "", reason)
    }
}

/// An entry of the audit log.
#[derive(Debug)]
pub struct AuditEntry<'a> {
    /// Who did it.
    pub actor: Actor<'a>,
    pub action: AuditAction,
    /// What it was done to.
    pub object: AuditObject<'a>,
    /// What changed, field by field; never a secret.
    pub changes: Value,
}
