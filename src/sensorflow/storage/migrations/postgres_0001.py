"""What revision 0001 makes on PostgreSQL beside the tables: the functions of a commit."""

FUNCTIONS = (
    """
CREATE FUNCTION make_partition(lowest bigint, beyond bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- Made apart and then attached: making it in place would lock out every reader.
    EXECUTE format('CREATE TABLE readings_%s (LIKE readings INCLUDING ALL)', lowest);
    EXECUTE format(
        'ALTER TABLE readings ATTACH PARTITION readings_%s FOR VALUES FROM (%s) TO (%s)',
        lowest, lowest, beyond);
    INSERT INTO partitions (lower, upper) VALUES (lowest, beyond);
END $$
""",
    # Sets first to 0 where the batch was committed before, to NULL where it has to be judged.
    """
CREATE FUNCTION reserve_ids(
    batch uuid, settled uuid[], announcer text, names text[], seen timestamptz[],
    oldest timestamptz[], newest timestamptz[], judged boolean, many bigint,
    OUT first bigint, OUT sensor_ids bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
    unknown boolean;
    judge boolean;
    top bigint;
    width bigint;
BEGIN
    -- Ids in order of commit: nobody else reserves any until this transaction ends.
    PERFORM pg_advisory_xact_lock('readings'::regclass::oid::bigint);
    INSERT INTO commits (token, committed_at) VALUES (batch, now()) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        first := 0;
        RETURN;
    END IF;
    SELECT array_agg(s.id ORDER BY n.place), bool_or(s.id IS NULL), bool_or(n.oldest <= s.latest)
        INTO sensor_ids, unknown, judge
        FROM unnest(names, oldest) WITH ORDINALITY AS n (name, oldest, place)
        LEFT JOIN sensors s ON s.sensor_id = n.name;
    IF judge AND NOT judged THEN
        DELETE FROM commits WHERE token = batch;
        RETURN;
    END IF;
    IF unknown THEN
        INSERT INTO sensors (sensor_id, first_seen)
            SELECT n.name, coalesce(n.seen, now()) FROM unnest(names, seen) AS n (name, seen)
            ON CONFLICT DO NOTHING;
        SELECT array_agg(s.id ORDER BY n.place) INTO sensor_ids
            FROM unnest(names) WITH ORDINALITY AS n (name, place)
            JOIN sensors s ON s.sensor_id = n.name;
    END IF;
    UPDATE sensors s SET latest = n.newest
        FROM unnest(sensor_ids, newest) AS n (id, newest)
        WHERE s.id = n.id AND n.newest > coalesce(s.latest, '-infinity');
    first := nextval('readings_id_seq');
    IF many > 1 THEN
        PERFORM setval('readings_id_seq', first + many - 1);
    END IF;
    -- Not from the first id to the last: a restore leaves a gap between them.
    SELECT max(upper), greatest(1000000, (sum(upper - lower) / 32)::bigint) INTO top, width
        FROM partitions;
    WHILE first + many + width / 2 > top LOOP
        PERFORM make_partition(top, top + width);
        top := top + width;
    END LOOP;
    IF cardinality(settled) > 0 THEN
        DELETE FROM commits WHERE token = ANY (settled);
    END IF;
    PERFORM pg_notify('sensorflow', announcer || ' ' || first || ' ' || first + many - 1);
END $$
""",
    """
CREATE FUNCTION append_readings(
    batch uuid, settled uuid[], announcer text, names text[], seen timestamptz[],
    oldest timestamptz[], newest timestamptz[], judged boolean, sensor int[],
    received_at timestamptz[], device_time timestamptz[], measured_at timestamptz[],
    temperature double precision[], humidity double precision[], pressure double precision[],
    extra text[], client_ip text[]
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    reserved record;
BEGIN
    reserved := reserve_ids(
        batch, settled, announcer, names, seen, oldest, newest, judged, cardinality(sensor));
    IF reserved.first > 0 THEN
        INSERT INTO readings
            SELECT reserved.first + r.place - 1, reserved.sensor_ids[r.sensor],
                coalesce(r.device_time, r.measured_at, r.received_at),
                (r.device_time IS NOT NULL)::int,
                r.received_at, r.temperature, r.humidity, r.pressure, r.extra::jsonb, r.client_ip
            FROM unnest(sensor, received_at, device_time, measured_at, temperature, humidity,
                pressure, extra, client_ip) WITH ORDINALITY AS r (sensor, received_at,
                device_time, measured_at, temperature, humidity, pressure, extra, client_ip,
                place);
    END IF;
    RETURN reserved.first;
END $$
""",
)
