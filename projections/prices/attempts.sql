-- What was priced on which day, what waits for its real usage, and every change of a price that was recorded.

create table priced_attempts (
    cost_id     uuid        not null primary key,
    position    bigint      not null, -- where its cost was recorded
    recorded_at timestamptz not null,
    recorded_on date        not null, -- in UTC
    priced_on   date        not null, -- the day whose prices hold
    project_id  uuid,
    agent_id    uuid,
    job_id      uuid        not null,
    attempt_id  uuid        not null,
    provider    text        not null,
    model       text        not null,
    amount      numeric(30, 12) not null,
    estimated   boolean     not null,
    counted     boolean     not null, -- whether anybody knows what it used
    problem     text
);
create index priced_attempts_by_day on priced_attempts (provider, priced_on, position);
create index priced_attempts_in_order on priced_attempts (provider, position);
create index estimates_in_order on priced_attempts (position) where estimated;
create unique index priced_attempts_by_attempt on priced_attempts (attempt_id);

create table cost_changes (
    position    bigint      not null primary key,
    cost_id     uuid        not null,
    kind        text        not null, -- corrected: real usage came later; re_rated: another price holds
    card        text,
    reason      text,
    actor       text        not null,
    recorded_at timestamptz not null,
    recorded_on date        not null, -- the day of the cost
    booked_on   date        not null, -- where the difference counts
    project_id  uuid,
    job_id      uuid        not null,
    attempt_id  uuid        not null,
    provider    text        not null,
    model       text        not null,
    previous    numeric(30, 12) not null,
    amount      numeric(30, 12) not null,
    delta       numeric(30, 12) not null
);
create index cost_changes_of_cards on cost_changes (card, position);
create index cost_changes_by_day on cost_changes (booked_on, position);

-- By what vendors' exports name an answer.
create table attempt_responses (
    attempt_id  uuid   not null primary key,
    job_id      uuid   not null,
    response_id text   not null
);
create index attempt_responses_by_id on attempt_responses (response_id);

create table used_models (
    provider text        not null,
    model    text        not null,
    asked    bigint      not null, -- jobs that were queued for it
    answered bigint      not null, -- attempts that it was paid for
    last_at  timestamptz not null,
    primary key (provider, model)
);

-- Counts that this release does not know: perhaps money that nobody prices.
create table usage_oddities (
    provider      text   not null,
    field         text   not null,
    attempts      bigint not null,
    last_position bigint not null,
    last_attempt  uuid   not null,
    primary key (provider, field)
);
