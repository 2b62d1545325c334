/** The tables. `S` stands for the quoted schema. All texts compare by their bytes, so that every node sorts alike. */
export function tables(S: string): string {
  return `
-- One row: what all share.
create table ${S}.meta (
  one         boolean primary key default true check (one),
  generation  bigint not null,               -- of the journal: a cursor of another one is a gap
  trimmed     xid8   not null default '0',   -- journal entries of this transaction and older ones are gone
  barrier_seq bigint not null default 0
);
insert into ${S}.meta (generation) values (0);

-- PostgreSQL empties an unlogged table when it recovers from a crash, and a promoted standby has it empty. Then
-- transactions that were told of may be gone, and their numbers given again: the journal starts a new generation.
create unlogged table ${S}.alive (
  generation bigint not null,
  xid        xid8   not null default pg_current_xact_id()
);

create table ${S}.session (
  handle    text collate "C" primary key,
  version   bigint not null,
  principal text collate "C",
  due       float8,                          -- ms since 1970; null: never
  record    text not null                    -- as encodeRecord writes it
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
create index session_due on ${S}.session (due, handle) where due is not null;

create table ${S}.credential (
  key    text collate "C" primary key,
  handle text collate "C" not null
);

create table ${S}.term (
  term   text collate "C" not null,
  handle text collate "C" not null,
  primary key (term, handle)
);

create table ${S}.principal (
  name  text collate "C" primary key,
  epoch bigint not null
) with (fillfactor = 80);

create table ${S}.barrier (
  id      text collate "C" primary key,
  seq     bigint not null,
  until   float8,
  barrier text not null
);

-- The outbox that followers read, trimmed by age and count.
create sequence ${S}.journal_seq;
create table ${S}.journal (
  xid     xid8   not null default pg_current_xact_id(),
  seq     bigint not null,
  horizon xid8   not null default pg_snapshot_xmin(pg_current_snapshot()),
  at      float8 not null,
  entry   text   not null,
  primary key (xid, seq)
) with (autovacuum_vacuum_scale_factor = 0.05);

-- A session's own entries, kept as long as it is.
create table ${S}.timeline (
  handle  text collate "C" not null,
  seq     bigint not null,
  xid     xid8   not null default pg_current_xact_id(),
  horizon xid8   not null default pg_snapshot_xmin(pg_current_snapshot()),
  entry   text   not null,
  primary key (handle, seq)
);

create table ${S}.ticket (
  key        text collate "C" primary key,
  value      bytea  not null,
  expires_at float8 not null
) with (autovacuum_vacuum_scale_factor = 0.05);
create index ticket_expiry on ${S}.ticket (expires_at);

create table ${S}.node (
  id    text collate "C" primary key,
  epoch bigint not null,
  lease text   not null
);`;
}
