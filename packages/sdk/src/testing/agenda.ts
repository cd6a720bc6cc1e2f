import { BUCKETS } from '../message/bucket.ts'
import type { Service } from '../service.ts'
import type { Store } from '../store/port.ts'

/** What a service's store has to be done, as far as the store knows. Times are in ms from now. */
export interface Agenda {
  /** When the earliest of what is owed is due: messages to send, retries, claims of processes that died. Null: nothing is. */
  readonly owedInMs: number | null
  /** When the earliest timer or schedule is due. */
  readonly laterInMs: number | null
}

const ALL = Array.from({ length: BUCKETS }, (_, bucket) => bucket)

/** Asks a store what is due when. */
export async function agendaOf<Tx>(store: Store<Tx>, service: Service<Tx>): Promise<Agenda> {
  const now = await store.now()
  const owed = [await store.outbox.nextDue(ALL)]
  if ((await store.outbox.due(ALL, 1)).length > 0) owed.push(now)
  const { handlers, schedules: declared } = service.describe()
  for (const { consumer, order } of handlers) owed.push(await store.inbox.nextDue(consumer, order === 'per key'))
  const schedules = await store.schedules.list()
  // Until it has its row, nobody knows when it is due.
  if (declared.some(({ name }) => !schedules.some((row) => row.name === name))) owed.push(now)
  const later = [await store.timers.nextDue(), ...schedules.map(({ nextAt }) => nextAt)]
  const laterInMs = earliest(later, now)
  const owedInMs = earliest(owed, now)
  // What should have been sent already is owed, too.
  return laterInMs === 0 ? { owedInMs: 0, laterInMs } : { owedInMs, laterInMs }
}

function earliest(times: readonly (number | null)[], now: number): number | null {
  const known = times.filter((time) => time !== null)
  return known.length === 0 ? null : Math.max(Math.min(...known) - now, 0)
}
