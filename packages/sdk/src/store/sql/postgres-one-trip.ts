import { raw, sql, type Fragment } from './fragment.ts'
import { rowsOf } from './postgres-rows.ts'
import { BEGIN_CELLS, MESSAGE_CELLS } from './row.ts'
import type { JsonRow, Names } from './dialect.ts'

/*
 * Tables are looked into with scalar subqueries on purpose: whatever the planner believes about the size of a table, and
 * it knows nothing of one that fills and empties all the time, they are looked up by index, row by row.
 */

/**
 * Counts and inserts in one statement. The rows of `stream` are locked in the order that they are given in before the
 * first message gets its `seq`, because the insertion joins what the counting returned.
 *
 * Returns `id` and `key_seq` of what was inserted; what is missing has an id that was there already.
 *
 * @param rows by {@link MESSAGE_CELLS} with `bucket`, and `back`: how many numbers of its stream come after its own
 * @param streams with `type`, `msg_key` and `many`
 */
export function addToOutbox(
  names: Names,
  now: Fragment,
  rows: readonly JsonRow[],
  streams: readonly JsonRow[],
  bodies: Uint8Array,
): Fragment {
  const columns = `insert into ${names.outbox} (id, bucket, state, holds, due_at, attempts, created_at, kind, type,
    version, source, time, msg_key, key_seq, external_id, content_type, metadata, body)`
  const cells = { ...MESSAGE_CELLS, bucket: 'small', back: 'small' } as const
  const from = rowsOf(rows, 'r', cells)
  const select = (
    keySeq: string,
  ): Fragment => sql`select r.id, r.bucket, 'pending', 0, ${now}, 0, ${now}, r.kind, r.type,
    r.version, r.source, r.time, r.msg_key, ${raw(keySeq)}, r.external_id, r.content_type, r.metadata,
    substr(${bodies}, r.body_at, r.body_bytes) from ${from}`
  // Sorting is done before the first row gets its `seq`, and after the last number was taken.
  const ending = raw(`${rows.length > 1 ? 'order by r.ord ' : ''}on conflict (id) do nothing returning id, key_seq`)
  if (streams.length === 0) return sql`${raw(columns)} ${select('r.key_seq')} ${ending}`
  const counted = rowsOf(streams, 'r', { type: 'text', msg_key: 'text', many: 'small' })
  return sql`with numbers as (
    insert into ${raw(names.stream)} as s (type, msg_key, version) select r.type, r.msg_key, r.many from ${counted}
    on conflict (type, msg_key) do update set version = s.version + excluded.version
    returning type, msg_key, version
  )
  ${raw(columns)} ${select('coalesce(r.key_seq, n.version - r.back)')}
  left join numbers n on n.type = r.type and n.msg_key = r.msg_key ${ending}`
}

/**
 * Looks for earlier messages, records the others, and notes their numbers, in one statement.
 *
 * Selects of every message: `ord`, `behind`, `recorded`, `first_of_key` (whether it has no dedupe key, or was the first with
 * it) and `last_seq` as it was before.
 */
export function beginInInbox(
  names: Names,
  now: Fragment,
  rows: readonly JsonRow[],
  consumer: string,
  ordered: boolean,
): Fragment {
  const inbox = raw(names.inbox)
  const behind = ordered
    ? sql`r.msg_key is not null and (select 1 from ${inbox} i where i.consumer = ${consumer} and i.holds = 1
        and i.type = r.type and i.msg_key = r.msg_key limit 1) is not null
        and (select 1 from ${inbox} i where i.consumer = ${consumer} and i.id = r.id) is null`
    : raw('false')
  const marked = rows.some((row) => row['dedupe_key'] !== null)
  const numbered = rows.some((row) => row['msg_key'] !== null && row['key_seq'] !== null)
  const marks = sql`, marks as (
    insert into ${raw(names.dedupe)} (scope, dedupe_key, message_id, at)
    select ${consumer}, dedupe_key, id, ${now} from m where dedupe_key is not null and not behind
    order by dedupe_key collate "C", ord
    on conflict (scope, dedupe_key) do nothing
    returning dedupe_key, message_id
  )`
  const seen = sql`, seen as (
    insert into ${raw(names.inboxKey)} as k (consumer, source, type, msg_key, last_seq)
    select ${consumer}, source, type, msg_key, max(key_seq) from m
    where not behind and msg_key is not null and key_seq is not null
    group by source, type, msg_key order by source collate "C", type collate "C", msg_key collate "C"
    on conflict (consumer, source, type, msg_key) do update set last_seq = excluded.last_seq
    where k.last_seq < excluded.last_seq
  )`
  const first = sql`case when m.dedupe_key is null
    or (select 1 from marks d where d.dedupe_key = m.dedupe_key and d.message_id = m.id) is not null
    then 1 else 0 end`
  const last = sql`(select k.last_seq from ${raw(names.inboxKey)} k where k.consumer = ${consumer}
    and k.source = m.source and k.type = m.type and k.msg_key = m.msg_key)`
  return sql`with m as materialized (
    select r.*, ${behind} as behind from ${rowsOf(rows, 'r', BEGIN_CELLS)}
  ), recorded as (
    insert into ${inbox} (consumer, id, state, holds, due_at, attempts, epoch, created_at, done_at, type,
      version, msg_key, external_id)
    select ${consumer}, id, 'done', 0, 0, 1, 0, ${now}, ${now}, type, version, msg_key, external_id
    from m where not behind order by id collate "C"
    on conflict (consumer, id) do nothing
    returning id
  )${marked ? marks : raw('')}${numbered ? seen : raw('')}
  select m.ord, case when m.behind then 1 else 0 end as behind, case when r.id is null then 0 else 1 end as recorded,
    ${marked ? first : raw('1')} as first_of_key, ${numbered ? last : raw('null')} as last_seq
  from m left join recorded r on r.id = m.id`
}
