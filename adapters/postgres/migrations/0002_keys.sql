-- Keys that seal text and content, one for each project, stream or person, wrapped by the master key.

create table subject_keys (
    subject      uuid        not null primary key,
    wrapped      bytea,                -- null once destroyed: what it sealed is erased
    created_at   timestamptz not null default clock_timestamp(),
    destroyed_at timestamptz,
    check ((wrapped is null) = (destroyed_at is not null))
);
