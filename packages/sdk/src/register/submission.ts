import { createHash } from 'node:crypto'
import type { Contract, DataOf } from '../contract/contract.ts'
import type { Digest } from '../contract/version-chain.ts'
import { SdkError } from '../errors.ts'
import type { OutgoingBuffer } from '../outbox/outgoing-buffer.ts'
import type { Outbox } from '../outbox/outbox.ts'
import { named, type SendOptions } from '../outbox/outgoing.ts'
import type { Message } from '../message/message.ts'
import type { RegisterEntry } from '../store/port.ts'
import type { Surroundings } from '../surroundings.ts'
import { milliseconds, type Duration } from '../time/duration.ts'
import type { MessageSettings, SettingsDirectory } from './message-settings.ts'
import { HEADS } from './selection.ts'

/** Contracts whose messages go through the outbox. */
export type SendableContract = Contract<'event'> | Contract<'command'>

/** How a message of another system is stored. */
export interface SubmitOptions extends Omit<SendOptions, 'id' | 'externalId'> {
  /** The name that the other system has for it: of several submissions with one, the first counts. */
  readonly externalId: string
}

/** What became of a submission. */
export interface Submitted {
  readonly id: string
  /** Whether it was there already, and nothing was added. */
  readonly repeated: boolean
}

/** How a message is sent that is waited for. */
export interface SendNowOptions extends Omit<SendOptions, 'delay' | 'at' | 'cancelKey'> {
  /** How long to wait for the engine. Default 10s. */
  readonly timeout?: Duration
  /** Ends the waiting, not the message. */
  readonly signal?: AbortSignal
}

/** `sent` says that the engine has it; otherwise it stays in the outbox and is sent when that can be. */
export type SentNow =
  | { readonly id: string; readonly sent: true }
  | {
      readonly id: string
      readonly sent: false
      readonly state: 'pending' | 'parked' | 'cancelled'
      readonly reason: string
    }

const TIMEOUT: Duration = '10s'

/** Between looks whether it has been sent: the first ones at once, because the relay of this process needs no longer. */
const LOOK_MS = 1
const LOOK_MS_MAX = 100

/**
 * Creates messages outside of any transaction of the application: each call is a transaction of its own, and when its
 * promise resolves the message is as safe as the database makes it.
 */
export class Submission<Tx> {
  readonly #surroundings: Surroundings<Tx>
  readonly #outbox: Pick<Outbox<Tx>, 'prepare'>
  readonly #settings: SettingsDirectory

  constructor(surroundings: Surroundings<Tx>, outbox: Pick<Outbox<Tx>, 'prepare'>, settings: SettingsDirectory) {
    this.#surroundings = surroundings
    this.#outbox = outbox
    this.#settings = settings
  }

  /**
   * Creates a message, to be sent as soon as can be, or when the options say.
   *
   * @returns its id
   * @throws {SdkError} `invalid_data`, `too_large`, `store_down`, `overloaded`
   */
  async createMessage<C extends SendableContract>(
    contract: C,
    data: DataOf<C>,
    options: SendOptions = {},
  ): Promise<string> {
    return this.#add(contract, data, options)
  }

