import { raw, sql, type Fragment } from './fragment.ts'
import { recordset } from './postgres-rows.ts'
import { BEGIN_CELLS, MESSAGE_CELLS } from './row.ts'
import type { Names } from './dialect.ts'

/**
 * Counts and inserts in one statement. The rows of `stream` are locked in the order of keys before the first message gets
 * its `seq`: the insertion joins what the counting returned.
 *
 * Selects of every message whose id was not there: `id`; `key_seq`, `added` (whether it was inserted, or another
 * transaction was faster) and `counted` (whether it took a number).
 */
export function addToOutbox(names: Names, now: Fragment, json: string, bodies: Uint8Array): Fragment {
  return sql`with m as materialized (
    select * from ${recordset(json, 'r', { ...MESSAGE_CELLS, bucket: 'small' })}
  ), fresh as materialized (
    select m.*, msg_key is not null and key_seq is null as counted,
      row_number() over (partition by type, msg_key, key_seq is null order by ord) as nth,
      count(*) over (partition by type, msg_key, key_seq is null) as many
    from m where not exists (select 1 from ${raw(names.outbox)} o where o.id = m.id)
  ), numbers as (
    insert into ${raw(names.stream)} as s (type, msg_key, version)
    select type, msg_key, count(*) from fresh where counted group by type, msg_key order by type collate "C", msg_key collate "C"
    on conflict (type, msg_key) do update set version = s.version + excluded.version
    returning type, msg_key, version
  ), added as (
    insert into ${raw(names.outbox)} (id, bucket, state, holds, due_at, attempts, created_at, kind, type, version, source,
      time, msg_key, key_seq, external_id, content_type, metadata, body)
    select f.id, f.bucket, 'pending', 0, ${now}, 0, ${now}, f.kind, f.type, f.version, f.source,
      f.time, f.msg_key, case when f.counted then n.version - f.many + f.nth else f.key_seq end, f.external_id,
      f.content_type, f.metadata, substr(${bodies}, f.body_at, f.body_bytes)
    from fresh f left join numbers n on f.counted and n.type = f.type and n.msg_key = f.msg_key
    order by f.ord
    on conflict (id) do nothing
    returning id, key_seq
  )
  select f.id, a.key_seq, case when a.id is null then 0 else 1 end as added, case when f.counted then 1 else 0 end as counted
  from fresh f left join added a on a.id = f.id`
}

/**
 * Looks for earlier messages, records the others, and notes their numbers, in one statement.
 *
 * Selects of every message: `ord`, `behind`, `recorded`, `first_of_key` (whether its dedupe key was new, or its own) and
 * `last_seq` as it was before.
 */
export function beginInInbox(names: Names, now: Fragment, json: string, consumer: string, ordered: boolean): Fragment {
  const behind = ordered
    ? sql`m.msg_key is not null and exists (select 1 from ${raw(names.inbox)} i where i.consumer = ${consumer}
        and i.holds = 1 and i.type = m.type and i.msg_key = m.msg_key)
        and not exists (select 1 from ${raw(names.inbox)} i where i.consumer = ${consumer} and i.id = m.id)`
    : raw('false')
  return sql`with m as materialized (
    select m.*, ${behind} as behind from ${recordset(json, 'm', BEGIN_CELLS)}
  ), marks as (
    insert into ${raw(names.dedupe)} (scope, dedupe_key, message_id, at)
    select ${consumer}, dedupe_key, id, ${now} from m where dedupe_key is not null and not behind
    order by dedupe_key collate "C", ord
    on conflict (scope, dedupe_key) do nothing
    returning dedupe_key, message_id
  ), recorded as (
    insert into ${raw(names.inbox)} (consumer, id, state, holds, due_at, attempts, epoch, created_at, done_at, type,
      version, msg_key, external_id)
    select ${consumer}, id, 'done', 0, 0, 1, 0, ${now}, ${now}, type, version, msg_key, external_id
    from m where not behind order by id collate "C"
    on conflict (consumer, id) do nothing
    returning id
  ), seen as (
    insert into ${raw(names.inboxKey)} as k (consumer, source, type, msg_key, last_seq)
    select ${consumer}, source, type, msg_key, max(key_seq) from m
    where not behind and msg_key is not null and key_seq is not null
    group by source, type, msg_key order by source collate "C", type collate "C", msg_key collate "C"
    on conflict (consumer, source, type, msg_key) do update set last_seq = excluded.last_seq
    where k.last_seq < excluded.last_seq
  )
  select m.ord, case when m.behind then 1 else 0 end as behind, case when r.id is null then 0 else 1 end as recorded,
    case when m.dedupe_key is null or d.dedupe_key is not null
      or exists (select 1 from ${raw(names.dedupe)} e where e.scope = ${consumer} and e.dedupe_key = m.dedupe_key
        and e.message_id = m.id) then 1 else 0 end as first_of_key,
    k.last_seq
  from m
  left join recorded r on r.id = m.id
  left join marks d on d.dedupe_key = m.dedupe_key and d.message_id = m.id
  left join ${raw(names.inboxKey)} k on k.consumer = ${consumer} and k.source = m.source and k.type = m.type
    and k.msg_key = m.msg_key
  order by m.ord`
}
