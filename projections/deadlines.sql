-- What is due when; followed by the runner of deadlines, which reads nothing else.

create table deadlines (
    kind      text        not null, -- type of the event that set it
    stream_id uuid        not null,
    key       uuid        not null, -- the attempt of a hold, else the stream
    position  bigint      not null, -- of that event
    due_at    timestamptz not null,
    primary key (stream_id, key)
);
create index deadlines_due on deadlines (due_at);
create index deadlines_in_order on deadlines (position);
