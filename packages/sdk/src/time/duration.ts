import { SdkError } from '../errors.ts'

/** Milliseconds, or a text like `250ms`, `30s`, `5m`, `4h`, `14d`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/**
 * A duration in milliseconds.
 *
 * @throws {SdkError} `invalid_declaration` when it is none, or negative
 */
export function milliseconds(duration: Duration): number {
  if (typeof duration === 'number' && Number.isFinite(duration) && duration >= 0) return duration
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(String(duration))
  if (match !== null) return Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS]
  throw new SdkError(
    'invalid_declaration',
    `${JSON.stringify(duration)} is no duration; write 250ms, 30s, 5m, 4h or 14d`,
  )
}
