-- A worker that was silent for too long may take its own job again while an earlier run of it has not ended. Both runs
-- have the worker's name, so the queue cannot tell the acknowledgement of the earlier one, which has lost its claim, from
-- that of the later one. A job is done only when no thumbnail is pending for it: until then the later run has it.
CREATE FUNCTION ignore_early_end() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF EXISTS (SELECT FROM thumbnails WHERE job_id = NEW.id AND state = 'pending') THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER jobs_early_end
    BEFORE UPDATE OF status ON apalis.jobs
    FOR EACH ROW
    WHEN (NEW.job_type = 'thumbnails' AND NEW.status = 'Done')
    EXECUTE FUNCTION ignore_early_end();
