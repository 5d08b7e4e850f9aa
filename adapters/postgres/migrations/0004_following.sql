-- What follows the log besides read models: how far each reaction is, what it could not answer, who runs which job.

create table reaction_positions (
    reaction   text        not null primary key,
    position   bigint      not null,
    updated_at timestamptz not null default clock_timestamp()
);

create table reaction_parked (
    reaction  text        not null,
    key       uuid        not null,
    position  bigint      not null,
    reason    text        not null,
    parked_at timestamptz not null default clock_timestamp(),
    primary key (reaction, position)
);

-- A lease says that a worker lives; only the attempt number in the job decides whose outcome counts.
create table leases (
    resource     uuid        not null primary key,
    holder       text        not null,
    heartbeat_at timestamptz not null default clock_timestamp()
);
create index leases_of_holder on leases (holder);
