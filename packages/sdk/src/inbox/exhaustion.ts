import type { Random } from '../random.ts'
import { attemptOf } from '../retry/fingerprint.ts'
import type { Attempt } from '../store/port.ts'
import type { Declaration } from './declaration.ts'

/** What follows a failed attempt. */
export type NextStep =
  | { readonly kind: 'retry'; readonly pauseMs: number }
  | { readonly kind: 'park'; readonly holdsKey: boolean }
  | { readonly kind: 'drop' }

type Policy = Pick<Declaration<never>, 'retry' | 'onExhausted' | 'giveUp'>

/** Decides after the given attempt has failed. */
export function nextStep(policy: Policy, error: unknown, attempt: number, random: Random): NextStep {
  if (attempt < policy.retry.attempts && !policy.giveUp(error))
    return { kind: 'retry', pauseMs: policy.retry.pauseMs(attempt, random) }
  if (policy.onExhausted === 'drop') return { kind: 'drop' }
  return { kind: 'park', holdsKey: policy.onExhausted === 'park-key' }
}

/** For the log and for telemetry. */
export function nameOf(step: NextStep): string {
  if (step.kind !== 'park') return step.kind
  return step.holdsKey ? 'park-key' : 'park-message'
}

/** Names of attempts after which nobody knows whether the effect happened: see {@link Uncertain}, and a timeout. */
const UNKNOWN_OUTCOMES: readonly string[] = ['uncertain', 'timeout']

/** Whether it is unknown what the last attempt did. */
export function outcomeUnknown(errors: readonly Attempt[]): boolean {
  const last = errors.at(-1)
  return last !== undefined && UNKNOWN_OUTCOMES.includes(last.name)
}

/** Whether an error leaves unknown what the attempt did. */
export function leavesUnknown(error: unknown): boolean {
  return UNKNOWN_OUTCOMES.includes(attemptOf(error, 0, 0, '').name)
}
