/** One event of a ledger. `at` is nanoseconds of the machine's monotonic clock, which all processes share. */
export type Event = { readonly at: number } & (
  | {
      readonly kind: 'publish'
      readonly id: string
      readonly queues: readonly string[]
      readonly persistent: boolean
      readonly hash: string
      readonly by: string
      readonly seq: number
      readonly tx?: string
    }
  | { readonly kind: 'confirm' | 'refuse'; readonly id: string }
  | {
      readonly kind: 'deliver'
      readonly queue: string
      readonly id: string
      readonly hash: string
      readonly redelivered: boolean
      readonly session: string
    }
  | {
      readonly kind: 'settle'
      readonly queue: string
      readonly id: string
      readonly outcome: 'accept' | 'reject' | 'release'
    }
  | {
      readonly kind: 'begin'
      readonly tx: string
      readonly takes: readonly { readonly queue: string; readonly id: string }[]
    }
  | { readonly kind: 'committed' | 'rolled-back'; readonly tx: string }
  | { readonly kind: 'purging' | 'purged'; readonly queue: string; readonly ids: readonly string[] }
  | { readonly kind: 'declaring' | 'declared' | 'deleting' | 'deleted'; readonly name: string }
  | { readonly kind: 'seen'; readonly name: string; readonly exists: boolean }
  | { readonly kind: 'drained'; readonly queue: string }
)

export declare function readLedgers(dir: string): Event[]
