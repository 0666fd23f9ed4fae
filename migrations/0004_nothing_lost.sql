-- Objects are immutable, jobs survive outages, and a store belongs to one database.

-- Counts the claims of a thumbnail, across jobs. It is part of the storage key and of every update by a worker, so a
-- worker that lost its claim changes nothing. 0: made by the first edition, whose keys have no attempt.
ALTER TABLE thumbnails ADD COLUMN attempt int NOT NULL DEFAULT 0
    CONSTRAINT thumbnails_attempt_range CHECK (attempt >= 0);
-- the panel groups failed thumbnails by their reason
CREATE INDEX thumbnails_failure_reason_idx ON thumbnails (failure_reason, id) WHERE state = 'failed';

-- Identifies this database to its store. One row, inserted by the first start.
CREATE TABLE installation (
    only_row boolean PRIMARY KEY DEFAULT true CONSTRAINT installation_has_one_row CHECK (only_row),
    id uuid NOT NULL,
    -- the server and the database in which the installation lives; a copy finds another home here than its own
    home text NOT NULL,
    -- null: the store has no marker of this installation yet
    storage_marked_at timestamptz,
    -- each cleanup writes a new generation here and then to the marker; a copy of the database knows neither of these
    generation uuid NOT NULL,
    previous_generation uuid,
    -- the folder of the store from which the next cleanup goes on looking for orphans
    next_shard int NOT NULL DEFAULT 0 CONSTRAINT installation_shard_range CHECK (next_shard BETWEEN 0 AND 255)
);

-- The identity of the server's data, which a physical standby shares, and of the database on it.
CREATE FUNCTION database_home() RETURNS text
    LANGUAGE sql STABLE
    AS $$
    SELECT (SELECT system_identifier FROM pg_control_system())::text || '/' || oid::text
    FROM pg_database WHERE datname = current_database()
    $$;

