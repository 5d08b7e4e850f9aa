-- How far whoever follows Kafka is, per partition, beside what it has made; and how far the relay is, as Kafka told it.

-- The relay's marker, as it was last read. What stands at or before `position` on any partition ends with `prev`.
create table relay_marks (
    topic       text        not null primary key, -- the id of the topic of events
    position    bigint      not null,
    prev        jsonb       not null, -- partition -> position of its last event up to the marker
    marks       text        not null, -- the id of the topic of markers
    next_offset bigint      not null, -- where to go on there
    updated_at  timestamptz not null default clock_timestamp()
) with (fillfactor = 50);

create table projection_partitions (
    generation  bigint      not null references projection_positions on delete cascade,
    partition   integer     not null,
    topic       text        not null, -- its id: the offset means nothing in another one
    position    bigint      not null, -- every event of this partition up to here is in the rows, or parked
    last        bigint,               -- the last event that came this way; null until one has
    next_offset bigint      not null,
    updated_at  timestamptz not null default clock_timestamp(),
    primary key (generation, partition)
) with (fillfactor = 50);

create table reaction_partitions (
    reaction    text        not null,
    partition   integer     not null,
    topic       text        not null,
    position    bigint      not null,
    last        bigint,
    next_offset bigint      not null,
    updated_at  timestamptz not null default clock_timestamp(),
    primary key (reaction, partition)
) with (fillfactor = 50);

-- A key that was parked while its partition ran ahead of the others is taken up again as far as its partition is.
alter table projection_parked add column partition integer;

-- Up to where everything is there, whatever the partition: an idle one is as far as the relay.
create function whole_up_to(partition_at integer, topic_at text, position_at bigint) returns bigint
    language sql stable as $$
    select coalesce((
        select greatest(position_at, position) from relay_marks
        where topic = topic_at and position_at >= coalesce((prev ->> partition_at::text)::bigint, 0)), position_at)
$$;
