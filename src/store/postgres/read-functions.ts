import { SEPARATOR_SQL } from "./column.ts";

/**
 * What is read, as functions: their plans are made once for each connection, always follow the indexes (a plan made
 * while the tables were small would not), and see one snapshot (STABLE), so that a rotation is seen whole or not at all.
 * Without `jit = off`, whatever cannot follow an index would be so "expensive" that PostgreSQL compiles it for 100 ms.
 */
export function readFunctions(S: string): string {
  return `
-- One text for all that is found, "n epoch record" each, n being the place of what was asked: a row for each would cost
-- more on both sides than to find it.
create function ${S}.find_by_keys(p_keys text[]) returns text
language plpgsql stable set enable_seqscan = off set jit = off as $$
begin
  return (
    select string_agg(k.n || ' ' || coalesce(p.epoch, 0) || ' ' || s.record, ${SEPARATOR_SQL})
      from unnest(p_keys) with ordinality as k(key, n)
      cross join lateral (select c.handle from ${S}.credential c where c.key = k.key limit 1) as c
      cross join lateral (select s.record, s.principal from ${S}.session s where s.handle = c.handle limit 1) as s
      left join lateral (select p.epoch from ${S}.principal p where p.name = s.principal limit 1) as p on true
  );
end $$;

create function ${S}.find_by_handles(p_handles text[]) returns text
language plpgsql stable set enable_seqscan = off set jit = off as $$
begin
  return (
    select string_agg(h.n || ' ' || coalesce(p.epoch, 0) || ' ' || s.record, ${SEPARATOR_SQL})
      from unnest(p_handles) with ordinality as h(handle, n)
      cross join lateral (select s.record, s.principal from ${S}.session s where s.handle = h.handle limit 1) as s
      left join lateral (select p.epoch from ${S}.principal p where p.name = s.principal limit 1) as p on true
  );
end $$;

create function ${S}.standings(p_principals text[])
returns table (epoch float8, barrier_seq float8)
language plpgsql stable rows 100 set enable_seqscan = off set jit = off as $$
begin
  return query
    select coalesce(p.epoch, 0)::float8, m.barrier_seq::float8
      from ${S}.meta m
      cross join unnest(p_principals) with ordinality as w(name, n)
      left join lateral (select p.epoch from ${S}.principal p where p.name = w.name limit 1) as p on true
      where m.one
      order by w.n;
end $$;

create function ${S}.list_sessions(p_term text, p_after text, p_limit int)
returns table (record text, epoch float8)
language plpgsql stable rows 100 set enable_seqscan = off set jit = off as $$
begin
  return query
    select s.record, coalesce(p.epoch, 0)::float8
      from (select t.handle from ${S}.term t
             where t.term = p_term and t.handle > p_after order by t.handle limit p_limit) as t
      cross join lateral (select s.record, s.principal from ${S}.session s where s.handle = t.handle limit 1) as s
      left join lateral (select p.epoch from ${S}.principal p where p.name = s.principal limit 1) as p on true
      order by t.handle;
end $$;

create function ${S}.due_sessions(p_now float8, p_limit int)
returns table (record text)
language plpgsql stable rows 100 set enable_seqscan = off set jit = off as $$
begin
  return query
    select s.record from ${S}.session s where s.due <= p_now order by s.due, s.handle limit p_limit;
end $$;

create function ${S}.timeline_page(p_handle text, p_after bigint, p_limit int)
returns table (xid text, seq text, horizon text, entry text)
language plpgsql stable rows 100 set enable_seqscan = off set jit = off as $$
begin
  return query
    select t.xid::text, t.seq::text, t.horizon::text, t.entry
      from ${S}.timeline t where t.handle = p_handle and t.seq > p_after order by t.seq limit p_limit;
end $$;

-- Whether the journal is still the one that cursors were made in, and where "now" is.
create function ${S}.journal_head()
returns table (generation text, trimmed text, snapshot text, alive boolean)
language plpgsql stable rows 1 set enable_seqscan = off set jit = off as $$
begin
  return query
    select m.generation::text, m.trimmed::text, pg_current_snapshot()::text,
           exists (select from ${S}.alive a
                    where a.generation = m.generation
                      and a.xid < pg_snapshot_xmax(pg_current_snapshot()))
      from ${S}.meta m where m.one;
end $$;

-- Entries of transactions from p_from on and of those in p_open, without what (p_skip_xid, p_skip_seq) has told;
-- after (p_after_xid, p_after_seq); and of what was visible in p_until, when given.
create function ${S}.journal_page(
  p_from xid8, p_open xid8[], p_skip_xid xid8, p_skip_seq bigint,
  p_after_xid xid8, p_after_seq bigint, p_until pg_snapshot, p_limit int
)
returns table (xid text, seq text, horizon text, entry text)
language plpgsql stable rows 100 set enable_seqscan = off set jit = off as $$
begin
  return query
    select q.xid::text, q.seq::text, q.horizon::text, q.entry from (
      (select j.* from ${S}.journal j
        where j.xid = any(p_open) and (j.xid, j.seq) > (p_after_xid, p_after_seq)
          and (p_until is null or pg_visible_in_snapshot(j.xid, p_until))
        order by j.xid, j.seq limit p_limit)
      union all
      (select j.* from ${S}.journal j
        where j.xid >= p_from and (j.xid, j.seq) > (p_after_xid, p_after_seq)
          and not (j.xid = p_skip_xid and j.seq <= p_skip_seq)
          and (p_until is null or pg_visible_in_snapshot(j.xid, p_until))
        order by j.xid, j.seq limit p_limit)
    ) as q order by q.xid, q.seq limit p_limit;
end $$;`;
}
