-- What the sample tables keep: a line for each amount, and its sum by project.

create table sample_lines (
    position bigint not null primary key,
    project_id uuid not null,
    amount integer not null check (amount <> 666) -- refused by the table itself
);
create index sample_lines_of_project on sample_lines (project_id, position);

create table sample_sums (
    project_id uuid not null primary key,
    amount bigint not null
);
