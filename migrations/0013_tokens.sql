-- Tokens with which programs call the API. The token itself is kept nowhere: whoever reads this table
-- can use none of them.
CREATE TABLE tokens (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL CONSTRAINT tokens_user_id_fkey REFERENCES users ON DELETE CASCADE,
    name text NOT NULL CONSTRAINT tokens_name_length CHECK (char_length(name) BETWEEN 1 AND 100),
    sha256 bytea NOT NULL CONSTRAINT tokens_sha256_key UNIQUE
        CONSTRAINT tokens_sha256_length CHECK (octet_length(sha256) = 32),
    scopes text[] NOT NULL CONSTRAINT tokens_scopes_given CHECK (cardinality(scopes) BETWEEN 1 AND 16),
    created_at timestamptz NOT NULL,
    -- null: never
    expires_at timestamptz CONSTRAINT tokens_expiry CHECK (expires_at > created_at),
    -- to the minute
    last_used_at timestamptz
);
CREATE INDEX tokens_user_id_idx ON tokens (user_id, id DESC);
CREATE INDEX tokens_expires_at_idx ON tokens (expires_at) WHERE expires_at IS NOT NULL;