-- Originals that are being stored. The transaction that inserts the image deletes its row here.
CREATE TABLE uploads_under_way (
    key text PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX uploads_under_way_started_at_idx ON uploads_under_way (started_at);

-- Objects of thumbnails that no row names, with the first time that a cleanup saw them.
CREATE TABLE orphans (
    key text PRIMARY KEY,
    first_seen timestamptz NOT NULL DEFAULT now()
);

-- The last columns, so that apalis, which reads columns by their position, does not see them.
ALTER TABLE apalis.jobs
    ADD COLUMN created_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN transient_failures int NOT NULL DEFAULT 0,
    -- the worker whose loss was charged as an attempt; it gets the attempt back if its process turns out to be alive
    ADD COLUMN lost_by text;
CREATE INDEX jobs_lost_by_idx ON apalis.jobs (lost_by) WHERE lost_by IS NOT NULL;

-- apalis' own function joins a limited subquery, for which the planner reads the whole backlog. It takes one job
-- whatever the batch size: a job that waits in a worker's buffer stops the heartbeat and is then run twice.
CREATE OR REPLACE FUNCTION apalis.get_jobs(worker_id text, v_job_type text, v_job_count integer DEFAULT 5)
    RETURNS SETOF apalis.jobs
    LANGUAGE sql
    VOLATILE
    AS $$
    UPDATE apalis.jobs
    SET status = 'Queued', lock_by = worker_id, lock_at = now()
    WHERE id = ANY (ARRAY(
        SELECT id FROM apalis.jobs
        WHERE (status = 'Pending' OR (status = 'Failed' AND attempts < max_attempts))
          AND job_type = v_job_type AND run_at <= now()
        ORDER BY priority DESC, run_at
        LIMIT 1
        FOR UPDATE SKIP LOCKED))
    RETURNING *
    $$;

-- How long after its request a thumbnail is given up for trouble that may pass. Deletions are never given up, and the
-- next tick replaces a cleanup.
CREATE FUNCTION is_given_up(job_type text, created_at timestamptz) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
    SELECT CASE job_type
        WHEN 'object-deletion' THEN false
        WHEN 'clean-up' THEN now() > created_at + interval '1 hour'
        ELSE now() > created_at + interval '24 hours'
    END
    $$;

-- Guards for apalis 1.0.0's jobs table:
--  * the acknowledgement of a job that panicked or timed out keeps 'Running': make it 'Failed';
--  * a failed job is due again after a delay that doubles (2, 4, 8 … at most 300 seconds, ± 25 %);
--  * a failure that may pass ("transient: …") costs no attempt and is due after at most 60 seconds, ± 25 %;
--  * a job whose worker stopped in an orderly way costs no attempt;
--  * a job whose worker died each time is stopped ('Killed') once its attempts are used up.
CREATE OR REPLACE FUNCTION guard_job() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NEW.status = 'Running' AND NEW.done_at IS NOT NULL AND NEW.done_at IS DISTINCT FROM OLD.done_at THEN
        NEW.status := 'Failed';
    END IF;
    IF NEW.status = 'Failed' AND OLD.status IS DISTINCT FROM 'Failed' THEN
        IF starts_with(NEW.last_result ->> 'Err', 'transient: ') THEN
            NEW.transient_failures := OLD.transient_failures + 1;
            NEW.attempts := CASE WHEN is_given_up(NEW.job_type, NEW.created_at)
                THEN NEW.max_attempts ELSE least(OLD.attempts, NEW.max_attempts - 1) END;
            NEW.run_at := now()
                + make_interval(secs => least(60, power(2, least(NEW.transient_failures, 6))) * (0.75 + random() / 2));
        ELSIF NEW.attempts < NEW.max_attempts THEN
            NEW.run_at := now() + make_interval(secs => least(300, power(2, NEW.attempts)) * (0.75 + random() / 2));
        END IF;
    ELSIF NEW.status = 'Pending' AND OLD.status IN ('Queued', 'Running') AND NEW.attempts > OLD.attempts THEN
        IF NEW.last_result ->> 'Err' = 'Re-enqueued due to worker shutdown' THEN
            NEW.attempts := OLD.attempts;
            NEW.last_result := OLD.last_result;
        ELSE
            NEW.lost_by := OLD.lock_by;
            IF NEW.attempts >= NEW.max_attempts THEN
                NEW.status := 'Killed';
                NEW.done_at := now();
            END IF;
        END IF;
    ELSIF NEW.status = 'Done' THEN
        NEW.lost_by := NULL;
    END IF;
    RETURN NEW;
END
$$;

-- As before, with the reason of the last failure in plain words.
CREATE OR REPLACE FUNCTION fail_thumbnail_of_dead_job() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE thumbnails
    SET state = 'failed',
        finished_at = now(),
        failure_reason = CASE
            WHEN NEW.status = 'Killed' THEN 'Making this thumbnail stopped the worker again and again.'
            WHEN starts_with(NEW.last_result ->> 'Err', 'transient: storage') THEN
                'The storage could not be reached for 24 hours. Try again later.'
            WHEN starts_with(NEW.last_result ->> 'Err', 'transient: original') THEN
                'The original file is missing from the storage, or damaged there.'
            -- more memory than any worker had: the text says how much
            WHEN starts_with(NEW.last_result ->> 'Err', 'transient: The picture needs') THEN
                substring(NEW.last_result ->> 'Err' FROM length('transient: ') + 1)
            WHEN starts_with(NEW.last_result ->> 'Err', 'transient: ') THEN
                'This thumbnail could not be made within 24 hours. Try again later.'
            ELSE 'Making this thumbnail failed again and again. An administrator can see why.'
        END
    WHERE job_id = NEW.id AND state = 'pending';
    RETURN NULL;
END
$$;

-- Liveness is judged by the database's clock alone; apalis registers a worker by the worker's.
CREATE FUNCTION set_last_seen() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.last_seen := now();
    RETURN NEW;
END
$$;
CREATE TRIGGER workers_last_seen
    BEFORE INSERT OR UPDATE OF last_seen ON apalis.workers
    FOR EACH ROW
    EXECUTE FUNCTION set_last_seen();

-- Gives back what workers of a process that lives had and lost: jobs that they still hold, and attempts that their
-- loss was charged for. Rows that somebody has locked are left for the next time. A worker's id is its process, its queue and how often it was restarted.
CREATE FUNCTION return_jobs_of_live_process() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    -- an id of another form is of a worker that is not ours
    earlier text[] := ARRAY(
        SELECT id FROM apalis.workers
        WHERE starts_with(id, regexp_replace(NEW.id, '-[0-9]+$', '-')) AND worker_type = NEW.worker_type);
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE apalis.jobs
        SET status = 'Pending', lock_by = NULL, lock_at = NULL, done_at = NULL
        WHERE id IN (
            SELECT id FROM apalis.jobs
            WHERE status IN ('Queued', 'Running') AND lock_by = ANY (earlier) AND lock_by <> NEW.id
            FOR UPDATE SKIP LOCKED);
    END IF;
    UPDATE apalis.jobs
    SET attempts = greatest(attempts - 1, 0), lost_by = NULL
    WHERE id IN (
        SELECT id FROM apalis.jobs
        WHERE lost_by = ANY (earlier) AND status <> 'Killed'
        FOR UPDATE SKIP LOCKED);
    RETURN NULL;
END
$$;
CREATE TRIGGER workers_registered
    AFTER INSERT ON apalis.workers
    FOR EACH ROW
    EXECUTE FUNCTION return_jobs_of_live_process();
-- a worker that was silent for so long that its jobs may have gone to others, and is back
CREATE TRIGGER workers_returned
    AFTER UPDATE OF last_seen ON apalis.workers
    FOR EACH ROW
    WHEN (NEW.last_seen > OLD.last_seen + interval '4 seconds')
    EXECUTE FUNCTION return_jobs_of_live_process();
