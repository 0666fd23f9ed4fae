-- SHA-256 of the files, which pictier verify compares with the objects. Null: of a file of an earlier edition, until the
-- first verification reads it.
ALTER TABLE images ADD COLUMN sha256 bytea
    CONSTRAINT images_sha256_length CHECK (octet_length(sha256) = 32);
ALTER TABLE thumbnails ADD COLUMN sha256 bytea
    CONSTRAINT thumbnails_sha256_length CHECK (octet_length(sha256) = 32);
