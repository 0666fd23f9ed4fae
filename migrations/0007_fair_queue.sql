-- Start-time fair queueing (Goyal, Vin and Cheng, 1996) of thumbnails. A flow is an account's waited-for or its prepared
-- thumbnails. Each job gets a start tag; workers take the lowest. Virtual time is the greatest tag that was taken.

-- The last columns, so that apalis, which reads columns by their position, does not see them.
ALTER TABLE apalis.jobs
    -- the account whose share pays for the job; null in queues that are not shared out
    ADD COLUMN flow_owner bigint,
    -- whether nobody waits for it
    ADD COLUMN is_prepared boolean NOT NULL DEFAULT false,
    ADD COLUMN tag bigint NOT NULL DEFAULT 0;

-- Not transactional, so that no claim waits for another.
CREATE SEQUENCE queue_virtual_time AS bigint MINVALUE 0 START 0;

-- The tag at which a flow's next job starts. A row whose tag virtual time has reached says nothing; cleanups delete it.
CREATE TABLE queue_shares (
    owner_id bigint NOT NULL,
    is_prepared boolean NOT NULL,
    finish bigint NOT NULL,
    PRIMARY KEY (owner_id, is_prepared)
);

-- What a job takes of its flow's share.
CREATE FUNCTION job_cost(is_prepared boolean) RETURNS bigint
    LANGUAGE sql IMMUTABLE
    AS $$ SELECT CASE WHEN is_prepared THEN 4 ELSE 1 END::bigint $$;

CREATE FUNCTION virtual_time() RETURNS bigint
    LANGUAGE sql VOLATILE
    AS $$ SELECT last_value FROM queue_virtual_time $$;

-- The start tag of a flow's next job. It locks the flow's row: transactions lock nothing after it, and several rows in
-- the order of their owners.
CREATE FUNCTION take_start_tag(owner bigint, prepared boolean) RETURNS bigint
    LANGUAGE sql VOLATILE
    AS $$
    INSERT INTO queue_shares AS share (owner_id, is_prepared, finish)
    VALUES (owner, prepared, virtual_time() + job_cost(prepared))
    ON CONFLICT (owner_id, is_prepared)
        DO UPDATE SET finish = greatest(share.finish, virtual_time()) + job_cost(prepared)
    RETURNING finish - job_cost(prepared)
    $$;

-- Jobs that wait already get the tags that they would have got.
UPDATE apalis.jobs job
SET flow_owner = waiting.owner_id, tag = waiting.tag
FROM (
    SELECT th.job_id, i.owner_id, row_number() OVER (PARTITION BY i.owner_id ORDER BY open.run_at, open.id) - 1 AS tag
    FROM thumbnails th
    JOIN images i ON i.id = th.image_id
    JOIN apalis.jobs open ON open.id = th.job_id
    WHERE th.state = 'pending' AND open.status IN ('Pending', 'Queued', 'Running', 'Failed')
) AS waiting
WHERE job.id = waiting.job_id;
INSERT INTO queue_shares (owner_id, is_prepared, finish)
SELECT flow_owner, false, max(tag) + 1 FROM apalis.jobs WHERE flow_owner IS NOT NULL GROUP BY flow_owner;

CREATE INDEX jobs_fair_idx ON apalis.jobs (job_type, tag, run_at) WHERE status = 'Pending';
CREATE INDEX jobs_due_idx ON apalis.jobs (job_type, run_at) WHERE status = 'Failed' AND attempts < max_attempts;
-- the backlog of an owner: waited-for jobs that no worker has ever taken
CREATE INDEX jobs_backlog_idx ON apalis.jobs (flow_owner, created_at)
    WHERE status = 'Pending' AND NOT is_prepared AND lock_at IS NULL AND flow_owner IS NOT NULL;

-- Makes a failed job that is due wait again. It is a new arrival in its flow: if it kept its tag, all jobs that an outage
-- had made fail would come before everybody's new ones. A share that another transaction holds is not waited for.
CREATE FUNCTION return_due_job(queue text) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    due record;
    start bigint;
BEGIN
    SELECT id, flow_owner, is_prepared, tag INTO due FROM apalis.jobs
    WHERE job_type = queue AND status = 'Failed' AND attempts < max_attempts AND run_at <= now()
    ORDER BY run_at LIMIT 1
    FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF due.flow_owner IS NOT NULL THEN
        SELECT greatest(finish, virtual_time()) INTO start FROM queue_shares
        WHERE owner_id = due.flow_owner AND is_prepared = due.is_prepared
        FOR UPDATE SKIP LOCKED;
        IF FOUND THEN
            UPDATE queue_shares SET finish = start + job_cost(due.is_prepared)
            WHERE owner_id = due.flow_owner AND is_prepared = due.is_prepared;
        ELSE
            start := virtual_time();
        END IF;
    END IF;
    UPDATE apalis.jobs SET status = 'Pending', tag = coalesce(start, due.tag) WHERE id = due.id;
END
$$;

-- As before, in the order of tags. Virtual time never goes back, and nobody waits to advance it: who cannot leaves it to
-- the claim that does so at this moment, or to the next.
CREATE OR REPLACE FUNCTION apalis.get_jobs(worker_id text, v_job_type text, v_job_count integer DEFAULT 5)
    RETURNS SETOF apalis.jobs
    LANGUAGE plpgsql
    VOLATILE
    AS $$
DECLARE
    claimed apalis.jobs;
BEGIN
    PERFORM return_due_job(v_job_type);
    UPDATE apalis.jobs
    SET status = 'Queued', lock_by = worker_id, lock_at = now()
    WHERE id = ANY (ARRAY(
        SELECT id FROM apalis.jobs
        WHERE status = 'Pending' AND job_type = v_job_type AND run_at <= now()
        ORDER BY tag, run_at
        LIMIT 1
        FOR UPDATE SKIP LOCKED))
    RETURNING * INTO claimed;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF claimed.flow_owner IS NOT NULL AND claimed.tag > virtual_time()
        AND pg_try_advisory_xact_lock(hashtext('pictier virtual time'))
    THEN
        PERFORM setval('queue_virtual_time', greatest(virtual_time(), claimed.tag));
    END IF;
    RETURN NEXT claimed;
END
$$;