  /**
   * Creates a message for another system that has a name for it, once: a repetition is recognised as long as the service
   * remembers what it received (`retention.done`), wherever the message has got to by then. Its id is made of service,
   * contract and external id, so that later still it is the same message to whoever remembers that.
   *
   * @throws {SdkError} `refused` when there was one of that name with other data; else as {@link createMessage}
   */
  async submit<C extends SendableContract>(contract: C, data: DataOf<C>, options: SubmitOptions): Promise<Submitted> {
    const { externalId } = options
    if (externalId === '')
      throw new SdkError('invalid_declaration', 'the externalId is empty; give the other system’s name')
    named('externalId', externalId)
    const { service, store } = this.#surroundings
    const id = submissionId(service, contract.name, externalId)
    const digest = await contract.digest(data as never)
    const memory = memoryOf(id, contract, digest, externalId, service, await store.now())
    const repeated = !(await this.#within(async (buffer, tx) => {
      const [verdict] = await store.inbox.begin(tx, SUBMISSIONS, [memory], false)
      if (verdict?.kind !== 'new') return false
      await this.#send(buffer, contract, data, { ...options, id })
      return true
    }))
    if (repeated) {
      const filter = { id, direction: 'in', consumer: SUBMISSIONS } as const
      const [known] = (await store.register.list(filter, 1, null, HEADS)).entries
      if (known !== undefined && known.key !== memory.key && !(await isSame(contract, data, known.key)))
        throw new SdkError(
          'refused',
          `${contract.name} with the external id ${JSON.stringify(externalId)} was submitted before with other data; use another id for another message`,
          { data: { id, externalId } },
        )
    }
    return { id, repeated }
  }

  /**
   * Stores a message and waits until the engine has it, in its place behind earlier ones of its key. Whatever goes wrong
   * after it is stored leaves it in the outbox, to be sent later: asking again would send a second one, unless both have
   * the same `id`.
   *
   * @throws {SdkError} as {@link createMessage}: then nothing is stored
   */
  async sendNow<C extends SendableContract>(
    contract: C,
    data: DataOf<C>,
    options: SendNowOptions = {},
  ): Promise<SentNow> {
    const { timeout, signal, ...sending } = options
    const { clock } = this.#surroundings
    const timeoutMs = milliseconds(timeout ?? TIMEOUT)
    const until = clock.monotonic() + timeoutMs
    const id = await this.#add(contract, data, sending)
    for (let pauseMs = LOOK_MS; ; pauseMs = Math.min(pauseMs * 2, LOOK_MS_MAX)) {
      const outcome = await this.#outcome(id)
      if (outcome.sent || outcome.state !== 'pending') return outcome
      const restMs = until - clock.monotonic()
      if (restMs <= 0 || signal?.aborted === true) return outcome
      await new Promise<void>((resolve) => void clock.after(Math.min(pauseMs, restMs), resolve))
    }
  }

  /** What the register says of a message that was stored. */
  async #outcome(id: string): Promise<SentNow> {
    let entry: RegisterEntry | undefined
    try {
      entry = await this.#find(id)
    } catch (error) {
      return { id, sent: false, state: 'pending', reason: `the store does not answer: ${String(error)}` }
    }
    // What the engine has is deleted, unless it is kept for the register.
    if (entry === undefined || entry.state === 'sent') return { id, sent: true }
    const reason = entry.reason ?? entry.errors.at(-1)?.message ?? 'the engine has not answered yet; it is tried again'
    const state = entry.state === 'parked' || entry.state === 'cancelled' ? entry.state : 'pending'
    return { id, sent: false, state, reason }
  }

  async #find(id: string): Promise<RegisterEntry | undefined> {
    const { entries } = await this.#surroundings.store.register.list({ id, direction: 'out' }, 1, null, {
      bodies: false,
    })
    return entries[0]
  }

  async #add<C extends SendableContract>(contract: C, data: DataOf<C>, options: SendOptions): Promise<string> {
    return this.#within((buffer) => this.#send(buffer, contract, data, options))
  }

  /** Runs `work` in a transaction, and has what it sends looked for when that has committed. */
  async #within<T>(work: (buffer: OutgoingBuffer<Tx>, tx: Tx) => Promise<T>): Promise<T> {
    const bufferOf = await this.#outbox.prepare()
    const { buffer, result } = await this.#surroundings.store.transaction(async (tx) => {
      const filling = bufferOf(tx)
      const made = await work(filling, tx)
      await filling.flush()
      return { buffer: filling, result: made }
    })
    buffer.committed()
    return result
  }

  async #send<C extends SendableContract>(
    buffer: OutgoingBuffer<Tx>,
    contract: C,
    data: DataOf<C>,
    options: SendOptions,
  ): Promise<string> {
    const settings = this.#settings.of(contract.name)
    const ttl = options.ttl ?? settings?.ttl
    // What the other kind of contract has in common with this one is all that is needed of either.
    const command = limited(contract as Contract<'command', string, DataOf<C>>, settings)
    return buffer.scopeOf(null).send(command, data, ttl === undefined ? options : { ...options, ttl })
  }
}

/**
 * Whose memory submissions are kept in: beside the consumers', and as long as theirs. No handler has this name, because
 * those of handlers begin with their service's.
 */
export const SUBMISSIONS = 'submissions'

/** What is remembered of a submission: its id, and in the place of the key a hash of what it said. */
function memoryOf(
  id: string,
  contract: SendableContract,
  { version, contentType, digest }: Digest,
  externalId: string,
  source: string,
  time: number,
): Message {
  return {
    id,
    kind: contract.kind,
    type: contract.name,
    version,
    source,
    time,
    key: digest,
    keySeq: null,
    contentType,
    body: new Uint8Array(),
    metadata: { correlationId: id, externalId },
  }
}

/** Digests of the same data differ when a key was changed between them; then the earlier one is made again. */
async function isSame<C extends SendableContract>(
  contract: C,
  data: DataOf<C>,
  known: string | null,
): Promise<boolean> {
  return known !== null && (await contract.digest(data as never, known)).digest === known
}

/** The id of what another system calls by a name: the same wherever and whenever it is submitted (UUIDv8, RFC 9562 §5.8). */
export function submissionId(service: string, contract: string, externalId: string): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([service, contract, externalId]))
    .digest()
  hash[6] = (hash[6]! & 0x0f) | 0x80
  hash[8] = (hash[8]! & 0x3f) | 0x80
  const hex = hash.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`
}

/** The contract, with what its messages may have at most. */
function limited<In>(
  contract: Contract<'command', string, In>,
  settings: MessageSettings | undefined,
): Contract<'command', string, In> {
  if (settings?.bodyBytesMax === undefined) return contract
  const { system, bodyBytesMax } = settings
  return {
    ...contract,
    async encode(data, id) {
      const encoded = await contract.encode(data, id)
      checkSize(contract.name, encoded.body.byteLength, system, bodyBytesMax)
      return encoded
    },
  }
}

function checkSize(contract: string, bytes: number, system: string, max: number): void {
  if (bytes <= max) return
  throw new SdkError(
    'too_large',
    `a ${contract} of ${bytes} bytes is larger than the ${max} that the settings of "${system}" allow; store the data elsewhere and send where it is`,
    { data: { bytes, max } },
  )
}
