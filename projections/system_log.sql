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
-- Most lines are of level info: whoever wants those too finds enough of them in passing.
create index system_log_loud on system_log (position) where level <> 'info';
create index system_log_errors on system_log (position) where level = 'error';

create table system_log_names (
    stream_id uuid not null primary key,
    name      text not null
);
