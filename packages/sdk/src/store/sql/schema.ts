/**
 * The tables, for every database.
 *
 * - `stream`: the last number of every type and key.
 * - `intake`: messages that are on their way into the outbox, for databases with one writer at a time (see intake.ts).
 * - `outbox`: messages to send, in the order of `seq`. `holds` is 1 while a message holds its key back, and of what is put
 *   aside behind it, which is `waiting` (see backlog.ts).
 * - `bucket`, `owner`: which relay has which share of the outbox, until when.
 * - `timer`: messages to send later. `name` is unique: `c:` and the cancel key, or `m:` and the message's id.
 * - `inbox`: what consumers received. `holds` is 1 while a message is not done and later ones of its key wait, and 2 of what
 *   is put aside behind one that `leads` (see inbox-backlog.ts); `due_at` of a running one is the end of its lease. Of a
 *   message that is done only the columns before `body` are kept.
 * - `inbox_key`: the highest number that a consumer saw of every source, type and key.
 * - `dedupe`: business keys that consumers saw. A table of its own, by nothing that changes.
 * - `schedule`, `rate`.
 */
export const TABLES = {
  migration: {
    columns: { version: 'integer', applied_at: 'time' },
    primary: ['version'],
    unique: [],
    indexes: [],
  },
  stream: {
    columns: { type: 'name', msg_key: 'key', version: 'count' },
    primary: ['type', 'msg_key'],
    unique: [],
    indexes: [],
    hot: true,
  },
  outbox: {
    columns: {
      seq: 'auto',
      id: 'id',
      bucket: 'integer',
      state: 'word',
      holds: 'integer',
      due_at: 'time',
      attempts: 'integer',
      created_at: 'time',
      kind: 'word',
      type: 'name',
      version: 'integer',
      source: 'name',
      time: 'time',
      msg_key: 'key?',
      key_seq: 'count?',
      external_id: 'id?',
      fingerprint: 'name?',
      reason: 'text?',
      content_type: 'text',
      metadata: 'text',
      errors: 'text?',
      body: 'bytes',
    },
    // Whatever can be found by `seq` is pending: the first index is enough for it.
    primary: ['id'],
    unique: [],
    indexes: [
      { fixed: 'state', columns: ['seq'], where: "state = 'pending'" },
      { fixed: 'holds', columns: ['type', 'msg_key', 'seq'], where: 'holds = 1' },
      { columns: ['created_at', 'seq'], where: "state <> 'pending'" },
      { columns: ['state', 'seq'], where: "state in ('parked', 'waiting')", onlyPartial: true },
    ],
    hot: true,
  },
  intake: {
    columns: {
      seq: 'place',
      created_at: 'time',
      bucket: 'integer',
      id: 'id',
      kind: 'word',
      type: 'name',
      version: 'integer',
      source: 'name',
      time: 'time',
      msg_key: 'key?',
      key_seq: 'count?',
      external_id: 'id?',
      content_type: 'text',
      metadata: 'text',
      body: 'bytes',
    },
    primary: ['seq'],
    unique: [],
    indexes: [],
    oneWriter: true,
  },
  bucket: {
    columns: { bucket: 'integer', owner: 'name?', epoch: 'count', lease_until: 'time' },
    primary: ['bucket'],
    unique: [],
    indexes: [],
    hot: true,
  },
  owner: {
    columns: { owner: 'name', seen_until: 'time' },
    primary: ['owner'],
    unique: [],
    indexes: [],
    hot: true,
  },
  timer: {
    columns: {
      seq: 'auto',
      name: 'id',
      id: 'id',
      due_at: 'time',
      created_at: 'time',
      kind: 'word',
      type: 'name',
      version: 'integer',
      source: 'name',
      time: 'time',
      msg_key: 'key?',
      key_seq: 'count?',
      external_id: 'id?',
      content_type: 'text',
      metadata: 'text',
      body: 'bytes',
    },
    primary: ['seq'],
    unique: [['name']],
    indexes: [{ columns: ['due_at', 'seq'] }, { columns: ['id'] }, { columns: ['created_at', 'seq'] }],
    hot: true,
  },
  inbox: {
    columns: {
      seq: 'auto',
      consumer: 'name',
      id: 'id',
      state: 'word',
      holds: 'integer',
      due_at: 'time',
      attempts: 'integer',
      epoch: 'count',
      created_at: 'time',
      done_at: 'time?',
      type: 'name',
      version: 'integer',
      msg_key: 'key?',
      external_id: 'id?',
      body: 'bytes?',
      kind: 'word?',
      source: 'name?',
      time: 'time?',
      key_seq: 'count?',
      fingerprint: 'name?',
      reason: 'text?',
      content_type: 'text?',
      metadata: 'text?',
      errors: 'text?',
      leads: 'integer?',
    },
    primary: ['consumer', 'id'],
    unique: [],
    indexes: [
      { columns: ['consumer', 'due_at', 'seq'], where: "state in ('waiting', 'retrying', 'running') and holds < 2" },
      { fixed: 'holds', columns: ['consumer', 'type', 'msg_key', 'seq'], where: 'holds = 1' },
      { fixed: 'holds', columns: ['consumer', 'type', 'msg_key', 'seq'], where: 'holds = 2', onlyPartial: true },
      { columns: ['created_at', 'seq'] },
      { columns: ['state', 'consumer'], where: "state <> 'done'" },
    ],
  },
  inboxKey: {
    columns: { consumer: 'name', source: 'name', type: 'name', msg_key: 'key', last_seq: 'count' },
    primary: ['consumer', 'source', 'type', 'msg_key'],
    unique: [],
    indexes: [],
    hot: true,
  },
  dedupe: {
    columns: { scope: 'name', dedupe_key: 'id', message_id: 'id', at: 'time' },
    primary: ['scope', 'dedupe_key'],
    unique: [],
    indexes: [{ columns: ['at'] }],
  },
  schedule: {
    columns: { name: 'name', definition: 'text', next_at: 'time', last_at: 'time?' },
    primary: ['name'],
    unique: [],
    indexes: [],
  },
  rate: {
    columns: { name: 'name', tokens: 'real', filled_at: 'time' },
    primary: ['name'],
    unique: [],
    indexes: [],
    hot: true,
  },
} as const satisfies Readonly<Record<string, Table>>

