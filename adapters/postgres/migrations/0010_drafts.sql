-- Answers while they are being written, for those who watch; and who must not stop watching.

-- A courtesy beside the log, so not logged: after a crash of the server it is empty, and the log has the whole answer.
-- `start` counts characters: the pieces of an attempt lie side by side, and a hole is seen by whoever reads them.
create unlogged table llm_job_drafts (
    job_id     uuid        not null,
    attempt    integer     not null,
    start      integer     not null,
    sealed     text        not null,
    written_at timestamptz not null default clock_timestamp(),
    primary key (job_id, attempt, start)
);

-- Jobs that nobody wants any more once nobody reads their answer: a promise about money, so it is as durable as the log.
create table llm_job_readers (
    job_id        uuid        not null primary key,
    grace_seconds integer     not null,
    seen_at       timestamptz not null default clock_timestamp()
);
