-- Who has had which event, and when: what the relay has put where, when each read model took it. Bounded, rebuilt by
-- nobody: what is swept away is still in the log, in Kafka and in the read models themselves.

create table relay_deliveries (
    id         bigint      not null generated always as identity primary key, -- rises, also where positions start again
    first      bigint      not null,
    last       bigint      not null, -- one transaction of the relay: everything up to here is in Kafka, or is private
    topic      text        not null,
    relayed_at timestamptz not null,
    runs       json        not null, -- [[partition, first offset, [positions from there on, less the batch's first]]]
    check (first <= last)
);

create index relay_deliveries_last on relay_deliveries (last);

-- No foreign keys in what follows: the rows are written in passing, with every batch, and must never be in its way.

create table projection_deliveries (
    generation bigint      not null,
    partition  smallint    not null, -- of Kafka; -1 where the log itself was followed
    up_to      bigint      not null,
    after      bigint      not null, -- the batch: after < position <= up_to
    applied_at timestamptz not null default clock_timestamp(),
    primary key (generation, partition, up_to)
);

-- A parked key that was taken up again: its events were late, whatever the batches say.
create table projection_retries (
    generation bigint      not null,
    key        uuid        not null,
    first      bigint      not null,
    up_to      bigint      not null,
    applied_at timestamptz not null default clock_timestamp(),
    primary key (generation, key, first)
);