/** Names in the database, after the prefix. */
export const TABLE_NAMES: Readonly<Record<keyof typeof TABLES, string>> = {
  migration: 'migration',
  stream: 'stream',
  intake: 'intake',
  outbox: 'outbox',
  bucket: 'bucket',
  owner: 'owner',
  timer: 'timer',
  inbox: 'inbox',
  inboxKey: 'inbox_key',
  dedupe: 'dedupe',
  schedule: 'schedule',
  rate: 'rate',
}

/**
 * What a column holds; with `?` it may be null. `word`: at most 20 characters. `name`: of contracts, consumers, services.
 * `id`: up to 200 characters, `key`: of messages; all of these compare byte by byte. `count`: whole numbers up to 2^53,
 * `time`: ms since 1970. `auto`: rises with every insertion that names no value. `place`: is larger than in all rows that are
 * there.
 */
export type ColumnType =
  | 'auto'
  | 'place'
  | 'word'
  | 'name'
  | 'id'
  | 'key'
  | 'text'
  | 'bytes'
  | 'integer'
  | 'count'
  | 'time'
  | 'real'

export interface Index {
  readonly columns: readonly string[]
  /** The rows that matter; where there are no partial indexes all rows are in it. */
  readonly where?: string
  /**
   * The column that is the same in all rows that matter. It comes first where all rows are in the index, and not at all
   * where it is a partial one: PostgreSQL forgets what the index says of itself, and would search by the second column.
   */
  readonly fixed?: string
  /** Left out where there are no partial indexes: there another one begins with the same columns. */
  readonly onlyPartial?: true
}

export interface Table {
  readonly columns: Readonly<Record<string, ColumnType | `${ColumnType}?`>>
  readonly primary: readonly string[]
  readonly unique: readonly (readonly string[])[]
  readonly indexes: readonly Index[]
  /** Rows come and go, or change, all the time. */
  readonly hot?: boolean
  /** Only where one transaction writes at a time. */
  readonly oneWriter?: true
}
