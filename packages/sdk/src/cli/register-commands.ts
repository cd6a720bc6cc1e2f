import type { BulkGroup, BulkResult } from '../register/bulk.ts'
import { RETRYABLE } from '../register/selection.ts'
import type { Inspected, PurgeOptions } from '../register/register.ts'
import type { RegisterEntry, RegisterFilter } from '../store/port.ts'
import { tell, type Command, type Invocation } from './command.ts'
import { bulkOf, durationOf, filterOf, limitOf } from './flags.ts'
import { age, outline, table } from './table.ts'
import { UsageError } from './usage-error.ts'

const LIMIT = 50

/** States in which a message waits for its time. */
const LATER: readonly string[] = ['scheduled', 'pending', 'waiting', 'retrying']

interface VersionedGroup extends BulkGroup {
  readonly version?: string
}

/** `outbox`: what waits to be sent. */
export const outbox: Command = async (invocation) => {
  const { app, io, flags } = invocation
  await listed(invocation, { direction: 'out', state: ['scheduled', 'pending', 'parked'] })
  if (flags.json === true) return true
  const { pending, parked, parkedKeys, oldestAt } = await app.store.outbox.depth()
  const oldest = oldestAt === null ? '' : `, the oldest for ${age((await app.store.now()) - oldestAt)}`
  io.err(`${pending} pending${oldest}; ${parked} parked, which hold ${parkedKeys} keys back\n`)
  return true
}

/** `inbox`: what was received and is not done. */
export const inbox: Command = async (invocation) => {
  await listed(invocation, {
    direction: 'in',
    state: ['waiting', 'retrying', 'running', 'uncertain', 'parked', 'cancelled', 'expired'],
  })
  return true
}

/** `dlq`: what was given up, in groups. */
export const dlq: Command = async (invocation) => {
  const { app, flags, words } = invocation
  if (words[0] !== undefined) throw new UsageError(`"dlq ${words[0]}" is no command; there are dlq and dlq redrive`)
  const filter = filterOf(flags, await app.store.now())
  const asked: readonly string[] = [filter.state ?? ['parked', 'uncertain']].flat()
  const state = RETRYABLE.filter((each) => asked.includes(each))
  const { groups: found, matched } = await app.register.groups({ ...filter, state })
  const groups: VersionedGroup[] = []
  for (const group of found) groups.push(groups.length < LIMIT ? await withVersion(app, group) : group)
  tell(invocation, { matched, groups }, () => (matched === 0 ? 'nothing was given up\n' : groupTable(groups)))
  return true
}

/** `dlq redrive`: has it tried again, at a rate. */
export const redrive: Command = async (invocation) => {
  const { app, flags } = invocation
  noWords(invocation)
  const filter = filterOf(flags, await app.store.now())
  return changed(invocation, await app.register.redrive(filter, bulkOf(flags)), 'retried')
}

/** `register list`. */
export const list: Command = async (invocation) => {
  await listed(invocation, {})
  return true
}

/** `register show <id>`. */
export const show: Command = async (invocation) => {
  const entries = await invocation.app.register.inspect(oneId(invocation))
  tell(invocation, entries, () =>
    entries.length === 0
      ? 'there is no such message; what was sent and is not kept is gone\n'
      : entries.map((entry) => outline(shown(entry))).join('\n'),
  )
  return entries.length > 0
}

/** `register retry <id …>`, or by a filter. */
export const retry: Command = async (invocation) => {
  const { app, flags } = invocation
  return changed(invocation, await app.register.retry(await selected(invocation), bulkOf(flags)), 'retried')
}

/** `register cancel <id …>`, or by a filter. */
export const cancel: Command = async (invocation) => {
  const { app, flags } = invocation
  return changed(invocation, await app.register.cancel(await selected(invocation), bulkOf(flags)), 'cancelled')
}

/** `register edit <id> --data <json>`. */
export const edit: Command = async (invocation) => {
  const { app, flags } = invocation
  const id = oneId(invocation)
  let data: unknown
  try {
    data = JSON.parse(flags.data ?? '')
  } catch (cause) {
    throw new UsageError(`--data is no JSON; write --data '{"field":"value"}'`, { cause })
  }
  const made = await app.register.edit(id, data, flags.consumer === undefined ? {} : { consumer: flags.consumer })
  tell(invocation, { id: made, replaces: id }, () => `${made} takes the place of ${id}\n`)
  return true
}

