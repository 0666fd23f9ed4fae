-- Requests that a client may send again without their effect happening twice
-- (draft-ietf-httpapi-idempotency-key-header). The outcome is recorded in the transaction of the effect: there is never
-- one without the other.
CREATE TABLE idempotency_keys (
    owner_id bigint NOT NULL CONSTRAINT idempotency_keys_owner_id_fkey REFERENCES users ON DELETE CASCADE,
    key text NOT NULL CONSTRAINT idempotency_keys_key_length CHECK (char_length(key) BETWEEN 1 AND 255),
    -- the request that has the key
    holder uuid NOT NULL,
    -- by the database's clock; a request that has not ended an hour later has died with its process
    created_at timestamptz NOT NULL DEFAULT now(),
    -- SHA-256 of what was asked; null while the request is under way
    fingerprint bytea,
    -- names what was created
    outcome text,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (owner_id, key),
    CONSTRAINT idempotency_keys_ended CHECK ((fingerprint IS NULL) = (outcome IS NULL))
);
CREATE INDEX idempotency_keys_created_at_idx ON idempotency_keys (created_at);
