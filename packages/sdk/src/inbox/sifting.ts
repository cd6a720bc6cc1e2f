import { SdkError } from '../errors.ts'
import type { Contract } from '../contract/contract.ts'
import type { ReadWork, Work } from './work.ts'

/** What can be said of a message before its handler is begun. */
export type Sifted =
  | { readonly kind: 'ready'; readonly work: ReadWork }
  | { readonly kind: 'expired' }
  /** What its body lies in or is locked with does not answer now: an attempt that failed. */
  | { readonly kind: 'failed'; readonly error: unknown }
  | { readonly kind: 'refused'; readonly reason: string; readonly error: unknown }

/** Reads the data, unless nobody needs it any more or nobody can. */
export async function sift(work: Work, contract: Contract, now: number): Promise<Sifted> {
  const { message } = work
  if (work.refusal === 'malformed') {
    const error = new SdkError('malformed_message', 'the bytes are no message; whoever sent them uses another form')
    return { kind: 'refused', reason: 'malformed', error }
  }
  if (message.type !== contract.name) {
    const error = new SdkError('unknown_contract', `a ${message.type} came where ${contract.name} is handled`)
    return { kind: 'refused', reason: 'unknown-contract', error }
  }
  const { deadline } = message.metadata
  if (deadline !== undefined && deadline <= now) return { kind: 'expired' }
  try {
    return { kind: 'ready', work: { ...work, data: await contract.decode(message) } }
  } catch (error) {
    if (error instanceof SdkError && error.retryable) return { kind: 'failed', error }
    return { kind: 'refused', reason: reasonOf(error), error }
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof SdkError && error.code === 'unknown_contract') return 'unknown-contract'
  if (error instanceof SdkError && error.code === 'malformed_message') return 'malformed'
  if (error instanceof SdkError && error.code === 'unknown_key') return 'unknown-key'
  return 'invalid-data'
}

/** The error of a message whose every attempt ended with the process. */
export function vanished(work: Work): SdkError {
  return new SdkError(
    'refused',
    `the process ended each of the ${work.attempt - 1} times that ${work.message.type} ${work.message.id} was handled; it may be what ends it`,
    { data: { attempts: work.attempt - 1 } },
  )
}
