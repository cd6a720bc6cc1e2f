import type { Violation } from './checker.mjs'

export interface Report {
  readonly cycles: number
  readonly fault: string
  readonly seed: number | string
  readonly counts: { readonly confirmed: number } & Readonly<Record<string, number>>
  readonly violations: readonly Violation[]
  readonly violationCount: number
  readonly restartMs: { readonly p50: number; readonly max: number }
  readonly dir: string
}

export declare function torture(options: {
  readonly cycles: number
  readonly fault: 'kill' | 'power'
  readonly seed?: number | string
  readonly broker?: 'stathmos' | 'rabbitmq'
  readonly sabotage?: string
  readonly keep?: boolean
  readonly log?: (line: string) => void
}): Promise<Report>
