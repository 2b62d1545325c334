import { SEPARATOR_SQL } from "./column.ts";

/**
 * What is written, as functions: one round trip and one transaction for a whole batch, with an outcome for each item.
 * A batch comes sorted (items by handle, keys by key), so that batches of several processes meet in the same order and
 * never deadlock. `lockClass` keeps our advisory locks apart from those of other schemas and programs.
 */
export function writeFunctions(S: string, lockClass: number): string {
  return `
-- Begins every write: how long it may wait for others, and whether its commit waits for the disk.
create function ${S}.begin_write(p_flush boolean, p_wait_ms int) returns void
language plpgsql as $$
begin
  perform set_config('lock_timeout', p_wait_ms::text, true);
  if not p_flush then
    perform set_config('synchronous_commit', 'off', true);
  elsif current_setting('synchronous_commit') = 'off' then
    perform set_config('synchronous_commit', 'on', true);
  end if;
end $$;

-- Writes entries into the journal and, those of a session, into its timeline.
create function ${S}.write_entries(p_handles text[], p_entries text[], p_at float8) returns void
language plpgsql set enable_seqscan = off set jit = off as $$
declare
  full_handles text[];
  h text;
begin
  if p_entries is null or cardinality(p_entries) = 0 then return; end if;
  with e as materialized (
    select nextval('${S}.journal_seq') as seq, u.handle, u.entry from unnest(p_handles, p_entries) as u(handle, entry)
  ), j as (
    insert into ${S}.journal (seq, at, entry) select e.seq, p_at, e.entry from e
  ), t as (
    insert into ${S}.timeline (handle, seq, entry) select e.handle, e.seq, e.entry from e where e.handle is not null
    returning handle, seq
  )
  -- Now and then a look whether the timeline has grown too long.
  select array_agg(distinct t.handle) into full_handles from t where t.seq % 64 = 0;
  if full_handles is null then return; end if;
  foreach h in array full_handles loop
    delete from ${S}.timeline t
     where t.handle = h
       and t.seq < (select k.seq from ${S}.timeline k where k.handle = h order by k.seq desc offset 1023 limit 1);
  end loop;
end $$;

-- Creates hold the shared lock of their principal's shard and of the barriers until they are committed;
-- who raises an epoch or a barrier holds it alone. So a create is either seen by the one who raises, or refused.
create function ${S}.create_sessions(
  p_handles text[], p_principals text[], p_dues float8[], p_records text,
  p_epochs float8[], p_barrier_seqs float8[], p_shards int[],
  p_key_items int[], p_keys text[], p_term_items int[], p_terms text[],
  p_entry_items int[], p_entry_handles text[], p_entries text,
  p_at float8, p_flush boolean, p_wait_ms int
) returns text[]
language plpgsql set enable_seqscan = off set jit = off as $$
declare
  records text[] := string_to_array(p_records, ${SEPARATOR_SQL});
  entries text[] := string_to_array(p_entries, ${SEPARATOR_SQL});
  outcomes text[] := array_fill('created'::text, array[cardinality(p_handles)]);
  won boolean[] := array_fill(false, array[cardinality(p_keys)]);
  barriers bigint;
  raised bigint;
  shard int;
  i int;
  k int;
begin
  perform ${S}.begin_write(p_flush, p_wait_ms);
  foreach shard in array p_shards loop
    perform pg_advisory_xact_lock_shared(${lockClass}, shard);
  end loop;
  select m.barrier_seq into barriers from ${S}.meta m where m.one;
  for i in 1 .. cardinality(p_handles) loop
    raised := 0;
    if p_principals[i] is not null then
      select p.epoch into raised from ${S}.principal p where p.name = p_principals[i];
    end if;
    if p_barrier_seqs[i] <> barriers or p_epochs[i] <> coalesce(raised, 0) then
      outcomes[i] := 'stale-standing';
    end if;
  end loop;
  for k in 1 .. cardinality(p_keys) loop
    i := p_key_items[k];
    if outcomes[i] = 'created' then
      insert into ${S}.credential (key, handle) values (p_keys[k], p_handles[i]) on conflict do nothing;
      if found then won[k] := true; else outcomes[i] := 'exists'; end if;
    end if;
  end loop;
  for i in 1 .. cardinality(p_handles) loop
    if outcomes[i] = 'created' then
      insert into ${S}.session (handle, version, principal, due, record)
      values (p_handles[i], 1, p_principals[i], p_dues[i], records[i]) on conflict do nothing;
      if not found then outcomes[i] := 'exists'; end if;
    end if;
  end loop;
  for k in 1 .. cardinality(p_keys) loop
    if won[k] and outcomes[p_key_items[k]] = 'exists' then
      delete from ${S}.credential c where c.key = p_keys[k];
    end if;
  end loop;
  insert into ${S}.term (term, handle)
    select t.term, p_handles[t.item] from unnest(p_term_items, p_terms) as t(item, term)
     where outcomes[t.item] = 'created'
    on conflict do nothing;
  perform ${S}.write_entries(array_agg(e.handle order by e.n), array_agg(e.entry order by e.n), p_at)
     from unnest(p_entry_items, p_entry_handles, entries) with ordinality as e(item, handle, entry, n)
    where outcomes[e.item] = 'created';
  return outcomes;
end $$;

-- The rows are found one by one in the order of the batch, by the index whatever the planner thinks, and changed by
-- their place (ctid). Of a row that another transaction changes first the newest version is looked at again, and left
-- alone because of its number.
create function ${S}.update_sessions(
  p_handles text[], p_versions bigint[], p_dues float8[], p_records text,
  p_key_items int[], p_keys text[], p_lost_key_items int[], p_lost_keys text[],
  p_term_items int[], p_terms text[], p_lost_term_items int[], p_lost_terms text[],
  p_entry_items int[], p_entry_handles text[], p_entries text,
  p_at float8, p_flush boolean, p_wait_ms int
) returns text[]
language plpgsql set enable_seqscan = off set jit = off as $$
declare
  records text[] := string_to_array(p_records, ${SEPARATOR_SQL});
  entries text[] := string_to_array(p_entries, ${SEPARATOR_SQL});
  outcomes text[] := array_fill('conflict'::text, array[cardinality(p_handles)]);
  refused boolean[] := array_fill(false, array[cardinality(p_handles)]);
  won boolean[];
  updated int := 0;
  i int;
  k int;
begin
  perform ${S}.begin_write(p_flush, p_wait_ms);
  -- New keys first, under the records' locks: whether they are free decides about the update.
  if cardinality(p_keys) > 0 then
    won := array_fill(false, array[cardinality(p_keys)]);
    for i in 1 .. cardinality(p_handles) loop
      perform from ${S}.session s where s.handle = p_handles[i] and s.version = p_versions[i] for no key update;
      if not found then refused[i] := true; end if;
    end loop;
    for k in 1 .. cardinality(p_keys) loop
      i := p_key_items[k];
      if not refused[i] then
        insert into ${S}.credential (key, handle) values (p_keys[k], p_handles[i]) on conflict do nothing;
        won[k] := found;
        if not found then
          perform from ${S}.credential c where c.key = p_keys[k] and c.handle = p_handles[i];
          if not found then refused[i] := true; end if;
        end if;
      end if;
    end loop;
    for k in 1 .. cardinality(p_keys) loop
      if won[k] and refused[p_key_items[k]] then
        delete from ${S}.credential c where c.key = p_keys[k];
      end if;
    end loop;
  end if;
  for i in
    update ${S}.session s set version = q.version + 1, due = q.due, record = q.record
      from (
        select b.n, b.version, b.due, b.record, l.place
          from unnest(p_handles, p_versions, p_dues, records, refused) with ordinality
               as b(handle, version, due, record, refused, n)
          cross join lateral (
            select o.ctid as place from ${S}.session o where o.handle = b.handle and o.version = b.version limit 1
          ) as l
         where not b.refused
      ) as q
     where s.ctid = q.place and s.version = q.version
    returning q.n
  loop
    outcomes[i] := 'updated';
    updated := updated + 1;
  end loop;
  if updated < cardinality(p_handles) then
    for i in 1 .. cardinality(p_handles) loop
      if outcomes[i] = 'conflict' then
        perform from ${S}.session s where s.handle = p_handles[i];
        if not found then outcomes[i] := 'absent'; end if;
      end if;
    end loop;
  end if;
  if cardinality(p_lost_keys) > 0 then
    delete from ${S}.credential c
     using unnest(p_lost_key_items, p_lost_keys) as l(item, key)
     where c.key = l.key and c.handle = p_handles[l.item] and outcomes[l.item] = 'updated';
  end if;
  if cardinality(p_lost_terms) > 0 then
    delete from ${S}.term t
     using unnest(p_lost_term_items, p_lost_terms) as l(item, term)
     where t.term = l.term and t.handle = p_handles[l.item] and outcomes[l.item] = 'updated';
  end if;
  if cardinality(p_terms) > 0 then
    insert into ${S}.term (term, handle)
      select t.term, p_handles[t.item] from unnest(p_term_items, p_terms) as t(item, term)
       where outcomes[t.item] = 'updated'
      on conflict do nothing;
  end if;
  if updated = cardinality(p_handles) then
    perform ${S}.write_entries(p_entry_handles, entries, p_at);
  elsif cardinality(entries) > 0 then
    perform ${S}.write_entries(array_agg(e.handle order by e.n), array_agg(e.entry order by e.n), p_at)
       from unnest(p_entry_items, p_entry_handles, entries) with ordinality as e(item, handle, entry, n)
      where outcomes[e.item] = 'updated';
  end if;
  return outcomes;
end $$;

create function ${S}.purge_sessions(
  p_handles text[], p_versions bigint[], p_key_items int[], p_keys text[], p_term_items int[], p_terms text[],
  p_wait_ms int
) returns boolean[]
language plpgsql set enable_seqscan = off set jit = off as $$
declare
  purged boolean[] := array_fill(false, array[cardinality(p_handles)]);
  i int;
  k int;
begin
  perform ${S}.begin_write(false, p_wait_ms);
  for i in 1 .. cardinality(p_handles) loop
    delete from ${S}.session s where s.handle = p_handles[i] and s.version = p_versions[i];
    purged[i] := found;
    if found then delete from ${S}.timeline t where t.handle = p_handles[i]; end if;
  end loop;
  for k in 1 .. cardinality(p_keys) loop
    if purged[p_key_items[k]] then
      delete from ${S}.credential c where c.key = p_keys[k] and c.handle = p_handles[p_key_items[k]];
    end if;
  end loop;
  for k in 1 .. cardinality(p_terms) loop
    if purged[p_term_items[k]] then
      delete from ${S}.term t where t.term = p_terms[k] and t.handle = p_handles[p_term_items[k]];
    end if;
  end loop;
  return purged;
end $$;

-- Entries that go with no change of a record. Those of a session that is gone are told, but kept in no timeline.
create function ${S}.append_entries(p_handles text[], p_entries text, p_at float8, p_wait_ms int) returns void
language plpgsql set enable_seqscan = off set jit = off as $$
declare
  entries text[] := string_to_array(p_entries, ${SEPARATOR_SQL});
  kept text[];
begin
  perform ${S}.begin_write(false, p_wait_ms);
  -- Held against a purge until this is committed, so that no entry outlives its session.
  kept := array(
    select s.handle from ${S}.session s where s.handle = any(p_handles) order by s.handle for key share
  );
  perform ${S}.write_entries(
    array_agg(case when e.handle = any(kept) then e.handle end order by e.n), array_agg(e.entry order by e.n), p_at
  ) from unnest(p_handles, entries) with ordinality as e(handle, entry, n);
end $$;`;
}
