import { createHash } from "node:crypto";
import type { PostgresStatement } from "./client.ts";
import { prepared } from "./client.ts";

type Prepared = (values: unknown[]) => PostgresStatement;

export interface LogStatements {
  /** handle, epoch → first, next, mark; no row when fenced */
  readonly open: Prepared;
  /** handles, epochs, froms, counts, marks, trims, then handle, number and bytes of all entries, then synchronous_commit */
  readonly append: Prepared;
  /** handle, from, limit → seq, bytes */
  readonly read: Prepared;
  /** handle, epoch → dropped */
  readonly drop: Prepared;
  /** after, limit → handle */
  readonly handles: Prepared;
}

/** The tables; whoever comes second waits for the first and finds nothing left to do. */
export function logTables(schema: string): string {
  const S = `"${schema}"`;
  const lock = createHash("sha256").update(`holdfast log ${schema}`).digest().readInt32BE(0);
  return `
do $$ begin
  perform pg_advisory_xact_lock(${lock});
  if to_regnamespace('${S}') is null then create schema ${S}; end if;
  create table if not exists ${S}.log_stream (
    handle text collate "C" primary key,
    fence int8 not null,
    first int8 not null,
    next int8 not null,
    mark bytea
  );
  create table if not exists ${S}.log_entry (
    handle text collate "C" not null,
    seq int8 not null,
    bytes bytea not null,
    primary key (handle, seq)
  );
end $$`;
}

export function logStatements(schema: string): LogStatements {
  const S = `"${schema}"`;
  return {
    open: prepared(`
insert into ${S}.log_stream as s (handle, fence, first, next) values ($1, $2, 0, 0)
on conflict (handle) do update set fence = excluded.fence where s.fence <= excluded.fence
returning first::float8 as first, next::float8 as next, mark`),
    // The rows are locked in one order, whatever the order of the call, so that two of these never wait for each other.
    append: prepared(`
with want as (
  select * from unnest($1::text[], $2::int8[], $3::int8[], $4::int4[], $5::bytea[], $6::int8[])
    with ordinality as w(handle, epoch, start, count, mark, trim, ord)
), found as materialized (
  select s.handle, s.fence, s.next from ${S}.log_stream s
  where s.handle = any($1::text[]) order by s.handle for update
), done as (
  update ${S}.log_stream s set
    next = f.next + w.count,
    mark = coalesce(w.mark, s.mark),
    first = greatest(s.first, least(w.trim, f.next + w.count))
  from want w join found f using (handle)
  where s.handle = w.handle and f.fence = w.epoch and f.next = w.start
  returning s.handle, s.first
), put as (
  insert into ${S}.log_entry (handle, seq, bytes)
  select e.handle, e.seq, e.bytes
  from unnest($7::text[], $8::int8[], $9::bytea[]) as e(handle, seq, bytes)
  join done d on d.handle = e.handle and e.seq >= d.first
), gone as (
  delete from ${S}.log_entry e using done d where e.handle = d.handle and e.seq < d.first
)
select case
  when d.handle is not null then 'appended'
  when f.fence > w.epoch then 'fenced'
  else 'misplaced' end as outcome,
  set_config('synchronous_commit', $10, true)
from want w left join done d using (handle) left join found f using (handle)
order by w.ord`),
    read: prepared(`
select seq::float8 as seq, bytes from ${S}.log_entry where handle = $1 and seq >= $2 order by seq limit $3`),
    drop: prepared(`
with gone as (
  delete from ${S}.log_stream where handle = $1 and fence <= $2 returning handle
), entries as (
  delete from ${S}.log_entry e using gone g where e.handle = g.handle
)
select exists (select 1 from gone) or not exists (select 1 from ${S}.log_stream where handle = $1) as dropped`),
    handles: prepared(`select handle from ${S}.log_stream where handle > $1 order by handle limit $2`),
  };
}
