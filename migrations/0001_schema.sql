-- The rules of the service that the database itself keeps. Times come from the application's clock, never
-- from now(), so that tests can advance it.

CREATE FUNCTION is_height_set(heights int[]) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$
    SELECT cardinality(heights) <= 16
       AND array_position(heights, NULL) IS NULL
       AND 1 <= ALL (heights)
       AND 4000 >= ALL (heights)
       AND heights = (SELECT coalesce(array_agg(DISTINCT h ORDER BY h), '{}') FROM unnest(heights) AS h)
    $$;

CREATE TABLE tiers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL CONSTRAINT tiers_name_length CHECK (char_length(name) BETWEEN 1 AND 100),
    is_default boolean NOT NULL DEFAULT false,
    thumbnail_heights int[] NOT NULL CONSTRAINT tiers_heights_valid CHECK (is_height_set(thumbnail_heights)),
    original_access boolean NOT NULL,
    expiring_links boolean NOT NULL,
    max_upload_bytes bigint NOT NULL CONSTRAINT tiers_max_upload_positive CHECK (max_upload_bytes > 0),
    storage_quota_bytes bigint NOT NULL CONSTRAINT tiers_quota_positive CHECK (storage_quota_bytes > 0),
    created_at timestamptz NOT NULL,
    CONSTRAINT tiers_name_key UNIQUE (name)
);
-- new users get the default tier: there is at most one
CREATE UNIQUE INDEX tiers_default_key ON tiers (is_default) WHERE is_default;

CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username text NOT NULL CONSTRAINT users_username_length CHECK (char_length(username) BETWEEN 1 AND 150),
    password_hash text NOT NULL,
    password_is_default boolean NOT NULL DEFAULT false,
    tier_id bigint NOT NULL CONSTRAINT users_tier_id_fkey REFERENCES tiers ON DELETE RESTRICT,
    is_admin boolean NOT NULL DEFAULT false,
    is_active boolean NOT NULL DEFAULT true,
    -- bytes of this user's originals, kept in the transaction that adds or removes one
    used_bytes bigint NOT NULL DEFAULT 0 CONSTRAINT users_used_bytes_positive CHECK (used_bytes >= 0),
    created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX users_username_key ON users (lower(username));
CREATE INDEX users_tier_id_idx ON users (tier_id);

CREATE TABLE sessions (
    id text PRIMARY KEY,
    user_id bigint CONSTRAINT sessions_user_id_fkey REFERENCES users ON DELETE CASCADE,
    data jsonb NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_user_id_idx ON sessions (user_id);
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);

-- counters over a fixed window, shared by every API process
CREATE TABLE rate_limits (
    key text PRIMARY KEY,
    hits int NOT NULL,
    resets_at timestamptz NOT NULL
);
CREATE INDEX rate_limits_resets_at_idx ON rate_limits (resets_at);

CREATE TABLE images (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_id bigint NOT NULL CONSTRAINT images_owner_id_fkey REFERENCES users ON DELETE RESTRICT,
    -- names the original's file; thumbnails have ids of their own, so that one URL never reveals another
    original_id uuid NOT NULL CONSTRAINT images_original_id_key UNIQUE,
    title text NOT NULL CONSTRAINT images_title_length CHECK (char_length(title) BETWEEN 1 AND 255),
    format text NOT NULL CONSTRAINT images_format_known CHECK (format IN ('jpeg', 'png')),
    width int NOT NULL CONSTRAINT images_width_positive CHECK (width > 0),
    height int NOT NULL CONSTRAINT images_height_positive CHECK (height > 0),
    bytes bigint NOT NULL CONSTRAINT images_bytes_positive CHECK (bytes > 0),
    placeholder bytea,
    uploaded_at timestamptz NOT NULL
);
CREATE INDEX images_owner_id_id_idx ON images (owner_id, id DESC);

CREATE TABLE thumbnails (
    id uuid PRIMARY KEY,
    image_id bigint NOT NULL CONSTRAINT thumbnails_image_id_fkey REFERENCES images ON DELETE CASCADE,
    height int NOT NULL CONSTRAINT thumbnails_height_range CHECK (height BETWEEN 1 AND 4000),
    state text NOT NULL DEFAULT 'absent'
        CONSTRAINT thumbnails_state_known CHECK (state IN ('absent', 'pending', 'ready', 'failed')),
    job_id text,
    width_px int,
    height_px int,
    bytes bigint,
    failure_reason text,
    requested_at timestamptz,
    finished_at timestamptz,
    CONSTRAINT thumbnails_image_id_height_key UNIQUE (image_id, height),
    CONSTRAINT thumbnails_pending_has_job CHECK (state <> 'pending' OR job_id IS NOT NULL),
    CONSTRAINT thumbnails_ready_has_file CHECK (
        state <> 'ready' OR (width_px > 0 AND height_px > 0 AND bytes > 0 AND finished_at IS NOT NULL)),
    CONSTRAINT thumbnails_failed_has_reason CHECK ((state = 'failed') = (failure_reason IS NOT NULL))
);
CREATE INDEX thumbnails_pending_job_id_idx ON thumbnails (job_id) WHERE state = 'pending';

CREATE TABLE expiring_links (
    id uuid PRIMARY KEY,
    image_id bigint NOT NULL CONSTRAINT expiring_links_image_id_fkey REFERENCES images ON DELETE CASCADE,
    -- null: the original
    height int CONSTRAINT expiring_links_height_range CHECK (height BETWEEN 1 AND 4000),
    valid_for int NOT NULL CONSTRAINT expiring_links_valid_for_range CHECK (valid_for BETWEEN 300 AND 30000),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT expiring_links_expiry CHECK (expires_at = created_at + make_interval(secs => valid_for))
);
CREATE INDEX expiring_links_image_id_idx ON expiring_links (image_id, expires_at);
CREATE INDEX expiring_links_expires_at_idx ON expiring_links (expires_at);

-- what administrators did; rows outlive what they speak of, so nothing here is a foreign key
CREATE TABLE admin_actions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    -- null: the command line
    actor_id bigint,
    actor_name text NOT NULL,
    action text NOT NULL,
    object_type text NOT NULL,
    object_id bigint NOT NULL,
    object_label text NOT NULL,
    changes jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX admin_actions_object_idx ON admin_actions (object_type, object_id, id DESC);

-- Whoever waits for a thumbnail hears of its end whichever process, or statement, ended it.
CREATE FUNCTION notify_thumbnail_finished() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_notify('thumbnail_finished', json_build_object(
        'thumbnail', NEW.id, 'image', NEW.image_id, 'height', NEW.height, 'state', NEW.state)::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER thumbnails_finished
    AFTER UPDATE OF state ON thumbnails
    FOR EACH ROW
    WHEN (NEW.state IN ('ready', 'failed') AND OLD.state IS DISTINCT FROM NEW.state)
    EXECUTE FUNCTION notify_thumbnail_finished();
