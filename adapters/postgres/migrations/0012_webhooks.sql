-- Webhooks: their secrets, how far each of them is, what was given up, and the last tries. All of it beside the log:
-- who is told of what is said by events, and the positions here may be set back by events at any time.

create table webhook_secrets (
    secret_id uuid        not null primary key,
    key_id    uuid        not null, -- the webhook
    kek       text        not null,
    wrapped   bytea       not null,
    sealed    bytea       not null,
    kept_at   timestamptz not null default clock_timestamp()
);

create table webhook_places (
    webhook_id        uuid        not null primary key,
    told_at           bigint      not null, -- what the log says of this webhook up to here was acted upon: the fence
    position          bigint      not null, -- everything up to here has arrived, is a dead letter, or was not wanted
    attempts          integer     not null default 0, -- of the next delivery
    next_try_at       timestamptz,
    failing_since     timestamptz,
    delivered         bigint      not null default 0,
    last_delivered_at timestamptz,
    last_problem      text
);

create table webhook_dead_letters (
    webhook_id  uuid        not null,
    position    bigint      not null,
    event_id    text        not null,
    type        text        not null,
    attempts    integer     not null,
    status      integer,
    problem     text        not null,
    said        text        not null,
    died_at     timestamptz not null default clock_timestamp(),
    requeued_at timestamptz,
    primary key (webhook_id, position)
);

-- The last tries, for whoever wonders; older ones are pruned.
create table webhook_attempts (
    id           bigint      not null generated always as identity primary key,
    webhook_id   uuid        not null,
    position     bigint      not null,
    event_id     text        not null,
    type         text        not null,
    number       integer     not null,
    outcome      text        not null check (outcome in ('delivered', 'failed', 'dead')),
    status       integer,
    problem      text,
    said         text        not null,
    milliseconds integer     not null,
    at           timestamptz not null default clock_timestamp()
);

create index webhook_attempts_of on webhook_attempts (webhook_id, id desc);

-- Which webhooks there are is asked of the log itself: no read model may be behind when something is to be delivered.
create index events_of_webhooks on events (position) where type = 'webhook.subscribed';
