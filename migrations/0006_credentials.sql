-- Counts an account's password changes. A session names the version that its login was verified against, and ends
-- with it: also one whose login was under way while the password changed.
ALTER TABLE users ADD COLUMN credential_version int NOT NULL DEFAULT 0;
