import type { Contract } from '../contract/contract.ts'
import type { RegisterEntry, RegisterFilter, RegisterKey, RegisterState, RegisterStore } from '../store/port.ts'
import type { Clock } from '../time/clock.ts'
import { pacer, type Pace } from './pace.ts'
import { entriesOf, HEADS, keyOf, PAGE, PAGE_BYTES_MAX } from './selection.ts'

/** How many messages are changed at once. */
export interface BulkOptions {
  /** At most so many in a time, evenly. Default: as fast as the store takes them. */
  readonly rate?: Pace
  /** Only says what would happen. */
  readonly dryRun?: boolean
  /** Stops after the batch that is under way; what was done stays done, and is counted. */
  readonly signal?: AbortSignal
}

/** Messages that have in common what an operator would sort them by. */
export interface BulkGroup {
  readonly direction: 'out' | 'in'
  readonly consumer: string
  readonly contract: string
  readonly state: RegisterState
  /** Of the last error; null when there is none. */
  readonly fingerprint: string | null
  readonly count: number
  /** When the store got to know of the oldest, in ms since 1970. */
  readonly oldestAt: number
}

/** A message that would fail again at once, because this program cannot read it. */
export interface Unreadable {
  readonly id: string
  readonly consumer: string
  readonly why: string
}

/** What a change of many messages did, or would do. */
export interface BulkResult {
  readonly dryRun: boolean
  /** Messages that the selection and the states let through. */
  readonly matched: number
  /** Messages that were changed; nought in a dry run. What somebody else changed meanwhile is not among them. */
  readonly changed: number
  /** The largest first. */
  readonly groups: readonly BulkGroup[]
  /** Keys that messages of these parked or are about, so that others may wait behind them. */
  readonly keys: number
  /** Only in a dry run; the first 100. */
  readonly unreadable: readonly Unreadable[]
}

const UNREADABLE_MAX = 100

export interface Bulk {
  readonly register: RegisterStore
  readonly clock: Clock
  readonly filters: readonly RegisterFilter[]
  readonly options: BulkOptions
  readonly change: (keys: readonly RegisterKey[]) => Promise<number>
  readonly contractOf: (name: string) => Contract | undefined
}

/** Changes messages oldest first, batch by batch, or says what that would do. */
export async function bulk({ register, clock, filters, options, change, contractOf }: Bulk): Promise<BulkResult> {
  const { rate, dryRun = false, signal } = options
  const pacing = pacer(clock, rate, PAGE)
  const groups = new Map<string, BulkGroup>()
  const keys = new Set<string>()
  const unreadable: Unreadable[] = []
  let matched = 0
  let changed = 0
  let batch: RegisterKey[] = []
  const pass = async (): Promise<void> => {
    if (batch.length === 0) return
    const passing = batch
    batch = []
    changed += await change(passing)
    await pacing.after(passing.length)
  }
  // What is changed is not read, and neither is more of it than is told.
  const reading = () =>
    dryRun && unreadable.length < UNREADABLE_MAX ? { errors: false, bytesMax: PAGE_BYTES_MAX } : HEADS
  for await (const entry of entriesOf(register, filters, reading)) {
    if (signal?.aborted === true) break
    matched++
    count(groups, entry)
    if (entry.key !== null) keys.add(JSON.stringify([entry.direction, entry.consumer, entry.type, entry.key]))
    if (dryRun) {
      const why = unreadable.length < UNREADABLE_MAX ? await whyUnreadable(entry, contractOf) : null
      if (why !== null) unreadable.push({ id: entry.id, consumer: entry.consumer, why })
      continue
    }
    batch.push(keyOf(entry))
    if (batch.length >= pacing.batch) await pass()
  }
  if (signal?.aborted !== true) await pass()
  return { dryRun, matched, changed, groups: sorted(groups), keys: keys.size, unreadable }
}

/** What the filter lets through, in groups, the largest first. No message is read. */
export async function groupsOf(
  register: RegisterStore,
  filter: RegisterFilter,
): Promise<Pick<BulkResult, 'matched' | 'groups'>> {
  const groups = new Map<string, BulkGroup>()
  let matched = 0
  for await (const entry of entriesOf(register, [filter], () => HEADS)) {
    matched++
    count(groups, entry)
  }
  return { matched, groups: sorted(groups) }
}

function sorted(groups: ReadonlyMap<string, BulkGroup>): readonly BulkGroup[] {
  return [...groups.values()].toSorted((a, b) => b.count - a.count)
}

function count(groups: Map<string, BulkGroup>, entry: RegisterEntry): void {
  const { direction, consumer, type: contract, state, fingerprint, createdAt } = entry
  const name = JSON.stringify([direction, consumer, contract, state, fingerprint])
  const { count: before, oldestAt } = groups.get(name) ?? { count: 0, oldestAt: createdAt }
  const group = { direction, consumer, contract, state, fingerprint, count: before + 1 }
  groups.set(name, { ...group, oldestAt: Math.min(oldestAt, createdAt) })
}

/** Null when the message can be read, or when there is nothing to read it with or from. */
async function whyUnreadable(
  { direction, message, type }: RegisterEntry,
  contractOf: (name: string) => Contract | undefined,
): Promise<string | null> {
  if (message === null) return 'its body is no longer kept'
  const contract = contractOf(type)
  // What goes out is for others to read.
  if (contract === undefined) return direction === 'in' ? `this program declares no contract "${type}"` : null
  try {
    await contract.decode(message)
    return null
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}
