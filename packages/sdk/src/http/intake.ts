import type { Contract } from '../contract/contract.ts'
import { SdkError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { RegisterEntry } from '../store/port.ts'
import { SUBMISSIONS, type Submitted } from '../register/submission.ts'
import { problem, problemOf, type Problem } from './problem.ts'

/** Contracts that others may submit. */
export type AcceptedContract = Contract<'event'> | Contract<'command'>

/** Of a service, what stands behind the door. */
export interface IntakeService {
  readonly log: Log
  submit(contract: AcceptedContract, data: unknown, options: { readonly externalId: string }): Promise<Submitted>
  createMessage(contract: AcceptedContract, data: unknown): Promise<string>
  /** What there is under an id, without its data. */
  find(id: string): Promise<readonly RegisterEntry[]>
}

/** Who asks, for `authorize`. */
export interface Caller {
  readonly method: string
  readonly path: string
  readonly headers: Headers
  /** The contract that is to be created, or whose message is asked for; null when there is none of that name. */
  readonly contract: string | null
}

/** What other systems may do over HTTP, and who they have to be. */
export interface IntakeOptions {
  /** What may be created from outside; nothing else is, and nothing else can be seen. */
  readonly accept: readonly AcceptedContract[]
  /** Without it everybody may. `false` asks for credentials, `forbidden` says that the given ones do not suffice. */
  readonly authorize?: (caller: Caller) => boolean | 'forbidden' | Promise<boolean | 'forbidden'>
  /** What `WWW-Authenticate` says where credentials are missing. Default `Bearer`. */
  readonly challenge?: string
  /** Where it is mounted. Default `/messages`. */
  readonly path?: string
  /** Bytes of a body. Default 1 MiB. */
  readonly bodyBytesMax?: number
  /** Whether messages need no `Idempotency-Key`; without one a repetition is another message. Default false. */
  readonly keyless?: boolean
}

/** A request, whichever server it came through. */
export interface Call {
  readonly method: string
  readonly path: string
  readonly headers: Headers
  /**
   * The body, or null as soon as it has more bytes than `max`.
   *
   * @throws {BodyTaken}
   */
  body(max: number): Promise<Uint8Array | null>
}

/** Somebody has read the body before, and nothing of it is left: a mistake of the program, and none of the caller's. */
export class BodyTaken extends Error {
  override readonly name = 'BodyTaken'

  constructor() {
    super('the body was read before it came here; mount http() before what reads bodies, such as express.json()')
  }
}

/** What is answered, always JSON. */
export interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

const BODY_BYTES_MAX = 1024 * 1024
/** As many as an external id may have. */
const KEY_CHARS_MAX = 200

/** The door for other systems: takes messages into the register, and says what became of them. */
export class Intake {
  readonly #service: IntakeService
  readonly #options: IntakeOptions
  readonly #contracts: ReadonlyMap<string, AcceptedContract>
  readonly #path: string

  constructor(service: IntakeService, options: IntakeOptions) {
    this.#service = service
    this.#options = options
    this.#contracts = new Map(options.accept.map((contract) => [contract.name, contract]))
    this.#path = (options.path ?? '/messages').replace(/\/$/, '')
    if (!this.#path.startsWith('/'))
      throw new SdkError('invalid_declaration', `the path ${JSON.stringify(options.path)} does not begin with /`)
  }

  /** Never rejects. */
  async answer(call: Call): Promise<Reply> {
    try {
      const answer = await this.#route(call)
      return 'status' in answer && 'code' in answer ? problemReply(answer) : answer
    } catch (error) {
      const found = problemOf(error)
      if (found.status >= 500) this.#service.log.error({ err: error, path: call.path }, 'a message was not accepted')
      return problemReply(found)
    }
  }

  async #route(call: Call): Promise<Reply | Problem> {
    const name = this.#nameIn(call.path)
    if (name === null)
      return problem(404, 'not_found', `there is nothing here; messages are at ${this.#path}/<contract>`)
    if (call.method === 'POST') return this.#create(call, name)
    if (call.method === 'GET') return this.#show(call, name)
    return problem(405, 'method_not_allowed', 'create messages with POST, look at them with GET', {
      headers: { allow: 'GET, POST' },
    })
  }

  /** The one part of the path below where it is mounted; null for any other path. */
  #nameIn(path: string): string | null {
    if (!path.startsWith(`${this.#path}/`)) return null
    const rest = path.slice(this.#path.length + 1)
    if (rest === '' || rest.includes('/')) return null
    try {
      return decodeURIComponent(rest)
    } catch {
      return null
    }
  }

  async #create(call: Call, name: string): Promise<Reply | Problem> {
    const contract = this.#contracts.get(name)
    const refused = await this.#refusal(call, contract?.name ?? null)
    if (refused !== null) return refused
    if (contract === undefined) return problem(404, 'unknown_contract', `no message "${name}" can be created here`)
    const key = keyIn(call.headers)
    if (key === '' || (key !== null && key.length > KEY_CHARS_MAX))
      return problem(
        400,
        'invalid_key',
        `the Idempotency-Key has ${key.length} characters; it has 1 to ${KEY_CHARS_MAX}`,
      )
    if (key === null && this.#options.keyless !== true)
      return problem(400, 'key_missing', 'give an Idempotency-Key: the name that your system has for the message')
    if (!/^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i.test(call.headers.get('content-type') ?? ''))
      return problem(415, 'unsupported_media_type', 'send the data as application/json')
    const max = this.#options.bodyBytesMax ?? BODY_BYTES_MAX
    const body = await call.body(max).catch((error: unknown) => {
      if (error instanceof BodyTaken) throw error
    })
    if (body === undefined) return problem(400, 'incomplete', 'the body did not come to its end')
    if (body === null)
      return problem(
        413,
        'too_large',
        `a body has at most ${max} bytes; store the data elsewhere and send where it is`,
        { headers: { connection: 'close' } },
      )
    const data = parsed(body)
    if (data === MALFORMED)
      return problem(400, 'malformed_json', 'the body is no JSON in UTF-8; send the data as one value of JSON')
    const { id, repeated } =
      key === null
        ? { id: await this.#service.createMessage(contract, data), repeated: false }
        : await this.#service.submit(contract, data, { externalId: key })
    return json(202, { id, repeated }, { location: `${this.#path}/${encodeURIComponent(id)}` })
  }

  async #show(call: Call, id: string): Promise<Reply | Problem> {
    const entries = await this.#service.find(id)
    const ours = entries.filter(({ type }) => this.#contracts.has(type))
    // What is sent may be gone from the outbox; that it was submitted is remembered longer. Of what consumers received
    // under the same id nothing is said.
    const memory = ours.find(({ direction, consumer }) => direction === 'in' && consumer === SUBMISSIONS)
    const entry = ours.find(({ direction }) => direction === 'out') ?? (memory && { ...memory, state: 'sent' })
    const refused = await this.#refusal(call, entry?.type ?? null)
    if (refused !== null) return refused
    if (entry === undefined)
      return problem(404, 'not_found', `there is no message ${id}, or it was sent and is no longer kept`)
    const { type, externalId, state, attempts, createdAt, dueAt, reason } = entry
    return json(200, {
      id,
      contract: type,
      externalId,
      state,
      attempts,
      createdAt: new Date(createdAt).toISOString(),
      dueAt: dueAt === null ? null : new Date(dueAt).toISOString(),
      reason,
    })
  }

  async #refusal({ method, path, headers }: Call, contract: string | null): Promise<Problem | null> {
    const { authorize, challenge = 'Bearer' } = this.#options
    const may = authorize === undefined || (await authorize({ method, path, headers, contract }))
    if (may === true) return null
    if (may === 'forbidden') return problem(403, 'forbidden', 'you may not do this')
    return problem(401, 'unauthorized', 'say who you are', { headers: { 'www-authenticate': challenge } })
  }
}

/** The key as it is, or as the quoted text that the header's draft has it; null when there is none. */
function keyIn(headers: Headers): string | null {
  const value = headers.get('idempotency-key')?.trim()
  if (value === undefined) return null
  const quoted = /^"((?:[^"\\]|\\["\\])*)"$/.exec(value)
  return quoted === null ? value : quoted[1]!.replaceAll(/\\(["\\])/g, '$1')
}

const MALFORMED = Symbol('malformed')

function parsed(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)) as unknown
  } catch {
    return MALFORMED
  }
}

function json(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Reply {
  return {
    status,
    headers: {
      'content-type': 'application/json',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      ...headers,
    },
    body: JSON.stringify(body),
  }
}

function problemReply({ headers, ...told }: Problem): Reply {
  const type = { 'content-type': 'application/problem+json' }
  return json(told.status, { type: 'about:blank', ...told }, { ...type, ...headers })
}
