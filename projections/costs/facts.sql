-- What every attempt cost, and sums that reports are read from: a fact is written once, every sum moves with it.

create table cost_facts (
    cost_id      uuid        not null primary key,
    position     bigint      not null, -- where it was recorded
    corrected_at bigint,               -- the position where late usage replaced an estimate
    recorded_at  timestamptz not null, -- a change counts here too, unless the month is closed
    project_id   uuid,
    phase        text,
    agent_id     uuid,
    key_id       uuid,                 -- the access key of whoever asked, or started the project
    job_id       uuid        not null,
    attempt_id   uuid        not null,
    provider     text        not null,
    model        text        not null,
    tier         text,                 -- as served; null while nobody has counted
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

-- A series is one choice of values for the dimensions of one cut; `cut` is the bit mask of those that it leaves out, in
-- the order project, phase, agent, provider, model, key, tier.
create table cost_series (
    series           uuid    not null primary key, -- named by its cut and values
    cut              int     not null,
    project_id       uuid,
    phase            text,
    agent_id         uuid,
    provider         text,
    model            text,
    key_id           uuid,
    tier             text
);
create index cost_series_of_project on cost_series (cut, project_id, agent_id);

-- The sums of a series in months and days of UTC and, for most cuts, in quarters of an hour: every time zone's days
-- begin at one. `begins` is where they do.
create table cost_months (
    series           uuid    not null,
    cut              int     not null, -- of the series: many of them are read in the order of time
    begins           timestamptz not null,
    attempts         bigint  not null,
    estimated        bigint  not null, -- attempts whose provider did not count
    input_tokens     bigint  not null,
    output_tokens    bigint  not null,
    cached_tokens    bigint  not null,
    cache_write_tokens bigint not null,
    reasoning_tokens bigint  not null,
    amount           numeric(30, 12) not null,
    estimated_amount numeric(30, 12) not null,
    primary key (series, begins)
) with (fillfactor = 80);
create index cost_months_in_time on cost_months (cut, begins);

create table cost_days (like cost_months, primary key (series, begins)) with (fillfactor = 80);
create index cost_days_in_time on cost_days (cut, begins);

create table cost_quarters (like cost_months, primary key (series, begins));
create index cost_quarters_in_time on cost_quarters (cut, begins);

-- What is counted besides tokens of text: sound, pictures, uses of tools. Rare, so it takes room only where it occurs.
create table cost_uses (
    series   uuid        not null,
    grain    text        not null, -- month, day, quarter
    begins   timestamptz not null,
    bucket   text        not null,
    quantity bigint      not null,
    primary key (series, grain, begins, bucket)
);

-- Names of projects and agents, so that a report can be read.
create table cost_names (
    id   uuid not null primary key,
    name text not null
);
