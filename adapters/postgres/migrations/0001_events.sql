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
