-- A thumbnail whose image is deleted ends as well: requests that wait for it are told at once. The image's row is gone by
-- then, and its owner with it.
CREATE FUNCTION notify_thumbnail_deleted() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_notify('thumbnail_finished', json_build_object(
        'thumbnail', OLD.id, 'image', OLD.image_id, 'height', OLD.height, 'state', 'deleted')::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER thumbnails_deleted
    AFTER DELETE ON thumbnails
    FOR EACH ROW
    WHEN (OLD.state = 'pending')
    EXECUTE FUNCTION notify_thumbnail_deleted();
