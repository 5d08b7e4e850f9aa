-- The event log, the commands it answered, and a cache of aggregate states.

create table events (
    position       bigint      not null primary key check (position > 0),
    stream_id      uuid        not null,
    version        integer     not null check (version > 0),
    type           text        not null,
    schema_version integer     not null,
    project_id     uuid,
    data           json        not null, -- json keeps the canonical bytes as they were hashed; jsonb would not
    actor          text        not null,
    command_id     uuid        not null,
    correlation_id uuid        not null,
    causation_id   uuid,
    trace_id       text,
    recorded_at    timestamptz not null,
    unique (stream_id, version)
);

create index events_of_project on events (project_id, position) where project_id is not null;

-- Kept as long as the log: a command id is answered before anything is decided.
create table commands (
    command_id     uuid   not null primary key,
    request_digest bytea  not null,
    first          bigint,
    last           bigint,
    check ((first is null) = (last is null))
);

create table snapshots (
    stream_id uuid    not null primary key,
    version   integer not null,
    aggregate text    not null,
    fold      integer not null,
    body      bytea   not null
);

-- The log is append-only for everyone who does not first take this trigger away, which the audit would show.
create function refuse_to_change_history() returns trigger language plpgsql as $$
begin
    raise exception 'the event log is append-only: % on % is refused', tg_op, tg_table_name;
end
$$;

create trigger events_are_never_changed before update or delete or truncate on events
    for each statement execute function refuse_to_change_history();

-- Binary search over dense positions: recorded_at never runs backwards, so it needs no index of its own.
create function position_at(moment timestamptz) returns bigint language plpgsql stable as $$
declare
    low    bigint := 0;
    high   bigint := coalesce((select max(position) from events), 0);
    middle bigint;
begin
    while low < high loop
        middle := (low + high + 1) / 2;
        if (select recorded_at <= moment from events where position = middle) then
            low := middle;
        else
            high := middle - 1;
        end if;
    end loop;
    return low;
end
$$;

-- What follows is called by the sequencer, one call per round trip. Each statement of a volatile plpgsql function sees
-- what was committed before it began (READ COMMITTED), so what stands after the lock sees what the lock waited for.

create function microseconds(moment timestamptz) returns bigint language sql immutable as $$
    select (extract(epoch from moment) * 1000000)::bigint
$$;

-- One index scan per stream, whatever the planner believes of the arrays.
create function newer_events(stream_ids uuid[], after integer[], most integer) returns json language plpgsql volatile as $$
begin
    return (
        select coalesce(json_agg(json_build_array(
                   position, stream_id, version, type, schema_version, project_id, data::text, actor, command_id,
                   correlation_id, causation_id, trace_id, microseconds(recorded_at)) order by position), '[]')
        from unnest(stream_ids, after) as wanted (id, seen)
        cross join lateral (select * from events where stream_id = wanted.id and version > wanted.seen
                            order by version limit most) as found
    );
end
$$;

create function open_batch(command_ids uuid[], stream_ids uuid[], after integer[], most integer)
    returns json language plpgsql volatile as $$
declare
    began timestamptz := clock_timestamp();
    lock_seconds double precision;
    moment timestamptz;
    head bigint;
    known json;
begin
    -- By the schema's name, so that two installations in one database do not wait for each other.
    perform pg_advisory_xact_lock(hashtextextended('toybox.events.' || current_schema(), 0));
    lock_seconds := extract(epoch from clock_timestamp() - began);
    select greatest(clock_timestamp(), last.recorded_at), coalesce(last.position, 0) into moment, head
        from (select) as one
        left join lateral (select position, recorded_at from events order by position desc limit 1) as last on true;
    select coalesce(json_agg(json_build_array(command_id, encode(request_digest, 'hex'), first, last, (
               select json_agg(json_build_array(stream_id, version) order by began_at) from (
                   select stream_id, max(version) as version, min(position) as began_at
                   from events where position between first and last group by stream_id) as changed))), '[]')
        into known from commands where command_id = any (command_ids);
    return json_build_object(
        'now', microseconds(moment), 'head', head, 'lock_seconds', lock_seconds, 'known', known,
        'events', newer_events(stream_ids, after, most));
end
$$;

create function append_batch(new_events json, new_commands json) returns void language plpgsql volatile as $$
begin
    insert into events (position, stream_id, version, type, schema_version, project_id, data, actor, command_id,
                        correlation_id, causation_id, trace_id, recorded_at)
        select position, stream_id, version, type, schema_version, project_id, data::json, actor, command_id,
               correlation_id, causation_id, trace_id, recorded_at
        from json_to_recordset(new_events) as new (
            position bigint, stream_id uuid, version integer, type text, schema_version integer, project_id uuid,
            data text, actor text, command_id uuid, correlation_id uuid, causation_id uuid, trace_id text,
            recorded_at timestamptz);
    insert into commands (command_id, request_digest, first, last)
        select command_id, decode(digest, 'hex'), first, last
        from json_to_recordset(new_commands) as new (command_id uuid, digest text, first bigint, last bigint);
end
$$;
