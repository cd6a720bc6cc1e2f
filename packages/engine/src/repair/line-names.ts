import { lowerTtl } from '../queue/expiry.ts'
import { linesOf } from '../queue/settings.ts'
import type { Definition } from '../topology/definition.ts'

/** What a line is: a queue's, or a schedule's. */
export interface LineName {
  /** For people. */
  readonly name: string
  readonly ttlMs: number
  readonly isSchedule: boolean
}

/** Which lines there are, after all the definitions so far. */
export class LineNames {
  readonly #vhosts = new Map<string, { schedule: number; queues: Map<string, { first: number; count: number }> }>()
  readonly #names = new Map<number, LineName>()

  get(line: number): LineName | undefined {
    return this.#names.get(line)
  }

  /** Follows a change. Returns the lines that are gone with it, or what is wrong with it. */
  apply(definition: Definition): number[] | string {
    if (definition.kind === 'access') return []
    if (definition.kind === 'vhost') {
      this.#vhosts.set(definition.vhost, { schedule: definition.scheduleLine, queues: new Map() })
      const name = `the schedule of vhost "${definition.vhost}"`
      this.#names.set(definition.scheduleLine, { name, ttlMs: -1, isSchedule: true })
      return []
    }
    const vhost = this.#vhosts.get(definition.vhost)
    if (vhost === undefined) return `a definition names the unknown vhost "${definition.vhost}"`
    switch (definition.kind) {
      case 'vhost_deleted': {
        const gone = [vhost.schedule]
        for (const { first, count } of vhost.queues.values()) gone.push(...span(first, count))
        this.#vhosts.delete(definition.vhost)
        return this.#forget(gone)
      }
      case 'queue': {
        const { queue, firstLine } = definition
        const count = linesOf(queue)
        vhost.queues.set(queue.name, { first: firstLine, count })
        const name = `queue "${queue.name}" of vhost "${definition.vhost}"`
        for (const line of span(firstLine, count)) {
          this.#names.set(line, { name, ttlMs: queue.settings.messageTtlMs ?? -1, isSchedule: false })
        }
        return []
      }
      case 'queue_deleted': {
        const known = vhost.queues.get(definition.name)
        vhost.queues.delete(definition.name)
        return known === undefined ? [] : this.#forget(span(known.first, known.count))
      }
      default:
        return []
    }
  }

  #forget(lines: number[]): number[] {
    for (const line of lines) this.#names.delete(line)
    return lines
  }
}

/** When a message expires in a line, ms since 1970; 0: never. */
export function expiryIn(line: LineName | undefined, stampMs: number, expiresMs: number): number {
  const lower = lowerTtl(expiresMs === 0 ? -1 : expiresMs - stampMs, line?.ttlMs ?? -1)
  return lower < 0 ? 0 : stampMs + lower
}

function span(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i)
}
