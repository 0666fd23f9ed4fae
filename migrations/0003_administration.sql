-- What the administrators' pages need: each of their tables is read a page at a time, in the order of an index.

-- jobs are named by ULIDs and links by UUIDs
ALTER TABLE admin_actions ALTER COLUMN object_id TYPE text;
CREATE INDEX admin_actions_actor_id_idx ON admin_actions (actor_id, id DESC);

-- "contains" without regard to case
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE INDEX images_title_trgm_idx ON images USING gin (title gin_trgm_ops);
-- so that one title among the samples does not count as a hundredth of all
ALTER TABLE images ALTER COLUMN title SET STATISTICS 1000;
CREATE INDEX users_username_trgm_idx ON users USING gin (lower(username) gin_trgm_ops);

CREATE INDEX users_admins_idx ON users (id) WHERE is_admin;
CREATE INDEX users_used_bytes_id_idx ON users (used_bytes, id);
CREATE INDEX images_bytes_id_idx ON images (bytes, id);
CREATE INDEX thumbnails_failed_image_id_idx ON thumbnails (image_id) WHERE state = 'failed';
CREATE INDEX thumbnails_failed_job_id_idx ON thumbnails (job_id) WHERE state = 'failed';

-- Of a job that succeeds each update adds a row to every index whose condition it meets: these conditions are narrow.
CREATE INDEX jobs_open_idx ON apalis.jobs (status, job_type, id) WHERE status IN ('Pending', 'Queued', 'Running');
CREATE INDEX jobs_failed_idx ON apalis.jobs (id) WHERE status = 'Failed' AND attempts < max_attempts;
CREATE INDEX jobs_dead_idx ON apalis.jobs (id)
    WHERE status = 'Killed' OR (status = 'Failed' AND attempts >= max_attempts);
CREATE INDEX jobs_done_idx ON apalis.jobs (job_type, done_at) WHERE status = 'Done';

-- As before, and the owner, whose pages show it.
CREATE OR REPLACE FUNCTION notify_thumbnail_finished() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_notify('thumbnail_finished', json_build_object(
        'thumbnail', NEW.id, 'image', NEW.image_id, 'height', NEW.height, 'state', NEW.state,
        'owner', (SELECT owner_id FROM images WHERE id = NEW.image_id))::text);
    RETURN NULL;
END
$$;
