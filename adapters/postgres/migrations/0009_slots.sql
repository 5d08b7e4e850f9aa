-- A lease is a grant: it says which worker calls for a job, which slots the call takes, and since when, so that slots
-- and turns are counted where they are given out. Its fence rises with every grant and tells a worker that was silent
-- for too long from whoever came after it.

create sequence lease_fences;
alter table leases
    add column fence      bigint      not null default nextval('lease_fences'),
    add column granted_at timestamptz not null default clock_timestamp(),
    add column share      uuid,
    add column weight     integer     not null default 1,
    add column occupies   text[]      not null default '{}';

-- What each share has had: weighted seconds of calls that are over, and where its latest one began. A share without a
-- row begins where the latest of all began, so rows that are behind are swept away.
create table queue_shares (
    share uuid             not null primary key,
    spent double precision not null,
    began double precision not null
);

-- When a job of a share and priority was last given out: what waits for longer is lifted.
create table queue_lanes (
    share     uuid        not null,
    priority  integer     not null,
    served_at timestamptz not null,
    primary key (share, priority)
);

-- The time by which events are recorded: it stands still where the server's clock was set back.
create function log_clock() returns timestamptz
    language sql as
$$
select greatest(clock_timestamp(), (select recorded_at from events order by position desc limit 1))
$$;

-- Gives jobs to a worker in the order in which they are named, each with a slot of everything that is limited. Those
-- who want slots of the same limited thing wait for each other; nobody else does. Each statement in here sees what was
-- committed before it began, so a slot that was taken while this one waited is counted.
create function claim_calls(wanted jsonb, worker text, stale_after double precision)
    returns table (job_id uuid, granted bigint)
    language plpgsql as
$$
declare
    wish   record;
    fresh  constant timestamptz      := clock_timestamp() - make_interval(secs => stale_after);
    latest constant double precision := coalesce((select max(began) from queue_shares), 0);
    busy   constant uuid[] := array(select distinct share from leases where heartbeat_at >= fresh and share is not null);
    served uuid[]    := '{}';
    urgent integer[] := '{}';
begin
    perform pg_advisory_xact_lock(hashtextextended('toybox.slots.' || current_schema() || '.' || limited.name, 0))
    from (select distinct slot.key as name
          from jsonb_array_elements(wanted) as job, jsonb_each(job -> 'limits') as slot
          order by 1) as limited;
    for wish in
        select * from jsonb_to_recordset(wanted)
            as (job uuid, share uuid, weight integer, priority integer, occupies text[], limits jsonb)
    loop
        -- Two workers that want the same jobs in different orders must not wait for each other.
        continue when not pg_try_advisory_xact_lock(
            hashtextextended('toybox.job.' || current_schema() || '.' || wish.job, 0));
        continue when exists (
            select from jsonb_each_text(wish.limits) as slot
            where slot.value::integer <= (
                select count(*) from leases where slot.key = any (leases.occupies) and leases.heartbeat_at >= fresh));
        insert into leases as held (resource, holder, share, weight, occupies)
        values (wish.job, worker, wish.share, wish.weight, wish.occupies)
        on conflict (resource) do update
            set holder = excluded.holder, fence = excluded.fence, share = excluded.share, weight = excluded.weight,
                occupies = excluded.occupies, granted_at = clock_timestamp(), heartbeat_at = clock_timestamp()
            where held.heartbeat_at < fresh
        returning held.resource, held.fence into job_id, granted;
        continue when not found;
        served := served || wish.share;
        urgent := urgent || wish.priority;
        return next;
    end loop;
    -- Whoever was idle begins where the latest began. In one order, so that those who serve the same shares never wait
    -- in a circle.
    insert into queue_shares as known (share, spent, began)
    select share, latest, latest from unnest(served) as share group by share order by share
    on conflict (share) do update
        set spent = case when known.share = any (busy) then known.spent else greatest(known.spent, latest) end,
            began = case when known.share = any (busy) then known.spent else greatest(known.spent, latest) end;
    insert into queue_lanes (share, priority, served_at)
    select share, priority, log_clock() from unnest(served, urgent) as lane (share, priority)
    group by share, priority order by share, priority
    on conflict (share, priority) do update set served_at = excluded.served_at;
end
$$;
