import type { Contract } from '../contract/contract.ts'
import { SdkError } from '../errors.ts'
import type { Message } from '../message/message.ts'

/** A stored message that this program could not read. */
export interface Unreadable {
  readonly id: string
  readonly type: string
  readonly version: number
  /** What a handler's message would be parked with. */
  readonly error: SdkError
}

/** What was found among the stored messages. */
export interface StoredBodies {
  readonly checked: number
  readonly failed: number
  /** The first of them, at most {@link UNREADABLE_MAX}. */
  readonly unreadable: readonly Unreadable[]
}

/** Unreadable messages that are told one by one: when there are more, they have a cause in common. */
export const UNREADABLE_MAX = 1000

/**
 * Reads messages as handlers would: what is retained decides whether a program may be deployed, not what was declared last.
 * One after the other, in memory that does not grow with their number.
 */
export async function checkStoredBodies(
  contracts: readonly Contract[],
  messages: AsyncIterable<Message> | Iterable<Message>,
): Promise<StoredBodies> {
  const unreadable: Unreadable[] = []
  let [checked, failed] = [0, 0]
  for await (const message of messages) {
    checked++
    const error = await failureOf(contracts, message)
    if (error === null) continue
    failed++
    const { id, type, version } = message
    if (unreadable.length < UNREADABLE_MAX) unreadable.push({ id, type, version, error })
  }
  return { checked, failed, unreadable }
}

async function failureOf(contracts: readonly Contract[], message: Message): Promise<SdkError | null> {
  const contract = contracts.find(({ name, kind }) => name === message.type && kind === message.kind)
  if (contract === undefined)
    return new SdkError(
      'unknown_contract',
      `the ${message.kind} "${message.type}" is not among the contracts; declare it, or cancel its messages`,
    )
  try {
    await contract.decode(message)
    return null
  } catch (error) {
    if (error instanceof SdkError) return error
    throw error
  }
}
