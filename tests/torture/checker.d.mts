import type { Event } from './ledger.mjs'

export interface Violation {
  readonly invariant: string
  readonly text: string
}

export declare function audit(
  events: readonly Event[],
  topology?: { readonly ordered?: readonly string[]; readonly deadLetters?: Readonly<Record<string, string>> },
): { readonly violations: readonly Violation[]; readonly counts: Readonly<Record<string, number>> }
