export interface SdkTortureReport {
  readonly seed: number
  /** Whether all orders were through in the end. */
  readonly drained: boolean
  /** Processes that ended by themselves. */
  readonly unexpected: number
  readonly orders: number
  readonly violations: readonly string[]
}

export function torture(options: {
  readonly cycles: number
  readonly store: 'postgres' | 'sqlite'
  readonly seed: number
  readonly keep?: boolean
  readonly sabotage?: 'accept-first'
  readonly patienceMs?: number
  readonly log?: (line: string) => void
}): Promise<SdkTortureReport>
