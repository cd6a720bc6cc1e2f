import type { Attempt, RegisterEntry, Store } from '../store/port.ts'
import type { Chronicle } from './chronicle.ts'

/** A message of the story. */
interface Told {
  readonly id: string
  readonly kind: string
  readonly type: string
  readonly key: string | null
  readonly causationId: string | undefined
  /** What the outbox, or the timers, know of it. */
  out: RegisterEntry | null
  /** What became of it at its consumers. */
  readonly at: RegisterEntry[]
  /** Of a reply: the error that it tells. */
  readonly error: string | undefined
}

const PAGE = 1000
const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g

/**
 * What happened, as a tree in plain text, the same for the same happenings.
 *
 * @param startedAt what times are counted from, in ms since 1970
 * @param id only the tree in which this message is
 */
export async function storyOf<Tx>(
  chronicle: Chronicle,
  stores: readonly Store<Tx>[],
  startedAt: number,
  id?: string,
): Promise<string> {
  const all = await messagesOf(chronicle, stores)
  const children = new Map<string, Told[]>()
  const roots: Told[] = []
  for (const told of [...all.values()].toSorted((a, b) => chronicle.placeOf(a.id) - chronicle.placeOf(b.id))) {
    const parent = told.causationId === undefined ? undefined : all.get(told.causationId)
    if (parent === undefined) roots.push(told)
    else children.set(parent.id, [...(children.get(parent.id) ?? []), told])
  }
  const wanted = id === undefined ? roots : roots.filter((root) => holds(root, id, children))
  const numbers = new Map<string, number>()
  const lines: string[] = []
  const tell = (told: Told, depth: number): void => {
    const caused = children.get(told.id) ?? []
    numbers.set(told.id, numbers.size + 1)
    const reply = caused.find(({ kind }) => kind === 'reply')
    lines.push(
      `${indent(depth)}${told.type} ${told.id}${told.key === null ? '' : ` of ${told.key}`}${fate(told, reply, startedAt)}`,
    )
    const rest = new Set(caused.filter((child) => child !== reply))
    for (const entry of told.at.toSorted((a, b) => (a.consumer < b.consumer ? -1 : 1))) {
      lines.push(`${indent(depth + 1)}${entry.consumer}: ${outcome(entry, startedAt)}`)
      for (const child of rest) {
        if (chronicle.senders.get(child.id) !== entry.consumer) continue
        rest.delete(child)
        tell(child, depth + 2)
      }
    }
    for (const child of rest) tell(child, depth + 1)
  }
  for (const root of wanted) tell(root, 0)
  // Ids are told apart, and mean nothing else.
  return lines.map((line) => withNumbers(line, numbers)).join('\n')
}

async function messagesOf<Tx>(chronicle: Chronicle, stores: readonly Store<Tx>[]): Promise<Map<string, Told>> {
  const all = new Map<string, Told>()
  for (const { id, kind, type, key, metadata } of chronicle.messages.values())
    all.set(id, { id, kind, type, key, causationId: metadata.causationId, out: null, at: [], error: metadata.error })
  for (const store of stores) {
    for (let after: string | null | undefined; after !== null;) {
      const page = await store.register.list({}, PAGE, after ?? null)
      for (const entry of page.entries) {
        const { id, type, key, message } = entry
        const causationId = message?.metadata.causationId
        const told = all.get(id) ?? { id, kind: 'event', type, key, causationId, out: null, at: [], error: undefined }
        all.set(id, told)
        if (entry.direction === 'in') told.at.push(entry)
        else told.out = entry
      }
      after = page.next
    }
  }
  return all
}

function holds(told: Told, id: string, children: ReadonlyMap<string, readonly Told[]>): boolean {
  return told.id === id || (children.get(told.id) ?? []).some((child) => holds(child, id, children))
}

/** What is to be said of the message itself. */
function fate({ kind, out, at }: Told, reply: Told | undefined, startedAt: number): string {
  if (kind === 'request') {
    if (reply === undefined) return ': not answered'
    return reply.error === undefined ? ': answered' : `: answered with ${reply.error}`
  }
  if (out !== null && out.state === 'scheduled') return `: scheduled for ${since(out.dueAt, startedAt)}`
  if (out !== null && out.state !== 'sent') {
    const again = out.dueAt === null ? '' : `, again at ${since(out.dueAt, startedAt)}`
    return `: ${out.state} in the outbox${failuresOf(out.errors)}${again}`
  }
  return at.length === 0 ? ': nobody handled it' : ''
}

function outcome({ state, attempts, errors, reason, dueAt }: RegisterEntry, startedAt: number): string {
  const tried = attempts > 1 ? ` at attempt ${attempts}` : ''
  switch (state) {
    case 'retrying':
      return `failed${tried}${failuresOf(errors)}, again at ${since(dueAt, startedAt)}`
    case 'parked':
      return `parked${tried}${errors.length === 0 && reason !== null ? `: ${reason}` : failuresOf(errors)}`
    case 'waiting':
      return `waiting${failuresOf(errors)}`
    default:
      return `${state}${tried}${failuresOf(errors)}`
  }
}

function failuresOf(errors: readonly Attempt[]): string {
  const counts = new Map<string, number>()
  for (const { name, message } of errors)
    counts.set(`${name}: ${message}`, (counts.get(`${name}: ${message}`) ?? 0) + 1)
  const texts = [...counts].map(([text, count]) => (count === 1 ? text : `${text} (${count} times)`))
  return texts.length === 0 ? '' : `, after ${texts.join(', ')}`
}

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
] as const

/** Time since the beginning, as `+14d` or `+1m3s`: its two largest units. */
function since(at: number | null, startedAt: number): string {
  let rest = Math.max(Math.round((at ?? startedAt) - startedAt), 0)
  const parts: string[] = []
  for (const [unit, size] of UNITS) {
    const count = Math.floor(rest / size)
    rest -= count * size
    if (count > 0 && parts.length < 2) parts.push(`${count}${unit}`)
  }
  return `+${parts.length === 0 ? '0s' : parts.join('')}`
}

function indent(depth: number): string {
  return '  '.repeat(depth)
}

function withNumbers(line: string, numbers: ReadonlyMap<string, number>): string {
  return line.replace(UUID, (id) => (numbers.has(id) ? `#${numbers.get(id)}` : '#?'))
}
