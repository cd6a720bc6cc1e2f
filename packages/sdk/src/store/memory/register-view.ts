import type { RegisterEntry, RegisterFilter, RegisterReading } from '../port.ts'
import type { InRow } from './in-row.ts'
import type { OutRow } from './out-row.ts'
import type { TimerRow } from './timers.ts'

export function outView({ message, state, attempts, createdAt, retryAt, errors }: OutRow): RegisterEntry {
  return {
    ...describedBy(message),
    direction: 'out',
    consumer: '',
    state,
    attempts,
    createdAt,
    dueAt: state === 'pending' ? retryAt : null,
    reason: null,
    ...failed(errors),
    message,
  }
}

export function timerView({ draft, createdAt, dueAt }: TimerRow): RegisterEntry {
  return {
    ...describedBy(draft),
    direction: 'out',
    consumer: '',
    state: 'scheduled',
    attempts: 0,
    createdAt,
    dueAt,
    reason: null,
    ...failed([]),
    message: draft,
  }
}

export function inView({ consumer, message, state, attempts, createdAt, dueAt, reason, errors }: InRow): RegisterEntry {
  return {
    ...describedBy(message),
    direction: 'in',
    consumer,
    state,
    attempts,
    createdAt,
    dueAt: state === 'waiting' || state === 'retrying' ? dueAt : null,
    reason,
    ...failed(errors),
    message: state === 'done' ? null : message,
  }
}

function describedBy({ id, type, version, key, metadata }: NonNullable<RegisterEntry['message']>) {
  return { id, type, version, key, externalId: metadata.externalId ?? null }
}

function failed(errors: RegisterEntry['errors']) {
  return { errors, fingerprint: errors.at(-1)?.fingerprint ?? null }
}

/** The first of the entries, at least one, with what was asked for, as far as that fits. */
export function readOf(
  entries: readonly RegisterEntry[],
  { bodies = true, errors = true, bytesMax = Infinity }: RegisterReading = {},
): readonly RegisterEntry[] {
  let bytes = 0
  return entries
    .map((entry) => ({ ...entry, message: bodies ? entry.message : null, errors: errors ? entry.errors : [] }))
    .filter((entry, at) => (bytes += sizeOf(entry)) <= bytesMax || at === 0)
}

function sizeOf({ message, errors }: RegisterEntry): number {
  return (message?.body.byteLength ?? 0) + (errors.length === 0 ? 0 : JSON.stringify(errors).length)
}

/** Whether a filter picks an entry. */
export function picks(filter: RegisterFilter): (entry: RegisterEntry) => boolean {
  const states = typeof filter.state === 'string' ? [filter.state] : filter.state
  const contract = filter.contract === undefined ? null : pattern(filter.contract)
  const { before = Infinity, after = -Infinity } = filter
  return (entry) =>
    (['direction', 'consumer', 'id', 'key', 'externalId'] as const).every(
      (field) => filter[field] === undefined || filter[field] === entry[field],
    ) &&
    (entry.direction === 'out' || filter.notConsumer === undefined || filter.notConsumer !== entry.consumer) &&
    (states === undefined || states.includes(entry.state)) &&
    (contract === null || contract.test(entry.type)) &&
    (filter.fingerprint === undefined || filter.fingerprint === entry.fingerprint) &&
    entry.createdAt < before &&
    entry.createdAt > after
}

function pattern(contract: string): RegExp {
  const parts = contract.split('*').map((part) => part.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&'))
  return new RegExp(`^${parts.join('.*')}$`, 's')
}

/** The order of the register, and the cursor of an entry in it. */
export function placeOf({ createdAt, direction, consumer, id }: RegisterEntry): string {
  return JSON.stringify([String(createdAt).padStart(20, '0'), direction, consumer, id])
}
