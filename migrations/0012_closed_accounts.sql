-- Accounts that are being deleted.

-- When the account was closed. Nobody can log in to it or open it again; a job deletes what it has, in batches, and
-- then its row. A closed account is inactive, so processes of earlier editions refuse it as well.
ALTER TABLE users ADD COLUMN closed_at timestamptz;
ALTER TABLE users ADD CONSTRAINT users_closed_is_inactive CHECK (closed_at IS NULL OR NOT is_active);
CREATE INDEX users_closed_idx ON users (id) WHERE closed_at IS NOT NULL;
