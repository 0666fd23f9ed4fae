-- Backups that run. While one does, jobs delete no object: a dump that was taken before still names it. A backup renews its
-- row each minute; a row that was not renewed for ten minutes is of a backup that was killed, and says nothing.
CREATE TABLE backups (
    id uuid PRIMARY KEY,
    renewed_at timestamptz NOT NULL DEFAULT now()
);
