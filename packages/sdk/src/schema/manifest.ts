import type { StandardJSONSchemaV1, StandardSchemaV1 } from '@standard-schema/spec'
import type { BodyShape } from '../contract/body-format.ts'
import type { Declaration } from '../contract/declaration.ts'
import type { VersionDefinition } from '../contract/version-chain.ts'
import { SdkError } from '../errors.ts'
import type { MessageKind } from '../message/message.ts'
import type { ConsumerTopology } from '../transport/port.ts'
import type { JsonSchema } from './json-schema.ts'

/** What a program's contracts are, as a file: to be kept with each deployment, and compared with the next. */
export interface Manifest {
  /** Version of this form. */
  readonly manifest: 1
  /** Sorted by name and kind. */
  readonly contracts: readonly ContractEntry[]
  /** The service that the program is; without it, whoever compares takes it for itself. */
  readonly service?: string
  /** Names of the commands that it handles and the requests that it answers: those that have one owner. */
  readonly owns?: readonly string[]
  /** The queues that its handlers and answers have at the engine, for whoever makes them before it starts. */
  readonly consumers?: readonly ConsumerTopology[]
  /** What its transport gives each of them. */
  readonly queueArguments?: Readonly<Record<string, unknown>>
}

/** Whose contracts they are, and what is made for it at an engine. */
export type Owner = Required<Pick<Manifest, 'service' | 'owns'>> & Pick<Manifest, 'consumers' | 'queueArguments'>

export interface ContractEntry {
  readonly name: string
  readonly kind: MessageKind
  readonly keyed: boolean
  /** Whether it reads newer versions by what it knows of them. */
  readonly forward: boolean
  /** The version that it sends. */
  readonly sends: number
  readonly versions: readonly VersionEntry[]
  /** Of a request: what is answered. */
  readonly answer?: BodyEntry
  readonly errors?: Readonly<Record<string, BodyEntry>>
}

/** What is known of one kind of body. */
export interface BodyEntry {
  readonly shape: BodyShape
  /** The validator's library. */
  readonly validator: string
  /** What senders may give, in JSON Schema 2020-12; null when the validator cannot tell. */
  readonly schema: JsonSchema | null
  /** Why the validator cannot tell. */
  readonly unknown?: string
}

export interface VersionEntry extends BodyEntry {
  readonly version: number
}

/** A contract as `event`, `command` and `request` make it. */
export type Declared = Declaration & {
  readonly answer?: { readonly definition: VersionDefinition }
  readonly errors?: Readonly<Record<string, { readonly definition: VersionDefinition }>>
}

/**
 * The manifest of contracts, the same for the same contracts in any order.
 *
 * @param owner the service whose contracts they are, for comparisons with those of other services
 * @throws {SdkError} `invalid_declaration` when two contracts of one kind have the same name
 */
export function manifestOf(contracts: readonly Declared[], owner?: Owner): Manifest {
  const entries = contracts.map(entryOf).toSorted((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1))
  for (const [index, entry] of entries.entries()) {
    if (index > 0 && placeOf(entries[index - 1]!) === placeOf(entry))
      throw new SdkError(
        'invalid_declaration',
        `the ${entry.kind} "${entry.name}" is declared twice; share one declaration, and add versions with .next()`,
      )
  }
  return {
    manifest: 1,
    ...(owner === undefined ? {} : { ...owner, owns: owner.owns.toSorted() }),
    contracts: entries,
  }
}

/**
 * Reads a manifest that was written as JSON.
 *
 * @throws {SdkError} `malformed_message` when it is none
 */
export function parseManifest(json: string): Manifest {
  let value: Partial<Manifest> | null
  try {
    value = JSON.parse(json) as Partial<Manifest> | null
  } catch (cause) {
    throw new SdkError('malformed_message', 'the manifest is no JSON; write it with JSON.stringify(manifestOf(…))', {
      cause,
    })
  }
  if (value?.manifest !== 1 || !Array.isArray(value.contracts))
    throw new SdkError(
      'malformed_message',
      'this is no manifest of contracts in form 1; write it again with manifestOf',
    )
  const { consumers = [] } = value
  if (!Array.isArray(consumers) || !consumers.every(isConsumer))
    throw new SdkError(
      'malformed_message',
      'the manifest has consumers that are none; write it again with `stathmos app schema print`',
    )
  return value as Manifest
}

function isConsumer(value: Partial<ConsumerTopology> | null): boolean {
  return (
    typeof value?.queue === 'string' &&
    typeof value.contract?.type === 'string' &&
    typeof value.ordered === 'boolean' &&
    typeof value.partitions === 'number'
  )
}

function entryOf(contract: Declared): ContractEntry {
  const { name, kind, keyed, forward, sends, versions, answer, errors } = contract
  return {
    name,
    kind,
    keyed,
    forward,
    sends,
    versions: versions.map((definition) => ({ version: definition.version, ...bodyOf(definition) })),
    ...(answer === undefined ? {} : { answer: bodyOf(answer.definition) }),
    ...(errors === undefined
      ? {}
      : {
          errors: Object.fromEntries(
            Object.entries(errors).map(([error, { definition }]) => [error, bodyOf(definition)]),
          ),
        }),
  }
}

function bodyOf({ schema, format }: VersionDefinition): BodyEntry {
  const { vendor } = schema['~standard']
  return { shape: format.shape(), validator: vendor, ...jsonSchemaOf(schema) }
}

function jsonSchemaOf(schema: StandardSchemaV1): Pick<BodyEntry, 'schema' | 'unknown'> {
  const standard = schema['~standard'] as StandardSchemaV1.Props & Partial<StandardJSONSchemaV1.Props>
  if (standard.jsonSchema === undefined)
    return { schema: null, unknown: `${standard.vendor} gives no JSON Schema; wrap the schema in its converter` }
  try {
    const { $schema: _, ...known } = standard.jsonSchema.input({ target: 'draft-2020-12' })
    return { schema: known }
  } catch (error) {
    return { schema: null, unknown: error instanceof Error ? error.message : String(error) }
  }
}

function placeOf({ name, kind }: ContractEntry): string {
  return `${name} ${kind}`
}
