-- What every attempt cost, and sums that reports are read from: a fact is written once, a sum moves with it.

create table cost_facts (
    cost_id      uuid        not null primary key,
    position     bigint      not null, -- where it was recorded
    corrected_at bigint,               -- the position where late usage replaced an estimate
    recorded_at  timestamptz not null,
    day          date        not null, -- of the recording, in UTC; a correction counts there too, unless the month is closed
    project_id   uuid,
    phase        text,
    agent_id     uuid,
    job_id       uuid        not null,
    attempt_id   uuid        not null,
    provider     text        not null,
    model        text        not null,
    input_tokens  bigint,              -- null where the provider did not count
    output_tokens bigint,
    cached_tokens bigint,              -- of the input, what a cache served
    reasoning_tokens bigint,           -- of the output; null where the provider does not say
    amount       numeric(30, 12) not null, -- one scale, so that equal sums are equal rows
    estimated    boolean     not null,
    problem      text,                 -- why it is an estimate
    usage        json,                 -- whole, as the provider counted; null where it did not
    lines        json        not null
);
create index cost_facts_in_order on cost_facts (position);
create index cost_facts_of_project on cost_facts (project_id, position);
create index cost_facts_of_agent on cost_facts (agent_id, position);
create index cost_facts_of_job on cost_facts (job_id);
create unique index cost_facts_of_attempt on cost_facts (attempt_id);

create table cost_rollups (
    day           date    not null,
    project_id    uuid,
    phase         text,
    agent_id      uuid,
    provider      text    not null,
    model         text    not null,
    attempts      bigint  not null,
    estimated     bigint  not null,
    input_tokens  bigint  not null,
    output_tokens bigint  not null,
    cached_tokens bigint  not null,
    reasoning_tokens bigint not null,
    amount        numeric(30, 12) not null,
    unique nulls not distinct (project_id, day, agent_id, phase, provider, model)
);
create index cost_rollups_by_day on cost_rollups (day);

-- Names of projects and agents, so that a report can be read.
create table cost_names (
    id   uuid not null primary key,
    name text not null
);
