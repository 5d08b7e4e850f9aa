-- Secrets of provider keys, each under a key of its own that the key-encryption key wraps; the log knows them by id.

create table provider_secrets (
    secret_id uuid        not null primary key,
    key_id    uuid        not null,
    kek       text        not null, -- which key-encryption key wrapped it: says what is missing when it does not open
    wrapped   bytea       not null,
    sealed    bytea       not null,
    kept_at   timestamptz not null default clock_timestamp()
);

-- Which keys a provider has is asked of the log itself: no read model may be behind when money is spent.
create index events_of_provider_keys on events ((data ->> 'provider')) where type = 'provider_key.stored';
