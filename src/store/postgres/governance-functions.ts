/** The lock that stands for all barriers; the 64 before it are the shards'. */
export const BARRIER_LOCK = 64;
export const MIGRATION_LOCK = 65;
const TRIM_LOCK = 66;

/** What stands above single sessions, single-use values, and the upkeep of the journal. */
export function governanceFunctions(S: string, lockClass: number): string {
  return `
-- Answers the new epoch; null when the principal's, or a kept session, has changed since they were read: read again.
-- Without p_epoch nothing was read, and there is nothing to keep.
create function ${S}.raise_epoch(
  p_principal text, p_shard int, p_epoch bigint,
  p_handles text[], p_versions bigint[], p_records text[], p_entry text, p_at float8, p_wait_ms int
) returns float8
language plpgsql set enable_seqscan = off set jit = off as $$
declare
  old bigint;
  i int;
begin
  perform ${S}.begin_write(true, p_wait_ms);
  perform pg_advisory_xact_lock(${lockClass}, p_shard);
  select p.epoch into old from ${S}.principal p where p.name = p_principal;
  old := coalesce(old, 0);
  if old <> p_epoch then return null; end if;
  for i in 1 .. cardinality(p_handles) loop
    perform from ${S}.session s where s.handle = p_handles[i] and s.version = p_versions[i] for no key update;
    if not found then return null; end if;
  end loop;
  for i in 1 .. cardinality(p_handles) loop
    update ${S}.session s set version = s.version + 1, record = p_records[i] where s.handle = p_handles[i];
  end loop;
  insert into ${S}.principal (name, epoch) values (p_principal, old + 1)
    on conflict (name) do update set epoch = excluded.epoch;
  perform ${S}.write_entries(array[null::text], array[p_entry], p_at);
  return old + 1;
end $$;

create function ${S}.raise_barrier(
  p_id text, p_until float8, p_barrier text, p_entry text, p_at float8, p_wait_ms int
) returns float8
language plpgsql as $$
declare
  raised bigint;
begin
  perform ${S}.begin_write(true, p_wait_ms);
  perform pg_advisory_xact_lock(${lockClass}, ${BARRIER_LOCK});
  update ${S}.meta set barrier_seq = barrier_seq + 1 returning barrier_seq into raised;
  insert into ${S}.barrier (id, seq, until, barrier) values (p_id, raised, p_until, p_barrier)
    on conflict (id) do update set seq = excluded.seq, until = excluded.until, barrier = excluded.barrier;
  perform ${S}.write_entries(array[null::text], array[p_entry], p_at);
  return raised;
end $$;

create function ${S}.lift_barrier(p_id text, p_entry text, p_at float8, p_wait_ms int) returns boolean
language plpgsql as $$
begin
  perform ${S}.begin_write(true, p_wait_ms);
  delete from ${S}.barrier b where b.id = p_id;
  if not found then return false; end if;
  perform ${S}.write_entries(array[null::text], array[p_entry], p_at);
  return true;
end $$;

create function ${S}.put_node(p_id text, p_epoch bigint, p_lease text, p_expect bigint, p_wait_ms int) returns boolean
language plpgsql as $$
begin
  perform ${S}.begin_write(true, p_wait_ms);
  if p_expect = 0 then
    insert into ${S}.node (id, epoch, lease) values (p_id, p_epoch, p_lease)
      on conflict (id) do update set epoch = excluded.epoch, lease = excluded.lease where node.epoch = 0;
  else
    update ${S}.node n set epoch = p_epoch, lease = p_lease where n.id = p_id and n.epoch = p_expect;
  end if;
  return found;
end $$;

-- Tickets come sorted by key, each key once.
create function ${S}.put_tickets(p_keys text[], p_values bytea[], p_expiries float8[], p_now float8, p_wait_ms int)
returns boolean[]
language plpgsql set enable_seqscan = off set jit = off as $$
declare
  kept boolean[] := array_fill(false, array[cardinality(p_keys)]);
  i int;
begin
  perform ${S}.begin_write(false, p_wait_ms);
  for i in 1 .. cardinality(p_keys) loop
    insert into ${S}.ticket as t (key, value, expires_at) values (p_keys[i], p_values[i], p_expiries[i])
      on conflict (key) do update set value = excluded.value, expires_at = excluded.expires_at
      where t.expires_at <= p_now;
    kept[i] := found;
  end loop;
  return kept;
end $$;

create function ${S}.take_tickets(p_keys text[], p_wait_ms int)
returns table (key text, value bytea, expires_at float8)
language plpgsql set enable_seqscan = off set jit = off as $$
declare
  one text;
begin
  perform ${S}.begin_write(false, p_wait_ms);
  foreach one in array p_keys loop
    return query delete from ${S}.ticket t where t.key = one returning t.key, t.value, t.expires_at;
  end loop;
end $$;

-- After a crash, a promotion or a move to another cluster: a new generation of the journal.
create function ${S}.revive() returns void
language plpgsql as $$
begin
  perform from ${S}.meta m for update;
  perform from ${S}.journal_head() h where h.alive;
  if found then return; end if;
  delete from ${S}.alive;
  delete from ${S}.journal;
  -- Every place before this moment is gone; transactions under way are not.
  update ${S}.meta set generation = generation + 1,
    trimmed = (pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1)::text::xid8;
  insert into ${S}.alive (generation) select m.generation from ${S}.meta m;
end $$;

-- Drops the oldest journal entries of at most p_chunk; answers how many went.
create function ${S}.trim_journal(p_keep bigint, p_before float8, p_chunk int) returns int
language plpgsql set enable_seqscan = off set jit = off as $$
declare
  newest bigint;
  edge xid8;
  gone int;
begin
  if not pg_try_advisory_xact_lock(${lockClass}, ${TRIM_LOCK}) then return 0; end if;
  select s.last_value into newest from ${S}.journal_seq s;
  with oldest as materialized (
    select j.xid, j.seq, j.at from ${S}.journal j order by j.xid, j.seq limit p_chunk
  ), first_kept as (
    -- What an older transaction, still under way, may yet add comes before none of those that are dropped.
    select o.xid from oldest o
     where not (o.seq <= newest - p_keep or o.at < p_before) or o.xid >= pg_snapshot_xmin(pg_current_snapshot())
     order by o.xid limit 1
  )
  select o.xid into edge from oldest o
   where not exists (select from first_kept f where o.xid >= f.xid) order by o.xid desc limit 1;
  if edge is null then return 0; end if;
  update ${S}.meta set trimmed = edge;
  delete from ${S}.journal j where j.xid <= edge;
  get diagnostics gone = row_count;
  return gone;
end $$;

create function ${S}.forget_expired(p_now float8, p_chunk int) returns int
language plpgsql set enable_seqscan = off set jit = off as $$
declare
  gone int;
begin
  delete from ${S}.barrier b where b.until <= p_now;
  delete from ${S}.ticket t where t.key in (
    select o.key from ${S}.ticket o where o.expires_at <= p_now order by o.expires_at limit p_chunk for update skip locked
  );
  get diagnostics gone = row_count;
  return gone;
end $$;`;
}
