import type { StandardSchemaV1 } from '@standard-schema/spec'
import { SdkError } from '../errors.ts'
import type { Message, MessageKind } from '../message/message.ts'
import type { BodyFormat } from './body-format.ts'
import { assertContractName } from './contract-name.ts'
import type { Contract } from './contract.ts'
import { json } from './json-body.ts'
import { keyOf, type KeyRule } from './key-rule.ts'
import { digestOf, newestOf, read, write, type VersionChain, type VersionDefinition } from './version-chain.ts'

type InputOf<S extends StandardSchemaV1> = StandardSchemaV1.InferInput<S>
type OutputOf<S extends StandardSchemaV1> = StandardSchemaV1.InferOutput<S>

/** How a contract is read, whatever its kind. */
export interface ContractOptions {
  /**
   * Reads messages of a newer version than this program knows as if they were of its newest: their senders promise to add
   * fields and no more. Without it they are refused as `unknown_contract`. Default false.
   */
  readonly forward?: boolean
}

/** What a version can do besides being raised from the one before. */
export interface NextOptions<Old, New> {
  /** Brings data of the new version back to the old one, for `sendAs`. */
  readonly down?: (data: New) => Old
}

/** Data together with its contract. */
export interface Instance<Kind extends MessageKind, Name extends string, In> {
  readonly contract: Contract<Kind, Name, In>
  /** The contract's name, to tell instances of several contracts apart. */
  readonly type: Name
  readonly data: In
}

/** What every contract tells about itself, for manifests. */
export interface Declaration {
  readonly kind: MessageKind
  readonly name: string
  readonly keyed: boolean
  readonly forward: boolean
  /** The version that is sent: the newest, unless `sendAs` says otherwise. */
  readonly sends: number
  readonly versions: readonly VersionDefinition[]
}

/** An event or a command. Immutable: every method returns another one. */
export interface DeclaredContract<Kind extends MessageKind, Name extends string, In, Out>
  extends Contract<Kind, Name, In, Out>, Declaration {
  readonly kind: Kind
  readonly name: Name
  /**
   * Says what its messages are about: messages of one key are handled in order. It is asked of the newest version's
   * validated data, and gives a text of 1 to 200 characters. A later `.next()` keeps the function, which then must read
   * only fields that are still there; it is refused at the first message when it does not, and `.key()` can be repeated.
   */
  key(of: (data: Out) => string): DeclaredContract<Kind, Name, In, Out>
  /**
   * Adds a version: the next whole number. From now on senders give it and handlers get it.
   *
   * @param up makes of what handlers got until now what senders give from now on
   */
  next<S extends StandardSchemaV1>(
    schema: S,
    up: (old: Out) => InputOf<S>,
    options?: NextOptions<In, OutputOf<S>>,
  ): DeclaredContract<Kind, Name, InputOf<S>, OutputOf<S>>
  /** The form of bodies from the newest version on; earlier ones keep theirs. Default {@link json}. */
  body(format: BodyFormat): DeclaredContract<Kind, Name, In, Out>
  /**
   * Sends an earlier version until every consumer knows the newest: data of the newest is brought down by the `down`
   * functions.
   *
   * @throws {SdkError} `invalid_declaration` when there is no such version or no way down to it
   */
  sendAs(version: number): DeclaredContract<Kind, Name, In, Out>
  /**
   * Hands bodies of the newest version to handlers as they came, for hot paths between programs that trust each other: what
   * a validator would check, fill in or convert is not. What is sent, and earlier versions, are validated as ever. The
   * last call of a declaration.
   */
  trusting(): Contract<Kind, Name, In, In> & Declaration
  of(data: In): Instance<Kind, Name, In>
}

/** What a contract is made of. */
export interface Definition<Kind extends MessageKind, Name extends string> {
  readonly kind: Kind
  readonly name: Name
  readonly chain: VersionChain
  readonly key: KeyRule | null
  readonly sends: number
  readonly trusting: boolean
}

/** @throws {SdkError} `invalid_declaration` */
export function define<Kind extends MessageKind, Name extends string>(
  kind: Kind,
  name: Name,
  schema: StandardSchemaV1,
  options: ContractOptions,
): Definition<Kind, Name> {
  assertContractName(name)
  const chain = firstOf(`"${name}"`, schema, json, options.forward ?? false)
  return { kind, name, chain, key: null, sends: 1, trusting: false }
}

