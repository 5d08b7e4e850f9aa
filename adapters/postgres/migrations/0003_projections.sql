-- How far each read model is. The read tables themselves are disposable and made by their projection.

create table projection_positions (
    generation bigint      not null generated always as identity primary key, -- one build of one projection
    projection text        not null,
    version    integer     not null check (version > 0),
    status     text        not null check (status in ('live', 'building', 'old')),
    position   bigint      not null default 0 check (position >= 0),
    tables     text[]      not null default '{}', -- what this generation keeps in the schema that readers use
    started_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp()
) with (fillfactor = 50); -- one update for each batch: they stay on the page

create unique index projection_positions_live on projection_positions (projection) where status = 'live';
create unique index projection_positions_building on projection_positions (projection) where status = 'building';

-- Keys whose event could not be folded: it and what follows it under the same key wait here for a retry.
create table projection_parked (
    generation bigint      not null references projection_positions on delete cascade,
    key        uuid        not null, -- project_id of the event, else its stream_id
    projection text        not null,
    position   bigint      not null, -- the first event that waits
    type       text        not null,
    reason     text        not null,
    parked_at  timestamptz not null default clock_timestamp(),
    primary key (generation, key)
);
