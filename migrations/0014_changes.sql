-- What happened to an account's images and thumbnails, in an order that a client can follow without
-- missing anything. A number is taken at the end of the transaction that makes the change, and the
-- lock on the account's counter is held until that has committed: whoever sees a number sees all
-- smaller ones. A sequence or a time would give a slow transaction a number that readers have passed.

CREATE TABLE change_counters (
    owner_id bigint PRIMARY KEY CONSTRAINT change_counters_owner_id_fkey REFERENCES users ON DELETE CASCADE,
    -- a counter that was lost and begins anew is told apart from the lost one
    epoch int NOT NULL DEFAULT floor(random() * 2147483647),
    last bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE changes (
    owner_id bigint NOT NULL CONSTRAINT changes_owner_id_fkey REFERENCES users ON DELETE CASCADE,
    number bigint NOT NULL,
    kind text NOT NULL CONSTRAINT changes_kind_known CHECK (
        kind IN ('image.created', 'image.renamed', 'image.deleted', 'thumbnail.ready', 'thumbnail.failed')),
    image_id bigint NOT NULL,
    -- of a thumbnail, in px
    height int CONSTRAINT changes_height_given CHECK ((height IS NOT NULL) = starts_with(kind, 'thumbnail.')),
    -- by the database's clock, and in the order of the numbers
    at timestamptz NOT NULL,
    CONSTRAINT changes_pkey PRIMARY KEY (owner_id, number)
);
CREATE INDEX changes_at_idx ON changes (at);

CREATE FUNCTION record_change(owner bigint, kind text, image bigint, height int) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    taken bigint;
BEGIN
    -- nobody follows an account that is being deleted
    INSERT INTO change_counters AS counter (owner_id, last)
        SELECT id, 1 FROM users WHERE id = owner AND closed_at IS NULL
        ON CONFLICT (owner_id) DO UPDATE SET last = counter.last + 1
        RETURNING last INTO taken;
    IF taken IS NOT NULL THEN
        INSERT INTO changes (owner_id, number, kind, image_id, height, at)
            VALUES (owner, taken, kind, image, height, clock_timestamp());
        PERFORM pg_notify('changes', owner::text);
    END IF;
END
$$;

CREATE FUNCTION record_image_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM record_change(OLD.owner_id, 'image.deleted', OLD.id, NULL);
    ELSIF TG_OP = 'INSERT' THEN
        PERFORM record_change(NEW.owner_id, 'image.created', NEW.id, NULL);
    ELSE
        PERFORM record_change(NEW.owner_id, 'image.renamed', NEW.id, NULL);
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION record_thumbnail_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    -- none if the image is deleted in the same transaction
    PERFORM record_change(i.owner_id, 'thumbnail.' || NEW.state, i.id, NEW.height)
        FROM images i WHERE i.id = NEW.image_id;
    RETURN NULL;
END
$$;

-- deferred to the end of their transaction, so that the counters are locked last, and for as short a
-- time as possible
CREATE CONSTRAINT TRIGGER images_created_or_deleted
    AFTER INSERT OR DELETE ON images
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION record_image_change();
CREATE CONSTRAINT TRIGGER images_renamed
    AFTER UPDATE OF title ON images
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.title IS DISTINCT FROM NEW.title)
    EXECUTE FUNCTION record_image_change();
CREATE CONSTRAINT TRIGGER thumbnails_ended
    AFTER UPDATE OF state ON thumbnails
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.state IN ('ready', 'failed') AND OLD.state IS DISTINCT FROM NEW.state)
    EXECUTE FUNCTION record_thumbnail_change();
