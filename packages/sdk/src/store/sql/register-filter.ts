import { list, join, raw, sql, type Fragment } from './fragment.ts'
import type { Dialect } from './dialect.ts'
import type { RegisterFilter, RegisterKey, RegisterState } from '../port.ts'

/** A table that the register shows, by its place in the order of messages that came at the same time. */
export interface Shelf {
  readonly table: 'outbox' | 'timer' | 'inbox'
  readonly states: readonly RegisterState[]
}

export const SHELVES: readonly Shelf[] = [
  { table: 'outbox', states: ['pending', 'parked', 'sent', 'cancelled'] },
  { table: 'timer', states: ['scheduled'] },
  {
    table: 'inbox',
    states: ['done', 'waiting', 'retrying', 'running', 'uncertain', 'parked', 'cancelled', 'expired'],
  },
]

/** The filter as a condition on a table's rows; null when none of them can match. */
export function conditionOf(shelf: Shelf, filter: RegisterFilter, dialect: Dialect): Fragment | null {
  const incoming = shelf.table === 'inbox'
  if (filter.direction !== undefined && (filter.direction === 'in') !== incoming) return null
  const conditions: Fragment[] = []
  if (filter.consumer !== undefined) {
    if (incoming) conditions.push(sql`consumer = ${filter.consumer}`)
    else if (filter.consumer !== '') return null
  }
  if (filter.notConsumer !== undefined && incoming) conditions.push(sql`consumer <> ${filter.notConsumer}`)
  if (filter.state !== undefined) {
    const asked: readonly RegisterState[] = typeof filter.state === 'string' ? [filter.state] : filter.state
    const states = shelf.states.filter((state) => asked.includes(state))
    if (states.length === 0) return null
    // What waits behind a message that is held back is put aside in the outbox; it is still to be sent.
    const aside = shelf.table === 'outbox' && states.includes('pending') ? ['waiting'] : []
    if (shelf.states.length > 1) conditions.push(sql`state in ${list([...states, ...aside])}`)
  }
  if (filter.fingerprint !== undefined) {
    if (shelf.table === 'timer') return null
    conditions.push(sql`fingerprint = ${filter.fingerprint}`)
  }
  if (filter.contract !== undefined) conditions.push(contractIs(filter.contract, dialect))
  if (filter.id !== undefined) conditions.push(sql`id = ${filter.id}`)
  if (filter.key !== undefined) conditions.push(sql`msg_key = ${filter.key}`)
  if (filter.externalId !== undefined) conditions.push(sql`external_id = ${filter.externalId}`)
  if (filter.before !== undefined) conditions.push(sql`created_at < ${Math.ceil(filter.before)}`)
  if (filter.after !== undefined) conditions.push(sql`created_at > ${Math.floor(filter.after)}`)
  return join(conditions, ' and ', '1 = 1')
}

/** Rows with one of these ids. */
export function idIn(dialect: Dialect, ids: readonly string[]): Fragment {
  const rows = ids.map((id) => ({ id }))
  return sql`id in (select r.id from ${dialect.rows(JSON.stringify(rows), 'r', { id: 'text' })})`
}

/** Rows of the inbox, by consumer and id. */
export function receivedIn(dialect: Dialect, keys: readonly Pick<RegisterKey, 'consumer' | 'id'>[]): Fragment {
  const json = JSON.stringify(keys.map(({ consumer, id }) => ({ consumer, id })))
  const rows = dialect.rows(json, 'r', { consumer: 'text', id: 'text' })
  return sql`(consumer, id) in (select r.consumer, r.id from ${rows})`
}

function contractIs(pattern: string, dialect: Dialect): Fragment {
  return pattern.includes('*') ? dialect.matches(raw('type'), pattern) : sql`type = ${pattern}`
}