/** A chain of one version. */
export function firstOf(what: string, schema: StandardSchemaV1, format: BodyFormat, forward: boolean): VersionChain {
  assertSchema(what, schema)
  return { what, versions: [{ version: 1, schema, format, up: null, down: null }], forward }
}

export function withKey<D extends Definition<MessageKind, string>>(definition: D, of: (data: never) => string): D {
  return { ...definition, key: { of: of as (data: unknown) => string, version: newestOf(definition.chain).version } }
}

export function withVersion<D extends Definition<MessageKind, string>>(
  definition: D,
  schema: StandardSchemaV1,
  up: (old: never) => unknown,
  down: ((data: never) => unknown) | undefined,
): D {
  const { chain } = definition
  assertSchema(chain.what, schema)
  const { version, format } = newestOf(chain)
  const added = { version: version + 1, schema, format, up, down: down ?? null }
  return { ...definition, chain: { ...chain, versions: [...chain.versions, added] }, sends: added.version }
}

export function withBody<D extends Definition<MessageKind, string>>(definition: D, format: BodyFormat): D {
  const { chain } = definition
  const versions = [...chain.versions.slice(0, -1), { ...newestOf(chain), format }]
  return { ...definition, chain: { ...chain, versions } }
}

export function withSent<D extends Definition<MessageKind, string>>(definition: D, version: number): D {
  const { chain } = definition
  const above = chain.versions.slice(version)
  if (chain.versions[version - 1] === undefined)
    throw new SdkError('invalid_declaration', `${chain.what} has no version ${version}; add it with .next()`)
  const gap = above.find(({ down }) => down === null)
  if (gap !== undefined)
    throw new SdkError(
      'invalid_declaration',
      `${chain.what} cannot be sent as version ${version}: version ${gap.version} has no way back; give its .next() a \`down\` function`,
    )
  return { ...definition, sends: version }
}

/** What every kind of contract can do. */
export function contractOf<Kind extends MessageKind, Name extends string, In, Out>(
  definition: Definition<Kind, Name>,
): Contract<Kind, Name, In, Out> & Declaration & { of(data: In): Instance<Kind, Name, In> } {
  const { kind, name, chain, key, sends, trusting } = definition
  const { version } = newestOf(chain)
  return {
    kind,
    name,
    version,
    keyed: key !== null,
    forward: chain.forward,
    sends,
    versions: chain.versions,
    async encode(data, id) {
      const { contentType, body, value } = await write(chain, sends, data, { id: id ?? null, type: name })
      return { version: sends, contentType, body, key: key === null ? null : keyOf(key, value, name, version) }
    },
    digest: (data, known) => digestOf(chain, sends, data, { id: null, type: name }, known ?? null),
    async decode(message: Message) {
      if (message.type !== name || message.kind !== kind)
        throw new SdkError(
          'unknown_contract',
          `the message is the ${message.kind} "${message.type}", not the ${kind} "${name}"; declare a contract of that kind and name, or have the sender say the kind that is meant`,
          { data: { kind: message.kind, type: message.type } },
        )
      return (await read(chain, message, trusting, { id: message.id, type: name })) as Out
    },
    of(data) {
      return { contract: this, type: name, data }
    },
  }
}

/** An event or a command of a definition. */
export function declared<Kind extends MessageKind, Name extends string, In, Out>(
  definition: Definition<Kind, Name>,
): DeclaredContract<Kind, Name, In, Out> {
  return Object.freeze<DeclaredContract<Kind, Name, In, Out>>({
    ...contractOf<Kind, Name, In, Out>(definition),
    key: (of) => declared(withKey(definition, of)),
    next: (schema, up, options) => declared(withVersion(definition, schema, up, options?.down)),
    body: (format) => declared(withBody(definition, format)),
    sendAs: (version) => declared(withSent(definition, version)),
    trusting: () => Object.freeze(contractOf<Kind, Name, In, In>({ ...definition, trusting: true })),
  })
}

function assertSchema(what: string, schema: StandardSchemaV1): void {
  const standard = (schema as { readonly '~standard'?: { readonly version?: unknown } } | null | undefined)?.[
    '~standard'
  ]
  if (standard?.version !== 1)
    throw new SdkError(
      'invalid_declaration',
      `the schema of ${what} is no Standard Schema; use one of zod 4, valibot 1, arktype 2 or another that implements it`,
    )
}
