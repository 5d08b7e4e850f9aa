-- A readable line for every public event, and the names of the streams that lines speak of.

create table system_log (
    position    bigint      not null primary key,
    recorded_at timestamptz not null,
    project_id  uuid,
    stream_id   uuid        not null,
    type        text        not null,
    actor       text        not null,
    level       text        not null check (level in ('info', 'warning', 'error')),
    line        text        not null
);
create index system_log_of_project on system_log (project_id, position);
create index system_log_of_stream on system_log (stream_id, position);
create index system_log_of_type on system_log (type, position);
create index system_log_of_actor on system_log (actor, position);
create index system_log_of_level on system_log (level, position);

create table system_log_names (
    stream_id uuid not null primary key,
    name      text not null
);
