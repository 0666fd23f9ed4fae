-- Guards for apalis 1.0.0's jobs table, which its own migrations create before these run:
--  * the acknowledgement of a job that panicked or timed out keeps 'Running': make it 'Failed';
--  * a failed job is due again after a delay that doubles (2, 4, 8 … at most 300 seconds, ± 25 %) and survives
--    a restart;
--  * a job whose worker died is re-enqueued for ever: stop it ('Killed') once its attempts are used up.
CREATE FUNCTION guard_job() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NEW.status = 'Running' AND NEW.done_at IS NOT NULL AND NEW.done_at IS DISTINCT FROM OLD.done_at THEN
        NEW.status := 'Failed';
    END IF;
    IF NEW.status = 'Failed' AND OLD.status IS DISTINCT FROM 'Failed' AND NEW.attempts < NEW.max_attempts THEN
        NEW.run_at := now() + make_interval(secs => least(300, power(2, NEW.attempts)) * (0.75 + random() / 2));
    ELSIF NEW.status = 'Pending' AND OLD.status IN ('Queued', 'Running') AND NEW.attempts >= NEW.max_attempts THEN
        NEW.status := 'Killed';
        NEW.done_at := now();
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER jobs_guard
    BEFORE UPDATE OF status ON apalis.jobs
    FOR EACH ROW
    EXECUTE FUNCTION guard_job();

-- A job that is given up takes its thumbnail with it at once, so that nobody waits for what will not come. A job
-- that killed its worker every time never reached its own failure path.
CREATE FUNCTION fail_thumbnail_of_dead_job() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE thumbnails
    SET state = 'failed',
        failure_reason = CASE NEW.status
            WHEN 'Killed' THEN 'making it stopped the worker again and again'
            ELSE 'making it failed again and again; the storage may be out of order'
        END
    WHERE job_id = NEW.id AND state = 'pending';
    RETURN NULL;
END
$$;
CREATE TRIGGER jobs_dead
    AFTER UPDATE OF status ON apalis.jobs
    FOR EACH ROW
    WHEN (NEW.job_type = 'thumbnails'
        AND (NEW.status = 'Killed' OR (NEW.status = 'Failed' AND NEW.attempts >= NEW.max_attempts)))
    EXECUTE FUNCTION fail_thumbnail_of_dead_job();