/** `register purge --state <state> --older-than <age>`. */
export const purge: Command = async (invocation) => {
  const { app, flags } = invocation
  const olderThan = flags['older-than']
  noWords(invocation)
  const [state, ...others] = flags.state ?? []
  if (state === undefined || others.length > 0 || olderThan === undefined)
    throw new UsageError('say what to delete: --state sent|done|parked|cancelled|expired --older-than 30d')
  const dryRun = flags['dry-run'] ?? false
  const purged = await app.register.purge({
    // The register refuses what nothing may be deleted of.
    state: state as PurgeOptions['state'],
    olderThan: durationOf('--older-than', olderThan),
    dryRun,
    ...(flags.contract === undefined ? {} : { contracts: flags.contract }),
  })
  tell(invocation, { dryRun, purged }, () => `${dryRun ? 'would delete' : 'deleted'} ${purged}\n`)
  return true
}

async function listed(invocation: Invocation, preset: RegisterFilter): Promise<void> {
  const { app, flags, io } = invocation
  noWords(invocation)
  const now = await app.store.now()
  const filter = { ...preset, ...filterOf(flags, now) }
  const limit = limitOf(flags, LIMIT)
  // A table shows nothing of the bodies.
  const page = await app.register.list(filter, { limit, bodies: flags.json === true, after: flags.page ?? null })
  tell(invocation, page, () => (page.entries.length === 0 ? 'there is nothing\n' : entryTable(page.entries, now)))
  if (page.next !== null && flags.json !== true) io.err(`there is more: --page '${page.next}'\n`)
}

function entryTable(entries: readonly RegisterEntry[], now: number): string {
  return table(entries, {
    id: ({ id }) => id,
    contract: ({ type }) => type,
    key: ({ key }) => key,
    where: ({ direction, consumer }) => (direction === 'out' ? 'outbox' : consumer),
    state: ({ state }) => state,
    tries: ({ attempts }) => attempts,
    age: ({ createdAt }) => age(now - createdAt),
    next: ({ state, dueAt }) =>
      dueAt !== null && dueAt > now && LATER.includes(state) ? `in ${age(dueAt - now)}` : null,
    why: ({ reason, errors }) => reason ?? errors.at(-1)?.message ?? null,
  })
}

/** With the version of the program that gave up the oldest of them; nothing else of its messages is read. */
async function withVersion(app: Invocation['app'], group: BulkGroup): Promise<VersionedGroup> {
  const { direction, consumer, contract, state, fingerprint } = group
  if (fingerprint === null) return group
  const filter = { direction, contract, state, fingerprint, ...(direction === 'in' ? { consumer } : {}) }
  const { entries } = await app.register.list(filter, { limit: 1, bodies: false })
  const version = entries[0]?.errors.at(-1)?.version
  return version === undefined ? group : { ...group, version }
}

function groupTable(groups: readonly VersionedGroup[]): string {
  return table<VersionedGroup>(groups, {
    count: ({ count }) => count,
    contract: ({ contract }) => contract,
    where: ({ direction, consumer }) => (direction === 'out' ? 'outbox' : consumer),
    state: ({ state }) => state,
    fingerprint: ({ fingerprint }) => fingerprint,
    ...(groups.some(({ version }) => version !== undefined) ? { version: ({ version }) => version ?? null } : {}),
    since: ({ oldestAt }) => new Date(oldestAt).toISOString(),
  })
}

function changed(invocation: Invocation, result: BulkResult, verb: string): boolean {
  const { dryRun, groups, matched, unreadable, keys } = result
  tell(invocation, result, () => {
    if (matched === 0) return 'nothing matched\n'
    const lines = unreadable.map(({ id, why }) => `would fail again at once: ${id}: ${why}\n`).join('')
    const total = dryRun
      ? `${matched} would be ${verb}, of ${keys} keys; nothing was changed, without --dry-run it is\n`
      : `${result.changed} of ${matched} were ${verb}\n`
    return groupTable(groups) + lines + total
  })
  return matched > 0
}

async function selected({ app, flags, words }: Invocation): Promise<readonly string[] | RegisterFilter> {
  const filter = filterOf(flags, await app.store.now())
  if (words.length === 0) return filter
  if (Object.keys(filter).length > 0) throw new UsageError('give ids or a filter, not both')
  return words
}

function noWords({ words }: Invocation): void {
  if (words.length > 0) throw new UsageError(`"${words[0]}" is too much; filters are options, like --state parked`)
}

function oneId({ words }: Invocation): string {
  const [id, ...others] = words
  if (id !== undefined && others.length === 0) return id
  throw new UsageError('give the id of one message')
}

function shown({ message, errors, createdAt, dueAt, data, ...entry }: Inspected): unknown {
  return {
    ...entry,
    createdAt: new Date(createdAt).toISOString(),
    dueAt: dueAt === null ? null : new Date(dueAt).toISOString(),
    metadata: message?.metadata ?? null,
    errors: errors.map((each) => ({ ...each, at: new Date(each.at).toISOString() })),
    data: data === undefined ? null : JSON.stringify(data),
  }
}
