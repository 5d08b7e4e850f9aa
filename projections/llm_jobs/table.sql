-- LLM jobs and their attempts. The dispatcher finds its work in llm_jobs: what is queued, and what runs without a lease.

create table llm_jobs (
    job_id            uuid        not null primary key,
    project_id        uuid,
    phase             text,
    agent_id          uuid,
    run               integer     not null, -- the agent's
    agent_attempt     integer     not null,
    provider          text        not null,
    model             text        not null,
    status            text        not null,
    priority          integer     not null,
    attempt           integer     not null, -- the job's own, 0 before the first
    max_attempts      integer     not null,
    max_output_tokens integer     not null,
    timeout_seconds   integer     not null,
    queued_position   bigint      not null,
    queued_at         timestamptz not null,
    not_before        timestamptz,
    due_at            timestamptz,          -- of the retry that it waits for
    started_at        timestamptz,          -- of the present attempt
    ended_at          timestamptz,
    worker            text,
    messages_digest   text,                 -- null: its prompt is rendered from its agent
    parked_at         timestamptz,
    parked_on         uuid,
    parked_scope      text,
    parked_name       text,                        -- which of the budget's limits
    parked_unit       text,                        -- what the figures count in
    parked_limit      numeric,
    parked_settled    numeric,
    parked_held       numeric,
    parked_requested  numeric,
    parked_until      timestamptz,                 -- when the limit's window ends
    failure           text,
    reason            text,
    note              text,                 -- what the provider said, sealed
    answered_by       text,                 -- the model that the provider names
    response_id       text,
    finish_reason     text,
    output_digest     text,
    output_size       bigint,
    output_sealed     text,
    input_tokens      bigint,
    output_tokens     bigint,
    cost              numeric,              -- of the answer; what failed attempts cost is in cost_facts
    queue_ms          bigint,
    first_token_ms    bigint,
    total_ms          bigint,
    delivered_to      text,
    key_id            uuid,                 -- the access key that asked
    deadline          timestamptz,          -- when it may not start any more
    ready_at          timestamptz not null, -- its place in its lane: when it was queued, or may start
    waits_since       timestamptz not null, -- for its next attempt
    lane              uuid        not null,
    dead_lettered_at  timestamptz,
    requeues          integer     not null,
    fallbacks         jsonb       not null, -- where else it may go, in order: [{provider, model}]
    target_provider   text        not null, -- where its present attempt went, or the next one goes
    target_model      text        not null,
    version           integer     not null,
    position          bigint      not null
);
create index llm_jobs_ready on llm_jobs (lane, ready_at, queued_position) where status = 'queued';
create index llm_jobs_coming on llm_jobs (ready_at) where status = 'queued';
create index llm_jobs_dead on llm_jobs (queued_position) where dead_lettered_at is not null;
create index llm_jobs_running on llm_jobs (started_at) where status = 'running';
create index llm_jobs_of_project on llm_jobs (project_id, queued_position);
create index llm_jobs_of_agent on llm_jobs (agent_id, queued_position);
create index llm_jobs_by_status on llm_jobs (status, queued_position);
create index llm_jobs_in_order on llm_jobs (queued_position);

create table llm_job_attempts (
    attempt_id      uuid        not null primary key,
    job_id          uuid        not null,
    attempt         integer     not null,
    status          text        not null,
    provider        text        not null,
    model           text        not null,
    rate_id         text        not null,
    bound           numeric     not null, -- the most that it can cost
    worker          text        not null,
    request_digest  text        not null,
    request_size    bigint      not null,
    request_sealed  text,
    admitted_at     timestamptz not null,
    started_at      timestamptz,
    hold_expires_at timestamptz,
    ended_at        timestamptz,
    reported_late   boolean     not null,
    failure         text,
    reason          text,
    note            text,
    input_tokens    bigint,
    output_tokens   bigint,
    total_ms        bigint,
    queue_ms        bigint,               -- how long the job waited for this attempt
    first_token_ms  bigint,
    position        bigint      not null,
    unique (job_id, attempt)
);
create index llm_job_attempts_of_provider on llm_job_attempts (provider, ended_at desc);

-- Circuits that are not closed: jobs all of whose targets are behind one are not worth a try.
create table open_circuits (
    provider      text        not null,
    model         text        not null, -- '' is the whole provider
    cause         text        not null,
    blocked_until timestamptz not null, -- infinity: until an operator closes it
    spares_last   boolean     not null, -- the last target of a job may be tried all the same
    primary key (provider, model)
);

-- Projects that do not run now: their queued jobs are not worth a try.
create table idle_projects (
    project_id uuid not null primary key
);

-- Jobs that are alike in project, priority, targets and key wait in one lane, and take the same slots.
create table llm_job_lanes (
    lane       uuid    not null primary key,
    share      uuid    not null, -- the project, else the key, else nobody
    project_id uuid,
    key_id     uuid,
    priority   integer not null,
    targets    jsonb   not null -- where its jobs may go, whose turn it is first: [{provider, model}]
);

-- Execution settings, each number by its name: what is not here has its default, or no maximum.
create table queue_rules (
    name   text    not null primary key,
    number integer not null
);
