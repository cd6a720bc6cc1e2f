import type { RegisterState, Store } from '../store/port.ts'

/** On the way, or being handled. What was given up is an operator's, and holds back nothing. */
const UNHANDLED: ReadonlySet<RegisterState> = new Set([
  'scheduled',
  'pending',
  'waiting',
  'retrying',
  'running',
  'uncertain',
])

/**
 * Whether a message is still to be handled, as far as this store knows: it knows of the consumers that have their inbox
 * here, and of others only until the message is sent.
 */
export async function isUnhandled(
  store: Pick<Store<never>, 'register'>,
  id: string,
  consumers: readonly string[],
): Promise<boolean> {
  const { entries } = await store.register.list({ id }, 100, null, { bodies: false, errors: false })
  if (entries.some(({ state }) => UNHANDLED.has(state))) return true
  // A handler whose transaction is open, and a message that the engine has, have left no trace here yet.
  return consumers.some((consumer) => !entries.some((entry) => entry.direction === 'in' && entry.consumer === consumer))
}
